/*
 * Where each map lives in an image's arena.
 *
 * A slot is a piece of the arena of one geometry: height, width, floats a pixel and whether it has
 * a border of zeros for 3x3 convolutions. Slots are reused only among maps of the same geometry, so
 * that a border zeroed once stays zero. The inputs of a concatenation live inside its slot, as
 * slices of its pixels: nothing is copied.
 */
#ifndef CORE_GRAPH_MEMORY_PLAN_H
#define CORE_GRAPH_MEMORY_PLAN_H

#include <stddef.h>

#include "core/graph/node.h"

/* A map without its address: `offset` floats from the beginning of the image's arena. */
struct dn_view {
    size_t offset;
    int h, w, c, ld, pitch;
};

struct dn_memory_plan {
    struct dn_view *views; /* [n_nodes], of the maps */
    bool *is_copied_in;    /* [2 * n_nodes]: input j of concat node i must be copied: [2 * i + j] */
    size_t arena_floats;   /* of one image */
};

/* Errors: ENOMEM. */
int dn_memory_plan_init(struct dn_memory_plan *m, struct dn_graph *g, bool keep_all,
                        struct dn_error *err);
void dn_memory_plan_deinit(struct dn_memory_plan *m);

#endif
