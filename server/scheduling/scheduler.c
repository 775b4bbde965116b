/*
 * DESIGN. Each model has a queue of jobs, which knows who goes first (fair_queue.h). An idle
 * worker's batch is filled with rows of the first job, then of the next, up to the batch's limit:
 * the model's load divided by the workers, and no more than the size beyond which a larger batch
 * does not make an evaluation cheaper, which the warm-up measures; where that would come back
 * before the way through the loop thread has paid, up to BRIEF_S of work. At most half of it goes
 * to whom the queue owes something.
 *
 * A job does not take along one that needs far more (COMPANY): its own steps would be longer, and
 * the other would hardly be done sooner.
 *
 * To go through the loop thread costs far more than the fast kernels' smallest step, so a worker
 * keeps its batch for several steps (HOLD_NS), and comes back after the next one when
 *   - a row is done, or its next step needs more or fewer evaluations;
 *   - the loop thread recalls it: for a new job that would join or displace what it holds, for a
 *     canceled job among its rows, or to share its rows with a worker that has nothing to do;
 *   - somebody follows a row step by step, or a job waits that goes before one in the batch (its
 *     place went to whom something was owed).
 *
 * The worker that takes a row's last step makes its image as well. A job with all images stands in
 * the finish queue, which goes first because it ends requests; one of a single row is finished on
 * the spot.
 */
#include "server/scheduling/scheduler.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "server/base/room.h"
#include "server/scheduling/fair_queue.h"
#include "server/scheduling/worker.h"

#define COMPANY 3 /* classes: a job that needs eight times as much, or more, does not join */
#define HOLD_NS UINT64_C(20000000)
#define BRIEF_S 2e-3 /* the way through the loop thread takes a tenth of a millisecond */

struct scheduler {
    uv_async_t back; /* of workers; keeps the loop alive while one is at work */
    struct metrics *metrics;
    struct served_model_list models; /* the one to go first is the first; some are retired */
    struct fair_clock clock;
    struct fair_share everyone; /* of jobs without a share of their own */
    uint64_t max_queue_rows;
    struct worker *workers;
    uint32_t n_workers, n_busy;
    bool is_settling; /* work that came back is looked through: nothing goes out yet */
    struct job *finish_head, *finish_tail; /* with all rows drawn, waiting for a worker */
    struct job *over;                      /* to be given back once the workers have work again */
    size_t n_jobs;
    uint64_t queue_rows, queue_evaluations;
    void (*ready)(void *arg, int rc);
    void *ready_arg;
    uint32_t n_warming;
    int warm_error;
};

static void scheduler_pump(struct scheduler *s);

/* ---- the finish queue ----------------------------------------------------------------------- */

static void finish_queue_add(struct scheduler *s, struct job *job)
{
    job->in_finish_queue = true;
    job->finish_next = NULL;
    *(s->finish_tail ? &s->finish_tail->finish_next : &s->finish_head) = job;
    s->finish_tail = job;
}

static void finish_queue_remove(struct scheduler *s, struct job *job)
{
    struct job *before = NULL, *at = s->finish_head;
    while (at != job) {
        before = at;
        at = at->finish_next;
    }
    *(before ? &before->finish_next : &s->finish_head) = job->finish_next;
    s->finish_tail = s->finish_tail == job ? before : s->finish_tail;
    job->in_finish_queue = false;
}

static void publish_gauges(struct scheduler *s)
{
    s->metrics->queue_jobs = s->n_jobs;
    s->metrics->queue_rows = s->queue_rows;
    s->metrics->queue_evaluations = s->queue_evaluations;
    s->metrics->workers_busy = s->n_busy;
}

/* ---- rows of the queue ---------------------------------------------------------------------- */

static void queue_add_rows(struct scheduler *s, struct job *job, uint32_t n_rows)
{
    s->queue_rows += n_rows;
    job->share->n_rows += n_rows;
    job->model->n_rows += n_rows;
    s->metrics->priority_rows[job->priority] += n_rows;
}

