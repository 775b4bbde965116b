#include "server/base/metrics.h"

#include <assert.h>
#include <string.h>
#include <time.h>

static const double seconds_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                        0.5,   1,      2.5,   5,    10,    30,   60};
static const double step_bounds[] = {0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032,
                                     0.064,  0.125, 0.25,  0.5,   1,     2};
static const double rows_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

static_assert(sizeof seconds_bounds / sizeof *seconds_bounds <= METRICS_MAX_BUCKETS, "buckets");
static_assert(sizeof step_bounds / sizeof *step_bounds <= METRICS_MAX_BUCKETS, "buckets");
static_assert(sizeof rows_bounds / sizeof *rows_bounds <= METRICS_MAX_BUCKETS, "buckets");

#define BOUNDS(array)                                                                              \
    {                                                                                              \
        .bounds = (array), .n_bounds = sizeof(array) / sizeof *(array)                             \
    }

void metrics_init(struct metrics *m)
{
    *m = (struct metrics){
        .queue_wait_seconds = BOUNDS(seconds_bounds),
        .batch_rows = BOUNDS(rows_bounds),
        .batch_evaluations = BOUNDS(rows_bounds),
        .step_seconds = BOUNDS(step_bounds),
        .cancel_seconds = BOUNDS(seconds_bounds),
    };
    for (int i = 0; i <= ROUTE_COUNT; i++) {
        m->request_seconds[i] = (struct histogram)BOUNDS(seconds_bounds);
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    m->start_time_s = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void histogram_observe(struct histogram *h, double value, uint64_t times)
{
    size_t i = 0;
    while (i < h->n_bounds && value > h->bounds[i]) {
        i++;
    }
    h->counts[i] += times;
    h->sum += value * (double)times;
}

const char *const metrics_methods[METRICS_METHODS + 1] = {"GET",    "HEAD",    "POST",
                                                          "DELETE", "OPTIONS", "other"};

const char *const model_load_results[MODEL_LOAD_RESULTS] = {[MODEL_LOADED] = "loaded",
                                                            [MODEL_REPLACED] = "replaced",
                                                            [MODEL_UNCHANGED] = "unchanged",
                                                            [MODEL_REFUSED] = "refused"};

/* Every status that the daemon answers with; 499 is a client that went away. */
const int metrics_codes[METRICS_MAX_CODES] = {200, 201, 202, 204, 304, 400, 401, 403, 404,
                                              405, 406, 408, 409, 410, 411, 412, 413, 414,
                                              415, 417, 421, 422, 429, 499, 500, 503, 504};

void metrics_count_request(struct metrics *m, int route, const char *method, int status,
                           double seconds)
{
    size_t r = route < 0 ? ROUTE_COUNT : (size_t)route_first(route), k = 0, c = 0;
    while (k < METRICS_METHODS && strcmp(metrics_methods[k], method) != 0) {
        k++;
    }
    while (metrics_codes[c] && metrics_codes[c] != status) {
        c++;
    }
    assert(metrics_codes[c]);
    m->requests[r][k][c]++;
    histogram_observe(&m->request_seconds[r], seconds, 1);
}

void metrics_count_job(struct metrics *m, enum job_outcome outcome, enum job_reason reason)
{
    m->jobs[outcome][reason]++;
}
