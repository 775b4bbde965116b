/*
 * Direct convolution: no im2col. A tile of P pixels x V registers of output channels stays in
 * registers while all taps and input channels go by; each input value is broadcast, each weight
 * register is loaded once a tile.
 */
#include "core/kernels/vector/vector.h"

#if defined(CORE_KERNELS_SIMD_NATIVE)

/* A tile is P pixels x V registers of output channels: P V sums and V weights, and on NEON, which
 * has no broadcast from memory, P inputs. */
enum {
    V = V_LANES == 4 ? 4 : 2,
    P_MAX = V_LANES == 4 ? 5 : (V_REGISTERS == 32 ? 14 : 6),
    BLOCK = V * V_LANES,
};

/* Weights in blocks of V registers of output channels: [O / BLOCK][taps][I][BLOCK], 0 beyond O. */
size_t ISA(dn_conv_packed)(const struct dn_conv *cv)
{
    return sizeof(float) * (size_t)round_up(cv->out_c, BLOCK) * (size_t)(cv->n_taps * cv->in_c);
}

void ISA(dn_conv_pack)(void *packed, const struct dn_conv *cv, const float *weights)
{
    float *to = packed;
    for (int first = 0; first < cv->out_c; first += BLOCK)
        for (int k = 0; k < cv->n_taps * cv->in_c; k++)
            for (int o = first; o < first + BLOCK; o++)
                *to++ = o < cv->out_c ? weights[k * cv->out_c + o] : 0.0f;
}

size_t ISA(dn_conv_scratch)(const struct dn_conv *cv)
{
    (void)cv;
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
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5)
#if defined(__AVX2__)
        CASE(6)
#endif
#if defined(__AVX512F__)
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#endif
    }
    /* clang-format on */
#undef CASE
}

void ISA(dn_conv)(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                  const struct dn_epilogue *epilogue, float *scratch)
{
    (void)scratch;
    _Alignas(64) float sums[P_MAX * BLOCK], bias[BLOCK];
    int tiles = (out->w + P_MAX - 1) / P_MAX;

    for (int first = 0; first < cv->out_c; first += BLOCK) {
        const float *weights =
            (const float *)cv->weights + (size_t)first * (size_t)(cv->n_taps * cv->in_c);
        int n = cv->out_c - first < BLOCK ? cv->out_c - first : BLOCK;
        int regs = n <= V_LANES ? 1 : V;
        for (int o = 0; o < BLOCK; o++)
            bias[o] = cv->bias && o < n ? cv->bias[first + o] : 0.0f;
        /* Whole registers with nothing to follow go straight to their place. */
        bool plain = out->type == DN_FP32 && n == regs * V_LANES && epilogue->act == DN_ACT_NONE &&
                     !epilogue->residual && !epilogue->channel;
        for (int y = 0; y < out->h; y++) {
            int x = 0;
            for (int t = tiles; t > 0; t--) {
                int pixels = (out->w - x + t - 1) / t; /* tiles of equal size, as near as may be */
                float *to = plain ? pixel(out, y, x) + first : NULL;
                conv_tile_of(pixels, regs, cv, pixel(in, y * cv->stride, x * cv->stride), in->ld,
                             in->pitch, weights, bias, plain ? to : sums,
                             plain ? out->ld : regs * V_LANES);
                for (int p = 0; p < pixels && !plain; p++)
                    finish(epilogue, sums + p * regs * V_LANES, out, y, x + p, first, n);
                x += pixels;
            }
        }
    }
}

#endif
