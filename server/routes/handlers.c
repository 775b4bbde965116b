#include "server/routes/handlers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/accept.h"
#include "api/document.h"
#include "api/libraries.h"
#include "api/query.h"
#include "api/text.h"
#include "api/unicode.h"
#include "openapi_json.h"
#include "server/http/authorization.h"
#include "server/http/cors.h"
#include "server/http/idempotency.h"
#include "server/http/origin.h"
#include "server/http/precondition.h"
#include "server/routes/admin.h"
#include "server/routes/images.h"
#include "server/routes/job_handlers.h"
#include "server/routes/metrics_text.h"
#include "server/routes/pages.h"
#include "server/routes/samples.h"
#include "server/routes/service.h"
#include "server/routes/verify.h"

#define JSON "application/json"

/* ---- what the headers say ------------------------------------------------------------------- */

static int check_route(struct request *r, struct problem *problem)
{
    size_t uri_bytes = strlen(r->path) + (r->query ? strlen(r->query) + 1 : 0);
    if (uri_bytes > REQUEST_MAX_URI_BYTES) {
        problem_set(problem, PROBLEM_URI_TOO_LONG, "The URI has more than %d bytes.",
                    REQUEST_MAX_URI_BYTES);
        return -1;
    }
    if (!r->route.path_exists) {
        char shown[128];
        bool printable = unicode_valid(r->path, strlen(r->path));
        unicode_copy(shown, sizeof shown, printable ? r->path : "(not UTF-8)");
        problem_set(problem, PROBLEM_NOT_FOUND, "There is nothing at %s; GET %s lists the routes.",
                    shown, r->is_admin ? "/admin" : "/");
        return -1;
    }
    if (r->route.id < 0 && strcmp(r->method, "OPTIONS") != 0) {
        problem_set(problem, PROBLEM_METHOD_NOT_ALLOWED, "This resource understands %s.",
                    r->route.allow);
        return -1;
    }
    return 0;
}

#define MOST_OF_NOTHING_BYTES 64

/* Is it {}, which some clients send where there is nothing to say? As long as it is not in, it may
 * be. */
static bool body_says_nothing(const struct request *r)
{
    char text[MOST_OF_NOTHING_BYTES + 1], *out = text;
    if (!r->complete) {
        return r->announced_bytes <= MOST_OF_NOTHING_BYTES;
    }
    if (r->body_too_large || r->out_of_memory || r->body_bytes > MOST_OF_NOTHING_BYTES) {
        return false;
    }
    for (size_t i = 0; i < r->body_bytes; i++) {
        *out = r->body[i];
        out += !*out || !strchr(" \t\r\n", *out);
    }
    *out = '\0';
    return out == text || (out == text + 2 && strcmp(text, "{}") == 0);
}

static int check_body(struct request *r, struct problem *problem)
{
    const char *type = r->route.id < 0 ? NULL : routes[r->route.id].body;
    if (!type) {
        if (r->has_body && !body_says_nothing(r)) {
            problem_set(problem, PROBLEM_INVALID_REQUEST, "This request takes no body.");
            return -1;
        }
        return 0;
    }
    const char *expect = request_list(r, MHD_HTTP_HEADER_EXPECT);
    if (expect && !accept_lists_only(expect, "100-continue")) {
        problem_set(problem, PROBLEM_EXPECTATION_FAILED,
                    "100-continue is the only expectation that is understood.");
        return -1;
    }
    if (r->body_too_large) {
        problem_set(problem, PROBLEM_BODY_TOO_LARGE, "The body has more than %zu bytes.",
                    r->max_body_bytes);
        return -1;
    }
    if (!request_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH) &&
        !request_header(r, MHD_HTTP_HEADER_TRANSFER_ENCODING)) {
        problem_set(problem, PROBLEM_LENGTH_REQUIRED, "A body and its length are required.");
        return -1;
    }
    const char *coding = request_list(r, MHD_HTTP_HEADER_CONTENT_ENCODING);
    const char *given = request_header(r, MHD_HTTP_HEADER_CONTENT_TYPE);
    bool is_json = strcmp(type, JSON) == 0;
    if (!(is_json ? accept_is_json_body(given) : accept_is_type(given, type)) ||
        (coding && !accept_lists_only(coding, "identity"))) {
        problem_set(problem, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
                    "The body must be %s%s, without a content coding.", type,
                    is_json ? " in UTF-8" : "");
        return -1;
    }
    return 0;
}

