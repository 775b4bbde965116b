#include "server/routes/samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/prefer.h"
#include "api/query.h"
#include "server/base/alarm.h"
#include "server/drawing/cache.h"
#include "server/drawing/forms.h"
#include "server/drawing/gate.h"
#include "server/drawing/jobs.h"
#include "server/http/precondition.h"
#include "server/routes/events.h"
#include "server/routes/replies.h"
#include "server/routes/seed.h"
#include "server/routes/service.h"

#define SAMPLES_MAX_WAIT_S 60

/* A request that waits for its drawing: made by a handler, gone with the answer or with the client.
 */
struct sample {
    struct observer observer; /* first */
    struct ticket ticket;
    struct cache_flight flight; /* of a GET that others may join */
    bool is_collapsed;          /* it joined another */
    enum priority priority;     /* its own, and the time that it has */
    uint32_t timeout_ms;
    struct request *request;
    const struct form *form;
    bool is_get;
    struct alarm alarm; /* when the client wants a job instead of waiting on */
    uint32_t wait_s;
    char etag[IMAGE_ETAG_BYTES]; /* "" without one */
};

/* ---- the answer ----------------------------------------------------------------------------- */

static void add_seed(struct request *r, uint64_t seed)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    request_add_header(r, "X-Seed", text);
}

/* Who may keep a GET's picture: anyone for ever when the URL fixes it, anyone who asks again when
 * only the model behind its name could change, nobody when we drew the seed. */
static void add_caching(struct request *r, const struct sample_params *p, const char *etag)
{
    const char *who = r->client ? "private" : "public"; /* a proxy does not ask for keys */
    char text[64];
    if (!*etag) {
        request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
        return;
    }
    request_add_header(r, MHD_HTTP_HEADER_ETAG, etag);
    snprintf(text, sizeof text, "%s, max-age=%s", who,
             p->model_by_digest ? "31536000, immutable" : "0, must-revalidate");
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, text);
}

/* Say and count how the picture came about (RFC 9211). */
static void add_cache_status(struct request *r, enum cache_result result, bool stored)
{
    static const char *const texts[CACHE_RESULTS] = {
        [CACHE_HIT] = "denoised; hit",
        [CACHE_COLLAPSED] = "denoised; fwd=miss; collapsed",
        [CACHE_MISS] = "denoised; fwd=miss",
        [CACHE_BYPASS] = "denoised; fwd=bypass",
    };
    request_add_header(r, "Cache-Status", stored ? "denoised; fwd=miss; stored" : texts[result]);
    service_of(r)->metrics.cache_requests[result]++;
}

