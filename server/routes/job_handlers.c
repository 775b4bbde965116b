#include "server/routes/job_handlers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/accept.h"
#include "api/json.h"
#include "api/query.h"
#include "server/drawing/forms.h"
#include "server/drawing/jobs.h"
#include "server/routes/events.h"
#include "server/routes/rendering.h"
#include "server/routes/replies.h"
#include "server/routes/seed.h"
#include "server/routes/service.h"

#define MAX_WAIT_S 60
#define LIST_DEFAULT 20
#define LIST_MAX 100

/* ---- finding and telling -------------------------------------------------------------------- */

/* The job of the URL, or NULL with a reply made. */
static struct stored_job *find_job(struct request *r)
{
    char id[PARAMS_JOB_ID_BYTES];
    struct problem problem;
    struct stored_job *job = NULL;
    if (request_segment(r, 0, id, sizeof id) == 0) {
        job = jobs_find(service_of(r)->jobs, jobs_owner(r->client), id);
    }
    if (!job) {
        problem_set(&problem, PROBLEM_JOB_NOT_FOUND,
                    "There is no such job here; /v1/jobs lists what there is.");
        problem_add(&problem, "/id", "no such job");
        request_reply_problem(r, &problem);
        return NULL;
    }
    if (job->state == STORED_EXPIRED) {
        problem_set(&problem, PROBLEM_JOB_EXPIRED,
                    "The job has expired: its images are not kept any more.");
        request_reply_problem(r, &problem);
        return NULL;
    }
    return job;
}

/* ---- creating ------------------------------------------------------------------------------- */

/* The id is taken: the same request again, or another one. */
static void reply_existing(struct request *r, struct stored_job *job, const char *digest)
{
    struct problem problem;
    if (strcmp(job->body_digest, digest) != 0) {
        problem_set(&problem, PROBLEM_JOB_EXISTS, "Another request has this id already.");
        problem_add(&problem, "/id", "belongs to a job with another body");
    } else if (job->state == STORED_EXPIRED) {
        problem_set(&problem, PROBLEM_JOB_EXPIRED, "The job of this request has expired.");
    } else {
        reply_created_job(r, 200, job);
        return;
    }
    request_reply_problem(r, &problem);
}

void jobs_handle_create(struct request *r)
{
    struct sample_params params;
    struct problem problem;
    const char *body = r->body ? r->body : "";
    if (r->out_of_memory) {
        reply_no_memory(r);
        return;
    }
    if (params_from_body(&params, &service_of(r)->serving.api, PARAMS_JOB, body, r->body_bytes,
                         &problem) != 0) {
        request_reply_problem(r, &problem);
        return;
    }
    char digest[IMAGE_DIGEST_BYTES];
    image_digest(digest, (const uint8_t *)body, r->body_bytes);
    struct stored_job *job =
        *params.job_id ? jobs_find(service_of(r)->jobs, jobs_owner(r->client), params.job_id)
                       : NULL;
    if (job) {
        params_free(&params);
        reply_existing(r, job, digest);
        return;
    }
    if (seed_draw(r, &params) != 0) {
        return;
    }
    r->n_rows = (uint32_t)params.n_rows;
    struct refusal refusal;
    job = jobs_create(service_of(r)->jobs, r->client, &params, digest, &refusal);
    if (job) {
        reply_created_job(r, 202, job);
    } else {
        reply_refusal(r, &refusal);
    }
}

/* ---- parameters of a query ------------------------------------------------------------------ */

/* An integer parameter, in digits. Returns 0, or -1 with the fault added. */
static int read_integer(const char *pointer, const char *value, double min, double max, double *out,
                        struct problem *problem)
{
    double number;
    if (value[strspn(value, "0123456789")] || json_read_number(&number, value) != 0 ||
        number < min || number > max || number != (double)(uint64_t)number) {
        problem_add(problem, pointer, "must be an integer %.0f..%.0f", min, max);
        return -1;
    }
    *out = number;
    return 0;
}

static void add_unknown(struct problem *problem, const char *key)
{
    char pointer[PROBLEM_POINTER_BYTES] = "";
    problem_pointer_push(pointer, key);
    problem_add(problem, pointer, "unknown parameter");
}

/* ---- listing -------------------------------------------------------------------------------- */

struct list_query {
    double limit;
    double before; /* the cursor: number of the last job that was told */
    int state;     /* enum stored_state, or -1 */
};

