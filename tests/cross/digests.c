#include "tests/cross/digests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/rng.h"
#include "core/kernels/kernels.h"

uint64_t digest_add(uint64_t hash, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

_Noreturn void die(const char *what)
{
    fprintf(stderr, "digests: %s\n", what);
    exit(1);
}

/* ---- kernel by kernel ------------------------------------------------------------------------ */

/* Noise in every float, a border of one pixel included; a kernel's output is digested with what it
 * must not touch. */
struct canvas {
    struct dn_map map;
    float *memory;
    size_t floats;
};

static float *noise_new(size_t n, uint32_t index)
{
    float *p = dn_alloc(n * sizeof *p);
    if (!p)
        die("out of memory");
    dn_noise(p, n, 7, index, 0);
    return p;
}

static struct canvas canvas_new(int h, int w, int c, int gap, uint32_t index)
{
    int ld = c + gap, pitch = (w + 2) * ld;
    struct canvas v = {.floats = (size_t)((h + 2) * pitch)};
    v.memory = noise_new(v.floats, index);
    v.map = (struct dn_map){v.memory + pitch + ld, DN_FP32, h, w, c, ld, pitch};
    return v;
}

struct shape {
    int h, w, c;
};
static const struct shape shapes[] = {{1, 1, 1},   {3, 5, 2},  {4, 13, 33},
                                      {2, 28, 16}, {5, 7, 32}, {2, 15, 20}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void print(const char *what, uint64_t hash)
{
    printf("%s %016llx\n", what, (unsigned long long)hash);
}

static struct dn_epilogue epilogue_of(int variant, const struct dn_map *residual,
                                      const float *channel)
{
    return (struct dn_epilogue){(enum dn_act)(variant % 3), variant & 1 ? residual : NULL,
                                variant & 2 ? channel : NULL};
}

static uint64_t conv(const struct dn_kernels *k, uint64_t hash, struct shape s, int out_c, int size,
                     int variant)
{
    struct dn_conv cv = {.h = s.h,
                         .w = s.w,
                         .in_c = s.c,
                         .out_c = out_c,
                         .stride = 1 + variant % 2,
                         .n_taps = size * size};
    struct canvas in = canvas_new(s.h * cv.stride, s.w * cv.stride, s.c, variant % 3, 1);
    struct canvas residual = canvas_new(s.h, s.w, out_c, 1, 2);
    struct canvas out = canvas_new(s.h, s.w, out_c, variant % 2 * 5, 3);
    size_t n = (size_t)(cv.n_taps * s.c * out_c);
    float *weights = noise_new(n, 4), *bias = noise_new((size_t)(2 * out_c), 5);
    struct dn_epilogue epilogue = epilogue_of(variant, &residual.map, bias + out_c);

    cv.bias = variant & 4 ? bias : NULL;
    for (int t = 0; t < cv.n_taps; t++) {
        cv.dy[t] = (int8_t)(t / size - size / 2);
        cv.dx[t] = (int8_t)(t % size - size / 2);
    }
    void *packed = dn_alloc(k->conv_packed(&cv));
    float *scratch = dn_alloc(k->conv_scratch(&cv) * sizeof(float));
    if (!packed || !scratch)
        die("out of memory");
    k->conv_pack(packed, &cv, weights);
    cv.weights = packed;
    k->conv(&cv, &in.map, &out.map, &epilogue, scratch);
    hash = digest_add(hash, out.memory, out.floats * sizeof(float));
    free(packed);
    free(scratch);
    free(weights);
    free(bias);
    free(in.memory);
    free(residual.memory);
    free(out.memory);
    return hash;
}

static void convolutions(const struct dn_kernels *k)
{
    static const int outs[] = {1, 16, 33};
    char what[64];
    int variant = 0;
    for (int s = 0; s < SHAPES; s++) {
        uint64_t hash = DIGEST_START;
        for (size_t o = 0; o < sizeof outs / sizeof *outs; o++)
            for (int size = 1; size <= 3; size += 2, variant++)
                hash = conv(k, hash, shapes[s], outs[o], size, variant);
        snprintf(what, sizeof what, "conv-%dx%dx%d", shapes[s].h, shapes[s].w, shapes[s].c);
        print(what, hash);
    }
    /* Winograd in either tile, with tiles that lie half beyond the edge. */
    print("conv-winograd-2", conv(k, DIGEST_START, (struct shape){7, 9, 32}, 48, 3, 4));
    print("conv-winograd-4", conv(k, DIGEST_START, (struct shape){13, 15, 32}, 48, 3, 8));
}

static void the_rest(const struct dn_kernels *k)
{
    uint64_t group = DIGEST_START, layer = group, pointwise = group, attention = group;
    for (int s = 0; s < SHAPES; s++) {
        int h = shapes[s].h, w = shapes[s].w, c = shapes[s].c;
        struct canvas in = canvas_new(h, w, c, 3, 1);
        float *p = noise_new((size_t)(3 * c), 2);
        struct dn_epilogue epilogue = epilogue_of(s, &in.map, p);
        for (int n = 1; n <= c; n++) {
            if (c % n)
                continue;
            struct canvas out = canvas_new(h, w, c, n % 3, 3);
            struct dn_group_norm norm = {n, 1e-5f, p, p + c};
            k->group_norm(&norm, &in.map, n & 1 ? p + 2 * c : NULL, &out.map, &epilogue);
            group = digest_add(group, out.memory, out.floats * sizeof(float));

            float *scratch = dn_alloc(k->attention_scratch(h * w, c, n) * sizeof(float));
            if (!scratch)
                die("out of memory");
            k->attention(n, &in.map, &in.map, &in.map, &out.map, &epilogue, scratch);
            attention = digest_add(attention, out.memory, out.floats * sizeof(float));
            free(scratch);
            free(out.memory);
        }
        struct canvas out = canvas_new(h, w, c, 2, 3);
        struct dn_layer_norm norm = {1e-5f, p, p + c};
        k->layer_norm(&norm, &in.map, &out.map);
        layer = digest_add(layer, out.memory, out.floats * sizeof(float));
        k->pointwise(&in.map, &out.map, &epilogue);
        pointwise = digest_add(pointwise, out.memory, out.floats * sizeof(float));
        free(out.memory);
        free(in.memory);
        free(p);
    }
    print("group_norm", group);
    print("attention", attention);
    print("layer_norm", layer);
    print("pointwise", pointwise);
}

/* ---- the command line ------------------------------------------------------------------------ */

static void print_table(const char *what, const struct dn_kernels *k)
{
    printf("%s %s %s %s\n", what, dn_isa_name(k->isa), dn_precision_name(k->precision), k->domain);
}

/* What `auto` takes, every table that runs here, the processor's features. */
static void print_tables(void)
{
    static const enum dn_isa isas[] = {DN_ISA_SCALAR, DN_ISA_OPENBLAS, DN_ISA_AVX2,
                                       DN_ISA_AVX512, DN_ISA_AMX,      DN_ISA_NEON};
    char features[256];

    print_table("auto", dn_kernels_for(DN_ISA_AUTO, DN_PRECISION_AUTO));
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        for (int precision = DN_PRECISION_FP32; precision <= DN_PRECISION_BF16; precision++) {
            const struct dn_kernels *k = dn_kernels_for(isas[i], (enum dn_precision)precision);
            if (k)
                print_table("table", k);
        }
    dn_cpu_features(features, sizeof features);
    printf("features %s\n", features);
}

int main(int argc, char **argv)
{
    int isa = argc > 3 ? dn_isa_by_name(argv[2]) : -1;
    int precision = argc > 3 ? dn_precision_by_name(argv[3]) : -1;

    if (argc == 2 && strcmp(argv[1], "tables") == 0) {
        print_tables();
        return 0;
    }
    if (isa < 0 || precision < 0)
        die("usage: digests tables | digests ISA PRECISION | image ISA PRECISION MODEL");
    const struct dn_kernels *k = dn_kernels_for((enum dn_isa)isa, (enum dn_precision)precision);
    if (!k)
        die("no such kernels here");
    if (argc == 5 && strcmp(argv[1], "image") == 0) {
        rows_print_image(k, argv[4]);
    } else if (argc == 4 && strcmp(argv[1], "digests") == 0) {
        if (k->precision == DN_PRECISION_FP32) {
            convolutions(k);
            the_rest(k);
        }
        rows_print_small(k);
    } else {
        die("no such command");
    }
    return 0;
}
