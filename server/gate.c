#include "server/gate.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "server/request.h"
#include "server/server.h"

#define NS_PER_MS UINT64_C(1000000)

/* ---- deadlines ------------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer);

static void timer_set(struct gate *g)
{
    if (!g->first) {
        uv_timer_stop(&g->timer);
        return;
    }
    uint64_t now_ns = uv_hrtime(), at_ns = g->first->deadline_ns;
    /* Rounded up: a timer that fires before its time would only be set again. */
    uv_timer_start(&g->timer, on_timer, at_ns > now_ns ? (at_ns - now_ns) / NS_PER_MS + 1 : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct gate *g = timer->data;
    uint64_t now_ns = uv_hrtime();
    while (g->first && g->first->deadline_ns <= now_ns) {
        struct ticket *t = g->first;
        t->late(t);
        assert(g->first != t && "who is late ends its ticket");
    }
    timer_set(g);
}

/* From the back: most requests allow about as much time as those before them. */
static void deadline_enter(struct gate *g, struct ticket *t)
{
    struct ticket *before = g->last;
    while (before && before->deadline_ns > t->deadline_ns) {
        before = before->prev;
    }
    t->prev = before;
    t->next = before ? before->next : g->first;
    *(before ? &before->next : &g->first) = t;
    *(t->next ? &t->next->prev : &g->last) = t;
    if (g->first == t) {
        timer_set(g);
    }
}

static void deadline_leave(struct gate *g, struct ticket *t)
{
    *(t->prev ? &t->prev->next : &g->first) = t->next;
    *(t->next ? &t->next->prev : &g->last) = t->prev;
}

/* ---- cost ----------------------------------------------------------------------------------- */

static int magnitude(uint64_t evaluations)
{
    return 63 - __builtin_clzll(evaluations);
}

/* Seconds that a worker takes for an evaluation, by all that it has done; 0 before it has. */
static double evaluation_s(const struct metrics *m)
{
    return m->batch_evaluations.sum > 0 ? m->step_seconds.sum / m->batch_evaluations.sum : 0;
}

/* Evaluations that go first: of those let in, what needs about as much or less. Work that is half
 * done still counts in full, but never as more than all there is. */
static uint64_t evaluations_ahead(const struct gate *g, uint64_t evaluations)
{
    uint64_t sum = 0;
    for (int class = 0; class <= magnitude(evaluations); class ++) {
        sum += g->evaluations[class];
    }
    uint64_t all = g->server->metrics.queue_evaluations;
    return sum < all ? sum : all;
}

/* Is the time too short? Returns 0 or -1 with the problem. */
static int check_time(const struct gate *g, const struct ticket *t, const struct sample_params *p,
                      struct problem *problem)
{
    double each_s = evaluation_s(&g->server->metrics);
    double all_s = each_s * (double)t->evaluations / g->server->n_workers;
    double one_s = each_s * (double)t->evaluations / t->rows; /* its steps follow one another */
    double own_ms = 1e3 * (all_s > one_s ? all_s : one_s);
    if (own_ms > p->timeout_ms) {
        problem_set(problem, PROBLEM_DEADLINE,
                    "This takes about %.0f ms even when there is nothing else to do.", own_ms);
        problem_add(problem, "/timeout_ms", "too short");
        return -1;
    }
    double ahead_ms =
        1e3 * each_s * (double)evaluations_ahead(g, t->evaluations) / g->server->n_workers;
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

static void reply_refused(struct request *r, const struct problem *problem, uint32_t retry_after_s)
{
    enum job_reason reason =
        problem->kind == PROBLEM_DEADLINE || problem->kind == PROBLEM_DEADLINE_BUSY
            ? REASON_DEADLINE
            : REASON_QUOTA;
    metrics_count_job(&r->server->metrics, OUTCOME_REJECTED, reason);
    request_reply_problem(r, problem);
    if (problem->kind == PROBLEM_QUOTA_EXCEEDED || problem->kind == PROBLEM_DEADLINE_BUSY) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u",
                 retry_after_s ? retry_after_s : scheduler_eta_s(r->server->scheduler));
        request_add_header(r, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
}

int ticket_begin(struct ticket *t, struct request *r, const struct sample_params *p,
                 void (*late)(struct ticket *ticket))
{
    struct gate *g = &r->server->gate;
    struct problem problem;
    uint32_t retry_after_s = 0;
    *t = (struct ticket){.rows = (uint32_t)p->n_rows, .late = late};
    t->evaluations = (uint64_t)p->n_rows * p->steps * (p->guidance_scale == 1 ? 1 : 2);
    if ((p->timeout_ms && check_time(g, t, p, &problem) != 0) ||
        client_take(r->client, t->rows, &problem, &retry_after_s) != 0) {
        t->evaluations = 0;
        reply_refused(r, &problem, retry_after_s);
        return -1;
    }
    t->client = client_hold(r->client);
    g->evaluations[magnitude(t->evaluations)] += t->evaluations;
    if (p->timeout_ms) {
        t->deadline_ns = uv_hrtime() + p->timeout_ms * NS_PER_MS;
        deadline_enter(g, t);
    }
    return 0;
}

void ticket_end(struct ticket *t, struct gate *g, bool unused)
{
    if (t->evaluations == 0) {
        return;
    }
    g->evaluations[magnitude(t->evaluations)] -= t->evaluations;
    if (t->deadline_ns) {
        deadline_leave(g, t);
    }
    client_give_back(t->client, t->rows, unused);
    client_drop(t->client);
    *t = (struct ticket){.evaluations = 0};
}

void ticket_move(struct ticket *to, struct ticket *from, struct gate *g,
                 void (*late)(struct ticket *ticket))
{
    *to = *from;
    to->late = late;
    if (from->deadline_ns) {
        deadline_leave(g, from);
        deadline_enter(g, to);
    }
    *from = (struct ticket){.evaluations = 0};
}

void gate_problem_late(struct problem *problem, uint32_t timeout_ms)
{
    problem_set(problem, PROBLEM_DEADLINE, "This was not done within %u ms.", timeout_ms);
}

void gate_init(struct gate *g, struct server *server)
{
    *g = (struct gate){.server = server};
    uv_timer_init(&server->loop, &g->timer);
    g->timer.data = g;
}
