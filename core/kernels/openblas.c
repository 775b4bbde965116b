/*
 * Convolutions through OpenBLAS: gather the taps of every output pixel into a row (im2col), then
 * one GEMM an image. One GEMM over a whole batch would be a little faster and would let a row's
 * bits depend on its place in the batch, because OpenBLAS chooses its path by size.
 */
#include <cblas.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "core/kernels/bf16.h"
#include "core/kernels/kernels.h"

size_t dn_openblas_conv_packed(const struct dn_conv *cv)
{
    return sizeof(float) * (size_t)(cv->n_taps * cv->in_c) * (size_t)cv->out_c;
}

void dn_openblas_conv_pack(void *packed, const struct dn_conv *cv, const float *weights)
{
    memcpy(packed, weights, dn_openblas_conv_packed(cv));
}

/* Columns [H*W][taps*I], then the product [H*W][O]. */
size_t dn_openblas_conv_scratch(const struct dn_conv *conv)
{
    return (size_t)(conv->h * conv->w) * (size_t)(conv->n_taps * conv->in_c + conv->out_c);
}

/* Already [H*W][I], rows one behind the other at a distance that a GEMM can take? */
static bool is_matrix(const struct dn_map *map)
{
    return map->pitch == map->w * map->ld;
}

void dn_openblas_conv(const struct dn_conv *conv, const struct dn_map *in, const struct dn_map *out,
                      const struct dn_epilogue *epilogue, float *scratch)
{
    int m = out->h * out->w, k = conv->n_taps * conv->in_c, n = conv->out_c;
    const float *a = in->data;
    int lda = in->ld;

    if (conv->n_taps != 1 || conv->stride != 1 || !is_matrix(in)) {
        float *row = scratch;
        for (int y = 0; y < out->h; y++) {
            for (int x = 0; x < out->w; x++, row += k) {
                for (int t = 0; t < conv->n_taps; t++) {
                    const float *p = (const float *)in->data +
                                     (ptrdiff_t)(y * conv->stride + conv->dy[t]) * in->pitch +
                                     (ptrdiff_t)(x * conv->stride + conv->dx[t]) * in->ld;
                    memcpy(row + t * conv->in_c, p, (size_t)conv->in_c * sizeof *row);
                }
            }
        }
        a = scratch;
        lda = k;
    }
    float *product = scratch + (size_t)m * (size_t)k;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1.0f, a, lda, conv->weights, n,
                0.0f, product, n);

    for (int y = 0; y < out->h; y++) {
        for (int x = 0; x < out->w; x++, product += n) {
            float *r = (float *)out->data + (ptrdiff_t)y * out->pitch + (ptrdiff_t)x * out->ld;
            const float *residual = NULL;
            if (epilogue->residual)
                residual = (const float *)epilogue->residual->data +
                           (ptrdiff_t)y * epilogue->residual->pitch +
                           (ptrdiff_t)x * epilogue->residual->ld;
            for (int c = 0; c < n; c++) {
                float v = product[c] + (conv->bias ? conv->bias[c] : 0.0f);
                v = dn_activate(epilogue->act, v);
                if (residual)
                    v = v + residual[c];
                if (epilogue->channel)
                    v = v + epilogue->channel[c];
                r[c] = v;
            }
        }
    }
}

/* OpenBLAS threads are the process's, not the caller's: the workers are the parallelism here, and a
 * GEMM split over threads sums in another order. An OpenMP build ignores the setting without a
 * word. */
bool dn_openblas_use_one_thread(void)
{
    openblas_set_num_threads(1);
    return openblas_get_num_threads() == 1;
}

/* ---- which OpenBLAS this is -------------------------------------------------------------------
 */

const char *dn_blas_config(void)
{
    return openblas_get_config();
}

const char *dn_blas_core(void)
{
    return openblas_get_corename();
}

/* OpenBLAS 0.3.21 knows no Xeon after Cooper Lake by its model number and falls back to its oldest
 * kernels (OpenBLAS issue 4267): three to four times slower than what the processor can do. */
const char *dn_blas_better_core(void)
{
#if defined(__x86_64__)
    static const char *const weak[] = {"Prescott", "Core2",       "Penryn",    "Dunnington",
                                       "Nehalem",  "Sandybridge", "Barcelona", "Katmai",
                                       "Banias",   "Generic"};
    const char *core = openblas_get_corename();
    const char *wanted =
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
            ? "SkylakeX"
        : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "Haswell"
                                                                          : NULL;
    if (!wanted)
        return NULL;
    for (size_t i = 0; i < sizeof weak / sizeof *weak; i++)
        if (strcasecmp(core, weak[i]) == 0)
            return wanted;
#endif
    return NULL;
}
