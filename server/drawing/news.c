#include "server/drawing/news.h"

#include <assert.h>
#include <stdlib.h>

struct news *news_new(uint32_t n_rows, size_t image_bytes)
{
    struct news *n = calloc(1, sizeof *n);
    if (!n) {
        return NULL;
    }
    n->n_rows = n_rows;
    n->image_bytes = image_bytes;
    n->images = calloc(n_rows, sizeof *n->images);
    n->is_told = calloc(n_rows, sizeof *n->is_told);
    bool ok = n->images && n->is_told;
    if (image_bytes) {
        n->preview_versions = calloc(n_rows, sizeof *n->preview_versions);
        n->preview_steps = calloc(n_rows, sizeof *n->preview_steps);
        n->previews = calloc(n_rows, image_bytes);
        ok = ok && n->preview_versions && n->preview_steps && n->previews;
    }
    if (!ok) {
        news_free(n);
        return NULL;
    }
    return n;
}

void news_free(struct news *n)
{
    if (n) {
        free(n->images);
        free(n->is_told);
        free(n->preview_versions);
        free(n->preview_steps);
        free(n->previews);
        free(n);
    }
}

void news_start(struct news *n)
{
    if (!n->started) {
        n->started = ++n->version;
    }
}

void news_step(struct news *n, uint32_t step)
{
    if (step > n->step) {
        n->step = step;
        n->progress = ++n->version;
    }
}

uint8_t *news_preview(struct news *n, uint32_t image, uint32_t step)
{
    assert(n->previews);
    n->preview_versions[image] = ++n->version;
    n->preview_steps[image] = step;
    return n->previews + image * n->image_bytes;
}

void news_image(struct news *n, uint32_t image)
{
    if (n->is_told[image]) {
        return;
    }
    n->is_told[image] = true;
    n->images[n->n_images++] = (struct news_image){.version = ++n->version, .image = image};
    if (n->preview_versions) {
        n->preview_versions[image] = 0;
    }
}

void news_end(struct news *n)
{
    if (!n->ended) {
        n->ended = ++n->version;
    }
}

static void take_lower(struct news_item *best, enum news_kind kind, uint32_t image,
                       uint64_t version, uint64_t position)
{
    if (version > position && (best->kind == NEWS_NONE || version < best->version)) {
        *best = (struct news_item){.kind = kind, .image = image, .version = version};
    }
}

/* The first image beyond `position`, by halving: their versions ascend. */
static uint32_t first_image(const struct news *n, uint64_t position)
{
    uint32_t low = 0, high = n->n_images;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (n->images[middle].version > position) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

struct news_item news_next(const struct news *n, uint64_t position)
{
    struct news_item best = {.kind = NEWS_NONE};
    take_lower(&best, NEWS_STARTED, 0, n->started, position);
    take_lower(&best, NEWS_PROGRESS, 0, n->progress, position);
    take_lower(&best, NEWS_ENDED, 0, n->ended, position);
    uint32_t at = first_image(n, position);
    if (at < n->n_images) {
        take_lower(&best, NEWS_IMAGE, n->images[at].image, n->images[at].version, position);
    }
    for (uint32_t i = 0; n->preview_versions && i < n->n_rows; i++) {
        take_lower(&best, NEWS_PREVIEW, i, n->preview_versions[i], position);
    }
    return best;
}
