/*
 * DESIGN. A job with rows that wait for a step stands in its model's ring; the ring's head is
 * served next. Serving gives a job QUANTUM evaluations of credit and takes rows for it, then the
 * job goes to the tail. A worker's batch is filled until its limit: the model's load divided by the
 * workers, at most max_batch. Rows that had their last step wait on the job for an encoder; the job
 * then stands in the encode queue, which goes first because it frees memory and ends requests.
 */
#include "server/scheduler.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "server/worker.h"

#define QUANTUM 2 /* the most that one row costs: a conditional and an unconditional evaluation */

struct model_queue {
    struct job *head;             /* ring of jobs with rows that wait */
    uint64_t waiting_evaluations; /* one step of every waiting row */
    uint64_t running_evaluations; /* in the workers' batches now */
};

struct scheduler {
    uv_loop_t *loop;
    struct metrics *metrics;
    const struct model_set *models;
    struct model_queue queues[OPTIONS_MAX_MODELS];
    size_t next_model;
    uint32_t max_batch;
    uint64_t max_queue_rows;
    struct worker *workers;
    uint32_t n_workers, n_busy;
    struct job *encode_head, *encode_tail;
    struct job *all; /* every job that has not ended */
    size_t n_jobs;
    uint64_t queue_rows, queue_evaluations;
    double evaluation_s; /* of one worker, smoothed */
    void (*ready)(void *arg, int rc);
    void *ready_arg;
    int warm_error;
};

static void scheduler_pump(struct scheduler *s);

/* ---- lists ---------------------------------------------------------------------------------- */

static void ring_add(struct model_queue *q, struct job *job)
{
    if (!q->head) {
        q->head = job->ring_prev = job->ring_next = job;
    } else {
        job->ring_next = q->head;
        job->ring_prev = q->head->ring_prev;
        job->ring_prev->ring_next = job->ring_next->ring_prev = job;
    }
    job->in_ring = true;
}

static void ring_remove(struct model_queue *q, struct job *job)
{
    if (job->ring_next == job) {
        q->head = NULL;
    } else {
        job->ring_prev->ring_next = job->ring_next;
        job->ring_next->ring_prev = job->ring_prev;
        q->head = q->head == job ? job->ring_next : q->head;
    }
    job->in_ring = false;
    job->credit = 0;
}

static void encode_queue_add(struct scheduler *s, struct job *job)
{
    if (job->in_encode_queue) {
        return;
    }
    job->in_encode_queue = true;
    job->encode_next = NULL;
    if (s->encode_tail) {
        s->encode_tail->encode_next = job;
    } else {
        s->encode_head = job;
    }
    s->encode_tail = job;
}

static struct job *encode_queue_take(struct scheduler *s)
{
    struct job *job = s->encode_head;
    s->encode_head = job->encode_next;
    s->encode_tail = s->encode_head ? s->encode_tail : NULL;
    job->in_encode_queue = false;
    return job;
}

static void encode_queue_remove(struct scheduler *s, struct job *job)
{
    struct job *before = NULL, *at = s->encode_head;
    while (at != job) {
        before = at;
        at = at->encode_next;
    }
    *(before ? &before->encode_next : &s->encode_head) = job->encode_next;
    s->encode_tail = s->encode_tail == job ? before : s->encode_tail;
    job->in_encode_queue = false;
}

static void publish_gauges(struct scheduler *s)
{
    s->metrics->queue_jobs = s->n_jobs;
    s->metrics->queue_rows = s->queue_rows;
    s->metrics->queue_evaluations = s->queue_evaluations;
    s->metrics->workers_busy = s->n_busy;
}

/* ---- the end of a job ----------------------------------------------------------------------- */

/* The job has its outcome and no worker holds a part of it: give it back. */
static void job_release(struct scheduler *s, struct job *job)
{
    for (uint32_t i = 0; i < job->n_rows; i++) {
        dn_row_free(job->rows[i]);
    }
    free(job->rows);
    free(job->started);
    free(job->drawn);
    job->rows = NULL;
    job->started = job->drawn = NULL;
    *(job->all_prev ? &job->all_prev->all_next : &s->all) = job->all_next;
    if (job->all_next) {
        job->all_next->all_prev = job->all_prev;
    }
    s->n_jobs--;
    enum job_outcome outcome = job->state == JOB_SUCCEEDED ? OUTCOME_SUCCEEDED
                               : job->state == JOB_FAILED  ? OUTCOME_FAILED
                                                           : OUTCOME_CANCELED;
    metrics_count_job(s->metrics, outcome, job->reason);
    if (outcome != OUTCOME_SUCCEEDED) {
        s->metrics->wasted_steps[job->reason] += job->steps_done;
        s->metrics->wasted_evaluations[job->reason] += job->evaluations_done;
        histogram_observe(&s->metrics->cancel_seconds,
                          1e-9 * (double)(uv_hrtime() - job->canceled_ns));
    }
    publish_gauges(s);
    job->ops->done(job);
}

