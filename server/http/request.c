#include "server/http/request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/accept.h"
#include "api/gzip.h"
#include "api/openai.h"
#include "api/query.h"
#include "api/text.h"
#include "server/http/answers.h"
#include "server/http/connection.h"
#include "server/http/pump.h"

#define JSON "application/json"

/* No memory for the answer, in both shapes of an error. */
static const char no_memory[] =
    "{\"type\":\"urn:denoised:problem:out-of-memory\",\"title\":\"Out of memory\","
    "\"status\":503,\"detail\":\"There was no memory for the answer.\",\"errors\":[],"
    "\"request_id\":\"\"}\n";
static const char no_memory_openai[] =
    "{\"error\":{\"message\":\"There was no memory for the answer.\",\"type\":\"server_error\","
    "\"param\":null,\"code\":\"out_of_memory\"}}\n";

const char *request_header(const struct request *r, const char *name)
{
    return MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, name);
}

/* The lines of one header as one value. */
struct joined_header {
    struct joined_header *next;
    const char *name; /* a literal */
    const char *first;
    struct text text;
};

static enum MHD_Result join_line(void *cls, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    struct joined_header *h = cls;
    (void)kind;
    if (value && strcasecmp(name, h->name) == 0) {
        text_printf(&h->text, "%s%s", h->first ? ", " : "", value);
        h->first = h->first ? h->first : value;
    }
    return MHD_YES;
}

const char *request_list(struct request *r, const char *name)
{
    for (struct joined_header *h = r->joined; h; h = h->next) {
        if (strcasecmp(h->name, name) == 0) {
            return h->text.bytes;
        }
    }
    const char *first = request_header(r, name);
    struct joined_header *h = first ? calloc(1, sizeof *h) : NULL;
    if (!h) {
        r->out_of_memory |= first != NULL;
        return first;
    }
    h->name = name;
    MHD_get_connection_values(r->mhd, MHD_HEADER_KIND, join_line, h);
    char *text = text_take(&h->text, NULL);
    if (!text) {
        free(h);
        r->out_of_memory = true;
        return first;
    }
    h->text.bytes = text;
    h->next = r->joined;
    r->joined = h;
    return text;
}

void request_free_lists(struct request *r)
{
    while (r->joined) {
        struct joined_header *next = r->joined->next;
        text_free(&r->joined->text);
        free(r->joined);
        r->joined = next;
    }
}

int request_segment(const struct request *r, size_t i, char *out, size_t bytes)
{
    const struct route_segment *segment = &r->route.segments[i];
    if (segment->bytes >= bytes) {
        return -1;
    }
    memcpy(out, segment->text, segment->bytes);
    out[segment->bytes] = '\0';
    return query_decode(out, 0);
}

void request_add_header(struct request *r, const char *name, const char *value)
{
    if (r->response && !r->is_sealed) {
        /* Fails only without memory or for a malformed value; values are ours. */
        (void)MHD_add_response_header(r->response, name, value);
    }
}

static void reply_common(struct request *r, unsigned status, const char *type, size_t bytes)
{
    r->status = status;
    r->response_bytes = bytes;
    if (type) {
        request_add_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    }
    request_add_header(r, "X-Request-Id", r->id);
    request_add_header(r, "X-Content-Type-Options", "nosniff");
    if (r->trace.trace_id[0]) {
        char traceparent[TRACEPARENT_BYTES];
        trace_context_format(traceparent, &r->trace);
        request_add_header(r, "traceparent", traceparent);
    }
    r->context->handlers->add_headers(r);
    if (r->context->life->state >= LIFE_LEAVING) {
        request_add_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    }
}

static void drop_response(struct request *r)
{
    r->is_sealed = false;
    if (r->response) {
        MHD_destroy_response(r->response);
        r->response = NULL;
    }
}

/* The body in the coding that the client asked for, malloc'd; NULL to send it as it is. */
static char *encode_body(struct request *r, const char *type, const char *body, size_t bytes,
                         size_t *encoded_bytes)
{
    if (!type || !gzip_pays(type, bytes) ||
        !accept_takes_gzip(request_list(r, MHD_HTTP_HEADER_ACCEPT_ENCODING))) {
        return NULL;
    }
    return gzip_compress(body, bytes, encoded_bytes);
}

