/*
 * Where `denoised sample` puts its images: one PNG, a grid, a PNG for each, or a NumPy array; "-"
 * is a PNG to standard output.
 *
 * A file appears under its name only when it is whole: it is written beside it as NAME.part first.
 * sample_output_image() may be called by several threads at once for different images; the rest by
 * one thread.
 */
#ifndef SERVER_CLI_SAMPLE_OUTPUT_H
#define SERVER_CLI_SAMPLE_OUTPUT_H

#include "api/params.h"
#include "core/denoise.h"

enum sample_output_kind { OUTPUT_PNG, OUTPUT_PNG_EACH, OUTPUT_NPY };
#define OUTPUT_STDOUT "-"

/* "out-%04d.png" is {kind OUTPUT_PNG_EACH, "out-", 4, ".png"}. */
struct sample_output_name {
    enum sample_output_kind kind;
    const char *text; /* borrowed, as given */
    size_t prefix_bytes;
    int digits;
    const char *suffix;
};

/* Read --output. Returns 0 or DN_EINVAL with *err filled. */
int sample_output_parse(struct sample_output_name *name, const char *text, struct dn_error *err);

struct sample_output {
    struct sample_output_name name;
    const struct sample_params *params; /* borrowed */
    uint8_t *images;                    /* OUTPUT_PNG: [n_rows,H,W,C] */
    int fd;                             /* OUTPUT_NPY, else -1 */
};

/* Get ready for the images of `params`. Errors: DN_EIO, DN_ENOMEM; then nothing is left open. */
int sample_output_open(struct sample_output *out, const struct sample_output_name *name,
                       const struct sample_params *params, struct dn_error *err);

/* Take image `i`; `context` is the struct sample_output. A sample_image_fn. */
int sample_output_image(void *context, size_t i, const uint8_t *pixels, struct dn_error *err);

/* Write what is left and close. With `is_whole` false, drop what is not finished. */
int sample_output_close(struct sample_output *out, bool is_whole, struct dn_error *err);

#endif
