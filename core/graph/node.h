/* Inside of a graph: shared by the files of this room only. */
#ifndef CORE_GRAPH_NODE_H
#define CORE_GRAPH_NODE_H

#include "core/graph/graph.h"

enum dn_op {
    DN_OP_IMAGE,
    DN_OP_TIMESTEP,
    DN_OP_LABEL,
    DN_OP_EMBEDDING,
    DN_OP_FOURIER,
    DN_OP_CONV, /* a linear layer is a convolution of one tap */
    DN_OP_CONV_TRANSPOSE,
    DN_OP_GROUP_NORM,
    DN_OP_LAYER_NORM,
    DN_OP_ATTENTION,
    DN_OP_ADD,
    DN_OP_ACT,
    DN_OP_CONCAT,
    DN_OP_FUSED_AWAY,
};

enum { DN_NODE_INPUTS = 3 };

/* One operation and the value it makes; its number is its index. Inputs come before it. */
struct dn_node {
    enum dn_op op;
    enum dn_domain domain;
    int h, w, c; /* a vector has h = w = 1 */
    bool is_vector;
    int in[DN_NODE_INPUTS]; /* -1: none */

    int kernel, stride, groups, heads;
    const float *weight, *bias;
    struct dn_time_input time;

    /* What fusing adds: act(op) + residual + channel; `pre` is added to a group norm's input. */
    enum dn_act act;
    int residual, channel, pre; /* values, -1: none */

    int users;        /* how many nodes read it */
    bool needs_label; /* does it depend on the label, beside image and timestep? */
    char *name;       /* NULL: none */
    char *weights;    /* prefix of its weights' names; NULL: it has none */
};

struct dn_graph {
    struct dn_weight_source source;
    struct dn_error *err;
    int rc;
    struct dn_node *nodes;
    int n_nodes, capacity;
    int output;
};

/* Is it a map that an instruction computes? */
static inline bool dn_node_is_map(const struct dn_node *n)
{
    return n->domain == DN_PER_IMAGE && n->op != DN_OP_FUSED_AWAY;
}

/* Every value that a node reads: calls visit(context, &value) for each of its inputs, residual,
 * channel and pre that is set. */
void dn_node_visit(struct dn_node *node, void (*visit)(void *context, int *value), void *context);

/* Rewrite the recorded graph so that additions and activations become part of the operation before
 * them. Fills `users` and `needs_label`. */
void dn_graph_fuse(struct dn_graph *g);

#endif
