/*
 * The spatial-transformer UNet: residual blocks with Gaussian Fourier time features, one spatial
 * transformer at the lowest resolution that attends to the label, skips by concatenation. The same
 * network in PyTorch is tools/train/unet.py.
 *
 *     encoder.L    2 residual blocks (their output is the skip), then stride 2:  C_L,  H / 2^(L+1)
 *     mid_block    2 residual blocks, the transformer:                           C_last
 *     decoder.L    transposed convolution to twice the size, concat(skip, up), 2 residual blocks
 *     proj         group norm, SiLU, 3x3 convolution to the image
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/base/error.h"
#include "core/nets/nets.h"

enum { MAX_LEVELS = 6, NAME_BYTES = 160 };

struct net {
    struct dn_graph *g;
    int channels[MAX_LEVELS], levels;
    int context_dim, time_dim, heads, depth, groups;
    int time;    /* [time_dim] */
    int context; /* [context_dim], one token */
};

/* prefix + "." + suffix, in a buffer of the caller's. */
static const char *join(char name[NAME_BYTES], const char *prefix, const char *suffix)
{
    snprintf(name, NAME_BYTES, "%.100s.%.40s", prefix, suffix);
    return name;
}

/* [H,W,I] -> [H,W,O]: c = conv(x); c + SiLU(GroupNorm(c + time)). */
static int residual_block(struct net *n, const char *prefix, int x, int out_c)
{
    char s[NAME_BYTES];
    int c = dn_graph_conv(n->g, join(s, prefix, "conv"), x, out_c, 3, 1, true);
    int t = dn_graph_linear(n->g, join(s, prefix, "time_lin"), n->time, out_c, true);
    int y = dn_graph_add(n->g, c, t);
    y = dn_graph_group_norm(n->g, join(s, prefix, "norm"), y, n->groups);
    y = dn_graph_act(n->g, DN_ACT_SILU, y);
    y = dn_graph_add(n->g, c, y);
    dn_graph_name(n->g, y, prefix);
    return y;
}

/* Tokens [T,C] -> softmax(q k') v, no output projection. */
static int self_attention(struct net *n, const char *prefix, int x, int c)
{
    char s[NAME_BYTES];
    int q = dn_graph_linear(n->g, join(s, prefix, "q_proj"), x, c, false);
    int k = dn_graph_linear(n->g, join(s, prefix, "k_proj"), x, c, false);
    int v = dn_graph_linear(n->g, join(s, prefix, "v_proj"), x, c, false);
    return dn_graph_attention(n->g, q, k, v, n->heads);
}

/* The context is one token, so the softmax over it is 1 and every query gets that token's value:
 * a vector that depends on the label alone. Queries, keys and the norm before them cancel. */
static int cross_attention(struct net *n, const char *prefix, const char *norm, int c)
{
    char s[NAME_BYTES];
    dn_graph_require(n->g, join(s, norm, "weight"), c, 0);
    dn_graph_require(n->g, join(s, norm, "bias"), c, 0);
    dn_graph_require(n->g, join(s, prefix, "q_proj.weight"), c, c);
    dn_graph_require(n->g, join(s, prefix, "k_proj.weight"), c, n->context_dim);
    return dn_graph_linear(n->g, join(s, prefix, "v_proj"), n->context, c, false);
}

/* Tokens [T,C]: x += self_attn(LN(x)); x += cross_attn(LN(x), context); x += mlp(LN(x)). */
static int transformer_block(struct net *n, const char *prefix, int x, int c)
{
    char s[NAME_BYTES], norm[NAME_BYTES];
    int y = dn_graph_layer_norm(n->g, join(s, prefix, "norm1"), x);
    x = dn_graph_add(n->g, x, self_attention(n, join(s, prefix, "self_attn"), y, c));
    x = dn_graph_add(
        n->g, x, cross_attention(n, join(s, prefix, "cross_attn"), join(norm, prefix, "norm2"), c));
    y = dn_graph_layer_norm(n->g, join(s, prefix, "norm3"), x);
    y = dn_graph_linear(n->g, join(s, prefix, "mlp.0"), y, c, true);
    y = dn_graph_act(n->g, DN_ACT_RELU, y);
    y = dn_graph_linear(n->g, join(s, prefix, "mlp.2"), y, c, true);
    x = dn_graph_add(n->g, x, y);
    dn_graph_name(n->g, x, prefix);
    return x;
}

