#include "api/image.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/document.h"
#include "api/png.h"
#include "api/text.h"

static void hex_sha256(char hex[2 * SHA256_DIGEST_SIZE + 1], const uint8_t *bytes, size_t n)
{
    struct sha256_ctx ctx;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&ctx);
    sha256_update(&ctx, n, bytes);
    sha256_digest(&ctx, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}

void image_digest(char digest[IMAGE_DIGEST_BYTES], const uint8_t *bytes, size_t n)
{
    memcpy(digest, "sha256:", 7);
    hex_sha256(digest + 7, bytes, n);
}

static int image_write_png(struct image *image, const struct sample_params *p,
                           const uint8_t *pixels, uint32_t height, uint32_t width, char *about)
{
    if (!about) {
        return DN_ENOMEM;
    }
    const struct dn_model_info *info = dn_model_info(p->model);
    image->mime = IMAGE_PNG;
    struct png_text text = {.key = PROVENANCE_KEY, .text = about};
    int rc = png_encode(&image->png, &image->png_bytes, pixels, (int)height, (int)width,
                        info->channels, (int)p->scale, &text, 1);
    free(about);
    return rc;
}

static size_t image_bytes(const struct dn_model_info *info)
{
    return (size_t)info->height * (size_t)info->width * (size_t)info->channels;
}

int image_encode(struct image *image, const struct sample_params *p, size_t i,
                 const uint8_t *pixels)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    image_digest(image->digest, pixels, image_bytes(info));
    if (p->layout == LAYOUT_GRID) {
        return 0;
    }
    return image_write_png(image, p, pixels, (uint32_t)info->height, (uint32_t)info->width,
                           document_image_text(p, i, image->digest));
}

int image_encode_preview(struct image *image, const struct sample_params *p, const uint8_t *pixels)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    return png_encode(&image->png, &image->png_bytes, pixels, info->height, info->width,
                      info->channels, 1, NULL, 0);
}

int image_encode_sheet(struct image *image, const struct sample_params *p, const uint8_t *pixels)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    uint32_t height = params_grid_rows(p) * (uint32_t)info->height;
    uint32_t width = p->columns * (uint32_t)info->width;
    size_t bytes = (size_t)params_grid_rows(p) * p->columns * image_bytes(info);
    uint8_t *sheet = malloc(bytes);
    if (!sheet) {
        return DN_ENOMEM;
    }
    png_grid(sheet, pixels, p->n_rows, info->height, info->width, info->channels, (int)p->columns);
    image_digest(image->digest, sheet, bytes);
    int rc = image_write_png(image, p, sheet, height, width, document_sheet_text(p, image->digest));
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
    if (!about) {
        return DN_ENOMEM;
    }
    struct text t = TEXT_INIT;
    text_printf(&t, "%s png %s", version, about);
    free(about);
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
