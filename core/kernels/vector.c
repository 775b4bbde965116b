/*
 * The kernels for vector units: one source, compiled once for each instruction set (see the
 * Makefile).
 *
 * The convolution is direct: no im2col. A tile of P pixels x V registers of output channels stays
 * in registers while all taps and input channels go by; each input value is broadcast, each weight
 * register is loaded once a tile. Elementwise code is plain loops over channels that the compiler
 * vectorises. Sums are taken in the order of reference.c, so the results have the same bits.
 */
#include "core/kernels/kernels.h"

#include <math.h>
#include <string.h>

#include "core/base/exact_math.h"
#include "core/kernels/simd.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

static float *pixel(const struct dn_map *map, int y, int x)
{
    return map->data + (ptrdiff_t)y * map->pitch + (ptrdiff_t)x * map->ld;
}

/* act(r[0..n)) + residual + channel -> out, for n channels of one pixel. r and out may be the same.
 */
static inline void finish(const struct dn_epilogue *e, const float *r, float *out, int y, int x,
                          int first, int n)
{
    if (e->act == DN_ACT_RELU)
        for (int c = 0; c < n; c++)
            out[c] = r[c] > 0.0f ? r[c] : 0.0f;
    else if (e->act == DN_ACT_SILU)
        for (int c = 0; c < n; c++)
            out[c] = dn_siluf(r[c]);
    else if (out != r)
        memcpy(out, r, (size_t)n * sizeof *out);
    if (e->residual) {
        const float *residual = pixel(e->residual, y, x) + first;
        for (int c = 0; c < n; c++)
            out[c] = out[c] + residual[c];
    }
    if (e->channel)
        for (int c = 0; c < n; c++)
            out[c] = out[c] + e->channel[first + c];
}

static void group_norm(const struct dn_group_norm *norm, const struct dn_map *in, const float *pre,
                       const struct dn_map *out, const struct dn_epilogue *epilogue)
{
    int width = in->c / norm->groups;
    float n = (float)(in->h * in->w * width);
    int c_all = in->c;
    float sum[DN_MAX_CHANNELS], row[DN_MAX_CHANNELS], bias[DN_MAX_CHANNELS];
    float mean[DN_MAX_CHANNELS], scale[DN_MAX_CHANNELS];

    for (int c = 0; c < c_all; c++) {
        bias[c] = pre ? pre[c] : 0.0f;
        sum[c] = 0.0f;
    }
    for (int y = 0; y < in->h; y++) {
        for (int c = 0; c < c_all; c++)
            row[c] = 0.0f;
        for (int x = 0; x < in->w; x++) {
            const float *restrict p = pixel(in, y, x);
            for (int c = 0; c < c_all; c++)
                row[c] = row[c] + (p[c] + bias[c]);
        }
        for (int c = 0; c < c_all; c++)
            sum[c] = sum[c] + row[c];
    }
    for (int g = 0; g < norm->groups; g++) {
        float total = 0.0f;
        for (int c = g * width; c < (g + 1) * width; c++)
            total = total + sum[c];
        for (int c = g * width; c < (g + 1) * width; c++) {
            mean[c] = total / n;
            sum[c] = 0.0f;
        }
    }
    for (int y = 0; y < in->h; y++) {
        for (int c = 0; c < c_all; c++)
            row[c] = 0.0f;
        for (int x = 0; x < in->w; x++) {
            const float *restrict p = pixel(in, y, x);
            for (int c = 0; c < c_all; c++) {
                float d = (p[c] + bias[c]) - mean[c];
                row[c] = row[c] + d * d;
            }
        }
        for (int c = 0; c < c_all; c++)
            sum[c] = sum[c] + row[c];
    }
    for (int g = 0; g < norm->groups; g++) {
        float total = 0.0f;
        for (int c = g * width; c < (g + 1) * width; c++)
            total = total + sum[c];
        float rstd = 1.0f / sqrtf(total / n + norm->eps);
        for (int c = g * width; c < (g + 1) * width; c++)
            scale[c] = rstd * norm->weight[c];
    }
    for (int y = 0; y < in->h; y++) {
        for (int x = 0; x < in->w; x++) {
            const float *restrict p = pixel(in, y, x);
            for (int c = 0; c < c_all; c++)
                row[c] = ((p[c] + bias[c]) - mean[c]) * scale[c] + norm->bias[c];
            finish(epilogue, row, pixel(out, y, x), y, x, 0, c_all);
        }
    }
}

