/* Convolutions: packing for all forms of conv_form.h, and the direct and the lanes form. */
#include "core/kernels/vector/conv.h"

#if defined(CORE_KERNELS_SIMD_NATIVE)

/* Number of [I][O] matrices of weights. */
static int matrices(const struct dn_conv *cv, int m)
{
    return m ? (m + 2) * (m + 2) : cv->n_taps;
}

/* Weights in blocks of V registers of output channels, [O / BLOCK][matrices][I][BLOCK], 0 beyond O;
 * of the lanes form [O][taps][I]. */
size_t ISA(dn_conv_packed)(const struct dn_conv *cv)
{
    enum dn_conv_form form = dn_conv_form(cv);
    int out_c = form == DN_CONV_LANES ? cv->out_c : round_up(cv->out_c, BLOCK);
    return sizeof(float) * (size_t)(matrices(cv, dn_winograd_tile(form)) * cv->in_c) *
           (size_t)out_c;
}

void ISA(dn_conv_pack)(void *packed, const struct dn_conv *cv, const float *weights)
{
    enum dn_conv_form form = dn_conv_form(cv);
    int m = dn_winograd_tile(form), n = matrices(cv, m), in_c = cv->in_c, out_c = cv->out_c;
    size_t all = (size_t)(in_c * out_c), block = (size_t)(n * in_c * BLOCK);
    float *to = packed, transformed[DN_WINOGRAD_MAX * DN_WINOGRAD_MAX];

    memset(packed, 0, ISA(dn_conv_packed)(cv));
    for (int i = 0; i < in_c; i++) {
        for (int o = 0; o < out_c; o++) {
            const float *w = weights + i * out_c + o;
            if (m)
                dn_winograd_weight(transformed, m, w, all);
            for (int f = 0; f < n; f++) {
                float value = m ? transformed[f] : w[(size_t)f * all];
                if (form == DN_CONV_LANES)
                    to[(o * n + f) * in_c + i] = value;
                else
                    to[(size_t)(o / BLOCK) * block + (size_t)((f * in_c + i) * BLOCK + o % BLOCK)] =
                        value;
            }
        }
    }
}

size_t ISA(dn_conv_scratch)(const struct dn_conv *cv)
{
    return dn_winograd_tile(dn_conv_form(cv)) ? ISA(dn_winograd_scratch)(cv) : 0;
}

/* `pixels` and `regs` are constants after inlining. */
static inline __attribute__((always_inline)) void
tile(int pixels, int regs, const struct dn_conv *cv, const float *in, int in_ld, int in_pitch,
     const float *weights, const float *start, float *sums, int sums_ld)
{
    vfloat sum[P_MAX][V];
    int step = cv->stride * in_ld;

#pragma GCC unroll 16
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 4
        for (int v = 0; v < regs; v++)
            sum[p][v] = start ? v_load(start + v * V_LANES) : v_set(0.0f);

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

void ISA(dn_conv_tile)(int pixels, int regs, const struct dn_conv *cv, const float *in, int in_ld,
                       int in_pitch, const float *weights, const float *start, float *sums,
                       int sums_ld)
{
#define CASE(P)                                                                                    \
    case P:                                                                                        \
        if (P > P_MAX)                                                                             \
            break;                                                                                 \
        if (regs == V)                                                                             \
            tile(P > P_MAX ? 1 : P, V, cv, in, in_ld, in_pitch, weights, start, sums, sums_ld);    \
        else                                                                                       \
            tile(P > P_MAX ? 1 : P, 1, cv, in, in_ld, in_pitch, weights, start, sums, sums_ld);    \
        break;
    /* clang-format off */
    switch (pixels) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
        CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
    }
    /* clang-format on */
#undef CASE
}

