#include "core/graph/plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/memory.h"
#include "core/graph/memory_plan.h"
#include "core/graph/table.h"

enum kind { LOAD_INPUT, CONV, GROUP_NORM, LAYER_NORM, ATTENTION, POINTWISE };

/* One kernel call an image. */
struct instruction {
    enum kind kind;
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
    float *owned[2]; /* packed weights and the like */
};

struct named {
    char *name;
    struct dn_view view;
};

struct dn_plan {
    const struct dn_kernels *kernels;
    struct instruction *instructions;
    size_t n_instructions;
    struct dn_table *tables; /* [n_tables], those that instructions read have data */
    int n_tables;
    struct dn_view output;
    size_t arena_floats;   /* of one image */
    size_t scratch_floats; /* of one thread */
    double macs;
    struct named *named;
    size_t n_named;
};

/* ---- lowering: nodes to instructions ----------------------------------------------------------
 */

struct lowering {
    struct dn_plan *plan;
    const struct dn_graph *g;
    const struct dn_memory_plan *memory;
    struct dn_error *err;
};

/* The next instruction, with what all kinds have in common. */
static struct instruction *emit(struct lowering *l, enum kind kind, int node)
{
    const struct dn_node *n = &l->g->nodes[node];
    struct instruction *in = &l->plan->instructions[l->plan->n_instructions++];
    in->kind = kind;
    in->out = l->memory->views[node];
    for (int i = 0; i < DN_NODE_INPUTS; i++)
        if (n->in[i] >= 0 && l->g->nodes[n->in[i]].domain == DN_PER_IMAGE)
            in->in[i] = l->memory->views[n->in[i]];
    in->act = n->act;
    if (n->residual >= 0) {
        in->has_residual = true;
        in->residual = l->memory->views[n->residual];
    }
    in->channel = n->channel >= 0 ? &l->plan->tables[n->channel] : NULL;
    in->pre = n->pre >= 0 ? &l->plan->tables[n->pre] : NULL;
    return in;
}

static int copy_vector(float **out, const float *from, int n, struct dn_error *err)
{
    if (!from)
        return 0;
    *out = dn_alloc((size_t)n * sizeof **out);
    if (!*out)
        return dn_fail(err, DN_ENOMEM, "out of memory");
    memcpy(*out, from, (size_t)n * sizeof **out);
    return 0;
}

/* Fill in->conv from weights already ordered [taps][I][O]. */
static int finish_conv(struct lowering *l, struct instruction *in, const float *ordered,
                       const float *bias)
{
    const struct dn_kernels *k = l->plan->kernels;
    struct dn_conv *cv = &in->conv;

    cv->h = in->out.h;
    cv->w = in->out.w;
    in->owned[0] = dn_alloc(k->conv_packed(cv));
    if (!in->owned[0])
        return dn_fail(l->err, DN_ENOMEM, "out of memory");
    k->conv_pack(in->owned[0], cv, ordered);
    cv->weights = in->owned[0];
    int rc = copy_vector(&in->owned[1], bias, cv->out_c, l->err);
    cv->bias = in->owned[1];
    size_t scratch = k->conv_scratch(cv);
    if (scratch > l->plan->scratch_floats)
        l->plan->scratch_floats = scratch;
    l->plan->macs += (double)(in->out.h * in->out.w) * cv->n_taps * cv->in_c * cv->out_c;
    return rc;
}

