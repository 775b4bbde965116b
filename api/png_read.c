#include "api/png_read.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>
#include <zlib.h>

#include "core/denoise.h"

/* Of one chunk, inflated; ours have about 700 bytes. */
#define TEXT_BYTES_MAX 65536
/* Of one kind of text in libpng, and of all kinds in a file; a film has two for each frame. */
#define CACHED_CHUNKS_MAX 64
#define CHUNKS_MAX 16384

#define SIGNATURE_BYTES 8
#define HEADER_BYTES 13 /* of IHDR's data */

static int refuse(char error[PNG_READ_ERROR_BYTES], const char *why)
{
    snprintf(error, PNG_READ_ERROR_BYTES, "%s", why);
    return DN_EINVAL;
}

/* ---- what the file says of itself ----------------------------------------------------------- */

static uint32_t read_32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

struct chunk {
    const uint8_t *kind, *data; /* the data stand behind the kind, the checksum behind them */
    uint32_t bytes;
};

static bool is_kind(const struct chunk *c, const char *kind)
{
    return memcmp(c->kind, kind, 4) == 0;
}

static bool has_right_sum(const struct chunk *c)
{
    return crc32_z(0, c->kind, (size_t)c->bytes + 4) == read_32(c->data + c->bytes);
}

static int take_header(struct png_head *out, const struct chunk *c, size_t max_pixels, char *error)
{
    if (!is_kind(c, "IHDR") || c->bytes != HEADER_BYTES) {
        return refuse(error, "it does not begin with its header");
    }
    if (!has_right_sum(c)) {
        return refuse(error, "IHDR: CRC error");
    }
    out->width = read_32(c->data);
    out->height = read_32(c->data + 4);
    if (out->width == 0 || out->height == 0) {
        return refuse(error, "it has no pixels");
    }
    if (out->width > max_pixels / out->height) {
        return refuse(error, "the picture has too many pixels");
    }
    if (c->data[8] > 8) {
        return refuse(error, "at most 8 bits a sample are expected");
    }
    return c->data[12] ? refuse(error, "a picture without interlace is expected") : 0;
}

/* Copy the text [bytes], which may be compressed. */
static int copy_text(struct png_head *out, const uint8_t *text, size_t bytes, bool is_compressed,
                     char *error)
{
    uLongf room = is_compressed ? TEXT_BYTES_MAX : bytes;
    if (room > TEXT_BYTES_MAX) {
        return refuse(error, "iTXt: the text is too long");
    }
    out->text = malloc(room + 1);
    if (!out->text) {
        return DN_ENOMEM;
    }
    if (!is_compressed) {
        memcpy(out->text, text, bytes);
    } else if (uncompress((Bytef *)out->text, &room, text, (uLong)bytes) != Z_OK) {
        return refuse(error, "iTXt: the text is too long or damaged");
    }
    out->text[room] = '\0';
    out->text_bytes = room;
    return 0;
}

/* The text of a chunk of texts, if it is the one of this key. */
static int take_text(struct png_head *out, const struct chunk *c, const char *key, char *error)
{
    size_t key_bytes = strlen(key) + 1;
    if (c->bytes < key_bytes || memcmp(c->data, key, key_bytes) != 0) {
        return 0;
    }
    if (!is_kind(c, "iTXt")) {
        return refuse(error, "its text is expected in an iTXt chunk");
    }
    if (out->text) {
        return refuse(error, "its text occurs twice");
    }
    if (c->bytes > TEXT_BYTES_MAX) {
        return refuse(error, "iTXt: the text is too long");
    }
    if (!has_right_sum(c)) {
        return refuse(error, "iTXt: CRC error");
    }
    /* Behind the key: is it compressed, how, a language and a translated key. */
    const uint8_t *at = c->data + key_bytes, *end = c->data + c->bytes;
    const uint8_t *language = end - at > 2 ? memchr(at + 2, 0, (size_t)(end - at - 2)) : NULL;
    const uint8_t *key_end =
        language ? memchr(language + 1, 0, (size_t)(end - language - 1)) : NULL;
    if (!key_end || at[0] > 1 || at[1] != 0) {
        return refuse(error, "iTXt: the chunk is damaged");
    }
    return copy_text(out, key_end + 1, (size_t)(end - key_end - 1), at[0] == 1, error);
}