static inline float add_lanes(float lane[DN_LANES])
{
    for (int half = DN_LANES / 2; half >= 1; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] = lane[i] + lane[i + half];
    return lane[0];
}

static void layer_norm(const struct dn_layer_norm *norm, const struct dn_map *in,
                       const struct dn_map *out)
{
    int whole = in->c / DN_LANES * DN_LANES;
    for (int y = 0; y < in->h; y++) {
        for (int x = 0; x < in->w; x++) {
            const float *restrict p = pixel(in, y, x);
            float *restrict r = pixel(out, y, x);
            float sum[DN_LANES] = {0}, square[DN_LANES] = {0};
            for (int c = 0; c < whole; c += DN_LANES)
                for (int l = 0; l < DN_LANES; l++)
                    sum[l] = sum[l] + p[c + l];
            for (int l = 0; l < in->c - whole; l++)
                sum[l] = sum[l] + p[whole + l];
            float mean = add_lanes(sum) / (float)in->c;
            for (int c = 0; c < whole; c += DN_LANES)
                for (int l = 0; l < DN_LANES; l++)
                    square[l] = square[l] + (p[c + l] - mean) * (p[c + l] - mean);
            for (int l = 0; l < in->c - whole; l++)
                square[l] = square[l] + (p[whole + l] - mean) * (p[whole + l] - mean);
            float rstd = 1.0f / sqrtf(add_lanes(square) / (float)in->c + norm->eps);
            for (int c = 0; c < in->c; c++)
                r[c] = (p[c] - mean) * rstd * norm->weight[c] + norm->bias[c];
        }
    }
}

static int round_up(int n, int to)
{
    return (n + to - 1) / to * to;
}

/* One head's keys, transposed, and values, both padded to whole lanes, then one row of scores. */
static size_t attention_scratch(int tokens, int channels, int heads)
{
    return (size_t)round_up(tokens, DN_LANES) * (size_t)(2 * (channels / heads) + 1);
}

/* Turn scores [padded] of `tokens` keys into softmax numerators, 0 beyond; returns 1 / their sum.
 */
static inline float softmax(float *restrict score, int tokens, int padded, float scale)
{
    float top[DN_LANES], sum[DN_LANES] = {0};
    for (int j = 0; j < tokens; j++)
        score[j] = score[j] * scale;
    for (int j = tokens; j < padded; j++)
        score[j] = -INFINITY;
    for (int l = 0; l < DN_LANES; l++)
        top[l] = score[l];
    for (int j = DN_LANES; j < padded; j += DN_LANES)
        for (int l = 0; l < DN_LANES; l++)
            top[l] = score[j + l] > top[l] ? score[j + l] : top[l];
    for (int half = DN_LANES / 2; half >= 1; half /= 2)
        for (int l = 0; l < half; l++)
            top[l] = top[l + half] > top[l] ? top[l + half] : top[l];
    for (int j = 0; j < padded; j += DN_LANES)
        for (int l = 0; l < DN_LANES; l++) {
            score[j + l] = dn_expf(score[j + l] - top[0]);
            sum[l] = sum[l] + score[j + l];
        }
    return 1.0f / add_lanes(sum);
}