/* A page of some site, open in the operator's browser, can send requests to this machine's own
 * addresses. */
static int check_no_browser(const struct request *r, struct problem *problem)
{
    const char *site = request_header(r, "Sec-Fetch-Site");
    if (!request_header(r, MHD_HTTP_HEADER_ORIGIN) && (!site || strcmp(site, "none") == 0)) {
        return 0;
    }
    problem_set(problem, PROBLEM_NOT_FOR_BROWSERS, "A page of a browser sent this request.");
    return -1;
}

/* Probes have no key, nor has a browser that asks for a page. The admin listener's address is its
 * protection. */
static bool route_needs_key(const struct request *r)
{
    if (r->is_admin) {
        return false;
    }
    switch (r->route.id) {
    case -1: /* OPTIONS */
    case ROUTE_DISCOVERY:
    case ROUTE_LIVEZ:
    case ROUTE_READYZ:
    case ROUTE_OPENAPI:
    case ROUTE_DOCS:
    case ROUTE_ASSET:
        return false;
    case ROUTE_METRICS:
        return service_of(r)->options->metrics_need_key;
    default:
        return true;
    }
}

/* The routes that draw something new each time, which an Idempotency-Key keeps from happening
 * twice. */
static bool route_takes_idempotency_key(const struct request *r)
{
    return r->route.id == ROUTE_SAMPLES || r->route.id == ROUTE_JOB_CREATE ||
           r->route.id == ROUTE_IMAGES;
}

static int handlers_check(struct request *r, struct problem *problem)
{
    if (origin_check_host(r, problem) != 0 || (r->is_admin && check_no_browser(r, problem) != 0) ||
        check_route(r, problem) != 0) {
        return -1;
    }
    if (route_needs_key(r) && authorization_check(r, &service_of(r)->clients, problem) != 0) {
        return -1;
    }
    if (!r->is_admin && !clients_are_known(&service_of(r)->clients) &&
        origin_check_page(r, problem) != 0) {
        return -1;
    }
    if (check_body(r, problem) != 0) {
        return -1;
    }
    if (r->route.id < 0) {
        return 0; /* OPTIONS */
    }
    const struct route *route = &routes[r->route.id];
    r->media = route->any_accept ? 0
                                 : accept_choose(request_list(r, MHD_HTTP_HEADER_ACCEPT),
                                                 route->types, ROUTE_MAX_TYPES);
    if (r->media < 0) {
        struct text all = TEXT_INIT;
        for (int i = 0; i < ROUTE_MAX_TYPES && route->types[i]; i++) {
            text_printf(&all, "%s%s", i ? ", " : "", route->types[i]);
        }
        char *types = text_take(&all, NULL);
        problem_set(problem, PROBLEM_NOT_ACCEPTABLE, "This resource can be had as %s.",
                    types ? types : route->types[0]);
        free(types);
        return -1;
    }
    return 0;
}

/* ---- small routes --------------------------------------------------------------------------- */

static void reply_document(struct request *r, char *body, size_t bytes)
{
    request_reply(r, 200, JSON, body, bytes);
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
}

static void handle_options(struct request *r)
{
    request_reply_static(r, 204, NULL, "", 0);
    request_add_header(r, MHD_HTTP_HEADER_ALLOW, r->route.allow);
    cors_add_preflight(r);
}

static void handle_discovery(struct request *r)
{
    if (strcmp(routes[ROUTE_DISCOVERY].types[r->media], "text/html") == 0) {
        pages_playground(r);
        return;
    }
    size_t bytes;
    char *body = document_discovery(false, &bytes);
    reply_document(r, body, bytes);
    request_add_header(r, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT);
}

static void handle_models(struct request *r)
{
    size_t bytes;
    char *body = document_models(&service_of(r)->serving.api, &bytes);
    reply_document(r, body, bytes);
}

static void handle_model(struct request *r)
{
    struct problem problem;
    char id[128];
    int rc = request_segment(r, 0, id, sizeof id);
    int model_idx = rc == 0 ? api_model_find(&service_of(r)->serving.api, id) : -1;
    if (model_idx < 0) {
        api_model_missing(&service_of(r)->serving.api, rc == 0 ? id : "", "/id", &problem);
        request_reply_problem(r, &problem);
        return;
    }
    size_t bytes;
    char *body = document_model(&service_of(r)->serving.api, (size_t)model_idx, &bytes);
    reply_document(r, body, bytes);
}

