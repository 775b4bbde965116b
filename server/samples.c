#include "server/samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/accept.h"
#include "api/query.h"
#include "server/connection.h"
#include "server/handlers.h"
#include "server/random.h"
#include "server/server.h"

static void sample_free(struct sample *s)
{
    for (size_t i = 0; s->images && i < s->params.n_rows; i++) {
        image_free(&s->images[i]);
    }
    image_free(&s->sheet);
    free(s->images);
    free(s->pixels);
    free(s->document);
    params_free(&s->params);
    free(s);
}

/* ---- on worker threads ---------------------------------------------------------------------- */

static struct dn_row_params sample_row_params(const struct job *job, size_t i)
{
    return params_row(&((const struct sample *)job)->params, i);
}

static int sample_encode(struct job *job, size_t i, const struct dn_row *row)
{
    struct sample *s = (struct sample *)job;
    uint8_t *pixels = s->pixels + i * s->image_bytes;
    dn_row_pixels(row, pixels);
    return image_encode(&s->images[i], &s->params, i, pixels);
}

static double ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return 1e-6 * (double)(to_ns - from_ns);
}

static int sample_finish(struct job *job)
{
    struct sample *s = (struct sample *)job;
    int rc = 0;
    if (s->params.layout == LAYOUT_GRID) {
        rc = image_encode_sheet(&s->sheet, &s->params, s->pixels);
    }
    s->timings = (struct sample_timings){
        .queue_ms = ms_between(job->submitted_ns, job->first_step_ns),
        .sample_ms = ms_between(job->first_step_ns, job->last_step_ns),
        .encode_ms = ms_between(job->last_step_ns, uv_hrtime()),
    };
    if (rc == 0 && !s->is_png) {
        s->document = document_samples(&s->params, s->id, s->created, s->images, &s->sheet,
                                       &s->timings, &s->document_bytes);
        rc = s->document ? 0 : DN_ENOMEM;
    }
    return rc;
}

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
    if (!*etag) {
        request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
        return;
    }
    request_add_header(r, MHD_HTTP_HEADER_ETAG, etag);
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL,
                       p->model_by_digest ? "public, max-age=31536000, immutable"
                                          : "public, max-age=0, must-revalidate");
}

static void reply_success(struct sample *s)
{
    struct request *r = s->request;
    const struct dn_model_info *info = dn_model_info(s->params.model);
    struct image *image = s->params.layout == LAYOUT_GRID ? &s->sheet : &s->images[0];
    if (s->is_png) {
        request_reply(r, 200, "image/png", (char *)image->png, image->png_bytes);
        image->png = NULL;
        request_add_header(r, "X-Sample-Digest", image->digest);
    } else {
        request_reply(r, 200, "application/json", s->document, s->document_bytes);
        s->document = NULL;
    }
    add_seed(r, s->params.seed);
    request_add_header(r, "X-Model-Digest", info->digest);
    request_add_header(r, "X-Determinism", info->kernels);
    char timing[128];
    snprintf(timing, sizeof timing, "queue;dur=%.3f, sample;dur=%.3f, encode;dur=%.3f",
             s->timings.queue_ms, s->timings.sample_ms, s->timings.encode_ms);
    request_add_header(r, "Server-Timing", timing);
    if (s->is_get) {
        add_caching(r, &s->params, s->etag);
    } else {
        request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
        request_add_header(r, MHD_HTTP_HEADER_VARY, "Accept");
    }
}