/* A K x K convolution, PyTorch weights [O,I,K,K]. */
static int lower_conv(struct lowering *l, int node)
{
    const struct dn_node *n = &l->g->nodes[node];
    struct instruction *in = emit(l, CONV, node);
    int k = n->kernel, in_c = in->in[0].c, out_c = n->c;
    float *ordered = malloc(sizeof(float) * (size_t)(k * k * in_c) * (size_t)out_c);

    if (!ordered)
        return dn_fail(l->err, DN_ENOMEM, "out of memory");
    in->conv = (struct dn_conv){.in_c = in_c, .out_c = out_c, .stride = n->stride, .n_taps = k * k};
    for (int t = 0; t < k * k; t++) {
        in->conv.dy[t] = (int8_t)(t / k - k / 2);
        in->conv.dx[t] = (int8_t)(t % k - k / 2);
        for (int i = 0; i < in_c; i++)
            for (int o = 0; o < out_c; o++)
                ordered[(t * in_c + i) * out_c + o] = n->weight[(o * in_c + i) * k * k + t];
    }
    int rc = finish_conv(l, in, ordered, n->bias);
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
        return dn_fail(l->err, DN_ENOMEM, "out of memory");
    for (int phase = 0; phase < 4 && rc == 0; phase++) {
        int py = phase / 2, px = phase % 2, taps = 0;
        struct instruction *in = emit(l, CONV, node);
        in->out.offset += (size_t)(py * in->out.pitch + px * in->out.ld);
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
        rc = finish_conv(l, in, ordered, NULL);
    }
    free(ordered);
    return rc;
}

static int lower_norm(struct lowering *l, int node)
{
    const struct dn_node *n = &l->g->nodes[node];
    bool group = n->op == DN_OP_GROUP_NORM;
    struct instruction *in = emit(l, group ? GROUP_NORM : LAYER_NORM, node);
    int rc = copy_vector(&in->owned[0], n->weight, n->c, l->err);
    if (rc == 0)
        rc = copy_vector(&in->owned[1], n->bias, n->c, l->err);
    /* 1e-5 is PyTorch's default for both. */
    if (group)
        in->group_norm = (struct dn_group_norm){n->groups, 1e-5f, in->owned[0], in->owned[1]};
    else
        in->layer_norm = (struct dn_layer_norm){1e-5f, in->owned[0], in->owned[1]};
    return rc;
}

static void lower_attention(struct lowering *l, int node)
{
    const struct dn_node *n = &l->g->nodes[node];
    struct instruction *in = emit(l, ATTENTION, node);
    int tokens = n->h * n->w;
    size_t scratch = l->plan->kernels->attention_scratch(tokens, n->c, n->heads);
    in->heads = n->heads;
    if (scratch > l->plan->scratch_floats)
        l->plan->scratch_floats = scratch;
    l->plan->macs += 2.0 * tokens * tokens * n->c;
}

/* An addition or activation that nothing could absorb. */
static void lower_pointwise(struct lowering *l, int node)
{
    const struct dn_node *n = &l->g->nodes[node];
    struct instruction *in = emit(l, POINTWISE, node);
    if (n->op == DN_OP_ADD && l->g->nodes[n->in[1]].is_vector) {
        in->channel = &l->plan->tables[n->in[1]];
    } else if (n->op == DN_OP_ADD) {
        in->has_residual = true;
        in->residual = in->in[1];
    }
}

/* The inputs that do not already live in the concatenation are copied there. */
static void lower_concat(struct lowering *l, int node)
{
    int channel = 0;
    for (int j = 0; j < 2; j++) {
        int input = l->g->nodes[node].in[j];
        if (l->memory->is_copied_in[2 * node + j]) {
            struct instruction *in = emit(l, POINTWISE, node);
            in->in[0] = l->memory->views[input];
            in->out.offset += (size_t)channel;
            in->out.c = l->g->nodes[input].c;
        }
        channel += l->g->nodes[input].c;
    }
}

