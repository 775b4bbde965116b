#include "api/png_read.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "core/denoise.h"

/* Of one chunk, inflated; ours have about 600 bytes. */
#define TEXT_BYTES_MAX 65536
#define CHUNKS_MAX 64

/* What survives a longjmp out of libpng lives here, in the caller's frame of decode(). */
struct decoder {
    jmp_buf on_error;
    png_structp png;
    png_infop info;
    const uint8_t *file;
    size_t file_bytes, at;
    size_t max_pixel_bytes;
    struct png_picture *picture;
    char *error;
    bool out_of_memory;
};

static void *decoder_malloc(png_structp png, png_alloc_size_t n_bytes)
{
    struct decoder *d = png_get_mem_ptr(png);
    void *memory = malloc(n_bytes);
    if (memory == NULL)
        d->out_of_memory = true;
    return memory;
}

static void decoder_free(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

/* libpng's messages name a chunk and may have bytes of the file in them. */
static void on_error(png_structp png, png_const_charp text)
{
    struct decoder *d = png_get_error_ptr(png);
    snprintf(d->error, PNG_READ_ERROR_BYTES, "%s", text);
    for (char *c = d->error; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    longjmp(d->on_error, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void on_read(png_structp png, png_bytep out, size_t n_bytes)
{
    struct decoder *d = png_get_io_ptr(png);
    if (n_bytes > d->file_bytes - d->at)
        png_error(png, "the file ends too soon");
    memcpy(out, d->file + d->at, n_bytes);
    d->at += n_bytes;
}

static void take_header(struct decoder *d)
{
    struct png_picture *p = d->picture;
    png_uint_32 width = 0, height = 0;
    int depth = 0, color = 0, interlace = 0;
    png_get_IHDR(d->png, d->info, &width, &height, &depth, &color, &interlace, NULL, NULL);
    if (depth != 8 || (color != PNG_COLOR_TYPE_GRAY && color != PNG_COLOR_TYPE_RGB) ||
        png_get_valid(d->png, d->info, PNG_INFO_tRNS))
        png_error(d->png, "8 bits grey or RGB without transparency are expected");
    if (interlace != PNG_INTERLACE_NONE)
        png_error(d->png, "a picture without interlace is expected");
    p->width = width;
    p->height = height;
    p->channels = color == PNG_COLOR_TYPE_GRAY ? 1 : 3;
    if (width > d->max_pixel_bytes / p->channels / height)
        png_error(d->png, "the picture has too many pixels");
}

static void take_text(struct decoder *d, const char *key)
{
    png_textp texts;
    int n = 0;
    png_get_text(d->png, d->info, &texts, &n);
    for (int i = 0; i < n; i++) {
        if (strcmp(texts[i].key, key) != 0)
            continue;
        if (texts[i].compression < PNG_ITXT_COMPRESSION_NONE)
            png_error(d->png, "its text is expected in an iTXt chunk");
        if (d->picture->text)
            png_error(d->png, "its text occurs twice");
        d->picture->text_bytes = texts[i].itxt_length;
        d->picture->text = malloc(texts[i].itxt_length + 1);
        if (!d->picture->text) {
            d->out_of_memory = true;
            png_error(d->png, "out of memory");
        }
        memcpy(d->picture->text, texts[i].text, texts[i].itxt_length);
        d->picture->text[texts[i].itxt_length] = '\0';
    }
}

/* 0 or -1. Keeps no local variable that changes after setjmp. */
static int decode(struct decoder *d, const char *key)
{
    if (setjmp(d->on_error) != 0)
        return -1;
    png_set_read_fn(d->png, d, on_read);
    png_set_crc_action(d->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_benign_errors(d->png, 0);
    png_set_user_limits(d->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_cache_max(d->png, CHUNKS_MAX);
    png_set_chunk_malloc_max(d->png, TEXT_BYTES_MAX);
    png_read_info(d->png, d->info);
    take_header(d);

    struct png_picture *p = d->picture;
    size_t line_bytes = (size_t)p->width * p->channels;
    p->pixels = malloc(p->height * line_bytes);
    if (!p->pixels) {
        d->out_of_memory = true;
        return -1;
    }
    for (uint32_t y = 0; y < p->height; y++)
        png_read_row(d->png, p->pixels + y * line_bytes, NULL);
    png_read_end(d->png, d->info);
    if (d->at != d->file_bytes)
        png_error(d->png, "there are bytes after the end of the picture");
    take_text(d, key);
    return 0;
}

int png_decode(struct png_picture *out, const uint8_t *file, size_t file_bytes, const char *key,
               size_t max_pixel_bytes, char error[PNG_READ_ERROR_BYTES])
{
    *out = (struct png_picture){.pixels = NULL};
    error[0] = '\0';
    struct decoder d = {.file = file,
                        .file_bytes = file_bytes,
                        .max_pixel_bytes = max_pixel_bytes,
                        .picture = out,
                        .error = error};
    int code = DN_ENOMEM;
    d.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning, &d,
                                     decoder_malloc, decoder_free);
    if (d.png == NULL)
        return code;
    d.info = png_create_info_struct(d.png);
    if (d.info == NULL)
        goto destroy;
    code = decode(&d, key) == 0 ? DN_OK : d.out_of_memory ? DN_ENOMEM : DN_EINVAL;
    if (code != DN_OK)
        png_picture_free(out);
destroy:
    png_destroy_read_struct(&d.png, &d.info, NULL);
    return code;
}

void png_picture_free(struct png_picture *picture)
{
    free(picture->pixels);
    free(picture->text);
    picture->pixels = NULL;
    picture->text = NULL;
}
