/*
 * Reading a PNG file from a stranger, in two parts: what it says of itself, which is cheap and
 * tells whether its pixels are worth a look, and then its pixels.
 *
 * No state: any thread. Sizes are limited before anything is decoded and checksums are verified.
 * How the pixels are stored (grey, RGB, a palette, with alpha) is not told: equal ones are equal.
 */
#ifndef API_PNG_READ_H
#define API_PNG_READ_H

#include <stddef.h>
#include <stdint.h>

#define PNG_READ_ERROR_BYTES 128

struct png_head {
    uint32_t height, width;
    char *text; /* of the iTXt chunk, owned, UTF-8 unchecked; NULL without */
    size_t text_bytes;
};

/* Read the size and the iTXt chunk `key`, which may occur once, of a file of at most `max_pixels`.
 * Looks at no pixel. Returns 0: the caller frees `text`; DN_EINVAL with the reason in `error`; or
 * DN_ENOMEM. */
int png_read_head(struct png_head *out, const uint8_t *file, size_t file_bytes, const char *key,
                  size_t max_pixels, char error[PNG_READ_ERROR_BYTES]);

/* Hand each line of a file whose head was read to `line`, from the first to the last: [W,4], RGB
 * and alpha. Returns 0, or as png_read_head(): lines may have been handed over by then. */
int png_read_lines(const uint8_t *file, size_t file_bytes,
                   void (*line)(void *context, uint32_t y, const uint8_t *rgba), void *context,
                   char error[PNG_READ_ERROR_BYTES]);

#endif
