/*
 * What the listeners have in common: what connections and requests need, and who answers. Set by
 * the server before the first one opens; outlives them. Loop thread only.
 */
#ifndef SERVER_HTTP_HTTP_CONTEXT_H
#define SERVER_HTTP_HTTP_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "api/problem.h"
#include "server/base/life.h"
#include "server/base/log.h"
#include "server/base/metrics.h"
#include "server/base/options.h"
#include "server/clients/proxies.h"

struct answers;
struct request;

/* Who answers requests. */
struct http_handlers {
    /* Check what the headers say: route, method, media types, body. Returns 0 or -1 with *problem.
     */
    int (*check)(struct request *r, struct problem *problem);

    /* Handle a complete request: afterwards it has a reply or is suspended. */
    void (*run)(struct request *r);

    /* It is being answered with this body, which is not changed. */
    void (*take_body)(struct request *r, unsigned status, const char *type, const char *body,
                      size_t bytes);

    /* Add the headers that every answer has; its status is known. */
    void (*add_headers)(struct request *r);

    /* The answer has all its headers, or there will be none. Called once or twice. */
    void (*end)(struct request *r);
};

struct http_context {
    uv_loop_t *loop;
    struct life *life;
    const struct log *log;
    struct metrics *metrics;
    const struct options *options;
    const struct proxies *proxies;
    struct answers *answers;
    uint32_t max_connections;
    bool is_loopback; /* the listener that is no admin's is a port that only this machine can reach
                       */
    const struct http_handlers *handlers;
    void *service; /* what the handlers serve with */
};

#endif
