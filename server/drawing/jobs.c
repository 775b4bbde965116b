#include "server/drawing/jobs.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/random.h"

#define BUCKETS 1024

LIST_HEAD(bucket, stored_job);
TAILQ_HEAD(job_list, stored_job);

struct jobs {
    struct studio *studio;
    struct bucket buckets[BUCKETS];
    struct job_list all;      /* the newest first */
    struct job_list finished; /* and not expired, the oldest first */
    struct job_list expired;  /* the oldest first */
    size_t n_live, n_expired; /* n_live: not expired */
    uint64_t bytes;           /* of the images of the live ones */
    uint64_t next_number;
    struct alarm alarm; /* for the first of `finished` and of `expired` */
};

const char *const stored_state_names[STORED_STATES] = {
    [STORED_QUEUED] = "queued", [STORED_RUNNING] = "running",   [STORED_SUCCEEDED] = "succeeded",
    [STORED_FAILED] = "failed", [STORED_CANCELED] = "canceled", [STORED_EXPIRED] = "expired",
};

/* ---- states --------------------------------------------------------------------------------- */

#define TO(state) (1u << (state))

static const unsigned stored_edges[STORED_STATES] = {
    [STORED_QUEUED] = TO(STORED_RUNNING) | TO(STORED_FAILED) | TO(STORED_CANCELED),
    [STORED_RUNNING] = TO(STORED_SUCCEEDED) | TO(STORED_FAILED) | TO(STORED_CANCELED),
    [STORED_SUCCEEDED] = TO(STORED_EXPIRED),
    [STORED_FAILED] = TO(STORED_EXPIRED),
    [STORED_CANCELED] = TO(STORED_EXPIRED),
    [STORED_EXPIRED] = 0,
};

static void stored_move(struct stored_job *job, enum stored_state to)
{
    assert(stored_edges[job->state] & TO(to));
    job->state = to;
}

static bool stored_has_ended(const struct stored_job *job)
{
    return job->state >= STORED_SUCCEEDED;
}

static void set_problem(struct stored_job *job)
{
    job->problem = malloc(sizeof *job->problem); /* without memory the state alone is told */
    if (job->problem) {
        drawing_problem(job->observer.drawing, job->problem);
    }
}

/* A drawing that somebody asked to end is canceled; one that had to end early has failed. */
static enum stored_state end_of(const struct job *job)
{
    if (job->state == JOB_SUCCEEDED) {
        return STORED_SUCCEEDED;
    }
    return job->reason == REASON_CANCEL ? STORED_CANCELED : STORED_FAILED;
}

enum stored_state jobs_update(struct stored_job *job)
{
    struct drawing *d = job->observer.drawing;
    if (!d || stored_has_ended(job)) {
        return job->state;
    }
    if (job->state == STORED_QUEUED && d->job.first_step_ns) {
        stored_move(job, STORED_RUNNING);
        job->started_s =
            time(NULL) - (int64_t)((uv_hrtime() - d->job.first_step_ns) / UINT64_C(1000000000));
    }
    if (job_is_over(&d->job)) {
        stored_move(job, end_of(&d->job));
        if (job->state == STORED_FAILED) {
            set_problem(job);
        }
        drawing_progress(d, &job->progress);
        job->finished_s = time(NULL);
    }
    return job->state;
}

/* ---- room ----------------------------------------------------------------------------------- */

static void jobs_arm(struct jobs *jobs);

static void waiters_call(struct stored_job *job)
{
    struct job_waiter *w;
    while ((w = TAILQ_FIRST(&job->waiters))) {
        jobs_unwait(w);
        w->over(w);
    }
}

static void stored_free(struct stored_job *job)
{
    params_free(&job->params);
    free(job->problem);
    free(job);
}

/* Take it out of the lists that it leaves when it goes. */
static void stored_unlink(struct stored_job *job)
{
    struct jobs *jobs = job->jobs;
    bool is_expired = job->state == STORED_EXPIRED;
    if (job->is_kept) {
        TAILQ_REMOVE(is_expired ? &jobs->expired : &jobs->finished, job, kept);
        job->is_kept = false;
    }
    *(is_expired ? &jobs->n_expired : &jobs->n_live) -= 1;
    jobs->bytes -= job->bytes;
    job->bytes = 0;
}