static void add_coding(struct request *r, const char *type, size_t bytes, bool is_encoded)
{
    if (type && gzip_pays(type, bytes)) {
        request_add_header(r, MHD_HTTP_HEADER_VARY, "Accept-Encoding");
    }
    if (is_encoded) {
        request_add_header(r, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    }
}

static void on_sent(void *body)
{
    answer_body_drop(body);
}

/* Answer with a body, of which the answer takes a reference over. */
static void reply_body(struct request *r, unsigned status, const char *type,
                       struct answer_body *body)
{
    drop_response(r);
    r->response = MHD_create_response_from_buffer_with_free_callback_cls(body->n_bytes, body->bytes,
                                                                         on_sent, body);
    size_t bytes = body->n_bytes;
    if (!r->response) {
        answer_body_drop(body);
    }
    reply_common(r, status, type, bytes);
}

void request_reply_shared(struct request *r, unsigned status, const char *type,
                          struct answer_body *body)
{
    reply_body(r, status, type, answer_body_hold(body));
}

/* Another answer than was meant: what follows are headers of that one. */
static void seal(struct request *r)
{
    r->is_sealed = true;
}

void request_reply_unread(struct request *r)
{
    struct problem problem;
    problem_set(&problem, PROBLEM_QUEUE_FULL,
                "Answers wait to be read, by this client or by all, for which there is no more "
                "memory: read them first.");
    request_reply_problem(r, &problem);
    request_add_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    seal(r);
}

/* Answer with a malloc'd body, as it is. Returns 0, or -1 when there is no room for it. */
static int reply_owned(struct request *r, unsigned status, const char *type, char *body,
                       size_t bytes)
{
    struct answer_body *owned = answer_body_new(r->context->answers, r->client, body, bytes);
    if (!owned) {
        return -1;
    }
    reply_body(r, status, type, owned);
    return 0;
}

void request_reply_stored(struct request *r, unsigned status, const char *type, const char *coding,
                          const void *body, size_t bytes)
{
    drop_response(r);
    r->response =
        MHD_create_response_from_buffer(bytes, (void *)(uintptr_t)body, MHD_RESPMEM_PERSISTENT);
    reply_common(r, status, type, bytes);
    if (coding) {
        request_add_header(r, MHD_HTTP_HEADER_CONTENT_ENCODING, coding);
    }
}

void request_reply_static(struct request *r, unsigned status, const char *type, const char *body,
                          size_t bytes)
{
    size_t encoded_bytes;
    char *encoded = encode_body(r, type, body, bytes, &encoded_bytes);
    if (encoded && reply_owned(r, status, type, encoded, encoded_bytes) == 0) {
        add_coding(r, type, bytes, true);
        return;
    }
    request_reply_stored(r, status, type, NULL, body, bytes);
    add_coding(r, type, bytes, false);
}

static ssize_t read_nothing(void *cls, uint64_t position, char *out, size_t max)
{
    (void)cls, (void)position, (void)out, (void)max;
    return MHD_CONTENT_READER_END_OF_STREAM;
}

void request_reply_head(struct request *r, unsigned status, const char *type)
{
    drop_response(r);
    r->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1, read_nothing, NULL, NULL);
    reply_common(r, status, type, 0);
    if (r->context->life->state < LIFE_LEAVING) { /* then it is there already */
        request_add_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    }
}

int request_reply_stream(struct request *r, const char *type, size_t block_bytes,
                         MHD_ContentReaderCallback read, void *arg,
                         MHD_ContentReaderFreeCallback end)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, block_bytes, read, arg, end);
    if (!response) {
        return -1;
    }
    drop_response(r);
    r->response = response;
    reply_common(r, 200, type, 0);
    return 0;
}

void request_pause(struct request *r)
{
    connection_enter(r->connection, PHASE_WORKING, 0);
    MHD_suspend_connection(r->mhd);
}

void request_progress(struct request *r)
{
    connection_enter(r->connection, PHASE_SENDING, 0);
}

void request_continue(struct request *r)
{
    request_progress(r);
    MHD_resume_connection(r->mhd);
    pump_wake(r->pump);
}

void request_reply(struct request *r, unsigned status, const char *type, char *body, size_t bytes)
{
    if (!body) {
        if (r->route.has_openai_errors) {
            request_reply_static(r, 503, JSON, no_memory_openai, sizeof no_memory_openai - 1);
        } else {
            request_reply_static(r, 503, PROBLEM_MEDIA_TYPE, no_memory, sizeof no_memory - 1);
        }
        request_add_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
        seal(r);
        return;
    }
    r->context->handlers->take_body(r, status, type, body, bytes);
    size_t encoded_bytes;
    char *encoded = encode_body(r, type, body, bytes, &encoded_bytes);
    if (encoded) {
        free(body);
        body = encoded;
    }
    if (reply_owned(r, status, type, body, encoded ? encoded_bytes : bytes) != 0) {
        request_reply_unread(r);
        return;
    }
    add_coding(r, type, bytes, encoded != NULL);
}

void request_reply_problem(struct request *r, const struct problem *problem)
{
    size_t bytes;
    bool is_openai = r->route.has_openai_errors;
    char *body = is_openai ? openai_error(problem, &bytes) : problem_json(problem, r->id, &bytes);
    request_reply(r, (unsigned)problem_status(problem->kind), is_openai ? JSON : PROBLEM_MEDIA_TYPE,
                  body, bytes);
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (problem->kind == PROBLEM_METHOD_NOT_ALLOWED) {
        request_add_header(r, MHD_HTTP_HEADER_ALLOW, r->route.allow);
    }
    if (problem->kind == PROBLEM_LOADING || problem->kind == PROBLEM_OUT_OF_MEMORY) {
        request_add_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    }
}

int request_watch(struct request *r, void (*gone)(struct request *request))
{
    return connection_watch(r->connection, gone);
}

void request_unwatch(struct request *r)
{
    connection_unwatch(r->connection);
}

void request_suspend(struct request *r)
{
    MHD_suspend_connection(r->mhd);
    r->suspended = true;
}

void request_resume(struct request *r)
{
    assert(r->suspended);
    connection_unwatch(r->connection);
    r->suspended = false;
    MHD_resume_connection(r->mhd);
    pump_wake(r->pump);
}
