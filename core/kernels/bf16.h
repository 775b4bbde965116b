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
 * SiLU for a result that is rounded to bf16 (relative error 2e-3): x / (1 + e^-x) =
 * x/2 + |x|/2 tanh |x/2|, and tanh in 32 parabolas a quarter apart, fitted for least relative error
 * of SiLU below zero: below 7e-4 where |x| < 8. One where |x| > 15.4.
 */
static const float dn_tanh_parabolas[3][32] = {
    {-2.13311869e-05f, 0.244929552f, 0.462115586f, 0.635139167f, 0.76158154f,  0.848272324f,
     0.905139685f,     0.941369593f, 0.96402365f,  0.978023648f, 0.986612737f, 0.99185878f,
     0.995054185f,     0.996997297f, 0.998177707f, 0.998894334f, 0.999329209f, 0.999593079f,
     0.999753177f,     0.999850273f, 0.999909222f, 0.999944925f, 0.999966621f, 0.999979734f,
     0.999987721f,     0.999992549f, 0.99999547f,  0.999997258f, 0.999998331f, 0.999998987f,
     0.999999404f,     1.0f},
    {1.00297582f,     0.937019765f,    0.785341263f,    0.597053587f,
     0.421170086f,    0.281670898f,    0.181727231f,    0.114544265f,
     0.0711411759f,   0.0437804833f,   0.0267905723f,   0.0163372066f,
     0.0099415686f,   0.00604188954f,  0.00366902514f,  0.00222700974f,
     0.00135135115f,  0.000819857349f, 0.000497350062f, 0.000301688066f,
     0.000182994088f, 0.000110995577f, 6.73237155e-05f, 4.08344458e-05f,
     2.47675453e-05f, 1.50223505e-05f, 9.11154348e-06f, 5.52644042e-06f,
     3.35195932e-06f, 2.0330674e-06f,  1.23311827e-06f, 0.0f},
    {-0.0626540184f,   -0.229995266f,    -0.36130628f,     -0.376460701f,
     -0.317890316f,    -0.236556947f,    -0.162748739f,    -0.106645979f,
     -0.06781324f,     -0.0423322394f,   -0.0261294805f,   -0.0160179064f,
     -0.00977834221f,  -0.00595417386f,  -0.00361999474f,  -0.00219881046f,
     -0.0013348147f,   -0.000810036378f, -0.000491470273f, -0.000298150058f,
     -0.000180858595f, -0.000109704175f, -6.65418484e-05f, -4.03607373e-05f,
     -2.44804178e-05f, -1.48482686e-05f, -9.00598297e-06f, -5.46242427e-06f,
     -3.31313527e-06f, -2.00952059e-06f, -1.21883693e-06f, 0.0f},
};

static inline float dn_siluf_bf16(float x)
{
    float u = 0.5f * x, size = fabsf(u);
    float y = size < 7.75f ? size : 7.75f;
    float shifted = y + 3145728.0f; /* the nearest quarter: its number is in the low bits */
    float f = y - (shifted - 3145728.0f);
    uint32_t i = dn_float_bits(shifted) & 31u;
    float tanh = fmaf(dn_tanh_parabolas[2][i], f, dn_tanh_parabolas[1][i]);
    return fmaf(size, fmaf(tanh, f, dn_tanh_parabolas[0][i]), u);
}

/* 2^t for t <= 0, relative error below 1e-4; zero below the normal numbers. */
static inline float dn_exp2f_bf16(float t)
{
    float whole = floorf(t), f = t - whole;
    float p = 7.80245289e-2f;
    p = fmaf(p, f, 2.26067185e-1f);
    p = fmaf(p, f, 6.95833504e-1f);
    p = fmaf(p, f, 9.99925196e-1f);
    return whole < -126.0f ? 0.0f : p * dn_bits_float((uint32_t)((int32_t)whole + 127) << 23);
}

static inline float dn_activate(enum dn_act act, float x)
{
    switch (act) {
    case DN_ACT_RELU:
        return x > 0.0f ? x : 0.0f;
    case DN_ACT_SILU:
        return dn_siluf(x);
    case DN_ACT_SILU_BF16:
        return dn_siluf_bf16(x);
    default:
        return x;
    }
}

#endif
