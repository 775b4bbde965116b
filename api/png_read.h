/*
 * Reading a PNG file from a stranger: one picture of 8 bits a sample, and one text of its.
 *
 * No state: any thread. Sizes are limited before anything is decoded, checksums are verified, and
 * what the pixels would not be compared in (palettes, transparency, 16 bits, interlace) is refused.
 */
#ifndef API_PNG_READ_H
#define API_PNG_READ_H

#include <stddef.h>
#include <stdint.h>

#define PNG_READ_ERROR_BYTES 128

struct png_picture {
    uint32_t height, width, channels; /* channels 1 (grey) or 3 (RGB) */
    uint8_t *pixels;                  /* [H,W,C], owned */
    char *text;                       /* of the iTXt chunk, owned, UTF-8 unchecked; NULL without */
    size_t text_bytes;
};

/* Read a file whose pixels take at most `max_pixel_bytes`, and its iTXt chunk `key`, which may
 * occur once. Returns 0: the caller calls png_picture_free(); DN_EINVAL with the reason in `error`;
 * or DN_ENOMEM. */
int png_decode(struct png_picture *out, const uint8_t *file, size_t file_bytes, const char *key,
               size_t max_pixel_bytes, char error[PNG_READ_ERROR_BYTES]);

void png_picture_free(struct png_picture *picture);

#endif
