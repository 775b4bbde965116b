/*
 * The kernels in plain C: what every other table must reproduce, and the code to read first. The
 * convolutions are in reference_conv.c.
 *
 * fmaf() rounds once on any processor (in hardware or in libm), so the sums below have one result.
 */
#include "core/kernels/reference.h"

#include <math.h>

/* Sum of (in - middle)^power over one channel: row by row, then over the rows. */
static float channel_sum(const struct dn_map *in, int c, float middle, int power)
{
    float sum = 0.0f;
    for (int y = 0; y < in->h; y++) {
        float row = 0.0f;
        for (int x = 0; x < in->w; x++) {
            float v = dn_load(dn_pixel(in, y, x), in->type, c);
            float d = v - middle;
            row = row + (power == 2 ? d * d : v);
        }
        sum = sum + row;
    }
    return sum;
}

/* in + pre is normalised; pre is constant over a channel, so in's distance from (mean - pre) will
 * do.
 */
static void group_norm(const struct dn_group_norm *norm, const struct dn_map *in, const float *pre,
                       const struct dn_map *out, const struct dn_epilogue *epilogue)
{
    int width = in->c / norm->groups;
    float pixels = (float)(in->h * in->w), n = (float)(in->h * in->w * width);
    for (int g = 0; g < norm->groups; g++) {
        float sum = 0.0f, square = 0.0f;
        for (int c = g * width; c < (g + 1) * width; c++)
            sum = sum + (channel_sum(in, c, 0.0f, 1) + pixels * (pre ? pre[c] : 0.0f));
        for (int c = g * width; c < (g + 1) * width; c++)
            square = square + channel_sum(in, c, sum / n - (pre ? pre[c] : 0.0f), 2);
        float rstd = 1.0f / sqrtf(square / n + norm->eps);
        for (int c = g * width; c < (g + 1) * width; c++) {
            float scale = rstd * norm->weight[c];
            float shift = norm->bias[c] - (sum / n - (pre ? pre[c] : 0.0f)) * scale;
            for (int y = 0; y < in->h; y++)
                for (int x = 0; x < in->w; x++)
                    finish(epilogue, dn_load(dn_pixel(in, y, x), in->type, c) * scale + shift, out,
                           y, x, c);
        }
    }
}

static void layer_norm(const struct dn_layer_norm *norm, const struct dn_map *in,
                       const struct dn_map *out)
{
    for (int y = 0; y < in->h; y++) {
        for (int x = 0; x < in->w; x++) {
            const void *p = dn_pixel(in, y, x);
            float sum[DN_LANES] = {0}, square[DN_LANES] = {0};
            for (int c = 0; c < in->c; c++)
                sum[c % DN_LANES] = sum[c % DN_LANES] + dn_load(p, in->type, c);
            float mean = add_lanes(sum) / (float)in->c;
            for (int c = 0; c < in->c; c++) {
                float d = dn_load(p, in->type, c) - mean;
                square[c % DN_LANES] = square[c % DN_LANES] + d * d;
            }
            float rstd = 1.0f / sqrtf(add_lanes(square) / (float)in->c + norm->eps);
            for (int c = 0; c < in->c; c++)
                dn_store(dn_pixel(out, y, x), out->type, c,
                         (dn_load(p, in->type, c) - mean) * rstd * norm->weight[c] + norm->bias[c]);
        }
    }
}

static size_t attention_scratch(int tokens, int channels, int heads)
{
    (void)channels, (void)heads;
    return (size_t)tokens;
}

/* Sums are chains of fused multiply-adds, over channels and over tokens. */
static void attention(int heads, const struct dn_map *q, const struct dn_map *k,
                      const struct dn_map *v, const struct dn_map *out,
                      const struct dn_epilogue *epilogue, float *scratch)
{
    int tokens = q->h * q->w, w = q->w, d = q->c / heads;
    float scale = 1.0f / sqrtf((float)d);
    for (int head = 0; head < heads; head++) {
        for (int i = 0; i < tokens; i++) {
            const float *query = pixel(q, i / w, i % w) + head * d;
            float top = -INFINITY, sum = 0.0f;
            for (int j = 0; j < tokens; j++) {
                const float *key = pixel(k, j / w, j % w) + head * d;
                scratch[j] = 0.0f;
                for (int e = 0; e < d; e++)
                    scratch[j] = fmaf(key[e], query[e] * scale, scratch[j]);
                top = scratch[j] > top ? scratch[j] : top;
            }
            for (int j = 0; j < tokens; j++) {
                scratch[j] = dn_expf(scratch[j] - top);
                sum = sum + scratch[j];
            }
            for (int e = 0; e < d; e++) {
                float r = 0.0f;
                for (int j = 0; j < tokens; j++)
                    r = fmaf(pixel(v, j / w, j % w)[head * d + e], scratch[j], r);
                finish(epilogue, r * (1.0f / sum), out, i / w, i % w, head * d + e);
            }
        }
    }
}

static void pointwise(const struct dn_map *in, const struct dn_map *out,
                      const struct dn_epilogue *epilogue)
{
    for (int y = 0; y < out->h; y++)
        for (int x = 0; x < out->w; x++)
            for (int c = 0; c < out->c; c++)
                finish(epilogue, dn_load(dn_pixel(in, y, x), in->type, c), out, y, x, c);
}

const struct dn_kernels dn_kernels_reference = {
    .isa = DN_ISA_SCALAR,
    .precision = DN_PRECISION_FP32,
    .domain = "fp32-native-2",
    .conv_packed = dn_reference_conv_packed,
    .conv_pack = dn_reference_conv_pack,
    .conv_scratch = dn_reference_conv_scratch,
    .conv = dn_reference_conv,
    .group_norm = group_norm,
    .layer_norm = layer_norm,
    .attention_scratch = attention_scratch,
    .attention = attention,
    .pointwise = pointwise,
};

const struct dn_kernels dn_kernels_reference_bf16 = {
    .isa = DN_ISA_SCALAR,
    .precision = DN_PRECISION_BF16,
    .domain = "bf16-amx-1",
    .conv_packed = dn_reference_bf16_conv_packed,
    .conv_pack = dn_reference_bf16_conv_pack,
    .conv_scratch = dn_reference_bf16_conv_scratch,
    .conv = dn_reference_bf16_conv,
    .group_norm = group_norm,
    .layer_norm = layer_norm,
    .attention_in_bf16 = true,
    .attention_scratch = dn_reference_bf16_attention_scratch,
    .attention = dn_reference_bf16_attention,
    .pointwise = pointwise,
};
