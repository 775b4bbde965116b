/*
 * What serves: the models, and the scheduler that steps their rows. The server owns one. Loop
 * thread only, but for the models while they are being loaded.
 */
#ifndef SERVER_MODELS_SERVING_H
#define SERVER_MODELS_SERVING_H

#include "api/params.h"
#include "server/base/metrics.h"
#include "server/base/options.h"
#include "server/models/models.h"
#include "server/scheduling/scheduler.h"

struct serving {
    const struct options *options;
    struct metrics *metrics;
    uint32_t n_workers;
    struct model_set models;
    struct api_context api;      /* what requests are checked against; no models while loading */
    struct scheduler *scheduler; /* NULL while loading */
};

#endif
