/*
 * The compute kernels: one table of typed functions for each instruction set.
 *
 * A map is one image's feature map or its tokens, channels last. Every kernel works on one image
 * at a time, so that a result cannot depend on batch mates, and fixes the order of its sums: tables
 * of one domain (see struct dn_kernels) agree bit for bit.
 *
 * Precision: fp32 tables know fp32 maps alone. In a bf16 table a convolution multiplies bf16 by
 * bf16 and sums in fp32 where its input map is bf16, and is an fp32 convolution where that is fp32;
 * norms and pointwise operations compute in fp32 and read and write maps of both types; attention
 * with heads of a multiple of DN_BF16_HEAD channels multiplies bf16 by bf16 where the table says
 * so, and else takes fp32 maps alone.
 *
 * Kernels allocate nothing, keep no state and may run on any thread. Broken shapes are broken
 * invariants of the graph and are asserted there.
 *
 * Letters: H W rows and columns of a map, C channels, I O channels in and out, T tokens (T = H W),
 * D channels of a head.
 */
#ifndef CORE_KERNELS_KERNELS_H
#define CORE_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/denoise.h"

enum dn_type { DN_FP32, DN_BF16 };

/* [H,W,C] values: pixel (y,x) is data[y * pitch + x * ld .. + C). A map that a 3x3 convolution
 * reads has a border of zero pixels around it; a slice of a concatenation has ld > C. */
struct dn_map {
    void *data; /* float, or uint16_t holding a bf16 */
    enum dn_type type;
    int h, w, c;
    int ld;    /* values from one pixel to the next */
    int pitch; /* values from one row to the next */
};

/* Values behind the last pixel of a map that a convolution may read and throw away: a matrix unit
 * takes four tiles of 16 pixels at a time, or of 16 pixels of a row each, two apart at most. */
static inline size_t dn_map_slack(int ld, int pitch)
{
    return 8 * (size_t)pitch + 128 * (size_t)ld;
}

enum dn_act {
    DN_ACT_NONE,
    DN_ACT_RELU,
    DN_ACT_SILU,
    DN_ACT_SILU_BF16, /* to a bf16's precision, whatever the output's type: bf16 tables alone */
};

/* What follows a kernel's own result r, channel c: act(r) + residual + channel[c]. */
struct dn_epilogue {
    enum dn_act act;
    const struct dn_map *residual; /* [H,W,C] of the output, or NULL */
    const float *channel;          /* [C], or NULL */
};

enum {
    DN_MAX_TAPS = 16,
    DN_MAX_CHANNELS = 1024, /* of any map: kernels keep a few rows of channels on the stack */
    DN_BF16_CHANNELS = 32,  /* a convolution of a multiple of so many input channels can be bf16 */
    DN_BF16_HEAD = 16,
};

/*
 * A convolution as a list of taps: out[y][x] = bias + sum over taps n of
 * in[y * stride + dy[n]][x * stride + dx[n]] W[n]. A 3x3 convolution has nine, a linear layer one,
 * a phase of a stride-2 transposed convolution one, two or four.
 */
struct dn_conv {
    enum dn_type type; /* of the input map: a bf16 table computes in it */
    int h, w;          /* of the output */
    int in_c, out_c;
    int stride;
    int n_taps;
    int8_t dy[DN_MAX_TAPS], dx[DN_MAX_TAPS];
    const void *weights; /* as the table's conv_pack left them */
    const float *bias;   /* [O], or NULL */
};

struct dn_group_norm {
    int groups;
    float eps;
    const float *weight, *bias; /* [C] */
};

struct dn_layer_norm {
    float eps;
    const float *weight, *bias; /* [C] */
};

struct dn_kernels {
    enum dn_isa isa;
    enum dn_precision precision;
    const char *domain; /* results have the same bits wherever this name is the same */