/* [H,W,C] = tokens [H*W,C] -> blocks -> x + 1x1 convolution. */
static int spatial_transformer(struct net *n, const char *prefix, int x, int c)
{
    char s[NAME_BYTES];
    int tokens = x;
    for (int i = 0; i < n->depth; i++) {
        snprintf(s, sizeof s, "%.100s.blocks.%d", prefix, i);
        tokens = transformer_block(n, s, tokens, c);
    }
    x = dn_graph_add(n->g, x,
                     dn_graph_conv(n->g, join(s, prefix, "proj_out"), tokens, c, 1, 1, true));
    dn_graph_name(n->g, x, prefix);
    return x;
}

static int unet(struct net *n, int x, int image_channels)
{
    int skips[MAX_LEVELS], bottom = n->levels - 1;
    char s[NAME_BYTES];

    for (int l = 0; l < bottom; l++) {
        for (int i = 0; i < 2; i++) {
            snprintf(s, sizeof s, "encoder.%d.res_blocks.%d", l, i);
            x = residual_block(n, s, x, n->channels[l]);
        }
        skips[l] = x;
        snprintf(s, sizeof s, "encoder.%d.downsampling", l);
        x = dn_graph_conv(n->g, s, x, n->channels[l], 3, 2, false);
        dn_graph_name(n->g, x, s);
    }
    x = residual_block(n, "mid_block.res1", x, n->channels[bottom]);
    x = residual_block(n, "mid_block.res2", x, n->channels[bottom]);
    x = spatial_transformer(n, "mid_block.st", x, n->channels[bottom]);
    for (int l = bottom - 1, j = 0; l >= 0; l--, j++) {
        snprintf(s, sizeof s, "decoder.%d.upsampling", j);
        x = dn_graph_conv_transpose(n->g, s, x, n->channels[l]);
        dn_graph_name(n->g, x, s);
        x = dn_graph_concat(n->g, skips[l], x);
        for (int i = 0; i < 2; i++) {
            snprintf(s, sizeof s, "decoder.%d.res_blocks.%d", j, i);
            x = residual_block(n, s, x, n->channels[l]);
        }
    }
    x = dn_graph_group_norm(n->g, "proj.0", x, n->groups);
    x = dn_graph_act(n->g, DN_ACT_SILU, x);
    x = dn_graph_conv(n->g, "proj.2", x, image_channels, 3, 1, true);
    dn_graph_name(n->g, x, "proj");
    return x;
}

static int record(struct dn_graph *g, struct dn_config *config, struct dn_error *err)
{
    struct net n = {.g = g};
    char embedding[DN_NAME_BYTES];
    int rc;

    if ((rc = dn_arch_ints(config, "channels", 1, DN_MAX_CHANNELS / 2, n.channels, MAX_LEVELS,
                           &n.levels, err)) ||
        (rc = dn_arch_int(config, "context_dim", 1, 4096, &n.context_dim, err)) ||
        (rc = dn_arch_int(config, "time_dim", 2, 4096, &n.time_dim, err)) ||
        (rc = dn_arch_int(config, "heads", 1, 64, &n.heads, err)) ||
        (rc = dn_arch_int(config, "depth", 1, 16, &n.depth, err)) ||
        (rc = dn_arch_int(config, "groups", 1, DN_MAX_CHANNELS, &n.groups, err)) ||
        (rc = dn_arch_string(config, "time_embedding", embedding, err)) ||
        (rc = dn_arch_check_all_read(config, err)))
        return rc;
    if (n.levels < 2)
        return dn_fail(err, DN_EFORMAT,
                       "config: architecture.channels: two levels or more expected");
    if (strcmp(embedding, "gaussian_fourier") != 0)
        return dn_fail(err, DN_EFORMAT,
                       "config: architecture.time_embedding: gaussian_fourier expected");
    if (!config->null_label)
        return dn_fail(err, DN_EFORMAT, "config: null_label: true expected by unet_st");

    int t = dn_graph_timestep(g, (struct dn_time_input){.timesteps = config->timesteps,
                                                        .divisor = config->time_divisor,
                                                        .offset = config->time_offset});
    int label = dn_graph_label(g, config->n_classes + 1);
    n.time = dn_graph_fourier(g, "time_embed", t, n.time_dim);
    n.time = dn_graph_linear(g, "time_embed.proj", n.time, n.time_dim, true);
    n.context = dn_graph_embedding(g, "context_embed", label, n.context_dim);
    int x = dn_graph_image(g, config->height, config->width, config->channels);
    dn_graph_output(g, unet(&n, x, config->channels));
    return dn_graph_error(g);
}

const struct dn_net dn_net_unet_st = {.type = "unet_st", .record = record};
