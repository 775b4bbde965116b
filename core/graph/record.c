/* Recording: shapes are inferred and checked here, weights are looked up and checked by name. */
#include <stdarg.h>
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

/* The first error, of the value or operation `name`. */
static int __attribute__((format(printf, 3, 4)))
fail(struct dn_graph *g, const char *name, const char *format, ...)
{
    char what[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (g->rc == 0)
        g->rc = dn_fail(g->err, DN_EFORMAT, "%.100s: %s", name, what);
    return -1;
}

/* A value as a message says it: its name, or its weights', and its shape. */
static const char *describe(struct dn_graph *g, int value, char text[96])
{
    const struct dn_node *n = node_at(g, value);
    const char *name = n->name ? n->name : n->weights ? n->weights : "a value";
    if (n->is_vector)
        snprintf(text, 96, "%.60s [%d]", name, n->c);
    else
        snprintf(text, 96, "%.60s [%d,%d,%d]", name, n->h, n->w, n->c);
    return text;
}

static bool is_known(struct dn_graph *g, const char *name, int value)
{
    if (g->rc == 0 && (value < 0 || value >= g->n_nodes))
        fail(g, name, "there is no value %d to read", value);
    return g->rc == 0;
}

/* May a value have that shape? Kernels keep rows of a map's channels on the stack. */
static bool is_shape(struct dn_graph *g, const char *name, const struct dn_node *n)
{
    enum { MAX_SIDE = 4096, MAX_WIDTH = 4096 };
    int most = n->is_vector ? MAX_WIDTH : DN_MAX_CHANNELS;
    if (n->c < 1 || n->c > most)
        fail(g, name, "%d channels: 1 to %d expected", n->c, most);
    else if (n->h < 1 || n->w < 1 || n->h > MAX_SIDE || n->w > MAX_SIDE)
        fail(g, name, "%d x %d pixels: sides of 1 to %d expected", n->h, n->w, MAX_SIDE);
    return g->rc == 0;
}

/* Kernels of maps alone have no way with a vector, nor tables with a map. */
static bool is_map(struct dn_graph *g, const char *name, const struct dn_node *n)
{
    if (n->is_vector)
        fail(g, name, "a map expected, a vector found");
    return g->rc == 0;
}

static bool is_of(struct dn_graph *g, const char *name, int value, enum dn_op op, const char *what)
{
    if (is_known(g, name, value) && node_at(g, value)->op != op)
        fail(g, name, "%s expected", what);
    return g->rc == 0;
}

/* A new node of the shape of `like` (NULL: a vector of one); NULL after an error. */
static struct dn_node *record(struct dn_graph *g, enum dn_op op, int like, int *value)
{
    *value = -1;
    if (g->rc || (op > DN_OP_LABEL && !is_known(g, "input", like)))
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
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == DN_OP_IMAGE)
            return fail(g, "image", "a network has one");
    struct dn_node *n = record(g, DN_OP_IMAGE, -1, &value);
    if (n) {
        n->domain = DN_PER_IMAGE;
        n->is_vector = false;
        n->h = h;
        n->w = w;
        n->c = c;
        if (!is_shape(g, "image", n))
            return -1;
    }
    return value;
}

int dn_graph_timestep(struct dn_graph *g, struct dn_time_input time)
{
    int value;
    struct dn_node *n = record(g, DN_OP_TIMESTEP, -1, &value);
    if (n) {
        if (time.timesteps < 1 || !(time.divisor > 0))
            return fail(g, "timestep", "a number of timesteps and a divisor above 0 expected");
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
        if (labels < 1)
            return fail(g, "label", "%d labels: 1 or more expected", labels);
        n->domain = DN_PER_LABEL;
        n->kernel = labels; /* the number of instances */
    }
    return value;
}

int dn_graph_embedding(struct dn_graph *g, const char *name, int label, int width)
{
    int value;
    if (!is_of(g, name, label, DN_OP_LABEL, "a label"))
        return -1;
    struct dn_node *n = record_weighted(g, DN_OP_EMBEDDING, name, label, &value);
    if (n) {
        n->c = width;
        if (!is_shape(g, name, n))
            return -1;
        n->weight = weight_2d(g, name, ".weight", node_at(g, label)->kernel, width);
    }
    return value;
}

int dn_graph_fourier(struct dn_graph *g, const char *name, int t, int c)
{
    int value;
    if (!is_of(g, name, t, DN_OP_TIMESTEP, "a timestep"))
        return -1;
    struct dn_node *n = record_weighted(g, DN_OP_FOURIER, name, t, &value);
    if (n) {
        n->c = c;
        if (!is_shape(g, name, n))
            return -1;
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
        int in_c = n->c;
        n->kernel = 1;
        n->stride = 1;
        n->c = out_c;
        if (!is_shape(g, name, n))
            return -1;
        n->weight = weight_2d(g, name, ".weight", out_c, in_c);
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
        if (!is_map(g, name, n))
            return -1;
        if ((k != 1 && k != 3) || stride < 1 || stride > 2)
            return fail(g, name, "no convolution of %d x %d with a stride of %d", k, k, stride);
        if (n->h % stride != 0 || n->w % stride != 0)
            return fail(g, name, "a stride of 2 needs even height and width");
        n->kernel = k;
        n->stride = stride;
        n->h /= stride;
        n->w /= stride;
        n->c = out_c;
        if (!is_shape(g, name, n))
            return -1;
        n->weight = weight(g, name, ".weight", shape, 4);
        n->bias = bias ? weight_1d(g, name, ".bias", out_c) : NULL;
    }
    return value;
}