static void queue_remove_rows(struct scheduler *s, struct job *job, uint32_t n_rows)
{
    s->queue_rows -= n_rows;
    job->share->n_rows -= n_rows;
    job->model->n_rows -= n_rows;
    s->metrics->priority_rows[job->priority] -= n_rows;
}

/* ---- the end of a job ----------------------------------------------------------------------- */

/* A retired model goes with its last job. */
static void let_go(struct scheduler *s, struct served_model *m)
{
    if (m->let_go && fair_queue_is_empty(&m->queue.jobs)) {
        TAILQ_REMOVE(&s->models, m, link);
        fair_queue_deinit(&m->queue.jobs);
        m->let_go(m, m->let_go_arg);
    }
}

static void job_free_rows(struct job *job)
{
    for (uint32_t i = 0; job->rows && i < job->n_rows; i++) {
        dn_row_free(job->rows[i]);
    }
    free(job->rows);
    free(job->started);
    free(job->is_drawn);
    job->rows = NULL;
    job->started = NULL;
    job->is_drawn = NULL;
}

/* The job has its outcome and no worker holds a part of it: give it back, but answer nobody while a
 * worker waits. */
static void job_release(struct scheduler *s, struct job *job)
{
    if (s->is_settling) {
        job->finish_next = s->over;
        s->over = job;
        return;
    }
    job_free_rows(job);
    fair_queue_leave(&job->model->queue.jobs, job);
    let_go(s, job->model);
    s->n_jobs--;
    enum job_outcome outcome = job->state == JOB_SUCCEEDED ? OUTCOME_SUCCEEDED
                               : job->state == JOB_FAILED  ? OUTCOME_FAILED
                                                           : OUTCOME_CANCELED;
    metrics_count_job(s->metrics, outcome, job->reason);
    if (outcome != OUTCOME_SUCCEEDED) {
        s->metrics->wasted_steps[job->reason] += job->steps_done;
        s->metrics->wasted_evaluations[job->reason] += job->evaluations_done;
        histogram_observe(&s->metrics->cancel_seconds,
                          1e-9 * (double)(uv_hrtime() - job->canceled_ns), 1);
    }
    publish_gauges(s);
    job->ops->done(job);
}

/* Have the batch back after the step that is being taken. */
static void worker_recall(struct worker *w)
{
    atomic_store_explicit(&w->recall, true, memory_order_relaxed);
}

static void recall_rows_of(struct scheduler *s, const struct job *job)
{
    for (uint32_t i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        for (uint32_t k = 0; k < w->n_batch; k++) {
            if (w->batch[k].job == job) {
                worker_recall(w);
            }
        }
    }
}

/* Of the next step of every row that waits for one. */
static uint64_t job_ready_evaluations(const struct job *job)
{
    uint64_t evaluations = (uint64_t)(job->n_rows - job->next_row) * job->first_evaluations;
    for (uint32_t i = 0; i < job->n_started; i++) {
        evaluations += job_row_evaluations(job, job->started[i]);
    }
    return evaluations;
}

/* End a job early: what waits leaves now, what workers hold when they return it. */
static void job_abort(struct scheduler *s, struct job *job, enum job_state state,
                      enum job_reason reason, int error)
{
    struct model_queue *q = &job->model->queue;
    q->waiting_evaluations -= job_ready_evaluations(job);
    fair_queue_drop(&q->jobs, job);
    if (job->in_finish_queue) {
        finish_queue_remove(s, job);
    }
    uint64_t left = job->evaluations - job->evaluations_done;
    s->queue_evaluations -= left;
    queue_remove_rows(s, job, job->n_rows - job->n_drawn);
    job->n_started = 0;
    job->next_row = job->n_rows;
    job->canceled_ns = uv_hrtime();
    job->reason = reason;
    job->error = error;
    job_move(job, state);
    if (job->n_busy == 0) {
        job_release(s, job);
    } else {
        recall_rows_of(s, job);
    }
}

static void job_fail(struct scheduler *s, struct job *job, int error)
{
    job_abort(s, job, JOB_FAILED, error == DN_ENOMEM ? REASON_OUT_OF_MEMORY : REASON_INTERNAL,
              error);
}

