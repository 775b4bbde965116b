/*
 * A network as a graph of operations, recorded once.
 *
 * A network file calls the recording functions below in the order of its forward pass. Each returns
 * a value: an image map [H,W,C] (tokens are the same map, T = H W), or a vector [C]. A value's
 * domain says what it depends on. One that depends on nothing but the timestep, or nothing but the
 * label, has finitely many instances: dn_plan_new() computes them all once and leaves a table (see
 * plan.h).
 *
 * Errors are sticky: after the first one every function returns -1 and does nothing, so that a
 * network file reads like the paper's module; dn_graph_error() tells at the end.
 *
 * A graph is made, recorded and turned into a plan by one thread. It borrows the weights.
 */
#ifndef CORE_GRAPH_GRAPH_H
#define CORE_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/denoise.h"
#include "core/kernels/kernels.h"

/* What a value depends on. */
enum dn_domain { DN_PER_TIMESTEP, DN_PER_LABEL, DN_PER_IMAGE };

/* Where weights come from: the tensor of that name and shape, or NULL with err filled. */
struct dn_weight_source {
    const float *(*get)(void *context, const char *name, const int64_t *shape, int rank,
                        struct dn_error *err);
    void *context;
};

/* The row's number t for the network: (k + offset) / divisor at timestep k. */
struct dn_time_input {
    int timesteps;
    double divisor, offset;
};

struct dn_graph;

int dn_graph_new(struct dn_graph **out, const struct dn_weight_source *weights,
                 struct dn_error *err);
void dn_graph_free(struct dn_graph *g); /* NULL allowed */
/* 0, or the code of the first error, whose text is in the err of dn_graph_new(). */
int dn_graph_error(const struct dn_graph *g);

/* ---- inputs */
int dn_graph_image(struct dn_graph *g, int h, int w, int c);          /* x_t [H,W,C] */
int dn_graph_timestep(struct dn_graph *g, struct dn_time_input time); /* t [1] */
int dn_graph_label(struct dn_graph *g, int labels);                   /* label [1], 0..labels-1 */

/* ---- operations; `name` is the prefix of the weights' names in the model file */

/* name.weight [labels,E] -> [E]. */
int dn_graph_embedding(struct dn_graph *g, const char *name, int label, int width);
/* name.W [C/2] -> concat(sin(2 pi t W), cos(2 pi t W)) [C]. */
int dn_graph_fourier(struct dn_graph *g, const char *name, int t, int c);
/* name.weight [O,I], name.bias [O] -> x W' + b, of a vector or of each pixel. */
int dn_graph_linear(struct dn_graph *g, const char *name, int x, int out_c, bool bias);
/* name.weight [O,I,K,K], name.bias [O]; K = 1 or 3; zero padding K / 2; stride 1 or 2. */
int dn_graph_conv(struct dn_graph *g, const char *name, int x, int out_c, int k, int stride,
                  bool bias);
/* name.weight [I,O,3,3]; stride 2, padding 1, output padding 1: [H,W,I] -> [2H,2W,O]. */
int dn_graph_conv_transpose(struct dn_graph *g, const char *name, int x, int out_c);
int dn_graph_group_norm(struct dn_graph *g, const char *name, int x, int groups);
int dn_graph_layer_norm(struct dn_graph *g, const char *name, int x);
/* softmax(q k' / sqrt(C / heads)) v by head over the T = H W pixels. */
int dn_graph_attention(struct dn_graph *g, int q, int k, int v, int heads);
/* b may be a vector [C]: it is added to every pixel. */
int dn_graph_add(struct dn_graph *g, int a, int b);
int dn_graph_act(struct dn_graph *g, enum dn_act act, int x);
int dn_graph_concat(struct dn_graph *g, int a, int b);
/* A weight that the file must have although it cannot influence the result. */
void dn_graph_require(struct dn_graph *g, const char *name, int64_t rows, int64_t columns);

/* Give a value a name, for tests and for messages. Such a value is never fused away. */
void dn_graph_name(struct dn_graph *g, int value, const char *name);
void dn_graph_output(struct dn_graph *g, int value);

#endif
