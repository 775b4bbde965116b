/*
 * In which order the operations run over a batch, and where each map lives.
 *
 * Order. Operations are cut into groups of consecutive ones; a group runs for the first image, then
 * for the next. A group's weights stay in the cache while the images pass, and an image's maps stay
 * there from one operation to the next.
 *
 * Places. A map that only its own group reads lives in memory that all images of a thread share.
 * Any other lives in the image's arena. A slot is a piece of either of one geometry: height, width,
 * values a pixel, type and whether it has a border of zeros for 3x3 convolutions. Slots are reused
 * only among maps of the same geometry, so that a border zeroed once stays zero. The inputs of a
 * concatenation live inside its slot, as slices of its pixels: nothing is copied.
 *
 * Twins. Of two evaluations that differ in the label alone, the second need not compute what does
 * not depend on the label: it reads it where the first left it. Such a map has a slot apart, which
 * is not used again before its group has ended; but if it lives in a concatenation with one that
 * depends on the label, it is copied for the second.
 *
 * Types. In bf16 a map is bf16 where an operation reads it that would have to round it anyway: a
 * convolution, or attention where the kernels multiply in bf16; and none reads it that takes fp32
 * alone.
 */
#ifndef CORE_GRAPH_MEMORY_PLAN_H
#define CORE_GRAPH_MEMORY_PLAN_H

#include <stddef.h>

#include "core/graph/node.h"

enum dn_place {
    DN_PLACE_IMAGE,  /* the arena of the evaluation */
    DN_PLACE_SHARED, /* the arena of the first of two twins */
    DN_PLACE_LOCAL,  /* the thread's */
};

/* A map without its address. */
struct dn_view {
    enum dn_place place;
    size_t offset; /* bytes from the beginning of the place */
    enum dn_type type;
    int h, w, c, ld, pitch;
};

struct dn_memory_plan {
    struct dn_view *views; /* [n_nodes], of the maps */
    bool *is_copied_in;    /* [2 * n_nodes]: input j of concat node i must be copied: [2 * i + j] */
    int *groups;           /* [n_nodes], ascending */
    size_t image_bytes;    /* of one image's arena */
    size_t local_bytes;    /* of a thread's */
    size_t slack_bytes;    /* that kernels may read behind the last map */
};

/* With keep_all every map has a slot of its own in the image's arena. Errors: ENOMEM. */
int dn_memory_plan_init(struct dn_memory_plan *m, struct dn_graph *g,
                        const struct dn_kernels *kernels, bool keep_all, struct dn_error *err);
void dn_memory_plan_deinit(struct dn_memory_plan *m);

#endif
