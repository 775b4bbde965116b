#include "api/apng.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "core/denoise.h"

#define SIGNATURE_BYTES 8

static uint32_t read_32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void write_32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

/* zlib takes a NULL for a question about its first value. */
static const uint8_t nothing[1];

/* Append a chunk whose data is `head` and then `data`. */
static void put_chunk(struct text *t, const char kind[5], const uint8_t *head, size_t head_bytes,
                      const uint8_t *data, size_t bytes)
{
    uint8_t length[4], crc[4];
    uLong sum = crc32_z(0, (const Bytef *)kind, 4);
    sum = crc32_z(sum, head, head_bytes);
    sum = crc32_z(sum, data, bytes);
    write_32(length, (uint32_t)(head_bytes + bytes));
    write_32(crc, (uint32_t)sum);
    text_append(t, (const char *)length, sizeof length);
    text_append(t, kind, 4);
    text_append(t, (const char *)head, head_bytes);
    text_append(t, (const char *)data, bytes);
    text_append(t, (const char *)crc, sizeof crc);
}

/* A chunk of a file that png_encode() has made. */
struct chunk {
    const uint8_t *whole, *data;
    uint32_t bytes; /* of the data */
};

/* The next chunk; false behind the last. */
static bool next_chunk(struct chunk *c, const uint8_t *png, size_t png_bytes, size_t *at)
{
    if (*at == png_bytes) {
        return false;
    }
    assert(png_bytes - *at >= 12);
    *c = (struct chunk){.whole = png + *at, .data = png + *at + 8, .bytes = read_32(png + *at)};
    assert(c->bytes <= png_bytes - *at - 12);
    *at += (size_t)c->bytes + 12;
    return true;
}

static bool is_kind(const struct chunk *c, const char *kind)
{
    return memcmp(c->whole + 4, kind, 4) == 0;
}

int apng_begin(struct apng *a, uint32_t n_frames, const uint8_t *pixels, int height, int width,
               int channels, int scale, const struct png_text *texts, size_t n_texts)
{
    assert(n_frames > 0);
    *a = (struct apng){.height = height,
                       .width = width,
                       .channels = channels,
                       .scale = scale,
                       .n_frames = n_frames};
    uint8_t *png, control[8];
    size_t png_bytes, at = SIGNATURE_BYTES;
    int rc = png_encode(&png, &png_bytes, pixels, height, width, channels, scale, texts, n_texts);
    if (rc != 0) {
        return rc;
    }
    text_append(&a->file, (const char *)png, SIGNATURE_BYTES);
    for (struct chunk c; next_chunk(&c, png, png_bytes, &at);) {
        if (!is_kind(&c, "IEND")) {
            text_append(&a->file, (const char *)c.whole, (size_t)c.bytes + 12);
        }
        if (is_kind(&c, "IHDR")) {
            write_32(control, n_frames);
            write_32(control + 4, 0); /* plays: without end */
            put_chunk(&a->file, "acTL", control, sizeof control, nothing, 0);
        }
    }
    free(png);
    return 0;
}

int apng_add(struct apng *a, const uint8_t *pixels, uint16_t show_ms)
{
    uint8_t *png, control[26] = {0}, sequence[4];
    size_t png_bytes, at = SIGNATURE_BYTES;
    int rc =
        png_encode(&png, &png_bytes, pixels, a->height, a->width, a->channels, a->scale, NULL, 0);
    if (rc != 0) {
        return rc;
    }
    assert(a->n_frames > 0);
    a->n_frames--;
    write_32(control, a->sequence++);
    write_32(control + 4, (uint32_t)(a->width * a->scale));
    write_32(control + 8, (uint32_t)(a->height * a->scale));
    /* at 0, 0; then the delay as a fraction of a second; disposed of and blended as nothing: each
     * frame is the whole picture */
    control[20] = (uint8_t)(show_ms >> 8);
    control[21] = (uint8_t)show_ms;
    control[22] = 1000 >> 8;
    control[23] = 1000 & 255;
    put_chunk(&a->file, "fcTL", control, sizeof control, nothing, 0);
    for (struct chunk c; next_chunk(&c, png, png_bytes, &at);) {
        if (is_kind(&c, "IDAT")) {
            write_32(sequence, a->sequence++);
            put_chunk(&a->file, "fdAT", sequence, sizeof sequence, c.data, c.bytes);
        }
    }
    free(png);
    return 0;
}

uint8_t *apng_take(struct apng *a, size_t *bytes)
{
    assert(a->n_frames == 0);
    put_chunk(&a->file, "IEND", nothing, 0, nothing, 0);
    return (uint8_t *)text_take(&a->file, bytes);
}

void apng_free(struct apng *a)
{
    text_free(&a->file);
}