static void attention(int heads, const struct dn_map *q, const struct dn_map *k,
                      const struct dn_map *v, const struct dn_map *out,
                      const struct dn_epilogue *epilogue, float *scratch)
{
    int d = q->c / heads, padded = round_up(q->h * q->w, DN_LANES);
    float scale = 1.0f / sqrtf((float)d);
    float *restrict keys = scratch;                             /* [D][padded] */
    float *restrict values = keys + (size_t)d * (size_t)padded; /* [padded][D] */
    float *restrict score = values + (size_t)d * (size_t)padded;

    memset(keys, 0, (size_t)d * (size_t)padded * sizeof *keys);
    for (int head = 0; head < heads; head++) {
        int tokens = 0;
        for (int y = 0; y < k->h; y++) {
            for (int x = 0; x < k->w; x++, tokens++) {
                const float *key = pixel(k, y, x) + head * d, *value = pixel(v, y, x) + head * d;
                for (int e = 0; e < d; e++) {
                    keys[e * padded + tokens] = key[e];
                    values[tokens * d + e] = value[e];
                }
            }
        }
        for (int y = 0; y < q->h; y++) {
            for (int x = 0; x < q->w; x++) {
                const float *query = pixel(q, y, x) + head * d;
                for (int j = 0; j < padded; j += DN_LANES) {
                    float dot[DN_LANES] = {0};
                    for (int e = 0; e < d; e++)
                        for (int l = 0; l < DN_LANES; l++)
                            dot[l] = dot[l] + query[e] * keys[e * padded + j + l];
                    memcpy(score + j, dot, sizeof dot);
                }
                float inverse = softmax(score, tokens, padded, scale);
                /* A lane a channel: sixteen sums stay in registers over the tokens. */
                for (int e = 0; e < d; e += DN_LANES) {
                    int n = d - e < DN_LANES ? d - e : DN_LANES;
                    float sum[DN_LANES] = {0};
                    if (n == DN_LANES) {
                        for (int j = 0; j < tokens; j++)
                            for (int l = 0; l < DN_LANES; l++)
                                sum[l] = sum[l] + score[j] * values[j * d + e + l];
                    } else {
                        for (int j = 0; j < tokens; j++)
                            for (int l = 0; l < n; l++)
                                sum[l] = sum[l] + score[j] * values[j * d + e + l];
                    }
                    for (int l = 0; l < n; l++)
                        sum[l] = sum[l] * inverse;
                    finish(epilogue, sum, pixel(out, y, x) + head * d + e, y, x, head * d + e, n);
                }
            }
        }
    }
}

static void pointwise(const struct dn_map *in, const struct dn_map *out,
                      const struct dn_epilogue *epilogue)
{
    for (int y = 0; y < out->h; y++)
        for (int x = 0; x < out->w; x++)
            finish(epilogue, pixel(in, y, x), pixel(out, y, x), y, x, 0, out->c);
}

#if defined(CORE_KERNELS_SIMD_NATIVE)

/* ---- direct convolution ---------------------------------------------------------------------- */

enum {
    V = 2,                              /* registers of output channels a tile */
    P_MAX = V_REGISTERS == 32 ? 14 : 6, /* pixels a tile: P V sums + V weights + 1 input */
    BLOCK = V * V_LANES,
};

/* Weights in blocks of V registers of output channels: [O / BLOCK][taps][I][BLOCK], 0 beyond O. */
static size_t conv_packed(int taps, int in_c, int out_c)
{
    return (size_t)round_up(out_c, BLOCK) * (size_t)(taps * in_c);
}

static void conv_pack(float *packed, const float *weights, int taps, int in_c, int out_c)
{
    for (int first = 0; first < out_c; first += BLOCK)
        for (int k = 0; k < taps * in_c; k++)
            for (int o = first; o < first + BLOCK; o++)
                *packed++ = o < out_c ? weights[k * out_c + o] : 0.0f;
}

static size_t conv_scratch(const struct dn_conv *conv, int h, int w)
{
    (void)conv, (void)h, (void)w;
    return 0;
}

/* One tile: `pixels` (a constant after inlining) neighbours in a row x `regs` registers of output
 * channels. The sums of pixel p go to sums + p * sums_ld. */
static inline __attribute__((always_inline)) void
conv_tile(int pixels, int regs, const struct dn_conv *cv, const float *in, int in_ld, int in_pitch,
          const float *weights, const float *bias, float *sums, int sums_ld)
{
    vfloat sum[P_MAX][V];
    int step = cv->stride * in_ld;

#pragma GCC unroll 16
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 4
        for (int v = 0; v < regs; v++)
            sum[p][v] = v_load(bias + v * V_LANES);

    for (int n = 0; n < cv->n_taps; n++) {
        const float *input = in + (ptrdiff_t)cv->dy[n] * in_pitch + (ptrdiff_t)cv->dx[n] * in_ld;
        for (int i = 0; i < cv->in_c; i++, weights += BLOCK) {
            vfloat w[V];
#pragma GCC unroll 4
            for (int v = 0; v < regs; v++)
                w[v] = v_load(weights + v * V_LANES);
#pragma GCC unroll 16
            for (int p = 0; p < pixels; p++) {
                vfloat x = v_set(input[p * step + i]);
#pragma GCC unroll 4
                for (int v = 0; v < regs; v++)
                    sum[p][v] = v_fma(x, w[v], sum[p][v]);
            }
        }
    }
#pragma GCC unroll 16
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 4
        for (int v = 0; v < regs; v++)
            v_store(sums + p * sums_ld + v * V_LANES, sum[p][v]);
}

