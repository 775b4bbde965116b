#include "server/drawing/forms.h"

#include <stdlib.h>
#include <string.h>

#include "api/bundle.h"

static int finish(struct rendition *out, char *bytes)
{
    out->bytes = bytes;
    return bytes ? 0 : DN_ENOMEM;
}

static int make_json(const struct drawing *d, size_t i, struct rendition *out)
{
    (void)i;
    return finish(out, document_samples(&d->params, d->id, d->created, d->images, &d->sheet,
                                        &d->timings, &out->n_bytes));
}

const struct form form_json = {"application/json", make_json};

static int make_openai(const struct drawing *d, size_t i, struct rendition *out)
{
    (void)i;
    return finish(out, document_generation(&d->params, d->created, d->images, &out->n_bytes));
}

const struct form form_openai = {"application/json", make_openai};

/* ---- one picture ---------------------------------------------------------------------------- */

static int copy_picture(struct rendition *out, const struct image *image)
{
    out->bytes = malloc(image->png_bytes);
    if (!out->bytes) {
        return DN_ENOMEM;
    }
    memcpy(out->bytes, image->png, image->png_bytes);
    out->n_bytes = image->png_bytes;
    memcpy(out->digest, image->digest, sizeof out->digest);
    return 0;
}

/* Take over what image_encode() and its like have made. */
static int take_picture(struct rendition *out, int rc, const struct image *image)
{
    out->bytes = (char *)image->png;
    out->n_bytes = image->png_bytes;
    memcpy(out->digest, image->digest, sizeof out->digest);
    return rc;
}

static int make_png(const struct drawing *d, size_t i, struct rendition *out)
{
    (void)i;
    return copy_picture(out, d->params.layout == LAYOUT_GRID ? &d->sheet : &d->images[0]);
}

/* A film is a PNG as well, whose readers know. */
const struct form form_png = {IMAGE_PNG, make_png};
const struct form form_apng = {IMAGE_APNG, make_png};

static int make_grid(const struct drawing *d, size_t i, struct rendition *out)
{
    if (d->params.layout == LAYOUT_GRID) {
        return make_png(d, i, out);
    }
    struct image image = {.png = NULL};
    struct sample_params params = d->params; /* borrows the labels */
    params.format = FORMAT_PNG;              /* the frames are gone */
    params_make_grid(&params);
    return take_picture(out, image_encode_sheet(&image, &params, d->pixels, NULL), &image);
}

const struct form form_grid = {IMAGE_PNG, make_grid};

static int make_image(const struct drawing *d, size_t i, struct rendition *out)
{
    if (d->params.layout == LAYOUT_LIST) {
        return copy_picture(out, &d->images[i]);
    }
    struct image image = {.png = NULL};
    struct sample_params params = d->params;
    params.format = FORMAT_PNG;
    params.layout = LAYOUT_LIST;
    const uint8_t *pixels = d->pixels + i * d->image_bytes;
    return take_picture(out, image_encode(&image, &params, i, pixels, NULL), &image);
}

const struct form form_image = {IMAGE_PNG, make_image};

/* ---- several -------------------------------------------------------------------------------- */

static int make_zip(const struct drawing *d, size_t i, struct rendition *out)
{
    (void)i;
    return finish(out, bundle_zip(&d->params, d->images, &d->sheet, &out->n_bytes));
}

const struct form form_zip = {"application/zip", make_zip};

static int make_multipart(const struct drawing *d, size_t i, struct rendition *out)
{
    (void)i;
    return finish(
        out, bundle_multipart(&d->params, d->images, &d->sheet, out->media_type, &out->n_bytes));
}

const struct form form_multipart = {"multipart/mixed", make_multipart};

/* The claim is the drawing's own, and nobody else's while this is made. */
static int make_verification(const struct drawing *d, size_t i, struct rendition *out)
{
    (void)i;
    return finish(out, provenance_document(d->claim, &d->params, d->pixels, &out->n_bytes));
}

const struct form form_verification = {"application/json", make_verification};

/* ---- choosing ------------------------------------------------------------------------------- */

const struct form *form_by_type(const char *media_type)
{
    static const struct form *const forms[] = {&form_json, &form_png, &form_apng, &form_zip,
                                               &form_multipart};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(forms[i]->media_type, media_type) == 0) {
            return forms[i];
        }
    }
    return NULL;
}

const char *form_fault(const struct form *form, const struct sample_params *p)
{
    if (form == &form_apng && p->format != FORMAT_APNG) {
        return "/format";
    }
    bool is_picture = form == &form_png || form == &form_apng;
    return is_picture && p->n_rows > 1 && p->layout == LAYOUT_LIST ? "/layout" : NULL;
}
