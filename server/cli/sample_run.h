/*
 * Draw the rows of a request on a few threads and hand each finished image out, without a server.
 *
 * Rows are made when their turn comes and freed when they are done, so memory depends on the number
 * of threads and not of images. Blocks its caller; shows progress on a terminal.
 */
#ifndef SERVER_CLI_SAMPLE_RUN_H
#define SERVER_CLI_SAMPLE_RUN_H

#include <stddef.h>
#include <stdint.h>

#include "api/params.h"
#include "core/denoise.h"

/* Image `i` is done. Called by several threads at once; `pixels` [H,W,C] are valid only during the
 * call. Returns 0, or a negative dn_code with *err filled, which ends the run. */
typedef int sample_image_fn(void *context, size_t i, const uint8_t *pixels, struct dn_error *err);

struct sample_run {
    const struct sample_params *params; /* resolved, with its model */
    int n_threads;
    uint32_t max_evaluations; /* of one step of one thread, at least 2 */
    sample_image_fn *on_image;
    void *context;
};

/* Returns 0, or the first error of any thread with *err filled. */
int sample_run(const struct sample_run *run, struct dn_error *err);

/* Fill *err; returns `code`. */
__attribute__((format(printf, 3, 4))) int sample_error(struct dn_error *err, int code,
                                                       const char *format, ...);

#endif
