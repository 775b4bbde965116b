/*
 * What has happened to a drawing, in order, for those who follow it. Loop thread only.
 *
 * Each piece of news has a version, which counts up. A piece that is out of date is replaced: there
 * is one progress and one preview an image, whatever the number of steps. So a reader is at a
 * version, and is next told the piece with the lowest version beyond it; a slow one misses steps,
 * never images, and nothing is kept for it. Images that were drawn before anybody followed are told
 * at the end.
 */
#ifndef SERVER_DRAWING_NEWS_H
#define SERVER_DRAWING_NEWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum news_kind { NEWS_NONE, NEWS_STARTED, NEWS_PROGRESS, NEWS_PREVIEW, NEWS_IMAGE, NEWS_ENDED };

struct news_image {
    uint64_t version;
    uint32_t image;
};

struct news {
    uint64_t version;                  /* of the newest */
    uint64_t started, progress, ended; /* 0: not yet */
    uint32_t step;                     /* that `progress` tells */
    uint32_t n_rows;
    uint32_t n_images;
    struct news_image *images; /* [n_images of n_rows], in order */
    bool *is_told;             /* [n_rows] is among the images */
    size_t image_bytes;
    uint64_t *preview_versions; /* [n_rows] 0: none; NULL when nobody wants previews */
    uint32_t *preview_steps;    /* [n_rows] */
    uint8_t *previews;          /* [n_rows,H,W,C] */
};

struct news_item {
    enum news_kind kind;
    uint32_t image;
    uint64_t version;
};

/* Memory for the news of n_rows images; of previews only with image_bytes. NULL without. */
struct news *news_new(uint32_t n_rows, size_t image_bytes);
void news_free(struct news *n); /* NULL allowed */

void news_start(struct news *n);
/* Every image has taken `step` steps on average. */
void news_step(struct news *n, uint32_t step);
/* There is a new estimate of an image, after its step. Returns where its pixels belong. */
uint8_t *news_preview(struct news *n, uint32_t image, uint32_t step);
/* Nothing happens to one that is told already. */
void news_image(struct news *n, uint32_t image);
void news_end(struct news *n);

/* What comes after version `position`. */
struct news_item news_next(const struct news *n, uint64_t position);

#endif
