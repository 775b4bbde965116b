/*
 * What the service manager is told: the protocol of sd_notify(3), spoken without its library.
 *
 * READY=1 once the models have proved themselves, RELOADING=1 and STOPPING=1, a STATUS= for people,
 * EXTEND_TIMEOUT_USEC= while a load or a drain goes on, and WATCHDOG=1 as long as steps advance
 * wherever there are rows. Where nobody asked to be told ($NOTIFY_SOCKET, $WATCHDOG_USEC) nothing
 * is sent. Loop thread only; embedded in struct server.
 */
#ifndef SERVER_SYSTEM_SUPERVISOR_H
#define SERVER_SYSTEM_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

#include "server/base/life.h"
#include "server/base/log.h"
#include "server/base/metrics.h"
#include "server/system/stall.h"

struct supervisor {
    /* the owner's, set before supervisor_open() */
    uv_loop_t *loop;
    const struct life *life;
    const struct log *log;
    const struct metrics *metrics;
    const char *url; /* where the daemon listens */

    int fd; /* -1: nobody to tell */
    struct sockaddr_un address;
    socklen_t address_bytes;
    uint64_t watchdog_ms; /* 0: no watchdog */
    uint64_t opened_ms;   /* of uv_now() */
    uv_timer_t timer;
    struct stall stall;
};

/* Read the environment, and begin. What is malformed in it is logged, and then nobody is told. */
void supervisor_open(struct supervisor *s);

/* The daemon has entered another state: tell. Nothing happens to one that is not open. */
void supervisor_changed(struct supervisor *s);

/* A reload begins; supervisor_changed() says that it is over. */
void supervisor_reloading(struct supervisor *s);

/* Nothing happens to one that is all zeros. */
void supervisor_close(struct supervisor *s);

#endif
