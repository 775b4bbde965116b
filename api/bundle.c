#include "api/bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/document_parts.h"
#include "api/text.h"
#include "api/zip.h"

#define MANIFEST "manifest.json"
#define NAME_BYTES 64

/* ---- what is in it -------------------------------------------------------------------------- */

static const char *suffix(const struct sample_params *p)
{
    return p->format == FORMAT_APNG ? "apng" : "png";
}

/* The name of the picture of row `i`: "0003-7-seed42.png" is index, label and seed. */
static void name_image(char name[NAME_BYTES], const struct sample_params *p, size_t i)
{
    struct dn_row_params row = params_row(p, i);
    snprintf(name, NAME_BYTES, "%04u-%u-seed%llu.%s", row.index, row.label,
             (unsigned long long)row.seed, suffix(p));
}

static void name_sheet(char name[NAME_BYTES], const struct sample_params *p)
{
    snprintf(name, NAME_BYTES, "grid-seed%llu.%s", (unsigned long long)p->seed, suffix(p));
}

/* The `k`th picture and its name; NULL behind the last. */
static const struct image *picture(const struct sample_params *p, const struct image *images,
                                   const struct image *sheet, size_t k, char name[NAME_BYTES])
{
    if (p->layout == LAYOUT_GRID) {
        name_sheet(name, p);
        return k == 0 ? sheet : NULL;
    }
    if (k == p->n_rows) {
        return NULL;
    }
    name_image(name, p, k);
    return &images[k];
}

static char *manifest(const struct sample_params *p, const struct image *images,
                      const struct image *sheet, size_t *bytes)
{
    struct text t = TEXT_INIT;
    char name[NAME_BYTES];
    text_puts(&t, "{");
    document_put_making(&t, p);
    text_puts(&t, ",\"images\":[");
    for (size_t i = 0; i < p->n_rows; i++) {
        text_puts(&t, i ? ",{" : "{");
        document_put_row(&t, p, i);
        text_puts(&t, ",");
        document_put_string(&t, "digest", images[i].digest);
        if (p->layout == LAYOUT_LIST) {
            name_image(name, p, i);
            text_puts(&t, ",");
            document_put_string(&t, "file", name);
        }
        text_puts(&t, "}");
    }
    text_puts(&t, "]");
    if (p->layout == LAYOUT_GRID) {
        name_sheet(name, p);
        text_puts(&t, ",\"sheet\":{");
        document_put_sheet(&t, p);
        text_puts(&t, ",");
        document_put_string(&t, "digest", sheet->digest);
        text_puts(&t, ",");
        document_put_string(&t, "file", name);
        text_puts(&t, "}");
    }
    text_puts(&t, "}\n");
    return text_take(&t, bytes);
}

/* ---- as an archive -------------------------------------------------------------------------- */

char *bundle_zip(const struct sample_params *p, const struct image *images,
                 const struct image *sheet, size_t *bytes)
{
    struct zip z = ZIP_INIT;
    char name[NAME_BYTES];
    size_t json_bytes;
    char *json = manifest(p, images, sheet, &json_bytes);
    if (!json) {
        return NULL;
    }
    zip_add(&z, MANIFEST, "", json, json_bytes);
    free(json);
    const struct image *image;
    for (size_t k = 0; (image = picture(p, images, sheet, k, name)); k++) {
        zip_add(&z, name, image->digest, image->png, image->png_bytes);
    }
    return zip_take(&z, bytes);
}

/* ---- as parts ------------------------------------------------------------------------------- */

static void begin_part(struct text *t, const char *boundary, const char *type, const char *name,
                       size_t bytes)
{
    text_printf(t, "--%s\r\nContent-Type: %s\r\n", boundary, type);
    text_printf(t, "Content-Disposition: attachment; filename=\"%s\"\r\n", name);
    text_printf(t, "Content-Length: %zu\r\n", bytes);
}

char *bundle_multipart(const struct sample_params *p, const struct image *images,
                       const struct image *sheet, char media_type[BUNDLE_TYPE_BYTES], size_t *bytes)
{
    struct text t = TEXT_INIT;
    char name[NAME_BYTES], digest[IMAGE_DIGEST_BYTES], boundary[48];
    size_t json_bytes;
    char *json = manifest(p, images, sheet, &json_bytes);
    if (!json) {
        return NULL;
    }
    /* Nothing that it stands between has its own digest in it. */
    image_digest(digest, (const uint8_t *)json, json_bytes);
    snprintf(boundary, sizeof boundary, "%.32s", digest + strlen("sha256:"));
    snprintf(media_type, BUNDLE_TYPE_BYTES, "multipart/mixed; boundary=%s", boundary);
    begin_part(&t, boundary, "application/json", MANIFEST, json_bytes);
    text_puts(&t, "\r\n");
    text_append(&t, json, json_bytes);
    text_puts(&t, "\r\n");
    free(json);
    const struct image *image;
    for (size_t k = 0; (image = picture(p, images, sheet, k, name)); k++) {
        begin_part(&t, boundary, image->mime, name, image->png_bytes);
        text_printf(&t, "X-Seed: %llu\r\nX-Sample-Digest: %s\r\n\r\n", (unsigned long long)p->seed,
                    image->digest);
        text_append(&t, (const char *)image->png, image->png_bytes);
        text_puts(&t, "\r\n");
    }
    text_printf(&t, "--%s--\r\n", boundary);
    return text_take(&t, bytes);
}
