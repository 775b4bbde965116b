/*
 * One vector register of floats for the instruction set that a file is compiled for. Only vector.h
 * includes it. Operators work on vfloat as on float; v_fma rounds once.
 */
#ifndef CORE_KERNELS_VECTOR_SIMD_H
#define CORE_KERNELS_VECTOR_SIMD_H

#include <string.h>

#if defined(__AVX512F__)

#define CORE_KERNELS_SIMD_NATIVE
#include <immintrin.h>

#define V_ISA DN_ISA_AVX512
enum { V_LANES = 16, V_REGISTERS = 32 };
typedef __m512 vfloat;
static inline vfloat v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void v_store(float *p, vfloat v)
{
    _mm512_storeu_ps(p, v);
}
static inline vfloat v_set(float f)
{
    return _mm512_set1_ps(f);
}
static inline vfloat v_fma(vfloat a, vfloat b, vfloat c)
{
    return _mm512_fmadd_ps(a, b, c);
}

#elif defined(__AVX2__)

#define CORE_KERNELS_SIMD_NATIVE
#include <immintrin.h>

#define V_ISA DN_ISA_AVX2
enum { V_LANES = 8, V_REGISTERS = 16 };
typedef __m256 vfloat;
static inline vfloat v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline void v_store(float *p, vfloat v)
{
    _mm256_storeu_ps(p, v);
}
static inline vfloat v_set(float f)
{
    return _mm256_set1_ps(f);
}
static inline vfloat v_fma(vfloat a, vfloat b, vfloat c)
{
    return _mm256_fmadd_ps(a, b, c);
}

#elif defined(__aarch64__)

#define CORE_KERNELS_SIMD_NATIVE
#include <arm_neon.h>

#define V_ISA DN_ISA_NEON
enum { V_LANES = 4, V_REGISTERS = 32 };
typedef float32x4_t vfloat;
static inline vfloat v_load(const float *p)
{
    return vld1q_f32(p);
}
static inline void v_store(float *p, vfloat v)
{
    vst1q_f32(p, v);
}
static inline vfloat v_set(float f)
{
    return vdupq_n_f32(f);
}
static inline vfloat v_fma(vfloat a, vfloat b, vfloat c)
{
    return vfmaq_f32(c, a, b);
}

#else

/* What every processor has. Here v_fma rounds twice: it serves the OpenBLAS table alone, which has
 * a domain of its own. */
enum { V_LANES = 4, V_REGISTERS = 16 };
typedef float vfloat __attribute__((vector_size(16)));
static inline vfloat v_load(const float *p)
{
    vfloat v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void v_store(float *p, vfloat v)
{
    memcpy(p, &v, sizeof v);
}
static inline vfloat v_set(float f)
{
    return (vfloat){f, f, f, f};
}
static inline vfloat v_fma(vfloat a, vfloat b, vfloat c)
{
    return a * b + c;
}

#endif

#endif
