/*
 * Group norm with SiLU and layer norm for maps that become bf16, where most of the time of a bf16
 * evaluation goes that is not a matrix product. Written by hand: a register is one pixel's 16
 * channels. The bits are those of vector/norm.c, which does what is not common.
 */
#include "core/kernels/avx512_bf16.h"

/* dn_siluf_bf16(). */
static inline __m512 silu(__m512 x)
{
    const __m512 magic = _mm512_set1_ps(12582912.0f);
    __m512 t = _mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f));
    t = _mm512_max_ps(t, _mm512_set1_ps(-100.0f));
    t = _mm512_min_ps(t, _mm512_set1_ps(100.0f));
    __m512 shifted = _mm512_add_ps(t, magic);
    __m512 f = _mm512_sub_ps(t, _mm512_sub_ps(shifted, magic));
    __m512 p = _mm512_set1_ps(0x1.c3f7600000000p-5f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.f0de1a0000000p-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.62f31a0000000p-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0x1.fff6920000000p-1f));
    __m512i e = _mm512_add_epi32(_mm512_castps_si512(p),
                                 _mm512_slli_epi32(_mm512_castps_si512(shifted), 23));
    __m512 d = _mm512_add_ps(_mm512_set1_ps(1.0f), _mm512_castsi512_ps(e));
    __m512 r = _mm512_castsi512_ps(
        _mm512_sub_epi32(_mm512_set1_epi32(0x7ef311c7), _mm512_castps_si512(d)));
    r = _mm512_mul_ps(r, _mm512_fnmadd_ps(d, r, _mm512_set1_ps(2.0f)));
    r = _mm512_mul_ps(r, _mm512_fnmadd_ps(d, r, _mm512_set1_ps(2.0f)));
    return _mm512_mul_ps(x, r);
}

/* Sums over a map of 16 channels from c, row by row and then over the rows: of what is there, or of
 * the squares of its distance from `middle`. Four rows go side by side. */
static inline __attribute__((always_inline)) __m512 sum_channels(const struct dn_map *in, int c,
                                                                 bool squares, __m512 middle)
{
    enum { SIDE_BY_SIDE = 4 };
    __m512 total = _mm512_setzero_ps();
    for (int y = 0; y < in->h; y += SIDE_BY_SIDE) {
        int n = in->h - y < SIDE_BY_SIDE ? in->h - y : SIDE_BY_SIDE;
        const float *p[SIDE_BY_SIDE];
        __m512 row[SIDE_BY_SIDE];
        for (int i = 0; i < SIDE_BY_SIDE; i++) {
            p[i] = (const float *)dn_pixel(in, y + (i < n ? i : n - 1), 0) + c;
            row[i] = _mm512_setzero_ps();
        }
        for (int x = 0; x < in->w; x++) {
#pragma GCC unroll 4
            for (int i = 0; i < SIDE_BY_SIDE; i++, p[i - 1] += in->ld) {
                __m512 v = _mm512_loadu_ps(p[i]);
                if (squares) {
                    v = _mm512_sub_ps(v, middle);
                    row[i] = _mm512_add_ps(row[i], _mm512_mul_ps(v, v));
                } else {
                    row[i] = _mm512_add_ps(row[i], v);
                }
            }
        }
        for (int i = 0; i < n; i++)
            total = _mm512_add_ps(total, row[i]);
    }
    return total;
}

static inline __attribute__((always_inline)) void
scale_and_activate(const struct dn_map *in, const struct dn_map *out, const struct dn_map *residual,
                   int c, __m512 scale, __m512 shift)
{
    for (int y = 0; y < out->h; y++) {
        const float *p = (const float *)dn_pixel(in, y, 0) + c;
        const float *q = residual ? (const float *)dn_pixel(residual, y, 0) + c : NULL;
        uint16_t *to = (uint16_t *)dn_pixel(out, y, 0) + c;
#pragma GCC unroll 4
        for (int x = 0; x < out->w; x++, p += in->ld, to += out->ld) {
            __m512 v = _mm512_add_ps(_mm512_mul_ps(_mm512_loadu_ps(p), scale), shift);
            v = silu(v);
            if (residual) {
                v = _mm512_add_ps(v, _mm512_loadu_ps(q));
                q += residual->ld;
            }
            _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(v));
        }
    }
}