/* End a job early: what waits leaves now, what workers hold when they return it. */
static void job_abort(struct scheduler *s, struct job *job, enum job_state state,
                      enum job_reason reason, int error)
{
    struct model_queue *q = &s->queues[job->model_idx];
    q->waiting_evaluations -= (uint64_t)job_ready_rows(job) * job->evaluations;
    if (job->in_ring) {
        ring_remove(q, job);
    }
    if (job->in_encode_queue) {
        encode_queue_remove(s, job);
    }
    s->queue_rows -= job->n_rows - job->n_rows_drawn;
    s->queue_evaluations -=
        ((uint64_t)job->n_rows * job->steps - job->steps_done) * job->evaluations;
    job->n_started = 0;
    job->next_row = job->n_rows;
    job->canceled_ns = uv_hrtime();
    job->reason = reason;
    job->error = error;
    job_move(job, state);
    if (job->n_busy == 0) {
        job_release(s, job);
    }
}

static void job_fail(struct scheduler *s, struct job *job, int error)
{
    job_abort(s, job, JOB_FAILED, error == DN_ENOMEM ? REASON_OUT_OF_MEMORY : REASON_INTERNAL,
              error);
}

/* ---- work comes back ------------------------------------------------------------------------ */

static void after_row(struct scheduler *s, struct worker *w, const struct batch_row *b)
{
    struct job *job = b->job;
    struct model_queue *q = &s->queues[w->model_idx];
    q->running_evaluations -= job->evaluations;
    job->rows[b->row_idx] = b->row;
    job->n_busy--;
    if (b->error == 0) {
        job->steps_done++;
        job->evaluations_done += dn_row_evaluations_per_step(b->row);
        s->metrics->steps++;
    }
    if (job_is_over(job)) {
        if (job->n_busy == 0) {
            job_release(s, job);
        }
        return;
    }
    if (b->error != 0) {
        job_fail(s, job, b->error);
        return;
    }
    s->queue_evaluations -= job->evaluations;
    if (!dn_row_done(b->row)) {
        job->started[job->n_started++] = b->row_idx;
        q->waiting_evaluations += job->evaluations;
        if (!job->in_ring) {
            ring_add(q, job);
        }
        return;
    }
    job->drawn[job->n_drawn++] = b->row_idx;
    s->queue_rows--;
    s->metrics->images[dn_row_params(b->row)->sampler]++;
    if (++job->n_rows_drawn == job->n_rows) {
        job->last_step_ns = w->ended_ns;
        job_move(job, JOB_FINISHING);
    }
    encode_queue_add(s, job);
}

static void after_step(struct scheduler *s, struct worker *w)
{
    double seconds = 1e-9 * (double)(w->ended_ns - w->started_ns);
    s->metrics->evaluations += w->evaluations;
    histogram_observe(&s->metrics->step_seconds, seconds);
    histogram_observe(&s->metrics->batch_rows, w->n_batch);
    histogram_observe(&s->metrics->batch_evaluations, w->evaluations);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    s->metrics->last_step_timestamp_s = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    if (w->evaluations) {
        /* A tenth of the newest: follows a change of load within a second, not each hiccup. */
        s->evaluation_s = 0.9 * s->evaluation_s + 0.1 * seconds / w->evaluations;
    }
    for (uint32_t i = 0; i < w->n_batch; i++) {
        after_row(s, w, &w->batch[i]);
    }
}

static void after_encode(struct scheduler *s, struct worker *w)
{
    struct job *job = w->job;
    job->n_busy--;
    job->n_encoding -= w->n_encode;
    job->n_encoded += w->n_encode;
    if (job_is_over(job)) {
        if (job->n_busy == 0) {
            job_release(s, job);
        }
        return;
    }
    if (w->error != 0) {
        job_fail(s, job, w->error);
        return;
    }
    if (w->finish) {
        job_move(job, JOB_SUCCEEDED);
        job_release(s, job);
        return;
    }
    if (job->n_drawn > 0 || job->n_encoded == job->n_rows) {
        encode_queue_add(s, job);
    }
}