int dn_graph_conv_transpose(struct dn_graph *g, const char *name, int x, int out_c)
{
    int value;
    struct dn_node *n = record_weighted(g, DN_OP_CONV_TRANSPOSE, name, x, &value);
    if (n) {
        const int64_t shape[] = {n->c, out_c, 3, 3};
        if (!is_map(g, name, n))
            return -1;
        n->h *= 2;
        n->w *= 2;
        n->c = out_c;
        if (!is_shape(g, name, n))
            return -1;
        n->weight = weight(g, name, ".weight", shape, 4);
    }
    return value;
}

int dn_graph_group_norm(struct dn_graph *g, const char *name, int x, int groups)
{
    int value;
    struct dn_node *n = record_weighted(g, DN_OP_GROUP_NORM, name, x, &value);
    if (n) {
        if (!is_map(g, name, n))
            return -1;
        if (groups < 1 || n->c % groups != 0)
            return fail(g, name, "%d groups do not divide %d channels", groups, n->c);
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
        if (!is_map(g, name, n))
            return -1;
        n->weight = weight_1d(g, name, ".weight", n->c);
        n->bias = weight_1d(g, name, ".bias", n->c);
    }
    return value;
}

static bool same_shape(const struct dn_node *x, const struct dn_node *y)
{
    return x->is_vector == y->is_vector && x->h == y->h && x->w == y->w && x->c == y->c;
}

int dn_graph_attention(struct dn_graph *g, int q, int k, int v, int heads)
{
    int value;
    char asked[96], other[96];
    if (!is_known(g, "attention", q) || !is_known(g, "attention", k) ||
        !is_known(g, "attention", v))
        return -1;
    struct dn_node *n = record(g, DN_OP_ATTENTION, q, &value);
    if (n) {
        const int all[] = {q, k, v};
        for (int i = 0; i < 3; i++)
            if (node_at(g, all[i])->is_vector || !same_shape(node_at(g, all[i]), node_at(g, q)))
                return fail(g, "attention", "maps of one shape expected: queries %s, %s %s",
                            describe(g, q, asked), i == 2 ? "values" : "keys",
                            describe(g, all[i == 2 ? 2 : 1], other));
        if (heads < 1 || n->c % heads != 0)
            return fail(g, describe(g, q, asked), "%d heads do not divide %d channels", heads,
                        n->c);
        n->in[1] = k;
        n->in[2] = v;
        n->heads = heads;
    }
    return value;
}

int dn_graph_add(struct dn_graph *g, int a, int b)
{
    int value;
    char left[96], right[96];
    if (!is_known(g, "add", a) || !is_known(g, "add", b))
        return -1;
    struct dn_node *n = record(g, DN_OP_ADD, a, &value);
    if (n) {
        const struct dn_node *x = node_at(g, a), *y = node_at(g, b);
        if (!same_shape(x, y) && !(!x->is_vector && y->is_vector && x->c == y->c))
            return fail(g, "add", "the shapes do not match: %s, %s", describe(g, a, left),
                        describe(g, b, right));
        if (n->domain != y->domain && n->domain != DN_PER_IMAGE)
            return fail(g, "add", "a timestep's vector and a label's have no common table: %s, %s",
                        describe(g, a, left), describe(g, b, right));
        n->in[1] = b;
    }
    return value;
}

int dn_graph_act(struct dn_graph *g, enum dn_act act, int x)
{
    int value;
    struct dn_node *n = record(g, DN_OP_ACT, x, &value);
    if (n && act != DN_ACT_RELU && act != DN_ACT_SILU)
        return fail(g, "activation", "ReLU or SiLU expected");
    if (n)
        n->act = act;
    return value;
}

int dn_graph_concat(struct dn_graph *g, int a, int b)
{
    int value;
    char left[96], right[96];
    if (!is_known(g, "concat", a) || !is_known(g, "concat", b))
        return -1;
    struct dn_node *n = record(g, DN_OP_CONCAT, a, &value);
    if (n) {
        const struct dn_node *x = node_at(g, a), *y = node_at(g, b);
        if (x->is_vector || y->is_vector || x->h != y->h || x->w != y->w)
            return fail(g, "concat", "maps of one size expected: %s, %s", describe(g, a, left),
                        describe(g, b, right));
        if (a == b)
            return fail(g, "concat", "%s with itself", describe(g, a, left));
        n->in[1] = b;
        n->c = x->c + y->c;
        if (!is_shape(g, describe(g, b, right), n))
            return -1;
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
    if (!is_known(g, name, value))
        return;
    free(g->nodes[value].name);
    g->nodes[value].name = copy_text(g, name);
}

void dn_graph_output(struct dn_graph *g, int value)
{
    char text[96];
    if (!is_known(g, "output", value))
        return;
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == DN_OP_IMAGE && same_shape(&g->nodes[i], node_at(g, value)) &&
            node_at(g, value)->domain == DN_PER_IMAGE)
            g->output = value;
    if (g->output != value)
        fail(g, "output", "%s has not the image's shape", describe(g, value, text));
}
