/* What the two bf16 tables of AVX-512 processors share. Only amx.c and avx512_bf16*.c include it.
 */
#ifndef CORE_KERNELS_AVX512_BF16_H
#define CORE_KERNELS_AVX512_BF16_H

#include <immintrin.h>

#include "core/kernels/vector/vector.h"

void dn_avx512_bf16_group_norm(const struct dn_group_norm *norm, const struct dn_map *in,
                               const float *pre, const struct dn_map *out,
                               const struct dn_epilogue *epilogue);
void dn_avx512_bf16_layer_norm(const struct dn_layer_norm *norm, const struct dn_map *in,
                               const struct dn_map *out);

/* Weights [taps][I][O] -> [O / block][taps][I / 2][block][2], zero beyond O; those of an fp32 map
 * as its own kernel wants them. */
static inline void pack_pairs(void *packed, const struct dn_conv *cv, const float *weights,
                              int block)
{
    if (cv->type == DN_FP32) {
        ISA(dn_conv_pack)(packed, cv, weights);
        return;
    }
    uint16_t *to = packed;
    for (int first = 0; first < cv->out_c; first += block)
        for (int k = 0; k < cv->n_taps * cv->in_c; k += 2)
            for (int o = first; o < first + block; o++)
                for (int i = k; i < k + 2; i++)
                    *to++ = o < cv->out_c ? dn_bf16_of_float(weights[i * cv->out_c + o]) : 0;
}

static inline size_t conv_scratch(const struct dn_conv *cv)
{
    return cv->type == DN_FP32 ? ISA(dn_conv_scratch)(cv) : 0;
}

static inline __m512 load_16(enum dn_type type, const void *pixel, int c, __mmask16 mask)
{
    if (type == DN_BF16) {
        __m256i half = _mm256_maskz_loadu_epi16(mask, (const uint16_t *)pixel + c);
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    }
    return _mm512_maskz_loadu_ps(mask, (const float *)pixel + c);
}

static inline void store_16(enum dn_type type, void *pixel, int c, __mmask16 mask, __m512 v)
{
    if (type == DN_BF16)
        _mm256_mask_storeu_epi16((uint16_t *)pixel + c, mask, (__m256i)_mm512_cvtneps_pbh(v));
    else
        _mm512_mask_storeu_ps((float *)pixel + c, mask, v);
}

/* finish() of vector/vector.h for the channels from `first` that `mask` has. */
static inline void finish_16(const struct dn_epilogue *e, __m512 v, const struct dn_map *out, int y,
                             int x, int first, __mmask16 mask)
{
    if (e->act == DN_ACT_RELU) {
        v = _mm512_max_ps(v, _mm512_setzero_ps());
    } else if (e->act != DN_ACT_NONE) {
        float r[16];
        _mm512_storeu_ps(r, v);
        for (int i = 0; i < 16; i++)
            r[i] = dn_activate(e->act, r[i]);
        v = _mm512_loadu_ps(r);
    }
    if (e->residual)
        v = _mm512_add_ps(v, load_16(e->residual->type, dn_pixel(e->residual, y, x), first, mask));
    if (e->channel)
        v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, e->channel + first));
    store_16(out->type, dn_pixel(out, y, x), first, mask, v);
}

#endif
