/* Recording: shapes are inferred and checked here, weights are looked up and checked by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/memory.h"
#include "core/graph/node.h"

int dn_graph_new(struct dn_graph **out, const struct dn_weight_source *weights,
                 struct dn_error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return dn_fail(err, DN_ENOMEM, "out of memory");
    (*out)->source = *weights;
    (*out)->err = err;
    (*out)->output = -1;
    return 0;
}

void dn_graph_free(struct dn_graph *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n_nodes; i++) {
        free(g->nodes[i].name);
        free(g->nodes[i].weights);
    }
    free(g->nodes);
    free(g);
}

int dn_graph_error(const struct dn_graph *g)
{
    return g->rc;
}

static struct dn_node *node_at(struct dn_graph *g, int value)
{
    return &g->nodes[value];
}

static int fail(struct dn_graph *g, const char *name, const char *what)
{
    if (g->rc == 0)
        g->rc = dn_fail(g->err, DN_EFORMAT, "%s: %s", name, what);
    return -1;
}

/* A new node of the shape of `like` (NULL: a vector of one); NULL after an error. */
static struct dn_node *record(struct dn_graph *g, enum dn_op op, int like, int *value)
{
    *value = -1;
    if (g->rc)
        return NULL;
    if (g->n_nodes == g->capacity) {
        int capacity = g->capacity ? 2 * g->capacity : 64;
        struct dn_node *nodes = realloc(g->nodes, (size_t)capacity * sizeof *nodes);
        if (!nodes) {
            g->rc = dn_fail(g->err, DN_ENOMEM, "out of memory");
            return NULL;
        }
        g->nodes = nodes;
        g->capacity = capacity;
    }
    struct dn_node *n = &g->nodes[g->n_nodes];
    *n = (struct dn_node){.op = op,
                          .h = 1,
                          .w = 1,
                          .c = 1,
                          .is_vector = true,
                          .in = {like, -1, -1},
                          .residual = -1,
                          .channel = -1,
                          .pre = -1};
    if (like >= 0) {
        const struct dn_node *from = &g->nodes[like];
        n->domain = from->domain;
        n->h = from->h;
        n->w = from->w;
        n->c = from->c;
        n->is_vector = from->is_vector;
    }
    *value = g->n_nodes++;
    return n;
}

static char *copy_text(struct dn_graph *g, const char *text)
{
    char *copy = dn_strndup(text, strlen(text));
    if (!copy && g->rc == 0)
        g->rc = dn_fail(g->err, DN_ENOMEM, "out of memory");
    return copy;
}

/* The same for an operation with weights. */
static struct dn_node *record_weighted(struct dn_graph *g, enum dn_op op, const char *name, int x,
                                       int *value)
{
    struct dn_node *n = record(g, op, x, value);
    if (n)
        n->weights = copy_text(g, name);
    return n;
}

static const float *weight(struct dn_graph *g, const char *prefix, const char *suffix,
                           const int64_t *shape, int rank)
{
    char name[256];
    if (g->rc)
        return NULL;
    snprintf(name, sizeof name, "%s%s", prefix, suffix);
    struct dn_error err = {0};
    const float *data = g->source.get(g->source.context, name, shape, rank, &err);
    if (!data) {
        g->rc = err.code;
        if (g->err)
            *g->err = err;
    }
    return data;
}

static const float *weight_1d(struct dn_graph *g, const char *prefix, const char *suffix, int64_t n)
{
    return weight(g, prefix, suffix, &n, 1);
}

static const float *weight_2d(struct dn_graph *g, const char *prefix, const char *suffix,
                              int64_t rows, int64_t columns)
{
    const int64_t shape[] = {rows, columns};
    return weight(g, prefix, suffix, shape, 2);
}

int dn_graph_image(struct dn_graph *g, int h, int w, int c)
{
    int value;
    struct dn_node *n = record(g, DN_OP_IMAGE, -1, &value);
    if (n) {
        n->domain = DN_PER_IMAGE;
        n->is_vector = false;
        n->h = h;
        n->w = w;
        n->c = c;
    }
    return value;
}

int dn_graph_timestep(struct dn_graph *g, struct dn_time_input time)
{
    int value;
    struct dn_node *n = record(g, DN_OP_TIMESTEP, -1, &value);
    if (n) {
        n->domain = DN_PER_TIMESTEP;
        n->time = time;
    }
    return value;
}

int dn_graph_label(struct dn_graph *g, int labels)
{
    int value;
    struct dn_node *n = record(g, DN_OP_LABEL, -1, &value);
    if (n) {
        n->domain = DN_PER_LABEL;
        n->kernel = labels; /* the number of instances */
    }
    return value;
}

int dn_graph_embedding(struct dn_graph *g, const char *name, int label, int width)
{
    int value;
    struct dn_node *n = record_weighted(g, DN_OP_EMBEDDING, name, label, &value);
    if (n) {
        n->c = width;
        n->weight = weight_2d(g, name, ".weight", node_at(g, label)->kernel, width);
    }
    return value;
}

