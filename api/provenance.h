/*
 * What a picture says of its making, read back from a PNG of a stranger, and the answer to whether
 * it is true. docs/provenance.md describes the text. Any thread.
 */
#ifndef API_PROVENANCE_H
#define API_PROVENANCE_H

#include "api/image.h"
#include "api/params.h"
#include "api/png_read.h"

#define PROVENANCE_MAX_PIXEL_BYTES (UINT32_C(4) << 20) /* of the picture, scaled as it is */
#define PROVENANCE_NAME_BYTES 64

/* Zero, or filled by provenance_read. The params may be taken out; they are zero then. */
struct provenance {
    struct png_picture picture;
    struct sample_params params;     /* of a still picture: a film is compared by its own picture */
    enum params_format format;       /* by the text */
    char digest[IMAGE_DIGEST_BYTES]; /* the pixels' digest by the text, "" where it has none */
    char precision[PROVENANCE_NAME_BYTES], kernels[PROVENANCE_NAME_BYTES];
};

/* Read a PNG file and how it was drawn, which must be possible here: the model is served, the
 * parameters are within the limits and fit the picture's size. Returns 0; the caller calls
 * provenance_free(). Or -1 with *problem filled and nothing to free. */
int provenance_read(struct provenance *out, const struct api_context *context, const uint8_t *file,
                    size_t bytes, struct problem *problem);

/* The answer: how the picture compares with the `pixels` [n_rows,H,W,C] that `p` gave now. The
 * caller frees; NULL when out of memory. */
char *provenance_document(const struct provenance *claim, const struct sample_params *p,
                          const uint8_t *pixels, size_t *bytes);

void provenance_free(struct provenance *claim);

#endif
