/*
 * What requests are served with: the parts of the daemon that routes use. The server owns one,
 * opens its parts and closes them. Loop thread only.
 */
#ifndef SERVER_ROUTES_SERVICE_H
#define SERVER_ROUTES_SERVICE_H

#include "server/base/alarm.h"
#include "server/base/life.h"
#include "server/base/log.h"
#include "server/base/metrics.h"
#include "server/base/options.h"
#include "server/clients/clients.h"
#include "server/drawing/cache.h"
#include "server/drawing/jobs.h"
#include "server/drawing/studio.h"
#include "server/http/answers.h"
#include "server/http/idempotency.h"
#include "server/http/request.h"
#include "server/models/model_loads.h"
#include "server/models/serving.h"
#include "server/routes/rendering.h"

struct service {
    const struct options *options;
    struct log log;
    struct metrics metrics;
    struct life life;
    struct alarm_list alarms;
    struct serving serving;
    struct model_loads loads;
    struct clients clients;
    struct answers answers;
    struct idempotency idempotency;
    struct studio studio;
    struct jobs *jobs;
    struct cache *cache;
    struct renderings renderings;
};

static inline struct service *service_of(const struct request *r)
{
    return r->context->service;
}

#endif