static void after_warm(struct scheduler *s, struct worker *w)
{
    s->warm_error = w->error ? w->error : s->warm_error;
    if (w->evaluations) {
        double seconds = 1e-9 * (double)(w->ended_ns - w->started_ns) / w->evaluations;
        s->evaluation_s = seconds > s->evaluation_s ? seconds : s->evaluation_s;
    }
    if (s->n_busy == 0) {
        s->ready(s->ready_arg, s->warm_error);
    }
}

static void worker_after(uv_work_t *work, int status)
{
    struct worker *w = work->data;
    struct scheduler *s = w->scheduler;
    (void)status; /* never canceled */
    w->busy = false;
    s->n_busy--;
    switch (w->kind) {
    case WORK_WARM:
        after_warm(s, w);
        break;
    case WORK_STEP:
        after_step(s, w);
        break;
    case WORK_ENCODE:
        after_encode(s, w);
        break;
    }
    scheduler_pump(s);
}

/* ---- work goes out -------------------------------------------------------------------------- */

static void worker_work(uv_work_t *work)
{
    worker_run(work->data);
}

static void worker_start(struct scheduler *s, struct worker *w, enum work_kind kind)
{
    w->kind = kind;
    w->busy = true;
    w->work.data = w;
    s->n_busy++;
    int rc = uv_queue_work(s->loop, &w->work, worker_work, worker_after);
    assert(rc == 0); /* fails only without a callback */
    (void)rc;
}

static void start_encode(struct scheduler *s, struct worker *w)
{
    struct job *job = encode_queue_take(s);
    w->job = job;
    w->n_encode = 0;
    while (w->n_encode < WORKER_MAX_ENCODE && job->n_drawn > 0) {
        w->encode_rows[w->n_encode++] = job->drawn[--job->n_drawn];
    }
    w->finish = job->n_encoding == 0 && job->n_encoded + w->n_encode == job->n_rows;
    job->n_encoding += w->n_encode;
    job->n_busy++;
    if (job->n_drawn > 0) {
        encode_queue_add(s, job);
    }
    worker_start(s, w, WORK_ENCODE);
}

static void batch_add(struct scheduler *s, struct worker *w, struct job *job)
{
    struct model_queue *q = &s->queues[w->model_idx];
    uint32_t row_idx = job_take_row(job);
    w->batch[w->n_batch++] =
        (struct batch_row){.job = job, .row_idx = row_idx, .row = job->rows[row_idx]};
    q->waiting_evaluations -= job->evaluations;
    q->running_evaluations += job->evaluations;
    job->n_busy++;
    if (job->state == JOB_QUEUED) {
        job->first_step_ns = uv_hrtime();
        histogram_observe(&s->metrics->queue_wait_seconds,
                          1e-9 * (double)(job->first_step_ns - job->submitted_ns));
        job_move(job, JOB_RUNNING);
    }
}

static void batch_fill(struct scheduler *s, struct worker *w)
{
    struct model_queue *q = &s->queues[w->model_idx];
    uint64_t load = q->waiting_evaluations + q->running_evaluations;
    uint64_t share = (load + s->n_workers - 1) / s->n_workers;
    uint64_t limit = share < s->max_batch ? share : s->max_batch;
    uint64_t used = 0;
    w->n_batch = 0;
    while (q->head) {
        struct job *job = q->head;
        if (job->credit < job->evaluations) {
            job->credit += QUANTUM;
        }
        while (job_ready_rows(job) > 0 && job->credit >= job->evaluations) {
            if (used > 0 && used + job->evaluations > limit) {
                return; /* the job keeps its credit and its place */
            }
            batch_add(s, w, job);
            used += job->evaluations;
            job->credit -= job->evaluations;
        }
        if (job_ready_rows(job) == 0) {
            ring_remove(q, job);
        } else {
            q->head = job->ring_next;
        }
    }
}

/* The next model with rows that wait, in turn; false when none has. */
static bool pick_model(struct scheduler *s, size_t *model_idx)
{
    for (size_t i = 0; i < s->models->n_models; i++) {
        size_t at = (s->next_model + i) % s->models->n_models;
        if (s->queues[at].head) {
            *model_idx = at;
            s->next_model = (at + 1) % s->models->n_models;
            return true;
        }
    }
    return false;
}