static void reply_success(struct sample *s)
{
    struct drawing *d = s->observer.drawing;
    struct rendition rendition;
    int rc = drawing_take(d, s->form, &rendition);
    reply_rendition(s->request, d, rc, &rendition);
    if (s->is_get) {
        enum cache_result result = !*s->etag         ? CACHE_BYPASS
                                   : s->is_collapsed ? CACHE_COLLAPSED
                                                     : CACHE_MISS;
        bool stored = result == CACHE_MISS &&
                      cache_put(service_of(s->request)->cache, s->etag, &d->images[0]);
        add_caching(s->request, &d->params, s->etag);
        add_cache_status(s->request, result, stored);
    } else {
        request_add_header(s->request, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
        request_add_header(s->request, MHD_HTTP_HEADER_VARY, "Accept");
    }
}

static void reply_failure(struct sample *s)
{
    struct problem problem;
    drawing_problem(s->observer.drawing, &problem);
    log_event(&service_of(s->request)->log, LOG_WARN, "sampling_failed",
              LOG_S("request_id", s->request->id), LOG_S("reason", problem.detail));
    request_reply_problem(s->request, &problem);
    if (problem.kind == PROBLEM_DRAINING) {
        request_add_header(s->request, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    }
}

static const struct observer_ops sample_ops;

/* Another who waits for the same drawing as `s`, or NULL. */
static struct sample *sample_find_other(const struct sample *s, const struct drawing *d)
{
    struct observer *o = d->observers;
    while (o && (o == &s->observer || o->ops != &sample_ops)) {
        o = o->next;
    }
    return (struct sample *)o;
}

/* Is the drawing drawn in the name of `s`, or of another request like it? */
static bool sample_has_place(const struct sample *s, const struct drawing *d)
{
    return d->client == s->request->client && d->job.priority == s->priority;
}

/* It leaves: the next of those who wait for the same picture lets others find it. */
static void sample_pass_flight(struct sample *s)
{
    struct drawing *d = s->flight.drawing;
    cache_end_flight(&s->flight);
    if (!d || drawing_has_ended(d)) {
        return;
    }
    struct sample *heir = sample_find_other(s, d);
    if (heir) {
        heir->is_collapsed = false;
        cache_begin_flight(service_of(s->request)->cache, &heir->flight, heir->etag, d);
    }
}

/* It leaves: what was drawn in its name is drawn in that of the others who wait for it, whoever has
 * the best place. */
static void sample_pass_place(struct sample *s)
{
    struct drawing *d = s->observer.drawing;
    struct sample *best = NULL;
    double best_s = 0;
    if (!d || drawing_has_ended(d) || !sample_has_place(s, d)) {
        return;
    }
    for (struct observer *o = d->observers; o; o = o->next) {
        struct sample *other = (struct sample *)o;
        if (o == &s->observer || o->ops != &sample_ops) {
            continue;
        }
        if (sample_has_place(other, d)) {
            return;
        }
        double before_s = drawing_before_s(d, other->request->client, other->priority);
        if (!best || before_s < best_s) {
            best = other;
            best_s = before_s;
        }
    }
    if (best) {
        /* Without memory it stays where it is, which is good enough for the others. */
        drawing_move(d, best->request->client, best->priority);
    }
}

/* Let the request go on with the answer it has; what was drawn for others does not count against
 * its quota; without one its connection is closed. */
static void sample_leave(struct sample *s, enum job_reason reason)
{
    struct request *r = s->request;
    alarm_clear(&service_of(r)->alarms, &s->alarm);
    sample_pass_flight(s);
    sample_pass_place(s);
    drawing_detach(&s->observer, reason);
    ticket_end(&s->ticket, s->is_collapsed);
    free(s);
    r->holder = NULL;
    request_resume(r);
}

static void on_ended(struct observer *o)
{
    struct sample *s = (struct sample *)o;
    struct request *r = s->request;
    r->queue_ms = o->drawing->timings.queue_ms;
    r->sample_ms = o->drawing->timings.sample_ms;
    if (o->drawing->job.state == JOB_SUCCEEDED) {
        reply_success(s);
    } else {
        reply_failure(s);
    }
    sample_leave(s, REASON_NONE);
}

static const struct observer_ops sample_ops = {.ended = on_ended};

static void on_gone(struct request *r)
{
    r->gone = true;
    sample_leave(r->holder, REASON_DISCONNECT);
}

/* Its rows leave at their next step, unless others wait for them as well. */
static void on_late(struct ticket *t)
{
    struct sample *s = (struct sample *)((char *)t - offsetof(struct sample, ticket));
    struct problem problem;
    gate_problem_late(&problem, s->timeout_ms);
    request_reply_problem(s->request, &problem);
    sample_leave(s, REASON_DEADLINE);
}

/* The client has waited as long as it wanted to: it gets a job, and goes on waiting where there is
 * no room for one. */
static void on_waited(struct alarm *alarm)
{
    struct sample *s = (struct sample *)(void *)((char *)alarm - offsetof(struct sample, alarm));
    struct stored_job *job = jobs_adopt(service_of(s->request)->jobs, s->request->client,
                                        s->observer.drawing, &s->ticket);
    if (!job) {
        return;
    }
    char applied[32];
    snprintf(applied, sizeof applied, "wait=%u", s->wait_s);
    reply_created_job(s->request, 202, job);
    request_add_header(s->request, "Preference-Applied", applied);
    sample_leave(s, REASON_NONE);
}

/* ---- admission ------------------------------------------------------------------------------ */

void samples_start(struct request *r, struct sample_params *params, const struct form *form,
                   bool is_get, const char *etag, uint32_t wait_s)
{
    struct sample *s = calloc(1, sizeof *s);
    if (!s || request_watch(r, on_gone) != 0) {
        free(s);
        params_free(params);
        reply_no_memory(r);
        return;
    }
    *s = (struct sample){.observer.ops = &sample_ops, .request = r, .form = form, .is_get = is_get};
    struct refusal refusal;
    if (ticket_begin(&s->ticket, &service_of(r)->studio, r->client, params, on_late, &refusal) !=
        0) {
        request_unwatch(r);
        free(s);
        params_free(params);
        reply_refusal(r, &refusal);
        return;
    }
    snprintf(s->etag, sizeof s->etag, "%s", etag);
    s->priority = params->priority;
    s->timeout_ms = params->timeout_ms;
    r->n_rows = (uint32_t)params->n_rows;
    if (drawing_begin(&service_of(r)->studio, r->client, params, form, NULL, &s->observer,
                      &refusal) != 0) {
        request_unwatch(r);
        ticket_end(&s->ticket, true);
        free(s);
        reply_refusal(r, &refusal);
        return;
    }
    r->holder = s;
    request_suspend(r);
    if (*s->etag) {
        cache_begin_flight(service_of(r)->cache, &s->flight, s->etag, s->observer.drawing);
    }
    if (wait_s > 0) {
        s->wait_s = wait_s < SAMPLES_MAX_WAIT_S ? wait_s : SAMPLES_MAX_WAIT_S;
        alarm_set(&service_of(r)->alarms, &s->alarm, (uint64_t)s->wait_s * 1000, on_waited);
    }
}

/* Have it drawn as a job, for which nobody waits. Takes `params` over. */
static void sample_start_async(struct request *r, struct sample_params *params)
{
    r->n_rows = (uint32_t)params->n_rows;
    struct refusal refusal;
    struct stored_job *job = jobs_create(service_of(r)->jobs, r->client, params, "", &refusal);
    if (!job) {
        reply_refusal(r, &refusal);
        return;
    }
    reply_created_job(r, 202, job);
    request_add_header(r, "Preference-Applied", "respond-async");
}

void samples_create(struct request *r)
{
    struct sample_params params;
    struct problem problem;
    if (r->out_of_memory) {
        reply_no_memory(r);
        return;
    }
    const struct form *form = form_by_type(routes[ROUTE_SAMPLES].types[r->media]);
    int rc = params_from_body(&params, &service_of(r)->serving.api,
                              form == &form_apng ? PARAMS_FILM : PARAMS_SAMPLE,
                              r->body ? r->body : "", r->body_bytes, &problem);
    bool is_stream = !form; /* of events */
    struct prefer prefer;
    prefer_read(&prefer, request_list(r, "Prefer"));
    bool is_async = !is_stream && prefer.wait_s == 0 && (prefer.respond_async || prefer.has_wait);
    const char *fault = rc == 0 && form ? form_fault(form, &params) : NULL;
    if (fault) {
        bool is_layout = strcmp(fault, "/layout") == 0;
        problem_add(&problem, fault,
                    is_layout ? "%s is one picture: ask for one image, for layout grid, or accept "
                                "application/zip or application/json"
                              : "%s is for format apng",
                    form->media_type);
        params_free(&params);
        rc = -1;
    }
    if (rc == 0 && is_stream && r->stored_answer) {
        problem_add(&problem, "/Idempotency-Key",
                    "not with text/event-stream, which cannot be sent again; make a job");
        params_free(&params);
        rc = -1;
    }
    if (rc == 0 && params.preview_every && !is_stream && !is_async) {
        problem_add(&problem, "/preview_every", "only with Accept: text/event-stream, or in a job");
        params_free(&params);
        rc = -1;
    }
    if (rc != 0) {
        request_reply_problem(r, &problem);
        return;
    }
    if (seed_draw(r, &params) != 0) {
        return;
    }
    if (is_stream) {
        events_start(r, &params, false);
    } else if (is_async) {
        sample_start_async(r, &params);
    } else {
        samples_start(r, &params, form, false, "", prefer.wait_s);
    }
}

/* The answer to a GET that needs no drawing: 304, or a HEAD's. */
static void reply_without_drawing(struct request *r, const struct sample_params *params,
                                  const char *etag, bool not_modified)
{
    if (not_modified) {
        request_reply_static(r, 304, NULL, "", 0);
    } else {
        request_reply_head(r, 200, routes[r->route.id].types[0]);
    }
    if (params->has_seed) {
        add_seed(r, params->seed);
    }
    request_add_header(r, "X-Model-Digest", dn_model_info(params->model)->digest);
    request_add_header(r, "X-Determinism", dn_model_info(params->model)->kernels);
    add_caching(r, params, etag);
    service_of(r)->metrics.not_modified += not_modified;
}

static int read_url(struct request *r, struct sample_params *params, struct problem *problem)
{
    struct query query;
    char label[256];
    int rc = query_parse(&query, r->query, problem);
    if (rc == 0 && request_segment(r, 0, label, sizeof label) != 0) {
        problem_set(problem, PROBLEM_INVALID_REQUEST, "The label in the path is malformed.");
        problem_add(problem, "/label", "not a label");
        rc = -1;
    }
    if (rc == 0) {
        enum params_format format = r->route.id == ROUTE_SAMPLE_APNG ? FORMAT_APNG : FORMAT_PNG;
        rc = params_from_url(params, &service_of(r)->serving.api, format, label, &query, problem);
    }
    query_free(&query);
    return rc;
}

static void reply_cached(struct request *r, const struct sample_params *params,
                         const struct cache_entry *e)
{
    char *body = malloc(e->png_bytes);
    if (body) {
        memcpy(body, e->png, e->png_bytes);
    }
    request_reply(r, 200, routes[r->route.id].types[0], body, e->png_bytes);
    if (!body) {
        return;
    }
    add_seed(r, params->seed);
    request_add_header(r, "X-Sample-Digest", e->digest);
    request_add_header(r, "X-Model-Digest", dn_model_info(params->model)->digest);
    request_add_header(r, "X-Determinism", dn_model_info(params->model)->kernels);
    request_add_header(r, "Server-Timing", "cache;desc=hit");
    add_caching(r, params, e->key);
    add_cache_status(r, CACHE_HIT, false);
}

/* Would it be drawn sooner for `client`, in this priority? */
static bool is_better_place(const struct drawing *d, struct client *client, enum priority priority)
{
    return drawing_before_s(d, client, priority) < drawing_before_s(d, d->client, d->job.priority);
}

/* Wait for the drawing of the same picture that is on its way. The request is let in as if it was
 * drawn for it alone; and the drawing takes its place if that is the better one. */
static void sample_join(struct request *r, struct drawing *d, struct sample_params *params,
                        const char *etag)
{
    struct sample *s = calloc(1, sizeof *s);
    if (!s || request_watch(r, on_gone) != 0) {
        free(s);
        reply_no_memory(r);
        return;
    }
    *s = (struct sample){.observer.ops = &sample_ops,
                         .is_collapsed = true,
                         .request = r,
                         .form = form_by_type(routes[r->route.id].types[0]),
                         .is_get = true};
    struct refusal refusal;
    int rc = ticket_begin(&s->ticket, &service_of(r)->studio, r->client, params, on_late, &refusal);
    if (rc == 0 && is_better_place(d, r->client, params->priority) &&
        drawing_move(d, r->client, params->priority) != 0) {
        ticket_end(&s->ticket, true);
        refusal_set(&refusal, &service_of(r)->studio, REFUSED_NO_MEMORY);
        rc = -1;
    }
    if (rc != 0) {
        request_unwatch(r);
        free(s);
        reply_refusal(r, &refusal);
        return;
    }
    snprintf(s->etag, sizeof s->etag, "%s", etag);
    s->priority = params->priority;
    s->timeout_ms = params->timeout_ms;
    drawing_attach(d, &s->observer);
    r->holder = s;
    request_suspend(r);
}

/* Answer a picture's GET without drawing it once more, if that can be. Returns whether it could. */
static bool answer_from_others(struct request *r, struct sample_params *params, const char *etag)
{
    const struct cache_entry *e = cache_find(service_of(r)->cache, etag);
    struct drawing *d = e ? NULL : cache_find_flight(service_of(r)->cache, etag);
    if (e) {
        reply_cached(r, params, e);
    } else if (d) {
        sample_join(r, d, params, etag);
    }
    return e || d;
}

void samples_get_picture(struct request *r)
{
    struct sample_params params;
    struct problem problem;
    if (read_url(r, &params, &problem) != 0) {
        request_reply_problem(r, &problem);
        return;
    }
    char etag[IMAGE_ETAG_BYTES] = "";
    if (params.has_seed && image_etag(etag, &params, DENOISED_VERSION) != 0) {
        params_free(&params);
        reply_no_memory(r);
        return;
    }
    enum precondition verdict = precondition_check(r, etag);
    if (verdict == PRECONDITION_FAILED) {
        params_free(&params);
        precondition_reply(r);
        return;
    }
    bool not_modified = verdict == PRECONDITION_NOT_MODIFIED;
    if (not_modified || strcmp(r->method, "HEAD") == 0) {
        reply_without_drawing(r, &params, etag, not_modified);
        params_free(&params);
        return;
    }
    if (*etag && answer_from_others(r, &params, etag)) {
        params_free(&params);
        return;
    }
    if (seed_draw(r, &params) == 0) {
        const struct form *form = form_by_type(routes[r->route.id].types[0]);
        samples_start(r, &params, form, true, etag, 0);
    }
}
