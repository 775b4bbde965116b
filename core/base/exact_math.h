/*
 * Elementary functions whose bits do not depend on the machine.
 *
 * libm picks its code by processor, so its last bit may differ from one machine to the next, and
 * with it an image. These use only IEEE operations in a fixed order (no contraction: the whole
 * project is compiled with -ffp-contract=off), and the float ones are free of branches so that a
 * compiler can vectorise a loop over them without changing a bit.
 *
 * Polynomials: Cephes (Moshier) expf, logf, sinf, cosf; atanh series for the double logarithm.
 */
#ifndef CORE_BASE_EXACT_MATH_H
#define CORE_BASE_EXACT_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* a * b + c, rounded once; a file whose results are no other's may say that twice will do. */
#ifndef DN_FMAF
#define DN_FMAF(a, b, c) fmaf(a, b, c)
#endif

static inline float dn_bits_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t dn_float_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Nearest integer to x, ties to even, for |x| < 2^22: the addition rounds. */
static inline float dn_roundf(float x)
{
    return (x + 12582912.0f) - 12582912.0f;
}

/* e^x, relative error below 2e-7; 0 below -87, e^88 above 88. */
static inline float dn_expf(float x)
{
    float lo = x < -87.0f ? -87.0f : x;
    float y = lo > 88.0f ? 88.0f : lo;
    float n = dn_roundf(y * 1.44269504088896341f);
    /* ln 2 in two parts, so that n ln 2 is exact enough. */
    float r = (y - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r) * r + r + 1.0f;
    float scale = dn_bits_float((uint32_t)((int32_t)n + 127) << 23);
    return x < -87.0f ? 0.0f : p * scale;
}

/*
 * x / (1 + e^-x) (SiLU, also called swish), relative error below 5e-7 for x > -10, absolute below
 * 1e-9 beyond. The power of two is a quintic fitted for least relative error; the reciprocal, three
 * Newton steps from a guess that subtracts the exponent: a division would take as long as all the
 * rest.
 */
static inline float dn_siluf(float x)
{
    float t = x * -1.44269504f;
    t = t > -120.0f ? t : -120.0f;
    t = t < 120.0f ? t : 120.0f;
    float shifted = t + 12582912.0f; /* the nearest integer, in the low bits */
    float f = t - (shifted - 12582912.0f);
    float p = 0x1.5c08e6p-10f;
    p = DN_FMAF(p, f, 0x1.3d0c52p-7f);
    p = DN_FMAF(p, f, 0x1.c6b6e4p-5f);
    p = DN_FMAF(p, f, 0x1.ebf918p-3f);
    p = DN_FMAF(p, f, 0x1.62e428p-1f);
    p = DN_FMAF(p, f, 1.0f);
    float d = 1.0f + dn_bits_float(dn_float_bits(p) + (dn_float_bits(shifted) << 23));
    float r = dn_bits_float(0x7ef311c7u - dn_float_bits(d));
    r = r * DN_FMAF(-d, r, 2.0f);
    r = r * DN_FMAF(-d, r, 2.0f);
    r = r * DN_FMAF(-d, r, 2.0f);
    return x * r;
}

/* ln x for finite normal x > 0, relative error below 2e-7. */
static inline float dn_logf(float x)
{
    uint32_t bits = dn_float_bits(x);
    /* x = m 2^e with m in [sqrt(1/2), sqrt(2)). */
    int32_t e = (int32_t)((bits - 0x3f3504f3u) >> 23);
    e = e > 255 ? e - 512 : e; /* arithmetic shift by hand */
    float m = dn_bits_float(bits - ((uint32_t)e << 23)) - 1.0f;
    float z = m * m;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    p = p * m * z;
    float fe = (float)e;
    p = p + fe * -2.12194440e-4f;
    p = p - 0.5f * z;
    return m + p + fe * 0.693359375f;
}

/* sin and cos of 2 pi u for |u| < 2^21, absolute error below 2e-7. */
static inline void dn_sincos_turnsf(float u, float *sine, float *cosine)
{
    /* Quarter turns: u = q / 4 + r with |r| <= 1/8; both steps are exact. */
    float q = dn_roundf(u * 4.0f);
    float r = (u - q * 0.25f) * 6.28318530717958648f;
    int32_t quadrant = (int32_t)q & 3;
    float z = r * r;
    float s = -1.9515295891e-4f;
    s = s * z + 8.3321608736e-3f;
    s = s * z - 1.6666654611e-1f;
    s = s * z * r + r;
    float c = 2.443315711809948e-5f;
    c = c * z - 1.388731625493765e-3f;
    c = c * z + 4.166664568298827e-2f;
    c = c * z * z - 0.5f * z + 1.0f;
    float a = (quadrant & 1) ? c : s;
    float b = (quadrant & 1) ? s : c;
    *sine = (quadrant & 2) ? -a : a;
    *cosine = ((quadrant + 1) & 2) ? -b : b;
}

/* ln x for finite normal x > 0 in double precision, relative error below 1e-15 away from 1. */
static inline double dn_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t e = (int64_t)(bits >> 52) - 1023;
    uint64_t mantissa = (bits & UINT64_C(0xfffffffffffff)) | UINT64_C(0x3ff0000000000000);
    double m;
    memcpy(&m, &mantissa, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e += 1;
    }
    /* ln m = 2 atanh((m - 1) / (m + 1)); the argument is at most 0.1716, 13 terms are enough. */
    double w = (m - 1.0) / (m + 1.0);
    double z = w * w;
    double p = 0.0;
    for (int k = 25; k >= 1; k -= 2)
        p = p * z + 1.0 / k;
    return 2.0 * w * p + (double)e * 0.6931471805599453;
}

#endif
