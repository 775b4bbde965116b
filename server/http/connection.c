#include "server/http/connection.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHECK_INTERVAL_MS 250
#define NS_PER_S UINT64_C(1000000000)
#define REFUSALS_PERIOD_NS (10 * NS_PER_S) /* between two lines about refused connections */
#define SILENT_NS NS_PER_S                 /* a fresh one that says nothing may lose its place */
#define SLOWEST_BYTES_PER_S 8192           /* of a client that reads an answer */

static bool phase_is_busy(enum connection_phase phase)
{
    return phase == PHASE_RECEIVING || phase == PHASE_WORKING || phase == PHASE_SENDING;
}

/* An end of what the client sends, if it arrived along with the request, is not noticed by the
 * library: its epoll tells of changes alone, and this one is told already. */
static bool has_ended(const struct connection *c)
{
    char byte;
    return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* A process that was stopped for a while, or did not get its turn, is late itself: what its clients
 * sent meanwhile is still to be read, and they get that time. Returns it. */
static uint64_t own_delay_ns(struct connection_list *list, uint64_t now_ns)
{
    uint64_t elapsed_ns = now_ns - list->checked_ns;
    list->checked_ns = now_ns;
    return elapsed_ns > NS_PER_S ? elapsed_ns : 0;
}

/* At the limit, learn of the next newcomer, once: the one that waits already too. */
static void await_newcomer(struct connection_list *list)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
    if (list->listen_fd >= 0 && list->n >= list->limit) {
        epoll_ctl(list->hangup_fd, EPOLL_CTL_MOD, list->listen_fd, &event);
    }
}

/* Is there nothing of a request on it, seen or unseen? */
static bool is_idle(const struct connection *c, uint64_t now_ns)
{
    char byte;
    uint64_t fresh_ns = (uint64_t)c->list->context->options->request_timeout_s * NS_PER_S;
    if (c->late || c->framing.state != FRAMING_START ||
        !(c->phase == PHASE_IDLE || (c->phase == PHASE_FRESH && c->framing.n_bytes == 0 &&
                                     now_ns + fresh_ns >= c->deadline_ns + SILENT_NS))) {
        return false;
    }
    return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/* A newcomer waits: the library takes it once there is a place. If all are busy, on_check() tries
 * again. */
static void on_newcomer(struct connection_list *list)
{
    uint64_t now_ns = uv_hrtime();
    struct connection *oldest = NULL;
    for (struct connection *c = list->head; c && list->n >= list->limit; c = c->next) {
        bool is_before =
            !oldest || (c->phase == oldest->phase ? c->deadline_ns <= oldest->deadline_ns
                                                  : c->phase == PHASE_IDLE);
        if (is_before && is_idle(c, now_ns)) {
            oldest = c;
        }
    }
    if (oldest) {
        oldest->deadline_ns = 0;
        oldest->late = true;
        shutdown(oldest->fd, SHUT_RDWR);
    }
}

static void on_check(uv_timer_t *timer)
{
    struct connection_list *list = timer->data;
    await_newcomer(list);
    uint64_t now_ns = uv_hrtime(), delay_ns = own_delay_ns(list, now_ns);
    for (struct connection *c = list->head; c; c = c->next) {
        c->deadline_ns += c->deadline_ns ? delay_ns : 0;
        if (c->phase != PHASE_WORKING && c->phase != PHASE_SENDING && !c->looked) {
            c->looked = true;
            if (has_ended(c)) {
                shutdown(c->fd, SHUT_RDWR);
                continue;
            }
        }
        if (!c->deadline_ns || now_ns < c->deadline_ns) {
            continue;
        }
        c->deadline_ns = 0;
        c->late = true;
        /* One that was opened in advance and not needed is closed without a word. */
        if (c->phase == PHASE_RECEIVING || (c->phase == PHASE_FRESH && c->framing.n_bytes > 0)) {
            struct problem problem;
            problem_set(&problem, PROBLEM_REQUEST_TIMEOUT, "The request did not arrive in time.");
            list->refuse(c, &problem);
        }
        shutdown(c->fd, SHUT_RDWR);
    }
}

/* One at a time: what is done about a hang-up may end other connections that hung up as well. */
static void on_hangups(uv_poll_t *poll, int status, int events)
{
    struct connection_list *list = poll->data;
    struct epoll_event event;
    (void)status, (void)events;
    while (epoll_wait(list->hangup_fd, &event, 1, 0) == 1) {
        struct connection *c = event.data.ptr;
        if (!c) {
            on_newcomer(list);
            continue;
        }
        void (*gone)(struct request *) = c->gone;
        connection_unwatch(c);
        gone(c->request);
    }
}

int connection_list_init(struct connection_list *list, const struct http_context *context,
                         void (*refuse)(const struct connection *c, const struct problem *why))
{
    *list = (struct connection_list){.context = context,
                                     .refuse = refuse,
                                     .listen_fd = -1,
                                     .hangup_fd = epoll_create1(EPOLL_CLOEXEC)};
    if (list->hangup_fd < 0) {
        return -1;
    }
    int rc = uv_poll_init(context->loop, &list->hangups, list->hangup_fd);
    if (rc != 0) {
        close(list->hangup_fd);
        errno = -rc;
        return -1;
    }
    list->hangups.data = list;
    uv_poll_start(&list->hangups, UV_READABLE, on_hangups);
    uv_timer_init(context->loop, &list->timer);
    list->timer.data = list;
    return 0;
}

int connection_list_serve(struct connection_list *list, int listen_fd, size_t limit)
{
    struct epoll_event event = {.events = 0};
    if (epoll_ctl(list->hangup_fd, EPOLL_CTL_ADD, listen_fd, &event) != 0) {
        return -1;
    }
    list->listen_fd = listen_fd;
    list->limit = limit;
    return 0;
}

void connection_list_stop_serving(struct connection_list *list)
{
    if (list->listen_fd >= 0) {
        epoll_ctl(list->hangup_fd, EPOLL_CTL_DEL, list->listen_fd, NULL);
        list->listen_fd = -1;
    }
}

void connection_list_close(struct connection_list *list)
{
    uv_close((uv_handle_t *)&list->timer, NULL);
    uv_close((uv_handle_t *)&list->hangups, NULL);
}

void connection_list_free(struct connection_list *list)
{
    close(list->hangup_fd);
    free(list->by_fd);
}

static void format_address(const struct sockaddr *peer, char *out, size_t bytes)
{
    socklen_t length =
        peer->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (peer->sa_family == AF_UNIX) {
        snprintf(out, bytes, "unix");
    } else if (getnameinfo(peer, length, out, (socklen_t)bytes, NULL, 0, NI_NUMERICHOST) != 0) {
        snprintf(out, bytes, "unknown");
    }
}

static uint64_t origin_of(const struct sockaddr *peer)
{
    uint64_t origin = 0;
    if (peer && peer->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)peer;
        return UINT64_C(1) << 32 | v4->sin_addr.s_addr; /* starts with zeros, as no IPv6 one does */
    }
    if (peer && peer->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(v6)) {
            uint32_t v4;
            memcpy(&v4, v6->s6_addr + 12, sizeof v4);
            return UINT64_C(1) << 32 | v4;
        }
        memcpy(&origin, v6->s6_addr, sizeof origin);
        return origin ? origin : 1; /* ::1 */
    }
    return 0;
}

