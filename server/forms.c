#include "server/forms.h"

#include <stdlib.h>
#include <string.h>

#include "server/request.h"

static int make_json(const struct drawing *d, char **body, size_t *bytes)
{
    *body =
        document_samples(&d->params, d->id, d->created, d->images, &d->sheet, &d->timings, bytes);
    return *body ? 0 : DN_ENOMEM;
}

const struct form form_json = {.media_type = "application/json", .make = make_json};

static const struct image *picture(const struct drawing *d)
{
    return d->params.layout == LAYOUT_GRID ? &d->sheet : &d->images[0];
}

static int make_png(const struct drawing *d, char **body, size_t *bytes)
{
    const struct image *image = picture(d);
    *body = malloc(image->png_bytes);
    if (!*body) {
        return DN_ENOMEM;
    }
    memcpy(*body, image->png, image->png_bytes);
    *bytes = image->png_bytes;
    return 0;
}

static void add_png_headers(struct request *r, const struct drawing *d)
{
    request_add_header(r, "X-Sample-Digest", picture(d)->digest);
}

const struct form form_png = {
    .media_type = "image/png", .make = make_png, .add_headers = add_png_headers};

static int make_openai(const struct drawing *d, char **body, size_t *bytes)
{
    *body = document_generation(&d->params, d->created, d->images, bytes);
    return *body ? 0 : DN_ENOMEM;
}

const struct form form_openai = {.media_type = "application/json", .make = make_openai};