static void stored_forget(struct stored_job *job)
{
    ticket_end(&job->ticket, false);
    stored_unlink(job);
    TAILQ_REMOVE(&job->jobs->all, job, all);
    LIST_REMOVE(job, same_hash);
    stored_free(job);
}

/* The images of a finished job go; its record stays for as long again. */
static void stored_expire(struct stored_job *job)
{
    struct jobs *jobs = job->jobs;
    stored_unlink(job);
    stored_move(job, STORED_EXPIRED);
    drawing_detach(&job->observer, REASON_NONE);
    job->expires_s = time(NULL) + jobs->studio->serving->options->job_ttl_s;
    TAILQ_INSERT_TAIL(&jobs->expired, job, kept);
    job->is_kept = true;
    if (++jobs->n_expired > (size_t)jobs->studio->serving->options->max_jobs) {
        stored_forget(TAILQ_FIRST(&jobs->expired));
    }
}

static void on_alarm(struct alarm *alarm)
{
    struct jobs *jobs = (struct jobs *)(void *)((char *)alarm - offsetof(struct jobs, alarm));
    struct stored_job *job;
    int64_t now_s = time(NULL);
    while ((job = TAILQ_FIRST(&jobs->expired)) && job->expires_s <= now_s) {
        stored_forget(job);
    }
    while ((job = TAILQ_FIRST(&jobs->finished)) && job->expires_s <= now_s) {
        stored_expire(job);
    }
    jobs_arm(jobs);
}

static void jobs_arm(struct jobs *jobs)
{
    const struct stored_job *finished = TAILQ_FIRST(&jobs->finished);
    const struct stored_job *expired = TAILQ_FIRST(&jobs->expired);
    if (!finished && !expired) {
        alarm_clear(jobs->studio->alarms, &jobs->alarm);
        return;
    }
    int64_t at_s = finished ? finished->expires_s : expired->expires_s;
    at_s = expired && expired->expires_s < at_s ? expired->expires_s : at_s;
    int64_t left_s = at_s - time(NULL);
    uint64_t after_ms = left_s > 0 ? (uint64_t)left_s * 1000 : 0;
    alarm_set(jobs->studio->alarms, &jobs->alarm, after_ms, on_alarm);
}

/* Would one more of `bytes` be too much beside so many, of so many bytes? */
static bool jobs_are_full(const struct jobs *jobs, size_t n_live, uint64_t live_bytes,
                          uint64_t bytes)
{
    const struct options *options = jobs->studio->serving->options;
    return n_live >= (size_t)options->max_jobs ||
           live_bytes + bytes > (uint64_t)options->max_jobs_bytes;
}

/* Can there be room for one more of so many bytes, if finished jobs make it? */
static bool jobs_have_room(const struct jobs *jobs, uint64_t bytes)
{
    const struct stored_job *oldest = TAILQ_FIRST(&jobs->finished);
    size_t n_live = jobs->n_live;
    uint64_t live_bytes = jobs->bytes;
    while (oldest && jobs_are_full(jobs, n_live, live_bytes, bytes)) {
        n_live--;
        live_bytes -= oldest->bytes;
        oldest = TAILQ_NEXT(oldest, kept);
    }
    return !jobs_are_full(jobs, n_live, live_bytes, bytes);
}

/* Bytes of a drawing of these parameters before its images are encoded. */
static uint64_t bytes_of(const struct sample_params *params)
{
    const struct dn_model_info *info = dn_model_info(params->model);
    uint64_t image_bytes =
        (uint64_t)info->height * (uint64_t)info->width * (uint64_t)info->channels;
    uint64_t copies = params->preview_every ? 2 : 1; /* the previews, once somebody looks */
    return params->n_rows * (copies * image_bytes + sizeof(struct image));
}

/* ---- the end of a job ----------------------------------------------------------------------- */