static int state_by_name(const char *name)
{
    for (int i = 0; i < STORED_STATES; i++) {
        if (strcmp(stored_state_names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

static int read_list_query(struct list_query *list, const char *raw, struct problem *problem)
{
    struct query query;
    *list = (struct list_query){.limit = LIST_DEFAULT, .before = 9007199254740991, .state = -1};
    int rc = query_parse(&query, raw, problem);
    if (rc == 0) {
        problem_set(problem, PROBLEM_INVALID_REQUEST, "The request is not valid; see errors.");
    }
    for (size_t i = 0; rc == 0 && i < query.n_pairs; i++) {
        const char *key = query.pairs[i].key, *value = query.pairs[i].value;
        if (strcmp(key, "limit") == 0) {
            read_integer("/limit", value, 1, LIST_MAX, &list->limit, problem);
        } else if (strcmp(key, "cursor") == 0) {
            read_integer("/cursor", value, 0, 9007199254740991, &list->before, problem);
        } else if (strcmp(key, "status") == 0) {
            list->state = state_by_name(value);
            if (list->state < 0) {
                problem_add(problem, "/status",
                            "must be one of: queued, running, succeeded, failed, canceled, "
                            "expired");
            }
        } else {
            add_unknown(problem, key);
        }
    }
    rc = rc == 0 && problem->n_errors ? -1 : rc;
    query_free(&query);
    return rc;
}

void jobs_handle_list(struct request *r)
{
    struct problem problem;
    struct list_query list;
    if (read_list_query(&list, r->query, &problem) != 0) {
        request_reply_problem(r, &problem);
        return;
    }
    struct text t = TEXT_INIT;
    uint64_t last = 0;
    double n = 0;
    text_puts(&t, "{\"object\":\"list\",\"data\":[");
    const char *owner = jobs_owner(r->client);
    struct stored_job *job = jobs_older(service_of(r)->jobs, owner, (uint64_t)list.before);
    for (; job && n < list.limit; job = TAILQ_NEXT(job, all)) {
        struct job_view view;
        if (strcmp(job->holding->name, owner) != 0 ||
            (list.state >= 0 && jobs_update(job) != (enum stored_state)list.state)) {
            continue;
        }
        jobs_view(job, &view);
        view.images = NULL; /* of one job alone: a page of them would be long */
        text_puts(&t, n++ > 0 ? "," : "");
        job_document_put(&t, &view);
        last = job->number;
    }
    while (job && strcmp(job->holding->name, owner) != 0) { /* says nothing of the others' */
        job = TAILQ_NEXT(job, all);
    }
    if (job) {
        text_printf(&t, "],\"next_cursor\":\"%llu\"}\n", (unsigned long long)last);
    } else {
        text_puts(&t, "],\"next_cursor\":null}\n");
    }
    size_t bytes = 0;
    char *body = text_take(&t, &bytes);
    request_reply(r, 200, "application/json", body, bytes);
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

/* ---- one job -------------------------------------------------------------------------------- */

/* A request that waits for a job's end or for its time to be up. */
struct long_poll {
    struct job_waiter waiter; /* first */
    struct alarm alarm;
    struct request *request;
    struct stored_job *job;
};

static void poll_leave(struct long_poll *poll)
{
    struct request *r = poll->request;
    jobs_unwait(&poll->waiter);
    alarm_clear(&service_of(r)->alarms, &poll->alarm);
    free(poll);
    r->holder = NULL;
    request_resume(r);
}

static void poll_answer(struct long_poll *poll)
{
    reply_job(poll->request, 200, poll->job);
    poll_leave(poll);
}

static void on_job_over(struct job_waiter *w)
{
    poll_answer((struct long_poll *)w);
}

static void on_poll_alarm(struct alarm *alarm)
{
    poll_answer((struct long_poll *)(void *)((char *)alarm - offsetof(struct long_poll, alarm)));
}

static void on_poll_gone(struct request *r)
{
    r->gone = true;
    poll_leave(r->holder);
}

static void poll_start(struct request *r, struct stored_job *job, double wait_s)
{
    struct long_poll *poll = calloc(1, sizeof *poll);
    if (!poll || request_watch(r, on_poll_gone) != 0) {
        free(poll);
        reply_no_memory(r);
        return;
    }
    poll->waiter.over = on_job_over;
    poll->request = r;
    poll->job = job;
    r->holder = poll;
    jobs_wait(job, &poll->waiter);
    alarm_set(&service_of(r)->alarms, &poll->alarm, (uint64_t)(1000 * wait_s), on_poll_alarm);
    request_suspend(r);
}

static int read_wait(const char *raw, double *wait_s, struct problem *problem)
{
    struct query query;
    *wait_s = 0;
    int rc = query_parse(&query, raw, problem);
    if (rc == 0) {
        problem_set(problem, PROBLEM_INVALID_REQUEST, "The request is not valid; see errors.");
    }
    for (size_t i = 0; rc == 0 && i < query.n_pairs; i++) {
        if (strcmp(query.pairs[i].key, "wait") == 0) {
            read_integer("/wait", query.pairs[i].value, 0, MAX_WAIT_S, wait_s, problem);
        } else {
            add_unknown(problem, query.pairs[i].key);
        }
    }
    rc = rc == 0 && problem->n_errors ? -1 : rc;
    query_free(&query);
    return rc;
}

void jobs_handle_get(struct request *r)
{
    struct problem problem;
    double wait_s;
    if (read_wait(r->query, &wait_s, &problem) != 0) {
        request_reply_problem(r, &problem);
        return;
    }
    struct stored_job *job = find_job(r);
    if (!job) {
        return;
    }
    if (wait_s > 0 && jobs_update(job) < STORED_SUCCEEDED && strcmp(r->method, "HEAD") != 0) {
        poll_start(r, job, wait_s);
    } else {
        reply_job(r, 200, job);
    }
}

void jobs_handle_delete(struct request *r)
{
    char id[PARAMS_JOB_ID_BYTES];
    struct stored_job *job = NULL;
    if (request_segment(r, 0, id, sizeof id) == 0) {
        job = jobs_find(service_of(r)->jobs, jobs_owner(r->client), id);
    }
    if (job) { /* an expired one too */
        jobs_remove(job);
        request_reply_static(r, 204, NULL, "", 0);
    } else {
        find_job(r);
    }
}

void jobs_handle_cancel(struct request *r)
{
    struct stored_job *job = find_job(r);
    if (job) {
        jobs_cancel(job);
        reply_job(r, 200, job);
    }
}

void jobs_handle_events(struct request *r)
{
    struct stored_job *job = find_job(r);
    if (job) {
        events_follow(r, job->observer.drawing, job->id);
    }
}

/* ---- results -------------------------------------------------------------------------------- */

static void reply_not_done(struct request *r, const struct stored_job *job)
{
    struct problem problem;
    problem_set(&problem, PROBLEM_JOB_NOT_DONE, "The job is %s.", stored_state_names[job->state]);
    request_reply_problem(r, &problem);
}

/* The drawing of the URL's job, or NULL with a reply made. */
static struct drawing *find_result(struct request *r)
{
    struct stored_job *job = find_job(r);
    struct drawing *d = job ? jobs_result(job) : NULL;
    if (job && !d) {
        reply_not_done(r, job);
    }
    return d;
}

/* The form that the client likes best of those in which this job's images can be had, or NULL. */
static const struct form *choose_form(struct request *r, const struct drawing *d)
{
    const char *types[ROUTE_MAX_TYPES];
    int n = 0;
    for (int i = 0; i < ROUTE_MAX_TYPES && routes[ROUTE_JOB_RESULT].types[i]; i++) {
        const char *type = routes[ROUTE_JOB_RESULT].types[i];
        if (!form_fault(form_by_type(type), &d->params)) {
            types[n++] = type;
        }
    }
    int chosen = accept_choose(request_list(r, MHD_HTTP_HEADER_ACCEPT), types, n);
    return chosen < 0 ? NULL : form_by_type(types[chosen]);
}

void jobs_handle_result(struct request *r)
{
    struct drawing *d = find_result(r);
    const struct form *form = d ? choose_form(r, d) : NULL;
    if (d && !form) {
        struct problem problem;
        problem_set(
            &problem, PROBLEM_NOT_ACCEPTABLE,
            "This job's images can be had as JSON, zip and multipart/mixed; a single one, and "
            "a grid, as a picture, and as an APNG if it was drawn as a film. Others are at "
            "images/{i}.png, and together at grid.png.");
        request_reply_problem(r, &problem);
    } else if (d) {
        rendering_start(r, d, form, 0);
    }
}

void jobs_handle_grid(struct request *r)
{
    struct drawing *d = find_result(r);
    if (d) {
        rendering_start(r, d, &form_grid, 0);
    }
}

/* One that is drawn can be had while the others are not. */
void jobs_handle_image(struct request *r)
{
    struct stored_job *job = find_job(r);
    char number[16];
    double i;
    struct problem problem;
    if (!job) {
        return;
    }
    problem_set(&problem, PROBLEM_NOT_FOUND, "The job has no such image.");
    if (request_segment(r, 1, number, sizeof number) != 0 ||
        read_integer("/i", number, 0, (double)(job->params.n_rows - 1), &i, &problem) != 0) {
        request_reply_problem(r, &problem);
        return;
    }
    enum stored_state state = jobs_update(job);
    struct drawing *d = job->observer.drawing;
    if ((state == STORED_RUNNING || state == STORED_SUCCEEDED) && drawing_has_image(d, (size_t)i)) {
        rendering_start(r, d, &form_image, (size_t)i);
    } else {
        reply_not_done(r, job);
    }
}