void dn_avx512_bf16_group_norm(const struct dn_group_norm *norm, const struct dn_map *in,
                               const float *pre, const struct dn_map *out,
                               const struct dn_epilogue *e)
{
    enum { LANES = 16 };
    int width = in->c / norm->groups;
    if (in->type != DN_FP32 || out->type != DN_BF16 || e->act != DN_ACT_SILU || e->channel ||
        in->c % LANES || LANES % width || (e->residual && e->residual->type != DN_FP32)) {
        ISA(dn_group_norm)(norm, in, pre, out, e);
        return;
    }
    float pixels = (float)(in->h * in->w), n = (float)(in->h * in->w * width);
    for (int c = 0; c < in->c; c += LANES) {
        float sum[LANES], middle[LANES], scale[LANES], shift[LANES];
        const float *add = pre ? pre + c : NULL;
        _mm512_storeu_ps(sum, sum_channels(in, c, false, _mm512_setzero_ps()));
        for (int g = 0; g < LANES; g += width) {
            float total = 0.0f;
            for (int l = g; l < g + width; l++)
                total = total + (sum[l] + pixels * (add ? add[l] : 0.0f));
            for (int l = g; l < g + width; l++)
                middle[l] = total / n - (add ? add[l] : 0.0f);
        }
        _mm512_storeu_ps(sum, sum_channels(in, c, true, _mm512_loadu_ps(middle)));
        for (int g = 0; g < LANES; g += width) {
            float total = 0.0f;
            for (int l = g; l < g + width; l++)
                total = total + sum[l];
            float rstd = 1.0f / sqrtf(total / n + norm->eps);
            for (int l = g; l < g + width; l++) {
                scale[l] = rstd * norm->weight[c + l];
                shift[l] = norm->bias[c + l] - middle[l] * scale[l];
            }
        }
        if (e->residual)
            scale_and_activate(in, out, e->residual, c, _mm512_loadu_ps(scale),
                               _mm512_loadu_ps(shift));
        else
            scale_and_activate(in, out, NULL, c, _mm512_loadu_ps(scale), _mm512_loadu_ps(shift));
    }
}

/* The sixteen lanes pairwise: i and i + 8, then i + 4, and so on. */
static inline float add_register(__m512 v)
{
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

void dn_avx512_bf16_layer_norm(const struct dn_layer_norm *norm, const struct dn_map *in,
                               const struct dn_map *out)
{
    enum { LANES = 16 };
    if (in->type != DN_FP32 || out->type != DN_BF16 || in->c % LANES) {
        ISA(dn_layer_norm)(norm, in, out);
        return;
    }
    for (int y = 0; y < in->h; y++) {
        for (int x = 0; x < in->w; x++) {
            const float *p = dn_pixel(in, y, x);
            uint16_t *to = dn_pixel(out, y, x);
            __m512 sum = _mm512_setzero_ps(), square = _mm512_setzero_ps();
            for (int c = 0; c < in->c; c += LANES)
                sum = _mm512_add_ps(sum, _mm512_loadu_ps(p + c));
            __m512 mean = _mm512_set1_ps(add_register(sum) / (float)in->c);
            for (int c = 0; c < in->c; c += LANES) {
                __m512 d = _mm512_sub_ps(_mm512_loadu_ps(p + c), mean);
                square = _mm512_add_ps(square, _mm512_mul_ps(d, d));
            }
            __m512 rstd =
                _mm512_set1_ps(1.0f / sqrtf(add_register(square) / (float)in->c + norm->eps));
            for (int c = 0; c < in->c; c += LANES) {
                __m512 d = _mm512_sub_ps(_mm512_loadu_ps(p + c), mean);
                __m512 v = _mm512_mul_ps(_mm512_mul_ps(d, rstd), _mm512_loadu_ps(norm->weight + c));
                v = _mm512_add_ps(v, _mm512_loadu_ps(norm->bias + c));
                _mm256_storeu_si256((__m256i *)(to + c), (__m256i)_mm512_cvtneps_pbh(v));
            }
        }
    }
}
