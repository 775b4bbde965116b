/* Lowering: nodes to instructions, weights to the kernels' own order. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/memory.h"
#include "core/graph/instruction.h"
#include "core/kernels/bf16.h"

struct lowering {
    struct dn_plan *plan;
    const struct dn_graph *g;
    const struct dn_memory_plan *memory;
    struct dn_error *err;
};

static int out_of_memory(struct lowering *l)
{
    return dn_fail(l->err, DN_ENOMEM, "out of memory");
}

/* The next instruction, with what all kinds have in common. */
static struct dn_instruction *emit(struct lowering *l, enum dn_kind kind, int node)
{
    const struct dn_node *n = &l->g->nodes[node];
    struct dn_instruction *in = &l->plan->instructions[l->plan->n_instructions++];
    in->kind = kind;
    in->group = l->memory->groups[node];
    in->needs_label = n->needs_label;
    in->out = l->memory->views[node];
    for (int i = 0; i < DN_NODE_INPUTS; i++)
        if (n->in[i] >= 0 && l->g->nodes[n->in[i]].domain == DN_PER_IMAGE)
            in->in[i] = l->memory->views[n->in[i]];
    in->act = n->act;
    if (n->act == DN_ACT_SILU && l->plan->kernels->precision == DN_PRECISION_BF16)
        in->act = DN_ACT_SILU_BF16;
    if (n->residual >= 0) {
        in->has_residual = true;
        in->residual = l->memory->views[n->residual];
    }
    in->channel = n->channel >= 0 ? &l->plan->tables[n->channel] : NULL;
    in->pre = n->pre >= 0 ? &l->plan->tables[n->pre] : NULL;
    return in;
}

static double view_bytes(const struct dn_view *v)
{
    return (double)v->h * v->w * v->c * (double)dn_type_bytes(v->type);
}

/* Describe the instruction just emitted; `detail` NULL or a part of the node. */
static int describe(struct lowering *l, int node, const char *kind, double macs,
                    double weight_bytes)
{
    const struct dn_instruction *in = &l->plan->instructions[l->plan->n_instructions - 1];
    struct dn_op_info *op = &l->plan->ops[l->plan->n_instructions - 1];
    const struct dn_node *n = &l->g->nodes[node];
    const char *name = n->weights ? n->weights : n->name ? n->name : kind;
    op->kind = kind;
    op->macs = macs;
    op->weight_bytes = weight_bytes;
    op->map_bytes = view_bytes(&in->out) + (in->has_residual ? view_bytes(&in->residual) : 0);
    for (int i = 0; i < DN_NODE_INPUTS; i++)
        op->map_bytes += view_bytes(&in->in[i]);
    op->needs_label = in->needs_label;
    op->name = dn_strndup(name, strlen(name));
    return op->name ? 0 : out_of_memory(l);
}

static int copy_vector(struct lowering *l, void **out, const float *from, int n)
{
    if (!from)
        return 0;
    *out = dn_alloc((size_t)n * sizeof *from);
    if (!*out)
        return out_of_memory(l);
    memcpy(*out, from, (size_t)n * sizeof *from);
    return 0;
}

static void need_scratch(struct lowering *l, size_t floats)
{
    size_t bytes = dn_align_up(floats * sizeof(float));
    if (bytes > l->plan->scratch_bytes)
        l->plan->scratch_bytes = bytes;
}

/* Fill the rest of in->conv from weights already ordered [taps][I][O]. */
static int finish_conv(struct lowering *l, int node, struct dn_instruction *in,
                       const float *ordered, const char *kind)
{
    const struct dn_kernels *k = l->plan->kernels;
    struct dn_conv *cv = &in->conv;

    cv->type = in->in[0].type;
    cv->h = in->out.h;
    cv->w = in->out.w;
    size_t bytes = k->conv_packed(cv);
    in->owned[0] = dn_alloc(bytes);
    if (!in->owned[0])
        return out_of_memory(l);
    k->conv_pack(in->owned[0], cv, ordered);
    cv->weights = in->owned[0];
    int rc = copy_vector(l, &in->owned[1], l->g->nodes[node].bias, cv->out_c);
    cv->bias = in->owned[1];
    need_scratch(l, k->conv_scratch(cv));
    double macs = (double)(cv->h * cv->w) * cv->n_taps * cv->in_c * cv->out_c;
    return rc ? rc : describe(l, node, kind, macs, (double)bytes);
}

