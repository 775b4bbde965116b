/* The tables of one instruction set: its own convolution, and the one of OpenBLAS. */
#include "core/kernels/vector/vector.h"

#if defined(CORE_KERNELS_SIMD_NATIVE)

const struct dn_kernels ISA(dn_kernels) = {
    .isa = V_ISA,
    .precision = DN_PRECISION_FP32,
    .domain = "fp32-native-2",
    .conv_packed = ISA(dn_conv_packed),
    .conv_pack = ISA(dn_conv_pack),
    .conv_scratch = ISA(dn_conv_scratch),
    .conv = ISA(dn_conv),
    .group_norm = ISA(dn_group_norm),
    .layer_norm = ISA(dn_layer_norm),
    .attention_scratch = ISA(dn_attention_scratch),
    .attention = ISA(dn_attention),
    .pointwise = ISA(dn_pointwise),
};

#endif

const struct dn_kernels ISA(dn_kernels_openblas) = {
    .isa = DN_ISA_OPENBLAS,
    .precision = DN_PRECISION_FP32,
    .domain = "fp32-openblas",
    .conv_packed = dn_openblas_conv_packed,
    .conv_pack = dn_openblas_conv_pack,
    .conv_scratch = dn_openblas_conv_scratch,
    .conv = dn_openblas_conv,
    .group_norm = ISA(dn_group_norm),
    .layer_norm = ISA(dn_layer_norm),
    .attention_scratch = ISA(dn_attention_scratch),
    .attention = ISA(dn_attention),
    .pointwise = ISA(dn_pointwise),
};
