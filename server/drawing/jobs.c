#include "server/drawing/jobs.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/random.h"
#include "server/base/room.h"

#define BUCKETS 1024
#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

LIST_HEAD(bucket, stored_job);
TAILQ_HEAD(job_list, stored_job);

struct jobs {
    struct studio *studio;
    struct bucket buckets[BUCKETS];
    struct job_list all;      /* the newest first */
    struct job_list finished; /* and not expired, the oldest first */
    struct job_list expired;  /* the oldest first */
    struct holding total;     /* of the live ones; those that have ended may go */
    struct holdings holdings; /* of each owner, the same */
    struct alarm alarm;       /* for the first of `finished` and of `expired` */
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
        job->started_s = time(NULL) - (int64_t)((uv_hrtime() - d->job.first_step_ns) / NS_PER_S);
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
    holding_drop(job->holding);
    params_free(&job->params);
    free(job->problem);
    free(job);
}

static void count_live(struct stored_job *job, int sign)
{
    struct holding *both[] = {&job->jobs->total, job->holding};
    for (size_t i = 0; i < 2; i++) {
        both[i]->n += (size_t)sign;
        both[i]->bytes += (uint64_t)sign * job->bytes;
        both[i]->n_spare += job->is_kept ? (size_t)sign : 0;
        both[i]->spare_bytes += job->is_kept ? (uint64_t)sign * job->bytes : 0;
    }
}

static void count_expired(struct stored_job *job, int sign)
{
    job->jobs->total.n_expired += (size_t)sign;
    job->holding->n_expired += (size_t)sign;
}

