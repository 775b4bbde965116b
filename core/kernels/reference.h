/* What the files of the plain-C kernels share. */
#ifndef CORE_KERNELS_REFERENCE_H
#define CORE_KERNELS_REFERENCE_H

#include "core/kernels/bf16.h"
#include "core/kernels/kernels.h"

/* The convolution of the table, as kernels.h describes it. */
size_t dn_reference_conv_packed(const struct dn_conv *conv);
void dn_reference_conv_pack(void *packed, const struct dn_conv *conv, const float *weights);
size_t dn_reference_conv_scratch(const struct dn_conv *conv);
void dn_reference_conv(const struct dn_conv *conv, const struct dn_map *in,
                       const struct dn_map *out, const struct dn_epilogue *epilogue,
                       float *scratch);

static inline float *pixel(const struct dn_map *map, int y, int x)
{
    return (float *)map->data + (ptrdiff_t)y * map->pitch + (ptrdiff_t)x * map->ld;
}

/* act(r) + residual + channel -> channel c of pixel (y,x). */
static inline void finish(const struct dn_epilogue *e, float r, const struct dn_map *out, int y,
                          int x, int c)
{
    r = dn_activate(e->act, r);
    if (e->residual)
        r = r + dn_load(dn_pixel(e->residual, y, x), e->residual->type, c);
    if (e->channel)
        r = r + e->channel[c];
    dn_store(dn_pixel(out, y, x), out->type, c, r);
}

static inline float add_lanes(float lane[DN_LANES])
{
    for (int half = DN_LANES / 2; half >= 1; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] = lane[i] + lane[i + half];
    return lane[0];
}

#endif