static void log_refusal(struct connection_list *list, const struct sockaddr *peer)
{
    uint64_t now_ns = uv_hrtime();
    list->context->metrics->connections_refused++;
    list->n_refused++;
    if (list->refusal_logged_ns && now_ns - list->refusal_logged_ns < REFUSALS_PERIOD_NS) {
        return;
    }
    char remote[64];
    format_address(peer, remote, sizeof remote);
    log_event(list->context->log, LOG_WARN, "connections_refused", LOG_S("remote", remote),
              LOG_I("since_last_line", list->n_refused));
    list->refusal_logged_ns = now_ns;
    list->n_refused = 0;
}

bool connection_admit(struct connection_list *list, const struct sockaddr *peer)
{
    uint64_t origin = origin_of(peer);
    int limit = list->context->options->max_connections_per_address, n = 0;
    if (limit == 0 || origin == 0 || proxies_has(list->context->proxies, peer)) {
        return true;
    }
    for (const struct connection *c = list->head; c; c = c->next) {
        n += c->origin == origin;
    }
    if (n >= limit) {
        log_refusal(list, peer);
    }
    return n < limit;
}

/* The system asks a client that says nothing whether it is still there, and gives up one that does
 * not acknowledge: one that has vanished without a word would else hold its place for ever. */
static void watch_peer(const struct connection_list *list, int fd)
{
    int on = 1, idle_s = list->context->options->keepalive_timeout_s;
    int interval_s = idle_s / 5 > 0 ? idle_s / 5 : 1;
    unsigned unheard_ms = 1500 * (unsigned)idle_s;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unheard_ms, sizeof unheard_ms);
}

