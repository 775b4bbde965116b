#include "api/png.h"

#include <assert.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>
#include <zlib.h>

#include "core/denoise.h"

/* libpng's own limit on a side, PNG_USER_WIDTH_MAX. */
#define SIDE_MAX 1000000

/* Drawn digits are strokes on a ground that is nearly black but not flat: zlib's search for matches
 * finds little, and costs most of the time. Runs and Huffman codes (Z_RLE) give smaller files, much
 * sooner, if the lines that scaling repeats are differences to the line above: all zero. The memory
 * level sets how much zlib clears at the start, and how long its blocks are. Microseconds of CPU
 * and bytes a file, mean of 500 digits with a text chunk of 420 bytes, Xeon 2.6 GHz, one core:
 *
 *     picture       libpng's defaults   level 3 or 6, no filter   this
 *     28x28               39    964             28    976         22    937
 *     28x28, x2          105   1195             71   1250         31   1291
 *     28x28, x8          400   1801            214   1619         85   1585
 *     5x5 of them       1080  11080            960  11002        245  10535
 *     20x20 of them    25700 169033          21700 166466       3350 160400
 *
 * Even so most of a small picture's time would go into the making of Huffman codes: up to
 * TINY_BYTES it stays as it is (28x28: 2.7 us and 1325 bytes, where codes take 24 us and save 350
 * bytes, which a gigabit a second sends in 3).
 */
#define SMALL_BYTES 16384
#define TINY_BYTES 1024

/* What survives a longjmp out of libpng lives here, in the caller's frame of encode(). */
struct encoder {
    jmp_buf on_error;
    png_structp png;
    png_infop info;
    uint8_t *bytes;
    size_t n_bytes, capacity;
    uint8_t *line; /* one scaled line, where scale > 1 */
    bool out_of_memory;
};

static void *encoder_malloc(png_structp png, png_alloc_size_t n_bytes)
{
    struct encoder *e = png_get_mem_ptr(png);
    void *memory = malloc(n_bytes);
    if (memory == NULL)
        e->out_of_memory = true;
    return memory;
}

