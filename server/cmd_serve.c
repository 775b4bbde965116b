#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "server/commands.h"
#include "server/processors.h"
#include "server/server.h"

#define POOL_MAX 1024 /* libuv's */

/* The soft limit on descriptors is often 1024, less than our connections need. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* best effort: the library stops accepting instead */
    }
}

/* The kernel drops a signal without a handler that is for the first process of a container. Blocked
 * it waits until server_run() has handlers. */
static void hold_signals_back(void)
{
    sigset_t early;
    sigemptyset(&early);
    sigaddset(&early, SIGTERM);
    sigaddset(&early, SIGINT);
    sigaddset(&early, SIGHUP);
    sigprocmask(SIG_BLOCK, &early, NULL);
}

int cmd_serve(const struct options *options)
{
    hold_signals_back();
    struct processors processors;
    processors_read(&processors);
    struct server server = {
        .options = options,
        .log = {.format = options->log_format},
        .state = SERVER_LOADING,
        .n_workers =
            options->workers > 0 ? (uint32_t)options->workers : (uint32_t)processors.usable,
    };
    if (server.n_workers > POOL_MAX - 1) {
        server.n_workers = POOL_MAX - 1;
    }
    /* One more than workers, which reads models while they step. libuv reads it when the first work
     * is queued. */
    char pool[16];
    snprintf(pool, sizeof pool, "%u", server.n_workers + 1);
    setenv("UV_THREADPOOL_SIZE", pool, 1);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    return server_run(&server);
}
