/*
 * What the files of the vector convolutions share: a tile of sums in registers, P pixels x V
 * registers of output channels. Each input value is broadcast, each weight register is loaded once
 * a tile.
 */
#ifndef CORE_KERNELS_VECTOR_CONV_H
#define CORE_KERNELS_VECTOR_CONV_H

#include "core/kernels/conv_form.h"
#include "core/kernels/vector/vector.h"

#if defined(CORE_KERNELS_SIMD_NATIVE)

/* P V sums and V weights, and on NEON, which has no broadcast from memory, P inputs. */
enum {
    V = V_LANES == 4 ? 4 : 2,
    P_MAX = V_LANES == 4 ? 5 : (V_REGISTERS == 32 ? 14 : 6),
    BLOCK = V * V_LANES,
};

/* sums[p * sums_ld ..] = start + sum over taps and channels, for `pixels` <= P_MAX pixels of which
 * `in` is the first, and `regs` registers, 1 or V. Weights [taps][I][BLOCK]. */
void ISA(dn_conv_tile)(int pixels, int regs, const struct dn_conv *cv, const float *in, int in_ld,
                       int in_pitch, const float *weights, const float *start, float *sums,
                       int sums_ld);

#define conv_tile ISA(dn_conv_tile)

size_t ISA(dn_winograd_scratch)(const struct dn_conv *cv);
void ISA(dn_winograd)(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                      const struct dn_epilogue *epilogue, float *scratch);

/* Do the sums go straight to their place, with nothing to follow? */
static inline bool is_plain(const struct dn_map *out, const struct dn_epilogue *e)
{
    return out->type == DN_FP32 && e->act == DN_ACT_NONE && !e->residual && !e->channel;
}

#endif

#endif
