/* A plan's inside: lower.c makes instructions out of nodes, plan.c runs them. */
#ifndef CORE_GRAPH_INSTRUCTION_H
#define CORE_GRAPH_INSTRUCTION_H

#include "core/graph/memory_plan.h"
#include "core/graph/plan.h"
#include "core/graph/table.h"

enum dn_kind {
    DN_KIND_LOAD,
    DN_KIND_CONV,
    DN_KIND_GROUP_NORM,
    DN_KIND_LAYER_NORM,
    DN_KIND_ATTENTION,
    DN_KIND_POINTWISE,
};

/* One kernel call an image. */
struct dn_instruction {
    enum dn_kind kind;
    int group;
    bool needs_label;
    struct dn_view in[DN_NODE_INPUTS], out, residual;
    bool has_residual;
    const struct dn_table *channel, *pre; /* NULL: none */
    enum dn_act act;
    union {
        struct dn_conv conv;
        struct dn_group_norm group_norm;
        struct dn_layer_norm layer_norm;
        int heads;
    };
    void *owned[2]; /* packed weights and the like */
};

struct dn_named_view {
    char *name;
    struct dn_view view;
};

struct dn_plan {
    const struct dn_kernels *kernels;
    struct dn_instruction *instructions; /* groups one after the other */
    struct dn_op_info *ops;              /* one for each instruction; names are owned */
    size_t n_instructions;
    struct dn_table *tables; /* [n_tables], those that instructions read have data */
    int n_tables;
    struct dn_view output;
    size_t scratch_bytes, local_bytes, image_bytes, slack_bytes;
    struct dn_named_view *named;
    size_t n_named;
};

/* Fill instructions, ops, scratch_bytes and named of a plan that has kernels, tables and room for
 * them. Errors: ENOMEM. */
int dn_lower(struct dn_plan *plan, const struct dn_graph *g, const struct dn_memory_plan *memory,
             struct dn_error *err);

#endif
