/*
 * What a picture says of its making, read back from a PNG of a stranger, and the answer to whether
 * it is true. docs/provenance.md describes the text. Any thread.
 */
#ifndef API_PROVENANCE_H
#define API_PROVENANCE_H

#include "api/image.h"
#include "api/params.h"
#include "api/png_read.h"

#define PROVENANCE_MAX_PIXELS (UINT32_C(4) << 20) /* of the picture, scaled as it is */
/* Of its file: those pixels, if they do not compress at all, and as much for a film's frames. */
#define PROVENANCE_MAX_FILE_BYTES (UINT32_C(8) << 20)
#define PROVENANCE_NAME_BYTES 64

/* Zero, or filled by provenance_read. The params may be taken out; they are zero then. */
struct provenance {
    uint8_t *file; /* owned */
    size_t file_bytes;
    uint32_t height, width;
    struct sample_params params;     /* of a still picture: a film is compared by its own picture */
    enum params_format format;       /* by the text */
    char digest[IMAGE_DIGEST_BYTES]; /* the pixels' digest by the text, "" where it has none */
    char precision[PROVENANCE_NAME_BYTES], kernels[PROVENANCE_NAME_BYTES];
    char error[PNG_READ_ERROR_BYTES]; /* why its pixels could not be read, once that was tried */
};

/* Read how a PNG file was drawn, which must be possible here: the model is served, the parameters
 * are within the limits and fit the size that its header names. No pixel is looked at. Takes the
 * malloc'd file over, whatever comes of it. Returns 0; the caller calls provenance_free(). Or -1
 * with *problem filled and nothing to free. */
int provenance_read(struct provenance *out, const struct api_context *context, uint8_t *file,
                    size_t bytes, struct problem *problem);

/* The answer: how the picture, which is decoded for it, compares with the `pixels` [n_rows,H,W,C]
 * that `p` gave now. The caller frees; NULL when out of memory. An empty text, with claim->error,
 * where the file is damaged. */
char *provenance_document(struct provenance *claim, const struct sample_params *p,
                          const uint8_t *pixels, size_t *bytes);

/* The file is damaged, as claim->error says. */
void provenance_problem(const char *error, struct problem *problem);

void provenance_free(struct provenance *claim);

#endif