/* Make room for the descriptor in the table. Returns 0 or -1. */
static int make_room(struct connection_list *list, int fd)
{
    size_t n = list->n_fds ? list->n_fds : 64;
    while (n <= (size_t)fd) {
        n *= 2;
    }
    if (n == list->n_fds) {
        return 0;
    }
    struct connection **by_fd = realloc(list->by_fd, n * sizeof(struct connection *));
    if (!by_fd) {
        return -1;
    }
    memset(by_fd + list->n_fds, 0, (n - list->n_fds) * sizeof(struct connection *));
    list->by_fd = by_fd;
    list->n_fds = n;
    return 0;
}

struct connection *connection_find(const struct connection_list *list, int fd)
{
    return fd >= 0 && (size_t)fd < list->n_fds ? list->by_fd[fd] : NULL;
}

/* What comes next, once all before it is answered, is no request: it is answered here, as the
 * library does so wrongly or not at all. */
static void refuse_unreadable(struct connection *c)
{
    bool is_next = c->n_requests == c->framing.n_messages + (c->request != NULL);
    if (is_next && c->phase != PHASE_WORKING && c->phase != PHASE_SENDING && c->framing.fault &&
        framing_is_unreadable(&c->framing)) {
        struct problem problem;
        problem_set(&problem, PROBLEM_INVALID_REQUEST, "%s", c->framing.fault);
        c->list->refuse(c, &problem);
        shutdown(c->fd, SHUT_RDWR);
    }
}

void connection_received(struct connection *c, const void *bytes, size_t n)
{
    c->looked = false;
    framing_read(&c->framing, bytes, n);
    refuse_unreadable(c);
}

void connection_request_ended(struct connection *c)
{
    c->request = NULL;
    connection_unwatch(c);
    connection_enter(c, PHASE_IDLE, 0);
    refuse_unreadable(c);
}

const char *connection_fault(const struct connection *c)
{
    return c->framing.n_messages + 1 == c->n_requests ? c->framing.fault : NULL;
}

struct connection *connection_add(struct connection_list *list, int fd, const struct sockaddr *peer)
{
    struct connection *c = make_room(list, fd) == 0 ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        return NULL;
    }
    list->by_fd[fd] = c;
    c->list = list;
    c->fd = fd;
    c->origin = origin_of(peer);
    if (c->origin) {
        watch_peer(list, fd);
    }
    c->next = list->head;
    if (list->head) {
        list->head->prev = c;
    } else {
        list->checked_ns = uv_hrtime();
        uv_timer_start(&list->timer, on_check, CHECK_INTERVAL_MS, CHECK_INTERVAL_MS);
    }
    list->head = c;
    list->n++;
    await_newcomer(list);
    list->context->metrics->connections++;
    list->context->metrics->connections_total++;
    c->phase = PHASE_IDLE; /* entered from a phase that is not busy */
    connection_enter(c, PHASE_FRESH, 0);
    return c;
}

void connection_remove(struct connection *c)
{
    struct connection_list *list = c->list;
    connection_unwatch(c);
    connection_enter(c, PHASE_IDLE, 0);
    *(c->prev ? &c->prev->next : &list->head) = c->next;
    if (c->next) {
        c->next->prev = c->prev;
    }
    if (list->by_fd[c->fd] == c) {
        list->by_fd[c->fd] = NULL;
    }
    if (!list->head) {
        uv_timer_stop(&list->timer);
    }
    list->n--;
    list->context->metrics->connections--;
    free(c);
}

void connection_enter(struct connection *c, enum connection_phase phase, size_t bytes)
{
    struct connection_list *list = c->list;
    const struct options *options = list->context->options;
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
    c->looked = false;
}

void connection_remote(const struct connection *c, char *out, size_t bytes)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    if (getpeername(c->fd, (struct sockaddr *)&peer, &length) != 0) {
        snprintf(out, bytes, "gone");
    } else {
        format_address((const struct sockaddr *)&peer, out, bytes);
    }
}

int connection_watch(struct connection *c, void (*gone)(struct request *request))
{
    /* An end of both halves is always told. */
    bool may_go_on = c->list->context->options->half_close;
    struct epoll_event event = {.events = may_go_on ? 0 : EPOLLRDHUP, .data.ptr = c};
    if (epoll_ctl(c->list->hangup_fd, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        return -1;
    }
    c->gone = gone;
    return 0;
}

void connection_unwatch(struct connection *c)
{
    if (c->gone) {
        epoll_ctl(c->list->hangup_fd, EPOLL_CTL_DEL, c->fd, NULL);
        c->gone = NULL;
    }
}