/* ---- work comes back ------------------------------------------------------------------------ */

static void job_succeed(struct scheduler *s, struct job *job)
{
    job_move(job, JOB_SUCCEEDED);
    job_release(s, job);
}

static void after_last_step(struct scheduler *s, struct worker *w, const struct batch_row *b)
{
    struct job *job = b->job;
    queue_remove_rows(s, job, 1);
    job->model->n_images++;
    s->metrics->images[job->ops->row_params(job, b->row_idx).sampler]++;
    job->is_drawn[b->row_idx] = true;
    if (++job->n_drawn < job->n_rows) {
        return;
    }
    job->last_step_ns = w->stepped_ns;
    job_move(job, JOB_FINISHING);
    if (job->n_rows == 1) { /* the worker has done it */
        job_succeed(s, job);
    } else {
        finish_queue_add(s, job);
    }
}

static void after_row(struct scheduler *s, struct worker *w, const struct batch_row *b)
{
    struct job *job = b->job;
    struct model_queue *q = &w->model->queue;
    uint32_t n_steps = b->row || b->is_drawn ? w->n_steps : 0;
    uint64_t evaluations = (uint64_t)b->evaluations * n_steps;
    q->running_evaluations -= b->evaluations;
    job->rows[b->row_idx] = b->row;
    job->n_busy--;
    job->steps_done += n_steps;
    job->evaluations_done += evaluations;
    s->metrics->steps += n_steps;
    s->metrics->evaluations += evaluations;
    if (job_is_over(job)) {
        if (job->n_busy == 0) {
            job_release(s, job);
        }
        return;
    }
    s->queue_evaluations -= evaluations;
    fair_queue_shrink(&q->jobs, job, evaluations);
    if (b->error != 0) {
        job_fail(s, job, b->error);
        return;
    }
    if (job->ops->stepped) {
        job->ops->stepped(job, b->row_idx, b->row);
    }
    if (b->is_drawn) {
        after_last_step(s, w, b);
        return;
    }
    job->started[job->n_started++] = b->row_idx;
    q->waiting_evaluations += job_row_evaluations(job, b->row_idx);
    fair_queue_put(&q->jobs, job);
}

static void after_step(struct scheduler *s, struct worker *w)
{
    double seconds = 0;
    for (uint32_t i = 0; i < w->n_steps; i++) {
        histogram_observe(&s->metrics->step_seconds, 1e-9 * (double)w->step_ns[i], 1);
        seconds += 1e-9 * (double)w->step_ns[i];
    }
    histogram_observe(&s->metrics->batch_rows, w->n_batch, w->n_steps);
    histogram_observe(&s->metrics->batch_evaluations, w->evaluations, w->n_steps);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    s->metrics->last_step_timestamp_s = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    if (w->n_steps > 0) {
        /* A tenth of the newest: follows a change of load within a second, not each hiccup. */
        w->model->has_stepped = true;
        double *evaluation_s = &w->model->queue.jobs.evaluation_s;
        *evaluation_s = 0.9 * *evaluation_s + 0.1 * seconds / ((double)w->evaluations * w->n_steps);
    }
    fair_queue_settle(&w->model->queue.jobs, w);
    /* From the last to the first, because each job goes to the front of its class. */
    uint32_t n = w->n_batch;
    w->n_batch = 0;
    while (n > 0) {
        after_row(s, w, &w->batch[--n]);
    }
}

static void after_finish(struct scheduler *s, struct worker *w)
{
    struct job *job = w->job;
    job->n_busy--;
    if (job_is_over(job)) {
        job_release(s, job);
    } else if (w->error != 0) {
        job_fail(s, job, w->error);
    } else {
        job_succeed(s, job);
    }
}

/* All workers are warm, each having measured while the others did. */
static void warm_end(struct scheduler *s)
{
    struct served_model *m;
    TAILQ_FOREACH(m, &s->models, link)
    {
        if (s->warm_error == 0) {
            served_model_set_limit(m, s->n_workers);
            m->queue.jobs.evaluation_s = m->evaluation_s;
        }
    }
    s->ready(s->ready_arg, s->warm_error);
}