/* A K x K convolution, PyTorch weights [O,I,K,K]. */
static int lower_conv(struct lowering *l, int node)
{
    const struct dn_node *n = &l->g->nodes[node];
    struct dn_instruction *in = emit(l, DN_KIND_CONV, node);
    int k = n->kernel, in_c = in->in[0].c, out_c = n->c;
    float *ordered = malloc(sizeof(float) * (size_t)(k * k * in_c) * (size_t)out_c);

    if (!ordered)
        return out_of_memory(l);
    in->conv = (struct dn_conv){.in_c = in_c, .out_c = out_c, .stride = n->stride, .n_taps = k * k};
    for (int t = 0; t < k * k; t++) {
        in->conv.dy[t] = (int8_t)(t / k - k / 2);
        in->conv.dx[t] = (int8_t)(t % k - k / 2);
        for (int i = 0; i < in_c; i++)
            for (int o = 0; o < out_c; o++)
                ordered[(t * in_c + i) * out_c + o] = n->weight[(o * in_c + i) * k * k + t];
    }
    const char *kind = k == 1 ? "linear" : n->stride == 2 ? "conv3x3/2" : "conv3x3";
    int rc = finish_conv(l, node, in, ordered, kind);
    free(ordered);
    return rc;
}

/*
 * A transposed 3x3 convolution of stride 2 as four convolutions, one for each parity of the
 * output's row and column. Along one axis, even outputs 2 m see input m through tap 1; odd ones 2 m
 * + 1 see input m through tap 2 and input m + 1 through tap 0. PyTorch weights [I,O,3,3].
 */
static int lower_conv_transpose(struct lowering *l, int node)
{
    static const struct {
        int n, tap[2], shift[2];
    } axis[2] = {{1, {1, 0}, {0, 0}}, {2, {2, 0}, {0, 1}}};
    const struct dn_node *n = &l->g->nodes[node];
    int in_c = l->memory->views[n->in[0]].c, out_c = n->c, rc = 0;
    float *ordered = malloc(sizeof(float) * (size_t)(4 * in_c) * (size_t)out_c);

    if (!ordered)
        return out_of_memory(l);
    for (int phase = 0; phase < 4 && rc == 0; phase++) {
        int py = phase / 2, px = phase % 2, taps = 0;
        struct dn_instruction *in = emit(l, DN_KIND_CONV, node);
        in->out.offset +=
            dn_type_bytes(in->out.type) * (size_t)(py * in->out.pitch + px * in->out.ld);
        in->out.h /= 2;
        in->out.w /= 2;
        in->out.pitch *= 2;
        in->out.ld *= 2;
        in->conv = (struct dn_conv){.in_c = in_c, .out_c = out_c, .stride = 1};
        for (int a = 0; a < axis[py].n; a++) {
            for (int b = 0; b < axis[px].n; b++, taps++) {
                int tap = axis[py].tap[a] * 3 + axis[px].tap[b];
                in->conv.dy[taps] = (int8_t)axis[py].shift[a];
                in->conv.dx[taps] = (int8_t)axis[px].shift[b];
                for (int i = 0; i < in_c; i++)
                    for (int o = 0; o < out_c; o++)
                        ordered[(taps * in_c + i) * out_c + o] =
                            n->weight[(i * out_c + o) * 9 + tap];
            }
        }
        in->conv.n_taps = taps;
        rc = finish_conv(l, node, in, ordered, "conv_transpose");
    }
    free(ordered);
    return rc;
}

static int lower_norm(struct lowering *l, int node)
{
    const struct dn_node *n = &l->g->nodes[node];
    bool group = n->op == DN_OP_GROUP_NORM;
    struct dn_instruction *in = emit(l, group ? DN_KIND_GROUP_NORM : DN_KIND_LAYER_NORM, node);
    int rc = copy_vector(l, &in->owned[0], n->weight, n->c);
    if (rc == 0)
        rc = copy_vector(l, &in->owned[1], n->bias, n->c);
    /* 1e-5 is PyTorch's default for both. */
    if (group)
        in->group_norm = (struct dn_group_norm){n->groups, 1e-5f, in->owned[0], in->owned[1]};
    else
        in->layer_norm = (struct dn_layer_norm){1e-5f, in->owned[0], in->owned[1]};
    return rc ? rc : describe(l, node, group ? "group_norm" : "layer_norm", 0, 0);
}

