/*
 * Animated PNG files in memory (PNG third edition, chapter 11.3.6 "Animation information"). libpng
 * of Debian 12 does not write them: each picture is encoded by png.h, and its chunks are put
 * together anew.
 *
 * The file's own picture is none of the frames, so that a reader that knows nothing of animation
 * shows it. The same arguments give the same bytes. Any thread; one file belongs to one thread.
 */
#ifndef API_APNG_H
#define API_APNG_H

#include "api/png.h"
#include "api/text.h"

struct apng {
    int height, width, channels, scale;
    uint32_t n_frames;
    uint32_t sequence; /* number of the next fcTL or fdAT */
    struct text file;
};

/* Begin a file of `n_frames` frames with its own picture, which is encoded as png_encode() does.
 * Returns 0 or a negative dn_code; apng_free() is right after both. */
int apng_begin(struct apng *a, uint32_t n_frames, const uint8_t *pixels, int height, int width,
               int channels, int scale, const struct png_text *texts, size_t n_texts);

/* Add the next frame, [H,W,C] as the file's own picture is, to be shown for so long. */
int apng_add(struct apng *a, const uint8_t *pixels, uint16_t show_ms);

/* The file, which must have all its frames: malloc'd, and NULL when memory ran out. */
uint8_t *apng_take(struct apng *a, size_t *bytes);

/* Forget it instead. */
void apng_free(struct apng *a);

#endif