static void after_warm(struct scheduler *s, struct worker *w)
{
    s->warm_error = w->error ? w->error : s->warm_error;
    if (--s->n_warming == 0) {
        warm_end(s);
    }
}

static void worker_after(struct scheduler *s, struct worker *w)
{
    s->n_busy--;
    s->metrics->handover_seconds += 1e-9 * (double)(w->started_ns - w->free_ns);
    s->metrics->step_items += w->kind == WORK_STEP;
    w->free_ns = w->ended_ns;
    s->is_settling = true;
    switch (w->kind) {
    case WORK_WARM:
        after_warm(s, w);
        break;
    case WORK_STEP:
        after_step(s, w);
        break;
    case WORK_FINISH:
        after_finish(s, w);
        break;
    }
    s->is_settling = false;
    scheduler_pump(s);
    while (s->over) {
        struct job *job = s->over;
        s->over = job->finish_next;
        job_release(s, job);
    }
}

static void on_back(uv_async_t *back)
{
    struct scheduler *s = back->data;
    for (uint32_t i = 0; i < s->n_workers; i++) {
        if (worker_take_back(&s->workers[i])) {
            worker_after(s, &s->workers[i]);
        }
    }
    if (s->n_busy == 0) {
        uv_unref((uv_handle_t *)&s->back);
    }
}

/* ---- work goes out -------------------------------------------------------------------------- */

static void worker_start(struct scheduler *s, struct worker *w, enum work_kind kind)
{
    w->kind = kind;
    w->free_ns = w->free_ns ? w->free_ns : uv_hrtime();
    s->n_busy++;
    uv_ref((uv_handle_t *)&s->back);
    worker_begin(w);
}

static void start_finish(struct scheduler *s, struct worker *w)
{
    w->job = s->finish_head;
    finish_queue_remove(s, w->job);
    w->job->n_busy++;
    worker_start(s, w, WORK_FINISH);
}

/* The most evaluations in a step of a batch with rows of this job. */
static uint32_t batch_limit(const struct job *job)
{
    const struct served_model *m = job->model;
    double brief = BRIEF_S / (m->evaluation_s * job->steps);
    return brief <= m->batch_limit ? m->batch_limit
           : brief < m->max_batch  ? (uint32_t)brief
                                   : m->max_batch;
}

static void batch_add(struct scheduler *s, struct worker *w, struct job *job)
{
    struct model_queue *q = &w->model->queue;
    uint32_t row_idx = job_take_row(job);
    uint32_t evaluations = job_row_evaluations(job, row_idx);
    w->batch[w->n_batch++] = (struct batch_row){
        .job = job, .row_idx = row_idx, .row = job->rows[row_idx], .evaluations = evaluations};
    w->evaluations += evaluations;
    uint32_t limit = batch_limit(job);
    w->limit = w->limit > limit ? w->limit : limit;
    q->waiting_evaluations -= evaluations;
    q->running_evaluations += evaluations;
    fair_queue_hand_out(&q->jobs, job, evaluations);
    job->n_busy++;
    if (job->state == JOB_QUEUED) {
        job->first_step_ns = uv_hrtime();
        histogram_observe(&s->metrics->queue_wait_seconds,
                          1e-9 * (double)(job->first_step_ns - job->submitted_ns), 1);
        job_move(job, JOB_RUNNING);
    }
}

/* For one more row of the job, which has one that is ready. */
static bool batch_has_room(const struct worker *w, const struct job *job)
{
    uint32_t evaluations = job_row_evaluations(job, job_next_row(job));
    return w->evaluations + evaluations <= w->limit;
}

/* Add rows of `job` while the batch has fewer than `share` evaluations. False when it is full. */
static bool batch_add_rows(struct scheduler *s, struct worker *w, struct job *job, uint64_t share)
{
    while (job_ready_rows(job) > 0) {
        if (w->evaluations >= share || !batch_has_room(w, job)) {
            return false;
        }
        batch_add(s, w, job);
    }
    fair_queue_take(&w->model->queue.jobs, job);
    return true;
}

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

