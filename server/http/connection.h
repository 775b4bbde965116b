/*
 * A client's connection and its clock. Loop thread only.
 *
 * libmicrohttpd only knows a limit on inactivity, which a client that sends a byte now and then
 * never meets, and none at all for suspended requests. So each connection has one deadline for the
 * phase it is in, checked by one timer; a late one is shut down, which the library sees as a
 * hang-up.
 *
 * Hang-ups are watched with an epoll descriptor of our own within the loop's: libuv ends the
 * program when it cannot watch one more socket, and we only have a request to refuse.
 */
#ifndef SERVER_HTTP_CONNECTION_H
#define SERVER_HTTP_CONNECTION_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "api/framing.h"
#include "server/http/http_context.h"

struct request;

enum connection_phase {
    PHASE_FRESH,     /* connected, no request yet */
    PHASE_RECEIVING, /* a request is arriving */
    PHASE_WORKING,   /* it is complete and not answered: no limit */
    PHASE_SENDING,   /* its answer is leaving */
    PHASE_IDLE       /* kept alive */
};

struct connection {
    struct connection_list *list;
    int fd;
    uint64_t origin; /* see connection_admit(); 0: of this machine, by a Unix socket */
    enum connection_phase phase;
    uint64_t deadline_ns;   /* uv_hrtime, 0 is none */
    bool late;              /* shut down for lateness */
    bool looked;            /* for an end of what the client sends, since it last sent something */
    struct framing framing; /* of all that it has sent */
    uint64_t n_requests;    /* begun */
    struct request *request;
    void (*gone)(struct request *request); /* NULL: nobody watches */
    struct connection *prev, *next;
};

struct connection_list {
    const struct http_context *context;
    /* Answer a client whose request does not come to its end. */
    void (*refuse)(const struct connection *c, const struct problem *why);
    struct connection *head;
    struct connection **by_fd; /* owned */
    size_t n_fds;
    size_t n;
    size_t n_busy; /* receiving, working or sending */
    size_t limit;  /* on n */
    int listen_fd; /* whose newcomers get an idle one's place; -1: no one's */
    uv_timer_t timer;
    uint64_t checked_ns; /* when the timer last ran */
    uint64_t n_refused;  /* since the last line in the log about it */
    uint64_t refusal_logged_ns;
    int hangup_fd; /* epoll */
    uv_poll_t hangups;
};

/* Returns 0 or -1 with errno set. */
int connection_list_init(struct connection_list *list, const struct http_context *context,
                         void (*refuse)(const struct connection *c, const struct problem *why));

/* At most `limit` connections will be open. A newcomer that waits at this socket beyond those gets
 * the place of the one that is idle for the longest time, or else of one that was opened more than
 * a second ago and said nothing. A request never loses its connection that way. Returns 0 or -1
 * with errno set. */
int connection_list_serve(struct connection_list *list, int listen_fd, size_t limit);

/* Newcomers get nobody's place any more; before the socket is closed. */
void connection_list_stop_serving(struct connection_list *list);

/* No connection comes from here on, and no hang-up is told; free it when the last has gone. */
void connection_list_close(struct connection_list *list);
void connection_list_free(struct connection_list *list);

/* May one more client come from there? Counts and logs those that may not. Clients are told apart
 * by their IPv4 address or the first half of their IPv6 address, the part that they cannot choose.
 */
bool connection_admit(struct connection_list *list, const struct sockaddr *peer);

/* A client came or went. `peer` may be NULL. */
struct connection *connection_add(struct connection_list *list, int fd,
                                  const struct sockaddr *peer);
void connection_remove(struct connection *c);

/* The connection with this descriptor, or NULL. */
struct connection *connection_find(const struct connection_list *list, int fd);

/* The library has received this from it. */
void connection_received(struct connection *c, const void *bytes, size_t n);

/* A request ended. */
void connection_request_ended(struct connection *c);

/* What is ambiguous about the request that it has begun, as text; NULL: nothing so far. */
const char *connection_fault(const struct connection *c);

/* The client's address as text, without its port; "unix" for a Unix socket. */
void connection_remote(const struct connection *c, char *out, size_t bytes);

/* Enter a phase; its limit starts now. `bytes` is the size of the answer in PHASE_SENDING. */
void connection_enter(struct connection *c, enum connection_phase phase, size_t bytes);

/* Call `gone` once if the client hangs up, until connection_unwatch. A client that only closes its
 * sending half is taken for gone, as the two look alike, unless --half-close says that such clients
 * wait for their answer. Returns 0 or -1. */
int connection_watch(struct connection *c, void (*gone)(struct request *request));
void connection_unwatch(struct connection *c);

#endif
