#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/commands.h"
#include "server/server.h"

#define POOL_MAX 1024 /* libuv's */

/* Processors that this process may use. */
static uint32_t count_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        return (uint32_t)CPU_COUNT(&set);
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

/* The soft limit on descriptors is often 1024, less than our connections need. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* best effort: the library stops accepting instead */
    }
}

int cmd_serve(const struct options *options)
{
    struct server server = {
        .options = options,
        .log = {.format = options->log_format},
        .state = SERVER_LOADING,
        .n_workers = options->workers > 0 ? (uint32_t)options->workers : count_processors(),
    };
    if (server.n_workers > POOL_MAX) {
        server.n_workers = POOL_MAX;
    }
    /* libuv reads it when the first work is queued. */
    char pool[16];
    snprintf(pool, sizeof pool, "%u", server.n_workers);
    setenv("UV_THREADPOOL_SIZE", pool, 1);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    return server_run(&server);
}
