/*
 * A client's connection and its clock. Loop thread only.
 *
 * libmicrohttpd only knows a limit on inactivity, which a client that sends a byte now and then
 * never meets, and none at all for suspended requests. So each connection has one deadline for the
 * phase it is in, checked by one timer; a late one is shut down, which the library sees as a
 * hang-up.
 */
#ifndef SERVER_CONNECTION_H
#define SERVER_CONNECTION_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct server;
struct request;

enum connection_phase {
    PHASE_FRESH,     /* connected, no request yet */
    PHASE_RECEIVING, /* a request is arriving */
    PHASE_WORKING,   /* it is complete and not answered: no limit */
    PHASE_SENDING,   /* its answer is leaving */
    PHASE_IDLE       /* kept alive */
};

struct watch;

struct connection {
    int fd;
    enum connection_phase phase;
    uint64_t deadline_ns; /* uv_hrtime, 0 is none */
    bool late;            /* shut down for lateness */
    struct request *request;
    struct watch *watch;
    struct connection *prev, *next;
};

struct connection_list {
    struct server *server;
    struct connection *head;
    size_t n_busy; /* receiving, working or sending */
    uv_timer_t timer;
};

void connection_list_init(struct connection_list *list, struct server *server);
void connection_list_close(struct connection_list *list);

/* A client came or went. */
struct connection *connection_add(struct connection_list *list, int fd);
void connection_remove(struct connection_list *list, struct connection *c);

/* The client's address as text, without its port; "unix" for a Unix socket. */
void connection_remote(const struct connection *c, char *out, size_t bytes);

/* Enter a phase; its limit starts now. `bytes` is the size of the answer in PHASE_SENDING. */
void connection_enter(struct connection_list *list, struct connection *c,
                      enum connection_phase phase, size_t bytes);

/* Call `gone` once if the client hangs up, until connection_unwatch. A client that only closes its
 * sending half is taken for gone, as the two look alike. Returns 0 or a negative libuv code. */
int connection_watch(struct connection_list *list, struct connection *c,
                     void (*gone)(struct request *request));
void connection_unwatch(struct connection *c);

#endif
