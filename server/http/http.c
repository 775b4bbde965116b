#include "server/http/http.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/query.h"
#include "api/unicode.h"
#include "server/base/random.h"
#include "server/clients/clients.h"
#include "server/http/connection.h"
#include "server/http/late_reply.h"
#include "server/http/pump.h"
#include "server/http/request.h"

struct http {
    const struct http_context *context;
    bool is_admin;
    struct MHD_Daemon *mhd;
    struct connection_list connections;
    struct pump pump;
    size_t large_bytes; /* of the large bodies that are held */
};

static struct http *http_of(const struct request *r)
{
    return (struct http *)(void *)((char *)r->pump - offsetof(struct http, pump));
}

#define FIRST_BODY_CAPACITY 1024
/* Of bodies that are larger than --max-body-bytes, which few routes take; beyond it 503. */
#define MAX_LARGE_BYTES ((size_t)64 << 20)
/* A body that is announced larger is refused at once instead of being read and thrown away. */
#define MAX_DRAINED_BYTES (UINT64_C(16) << 20)

/* ---- one request ---------------------------------------------------------------------------- */

/* An id of the client's own, if it is one that is safe to repeat. */
static bool id_is_valid(const char *id)
{
    size_t bytes = strlen(id);
    return bytes >= 1 && bytes < REQUEST_ID_BYTES &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == bytes;
}

static void request_free(struct request *r)
{
    if (r->response) {
        MHD_destroy_response(r->response);
        r->response = NULL;
    }
    r->context->handlers->end(r); /* of one that was never answered */
    http_of(r)->large_bytes -= r->large_bytes;
    client_drop(r->client);
    request_free_lists(r);
    free(r->path);
    free(r->authority);
    free(r->body);
    free(r);
}

/* A log line is UTF-8, whatever a client sends. */
static const char *shown(const char *text)
{
    return !text || unicode_valid(text, strlen(text)) ? text : "(not UTF-8)";
}

/* One that fails is logged always: it may be what somebody looks for. */
static bool is_logged(const struct request *r)
{
    bool is_probe =
        r->route.id == ROUTE_LIVEZ || r->route.id == ROUTE_READYZ || r->route.id == ROUTE_METRICS;
    switch (r->context->options->log_access) {
    case LOG_ACCESS_OFF:
        return false;
    case LOG_ACCESS_NO_PROBES:
        return !is_probe || r->status >= 400;
    case LOG_ACCESS_ON:
        break;
    }
    return true;
}

static void log_access(const struct request *r, const char *peer, bool aborted, double seconds)
{
    log_event(r->context->log, LOG_INFO, "request", LOG_S("request_id", r->id),
              LOG_S("remote", *r->forwarded_for ? r->forwarded_for : peer),
              LOG_S("proxy", *r->forwarded_for ? peer : NULL),
              LOG_S("client", r->client ? r->client->name : NULL),
              LOG_S("trace_id", *r->trace.trace_id ? r->trace.trace_id : NULL),
              LOG_S("span_id", *r->trace.trace_id ? r->trace.span_id : NULL),
              LOG_S("method", shown(r->method)), LOG_S("path", shown(r->path)),
              LOG_S("query", shown(r->query)), LOG_I("status", r->status),
              LOG_I("bytes", r->response_bytes), LOG_MS("duration_ms", 1e3 * seconds),
              LOG_I("rows", r->n_rows), LOG_MS("queue_ms", r->queue_ms),
              LOG_MS("sample_ms", r->sample_ms), LOG_S("aborted", aborted ? "yes" : NULL));
}

