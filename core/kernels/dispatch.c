/* Which table a processor can run. __builtin_cpu_supports asks CPUID and, for AVX and AVX-512,
 * XGETBV (does the operating system save the registers). Every AArch64 processor has NEON: its
 * calling convention needs it. */
#include <stdio.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

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

/* What the operating system saves of the registers (XCR0). */
static uint64_t saved_state(void)
{
    uint32_t a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1))
        return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Tiles with bf16. Linux gives a process their registers only when asked, for all its threads from
 * then on (Documentation/arch/x86/xstate.rst); asking again does no harm. */
static bool has_amx(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    const uint64_t tiles = UINT64_C(3) << 17;
    uint32_t a, b, c, d;
    if (!has_avx512() || (saved_state() & tiles) != tiles ||
        !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    bool bf16 = d >> 22 & 1, tile = d >> 24 & 1;
    return bf16 && tile && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static bool has_avx512_bf16(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
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
#elif defined(__aarch64__)
    case DN_ISA_AUTO:
    case DN_ISA_NEON:
        return &dn_kernels_neon;
    case DN_ISA_OPENBLAS:
        return &dn_kernels_openblas_neon;
#else
    case DN_ISA_AUTO:
    case DN_ISA_OPENBLAS:
        return &dn_kernels_openblas_baseline;
#endif
    default:
        return NULL;
    }
}

static const struct dn_kernels *bf16_kernels_for(enum dn_isa isa)
{
    switch (isa) {
    case DN_ISA_SCALAR:
        return &dn_kernels_reference_bf16;
#if defined(__x86_64__)
    case DN_ISA_AUTO:
        return has_amx() ? &dn_kernels_amx : has_avx512_bf16() ? &dn_kernels_avx512_bf16 : NULL;
    case DN_ISA_AMX:
        return has_amx() ? &dn_kernels_amx : NULL;
    case DN_ISA_AVX512:
        return has_avx512_bf16() ? &dn_kernels_avx512_bf16 : NULL;
#endif
    default:
        return NULL;
    }
}

/* Is bf16 faster than fp32 there? With AMX alone: 3.6 times on a Sapphire Rapids. Plain C is no
 * use, and fp32 has Winograd, which a dot product of pairs does not make up for: on Intel it runs
 * at half the rate of a fused multiply-add, and on a Zen 5, where the rates are equal, bf16
 * takes 1.17 to 1.19 times as long (20 pairs; `make bench-auto` measures it). A Zen 4 was never
 * measured: fp32. */
static bool is_worth_it(const struct dn_kernels *bf16)
{
    return bf16 && bf16->isa == DN_ISA_AMX;
}

const struct dn_kernels *dn_kernels_for(enum dn_isa isa, enum dn_precision precision)
{
    if (precision == DN_PRECISION_FP32)
        return fp32_kernels_for(isa);
    const struct dn_kernels *bf16 = bf16_kernels_for(isa);
    return precision == DN_PRECISION_BF16 || is_worth_it(bf16) ? bf16 : fp32_kernels_for(isa);
}

const char *dn_precision_reason(enum dn_isa isa)
{
    const struct dn_kernels *bf16 = bf16_kernels_for(isa);
    return is_worth_it(bf16)            ? "AMX multiplies matrices in bf16"
           : !bf16                      ? "there are no bf16 kernels for it on this processor"
           : bf16->isa == DN_ISA_SCALAR ? "plain C is slower in bf16"
                                        : "without AMX bf16 is slower than fp32";
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
    static const char *const names[] = {"sse4.2",     "avx",        "avx2",     "fma",
                                        "avx512f",    "avx512bw",   "avx512dq", "avx512vl",
                                        "avx512vnni", "avx512bf16", "amx-bf16"};
    const int found[] = {
        __builtin_cpu_supports("sse4.2"),
        __builtin_cpu_supports("avx"),
        __builtin_cpu_supports("avx2"),
        __builtin_cpu_supports("fma"),
        __builtin_cpu_supports("avx512f"),
        __builtin_cpu_supports("avx512bw"),
        __builtin_cpu_supports("avx512dq"),
        __builtin_cpu_supports("avx512vl"),
        __builtin_cpu_supports("avx512vnni"),
        __builtin_cpu_supports("avx512bf16"),
        has_amx(),
    };
#elif defined(__aarch64__)
    /* Named as in /proc/cpuinfo. */
    static const char *const names[] = {"asimd", "asimdhp", "asimddp", "sve",
                                        "sve2",  "i8mm",    "bf16"};
    unsigned long base = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
    const bool found[] = {
        base & HWCAP_ASIMD, base & HWCAP_ASIMDHP, base & HWCAP_ASIMDDP, base & HWCAP_SVE,
        more & HWCAP2_SVE2, more & HWCAP2_I8MM,   more & HWCAP2_BF16,
    };
#else
    static const char *const names[] = {"none"};
    const bool found[] = {false};
#endif
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!found[i] || used >= bytes)
            continue;
        int n = snprintf(text + used, bytes - used, "%s%s", used ? " " : "", names[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}
