/*
 * bf16 convolutions with AVX-512's dot product (VDPBF16PS), for processors without a matrix unit. A
 * tile of 14 pixels x 32 output channels stays in registers, as in vector/conv.c; each instruction
 * takes two input channels, so a pair of a pixel's channels is broadcast.
 *
 * One chain an output value: taps in their order, pairs of channels in theirs.
 */
#include "core/kernels/avx512_bf16.h"

enum { PIXELS = 14, LANES = 16, BLOCK = 2 * LANES };

/* [O/32][taps][I/2][32][2], zero beyond O. */
static size_t conv_packed(const struct dn_conv *cv)
{
    if (cv->type == DN_FP32)
        return ISA(dn_conv_packed)(cv);
    return sizeof(uint16_t) * (size_t)round_up(cv->out_c, BLOCK) * (size_t)(cv->n_taps * cv->in_c);
}

static void conv_pack(void *packed, const struct dn_conv *cv, const float *weights)
{
    pack_pairs(packed, cv, weights, BLOCK);
}

static inline __m512bh pair_of(const uint16_t *p)
{
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

/* Sums of `pixels` (a constant after inlining) neighbours in a row -> sums[pixels][32]. */
static inline __attribute__((always_inline)) void dot_tile(int pixels, const struct dn_conv *cv,
                                                           const uint16_t *in, int in_ld,
                                                           int in_pitch, const uint16_t *weights,
                                                           float *sums)
{
    __m512 sum[PIXELS][2];
    int step = cv->stride * in_ld;
#pragma GCC unroll 16
    for (int p = 0; p < pixels; p++)
        sum[p][0] = sum[p][1] = _mm512_setzero_ps();
    for (int n = 0; n < cv->n_taps; n++) {
        const uint16_t *input = in + (ptrdiff_t)cv->dy[n] * in_pitch + (ptrdiff_t)cv->dx[n] * in_ld;
        for (int i = 0; i < cv->in_c; i += 2, weights += 2 * BLOCK) {
            __m512bh w0 = (__m512bh)_mm512_loadu_si512(weights);
            __m512bh w1 = (__m512bh)_mm512_loadu_si512(weights + 2 * LANES);
#pragma GCC unroll 16
            for (int p = 0; p < pixels; p++) {
                __m512bh x = pair_of(input + p * step + i);
                sum[p][0] = _mm512_dpbf16_ps(sum[p][0], x, w0);
                sum[p][1] = _mm512_dpbf16_ps(sum[p][1], x, w1);
            }
        }
    }
#pragma GCC unroll 16
    for (int p = 0; p < pixels; p++) {
        _mm512_storeu_ps(sums + p * BLOCK, sum[p][0]);
        _mm512_storeu_ps(sums + p * BLOCK + LANES, sum[p][1]);
    }
}

static void dot_tile_of(int pixels, const struct dn_conv *cv, const uint16_t *in, int in_ld,
                        int in_pitch, const uint16_t *weights, float *sums)
{
#define CASE(P)                                                                                    \
    case P:                                                                                        \
        dot_tile(P, cv, in, in_ld, in_pitch, weights, sums);                                       \
        break;
    /* clang-format off */
    switch (pixels) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
        CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
    }
    /* clang-format on */
#undef CASE
}

static void conv(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                 const struct dn_epilogue *epilogue, float *scratch)
{
    if (in->type == DN_FP32) {
        ISA(dn_conv)(cv, in, out, epilogue, scratch);
        return;
    }
    _Alignas(64) float sums[PIXELS * BLOCK], bias[BLOCK];
    int tiles = (out->w + PIXELS - 1) / PIXELS;

    for (int first = 0; first < cv->out_c; first += BLOCK) {
        const uint16_t *weights =
            (const uint16_t *)cv->weights + (size_t)first * (size_t)(cv->n_taps * cv->in_c);
        int n = cv->out_c - first < BLOCK ? cv->out_c - first : BLOCK;
        for (int o = 0; o < BLOCK; o++)
            bias[o] = cv->bias && o < n ? cv->bias[first + o] : 0.0f;
        for (int y = 0; y < out->h; y++) {
            int x = 0;
            for (int t = tiles; t > 0; t--) {
                int pixels = (out->w - x + t - 1) / t; /* tiles of equal size, as near as may be */
                dot_tile_of(pixels, cv, dn_pixel(in, y * cv->stride, x * cv->stride), in->ld,
                            in->pitch, weights, sums);
                for (int p = 0; p < pixels; p++) {
                    for (int o = 0; o < BLOCK; o++)
                        sums[p * BLOCK + o] = sums[p * BLOCK + o] + bias[o];
                    finish(epilogue, sums + p * BLOCK, out, y, x + p, first, n);
                }
                x += pixels;
            }
        }
    }
}

const struct dn_kernels dn_kernels_avx512_bf16 = {
    .isa = DN_ISA_AVX512,
    .precision = DN_PRECISION_BF16,
    .domain = "bf16-avx512-1",
    .conv_packed = conv_packed,
    .conv_pack = conv_pack,
    .conv_scratch = conv_scratch,
    .conv = conv,
    .group_norm = dn_avx512_bf16_group_norm,
    .layer_norm = dn_avx512_bf16_layer_norm,
    .attention_scratch = ISA(dn_attention_scratch),
    .attention = ISA(dn_attention),
    .pointwise = ISA(dn_pointwise),
};