/* The request is over, well or not: count it, log it, free it. */
static void request_end(struct request *r, bool aborted)
{
    struct connection *c = r->connection;
    if (r->status == 0) {
        r->status = connection_fault(c) ? 400 : c->late ? 408 : 499;
    }
    if (!r->begun) { /* its method is not known */
        r->route.id = -1;
    }
    double seconds = 1e-9 * (double)(uv_hrtime() - r->started_ns);
    metrics_count_request(r->context->metrics, r->route.id, r->method, (int)r->status, seconds);
    if (is_logged(r)) {
        char peer[64];
        connection_remote(c, peer, sizeof peer);
        log_access(r, peer, aborted, seconds);
    }
    connection_request_ended(c);
    struct life *life = r->context->life;
    request_free(r);
    life_tell_end(life);
}

static struct request *request_new(struct http *http, struct MHD_Connection *mhd,
                                   struct connection *c, const char *uri)
{
    struct request *r = calloc(1, sizeof *r);
    if (!r) {
        return NULL;
    }
    r->path = strdup(uri);
    if (!r->path || random_id(r->id, sizeof r->id, "req_") != 0) {
        free(r->path);
        free(r);
        return NULL;
    }
    r->context = http->context;
    r->pump = &http->pump;
    r->is_admin = http->is_admin;
    r->mhd = mhd;
    r->connection = c;
    r->started_ns = uv_hrtime();
    r->route.id = -1;
    const char *authority;
    size_t authority_bytes = query_target_authority(uri, &authority);
    if (authority_bytes > 0 && !(r->authority = strndup(authority, authority_bytes))) {
        free(r->path);
        free(r);
        return NULL;
    }
    r->query = query_split_target(r->path);
    query_normalise_path(r->path);
    return r;
}

static enum MHD_Result request_send(struct request *r)
{
    if (!r->response) {
        return MHD_NO; /* nothing can be said: the connection is closed */
    }
    r->context->handlers->end(r);
    enum MHD_Result rc = MHD_queue_response(r->mhd, r->status, r->response);
    MHD_destroy_response(r->response); /* the library has its own reference */
    r->response = NULL;
    if (rc == MHD_YES) {
        connection_enter(r->connection, PHASE_SENDING, r->response_bytes);
    }
    return rc;
}

/* Our part of the client's trace, if the request is part of one. */
static void request_trace(struct request *r)
{
    uint64_t span = 0;
    if (trace_context_parse(&r->trace, request_header(r, "traceparent")) != 0) {
        return;
    }
    if (random_bytes(&span, sizeof span) != 0 || span == 0) {
        r->trace.trace_id[0] = '\0';
        return;
    }
    trace_context_continue(&r->trace, span);
}

/* The values of a header that may be repeated: the last ones, where there are more. */
struct header_values {
    const char *name;
    const char *values[16];
    size_t n;
};

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *key,
                                 const char *value)
{
    struct header_values *h = cls;
    (void)kind;
    if (value && strcasecmp(key, h->name) == 0) {
        size_t most = sizeof h->values / sizeof *h->values;
        if (h->n == most) {
            memmove(h->values, h->values + 1, --h->n * sizeof *h->values);
        }
        h->values[h->n++] = value;
    }
    return MHD_YES;
}

/* Whom it is from, if that is a trusted proxy's to say. */
static void request_identify(struct request *r)
{
    const struct proxies *proxies = r->context->proxies;
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    if ((proxies->n_networks == 0 && !proxies->has_unix) ||
        getpeername(r->connection->fd, (struct sockaddr *)&peer, &length) != 0) {
        return;
    }
    struct header_values forwarded = {.name = "X-Forwarded-For"};
    MHD_get_connection_values(r->mhd, MHD_HEADER_KIND, on_header, &forwarded);
    proxies_client(proxies, (const struct sockaddr *)&peer, forwarded.values, forwarded.n,
                   r->forwarded_for);
}

/* A request that two readers could understand in two ways is refused, and its connection with it:
 * where the next one begins is not known. */
