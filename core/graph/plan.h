/*
 * A plan: the fused graph made ready to run. Values that depend on the timestep or the label alone
 * are tables, weights are packed for the kernels, and every map has its place (see memory_plan.h).
 *
 * A plan is immutable and may be run by many threads, each on an arena of its own.
 */
#ifndef CORE_GRAPH_PLAN_H
#define CORE_GRAPH_PLAN_H

#include <stddef.h>

#include "core/graph/graph.h"

struct dn_plan;

/* One network evaluation. */
struct dn_evaluation {
    const float *input; /* x_t [H,W,C] */
    int timestep, label;
    bool is_twin;  /* input and timestep are those of the evaluation before it, which is no twin */
    float *output; /* [H,W,C] */
};

/* Fuse and plan the recorded graph, which may be freed afterwards; the weights too. With `keep_all`
 * no memory is used twice, so that named values can be read after a run. Errors: ENOMEM. */
int dn_plan_new(struct dn_plan **out, struct dn_graph *g, const struct dn_kernels *kernels,
                bool keep_all, struct dn_error *err);
void dn_plan_free(struct dn_plan *plan); /* NULL allowed */

/* Bytes of an arena for up to n evaluations at once. It must be zeroed, and aligned to DN_ALIGN. */
size_t dn_plan_arena_bytes(const struct dn_plan *plan, size_t n);
/* The operations in the order in which they run; they live as long as the plan. */
size_t dn_plan_ops(const struct dn_plan *plan, const struct dn_op_info **ops);

/* Allocates nothing. No result depends on n or on the place in the list. With `seconds`
 * [dn_plan_ops()], the time that each operation took is added to it. */
void dn_plan_run(const struct dn_plan *plan, void *arena, const struct dn_evaluation *evaluations,
                 size_t n, double *seconds);

/* The map of a named value of evaluation i after dn_plan_run(), with keep_all. -1: no such name. */
int dn_plan_value(const struct dn_plan *plan, void *arena, size_t i, const char *name,
                  struct dn_map *map);

#endif
