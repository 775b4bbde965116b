/*
 * The JSON documents of the API. Each function returns malloc'd text that the caller frees, or NULL
 * when memory ran out; `bytes` gets its length and may be NULL. Any thread.
 */
#ifndef API_DOCUMENT_H
#define API_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/image.h"
#include "api/params.h"

struct sample_timings {
    double queue_ms;  /* from the request to its first step */
    double sample_ms; /* from there to the last row's last step */
    double encode_ms; /* from there to the document */
};

#define PROVENANCE_KEY "denoised" /* of the iTXt chunk */
#define PROVENANCE_VERSION 1      /* of its text; it rises when a reader must know */

/* What the PNG of row `i`, or of the sheet, says of itself (docs/provenance.md). `digest` is its
 * pixels'; NULL leaves it out. */
char *document_image_text(const struct sample_params *p, size_t i, const char *digest);
char *document_sheet_text(const struct sample_params *p, const char *digest);

/* The answer to POST /v1/samples: `images` [n_rows], and the sheet when the layout is a grid.
 * *timings is read when all else is written. */
char *document_samples(const struct sample_params *p, const char *id, int64_t created,
                       const struct image *images, const struct image *sheet,
                       const struct sample_timings *timings, size_t *bytes);

/* The same as the answer to POST /v1/images/generations. */
char *document_generation(const struct sample_params *p, int64_t created,
                          const struct image *images, size_t *bytes);

char *document_models(const struct api_context *context, size_t *bytes);
char *document_model(const struct api_context *context, size_t model_idx, size_t *bytes);
char *document_capabilities(const struct api_context *context, size_t *bytes);
char *document_discovery(bool is_admin, size_t *bytes);

#endif