static int walk(struct png_head *out, const uint8_t *file, size_t file_bytes, const char *key,
                size_t max_pixels, char *error)
{
    static const uint8_t signature[SIGNATURE_BYTES] = "\x89PNG\r\n\x1a\n";
    size_t at = SIGNATURE_BYTES;
    if (file_bytes < at || memcmp(file, signature, at) != 0) {
        return refuse(error, "Not a PNG file");
    }
    for (size_t i = 0; i < CHUNKS_MAX; i++) {
        if (file_bytes - at < 12 || read_32(file + at) > file_bytes - at - 12) {
            return refuse(error, "the file ends too soon");
        }
        struct chunk c = {file + at + 4, file + at + 8, read_32(file + at)};
        bool is_text = is_kind(&c, "iTXt") || is_kind(&c, "tEXt") || is_kind(&c, "zTXt");
        int rc = i == 0    ? take_header(out, &c, max_pixels, error)
                 : is_text ? take_text(out, &c, key, error)
                           : 0;
        at += (size_t)c.bytes + 12;
        if (rc == 0 && is_kind(&c, "IEND")) {
            return at == file_bytes ? 0
                                    : refuse(error, "there are bytes after the end of the picture");
        }
        if (rc != 0) {
            return rc;
        }
    }
    return refuse(error, "it has too many chunks");
}

int png_read_head(struct png_head *out, const uint8_t *file, size_t file_bytes, const char *key,
                  size_t max_pixels, char error[PNG_READ_ERROR_BYTES])
{
    *out = (struct png_head){.text = NULL};
    error[0] = '\0';
    int rc = walk(out, file, file_bytes, key, max_pixels, error);
    if (rc != 0) {
        free(out->text);
        out->text = NULL;
    }
    return rc;
}

/* ---- its pixels ----------------------------------------------------------------------------- */

/* What survives a longjmp out of libpng lives here, in the caller's frame of decode(). */
struct decoder {
    jmp_buf on_error;
    png_structp png;
    png_infop info;
    const uint8_t *file;
    size_t file_bytes, at;
    uint8_t *line;
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

/* 0 or -1. Keeps no local variable that changes after setjmp. */
static int decode(struct decoder *d, void (*line)(void *context, uint32_t y, const uint8_t *rgba),
                  void *context)
{
    if (setjmp(d->on_error) != 0)
        return -1;
    png_set_read_fn(d->png, d, on_read);
    png_set_crc_action(d->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_benign_errors(d->png, 0);
    png_set_user_limits(d->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_cache_max(d->png, CACHED_CHUNKS_MAX);
    png_set_chunk_malloc_max(d->png, TEXT_BYTES_MAX);
    png_read_info(d->png, d->info);
    png_set_expand(d->png);
    png_set_gray_to_rgb(d->png);
    png_set_add_alpha(d->png, 255, PNG_FILLER_AFTER);
    png_read_update_info(d->png, d->info);
    d->line = malloc(png_get_rowbytes(d->png, d->info));
    if (!d->line) {
        d->out_of_memory = true;
        return -1;
    }
    for (uint32_t y = 0; y < png_get_image_height(d->png, d->info); y++) {
        png_read_row(d->png, d->line, NULL);
        line(context, y, d->line);
    }
    png_read_end(d->png, NULL);
    return 0;
}

int png_read_lines(const uint8_t *file, size_t file_bytes,
                   void (*line)(void *context, uint32_t y, const uint8_t *rgba), void *context,
                   char error[PNG_READ_ERROR_BYTES])
{
    error[0] = '\0';
    struct decoder d = {.file = file, .file_bytes = file_bytes, .error = error};
    int code = DN_ENOMEM;
    d.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning, &d,
                                     decoder_malloc, decoder_free);
    if (d.png == NULL)
        return code;
    d.info = png_create_info_struct(d.png);
    if (d.info == NULL)
        goto destroy;
    code = decode(&d, line, context) == 0 ? DN_OK : d.out_of_memory ? DN_ENOMEM : DN_EINVAL;
destroy:
    free(d.line);
    png_destroy_read_struct(&d.png, &d.info, NULL);
    return code;
}
