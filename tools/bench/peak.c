/*
 * What one core of this processor can do at most, measured: multiply-adds by instruction set and
 * load bandwidth by cache. x86-64.
 *
 *     peak              prints {"gflops": {"avx2": ..}, "gb_per_s": {"L1": ..}}
 *
 * Each figure is the best of several short runs: a peak is what nothing disturbed. A multiply-add
 * counts as two operations, also where an instruction has 32 or 16384 of them.
 */
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RUNS 15
#define LOOPS 200000
#define TILE_LOOPS 25000
#define STREAM_BYTES ((size_t)128 << 20) /* read in a run of a bandwidth measurement, about */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Each loop body has as many independent sums as registers allow, so that throughput and not
 * latency is what is measured. In assembly, because a compiler would keep them in memory or fold
 * them. All registers are zero: the rate does not depend on values, as long as none is denormal. */
#define LOOP(n, sums, zero, factors, instruction)                                                  \
    __asm__ volatile("vzeroall\n " zero "\n 1:\n .irp r," sums "\n " instruction " " factors       \
                     "\\r\n .endr\n dec %0\n jnz 1b"                                               \
                     : "+r"(n)                                                                     \
                     :                                                                             \
                     : "cc", REGISTERS)

#define REGISTERS                                                                                  \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define SUMS "0,1,2,3,4,5,6,7,8,9,10,11"

__attribute__((target("avx2,fma"))) static double fma_avx2(void)
{
    uint64_t n = LOOPS;
    LOOP(n, SUMS, "", "%%ymm14,%%ymm15,%%ymm", "vfmadd231ps");
    return 2.0 * 8 * 12 * LOOPS;
}

#undef REGISTERS
#undef SUMS
#define REGISTERS                                                                                  \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20",  \
        "xmm21", "xmm22", "xmm23", "xmm30", "xmm31"
#define SUMS "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23"
#define ZERO "vpxord %%zmm30,%%zmm30,%%zmm30\n vpxord %%zmm31,%%zmm31,%%zmm31"

__attribute__((target("avx512f"))) static double fma_avx512(void)
{
    uint64_t n = LOOPS;
    LOOP(n, SUMS, ZERO, "%%zmm30,%%zmm31,%%zmm", "vfmadd231ps");
    return 2.0 * 16 * 24 * LOOPS;
}

__attribute__((target("avx512f,avx512bf16"))) static double dot_bf16(void)
{
    uint64_t n = LOOPS;
    LOOP(n, SUMS, ZERO, "%%zmm30,%%zmm31,%%zmm", "vdpbf16ps");
    return 2.0 * 32 * 24 * LOOPS;
}

