/*
 * bf16: the upper half of a float. Values of maps of either type, and SiLU to a bf16's precision.
 *
 * Everything here is exact arithmetic in a fixed order, the same bits on any machine.
 */
#ifndef CORE_KERNELS_BF16_H
#define CORE_KERNELS_BF16_H

#include <math.h>

#include "core/base/exact_math.h"
#include "core/kernels/kernels.h"

static inline float dn_bf16_to_float(uint16_t half)
{
    return dn_bits_float((uint32_t)half << 16);
}

/* To nearest, ties to even; what is smaller than a normal number becomes zero, and a NaN stays one:
 * as VCVTNEPS2BF16 has it. */
static inline uint16_t dn_bf16_of_float(float f)
{
    uint32_t bits = dn_float_bits(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    if ((bits & 0x7f800000u) == 0)
        return (uint16_t)(bits >> 16 & 0x8000u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline size_t dn_type_bytes(enum dn_type type)
{
    return type == DN_BF16 ? sizeof(uint16_t) : sizeof(float);
}

/* Address of pixel (y,x). */
static inline void *dn_pixel(const struct dn_map *map, int y, int x)
{
    ptrdiff_t at = (ptrdiff_t)y * map->pitch + (ptrdiff_t)x * map->ld;
    return (char *)map->data + at * (ptrdiff_t)dn_type_bytes(map->type);
}

static inline float dn_load(const void *pixel, enum dn_type type, int c)
{
    return type == DN_BF16 ? dn_bf16_to_float(((const uint16_t *)pixel)[c])
                           : ((const float *)pixel)[c];
}

static inline void dn_store(void *pixel, enum dn_type type, int c, float value)
{
    if (type == DN_BF16)
        ((uint16_t *)pixel)[c] = dn_bf16_of_float(value);
    else
        ((float *)pixel)[c] = value;
}

/*
 * SiLU with a relative error below 1e-4, for a result that is rounded to bf16 (2e-3): the power of
 * two is a cubic (fitted for least relative error), the reciprocal two Newton steps from a guess
 * that subtracts the exponent. Half the work of dn_siluf(), and no division.
 */
static inline float dn_siluf_bf16(float x)
{
    float t = x * -1.44269504f;
    t = t > -100.0f ? t : -100.0f;
    t = t < 100.0f ? t : 100.0f;
    float shifted = t + 12582912.0f; /* the nearest integer, in the low bits */
    float f = t - (shifted - 12582912.0f);
    float p = 0x1.c3f7600000000p-5f;
    p = fmaf(p, f, 0x1.f0de1a0000000p-3f);
    p = fmaf(p, f, 0x1.62f31a0000000p-1f);
    p = fmaf(p, f, 0x1.fff6920000000p-1f);
    float d = 1.0f + dn_bits_float(dn_float_bits(p) + (dn_float_bits(shifted) << 23));
    float r = dn_bits_float(0x7ef311c7u - dn_float_bits(d));
    r = r * fmaf(-d, r, 2.0f);
    r = r * fmaf(-d, r, 2.0f);
    return x * r;
}

/* act(x) as a map of `type` wants it. */
static inline float dn_activate(enum dn_act act, enum dn_type type, float x)
{
    if (act == DN_ACT_RELU)
        return x > 0.0f ? x : 0.0f;
    if (act == DN_ACT_SILU)
        return type == DN_BF16 ? dn_siluf_bf16(x) : dn_siluf(x);
    return x;
}

#endif