/* Does somebody follow one of its rows? */
static bool batch_is_followed(const struct worker *w)
{
    bool is_followed = false;
    for (uint32_t i = 0; i < w->n_batch; i++) {
        is_followed |= w->batch[i].job->ops->stepped != NULL;
    }
    return is_followed;
}

/* Does the job go before one of its rows? */
static bool batch_is_displaced(const struct worker *w, const struct job *job)
{
    bool is_displaced = false;
    for (uint32_t i = 0; i < w->n_batch && !is_displaced; i++) {
        is_displaced = fair_queue_displaces(job, w->batch[i].job);
    }
    return is_displaced;
}

static void batch_fill(struct scheduler *s, struct worker *w)
{
    struct model_queue *q = &w->model->queue;
    /* Spread what there is evenly over all workers, and what waits over the idle ones. */
    uint64_t even = divide_up(q->waiting_evaluations + q->running_evaluations, s->n_workers);
    uint64_t share = divide_up(q->waiting_evaluations, s->n_workers - s->n_busy);
    share = share < even ? share : even;
    w->n_batch = 0;
    w->evaluations = 0;
    w->limit = w->model->batch_limit;
    struct job *job = fair_queue_owed(&q->jobs);
    if (job) {
        uint64_t half = divide_up(batch_limit(job), 2);
        batch_add_rows(s, w, job, half < share ? half : share);
    }
    job = fair_queue_first(&q->jobs);
    int company = job ? job->class + COMPANY : 0;
    while (job && job->class < company && batch_add_rows(s, w, job, share)) {
        job = fair_queue_first(&q->jobs);
    }
    bool comes_back = batch_is_followed(w) || (job && batch_is_displaced(w, job));
    w->hold_ns = comes_back ? 0 : uv_hrtime() + HOLD_NS;
    atomic_store_explicit(&w->recall, false, memory_order_relaxed);
}

/* The model whose rows go first, of equal ones the next in turn; NULL when none waits. */
static struct served_model *pick_model(struct scheduler *s)
{
    struct served_model *m, *first = NULL;
    TAILQ_FOREACH(m, &s->models, link)
    {
        if (fair_queue_waits(&m->queue.jobs) &&
            (!first || fair_queue_goes_before(&m->queue.jobs, &first->queue.jobs))) {
            first = m;
        }
    }
    if (first) {
        TAILQ_REMOVE(&s->models, first, link);
        TAILQ_INSERT_TAIL(&s->models, first, link);
    }
    return first;
}

/* A worker has nothing to do: let the one with the most rows come back to share them. */
static void recall_to_share(struct scheduler *s)
{
    struct worker *most = NULL;
    for (uint32_t i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        if (w->n_batch > 1 && (!most || w->evaluations > most->evaluations)) {
            most = w;
        }
    }
    if (most) {
        worker_recall(most);
    }
}

/* Give every idle worker something to do, while there is something. */
static void scheduler_pump(struct scheduler *s)
{
    bool is_idle = false;
    for (uint32_t i = 0; i < s->n_workers && !s->is_settling; i++) {
        struct worker *w = &s->workers[i];
        if (w->busy) {
            continue;
        }
        if (s->finish_head) {
            start_finish(s, w);
        } else if ((w->model = pick_model(s))) {
            batch_fill(s, w);
            worker_start(s, w, WORK_STEP);
        } else {
            w->free_ns = 0;
            is_idle = true;
        }
    }
    if (is_idle) {
        recall_to_share(s);
    }
    publish_gauges(s);
}

/* The job's rows found no idle worker: have back the batches that they would join or displace. */
static void recall_for(struct scheduler *s, const struct job *job)
{
    for (uint32_t i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        if (w->n_batch > 0 &&
            (w->model != job->model || batch_has_room(w, job) || batch_is_displaced(w, job))) {
            worker_recall(w);
        }
    }
}