static enum MHD_Result request_refuse(struct request *r, const char *fault)
{
    struct problem problem;
    problem_set(&problem, PROBLEM_INVALID_REQUEST, "%s", fault);
    if (r->begun && !r->complete) { /* amid its body, where the library cannot answer */
        r->status = 400;
        r->connection->list->refuse(r->connection, &problem);
        return MHD_NO;
    }
    request_reply_problem(r, &problem);
    if (r->context->life->state < LIFE_LEAVING) { /* then it is there already */
        request_add_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    return request_send(r);
}

/* The headers are in. A request that is already known to be refused is still read to its end, so
 * that the answer is not lost in a reset, except where the client waits for "100 Continue". */
static enum MHD_Result request_begin(struct request *r, const char *method)
{
    r->begun = true;
    size_t bytes = strlen(method);
    memcpy(r->method, method, bytes < sizeof r->method ? bytes : sizeof r->method - 1);
    const char *id = request_header(r, "X-Request-Id");
    if (id && id_is_valid(id)) {
        memcpy(r->id, id, strlen(id) + 1);
    }
    request_trace(r);
    request_identify(r);
    const char *length = request_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);
    uint64_t announced = length ? strtoull(length, NULL, 10) : 0;
    bool is_chunked = request_header(r, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
    r->announced_bytes = announced;
    r->has_body = announced > 0 || is_chunked; /* of chunks there may be none */
    route_find(&r->route, r->method, r->path, r->is_admin);
    r->max_body_bytes = (size_t)r->context->options->max_body_bytes;
    if (route_body_bytes(r->route.id) > r->max_body_bytes) {
        r->max_body_bytes = route_body_bytes(r->route.id);
    }
    r->body_too_large = announced > r->max_body_bytes;
    if (connection_fault(r->connection)) {
        r->complete = true; /* as much as is read of it */
        return request_refuse(r, connection_fault(r->connection));
    }

    struct problem problem;
    bool waits = request_header(r, MHD_HTTP_HEADER_EXPECT) != NULL;
    if (r->has_body && (waits || announced > MAX_DRAINED_BYTES) &&
        r->context->handlers->check(r, &problem) != 0) {
        request_reply_problem(r, &problem);
        return request_send(r);
    }
    return MHD_YES;
}

static void request_receive(struct request *r, const char *data, size_t bytes)
{
    r->has_body = true;
    if (r->body_too_large || r->out_of_memory || bytes > r->max_body_bytes - r->body_bytes) {
        r->body_too_large = !r->out_of_memory;
        return;
    }
    size_t need = r->body_bytes + bytes;
    if (need > r->body_capacity) {
        size_t capacity = r->body_capacity ? r->body_capacity : FIRST_BODY_CAPACITY;
        while (capacity < need) {
            capacity *= 2;
        }
        size_t large_bytes = need > (size_t)r->context->options->max_body_bytes ? capacity : 0;
        size_t *all = &http_of(r)->large_bytes;
        bool has_room = *all - r->large_bytes + large_bytes <= MAX_LARGE_BYTES;
        char *body = has_room ? realloc(r->body, capacity) : NULL;
        if (!body) {
            r->out_of_memory = true;
            return;
        }
        *all += large_bytes - r->large_bytes;
        r->large_bytes = large_bytes;
        r->body = body;
        r->body_capacity = capacity;
    }
    memcpy(r->body + r->body_bytes, data, bytes);
    r->body_bytes = need;
}

/* ---- the library's callbacks ---------------------------------------------------------------- */

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static enum MHD_Result on_accept(void *cls, const struct sockaddr *peer, socklen_t bytes)
{
    struct http *http = cls;
    (void)bytes;
    return connection_admit(&http->connections, peer) ? MHD_YES : MHD_NO;
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http *http = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
        int fd = info->connect_fd;
        info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
        *socket_context = connection_add(&http->connections, fd, info ? info->client_addr : NULL);
        return;
    }
    struct connection *c = *socket_context;
    if (c) {
        if (c->request) {
            request_end(c->request, true);
        }
        connection_remove(c);
        life_tell_end(http->context->life);
    }
}