/* The same with the number of pixels known only at run time. */
static void conv_tile_of(int pixels, int regs, const struct dn_conv *cv, const float *in, int in_ld,
                         int in_pitch, const float *weights, const float *bias, float *sums,
                         int sums_ld)
{
#define CASE(P)                                                                                    \
    case P:                                                                                        \
        if (regs == V)                                                                             \
            conv_tile(P, V, cv, in, in_ld, in_pitch, weights, bias, sums, sums_ld);                \
        else                                                                                       \
            conv_tile(P, 1, cv, in, in_ld, in_pitch, weights, bias, sums, sums_ld);                \
        break;
    /* clang-format off */
    switch (pixels) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if defined(__AVX512F__)
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#endif
    }
    /* clang-format on */
#undef CASE
}

static void conv(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                 const struct dn_epilogue *epilogue, float *scratch)
{
    (void)scratch;
    _Alignas(64) float sums[P_MAX * BLOCK], bias[BLOCK];
    int tiles = (out->w + P_MAX - 1) / P_MAX;

    for (int first = 0; first < cv->out_c; first += BLOCK) {
        const float *weights = cv->weights + (size_t)first * (size_t)(cv->n_taps * cv->in_c);
        int n = cv->out_c - first < BLOCK ? cv->out_c - first : BLOCK;
        int regs = (n + V_LANES - 1) / V_LANES;
        for (int o = 0; o < BLOCK; o++)
            bias[o] = cv->bias && o < n ? cv->bias[first + o] : 0.0f;
        /* Whole registers with nothing to follow go straight to their place. */
        bool plain = n == regs * V_LANES && epilogue->act == DN_ACT_NONE && !epilogue->residual &&
                     !epilogue->channel;
        for (int y = 0; y < out->h; y++) {
            int x = 0;
            for (int t = tiles; t > 0; t--) {
                int pixels = (out->w - x + t - 1) / t; /* tiles of equal size, as near as may be */
                float *to = pixel(out, y, x) + first;
                conv_tile_of(pixels, regs, cv, pixel(in, y * cv->stride, x * cv->stride), in->ld,
                             in->pitch, weights, bias, plain ? to : sums,
                             plain ? out->ld : regs * V_LANES);
                for (int p = 0; p < pixels && !plain; p++)
                    finish(epilogue, sums + p * regs * V_LANES, to + p * out->ld, y, x + p, first,
                           n);
                x += pixels;
            }
        }
    }
}

const struct dn_kernels PASTE(dn_kernels_, VECTOR_ISA) = {
    .isa = V_REGISTERS == 32 ? DN_ISA_AVX512 : DN_ISA_AVX2,
    .conv_packed = conv_packed,
    .conv_pack = conv_pack,
    .conv_scratch = conv_scratch,
    .conv = conv,
    .group_norm = group_norm,
    .layer_norm = layer_norm,
    .attention_scratch = attention_scratch,
    .attention = attention,
    .pointwise = pointwise,
};

#endif

const struct dn_kernels PASTE(dn_kernels_openblas_, VECTOR_ISA) = {
    .isa = DN_ISA_OPENBLAS,
    .conv_packed = dn_openblas_conv_packed,
    .conv_pack = dn_openblas_conv_pack,
    .conv_scratch = dn_openblas_conv_scratch,
    .conv = dn_openblas_conv,
    .group_norm = group_norm,
    .layer_norm = layer_norm,
    .attention_scratch = attention_scratch,
    .attention = attention,
    .pointwise = pointwise,
};