static void direct(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                   const struct dn_epilogue *epilogue)
{
    _Alignas(64) float sums[P_MAX * BLOCK], bias[BLOCK];
    int tiles = (out->w + P_MAX - 1) / P_MAX;

    for (int first = 0; first < cv->out_c; first += BLOCK) {
        const float *weights =
            (const float *)cv->weights + (size_t)first * (size_t)(cv->n_taps * cv->in_c);
        int n = cv->out_c - first < BLOCK ? cv->out_c - first : BLOCK;
        int regs = n <= V_LANES ? 1 : V;
        for (int o = 0; o < BLOCK; o++)
            bias[o] = cv->bias && o < n ? cv->bias[first + o] : 0.0f;
        bool plain = n == regs * V_LANES && is_plain(out, epilogue);
        for (int y = 0; y < out->h; y++) {
            int x = 0;
            for (int t = tiles; t > 0; t--) {
                int pixels = (out->w - x + t - 1) / t; /* tiles of equal size, as near as may be */
                float *to = plain ? pixel(out, y, x) + first : sums;
                conv_tile(pixels, regs, cv, pixel(in, y * cv->stride, x * cv->stride), in->ld,
                          in->pitch, weights, bias, to, plain ? out->ld : regs * V_LANES);
                for (int p = 0; p < pixels && !plain; p++)
                    finish(epilogue, sums + p * regs * V_LANES, out, y, x + p, first, n);
                x += pixels;
            }
        }
    }
}

/* DN_LANES sums each of a few neighbours in a row, so that a weight is loaded once for all. */
enum { PARTS = DN_LANES / V_LANES, NEIGHBOURS = PARTS == 1 ? 8 : 4 };

static inline __attribute__((always_inline)) void lanes_tile(int pixels, const struct dn_conv *cv,
                                                             const struct dn_map *in, int y, int x,
                                                             int o, float r[NEIGHBOURS])
{
    const float *weights = (const float *)cv->weights + o * cv->n_taps * cv->in_c;
    vfloat sum[NEIGHBOURS][PARTS];

#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++)
#pragma GCC unroll 4
        for (int v = 0; v < PARTS; v++)
            sum[p][v] = v_set(0.0f);
    for (int n = 0; n < cv->n_taps; n++) {
        const float *input = pixel(in, y * cv->stride + cv->dy[n], x * cv->stride + cv->dx[n]);
        for (int i = 0; i < cv->in_c; i += DN_LANES, weights += DN_LANES) {
#pragma GCC unroll 4
            for (int v = 0; v < PARTS; v++) {
                vfloat w = v_load(weights + v * V_LANES);
#pragma GCC unroll 8
                for (int p = 0; p < pixels; p++)
                    sum[p][v] = v_fma(v_load(input + p * cv->stride * in->ld + i + v * V_LANES), w,
                                      sum[p][v]);
            }
        }
    }
    float lane[NEIGHBOURS][DN_LANES];
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++) {
#pragma GCC unroll 4
        for (int v = 0; v < PARTS; v++)
            v_store(lane[p] + v * V_LANES, sum[p][v]);
        r[p] = add_lanes(lane[p]) + (cv->bias ? cv->bias[o] : 0.0f);
    }
}

static void in_lanes(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                     const struct dn_epilogue *epilogue)
{
    for (int y = 0; y < out->h; y++) {
        for (int x = 0, pixels; x < out->w; x += pixels) {
            pixels = out->w - x < NEIGHBOURS ? 1 : NEIGHBOURS;
            for (int o = 0; o < cv->out_c; o++) {
                float r[NEIGHBOURS];
                if (pixels == NEIGHBOURS)
                    lanes_tile(NEIGHBOURS, cv, in, y, x, o, r);
                else
                    lanes_tile(1, cv, in, y, x, o, r);
                for (int p = 0; p < pixels; p++)
                    finish(epilogue, r + p, out, y, x + p, o, 1);
            }
        }
    }
}

void ISA(dn_conv)(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                  const struct dn_epilogue *epilogue, float *scratch)
{
    enum dn_conv_form form = dn_conv_form(cv);
    if (form == DN_CONV_DIRECT)
        direct(cv, in, out, epilogue);
    else if (form == DN_CONV_LANES)
        in_lanes(cv, in, out, epilogue);
    else
        ISA(dn_winograd)(cv, in, out, epilogue, scratch);
}

#endif
