/* Which table a processor can run. __builtin_cpu_supports asks CPUID and, for AVX and AVX-512,
 * XGETBV (does the operating system save the registers). */
#include <stdio.h>
#include <string.h>

#include "core/kernels/kernels.h"

static const struct {
    const char *name;
    enum dn_isa isa;
} isas[] = {
    {"auto", DN_ISA_AUTO}, {"scalar", DN_ISA_SCALAR}, {"openblas", DN_ISA_OPENBLAS},
    {"avx2", DN_ISA_AVX2}, {"avx512", DN_ISA_AVX512}, {"amx", DN_ISA_AMX},
    {"neon", DN_ISA_NEON},
};

static const char *const precisions[] = {"auto", "fp32", "bf16"};

int dn_isa_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (strcmp(isas[i].name, name) == 0)
            return (int)isas[i].isa;
    return -1;
}

const char *dn_isa_name(enum dn_isa isa)
{
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (isas[i].isa == isa)
            return isas[i].name;
    return "unknown";
}

int dn_precision_by_name(const char *name)
{
    for (int i = 0; i < (int)(sizeof precisions / sizeof *precisions); i++)
        if (strcmp(precisions[i], name) == 0)
            return i;
    return -1;
}

const char *dn_precision_name(enum dn_precision precision)
{
    return precisions[precision];
}

#if defined(__x86_64__)
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

static const struct dn_kernels *fp32_kernels_for(enum dn_isa isa)
{
    switch (isa) {
    case DN_ISA_SCALAR:
        return &dn_kernels_reference;
#if defined(__x86_64__)
    case DN_ISA_AUTO:
        return has_avx512() ? &dn_kernels_avx512
               : has_avx2() ? &dn_kernels_avx2
                            : &dn_kernels_openblas_baseline;
    case DN_ISA_OPENBLAS:
        return has_avx512() ? &dn_kernels_openblas_avx512
               : has_avx2() ? &dn_kernels_openblas_avx2
                            : &dn_kernels_openblas_baseline;
    case DN_ISA_AVX2:
        return has_avx2() ? &dn_kernels_avx2 : NULL;
    case DN_ISA_AVX512:
        return has_avx512() ? &dn_kernels_avx512 : NULL;
#else
    case DN_ISA_AUTO:
    case DN_ISA_OPENBLAS:
        return &dn_kernels_openblas_baseline;
#endif
    default:
        return NULL;
    }
}

const struct dn_kernels *dn_kernels_for(enum dn_isa isa, enum dn_precision precision)
{
    return precision == DN_PRECISION_BF16 ? NULL : fp32_kernels_for(isa);
}

bool dn_isa_available(enum dn_isa isa)
{
    return dn_kernels_for(isa, DN_PRECISION_AUTO) != NULL;
}

void dn_cpu_features(char *text, size_t bytes)
{
    size_t used = 0;
    if (bytes > 0)
        text[0] = '\0';
#if defined(__x86_64__)
    static const char *const names[] = {"sse4.2",     "avx",       "avx2",     "fma",
                                        "avx512f",    "avx512bw",  "avx512dq", "avx512vl",
                                        "avx512vnni", "avx512bf16"};
    const int found[] = {
        __builtin_cpu_supports("sse4.2"),     __builtin_cpu_supports("avx"),
        __builtin_cpu_supports("avx2"),       __builtin_cpu_supports("fma"),
        __builtin_cpu_supports("avx512f"),    __builtin_cpu_supports("avx512bw"),
        __builtin_cpu_supports("avx512dq"),   __builtin_cpu_supports("avx512vl"),
        __builtin_cpu_supports("avx512vnni"), __builtin_cpu_supports("avx512bf16"),
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!found[i] || used >= bytes)
            continue;
        int n = snprintf(text + used, bytes - used, "%s%s", used ? " " : "", names[i]);
        used += n > 0 ? (size_t)n : 0;
    }
#else
    (void)used;
#endif
}