/* Give every idle worker something to do, while there is something. */
static void scheduler_pump(struct scheduler *s)
{
    for (uint32_t i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[i];
        if (w->busy) {
            continue;
        }
        if (s->encode_head) {
            start_encode(s, w);
        } else if (pick_model(s, &w->model_idx)) {
            batch_fill(s, w);
            worker_start(s, w, WORK_STEP);
        } else {
            break;
        }
    }
    publish_gauges(s);
}

/* ---- public --------------------------------------------------------------------------------- */

int scheduler_open(struct scheduler **out, const struct options *options, uint32_t n_workers,
                   const struct model_set *models, struct metrics *metrics, struct dn_error *err)
{
    assert(options->max_batch >= QUANTUM);
    int rc = DN_ENOMEM;
    struct scheduler *s = calloc(1, sizeof *s);
    if (!s) {
        goto fail;
    }
    s->metrics = metrics;
    s->models = models;
    s->max_batch = (uint32_t)options->max_batch;
    s->max_queue_rows = (uint64_t)options->max_queue_rows;
    s->workers = calloc(n_workers, sizeof *s->workers);
    if (!s->workers) {
        goto fail;
    }
    for (uint32_t i = 0; i < n_workers; i++) {
        s->n_workers++;
        rc = worker_open(&s->workers[i], models, s->max_batch, err);
        if (rc != 0) {
            scheduler_close(s);
            return rc;
        }
        s->workers[i].scheduler = s;
    }
    *out = s;
    return 0;
fail:
    scheduler_close(s);
    err->code = DN_ENOMEM;
    err->text[0] = '\0';
    return rc;
}

void scheduler_warm(struct scheduler *s, uv_loop_t *loop, void (*ready)(void *arg, int rc),
                    void *arg)
{
    s->loop = loop;
    s->ready = ready;
    s->ready_arg = arg;
    s->metrics->workers = s->n_workers;
    for (uint32_t i = 0; i < s->n_workers; i++) {
        worker_start(s, &s->workers[i], WORK_WARM);
    }
}

int scheduler_submit(struct scheduler *s, struct job *job)
{
    assert(job->n_rows > 0 && job->evaluations <= QUANTUM);
    if (job->n_rows > s->max_queue_rows - s->queue_rows) {
        return DN_EINVAL;
    }
    job->rows = calloc(job->n_rows, sizeof *job->rows);
    job->started = calloc(job->n_rows, sizeof *job->started);
    job->drawn = calloc(job->n_rows, sizeof *job->drawn);
    if (!job->rows || !job->started || !job->drawn) {
        free(job->rows);
        free(job->started);
        free(job->drawn);
        return DN_ENOMEM;
    }
    job->state = JOB_QUEUED;
    job->submitted_ns = uv_hrtime();
    job->all_prev = NULL;
    job->all_next = s->all;
    if (s->all) {
        s->all->all_prev = job;
    }
    s->all = job;
    s->n_jobs++;
    s->queue_rows += job->n_rows;
    s->queue_evaluations += (uint64_t)job->n_rows * job->steps * job->evaluations;
    s->queues[job->model_idx].waiting_evaluations += (uint64_t)job->n_rows * job->evaluations;
    ring_add(&s->queues[job->model_idx], job);
    scheduler_pump(s);
    return 0;
}

void scheduler_cancel(struct scheduler *s, struct job *job, enum job_reason reason)
{
    if (!job_is_over(job)) {
        job_abort(s, job, JOB_CANCELED, reason, 0);
    }
}

void scheduler_cancel_all(struct scheduler *s, enum job_reason reason)
{
    for (struct job *job = s->all, *next; job; job = next) {
        next = job->all_next;
        scheduler_cancel(s, job, reason);
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
    double seconds = (double)s->queue_evaluations * s->evaluation_s / s->n_workers;
    return seconds < 1 ? 1 : seconds > 1e9 ? 1000000000 : (uint32_t)ceil(seconds);
}

void scheduler_close(struct scheduler *s)
{
    if (!s) {
        return;
    }
    assert(s->n_jobs == 0 && s->n_busy == 0);
    for (uint32_t i = 0; i < s->n_workers; i++) {
        worker_close(&s->workers[i]);
    }
    free(s->workers);
    free(s);
}
