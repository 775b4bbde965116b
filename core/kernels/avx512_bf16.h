/* What the two bf16 tables of AVX-512 processors share. Only amx.c and avx512_bf16*.c include it.
 */
#ifndef CORE_KERNELS_AVX512_BF16_H
#define CORE_KERNELS_AVX512_BF16_H

#include <immintrin.h>

#include "core/kernels/vector/vector.h"

void dn_avx512_bf16_group_norm(const struct dn_group_norm *norm, const struct dn_map *in,
                               const float *pre, const struct dn_map *out,
                               const struct dn_epilogue *epilogue);
void dn_avx512_bf16_layer_norm(const struct dn_layer_norm *norm, const struct dn_map *in,
                               const struct dn_map *out);

#endif