/* Four tiles of sums from two and two of factors: 16 x 16 sums over 32 products each. */
__attribute__((target("amx-tile,amx-bf16"))) static double tile_bf16(void)
{
    struct {
        uint8_t palette, start_row, zero[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    /* gcc 12 takes _tile_loadconfig() to read 8 bytes and drops the stores to the rest. */
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
    /* Factors of both signs between 1/2 and 2: zeros take less power, and so run at a higher clock.
     */
    _Alignas(64) static uint16_t factors[16 * 32];
    uint32_t bits = 1;
    for (int i = 0; i < 16 * 32; i++) {
        bits = bits * 1664525u + 1013904223u;
        factors[i] = (uint16_t)(0x3f00u + (bits >> 24) + (bits >> 8 & 0x8000u));
    }
    __asm__ volatile("" : : "r"(factors) : "memory");
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, factors, 64);
    _tile_loadd(5, factors, 64);
    _tile_loadd(6, factors, 64);
    _tile_loadd(7, factors, 64);
    for (int n = 0; n < TILE_LOOPS; n++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return 2.0 * 16 * 16 * 32 * 4 * TILE_LOOPS;
}

/* May this process use the tile registers? Linux grants them on demand. */
static bool has_amx(void)
{
#define REQUEST_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18
    unsigned a = 0, b = 0, c = 0, d = 0;
    __asm__ volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
    if (a < 7)
        return false;
    a = 7;
    c = 0;
    __asm__ volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
    return (d >> 24 & 1) != 0 && (d >> 22 & 1) != 0 &&
           syscall(SYS_arch_prctl, REQUEST_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* Reads `bytes`, a multiple of 512, again and again. */
#define LOAD_512_BYTES(at, instruction, offsets, to)                                               \
    __asm__ volatile(".irp offset," offsets "\n " instruction " \\offset(%0),%%" to "\n .endr"     \
                     :                                                                             \
                     : "r"(at)                                                                     \
                     : "xmm0")

__attribute__((target("avx512f"))) static double load_avx512(const char *data, size_t bytes)
{
    size_t passes = STREAM_BYTES / bytes;
    for (size_t pass = 0; pass < passes; pass++)
        for (const char *at = data; at < data + bytes; at += 512)
            LOAD_512_BYTES(at, "vmovaps", "0,64,128,192,256,320,384,448", "zmm0");
    return (double)(passes * bytes);
}

__attribute__((target("avx2"))) static double load_avx2(const char *data, size_t bytes)
{
    size_t passes = STREAM_BYTES / bytes;
    for (size_t pass = 0; pass < passes; pass++)
        for (const char *at = data; at < data + bytes; at += 512)
            LOAD_512_BYTES(at, "vmovaps",
                           "0,32,64,96,128,160,192,224,256,288,320,352,384,416,448,480", "ymm0");
    return (double)(passes * bytes);
}

static void print_flops(const char *name, double (*work)(void), bool *has_printed)
{
    double best = 0;
    for (int i = 0; i < RUNS; i++) {
        double before_s = now_s(), operations = work(), rate = operations / (now_s() - before_s);
        best = rate > best ? rate : best;
    }
    printf("%s\"%s\":%.5g", *has_printed ? "," : "", name, best * 1e-9);
    *has_printed = true;
}

/* Half of each cache, so that what else lies there has room; of a server's L3 a share that is in it
 * and in nothing nearer. Returns 0 or -1. */
static int print_bandwidth(bool has_avx512)
{
    static const struct {
        const char *name;
        int what;
        size_t bytes_max;
    } caches[] = {{"L1", _SC_LEVEL1_DCACHE_SIZE, SIZE_MAX},
                  {"L2", _SC_LEVEL2_CACHE_SIZE, SIZE_MAX},
                  {"L3", _SC_LEVEL3_CACHE_SIZE, (size_t)16 << 20}};
    bool has_printed = false;
    for (size_t c = 0; c < sizeof caches / sizeof caches[0]; c++) {
        long cache = sysconf(caches[c].what);
        if (cache <= 0)
            continue;
        size_t bytes = (size_t)cache / 2 & ~(size_t)4095;
        bytes = bytes < caches[c].bytes_max ? bytes : caches[c].bytes_max;
        char *data = aligned_alloc(4096, bytes);
        if (data == NULL)
            return -1;
        memset(data, 1, bytes);
        double best = 0;
        for (int i = 0; i < RUNS; i++) {
            double before_s = now_s();
            double moved = has_avx512 ? load_avx512(data, bytes) : load_avx2(data, bytes);
            double rate = moved / (now_s() - before_s);
            best = rate > best ? rate : best;
        }
        free(data);
        printf("%s\"%s\":%.5g", has_printed ? "," : "", caches[c].name, best * 1e-9);
        has_printed = true;
    }
    return 0;
}

int main(void)
{
    bool has_printed = false;
    bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool has_avx512 = __builtin_cpu_supports("avx512f");
    if (!has_avx2) {
        fprintf(stderr, "peak: AVX2 and FMA needed\n");
        return 1;
    }
    printf("{\"gflops\":{");
    print_flops("avx2", fma_avx2, &has_printed);
    if (has_avx512)
        print_flops("avx512", fma_avx512, &has_printed);
    if (__builtin_cpu_supports("avx512bf16"))
        print_flops("avx512_bf16", dot_bf16, &has_printed);
    if (has_amx())
        print_flops("amx_bf16", tile_bf16, &has_printed);
    printf("},\"gb_per_s\":{");
    if (print_bandwidth(has_avx512) < 0)
        return 1;
    printf("}}\n");
    return 0;
}
