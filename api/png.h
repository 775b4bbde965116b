/*
 * PNG files in memory, by libpng: encoding of finished images, and the sheet of a grid.
 *
 * No state: every function may be called by any thread. Pixels are [H,W,C], 8 bits a sample,
 * row-major, C 1 (grey) or 3 (RGB). Nothing is printed; libpng's own errors become return codes.
 */
#ifndef API_PNG_H
#define API_PNG_H

#include <stddef.h>
#include <stdint.h>

/* One iTXt chunk each: `key` 1..79 printable ASCII characters, `text` UTF-8. */
struct png_text {
    const char *key;
    const char *text;
};

#define PNG_SCALE_MAX 32
#define PNG_TEXTS_MAX 8

/* Encode `pixels` [H,W,C] as a PNG in which each pixel is `scale` x `scale`. *out is malloc'd and
 * the caller's to free; NULL on an error. The same arguments give the same bytes.
 * Errors: DN_EINVAL (a size, `channels`, `scale` or a text out of range), DN_ENOMEM. */
int png_encode(uint8_t **out, size_t *out_bytes, const uint8_t *pixels, int height, int width,
               int channels, int scale, const struct png_text *texts, size_t n_texts);

/* Lay `images` [n,H,W,C] out row by row on `sheet` [rows*H, columns*W, C], where rows is
 * ceil(n / columns). Cells without an image are black. n and columns are at least 1. */
void png_grid(uint8_t *sheet, const uint8_t *images, size_t n, int height, int width, int channels,
              int columns);

#endif
