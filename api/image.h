/*
 * Finished images: their digest, their PNG file and what it says of itself, their ETag.
 *
 * Every PNG carries how to draw it again, an iTXt chunk "denoised" with JSON text, and unless it is
 * switched off that a model drew it, an XMP packet (xmp.h). Any thread.
 */
#ifndef API_IMAGE_H
#define API_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "api/params.h"

#define IMAGE_DIGEST_BYTES 72 /* "sha256:" and 64 hex digits */
#define IMAGE_ETAG_BYTES 48

#define IMAGE_PNG "image/png"
#define IMAGE_APNG "image/apng"

/* An encoded picture. Plain memory: `png` is malloc'd and freed by image_free. */
struct image {
    char digest[IMAGE_DIGEST_BYTES]; /* of the raw pixels, unscaled */
    const char *mime;                /* static */
    uint8_t *png;
    size_t png_bytes;
};

/* "sha256:<hex>" of some bytes. */
void image_digest(char digest[IMAGE_DIGEST_BYTES], const uint8_t *bytes, size_t n);

/* Digest and, unless the layout is a grid, PNG of row `i` of the request from its pixels [H,W,C].
 * With format apng it is a film, whose frames but the last, which is the image, are `frames`
 * [frames-1,n_rows,H,W,C]; else `frames` is NULL. Returns 0 or a negative dn_code. */
int image_encode(struct image *image, const struct sample_params *p, size_t i,
                 const uint8_t *pixels, const uint8_t *frames);

/* PNG of an image that is not finished, of scale 1 and without a word on how to draw it;
 * that a model drew it it says as well. */
int image_encode_preview(struct image *image, const struct sample_params *p, const uint8_t *pixels);

/* Digest and PNG of the request's sheet from the pixels of all its rows [n_rows,H,W,C]; the frames
 * as with image_encode(). */
int image_encode_sheet(struct image *image, const struct sample_params *p, const uint8_t *pixels,
                       const uint8_t *frames);

void image_free(struct image *image);

/* The strong ETag, quotes included, of the PNG of a one-row request: a digest of everything that
 * its bytes depend on, known before any work. `version` is the encoder's. Returns 0 or DN_ENOMEM.
 */
int image_etag(char etag[IMAGE_ETAG_BYTES], const struct sample_params *p, const char *version);

#endif