static void encoder_free(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static void on_png_error(png_structp png, png_const_charp text)
{
    (void)text;
    struct encoder *e = png_get_error_ptr(png);
    longjmp(e->on_error, 1);
}

static void on_png_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void on_png_write(png_structp png, png_bytep data, size_t n_bytes)
{
    struct encoder *e = png_get_io_ptr(png);
    if (n_bytes > e->capacity - e->n_bytes) {
        size_t capacity = 2 * e->capacity + n_bytes;
        uint8_t *bytes = realloc(e->bytes, capacity);
        if (bytes == NULL) {
            e->out_of_memory = true;
            png_error(png, "out of memory");
        }
        e->bytes = bytes;
        e->capacity = capacity;
    }
    memcpy(e->bytes + e->n_bytes, data, n_bytes);
    e->n_bytes += n_bytes;
}

static void on_png_flush(png_structp png)
{
    (void)png;
}

/* line [W,C] -> out [W*scale,C] */
static void scale_line(uint8_t *out, const uint8_t *line, int width, int channels, int scale)
{
    for (int x = 0; x < width; x++)
        for (int copy = 0; copy < scale; copy++)
            for (int c = 0; c < channels; c++)
                *out++ = line[x * channels + c];
}

static void add_texts(struct encoder *e, const struct png_text *texts, size_t n_texts)
{
    png_text chunks[PNG_TEXTS_MAX];
    memset(chunks, 0, sizeof chunks);
    for (size_t i = 0; i < n_texts; i++) {
        /* libpng's struct has no const, but png_set_text only copies. */
        chunks[i].key = (png_charp)(uintptr_t)texts[i].key;
        chunks[i].text = (png_charp)(uintptr_t)texts[i].text;
        chunks[i].compression = PNG_ITXT_COMPRESSION_NONE;
        chunks[i].itxt_length = strlen(texts[i].text);
    }
    if (n_texts > 0)
        png_set_text(e->png, e->info, chunks, (int)n_texts);
}

/* 0 or -1; on -1 the encoder says whether memory was short. Keeps no local variable that changes
 * after setjmp: they would be undefined after the longjmp. */
static int encode(struct encoder *e, const uint8_t *pixels, int height, int width, int channels,
                  int scale, const struct png_text *texts, size_t n_texts)
{
    if (setjmp(e->on_error) != 0)
        return -1;
    png_set_write_fn(e->png, e, on_png_write, on_png_flush);
    size_t n_bytes = (size_t)height * (size_t)width * (size_t)channels;
    bool small = n_bytes <= SMALL_BYTES, tiny = scale == 1 && n_bytes <= TINY_BYTES;
    /* Of the first line this is the line itself; libpng keeps the line above only if it is told to
     * before the first. */
    png_set_filter(e->png, PNG_FILTER_TYPE_BASE, scale > 1 ? PNG_FILTER_UP : PNG_FILTER_NONE);
    png_set_compression_strategy(e->png, Z_RLE);
    png_set_compression_level(e->png, tiny ? Z_NO_COMPRESSION : 1);
    png_set_compression_mem_level(e->png, small ? 6 : 8);
    png_set_IHDR(e->png, e->info, (png_uint_32)(width * scale), (png_uint_32)(height * scale), 8,
                 channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
    add_texts(e, texts, n_texts);
    png_write_info(e->png, e->info);
    for (int y = 0; y < height; y++) {
        const uint8_t *line = pixels + (size_t)y * (size_t)width * (size_t)channels;
        if (scale > 1)
            scale_line(e->line, line, width, channels, scale);
        for (int copy = 0; copy < scale; copy++) {
            if (scale > 1 && y > 0 && copy < 2)
                png_set_filter(e->png, PNG_FILTER_TYPE_BASE,
                               copy == 0 ? PNG_FILTER_NONE : PNG_FILTER_UP);
            png_write_row(e->png, scale > 1 ? e->line : line);
        }
    }
    png_write_end(e->png, NULL);
    return 0;
}

static bool text_is_valid(const struct png_text *text)
{
    if (text->key == NULL || text->text == NULL)
        return false;
    size_t length = strlen(text->key);
    if (length < 1 || length > 79 || text->key[0] == ' ' || text->key[length - 1] == ' ')
        return false;
    for (size_t i = 0; i < length; i++)
        if (text->key[i] < ' ' || text->key[i] > '~')
            return false;
    return strstr(text->key, "  ") == NULL;
}

int png_encode(uint8_t **out, size_t *out_bytes, const uint8_t *pixels, int height, int width,
               int channels, int scale, const struct png_text *texts, size_t n_texts)
{
    *out = NULL;
    *out_bytes = 0;
    if ((channels != 1 && channels != 3) || scale < 1 || scale > PNG_SCALE_MAX || height < 1 ||
        width < 1 || height > SIDE_MAX / scale || width > SIDE_MAX / scale ||
        n_texts > PNG_TEXTS_MAX)
        return DN_EINVAL;
    for (size_t i = 0; i < n_texts; i++)
        if (!text_is_valid(&texts[i]))
            return DN_EINVAL;

    int code = DN_ENOMEM;
    struct encoder e = {.capacity = 512 + (size_t)width * (size_t)height * (size_t)channels / 2};
    for (size_t i = 0; i < n_texts; i++)
        e.capacity += strlen(texts[i].text) + 128;
    e.bytes = malloc(e.capacity);
    if (e.bytes == NULL)
        goto done;
    if (scale > 1) {
        e.line = malloc((size_t)width * (size_t)scale * (size_t)channels);
        if (e.line == NULL)
            goto free_bytes;
    }
    e.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &e, on_png_error, on_png_warning, &e,
                                      encoder_malloc, encoder_free);
    if (e.png == NULL)
        goto free_line;
    e.info = png_create_info_struct(e.png);
    if (e.info == NULL)
        goto destroy;
    if (encode(&e, pixels, height, width, channels, scale, texts, n_texts) < 0) {
        code = e.out_of_memory ? DN_ENOMEM : DN_EINVAL;
        goto destroy;
    }
    *out = e.bytes;
    *out_bytes = e.n_bytes;
    e.bytes = NULL;
    code = DN_OK;
destroy:
    png_destroy_write_struct(&e.png, &e.info);
free_line:
    free(e.line);
free_bytes:
    free(e.bytes);
done:
    return code;
}

void png_grid(uint8_t *sheet, const uint8_t *images, size_t n, int height, int width, int channels,
              int columns)
{
    assert(n >= 1 && height >= 1 && width >= 1 && channels >= 1 && columns >= 1);
    size_t n_columns = (size_t)columns, n_rows = (n + n_columns - 1) / n_columns;
    size_t line_bytes = (size_t)width * (size_t)channels;
    size_t image_bytes = line_bytes * (size_t)height;
    memset(sheet, 0, n_rows * n_columns * image_bytes);
    for (size_t i = 0; i < n; i++) {
        size_t row = i / n_columns, column = i % n_columns;
        for (size_t y = 0; y < (size_t)height; y++)
            memcpy(sheet + ((row * (size_t)height + y) * n_columns + column) * line_bytes,
                   images + i * image_bytes + y * line_bytes, line_bytes);
    }
}
