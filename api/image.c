#include "api/image.h"

#include <assert.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/apng.h"
#include "api/document.h"
#include "api/png.h"
#include "api/text.h"
#include "api/xmp.h"

static void hex_sha256(char hex[2 * SHA256_DIGEST_SIZE + 1], const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    struct sha256_ctx ctx;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&ctx);
    sha256_update(&ctx, n, bytes);
    sha256_digest(&ctx, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        *hex++ = digits[digest[i] >> 4];
        *hex++ = digits[digest[i] & 15];
    }
    *hex = '\0';
}

void image_digest(char digest[IMAGE_DIGEST_BYTES], const uint8_t *bytes, size_t n)
{
    memcpy(digest, "sha256:", 7);
    hex_sha256(digest + 7, bytes, n);
}

static size_t image_bytes(const struct dn_model_info *info)
{
    return (size_t)info->height * (size_t)info->width * (size_t)info->channels;
}

/* The rows that a picture shows. */
struct cells {
    size_t first, n;
    uint32_t columns;
    const uint8_t *frames; /* [frames-1,n_rows,H,W,C] of all rows, or NULL */
};

/* What a picture says of itself: where it came from, unless that is not wanted, and how it was
 * drawn. The strings are its own. */
struct sayings {
    struct png_text texts[2];
    size_t n;
};

static void sayings_free(struct sayings *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free((void *)(uintptr_t)s->texts[i].text);
    }
    s->n = 0;
}

/* Takes `about` over, which is NULL without memory. Returns 0 or DN_ENOMEM. */
static int sayings_of(struct sayings *s, const struct sample_params *p, char *about)
{
    *s = (struct sayings){.n = 0};
    if (p->xmp_version) {
        s->texts[s->n++] =
            (struct png_text){XMP_KEY, xmp_packet(dn_model_info(p->model), p->xmp_version)};
    }
    s->texts[s->n++] = (struct png_text){PROVENANCE_KEY, about};
    if (!about || !s->texts[0].text) {
        sayings_free(s);
        return DN_ENOMEM;
    }
    return 0;
}

static void lay_out(uint8_t *sheet, const struct dn_model_info *info, const struct cells *cells,
                    const uint8_t *pixels)
{
    png_grid(sheet, pixels, cells->n, info->height, info->width, info->channels,
             (int)cells->columns);
}

static int write_film(struct image *image, const struct sample_params *p, const struct cells *cells,
                      int height, int width, const uint8_t *picture, const struct sayings *sayings)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    uint32_t last_ms = p->frame_ms > PARAMS_LAST_FRAME_MS ? p->frame_ms : PARAMS_LAST_FRAME_MS;
    struct apng film;
    int rc = apng_begin(&film, p->frames, picture, height, width, info->channels, (int)p->scale,
                        sayings->texts, sayings->n);
    uint8_t *frame = malloc((size_t)height * (size_t)width * (size_t)info->channels);
    rc = rc == 0 && !frame ? DN_ENOMEM : rc;
    for (uint32_t f = 0; rc == 0 && f < p->frames - 1; f++) {
        size_t at = f * p->n_rows + cells->first;
        lay_out(frame, info, cells, cells->frames + at * image_bytes(info));
        rc = apng_add(&film, frame, (uint16_t)p->frame_ms);
    }
    rc = rc == 0 ? apng_add(&film, picture, (uint16_t)last_ms) : rc;
    free(frame);
    if (rc != 0) {
        apng_free(&film);
        return rc;
    }
    image->png = apng_take(&film, &image->png_bytes);
    return image->png ? 0 : DN_ENOMEM;
}

/* Encode `picture`, to which the cells are laid out. Takes `about` over. */
static int write_picture(struct image *image, const struct sample_params *p,
                         const struct cells *cells, const uint8_t *picture, char *about)
{
    struct sayings sayings;
    if (sayings_of(&sayings, p, about) != 0) {
        return DN_ENOMEM;
    }
    const struct dn_model_info *info = dn_model_info(p->model);
    size_t n_lines = (cells->n + cells->columns - 1) / cells->columns;
    int height = (int)n_lines * info->height, width = (int)cells->columns * info->width, rc;
    if (cells->frames) {
        image->mime = IMAGE_APNG;
        rc = write_film(image, p, cells, height, width, picture, &sayings);
    } else {
        image->mime = IMAGE_PNG;
        rc = png_encode(&image->png, &image->png_bytes, picture, height, width, info->channels,
                        (int)p->scale, sayings.texts, sayings.n);
    }
    sayings_free(&sayings);
    return rc;
}

int image_encode(struct image *image, const struct sample_params *p, size_t i,
                 const uint8_t *pixels, const uint8_t *frames)
{
    assert((frames != NULL) == (p->format == FORMAT_APNG));
    image_digest(image->digest, pixels, image_bytes(dn_model_info(p->model)));
    if (p->layout == LAYOUT_GRID) {
        return 0;
    }
    struct cells cells = {.first = i, .n = 1, .columns = 1, .frames = frames};
    return write_picture(image, p, &cells, pixels, document_image_text(p, i, image->digest));
}

int image_encode_preview(struct image *image, const struct sample_params *p, const uint8_t *pixels)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    char *packet = p->xmp_version ? xmp_packet(info, p->xmp_version) : NULL;
    if (p->xmp_version && !packet) {
        return DN_ENOMEM;
    }
    const struct png_text text = {XMP_KEY, packet};
    int rc = png_encode(&image->png, &image->png_bytes, pixels, info->height, info->width,
                        info->channels, 1, &text, packet ? 1 : 0);
    free(packet);
    return rc;
}

int image_encode_sheet(struct image *image, const struct sample_params *p, const uint8_t *pixels,
                       const uint8_t *frames)
{
    assert((frames != NULL) == (p->format == FORMAT_APNG));
    const struct dn_model_info *info = dn_model_info(p->model);
    struct cells cells = {.n = p->n_rows, .columns = p->columns, .frames = frames};
    size_t bytes = (size_t)params_grid_rows(p) * p->columns * image_bytes(info);
    uint8_t *sheet = malloc(bytes);
    if (!sheet) {
        return DN_ENOMEM;
    }
    lay_out(sheet, info, &cells, pixels);
    image_digest(image->digest, sheet, bytes);
    int rc = write_picture(image, p, &cells, sheet, document_sheet_text(p, image->digest));
    free(sheet);
    return rc;
}

void image_free(struct image *image)
{
    free(image->png);
    image->png = NULL;
}

int image_etag(char etag[IMAGE_ETAG_BYTES], const struct sample_params *p, const char *version)
{
    char *about = document_image_text(p, 0, NULL);
    struct sayings sayings;
    if (sayings_of(&sayings, p, about) != 0) {
        return DN_ENOMEM;
    }
    struct text t = TEXT_INIT;
    text_printf(&t, "%s png", version);
    for (size_t i = 0; i < sayings.n; i++) {
        text_printf(&t, " %s", sayings.texts[i].text);
    }
    sayings_free(&sayings);
    size_t bytes;
    char *all = text_take(&t, &bytes);
    if (!all) {
        return DN_ENOMEM;
    }
    char hex[2 * SHA256_DIGEST_SIZE + 1];
    hex_sha256(hex, (const uint8_t *)all, bytes);
    free(all);
    snprintf(etag, IMAGE_ETAG_BYTES, "\"%.40s\"", hex);
    return 0;
}