    /* Bytes of this table's own order of weights; it may depend on all of conv but the pointers. */
    size_t (*conv_packed)(const struct dn_conv *conv);
    /* Weights [taps][I][O] -> that order. */
    void (*conv_pack)(void *packed, const struct dn_conv *conv, const float *weights);
    /* Scratch floats that conv() needs. */
    size_t (*conv_scratch)(const struct dn_conv *conv);
    /* in and out never overlap; the residual may be out itself. */
    void (*conv)(const struct dn_conv *conv, const struct dn_map *in, const struct dn_map *out,
                 const struct dn_epilogue *epilogue, float *scratch);

    /* Group norm of in + pre[c] (pre NULL: 0), Wu & He 2018; statistics over an image and a group.
     */
    void (*group_norm)(const struct dn_group_norm *norm, const struct dn_map *in, const float *pre,
                       const struct dn_map *out, const struct dn_epilogue *epilogue);
    /* Layer norm of each pixel over its channels, Ba et al. 2016. */
    void (*layer_norm)(const struct dn_layer_norm *norm, const struct dn_map *in,
                       const struct dn_map *out);

    bool attention_in_bf16;
    /* Self-attention over the T = H W pixels: softmax(q k' / sqrt(D)) v by head. */
    size_t (*attention_scratch)(int tokens, int channels, int heads);
    void (*attention)(int heads, const struct dn_map *q, const struct dn_map *k,
                      const struct dn_map *v, const struct dn_map *out,
                      const struct dn_epilogue *epilogue, float *scratch);

    /* out = act(in) + residual + channel; in and out may be the same map. */
    void (*pointwise)(const struct dn_map *in, const struct dn_map *out,
                      const struct dn_epilogue *epilogue);
};

/* Number of virtual lanes in which a sum over channels or tokens is taken: element i goes to lane
 * i % DN_LANES, and the lanes are added pairwise. It does not follow the registers of a machine. */
enum { DN_LANES = 16 };

/* The table of `isa` and `precision` on this processor; NULL where it is not to be had. AUTO gives
 * the fastest. */
const struct dn_kernels *dn_kernels_for(enum dn_isa isa, enum dn_precision precision);

/* ---- the tables' parts ----------------------------------------------------------------------- */

extern const struct dn_kernels dn_kernels_reference, dn_kernels_reference_bf16;

size_t dn_reference_bf16_conv_packed(const struct dn_conv *conv);
void dn_reference_bf16_conv_pack(void *packed, const struct dn_conv *conv, const float *weights);
size_t dn_reference_bf16_conv_scratch(const struct dn_conv *conv);
void dn_reference_bf16_conv(const struct dn_conv *conv, const struct dn_map *in,
                            const struct dn_map *out, const struct dn_epilogue *epilogue,
                            float *scratch);

size_t dn_reference_bf16_attention_scratch(int tokens, int channels, int heads);
void dn_reference_bf16_attention(int heads, const struct dn_map *q, const struct dn_map *k,
                                 const struct dn_map *v, const struct dn_map *out,
                                 const struct dn_epilogue *epilogue, float *scratch);

/* Make every OpenBLAS call of this process run on its caller's thread alone; false where the build
 * of OpenBLAS does not let itself. */
bool dn_openblas_use_one_thread(void);

/* OpenBLAS convolutions. The rest of its table is the best vector code of this processor. */
size_t dn_openblas_conv_packed(const struct dn_conv *conv);
void dn_openblas_conv_pack(void *packed, const struct dn_conv *conv, const float *weights);
size_t dn_openblas_conv_scratch(const struct dn_conv *conv);
void dn_openblas_conv(const struct dn_conv *conv, const struct dn_map *in, const struct dn_map *out,
                      const struct dn_epilogue *epilogue, float *scratch);

#if defined(__x86_64__)
extern const struct dn_kernels dn_kernels_avx2, dn_kernels_avx512;
extern const struct dn_kernels dn_kernels_amx, dn_kernels_avx512_bf16;
extern const struct dn_kernels dn_kernels_openblas_avx2, dn_kernels_openblas_avx512;
#endif
#if defined(__aarch64__)
extern const struct dn_kernels dn_kernels_neon, dn_kernels_openblas_neon;
#else
extern const struct dn_kernels dn_kernels_openblas_baseline;
#endif

#endif