static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct http *http = cls;
    struct connection *c = connection_of(mhd);
    if (!c) {
        return NULL;
    }
    assert(!c->request);
    c->n_requests++;
    c->request = request_new(http, mhd, c, uri);
    if (c->request) {
        connection_enter(c, PHASE_RECEIVING, 0);
    }
    return c->request;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_bytes, void **context)
{
    (void)cls, (void)mhd, (void)url, (void)version;
    struct request *r = *context;
    if (!r || r->gone) {
        return MHD_NO;
    }
    if (!r->begun) {
        return request_begin(r, method);
    }
    if (!r->complete && connection_fault(r->connection)) {
        r->complete = *data_bytes == 0;
        return request_refuse(r, connection_fault(r->connection));
    }
    if (*data_bytes > 0) {
        request_receive(r, data, *data_bytes);
        *data_bytes = 0;
        return MHD_YES;
    }
    if (!r->complete) {
        r->complete = true;
        r->has_body = r->body_bytes > 0 || r->body_too_large || r->out_of_memory;
        connection_enter(r->connection, PHASE_WORKING, 0);
        r->context->handlers->run(r);
        if (r->suspended) {
            return MHD_YES;
        }
    }
    return request_send(r);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode why)
{
    (void)cls, (void)mhd;
    struct request *r = *context;
    *context = NULL;
    if (r) {
        request_end(r, why != MHD_REQUEST_TERMINATED_COMPLETED_OK);
    }
}

/* Paths and queries are decoded strictly by api/; the library must leave them as they came. */
static size_t on_unescape(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls, (void)mhd;
    return strlen(text);
}

/* ---- the listener --------------------------------------------------------------------------- */

int http_open(struct http **out, const struct http_context *context, struct listener *listener,
              bool is_admin)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http) {
        return -1;
    }
    http->context = context;
    http->is_admin = is_admin;
    uint32_t limit = is_admin ? HTTP_ADMIN_CONNECTIONS : context->max_connections;
    http->mhd = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, on_accept, http, on_request, http,
        MHD_OPTION_LISTEN_SOCKET, (MHD_socket)listener->fd, MHD_OPTION_CONNECTION_LIMIT, limit,
        MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_URI_LOG_CALLBACK, on_request_line, http, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, NULL, MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, NULL,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!http->mhd) {
        goto free_http;
    }
    if (connection_list_init(&http->connections, context, late_reply_send) != 0) {
        goto stop_library;
    }
    if (connection_list_serve(&http->connections, listener->fd, limit) != 0 ||
        pump_open(&http->pump, context->loop, http->mhd, &http->connections,
                  &context->metrics->connections) != 0) {
        goto close_connections;
    }
    listener->fd = -1;
    *out = http;
    pump_run(&http->pump);
    return 0;

close_connections:
    connection_list_close(&http->connections); /* the loop needs their memory until it ends */
    connection_list_free(&http->connections);
    *out = http;
stop_library:
    MHD_quiesce_daemon(http->mhd); /* the listening socket is the caller's again */
    MHD_stop_daemon(http->mhd);
    http->mhd = NULL;
free_http:
    if (*out != http) {
        free(http);
    }
    return -1;
}

size_t http_requests(const struct http *http)
{
    return http ? http->connections.n_busy : 0;
}

void http_stop_accepting(struct http *http)
{
    if (!http) {
        return;
    }
    connection_list_stop_serving(&http->connections);
    MHD_socket fd = MHD_quiesce_daemon(http->mhd);
    if (fd != MHD_INVALID_SOCKET) {
        close(fd);
    }
}

void http_close(struct http *http)
{
    if (!http || !http->mhd) {
        return;
    }
    pump_close(&http->pump);
    connection_list_close(&http->connections);
    MHD_stop_daemon(http->mhd);
    connection_list_free(&http->connections);
}

void http_free(struct http *http)
{
    free(http);
}