static void reply_failure(struct sample *s)
{
    struct problem problem;
    if (s->job.reason == REASON_SHUTDOWN) {
        problem_set(&problem, PROBLEM_DRAINING, "The server shut down before this was drawn.");
    } else if (s->job.reason == REASON_OUT_OF_MEMORY) {
        problem_set(&problem, PROBLEM_OUT_OF_MEMORY, "There was no memory to draw this.");
    } else {
        problem_set(&problem, PROBLEM_INTERNAL, "The engine failed: %s.",
                    dn_strerror(s->job.error));
    }
    log_event(&s->server->log, LOG_WARN, "sampling_failed", LOG_S("request_id", s->request->id),
              LOG_S("reason", problem.detail));
    request_reply_problem(s->request, &problem);
    if (s->job.reason == REASON_SHUTDOWN) {
        request_add_header(s->request, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    }
}

static void sample_done(struct job *job)
{
    struct sample *s = (struct sample *)job;
    struct request *r = s->request;
    r->sample = NULL;
    r->queue_ms = s->timings.queue_ms;
    r->sample_ms = s->timings.sample_ms;
    if (job->state == JOB_SUCCEEDED) {
        reply_success(s);
    } else if (!r->gone) {
        reply_failure(s);
    }
    struct server *server = s->server;
    sample_free(s);
    request_resume(r);
    server_check_idle(server);
}

static const struct job_ops sample_ops = {
    .row_params = sample_row_params,
    .encode = sample_encode,
    .finish = sample_finish,
    .done = sample_done,
};

/* The client hung up: its rows leave at their next step. */
static void on_gone(struct request *r)
{
    r->gone = true;
    scheduler_cancel(r->server->scheduler, &r->sample->job, REASON_DISCONNECT);
}

/* ---- admission ------------------------------------------------------------------------------ */

static void reply_refused(struct request *r, enum problem_kind kind, enum job_reason reason,
                          const char *why)
{
    struct problem problem;
    problem_set(&problem, kind, "%s", why);
    metrics_count_job(&r->server->metrics, OUTCOME_REJECTED, reason);
    request_reply_problem(r, &problem);
    if (kind != PROBLEM_OUT_OF_MEMORY) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", scheduler_eta_s(r->server->scheduler));
        request_add_header(r, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
}

static void reply_no_memory(struct request *r)
{
    reply_refused(r, PROBLEM_OUT_OF_MEMORY, REASON_OUT_OF_MEMORY,
                  "There was no memory for the request.");
}

/* Memory for the answer to `params`, which it takes over. NULL when there is none. */
static struct sample *sample_new(struct request *r, struct sample_params *params)
{
    const struct dn_model_info *info = dn_model_info(params->model);
    struct sample *s = calloc(1, sizeof *s);
    if (!s) {
        return NULL;
    }
    s->server = r->server;
    s->request = r;
    s->image_bytes = (size_t)info->height * (size_t)info->width * (size_t)info->channels;
    s->pixels = calloc(params->n_rows, s->image_bytes);
    s->images = calloc(params->n_rows, sizeof *s->images);
    if (!s->pixels || !s->images || random_id(s->id, sizeof s->id, "smp_") != 0) {
        sample_free(s);
        return NULL;
    }
    s->params = *params;
    params->labels = NULL;
    s->created = (int64_t)time(NULL);
    s->job.ops = &sample_ops;
    s->job.model_idx = s->params.model_idx;
    s->job.n_rows = (uint32_t)s->params.n_rows;
    s->job.steps = s->params.steps;
    s->job.evaluations = s->params.guidance_scale == 1 ? 1 : 2;
    return s;
}

/* Hand the request to the scheduler and suspend it, or refuse it. Takes `params` over. */
static void sample_start(struct request *r, struct sample_params *params, bool is_png, bool is_get,
                         const char *etag)
{
    struct server *server = r->server;
    if (server->state >= SERVER_DRAINING) {
        reply_refused(r, PROBLEM_DRAINING, REASON_DRAINING,
                      "The server finishes its work and shuts down.");
        params_free(params);
        return;
    }
    struct sample *s = sample_new(r, params);
    params_free(params);
    if (!s) {
        reply_no_memory(r);
        return;
    }
    s->is_png = is_png;
    s->is_get = is_get;
    snprintf(s->etag, sizeof s->etag, "%s", etag);
    r->n_rows = s->job.n_rows;

    int rc =
        request_watch(r, on_gone) == 0 ? scheduler_submit(server->scheduler, &s->job) : DN_ENOMEM;
    if (rc == 0) {
        r->sample = s;
        request_suspend(r);
        return;
    }
    request_unwatch(r);
    sample_free(s);
    if (rc == DN_EINVAL) {
        reply_refused(r, PROBLEM_QUEUE_FULL, REASON_QUEUE_FULL,
                      "There is no room in the queue for this many images now.");
    } else {
        reply_no_memory(r);
    }
}

/* Give the parameters a seed if the client did not. Returns 0, or -1 with a reply made. */
static int draw_seed(struct request *r, struct sample_params *params)
{
    if (params->has_seed || random_seed(&params->seed) == 0) {
        return 0;
    }
    struct problem problem;
    problem_set(&problem, PROBLEM_INTERNAL, "The system has no random numbers to give.");
    request_reply_problem(r, &problem);
    params_free(params);
    return -1;
}

void samples_create(struct request *r)
{
    struct sample_params params;
    struct problem problem;
    if (r->out_of_memory) {
        reply_no_memory(r);
        return;
    }
    int rc =
        params_from_body(&params, &r->server->api, r->body ? r->body : "", r->body_bytes, &problem);
    bool is_png = strcmp(routes[ROUTE_SAMPLES].types[r->media], "image/png") == 0;
    if (rc == 0 && is_png && params.layout == LAYOUT_LIST && params.n_rows > 1) {
        problem_add(&problem, "/layout",
                    "image/png is one picture: ask for one image, for layout grid, or accept "
                    "application/json");
        params_free(&params);
        rc = -1;
    }
    if (rc != 0) {
        request_reply_problem(r, &problem);
        return;
    }
    if (draw_seed(r, &params) == 0) {
        sample_start(r, &params, is_png, false, "");
    }
}

/* The answer to a GET that needs no drawing: 304, or a HEAD's. */
static void reply_without_drawing(struct request *r, const struct sample_params *params,
                                  const char *etag, bool not_modified)
{
    if (not_modified) {
        request_reply_static(r, 304, NULL, "", 0);
    } else {
        request_reply_head(r, 200, "image/png");
    }
    if (params->has_seed) {
        add_seed(r, params->seed);
    }
    request_add_header(r, "X-Model-Digest", dn_model_info(params->model)->digest);
    request_add_header(r, "X-Determinism", dn_model_info(params->model)->kernels);
    add_caching(r, params, etag);
    r->server->metrics.not_modified += not_modified;
}

static int read_url(struct request *r, struct sample_params *params, struct problem *problem)
{
    struct query query;
    char label[256];
    int rc = query_parse(&query, r->query, problem);
    if (rc == 0 && r->route.segment_bytes < sizeof label) {
        memcpy(label, r->route.segment, r->route.segment_bytes);
        label[r->route.segment_bytes] = '\0';
    } else if (rc == 0) {
        label[0] = '\0';
    }
    if (rc == 0 && (!*label || query_decode(label, 0) != 0)) {
        problem_set(problem, PROBLEM_INVALID_REQUEST, "The label in the path is malformed.");
        problem_add(problem, "/label", "not a label");
        rc = -1;
    }
    if (rc == 0) {
        rc = params_from_url(params, &r->server->api, label, &query, problem);
    }
    query_free(&query);
    return rc;
}

void samples_get_png(struct request *r)
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
    const char *known = request_header(r, MHD_HTTP_HEADER_IF_NONE_MATCH);
    bool not_modified = *etag && accept_etag_matches(known, etag);
    if (not_modified || strcmp(r->method, "HEAD") == 0) {
        reply_without_drawing(r, &params, etag, not_modified);
        params_free(&params);
        return;
    }
    if (draw_seed(r, &params) == 0) {
        sample_start(r, &params, true, true, etag);
    }
}