/* ---- public --------------------------------------------------------------------------------- */

int scheduler_open(struct scheduler **out, const struct options *options, uint32_t n_workers,
                   struct metrics *metrics)
{
    assert(options->max_batch >= ROW_MAX_EVALUATIONS);
    struct scheduler *s = calloc(1, sizeof *s);
    if (!s) {
        return DN_ENOMEM;
    }
    s->metrics = metrics;
    TAILQ_INIT(&s->models);
    fair_clock_init(&s->clock);
    s->max_queue_rows = (uint64_t)options->max_queue_rows;
    s->workers = calloc(n_workers, sizeof *s->workers);
    while (s->workers && s->n_workers < n_workers) {
        struct worker *w = &s->workers[s->n_workers];
        if (worker_open(w, s->n_workers, (uint32_t)options->max_batch) != 0) {
            break;
        }
        w->back = &s->back;
        w->models = &s->models;
        s->n_workers++;
    }
    if (s->n_workers < n_workers) {
        scheduler_close(s);
        return DN_ENOMEM;
    }
    *out = s;
    return 0;
}

void scheduler_add_model(struct scheduler *s, struct served_model *m)
{
    fair_queue_init(&m->queue.jobs, &s->clock);
    m->queue.jobs.evaluation_s = m->evaluation_s;
    TAILQ_INSERT_TAIL(&s->models, m, link);
}

void scheduler_retire_model(struct scheduler *s, struct served_model *m,
                            void (*done)(struct served_model *m, void *arg), void *arg)
{
    m->let_go = done;
    m->let_go_arg = arg;
    let_go(s, m);
}

const struct served_model_list *scheduler_models(const struct scheduler *s)
{
    return &s->models;
}

void scheduler_warm(struct scheduler *s, uv_loop_t *loop, void (*ready)(void *arg, int rc),
                    void *arg)
{
    int rc = uv_async_init(loop, &s->back, on_back);
    assert(rc == 0); /* a loop has one of its own from the beginning, and what it needs for more */
    (void)rc;
    s->back.data = s;
    s->ready = ready;
    s->ready_arg = arg;
    s->metrics->workers = s->n_workers;
    s->n_warming = s->n_workers;
    for (uint32_t i = 0; i < s->n_workers; i++) {
        worker_start(s, &s->workers[i], WORK_WARM);
    }
}

/* Who has no share of its own shares with all others: they are one, and have all of the queue. */
static enum scheduler_verdict check_room(const struct scheduler *s, const struct job *job)
{
    uint64_t held = job->share ? job->share->n_rows : 0;
    if (job->n_rows > s->max_queue_rows - s->queue_rows) {
        return SCHEDULER_FULL;
    }
    return room_for_part(s->max_queue_rows, s->queue_rows, held, job->n_rows) ? SCHEDULER_ADMITTED
                                                                              : SCHEDULER_OVER_PART;
}

enum scheduler_verdict scheduler_submit(struct scheduler *s, struct job *job)
{
    assert(job->n_rows > 0 && job->first_evaluations <= ROW_MAX_EVALUATIONS);
    assert(job->evaluations >= (uint64_t)job->n_rows * job->steps);
    enum scheduler_verdict verdict = check_room(s, job);
    if (verdict != SCHEDULER_ADMITTED) {
        return verdict;
    }
    job->rows = calloc(job->n_rows, sizeof *job->rows);
    job->started = calloc(job->n_rows, sizeof *job->started);
    job->is_drawn = calloc(job->n_rows, sizeof *job->is_drawn);
    if (!job->rows || !job->started || !job->is_drawn) {
        job_free_rows(job);
        return SCHEDULER_NO_MEMORY;
    }
    job->state = JOB_QUEUED;
    job->submitted_ns = uv_hrtime();
    job->share = job->share ? job->share : &s->everyone;
    struct model_queue *q = &job->model->queue;
    if (fair_queue_enter(&q->jobs, job) != 0) {
        job_free_rows(job);
        return SCHEDULER_NO_MEMORY;
    }
    s->n_jobs++;
    queue_add_rows(s, job, job->n_rows);
    s->queue_evaluations += job->evaluations;
    q->waiting_evaluations += job_ready_evaluations(job);
    fair_queue_put(&q->jobs, job);
    scheduler_pump(s);
    if (job->is_waiting) {
        recall_for(s, job);
    }
    return SCHEDULER_ADMITTED;
}