static void on_ended(struct observer *o)
{
    struct stored_job *job = (struct stored_job *)o;
    struct jobs *jobs = job->jobs;
    const struct options *options = jobs->studio->serving->options;
    jobs_update(job);
    ticket_end(&job->ticket, false);
    job->expires_s = time(NULL) + options->job_ttl_s;
    TAILQ_INSERT_TAIL(&jobs->finished, job, kept);
    job->is_kept = true;
    for (size_t i = 0; i < job->params.n_rows; i++) {
        job->bytes += o->drawing->images[i].png_bytes;
        jobs->bytes += o->drawing->images[i].png_bytes;
    }
    job->bytes += o->drawing->sheet.png_bytes;
    jobs->bytes += o->drawing->sheet.png_bytes;
    struct stored_job *oldest;
    while (jobs->bytes > (uint64_t)options->max_jobs_bytes &&
           (oldest = TAILQ_FIRST(&jobs->finished)) != job) {
        stored_expire(oldest);
    }
    jobs_arm(jobs);
    waiters_call(job);
}

static const struct observer_ops stored_ops = {.ended = on_ended};

void jobs_cancel(struct stored_job *job)
{
    if (job->observer.drawing) {
        drawing_cancel(job->observer.drawing, REASON_CANCEL);
    }
    jobs_update(job);
}

void jobs_remove(struct stored_job *job)
{
    if (job->observer.drawing) {
        drawing_cancel(job->observer.drawing, REASON_CANCEL);
    }
    jobs_update(job);
    drawing_detach(&job->observer, REASON_CANCEL);
    waiters_call(job);
    stored_forget(job);
}

/* ---- the beginning -------------------------------------------------------------------------- */

static size_t hash_of(const char *id)
{
    uint32_t hash = UINT32_C(2166136261); /* FNV-1a */
    for (const char *c = id; *c; c++) {
        hash = (hash ^ (unsigned char)*c) * UINT32_C(16777619);
    }
    return hash % BUCKETS;
}

const char *jobs_owner(const struct client *client)
{
    return client ? client->name : "";
}

struct stored_job *jobs_find(const struct jobs *jobs, const char *owner, const char *id)
{
    struct stored_job *job;
    LIST_FOREACH(job, &jobs->buckets[hash_of(id)], same_hash)
    {
        if (strcmp(job->id, id) == 0 && strcmp(job->owner, owner) == 0) {
            return job;
        }
    }
    return NULL;
}

struct stored_job *jobs_older(const struct jobs *jobs, uint64_t before)
{
    struct stored_job *job;
    TAILQ_FOREACH(job, &jobs->all, all)
    {
        if (job->number < before) {
            return job;
        }
    }
    return NULL;
}

/* A record, in no list yet. NULL when there is no memory. */
static struct stored_job *stored_new(struct jobs *jobs, const char *owner,
                                     const struct sample_params *params)
{
    struct stored_job *job = calloc(1, sizeof *job);
    if (!job || params_copy(&job->params, params) != 0) {
        free(job);
        return NULL;
    }
    memcpy(job->id, params->job_id, sizeof job->id);
    memcpy(job->owner, owner, strlen(owner) + 1);
    if (!*job->id && random_id(job->id, sizeof job->id, "job_") != 0) {
        stored_free(job);
        return NULL;
    }
    job->observer.ops = &stored_ops;
    job->jobs = jobs;
    job->created_s = time(NULL);
    TAILQ_INIT(&job->waiters);
    return job;
}

/* There must be room, which the oldest of the finished jobs make now, as nothing can fail any more.
 */
static void stored_insert(struct stored_job *job)
{
    struct jobs *jobs = job->jobs;
    job->number = jobs->next_number++;
    job->bytes = bytes_of(&job->params);
    while (jobs_are_full(jobs, jobs->n_live, jobs->bytes, job->bytes)) {
        stored_expire(TAILQ_FIRST(&jobs->finished));
    }
    jobs->bytes += job->bytes;
    jobs->n_live++;
    TAILQ_INSERT_HEAD(&jobs->all, job, all);
    LIST_INSERT_HEAD(&jobs->buckets[hash_of(job->id)], job, same_hash);
    jobs_update(job);
}