static int lower(struct lowering *l, int node)
{
    switch (l->g->nodes[node].op) {
    case DN_OP_IMAGE:
        emit(l, LOAD_INPUT, node);
        return 0;
    case DN_OP_CONV:
        return lower_conv(l, node);
    case DN_OP_CONV_TRANSPOSE:
        return lower_conv_transpose(l, node);
    case DN_OP_GROUP_NORM:
    case DN_OP_LAYER_NORM:
        return lower_norm(l, node);
    case DN_OP_ATTENTION:
        lower_attention(l, node);
        return 0;
    case DN_OP_ADD:
    case DN_OP_ACT:
        lower_pointwise(l, node);
        return 0;
    case DN_OP_CONCAT:
        lower_concat(l, node);
        return 0;
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
        if (!n->name || n->domain != DN_PER_IMAGE || n->op == DN_OP_FUSED_AWAY)
            continue;
        struct named *named = &plan->named[plan->n_named];
        named->view = l->memory->views[i];
        named->name = dn_strndup(n->name, strlen(n->name));
        if (!named->name)
            return dn_fail(l->err, DN_ENOMEM, "out of memory");
        plan->n_named++;
    }
    return 0;
}

/* Keep only the tables that instructions read. */
static void drop_tables(struct dn_plan *plan)
{
    for (int i = 0; i < plan->n_tables; i++) {
        bool used = false;
        for (size_t j = 0; j < plan->n_instructions; j++)
            used |= plan->instructions[j].channel == &plan->tables[i] ||
                    plan->instructions[j].pre == &plan->tables[i];
        if (!used) {
            free(plan->tables[i].data);
            plan->tables[i].data = NULL;
        }
    }
}

int dn_plan_new(struct dn_plan **out, struct dn_graph *g, const struct dn_kernels *kernels,
                bool keep_all, struct dn_error *err)
{
    struct dn_memory_plan memory = {0};
    struct dn_plan *plan = calloc(1, sizeof *plan);
    size_t n = (size_t)g->n_nodes;
    int rc = 0;

    assert(g->rc == 0 && g->output >= 0 && g->nodes[g->output].domain == DN_PER_IMAGE);
    if (plan) {
        plan->kernels = kernels;
        plan->n_tables = g->n_nodes;
        plan->tables = calloc(n, sizeof *plan->tables);
        plan->named = calloc(n, sizeof *plan->named);
        /* A transposed convolution becomes four instructions, everything else at most two. */
        plan->instructions = calloc(4 * n, sizeof *plan->instructions);
    }
    if (!plan || !plan->tables || !plan->named || !plan->instructions) {
        rc = dn_fail(err, DN_ENOMEM, "out of memory");
        goto out;
    }
    dn_graph_fuse(g);
    rc = dn_memory_plan_init(&memory, g, keep_all, err);
    if (rc == 0)
        rc = dn_tables_compute(plan->tables, g, err);

    struct lowering l = {plan, g, &memory, err};
    for (int i = 0; i < g->n_nodes && rc == 0; i++)
        if (g->nodes[i].domain == DN_PER_IMAGE && g->nodes[i].op != DN_OP_FUSED_AWAY)
            rc = lower(&l, i);
    if (rc == 0)
        rc = keep_names(&l);
    if (rc)
        goto out;
    drop_tables(plan);
    plan->output = memory.views[g->output];
    plan->arena_floats = memory.arena_floats; /* whole DN_ALIGN, like every slot */
    plan->scratch_floats = dn_align_up(plan->scratch_floats * sizeof(float)) / sizeof(float);
out:
    dn_memory_plan_deinit(&memory);
    if (rc) {
        dn_plan_free(plan);
        plan = NULL;
    }
    *out = plan;
    return rc;
}

void dn_plan_free(struct dn_plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->n_instructions; i++) {
        free(plan->instructions[i].owned[0]);
        free(plan->instructions[i].owned[1]);
    }
    for (int i = 0; plan->tables && i < plan->n_tables; i++)
        free(plan->tables[i].data);
    for (size_t i = 0; i < plan->n_named; i++)
        free(plan->named[i].name);
    free(plan->instructions);
    free(plan->tables);
    free(plan->named);
    free(plan);
}

/* ---- running ------------------------------------------------------------------------------------
 */

