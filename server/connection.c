#include "server/connection.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "api/problem.h"
#include "server/request.h"
#include "server/server.h"

#define CHECK_INTERVAL_MS 250
#define NS_PER_S UINT64_C(1000000000)
#define SLOWEST_BYTES_PER_S 8192 /* of a client that reads an answer */

/* A poll handle outlives the connection until libuv has closed it. */
struct watch {
    uv_poll_t poll;
    struct connection *connection;
    void (*gone)(struct request *request);
};

static bool phase_is_busy(enum connection_phase phase)
{
    return phase == PHASE_RECEIVING || phase == PHASE_WORKING || phase == PHASE_SENDING;
}

/* The library cannot answer a request that it has not got whole; the socket can. */
static void send_timeout(const struct connection *c)
{
    struct problem problem;
    problem_set(&problem, PROBLEM_REQUEST_TIMEOUT, "The request did not arrive in time.");
    size_t bytes;
    char *body = problem_json(&problem, c->request ? c->request->id : "", &bytes);
    if (!body) {
        return;
    }
    char head[192];
    int head_bytes = snprintf(head, sizeof head,
                              "HTTP/1.1 408 Request Timeout\r\nContent-Type: %s\r\n"
                              "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                              PROBLEM_MEDIA_TYPE, bytes);
    struct iovec parts[] = {{head, (size_t)head_bytes}, {body, bytes}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    /* Best effort: a client this slow may not read either. */
    ssize_t sent = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent;
    free(body);
}

static void on_check(uv_timer_t *timer)
{
    struct connection_list *list = timer->data;
    uint64_t now_ns = uv_hrtime();
    for (struct connection *c = list->head; c; c = c->next) {
        if (!c->deadline_ns || now_ns < c->deadline_ns) {
            continue;
        }
        c->deadline_ns = 0;
        c->late = true;
        if (c->phase == PHASE_FRESH || c->phase == PHASE_RECEIVING) {
            send_timeout(c);
        }
        shutdown(c->fd, SHUT_RDWR);
    }
}

void connection_list_init(struct connection_list *list, struct server *server)
{
    *list = (struct connection_list){.server = server};
    uv_timer_init(&server->loop, &list->timer);
    list->timer.data = list;
}

void connection_list_close(struct connection_list *list)
{
    uv_close((uv_handle_t *)&list->timer, NULL);
}

struct connection *connection_add(struct connection_list *list, int fd)
{
    struct connection *c = calloc(1, sizeof *c);
    if (!c) {
        return NULL;
    }
    c->fd = fd;
    c->next = list->head;
    if (list->head) {
        list->head->prev = c;
    } else {
        uv_timer_start(&list->timer, on_check, CHECK_INTERVAL_MS, CHECK_INTERVAL_MS);
    }
    list->head = c;
    list->server->metrics.connections++;
    list->server->metrics.connections_total++;
    c->phase = PHASE_IDLE; /* entered from a phase that is not busy */
    connection_enter(list, c, PHASE_FRESH, 0);
    return c;
}

void connection_remove(struct connection_list *list, struct connection *c)
{
    connection_unwatch(c);
    connection_enter(list, c, PHASE_IDLE, 0);
    *(c->prev ? &c->prev->next : &list->head) = c->next;
    if (c->next) {
        c->next->prev = c->prev;
    }
    if (!list->head) {
        uv_timer_stop(&list->timer);
    }
    list->server->metrics.connections--;
    free(c);
}

void connection_enter(struct connection_list *list, struct connection *c,
                      enum connection_phase phase, size_t bytes)
{
    const struct options *options = list->server->options;
    uint64_t limit_s = 0;
    switch (phase) {
    case PHASE_FRESH:
    case PHASE_RECEIVING:
        limit_s = (uint64_t)options->request_timeout_s;
        break;
    case PHASE_WORKING:
        break;
    case PHASE_SENDING:
        limit_s = (uint64_t)options->keepalive_timeout_s + bytes / SLOWEST_BYTES_PER_S;
        break;
    case PHASE_IDLE:
        limit_s = (uint64_t)options->keepalive_timeout_s;
        break;
    }
    c->deadline_ns = limit_s ? uv_hrtime() + limit_s * NS_PER_S : 0;
    list->n_busy += (size_t)phase_is_busy(phase) - (size_t)phase_is_busy(c->phase);
    c->phase = phase;
}

void connection_remote(const struct connection *c, char *out, size_t bytes)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    if (getpeername(c->fd, (struct sockaddr *)&peer, &length) != 0) {
        snprintf(out, bytes, "gone");
    } else if (peer.ss_family == AF_UNIX) {
        snprintf(out, bytes, "unix");
    } else if (getnameinfo((const struct sockaddr *)&peer, length, out, (socklen_t)bytes, NULL, 0,
                           NI_NUMERICHOST) != 0) {
        snprintf(out, bytes, "unknown");
    }
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_hangup(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    if (status == 0 && !(events & UV_DISCONNECT)) {
        return;
    }
    struct request *request = w->connection->request;
    void (*gone)(struct request *) = w->gone;
    connection_unwatch(w->connection);
    gone(request);
}

int connection_watch(struct connection_list *list, struct connection *c,
                     void (*gone)(struct request *request))
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w) {
        return UV_ENOMEM;
    }
    int rc = uv_poll_init(&list->server->loop, &w->poll, c->fd);
    if (rc != 0) {
        free(w);
        return rc;
    }
    w->poll.data = w;
    w->connection = c;
    w->gone = gone;
    c->watch = w;
    rc = uv_poll_start(&w->poll, UV_DISCONNECT, on_hangup);
    if (rc != 0) {
        connection_unwatch(c);
    }
    return rc;
}

void connection_unwatch(struct connection *c)
{
    if (c->watch) {
        /* Takes the descriptor out of the loop's epoll at once; only the memory waits. */
        uv_close((uv_handle_t *)&c->watch->poll, on_watch_closed);
        c->watch = NULL;
    }
}