int dn_graph_fourier(struct dn_graph *g, const char *name, int t, int c)
{
    int value;
    struct dn_node *n = record_weighted(g, DN_OP_FOURIER, name, t, &value);
    if (n) {
        n->c = c;
        if (c % 2 != 0)
            return fail(g, name, "an even number of features expected");
        n->weight = weight_1d(g, name, ".W", c / 2);
    }
    return value;
}

int dn_graph_linear(struct dn_graph *g, const char *name, int x, int out_c, bool bias)
{
    int value;
    struct dn_node *n = record_weighted(g, DN_OP_CONV, name, x, &value);
    if (n) {
        n->kernel = 1;
        n->stride = 1;
        n->weight = weight_2d(g, name, ".weight", out_c, n->c);
        n->c = out_c;
        n->bias = bias ? weight_1d(g, name, ".bias", out_c) : NULL;
    }
    return value;
}

int dn_graph_conv(struct dn_graph *g, const char *name, int x, int out_c, int k, int stride,
                  bool bias)
{
    int value;
    struct dn_node *n = record_weighted(g, DN_OP_CONV, name, x, &value);
    if (n) {
        const int64_t shape[] = {out_c, n->c, k, k};
        if (n->is_vector || (k != 1 && k != 3) || stride < 1 || stride > 2)
            return fail(g, name, "no such convolution");
        if (n->h % stride != 0 || n->w % stride != 0)
            return fail(g, name, "a stride of 2 needs even height and width");
        n->kernel = k;
        n->stride = stride;
        n->weight = weight(g, name, ".weight", shape, 4);
        n->bias = bias ? weight_1d(g, name, ".bias", out_c) : NULL;
        n->h /= stride;
        n->w /= stride;
        n->c = out_c;
    }
    return value;
}

int dn_graph_conv_transpose(struct dn_graph *g, const char *name, int x, int out_c)
{
    int value;
    struct dn_node *n = record_weighted(g, DN_OP_CONV_TRANSPOSE, name, x, &value);
    if (n) {
        const int64_t shape[] = {n->c, out_c, 3, 3};
        n->weight = weight(g, name, ".weight", shape, 4);
        n->h *= 2;
        n->w *= 2;
        n->c = out_c;
    }
    return value;
}

int dn_graph_group_norm(struct dn_graph *g, const char *name, int x, int groups)
{
    int value;
    struct dn_node *n = record_weighted(g, DN_OP_GROUP_NORM, name, x, &value);
    if (n) {
        if (groups < 1 || n->c % groups != 0)
            return fail(g, name, "the groups do not divide the channels");
        n->groups = groups;
        n->weight = weight_1d(g, name, ".weight", n->c);
        n->bias = weight_1d(g, name, ".bias", n->c);
    }
    return value;
}

int dn_graph_layer_norm(struct dn_graph *g, const char *name, int x)
{
    int value;
    struct dn_node *n = record_weighted(g, DN_OP_LAYER_NORM, name, x, &value);
    if (n) {
        n->weight = weight_1d(g, name, ".weight", n->c);
        n->bias = weight_1d(g, name, ".bias", n->c);
    }
    return value;
}

int dn_graph_attention(struct dn_graph *g, int q, int k, int v, int heads)
{
    int value;
    struct dn_node *n = record(g, DN_OP_ATTENTION, q, &value);
    if (n) {
        if (heads < 1 || n->c % heads != 0)
            return fail(g, "attention", "the heads do not divide the channels");
        n->in[1] = k;
        n->in[2] = v;
        n->heads = heads;
    }
    return value;
}

int dn_graph_add(struct dn_graph *g, int a, int b)
{
    int value;
    struct dn_node *n = record(g, DN_OP_ADD, a, &value);
    if (n) {
        const struct dn_node *x = node_at(g, a), *y = node_at(g, b);
        bool same = x->h == y->h && x->w == y->w && x->c == y->c;
        if (!same && !(y->is_vector && x->c == y->c))
            return fail(g, "add", "the shapes do not match");
        if (n->domain != y->domain && n->domain != DN_PER_IMAGE)
            return fail(g, "add", "a timestep's vector and a label's have no common table");
        n->in[1] = b;
    }
    return value;
}

int dn_graph_act(struct dn_graph *g, enum dn_act act, int x)
{
    int value;
    struct dn_node *n = record(g, DN_OP_ACT, x, &value);
    if (n)
        n->act = act;
    return value;
}

int dn_graph_concat(struct dn_graph *g, int a, int b)
{
    int value;
    struct dn_node *n = record(g, DN_OP_CONCAT, a, &value);
    if (n) {
        const struct dn_node *x = node_at(g, a), *y = node_at(g, b);
        if (x->h != y->h || x->w != y->w || a == b)
            return fail(g, "concat", "the shapes do not match");
        n->in[1] = b;
        n->c = x->c + y->c;
    }
    return value;
}

void dn_graph_require(struct dn_graph *g, const char *name, int64_t rows, int64_t columns)
{
    if (columns)
        weight_2d(g, name, "", rows, columns);
    else
        weight_1d(g, name, "", rows);
}

void dn_graph_name(struct dn_graph *g, int value, const char *name)
{
    if (g->rc)
        return;
    g->nodes[value].name = copy_text(g, name);
}

void dn_graph_output(struct dn_graph *g, int value)
{
    g->output = value;
}