size_t dn_plan_arena_bytes(const struct dn_plan *plan, size_t n)
{
    return (plan->scratch_floats + n * plan->arena_floats) * sizeof(float);
}

double dn_plan_macs(const struct dn_plan *plan)
{
    return plan->macs;
}

static struct dn_map map_of(const struct dn_view *v, float *base)
{
    return (struct dn_map){base + v->offset, DN_FP32, v->h, v->w, v->c, v->ld, v->pitch};
}

static const float *row_of(const struct dn_table *t, const struct dn_evaluation *e)
{
    if (!t)
        return NULL;
    int row = t->domain == DN_PER_TIMESTEP ? e->timestep : e->label;
    return t->data + (size_t)row * (size_t)t->c;
}

static void load_input(const struct dn_map *map, const float *input)
{
    for (int y = 0; y < map->h; y++)
        for (int x = 0; x < map->w; x++)
            for (int c = 0; c < map->c; c++)
                ((float *)map->data)[(ptrdiff_t)y * map->pitch + (ptrdiff_t)x * map->ld + c] =
                    *input++;
}

static void store_output(float *output, const struct dn_map *map)
{
    for (int y = 0; y < map->h; y++)
        for (int x = 0; x < map->w; x++)
            for (int c = 0; c < map->c; c++)
                *output++ =
                    ((float *)map->data)[(ptrdiff_t)y * map->pitch + (ptrdiff_t)x * map->ld + c];
}

static void execute(const struct dn_plan *plan, const struct instruction *in, float *base,
                    float *scratch, const struct dn_evaluation *e)
{
    const struct dn_kernels *k = plan->kernels;
    struct dn_map x = map_of(&in->in[0], base), out = map_of(&in->out, base), b, c;
    struct dn_map residual = map_of(&in->residual, base);
    struct dn_epilogue epilogue = {in->act, in->has_residual ? &residual : NULL,
                                   row_of(in->channel, e)};

    switch (in->kind) {
    case LOAD_INPUT:
        load_input(&out, e->input);
        break;
    case CONV:
        k->conv(&in->conv, &x, &out, &epilogue, scratch);
        break;
    case GROUP_NORM:
        k->group_norm(&in->group_norm, &x, row_of(in->pre, e), &out, &epilogue);
        break;
    case LAYER_NORM:
        k->layer_norm(&in->layer_norm, &x, &out);
        break;
    case ATTENTION:
        b = map_of(&in->in[1], base);
        c = map_of(&in->in[2], base);
        k->attention(in->heads, &x, &b, &c, &out, &epilogue, scratch);
        break;
    case POINTWISE:
        k->pointwise(&x, &out, &epilogue);
        break;
    }
}

void dn_plan_run(const struct dn_plan *plan, void *arena, const struct dn_evaluation *evaluations,
                 size_t n)
{
    /* Scratch comes first: the borders of zeros in the images' arenas must stay where they are. */
    float *scratch = arena, *images = scratch + plan->scratch_floats;

    /* Instruction by instruction over the batch: its weights stay in the caches. */
    for (size_t i = 0; i < plan->n_instructions; i++)
        for (size_t j = 0; j < n; j++)
            execute(plan, &plan->instructions[i], images + j * plan->arena_floats, scratch,
                    &evaluations[j]);
    for (size_t j = 0; j < n; j++) {
        struct dn_map out = map_of(&plan->output, images + j * plan->arena_floats);
        store_output(evaluations[j].output, &out);
    }
}

int dn_plan_value(const struct dn_plan *plan, void *arena, size_t i, const char *name,
                  struct dn_map *map)
{
    for (size_t j = 0; j < plan->n_named; j++) {
        if (strcmp(plan->named[j].name, name) == 0) {
            *map = map_of(&plan->named[j].view,
                          (float *)arena + plan->scratch_floats + i * plan->arena_floats);
            return 0;
        }
    }
    return -1;
}
