/*
 * The kernels for vector units: one source, compiled once for each instruction set (see the
 * Makefile: VECTOR_ISA). Names that the files of one instruction set share are made with ISA(), so
 * that the sets can live in one program.
 *
 * Elementwise code is plain loops over channels that the compiler vectorises; sums are taken in the
 * order of reference.c, so the results have the same bits.
 */
#ifndef CORE_KERNELS_VECTOR_VECTOR_H
#define CORE_KERNELS_VECTOR_VECTOR_H

#include <math.h>
#include <string.h>

#include "core/base/exact_math.h"
#include "core/kernels/kernels.h"
#include "core/kernels/vector/simd.h"

#define ISA_PASTE_(name, isa) name##_##isa
#define ISA_PASTE(name, isa) ISA_PASTE_(name, isa)
#define ISA(name) ISA_PASTE(name, VECTOR_ISA)

/* The parts of the table, as kernels.h describes them. */
size_t ISA(dn_conv_packed)(const struct dn_conv *conv);
void ISA(dn_conv_pack)(void *packed, const struct dn_conv *conv, const float *weights);
size_t ISA(dn_conv_scratch)(const struct dn_conv *conv);
void ISA(dn_conv)(const struct dn_conv *conv, const struct dn_map *in, const struct dn_map *out,
                  const struct dn_epilogue *epilogue, float *scratch);
void ISA(dn_group_norm)(const struct dn_group_norm *norm, const struct dn_map *in, const float *pre,
                        const struct dn_map *out, const struct dn_epilogue *epilogue);
void ISA(dn_layer_norm)(const struct dn_layer_norm *norm, const struct dn_map *in,
                        const struct dn_map *out);
size_t ISA(dn_attention_scratch)(int tokens, int channels, int heads);
void ISA(dn_attention)(int heads, const struct dn_map *q, const struct dn_map *k,
                       const struct dn_map *v, const struct dn_map *out,
                       const struct dn_epilogue *epilogue, float *scratch);
void ISA(dn_pointwise)(const struct dn_map *in, const struct dn_map *out,
                       const struct dn_epilogue *epilogue);

static inline float *pixel(const struct dn_map *map, int y, int x)
{
    return (float *)map->data + (ptrdiff_t)y * map->pitch + (ptrdiff_t)x * map->ld;
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

static inline float add_lanes(float lane[DN_LANES])
{
    for (int half = DN_LANES / 2; half >= 1; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] = lane[i] + lane[i + half];
    return lane[0];
}

static inline int round_up(int n, int to)
{
    return (n + to - 1) / to * to;
}

#endif
