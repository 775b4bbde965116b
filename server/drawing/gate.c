#include "server/drawing/gate.h"

#include <stddef.h>

/* ---- cost ----------------------------------------------------------------------------------- */

/* Is the time too short? Returns 0 or -1 with the problem. */
static int check_time(const struct serving *serving, const struct ticket *t, struct client *client,
                      const struct sample_params *p, struct problem *problem)
{
    /* What was measured before the first step is too little to say that something cannot be. */
    const struct served_model *m = model_set_find(&serving->models, p->model);
    double own_ms = m->has_stepped
                        ? 1e3 * scheduler_alone_s(serving->scheduler, m, t->evaluations, t->rows)
                        : 0;
    if (own_ms > p->timeout_ms) {
        problem_set(problem, PROBLEM_DEADLINE,
                    "This takes about %.0f ms even when there is nothing else to do.", own_ms);
        problem_add(problem, "/timeout_ms", "too short");
        return -1;
    }
    double ahead_ms = 1e3 * scheduler_ahead_s(serving->scheduler, client_share(client), p->priority,
                                              t->evaluations);
    if (own_ms + ahead_ms > p->timeout_ms) {
        problem_set(problem, PROBLEM_DEADLINE_BUSY,
                    "This takes about %.0f ms, after %.0f ms for what is before it.", own_ms,
                    ahead_ms);
        problem_add(problem, "/timeout_ms", "too short at present");
        return -1;
    }
    return 0;
}

/* ---- tickets -------------------------------------------------------------------------------- */

/* May the client ask for this priority? One that was not asked for is the client's highest, but not
 * above normal. Returns 0 or -1 with the problem. */
static int check_priority(const struct client *client, struct sample_params *p,
                          struct problem *problem)
{
    enum priority highest = client ? client->limits.priority : PRIORITY_HIGH;
    if (p->has_priority && p->priority < highest) {
        problem_set(problem, PROBLEM_PRIORITY, "This key's requests have at most priority %s.",
                    priority_names[highest]);
        problem_add(problem, "/priority", "at most %s", priority_names[highest]);
        return -1;
    }
    p->priority = p->priority > highest ? p->priority : highest;
    return 0;
}

static void on_alarm(struct alarm *alarm)
{
    struct ticket *t = (struct ticket *)(void *)((char *)alarm - offsetof(struct ticket, alarm));
    t->late(t);
}

/* Count it, and say when to come back where that helps. */
static void refuse(const struct serving *serving, struct refusal *refusal)
{
    enum problem_kind kind = refusal->problem.kind;
    enum job_reason reason = kind == PROBLEM_DEADLINE || kind == PROBLEM_DEADLINE_BUSY
                                 ? REASON_DEADLINE
                             : kind == PROBLEM_PRIORITY ? REASON_PRIORITY
                                                        : REASON_QUOTA;
    metrics_count_job(serving->metrics, OUTCOME_REJECTED, reason);
    bool may_come_back = kind == PROBLEM_QUOTA_EXCEEDED || kind == PROBLEM_DEADLINE_BUSY;
    if (may_come_back && refusal->retry_after_s == 0) {
        refusal->retry_after_s = scheduler_eta_s(serving->scheduler);
    }
}

int ticket_begin(struct ticket *t, struct studio *studio, struct client *client,
                 struct sample_params *p, void (*late)(struct ticket *ticket),
                 struct refusal *refusal)
{
    struct problem *problem = &refusal->problem;
    refusal->retry_after_s = 0;
    *t = (struct ticket){.studio = studio, .rows = (uint32_t)p->n_rows, .late = late};
    const struct dn_row_params row = params_row(p, 0);
    t->evaluations = (uint64_t)p->n_rows * dn_model_row_evaluations(p->model, &row);
    if (check_priority(client, p, problem) != 0 ||
        (p->timeout_ms && check_time(studio->serving, t, client, p, problem) != 0) ||
        client_take(client, t->rows, problem, &refusal->retry_after_s) != 0) {
        t->evaluations = 0;
        refuse(studio->serving, refusal);
        return -1;
    }
    t->client = client_hold(client);
    if (p->timeout_ms) {
        alarm_set(studio->alarms, &t->alarm, p->timeout_ms, on_alarm);
    }
    return 0;
}

void ticket_end(struct ticket *t, bool unused)
{
    if (t->evaluations == 0) {
        return;
    }
    alarm_clear(t->studio->alarms, &t->alarm);
    client_give_back(t->client, t->rows, unused);
    client_drop(t->client);
    *t = (struct ticket){.evaluations = 0};
}

void ticket_move(struct ticket *to, struct ticket *from, void (*late)(struct ticket *ticket))
{
    if (from->evaluations == 0) {
        *to = *from;
        return;
    }
    struct alarm_list *alarms = from->studio->alarms;
    uint64_t now_ms = uv_now(alarms->timer.loop), at_ms = from->alarm.at_ms;
    bool has_limit = from->alarm.is_set;
    alarm_clear(alarms, &from->alarm);
    *to = *from;
    to->late = late;
    if (has_limit) {
        alarm_set(alarms, &to->alarm, at_ms > now_ms ? at_ms - now_ms : 0, on_alarm);
    }
    *from = (struct ticket){.evaluations = 0};
}

void gate_problem_late(struct problem *problem, uint32_t timeout_ms)
{
    problem_set(problem, PROBLEM_DEADLINE, "This was not done within %u ms.", timeout_ms);
}
