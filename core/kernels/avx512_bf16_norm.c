/*
 * Group norm with SiLU and layer norm of the bf16 tables, where most of the time of a bf16
 * evaluation goes that is not a matrix product. Written by hand: a register is one pixel's 16
 * channels. The bits are those of vector/norm.c, which does what is not common.
 */
#include "core/kernels/avx512_bf16.h"

/* dn_siluf_bf16(), from half its argument. */
static inline __m512 silu_of_twice(__m512 u)
{
    __m512 size = _mm512_abs_ps(u);
    __m512 y = _mm512_min_ps(size, _mm512_set1_ps(7.75f));
    __m512i i = _mm512_castps_si512(_mm512_add_ps(y, _mm512_set1_ps(3145728.0f)));
    __m512 f = _mm512_reduce_ps(y, 2 << 4); /* to the nearest quarter */
    __m512 p[3];
#pragma GCC unroll 3
    for (int n = 0; n < 3; n++)
        p[n] = _mm512_permutex2var_ps(_mm512_loadu_ps(dn_tanh_parabolas[n]), i,
                                      _mm512_loadu_ps(dn_tanh_parabolas[n] + 16));
    return _mm512_fmadd_ps(size, _mm512_fmadd_ps(_mm512_fmadd_ps(p[2], f, p[1]), f, p[0]), u);
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

enum { LANES = 16, PAIR = 2 * LANES };

/* silu(in * scale + shift) + residual -> out, for PAIR channels from c. */
static inline __attribute__((always_inline)) void
scale_and_activate(const struct dn_map *in, const struct dn_map *out, enum dn_type out_type,
                   const struct dn_map *residual, int c, const float scale[PAIR],
                   const float shift[PAIR])
{
    const __m512 half = _mm512_set1_ps(0.5f);
    __m512 a[2], b[2], v[2];
    for (int i = 0; i < 2; i++) { /* halved here, once: exact */
        a[i] = _mm512_mul_ps(_mm512_loadu_ps(scale + i * LANES), half);
        b[i] = _mm512_mul_ps(_mm512_loadu_ps(shift + i * LANES), half);
    }
    const int w = out->w, in_ld = in->ld, residual_ld = residual ? residual->ld : 0;
    const size_t out_step = (size_t)out->ld * dn_type_bytes(out_type);
    for (int y = 0; y < out->h; y++) {
        const float *p = (const float *)dn_pixel(in, y, 0) + c;
        const float *q = residual ? (const float *)dn_pixel(residual, y, 0) + c : NULL;
        char *to = (char *)dn_pixel(out, y, 0) + (size_t)c * dn_type_bytes(out_type);
#pragma GCC unroll 2
        for (int x = 0; x < w; x++, p += in_ld, to += out_step) {
#pragma GCC unroll 2
            for (int i = 0; i < 2; i++) {
                v[i] = _mm512_mul_ps(_mm512_loadu_ps(p + i * LANES), a[i]);
                v[i] = silu_of_twice(_mm512_add_ps(v[i], b[i]));
                if (residual)
                    v[i] = _mm512_add_ps(v[i], _mm512_loadu_ps(q + i * LANES));
            }
            if (residual)
                q += residual_ld;
            if (out_type == DN_BF16) {
                _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(v[1], v[0]));
            } else {
                _mm512_storeu_ps(to, v[0]);
                _mm512_storeu_ps(to + LANES * sizeof(float), v[1]);
            }
        }
    }
}

/* Scale and shift of LANES channels from c. */
static void scale_of(const struct dn_group_norm *norm, const struct dn_map *in, const float *pre,
                     int c, float scale[LANES], float shift[LANES])
{
    int width = in->c / norm->groups;
    float pixels = (float)(in->h * in->w), n = (float)(in->h * in->w * width);
    float sum[LANES], middle[LANES];
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
}

void dn_avx512_bf16_group_norm(const struct dn_group_norm *norm, const struct dn_map *in,
                               const float *pre, const struct dn_map *out,
                               const struct dn_epilogue *e)
{
    if (in->type != DN_FP32 || e->act != DN_ACT_SILU_BF16 || e->channel || in->c % PAIR ||
        LANES % (in->c / norm->groups) || (e->residual && e->residual->type != DN_FP32)) {
        ISA(dn_group_norm)(norm, in, pre, out, e);
        return;
    }
    for (int c = 0; c < in->c; c += PAIR) {
        float scale[PAIR], shift[PAIR];
        for (int i = 0; i < PAIR; i += LANES)
            scale_of(norm, in, pre, c + i, scale + i, shift + i);
        if (out->type == DN_FP32)
            scale_and_activate(in, out, DN_FP32, e->residual, c, scale, shift);
        else if (e->residual)
            scale_and_activate(in, out, DN_BF16, e->residual, c, scale, shift);
        else
            scale_and_activate(in, out, DN_BF16, NULL, c, scale, shift);
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