static void handle_capabilities(struct request *r)
{
    size_t bytes;
    char *body = document_capabilities(&service_of(r)->serving.api, &bytes);
    reply_document(r, body, bytes);
}

static void handle_livez(struct request *r)
{
    static const char alive[] = "{\"status\":\"alive\"}\n";
    request_reply_static(r, 200, JSON, alive, sizeof alive - 1);
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

/* Why a server that is not ready is not. */
static void problem_not_ready(struct problem *problem, const struct life *life)
{
    if (life->state == LIFE_LOADING) {
        problem_set(problem, PROBLEM_LOADING, "The models are still being loaded.");
    } else {
        problem_set(problem, PROBLEM_DRAINING, "The server finishes its work and shuts down.");
    }
}

static void handle_readyz(struct request *r)
{
    static const char ready[] = "{\"status\":\"ready\"}\n";
    if (service_of(r)->life.state != LIFE_READY) {
        struct problem problem;
        problem_not_ready(&problem, &service_of(r)->life);
        request_reply_problem(r, &problem);
        return;
    }
    request_reply_static(r, 200, JSON, ready, sizeof ready - 1);
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

static void handle_metrics(struct request *r)
{
    struct service *service = service_of(r);
    size_t bytes;
    service->metrics.ready = service->life.state == LIFE_READY;
    service->metrics.log_lines_dropped = log_dropped(&service->log);
    char *body = metrics_text(&service->metrics,
                              service->serving.scheduler ? &service->serving.models : NULL, &bytes);
    request_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", body, bytes);
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

static void handle_version(struct request *r)
{
    struct api_libraries libraries;
    api_libraries(&libraries);
    const char *const libraries_by_name[][2] = {{"libmicrohttpd", MHD_get_version()},
                                                {"libuv", uv_version_string()},
                                                {"cjson", libraries.cjson},
                                                {"openblas", dn_blas_config()}};
    struct text t = TEXT_INIT;
    text_puts(&t, "{\"name\":\"denoised\",\"version\":");
    text_json_string(&t, DENOISED_VERSION);
    text_puts(&t, ",\"revision\":");
    text_json_string(&t, DENOISED_REVISION);
    text_puts(&t, ",\"api\":\"v1\",\"libraries\":{");
    for (size_t i = 0; i < sizeof libraries_by_name / sizeof *libraries_by_name; i++) {
        text_puts(&t, i ? "," : "");
        text_json_string(&t, libraries_by_name[i][0]);
        text_puts(&t, ":");
        text_json_string(&t, libraries_by_name[i][1]);
    }
    text_puts(&t, "}}\n");
    size_t bytes;
    char *body = text_take(&t, &bytes);
    reply_document(r, body, bytes);
}

static void handle_openapi(struct request *r)
{
    request_reply_static(r, 200, JSON, openapi_json, sizeof openapi_json - 1);
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
}

/* ---- the table ------------------------------------------------------------------------------ */

static const struct {
    void (*run)(struct request *r);
    bool needs_models;
    bool takes_query;
} handlers[ROUTE_COUNT] = {
    [ROUTE_DISCOVERY] = {handle_discovery, false, false},
    [ROUTE_SAMPLES] = {samples_create, true, false},
    [ROUTE_SAMPLE_PNG] = {samples_get_picture, true, true},
    [ROUTE_SAMPLE_APNG] = {samples_get_picture, true, true},
    [ROUTE_JOB_CREATE] = {jobs_handle_create, true, false},
    [ROUTE_JOB_LIST] = {jobs_handle_list, true, true},
    [ROUTE_JOB] = {jobs_handle_get, true, true},
    [ROUTE_JOB_DELETE] = {jobs_handle_delete, true, false},
    [ROUTE_JOB_CANCEL] = {jobs_handle_cancel, true, false},
    [ROUTE_JOB_EVENTS] = {jobs_handle_events, true, true},
    [ROUTE_JOB_RESULT] = {jobs_handle_result, true, false},
    [ROUTE_JOB_GRID] = {jobs_handle_grid, true, false},
    [ROUTE_JOB_IMAGE] = {jobs_handle_image, true, false},
    [ROUTE_VERIFY] = {verify_picture, true, false},
    [ROUTE_IMAGES] = {images_create, true, false},
    [ROUTE_MODELS] = {handle_models, true, false},
    [ROUTE_MODEL] = {handle_model, true, false},
    [ROUTE_CAPABILITIES] = {handle_capabilities, true, false},
    [ROUTE_LIVEZ] = {handle_livez, false, true}, /* probes like to add parameters */
    [ROUTE_READYZ] = {handle_readyz, false, true},
    [ROUTE_METRICS] = {handle_metrics, false, true},
    [ROUTE_VERSION] = {handle_version, false, false},
    [ROUTE_OPENAPI] = {handle_openapi, false, false},
    [ROUTE_DOCS] = {pages_docs, false, false},
    [ROUTE_ASSET] = {pages_asset, false, false},
    [ROUTE_ADMIN] = {admin_discover, false, false},
    [ROUTE_ADMIN_MODELS] = {admin_list_models, true, false},
    [ROUTE_ADMIN_LOAD] = {admin_load_model, true, false},
    [ROUTE_ADMIN_ACTIVATE] = {admin_activate_model, true, false},
    [ROUTE_ADMIN_UNLOAD] = {admin_unload_model, true, false},
};

/* A page is one whatever a link to it, or a cache, has put behind it. */
static bool is_page(const struct request *r)
{
    return r->route.id == ROUTE_DOCS || r->route.id == ROUTE_ASSET ||
           (r->route.id == ROUTE_DISCOVERY &&
            strcmp(routes[ROUTE_DISCOVERY].types[r->media], "text/html") == 0);
}

/* Has its resource a tag, which it looks at itself? */
static bool route_has_tag(const struct request *r)
{
    return is_page(r) || r->route.id == ROUTE_SAMPLE_PNG || r->route.id == ROUTE_SAMPLE_APNG;
}

/* What changes something is not begun under a condition that is not met; what only reads is
 * answered with that if there was something to read. */
static bool precondition_fails(struct request *r, bool is_done)
{
    bool reads = strcmp(routes[r->route.id].method, "GET") == 0;
    return reads == is_done && !route_has_tag(r) && (!is_done || r->status / 100 == 2) &&
           precondition_check(r, NULL) == PRECONDITION_FAILED;
}

/* A query on a route that has no parameters would be ignored silently. */
static int check_query(const struct request *r, struct problem *problem)
{
    if (handlers[r->route.id].takes_query || !r->query || !*r->query || is_page(r)) {
        return 0;
    }
    struct query query;
    if (query_parse(&query, r->query, problem) == 0) {
        problem_set(problem, PROBLEM_INVALID_REQUEST, "This resource has no query parameters.");
        for (size_t i = 0; i < query.n_pairs; i++) {
            char pointer[PROBLEM_POINTER_BYTES] = "";
            problem_pointer_push(pointer, query.pairs[i].key);
            problem_add(problem, pointer, "unknown parameter");
        }
    }
    query_free(&query);
    return -1;
}

static void handlers_run(struct request *r)
{
    struct problem problem;
    int rc = handlers_check(r, &problem);
    if (rc == 0 && r->route.id < 0) {
        handle_options(r);
        return;
    }
    if (rc == 0 && handlers[r->route.id].needs_models && service_of(r)->serving.api.n_models == 0) {
        problem_not_ready(&problem, &service_of(r)->life);
        rc = -1;
    }
    if (rc == 0) {
        rc = check_query(r, &problem);
    }
    if (rc == 0 && route_takes_idempotency_key(r) && !r->out_of_memory) {
        switch (idempotency_begin(&service_of(r)->idempotency, r, &problem)) {
        case IDEMPOTENCY_GO:
            break;
        case IDEMPOTENCY_REPLAYED:
            return;
        case IDEMPOTENCY_REFUSED:
            rc = -1;
        }
    }
    if (rc != 0) {
        request_reply_problem(r, &problem);
        return;
    }
    if (precondition_fails(r, false)) {
        precondition_reply(r);
        return;
    }
    handlers[r->route.id].run(r);
    if (!r->suspended && precondition_fails(r, true)) {
        precondition_reply(r);
    }
}

static void handlers_add_headers(struct request *r)
{
    authorization_add_headers(r);
    cors_add_headers(r);
}

const struct http_handlers route_handlers = {
    .check = handlers_check,
    .run = handlers_run,
    .take_body = idempotency_body,
    .add_headers = handlers_add_headers,
    .end = idempotency_end,
};
