/*
 * What the daemon counts.
 *
 * Owned by the loop thread, the only one that counts. Fixed size: no label value
 * comes from a client.
 */
#ifndef SERVER_BASE_METRICS_H
#define SERVER_BASE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "api/priority.h"
#include "api/routes.h"
#include "core/denoise.h"

/* method, as a label; anything else is "other" */
#define METRICS_METHODS 5 /* GET HEAD POST DELETE OPTIONS, then other */
#define METRICS_MAX_CODES 40
#define METRICS_MAX_BUCKETS 16

struct histogram {
    const double *bounds; /* [n_bounds], ascending */
    size_t n_bounds;
    uint64_t counts[METRICS_MAX_BUCKETS + 1]; /* of each bucket alone, the last one above all */
    double sum;
};

enum job_outcome { OUTCOME_SUCCEEDED, OUTCOME_FAILED, OUTCOME_CANCELED, OUTCOME_REJECTED };
enum job_reason {
    REASON_NONE,
    REASON_DISCONNECT,
    REASON_DEADLINE,
    REASON_CANCEL, /* asked for by the client */
    REASON_SHUTDOWN,
    REASON_OUT_OF_MEMORY,
    REASON_INTERNAL,
    REASON_QUEUE_FULL,
    REASON_QUOTA,
    REASON_PRIORITY,
    REASON_DRAINING,
    REASON_JOBS_FULL,
    REASON_COUNT
};

/* How a picture came about: kept from before, drawn together with an equal one, drawn, or drawn
 * with a seed that nobody else has. */
enum cache_result { CACHE_HIT, CACHE_COLLAPSED, CACHE_MISS, CACHE_BYPASS, CACHE_RESULTS };

/* What came of reading a model's file while serving. */
enum model_load_result {
    MODEL_LOADED,    /* one more model serves */
    MODEL_REPLACED,  /* it serves in the place of the one of its name */
    MODEL_UNCHANGED, /* the file is the one that is served */
    MODEL_REFUSED,   /* nothing has changed */
    MODEL_LOAD_RESULTS
};
extern const char *const model_load_results[MODEL_LOAD_RESULTS];

struct metrics {
    uint64_t requests[ROUTE_COUNT + 1][METRICS_METHODS + 1][METRICS_MAX_CODES];
    struct histogram request_seconds[ROUTE_COUNT + 1]; /* the last one: no such route */
    uint64_t jobs[4][REASON_COUNT];
    struct histogram queue_wait_seconds;
    struct histogram batch_rows;
    struct histogram batch_evaluations;
    struct histogram step_seconds;
    struct histogram cancel_seconds;
    double handover_seconds; /* from a worker's end of work to its next, while rows waited */
    uint64_t step_items;     /* times that a worker was handed a batch */
    uint64_t steps;          /* rows x steps */
    uint64_t evaluations;    /* of the network */
    uint64_t wasted_steps[REASON_COUNT];
    uint64_t wasted_evaluations[REASON_COUNT];
    uint64_t images[DN_SAMPLER_COUNT];
    uint64_t not_modified;
    uint64_t cache_requests[CACHE_RESULTS];
    uint64_t cache_evictions;
    uint64_t model_loads[MODEL_LOAD_RESULTS];
    uint64_t connections_total;
    uint64_t connections_refused; /* beyond the limit of an address */
    uint64_t log_lines_dropped;
    double last_step_timestamp_s;
    double start_time_s;

    /* gauges, kept by their owners */
    uint64_t queue_jobs;
    uint64_t queue_rows;
    uint64_t priority_rows[PRIORITIES]; /* of queue_rows */
    uint64_t queue_evaluations;         /* still to be done for all rows admitted */
    uint64_t workers;
    uint64_t workers_busy;
    uint64_t connections;
    uint64_t queue_rows_limit;
    uint64_t connections_limit;
    uint64_t cache_bytes;
    uint64_t cache_entries;
    uint64_t models_retiring;
    int ready;
};

extern const char *const metrics_methods[METRICS_METHODS + 1];
extern const int metrics_codes[METRICS_MAX_CODES]; /* a 0 ends it */

void metrics_init(struct metrics *m);

/* Count `value`, `times` times. */
void histogram_observe(struct histogram *h, double value, uint64_t times);

/* Count one answered request. `route` is an enum route_id or -1. */
void metrics_count_request(struct metrics *m, int route, const char *method, int status,
                           double seconds);

/* Count a job's one outcome. */
void metrics_count_job(struct metrics *m, enum job_outcome outcome, enum job_reason reason);

#endif