static int lower_attention(struct lowering *l, int node)
{
    const struct dn_node *n = &l->g->nodes[node];
    struct dn_instruction *in = emit(l, DN_KIND_ATTENTION, node);
    int tokens = n->h * n->w;
    in->heads = n->heads;
    need_scratch(l, l->plan->kernels->attention_scratch(tokens, n->c, n->heads));
    return describe(l, node, "attention", 2.0 * tokens * tokens * n->c, 0);
}

/* An addition or activation that nothing could absorb. */
static int lower_pointwise(struct lowering *l, int node)
{
    const struct dn_node *n = &l->g->nodes[node];
    struct dn_instruction *in = emit(l, DN_KIND_POINTWISE, node);
    if (n->op == DN_OP_ADD && l->g->nodes[n->in[1]].is_vector) {
        in->channel = &l->plan->tables[n->in[1]];
    } else if (n->op == DN_OP_ADD) {
        in->has_residual = true;
        in->residual = in->in[1];
    }
    return describe(l, node, n->op == DN_OP_ADD ? "add" : "activation", 0, 0);
}

/* The inputs that do not already live in the concatenation are copied there. */
static int lower_concat(struct lowering *l, int node)
{
    int channel = 0, rc = 0;
    for (int j = 0; j < 2 && rc == 0; j++) {
        int input = l->g->nodes[node].in[j];
        if (l->memory->is_copied_in[2 * node + j]) {
            struct dn_instruction *in = emit(l, DN_KIND_POINTWISE, node);
            in->in[0] = l->memory->views[input];
            in->in[1] = (struct dn_view){0};
            in->out.offset += dn_type_bytes(in->out.type) * (size_t)channel;
            in->out.c = l->g->nodes[input].c;
            rc = describe(l, node, "concat", 0, 0);
        }
        channel += l->g->nodes[input].c;
    }
    return rc;
}

static int lower(struct lowering *l, int node)
{
    switch (l->g->nodes[node].op) {
    case DN_OP_IMAGE:
        emit(l, DN_KIND_LOAD, node);
        return describe(l, node, "load", 0, 0);
    case DN_OP_CONV:
        return lower_conv(l, node);
    case DN_OP_CONV_TRANSPOSE:
        return lower_conv_transpose(l, node);
    case DN_OP_GROUP_NORM:
    case DN_OP_LAYER_NORM:
        return lower_norm(l, node);
    case DN_OP_ATTENTION:
        return lower_attention(l, node);
    case DN_OP_ADD:
    case DN_OP_ACT:
        return lower_pointwise(l, node);
    case DN_OP_CONCAT:
        return lower_concat(l, node);
    default:
        assert(false && "an operation on vectors has an image's domain");
        return DN_EINVAL;
    }
}

/* Names of values, for dn_plan_value(). */
static int keep_names(struct lowering *l)
{
    struct dn_plan *plan = l->plan;
    for (int i = 0; i < l->g->n_nodes; i++) {
        const struct dn_node *n = &l->g->nodes[i];
        if (!n->name || !dn_node_is_map(n))
            continue;
        struct dn_named_view *named = &plan->named[plan->n_named];
        named->view = l->memory->views[i];
        named->name = dn_strndup(n->name, strlen(n->name));
        if (!named->name)
            return out_of_memory(l);
        plan->n_named++;
    }
    return 0;
}

int dn_lower(struct dn_plan *plan, const struct dn_graph *g, const struct dn_memory_plan *memory,
             struct dn_error *err)
{
    struct lowering l = {plan, g, memory, err};
    int rc = 0;
    for (int i = 0; i < g->n_nodes && rc == 0; i++)
        if (dn_node_is_map(&g->nodes[i]))
            rc = lower(&l, i);
    return rc ? rc : keep_names(&l);
}
