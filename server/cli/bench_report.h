/*
 * What `denoised bench` found, for a person or as JSON.
 *
 * Pure printing to standard output; used by one thread.
 */
#ifndef SERVER_CLI_BENCH_REPORT_H
#define SERVER_CLI_BENCH_REPORT_H

#include <stddef.h>

#include "core/denoise.h"
#include "server/base/options.h"

struct bench_result {
    double median_ms, p10_ms, p90_ms; /* of a step of one thread, by its images */
    double image_steps_per_s;         /* all threads together */
    size_t n_steps;
    const struct dn_op_info *ops; /* [n_ops], borrowed from the model; 0 without --profile */
    size_t n_ops;
    double *op_seconds; /* [n_ops], all steps of all threads */
};

/* Print it. Returns 0 or DN_ENOMEM. */
int bench_report(const struct bench_result *result, const struct options *options,
                 const struct dn_model_info *info);

#endif