/* Take it out of the lists that it leaves when it goes. */
static void stored_unlink(struct stored_job *job)
{
    struct jobs *jobs = job->jobs;
    bool is_expired = job->state == STORED_EXPIRED;
    if (is_expired) {
        count_expired(job, -1);
    } else {
        count_live(job, -1);
    }
    if (job->is_kept) {
        TAILQ_REMOVE(is_expired ? &jobs->expired : &jobs->finished, job, kept);
        job->is_kept = false;
    }
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

static struct stored_job *oldest_of(const struct job_list *list, const struct holding *h)
{
    struct stored_job *job = TAILQ_FIRST(list);
    while (job && job->holding != h) {
        job = TAILQ_NEXT(job, kept);
    }
    return job;
}

/* By the clock that never jumps; the wall clock's time is what clients are told. */
static void set_expiry(struct stored_job *job)
{
    uint64_t ttl_s = (uint64_t)job->jobs->studio->serving->options->job_ttl_s;
    job->expires_s = time(NULL) + (int64_t)ttl_s;
    job->expires_ns = uv_hrtime() + ttl_s * NS_PER_S;
}

/* The images of a finished job go; its record stays for as long again. */
static void stored_expire(struct stored_job *job)
{
    struct jobs *jobs = job->jobs;
    stored_unlink(job);
    stored_move(job, STORED_EXPIRED);
    drawing_detach(&job->observer, REASON_NONE);
    set_expiry(job);
    TAILQ_INSERT_TAIL(&jobs->expired, job, kept);
    job->is_kept = true;
    count_expired(job, 1);
    if (jobs->total.n_expired > (size_t)jobs->studio->serving->options->max_jobs) {
        stored_forget(
            oldest_of(&jobs->expired, holdings_most(&jobs->holdings, HOLDING_EXPIRED, NULL, 0)));
    }
}

static void on_alarm(struct alarm *alarm)
{
    struct jobs *jobs = (struct jobs *)(void *)((char *)alarm - offsetof(struct jobs, alarm));
    struct stored_job *job;
    uint64_t now_ns = uv_hrtime();
    while ((job = TAILQ_FIRST(&jobs->expired)) && job->expires_ns <= now_ns) {
        stored_forget(job);
    }
    while ((job = TAILQ_FIRST(&jobs->finished)) && job->expires_ns <= now_ns) {
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
    uint64_t at_ns = finished ? finished->expires_ns : expired->expires_ns;
    at_ns = expired && expired->expires_ns < at_ns ? expired->expires_ns : at_ns;
    uint64_t now_ns = uv_hrtime();
    uint64_t after_ms = at_ns > now_ns ? (at_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
    alarm_set(jobs->studio->alarms, &jobs->alarm, after_ms, on_alarm);
}

/* May the owner have one more of so many bytes, if finished jobs make room? Those that have not
 * ended stay, so one owner's are a part of all. Returns whether; if not, with the reason. */
static bool jobs_have_room(const struct jobs *jobs, const struct holding *h, uint64_t bytes,
                           enum refusal_kind *why)
{
    const struct options *options = jobs->studio->serving->options;
    uint64_t max = (uint64_t)options->max_jobs, max_bytes = (uint64_t)options->max_jobs_bytes;
    uint64_t n = jobs->total.n - jobs->total.n_spare;
    uint64_t n_bytes = jobs->total.bytes - jobs->total.spare_bytes;
    bool is_known = *h->name != '\0'; /* without keys all are one, who have all of the store */
    uint64_t own = is_known ? h->n - h->n_spare : 0;
    uint64_t own_bytes = is_known ? h->bytes - h->spare_bytes : 0;
    *why = room_for_part(max, n, 0, 1) && room_for_part(max_bytes, n_bytes, 0, bytes)
               ? REFUSED_JOBS_PART
               : REFUSED_JOBS_FULL;
    return room_for_part(max, n, own, 1) && room_for_part(max_bytes, n_bytes, own_bytes, bytes);
}

/* Let finished jobs go, the oldest of who has most, until there is room for one more of so many
 * bytes, of this owner. */
static void make_room(struct jobs *jobs, const struct holding *h, uint64_t bytes)
{
    const struct options *options = jobs->studio->serving->options;
    for (;;) {
        bool too_many = jobs->total.n >= (size_t)options->max_jobs;
        bool too_large = jobs->total.bytes + bytes > (uint64_t)options->max_jobs_bytes;
        const struct holding *most = too_many ? holdings_most(&jobs->holdings, HOLDING_THINGS, h, 1)
                                     : too_large
                                         ? holdings_most(&jobs->holdings, HOLDING_BYTES, h, bytes)
                                         : NULL;
        if (!most) {
            return;
        }
        stored_expire(oldest_of(&jobs->finished, most));
    }
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
    jobs_update(job);
    ticket_end(&job->ticket, false);
    set_expiry(job);
    /* Whether its pictures fit is seen now: the others make room, it stays. */
    count_live(job, -1);
    for (size_t i = 0; i < job->params.n_rows; i++) {
        job->bytes += o->drawing->images[i].png_bytes;
    }
    job->bytes += o->drawing->sheet.png_bytes;
    make_room(jobs, job->holding, job->bytes);
    TAILQ_INSERT_TAIL(&jobs->finished, job, kept);
    job->is_kept = true;
    count_live(job, 1);
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
        if (strcmp(job->id, id) == 0 && strcmp(job->holding->name, owner) == 0) {
            return job;
        }
    }
    return NULL;
}

struct stored_job *jobs_older(const struct jobs *jobs, const char *owner, uint64_t before)
{
    struct stored_job *job;
    TAILQ_FOREACH(job, &jobs->all, all)
    {
        if (job->number < before && strcmp(job->holding->name, owner) == 0) {
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
    job->holding = holdings_take(&jobs->holdings, owner);
    if (!job->holding) {
        stored_free(job);
        return NULL;
    }
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

/* There must be room, which finished jobs make now, as nothing can fail any more. */
static void stored_insert(struct stored_job *job)
{
    struct jobs *jobs = job->jobs;
    job->number = job->holding->next_number++;
    job->bytes = bytes_of(&job->params);
    make_room(jobs, job->holding, job->bytes);
    count_live(job, 1);
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
    enum refusal_kind why;
    if (jobs_have_room(jobs, job->holding, bytes_of(params), &why)) {
        rc = drawing_begin(jobs->studio, client, params, NULL, NULL, &job->observer, refusal);
    } else {
        params_free(params);
        refusal_set(refusal, jobs->studio, why);
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
    enum refusal_kind why;
    if (!jobs_have_room(jobs, job->holding, bytes_of(&d->params), &why)) {
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
    LIST_INIT(&jobs->holdings);
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
