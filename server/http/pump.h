/*
 * Keeps libmicrohttpd going inside the loop: its epoll descriptor is a uv_poll_t, its timeout a
 * uv_timer_t. Loop thread only; embedded in who owns the library's daemon.
 */
#ifndef SERVER_HTTP_PUMP_H
#define SERVER_HTTP_PUMP_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct connection_list;

struct pump {
    struct MHD_Daemon *mhd;
    struct connection_list *connections;
    const uint64_t *n_connections; /* the count of those that are open */
    uv_poll_t poll;
    uv_timer_t timer;
    bool is_woken; /* since the library's last run began */
};

/* Returns 0, or -1 with nothing to close. */
int pump_open(struct pump *pump, uv_loop_t *loop, struct MHD_Daemon *mhd,
              struct connection_list *connections, const uint64_t *n_connections);

/* Let the library do what there is to do. */
void pump_run(struct pump *pump);

/* Let the library look at its connections in the loop's next turn: it does not wake by itself when
 * one is resumed. */
void pump_wake(struct pump *pump);

/* The loop needs its memory until the handles are closed. */
void pump_close(struct pump *pump);

#endif
