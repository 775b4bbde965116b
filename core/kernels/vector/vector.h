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

#include "core/kernels/bf16.h"
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

/* act(r[0..n)) + residual + channel -> channels first .. first + n of pixel (y,x) of out. r and the
 * pixel may be the same memory. */
static inline void finish(const struct dn_epilogue *e, const float *r, const struct dn_map *out,
                          int y, int x, int first, int n)
{
    void *to = dn_pixel(out, y, x);
    const void *residual = e->residual ? dn_pixel(e->residual, y, x) : NULL;
    if (out->type == DN_FP32 && (e->act == DN_ACT_NONE || e->act == DN_ACT_RELU) &&
        (!residual || e->residual->type == DN_FP32)) {
        float *f = (float *)to + first;
        const float *add = residual ? (const float *)residual + first : NULL;
        for (int c = 0; c < n; c++)
            f[c] = e->act == DN_ACT_RELU && !(r[c] > 0.0f) ? 0.0f : r[c];
        for (int c = 0; add && c < n; c++)
            f[c] = f[c] + add[c];
        for (int c = 0; e->channel && c < n; c++)
            f[c] = f[c] + e->channel[first + c];
        return;
    }
    for (int c = 0; c < n; c++) {
        float v = dn_activate(e->act, r[c]);
        if (residual)
            v = v + dn_load(residual, e->residual->type, first + c);
        if (e->channel)
            v = v + e->channel[first + c];
        dn_store(to, out->type, first + c, v);
    }
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
