#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/cli/commands.h"
#include "server/server.h"
#include "server/system/processors.h"
#include "server/system/resources.h"

#define POOL 2 /* libuv's: one reads models while workers step, one makes renderings */
#define OUT_BYTES 4096

/* Have what the daemon needs, or say what is missing. */
static int take_resources(struct server *server)
{
    char error[128];
    uint32_t wanted = server->http_context.max_connections;
    if (resources_take_descriptors(&server->http_context.max_connections, error, sizeof error) !=
            0 ||
        resources_check_threads(server->service.serving.n_workers + POOL, error, sizeof error) !=
            0) {
        log_event(&server->service.log, LOG_ERROR, "resources_failed", LOG_S("reason", error));
        return -1;
    }
    if (server->http_context.max_connections < wanted) {
        log_event(&server->service.log, LOG_WARN, "connections_limited",
                  LOG_I("connections", server->http_context.max_connections),
                  LOG_I("max_connections", wanted), LOG_S("reason", "the limit on descriptors"));
    }
    return 0;
}

static int serve(struct server *server)
{
    char pool[16]; /* libuv reads it when the first work is queued */
    snprintf(pool, sizeof pool, "%d", POOL);
    if (setenv("UV_THREADPOOL_SIZE", pool, 1) != 0 ||
        outlet_open(&server->out, STDOUT_FILENO, OUT_BYTES, NULL, NULL) != 0) {
        log_event(&server->service.log, LOG_ERROR, "resources_failed",
                  LOG_S("reason", "no memory, or no thread for standard output"));
        return 1;
    }
    int status = take_resources(server) == 0 ? server_run(server) : 1;
    outlet_close(server->out);
    return status;
}

int cmd_serve(const struct options *options)
{
    struct processors processors;
    processors_read(&processors);
    struct server server = {
        .service.options = options,
        .service.life.state = LIFE_LOADING,
        .http_context.max_connections = (uint32_t)options->max_connections,
        .service.serving.n_workers =
            options->workers > 0 ? (uint32_t)options->workers : (uint32_t)processors.usable,
    };
    signal(SIGPIPE, SIG_IGN);
    int rc = log_open(&server.service.log, options);
    if (rc != 0) {
        log_event(&server.service.log, LOG_ERROR, "resources_failed",
                  LOG_S("reason", "no memory, or no thread for the log"));
        return 1;
    }
    int status = serve(&server);
    log_close(&server.service.log);
    return status;
}