int scheduler_move(struct scheduler *s, struct job *job, struct fair_share *share,
                   enum priority priority)
{
    share = share ? share : &s->everyone;
    if (job->state > JOB_RUNNING || (job->share == share && job->priority == priority)) {
        return 0;
    }
    uint32_t n_rows = job->n_rows - job->n_drawn;
    queue_remove_rows(s, job, n_rows);
    int rc = fair_queue_move(&job->model->queue.jobs, job, share, priority);
    queue_add_rows(s, job, n_rows);
    if (rc == 0 && job->is_waiting) {
        recall_for(s, job);
    }
    return rc;
}

void scheduler_cancel(struct scheduler *s, struct job *job, enum job_reason reason)
{
    if (!job_is_over(job)) {
        job_abort(s, job, JOB_CANCELED, reason, 0);
    }
}

struct cancel_all {
    struct scheduler *scheduler;
    enum job_reason reason;
};

static void cancel_one(void *arg, struct job *job)
{
    const struct cancel_all *all = arg;
    scheduler_cancel(all->scheduler, job, all->reason);
}

void scheduler_cancel_all(struct scheduler *s, enum job_reason reason)
{
    struct cancel_all all = {.scheduler = s, .reason = reason};
    struct served_model *m, *next;
    for (m = TAILQ_FIRST(&s->models); m; m = next) {
        next = TAILQ_NEXT(m, link); /* a retired one goes with its last job */
        fair_queue_each(&m->queue.jobs, cancel_one, &all);
    }
}

size_t scheduler_jobs(const struct scheduler *s)
{
    return s->n_jobs;
}

bool scheduler_is_idle(const struct scheduler *s)
{
    return s->n_jobs == 0 && s->n_busy == 0;
}

uint32_t scheduler_eta_s(const struct scheduler *s)
{
    double seconds = fair_clock_left_s(&s->clock) / s->n_workers;
    return seconds < 1 ? 1 : seconds > 1e9 ? 1000000000 : (uint32_t)ceil(seconds);
}

double scheduler_ahead_s(const struct scheduler *s, const struct fair_share *share,
                         enum priority priority, uint64_t evaluations)
{
    share = share ? share : &s->everyone;
    return fair_clock_ahead_s(&s->clock, share, priority, evaluations) / s->n_workers;
}

double scheduler_alone_s(const struct scheduler *s, const struct served_model *m,
                         uint64_t evaluations, uint32_t n_rows)
{
    double each_s = m->queue.jobs.evaluation_s * (double)evaluations;
    return each_s / (n_rows < s->n_workers ? n_rows : s->n_workers);
}

double scheduler_before_s(const struct scheduler *s, const struct job *job,
                          const struct fair_share *share, enum priority priority)
{
    share = share ? share : &s->everyone;
    return job->state > JOB_RUNNING
               ? 0
               : fair_clock_before_s(&s->clock, job, share, priority) / s->n_workers;
}

double scheduler_job_s(const struct scheduler *s, const struct job *job)
{
    double before_s =
        job->state == JOB_QUEUED ? scheduler_before_s(s, job, job->share, job->priority) : 0;
    return before_s + scheduler_alone_s(s, job->model, job->evaluations, job->n_rows);
}

void scheduler_close(struct scheduler *s)
{
    if (!s) {
        return;
    }
    assert(s->n_jobs == 0 && s->n_busy == 0);
    struct served_model *m;
    TAILQ_FOREACH(m, &s->models, link)
    {
        fair_queue_deinit(&m->queue.jobs);
    }
    for (uint32_t i = 0; i < s->n_workers; i++) {
        worker_close(&s->workers[i]);
    }
    free(s->workers);
    free(s);
}