static void on_late(struct ticket *t)
{
    struct stored_job *job =
        (struct stored_job *)(void *)((char *)t - offsetof(struct stored_job, ticket));
    ticket_end(t, false);
    drawing_cancel(job->observer.drawing, REASON_DEADLINE);
}

struct stored_job *jobs_create(struct jobs *jobs, struct client *client,
                               struct sample_params *params, const char *body_digest,
                               struct refusal *refusal)
{
    struct stored_job *job = stored_new(jobs, jobs_owner(client), params);
    if (!job) {
        params_free(params);
        refusal_set(refusal, jobs->studio, REFUSED_NO_MEMORY);
        return NULL;
    }
    memcpy(job->body_digest, body_digest, strlen(body_digest) + 1);
    if (ticket_begin(&job->ticket, jobs->studio, client, params, on_late, refusal) != 0) {
        params_free(params);
        stored_free(job);
        return NULL;
    }
    job->params.priority = params->priority;
    int rc = -1;
    if (jobs_have_room(jobs, bytes_of(params))) {
        rc = drawing_begin(jobs->studio, client, params, NULL, &job->observer, refusal);
    } else {
        params_free(params);
        refusal_set(refusal, jobs->studio, REFUSED_JOBS_FULL);
    }
    if (rc != 0) {
        ticket_end(&job->ticket, true);
        stored_free(job);
        return NULL;
    }
    stored_insert(job);
    return job;
}

struct stored_job *jobs_adopt(struct jobs *jobs, struct client *client, struct drawing *d,
                              struct ticket *ticket)
{
    struct stored_job *job = stored_new(jobs, jobs_owner(client), &d->params);
    if (!job) {
        return NULL;
    }
    if (!jobs_have_room(jobs, bytes_of(&d->params))) {
        stored_free(job);
        return NULL;
    }
    job->created_s = d->created;
    drawing_attach(d, &job->observer);
    ticket_move(&job->ticket, ticket, on_late);
    stored_insert(job);
    return job;
}

/* ---- for those who ask ---------------------------------------------------------------------- */

struct drawing *jobs_result(struct stored_job *job)
{
    return jobs_update(job) == STORED_SUCCEEDED ? job->observer.drawing : NULL;
}

void jobs_view(struct stored_job *job, struct job_view *view)
{
    const struct drawing *d = jobs_result(job);
    if (!stored_has_ended(job)) {
        drawing_progress(job->observer.drawing, &job->progress);
    }
    *view = (struct job_view){
        .id = job->id,
        .status = stored_state_names[job->state],
        .params = &job->params,
        .created = job->created_s,
        .started = job->started_s,
        .finished = job->finished_s,
        .expires = job->state == STORED_EXPIRED ? 0 : job->expires_s,
        .progress = job->progress,
        .images = d ? d->images : NULL,
        .problem = job->problem,
    };
}

void jobs_wait(struct stored_job *job, struct job_waiter *w)
{
    assert(!stored_has_ended(job) && !w->job);
    w->job = job;
    TAILQ_INSERT_TAIL(&job->waiters, w, link);
}

void jobs_unwait(struct job_waiter *w)
{
    if (w->job) {
        TAILQ_REMOVE(&w->job->waiters, w, link);
        w->job = NULL;
    }
}

/* ---- the whole ------------------------------------------------------------------------------ */

int jobs_open(struct jobs **out, struct studio *studio)
{
    struct jobs *jobs = calloc(1, sizeof *jobs);
    if (!jobs) {
        return -1;
    }
    jobs->studio = studio;
    TAILQ_INIT(&jobs->all);
    TAILQ_INIT(&jobs->finished);
    TAILQ_INIT(&jobs->expired);
    *out = jobs;
    return 0;
}

void jobs_close(struct jobs *jobs)
{
    if (!jobs) {
        return;
    }
    alarm_clear(jobs->studio->alarms, &jobs->alarm);
    for (struct stored_job *job = TAILQ_FIRST(&jobs->all), *next; job; job = next) {
        next = TAILQ_NEXT(job, all);
        drawing_detach(&job->observer, REASON_NONE);
        stored_forget(job);
    }
    free(jobs);
}
