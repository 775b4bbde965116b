/*
 * Every kernel table against the plain-C reference, over odd sizes, odd strides and guard bytes.
 * The native tables must give the same bits; OpenBLAS sums in its own order and gets a tolerance.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/base/rng.h"
#include "core/kernels/bf16.h"
#include "core/kernels/conv_form.h"
#include "core/kernels/kernels.h"

static const float GUARD = 1e30f;

enum { DOT_FIRST = 1 }; /* which of a pair of channels the dot product adds first */

/* Of the largest magnitude: a sum of a few hundred products in another order. */
static const double BLAS_TOLERANCE = 2e-6;

/* A map with a border of one pixel and `gap` values after each pixel, everything else GUARD. */
struct canvas {
    struct dn_map map;
    char *memory;
    size_t values;
};

static float canvas_value(const struct canvas *v, size_t i)
{
    return dn_load(v->memory, v->map.type, (int)i);
}

static struct canvas canvas_of(enum dn_type type, int h, int w, int c, int gap, bool noise,
                               uint32_t index)
{
    struct canvas v;
    int ld = c + gap, pitch = (w + 2) * ld;
    v.values = (size_t)((h + 2) * pitch) + dn_map_slack(ld, pitch);
    v.memory = malloc(v.values * dn_type_bytes(type));
    assert_non_null(v.memory);
    for (size_t i = 0; i < v.values; i++)
        dn_store(v.memory, type, (int)i, GUARD);
    v.map = (struct dn_map){
        v.memory + (size_t)(pitch + ld) * dn_type_bytes(type), type, h, w, c, ld, pitch};
    if (noise) {
        float *values = malloc((size_t)(h * w * c + 4) * sizeof(float));
        assert_non_null(values);
        dn_noise(values, (size_t)(h * w * c), 99, index, 0);
        for (int y = -1; y <= h; y++)
            for (int x = -1; x <= w; x++)
                for (int k = 0; k < c; k++)
                    dn_store(dn_pixel(&v.map, y, x), type, k,
                             y < 0 || y == h || x < 0 || x == w ? 0.0f
                                                                : values[(y * w + x) * c + k]);
        free(values);
    }
    return v;
}

static struct canvas canvas_new(int h, int w, int c, int gap, bool noise, uint32_t index)
{
    return canvas_of(DN_FP32, h, w, c, gap, noise, index);
}

/* Bits equal everywhere (guards too) if `exact`; else close, and guards untouched. Index of the
 * first value that differs, or the number of values. */
static size_t first_difference(const struct canvas *want, const struct canvas *found, bool exact)
{
    float guard = want->map.type == DN_BF16 ? dn_bf16_to_float(dn_bf16_of_float(GUARD)) : GUARD;
    double top = 0;
    for (size_t i = 0; i < want->values; i++)
        if (canvas_value(want, i) != guard)
            top = fmax(top, fabs(canvas_value(want, i)));
    for (size_t i = 0; i < want->values; i++) {
        float a = canvas_value(want, i), b = canvas_value(found, i);
        bool same = memcmp(&a, &b, sizeof a) == 0;
        if (!same && (exact || a == guard || !(fabs(a - b) <= BLAS_TOLERANCE * top)))
            return i;
    }
    return want->values;
}

static void compare(const struct canvas *want, const struct canvas *found, bool exact,
                    const char *what)
{
    size_t i = first_difference(want, found, exact);
    if (i < want->values)
        fail_msg("%s: value %zu of %zu: %.9g expected, %.9g found", what, i, want->values,
                 canvas_value(want, i), canvas_value(found, i));
}

static const enum dn_isa isas[] = {DN_ISA_OPENBLAS, DN_ISA_AVX2, DN_ISA_AVX512, DN_ISA_NEON};
enum { ISAS = sizeof isas / sizeof *isas };

struct shape {
    int h, w, c;
};
static const struct shape shapes[] = {{1, 1, 1},   {3, 5, 2},    {7, 7, 128}, {4, 13, 33},
                                      {9, 28, 32}, {14, 14, 64}, {2, 31, 20}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static struct dn_epilogue epilogue_of(int variant, const struct dn_map *residual,
                                      const float *channel)
{
    return (struct dn_epilogue){(enum dn_act)(variant % 3), variant & 1 ? residual : NULL,
                                variant & 2 ? channel : NULL};
}

static void set_taps(struct dn_conv *cv, int size, int stride)
{
    cv->stride = stride;
    cv->n_taps = size * size;
    for (int t = 0; t < size * size; t++) {
        cv->dy[t] = (int8_t)(t / size - size / 2);
        cv->dx[t] = (int8_t)(t % size - size / 2);
    }
}

/* Pack and run, with guards behind the scratch memory. */
static void convolve(const struct dn_kernels *k, struct dn_conv cv, const float *weights,
                     const struct dn_map *in, const struct dn_map *out,
                     const struct dn_epilogue *epilogue)
{
    enum { GUARDS = 16 };
    size_t floats = k->conv_scratch(&cv);
    void *packed = dn_alloc(k->conv_packed(&cv));
    float *scratch = dn_alloc((floats + GUARDS) * sizeof(float));

    for (size_t i = 0; i < floats + GUARDS; i++)
        scratch[i] = GUARD; /* in front of the guards: nothing may rely on what it finds */
    k->conv_pack(packed, &cv, weights);
    cv.weights = packed;
    k->conv(&cv, in, out, epilogue, scratch);
    for (size_t i = floats; i < floats + GUARDS; i++)
        assert_true(scratch[i] == GUARD);
    free(packed);
    free(scratch);
}

static void check_conv(const struct dn_kernels *twin, const struct dn_kernels *k,
                       enum dn_type in_type, enum dn_type out_type, int h, int w, int in_c,
                       int out_c, int size, int stride, int variant)
{
    struct dn_conv cv = {.type = in_type, .h = h, .w = w, .in_c = in_c, .out_c = out_c};
    struct canvas in = canvas_of(in_type, h * stride, w * stride, in_c, variant % 3, true, 1);
    struct canvas residual = canvas_new(h, w, out_c, 1, true, 2);
    struct canvas want = canvas_of(out_type, h, w, out_c, variant % 2 * 5, false, 0);
    struct canvas found = canvas_of(out_type, h, w, out_c, variant % 2 * 5, false, 0);
    size_t n = (size_t)(size * size * in_c * out_c);
    float *weights = dn_alloc(n * sizeof(float)),
          *bias = dn_alloc((size_t)(2 * out_c) * sizeof(float));
    struct dn_epilogue epilogue = epilogue_of(variant, &residual.map, bias + out_c);

    dn_noise(weights, n, 98, 0, 0);
    dn_noise(bias, (size_t)(2 * out_c), 97, 0, 0);
    cv.bias = variant & 4 ? bias : NULL;
    set_taps(&cv, size, stride);
    convolve(twin, cv, weights, &in.map, &want.map, &epilogue);
    convolve(k, cv, weights, &in.map, &found.map, &epilogue);
    compare(&want, &found, k->isa != DN_ISA_OPENBLAS, "conv");
    free(weights);
    free(bias);
    free(in.memory);
    free(residual.memory);
    free(want.memory);
    free(found.memory);
}

static void convolutions(void **state)
{
    (void)state;
    static const int outs[] = {1, 3, 16, 32, 33, 64};
    for (int i = 0; i < ISAS; i++) {
        const struct dn_kernels *k = dn_kernels_for(isas[i], DN_PRECISION_FP32);
        int variant = 0;
        for (int s = 0; k && s < SHAPES; s++)
            for (size_t o = 0; o < sizeof outs / sizeof *outs; o++)
                for (int size = 1; size <= 3; size += 2, variant++)
                    check_conv(&dn_kernels_reference, k, DN_FP32, DN_FP32, shapes[s].h, shapes[s].w,
                               shapes[s].c, outs[o], size, 1 + variant % 2, variant);
    }
}

/* The forms of 3x3 convolutions that conv_form.h has besides the direct one. */
static void convolution_forms(void **state)
{
    (void)state;
    static const struct {
        int h, w, in_c, out_c;
        enum dn_conv_form form;
    } cases[] = {
        {12, 12, 32, 16, DN_CONV_WINOGRAD_4}, /* whole tiles, half a block of channels */
        {13, 18, 32, 48, DN_CONV_WINOGRAD_4}, /* one row too many, two columns */
        {15, 12, 48, 32, DN_CONV_WINOGRAD_4}, /* three rows */
        {14, 70, 32, 16, DN_CONV_WINOGRAD_4}, /* more tiles in a row than a strip has */
        {28, 29, 32, 32, DN_CONV_WINOGRAD_4}, /* strips of unlike numbers of rows */
        {6, 6, 32, 32, DN_CONV_WINOGRAD_2},   /* whole tiles */
        {7, 11, 64, 48, DN_CONV_WINOGRAD_2},  /* odd */
        {8, 67, 32, 16, DN_CONV_WINOGRAD_2},  /* long rows */
        {5, 12, 32, 32, DN_CONV_DIRECT},      /* too small */
        {12, 12, 40, 32, DN_CONV_DIRECT},     /* channels that no register divides */
        {3, 3, 16, 1, DN_CONV_LANES},         /* fewer pixels than are taken at a time */
        {4, 21, 48, 3, DN_CONV_LANES},        {9, 8, 32, 4, DN_CONV_LANES},
    };
    for (int i = 0; i < ISAS; i++) {
        const struct dn_kernels *k = dn_kernels_for(isas[i], DN_PRECISION_FP32);
        for (size_t j = 0; k && j < sizeof cases / sizeof *cases; j++) {
            struct dn_conv cv = {
                .h = cases[j].h, .w = cases[j].w, .in_c = cases[j].in_c, .out_c = cases[j].out_c};
            set_taps(&cv, 3, 1);
            assert_int_equal(dn_conv_form(&cv), cases[j].form);
            for (int variant = 0; variant < 12; variant += 5)
                check_conv(&dn_kernels_reference, k, DN_FP32, DN_FP32, cv.h, cv.w, cv.in_c,
                           cv.out_c, 3, 1, variant + (int)j % 2);
        }
    }
}

/* VDPBF16PS in plain C: one chain, pairs of channels in their order. */
static void dot_conv(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                     const struct dn_epilogue *e, float *scratch)
{
    (void)scratch;
    for (int y = 0; y < out->h; y++) {
        for (int x = 0; x < out->w; x++) {
            for (int o = 0; o < cv->out_c; o++) {
                float sum = 0.0f;
                for (int n = 0; n < cv->n_taps; n++) {
                    const uint16_t *p =
                        dn_pixel(in, y * cv->stride + cv->dy[n], x * cv->stride + cv->dx[n]);
                    const uint16_t *w =
                        (const uint16_t *)cv->weights + n * cv->in_c * cv->out_c + o;
                    for (int i = 0; i < cv->in_c; i++)
                        sum = fmaf(dn_bf16_to_float(p[i ^ DOT_FIRST]),
                                   dn_bf16_to_float(w[(i ^ DOT_FIRST) * cv->out_c]), sum);
                }
                float r = sum + (cv->bias ? cv->bias[o] : 0.0f);
                r = dn_activate(e->act, r);
                if (e->residual)
                    r = r + dn_load(dn_pixel(e->residual, y, x), e->residual->type, o);
                if (e->channel)
                    r = r + e->channel[o];
                dn_store(dn_pixel(out, y, x), out->type, o, r);
            }
        }
    }
}

static void bf16_convolutions(void **state)
{
    (void)state;
    static const enum dn_isa bf16_isas[] = {DN_ISA_AMX, DN_ISA_AVX512};
    static const int outs[] = {1, 16, 32, 40, 64, 128}, ins[] = {32, 64, 128};
    static const int sizes[][2] = {{1, 1}, {3, 5}, {7, 7}, {14, 14}, {4, 31}, {28, 28}};
    struct dn_kernels dot_twin = dn_kernels_reference_bf16;
    dot_twin.conv = dot_conv;
    for (int i = 0; i < 2; i++) {
        const struct dn_kernels *k = dn_kernels_for(bf16_isas[i], DN_PRECISION_BF16);
        const struct dn_kernels *twin = i == 0 ? &dn_kernels_reference_bf16 : &dot_twin;
        int variant = 0;
        for (size_t s = 0; k && s < sizeof sizes / sizeof *sizes; s++)
            for (size_t o = 0; o < sizeof outs / sizeof *outs; o++)
                for (int size = 1; size <= 3; size += 2, variant++) {
                    int in_c = sizes[s][0] > 14 ? 32 : ins[variant % 3];
                    check_conv(twin, k, DN_BF16, variant & 1 ? DN_BF16 : DN_FP32, sizes[s][0],
                               sizes[s][1], in_c, outs[o], size, 1 + variant / 2 % 2, variant);
                }
        /* Too few channels for bf16: an fp32 map stays one. */
        if (k)
            check_conv(&dn_kernels_reference, k, DN_FP32, DN_FP32, 5, 6, 1, 32, 3, 1, 0);
    }
}

static void bf16_maps_of_norms(void **state)
{
    (void)state;
    const struct dn_kernels *k = dn_kernels_for(DN_ISA_AUTO, DN_PRECISION_BF16);
    float parameters[3][128];
    for (uint32_t p = 0; p < 3; p++)
        dn_noise(parameters[p], 128, 93, p, 0);
    for (int s = 0; k && s < SHAPES; s++) {
        for (int variant = 0; variant < 128; variant++) {
            int h = shapes[s].h, w = shapes[s].w, c = shapes[s].c;
            enum dn_type in_type = variant & 16 ? DN_BF16 : DN_FP32;
            enum dn_type out_type = variant & 32 ? DN_FP32 : DN_BF16;
            struct canvas in = canvas_of(in_type, h, w, c, 1, true, 10);
            struct canvas residual =
                canvas_of(variant & 64 ? DN_BF16 : DN_FP32, h, w, c, 0, true, 11);
            struct dn_epilogue epilogue = {(enum dn_act)(variant % 4),
                                           variant & 4 ? &residual.map : NULL,
                                           variant & 8 ? parameters[2] : NULL};
            struct dn_group_norm group = {c % 4 ? 1 : c / 4, 1e-5f, parameters[0], parameters[1]};
            struct dn_layer_norm layer = {1e-5f, parameters[0], parameters[1]};
            for (int kernel = 0; kernel < 3; kernel++) {
                struct canvas want = canvas_of(out_type, h, w, c, 2, false, 0);
                struct canvas found = canvas_of(out_type, h, w, c, 2, false, 0);
                for (int side = 0; side < 2; side++) {
                    const struct dn_kernels *t = side ? k : &dn_kernels_reference_bf16;
                    const struct dn_map *out = side ? &found.map : &want.map;
                    if (kernel == 0)
                        t->group_norm(&group, &in.map, NULL, out, &epilogue);
                    else if (kernel == 1)
                        t->layer_norm(&layer, &in.map, out);
                    else
                        t->pointwise(&in.map, out, &epilogue);
                }
                compare(&want, &found, true,
                        kernel == 0   ? "group_norm"
                        : kernel == 1 ? "layer_norm"
                                      : "pointwise");
                free(want.memory);
                free(found.memory);
            }
            free(in.memory);
            free(residual.memory);
        }
    }
}

/* The activation for bf16 against the exact one: half of the last place of a bf16 is 2e-3. Far
 * below zero, where SiLU is next to nothing, the error is absolute. */
static void silu_for_bf16_is_close(void **state)
{
    (void)state;
    for (float x = -120.0f; x < 120.0f; x += 0.00137f) {
        float want = dn_siluf(x), found = dn_siluf_bf16(x);
        if (!(fabsf(found - want) <= 7e-4f * fabsf(want) + 4e-6f))
            fail_msg("silu(%.9g): %.9g expected, %.9g found", x, want, found);
    }
    assert_true(isnan(dn_siluf_bf16(NAN)));
    assert_int_equal(dn_bf16_of_float(1.00390625f), 0x3f80); /* a tie goes to even */
    assert_int_equal(dn_bf16_of_float(1.01171875f), 0x3f82);
    assert_int_equal(dn_bf16_of_float(-INFINITY), 0xff80);
}

static void norms(void **state)
{
    (void)state;
    for (int i = 0; i < ISAS; i++) {
        const struct dn_kernels *k = dn_kernels_for(isas[i], DN_PRECISION_FP32);
        for (int s = 0; k && s < SHAPES; s++) {
            int h = shapes[s].h, w = shapes[s].w, c = shapes[s].c;
            float parameters[3][128];
            for (uint32_t p = 0; p < 3; p++)
                dn_noise(parameters[p], (size_t)c, 96, p, 0);
            for (int groups = 1; groups <= c; groups++) {
                if (c % groups)
                    continue;
                struct canvas in = canvas_new(h, w, c, 3, true, 3);
                struct canvas want = canvas_new(h, w, c, 0, false, 0);
                struct canvas found = canvas_new(h, w, c, 0, false, 0);
                struct dn_group_norm norm = {groups, 1e-5f, parameters[0], parameters[1]};
                struct dn_epilogue epilogue = epilogue_of(groups + s, &in.map, parameters[2]);
                const float *pre = groups & 1 ? parameters[2] : NULL;
                dn_kernels_reference.group_norm(&norm, &in.map, pre, &want.map, &epilogue);
                k->group_norm(&norm, &in.map, pre, &found.map, &epilogue);
                compare(&want, &found, true, "group_norm");
                free(want.memory);
                free(found.memory);

                want = canvas_new(h, w, c, 2, false, 0);
                found = canvas_new(h, w, c, 2, false, 0);
                struct dn_layer_norm layer = {1e-5f, parameters[0], parameters[1]};
                dn_kernels_reference.layer_norm(&layer, &in.map, &want.map);
                k->layer_norm(&layer, &in.map, &found.map);
                compare(&want, &found, true, "layer_norm");
                free(want.memory);
                free(found.memory);
                free(in.memory);
            }
        }
    }
}

static void attention(void **state)
{
    (void)state;
    static const int heads[] = {1, 2, 8};
    for (int i = 0; i < ISAS; i++) {
        const struct dn_kernels *k = dn_kernels_for(isas[i], DN_PRECISION_FP32);
        for (int s = 0; k && s < SHAPES; s++) {
            for (size_t n = 0; n < 3; n++) {
                int h = shapes[s].h, w = shapes[s].w, c = shapes[s].c, tokens = h * w;
                if (c % heads[n])
                    continue;
                struct canvas q = canvas_new(h, w, c, 0, true, 4),
                              key = canvas_new(h, w, c, 1, true, 5);
                struct canvas v = canvas_new(h, w, c, 2, true, 6);
                struct canvas want = canvas_new(h, w, c, 4, false, 0);
                struct canvas found = canvas_new(h, w, c, 4, false, 0);
                float channel[128];
                dn_noise(channel, 128, 95, 0, 0);
                struct dn_epilogue epilogue = epilogue_of((int)n * 3 + s, &v.map, channel);
                size_t floats = k->attention_scratch(tokens, c, heads[n]);
                float *scratch = dn_alloc((floats + (size_t)tokens) * sizeof(float));
                dn_kernels_reference.attention(heads[n], &q.map, &key.map, &v.map, &want.map,
                                               &epilogue, scratch);
                k->attention(heads[n], &q.map, &key.map, &v.map, &found.map, &epilogue, scratch);
                compare(&want, &found, k->isa != DN_ISA_OPENBLAS, "attention");
                free(scratch);
                free(q.memory);
                free(key.memory);
                free(v.memory);
                free(want.memory);
                free(found.memory);
            }
        }
    }
}

/* The same values as fp32. */
static struct canvas fp32_of(const struct canvas *v)
{
    const struct dn_map *m = &v->map;
    struct canvas to = canvas_new(m->h, m->w, m->c, m->ld - m->c, false, 0);
    for (int y = 0; y < m->h; y++)
        for (int x = 0; x < m->w; x++)
            for (int c = 0; c < m->c; c++)
                dn_store(dn_pixel(&to.map, y, x), DN_FP32, c,
                         dn_load(dn_pixel(m, y, x), m->type, c));
    return to;
}

/* Run with a guard behind the scratch memory. */
static void attend(const struct dn_kernels *k, int heads, const struct canvas in[3],
                   const struct canvas *out, const struct dn_epilogue *epilogue)
{
    size_t floats = k->attention_scratch(out->map.h * out->map.w, out->map.c, heads);
    float *scratch = dn_alloc((floats + 1) * sizeof *scratch);
    for (size_t i = 0; i <= floats; i++)
        scratch[i] = GUARD;
    k->attention(heads, &in[0].map, &in[1].map, &in[2].map, &out->map, epilogue, scratch);
    assert_true(scratch[floats] == GUARD);
    free(scratch);
}

/* AMX with the bits of plain C, and plain C near fp32. */
static void check_bf16_attention(int h, int w, int c, int heads, int variant)
{
    bool half = c / heads % DN_BF16_HEAD == 0;
    enum dn_type type = half && variant % 4 ? DN_BF16 : DN_FP32, out_type = (variant / 2) & 1;
    int gap = variant % 3 * 8;
    struct canvas in[3] = {canvas_of(type, h, w, c, gap, true, 14),
                           canvas_of(half ? DN_BF16 : DN_FP32, h, w, c, 0, true, 15),
                           canvas_of(type, h, w, c, gap, true, 16)};
    struct canvas exact[3] = {fp32_of(&in[0]), fp32_of(&in[1]), fp32_of(&in[2])};
    struct canvas residual = canvas_of(variant & 1 ? DN_BF16 : DN_FP32, h, w, c, 3, true, 17);
    struct canvas want = canvas_of(out_type, h, w, c, 2, false, 0);
    struct canvas found = canvas_of(out_type, h, w, c, 2, false, 0);
    struct canvas fp32 = canvas_new(h, w, c, 2, false, 0), got;
    const struct dn_kernels *amx = dn_kernels_for(DN_ISA_AMX, DN_PRECISION_BF16);
    float channel[256], top = 0;
    dn_noise(channel, 256, 95, 0, 0);
    struct dn_epilogue epilogue = {(enum dn_act)(variant % 4), variant & 4 ? &residual.map : NULL,
                                   variant & 8 ? channel : NULL};

    attend(&dn_kernels_reference_bf16, heads, in, &want, &epilogue);
    if (amx) {
        attend(amx, heads, in, &found, &epilogue);
        compare(&want, &found, true, "attention in bf16");
    }
    attend(&dn_kernels_reference, heads, exact, &fp32, &epilogue);
    got = fp32_of(&want);
    for (size_t i = 0; i < fp32.values; i++)
        if (canvas_value(&fp32, i) != GUARD)
            top = fmaxf(top, fabsf(canvas_value(&fp32, i)));
    for (size_t i = 0; i < fp32.values; i++) {
        float a = canvas_value(&fp32, i), b = canvas_value(&got, i);
        /* Numerators, values and results are each off by 2^-9 at most. */
        if (!(fabsf(a - b) <= 3.0f / 512 * top))
            fail_msg("attention in bf16: %.9g in fp32, %.9g found", a, b);
    }
    for (int i = 0; i < 3; i++) {
        free(in[i].memory);
        free(exact[i].memory);
    }
    free(residual.memory);
    free(want.memory);
    free(found.memory);
    free(fp32.memory);
    free(got.memory);
}

static void bf16_attention(void **state)
{
    (void)state;
    static const struct {
        int h, w, c, heads;
    } cases[] = {{1, 1, 16, 1},  {3, 5, 32, 1},   {4, 4, 64, 4}, {1, 17, 48, 3}, {4, 8, 96, 2},
                 {3, 11, 32, 2}, {7, 7, 128, 8},  {8, 8, 64, 1}, {5, 13, 32, 2}, {2, 71, 16, 1},
                 {3, 5, 24, 3},  {9, 10, 256, 4}, {2, 3, 40, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int variant = 0; variant < 24; variant += 5)
            check_bf16_attention(cases[i].h, cases[i].w, cases[i].c, cases[i].heads,
                                 variant + (int)i % 4);
}

static void pointwise(void **state)
{
    (void)state;
    for (int i = 0; i < ISAS; i++) {
        const struct dn_kernels *k = dn_kernels_for(isas[i], DN_PRECISION_FP32);
        for (int s = 0; k && s < SHAPES; s++) {
            for (int variant = 0; variant < 12; variant++) {
                int h = shapes[s].h, w = shapes[s].w, c = shapes[s].c;
                struct canvas in = canvas_new(h, w, c, 1, true, 7),
                              r = canvas_new(h, w, c, 0, true, 8);
                struct canvas want = canvas_new(h, w, c, 2, false, 0);
                struct canvas found = canvas_new(h, w, c, 2, false, 0);
                float channel[128];
                dn_noise(channel, 128, 94, 0, 0);
                struct dn_epilogue epilogue = epilogue_of(variant, &r.map, channel);
                dn_kernels_reference.pointwise(&in.map, &want.map, &epilogue);
                k->pointwise(&in.map, &found.map, &epilogue);
                compare(&want, &found, true, "pointwise");
                free(in.memory);
                free(r.memory);
                free(want.memory);
                free(found.memory);
            }
        }
    }
}

/* The comparison itself must be able to fail. */
static void a_changed_bit_and_a_touched_guard_are_seen(void **state)
{
    (void)state;
    struct canvas a = canvas_new(3, 3, 4, 1, true, 9), b = canvas_new(3, 3, 4, 1, true, 9);
    assert_int_equal(first_difference(&a, &b, true), a.values);
    float *p = (float *)b.map.data + 5, kept = *p, zero = 0;
    *p = nextafterf(*p, 10);
    assert_int_equal(first_difference(&a, &b, true), (size_t)((char *)p - b.memory) / sizeof *p);
    assert_int_equal(first_difference(&a, &b, false), a.values);
    *p += 0.1f;
    assert_true(first_difference(&a, &b, false) < a.values);
    *p = kept;
    memcpy(b.memory + 4 * sizeof zero, &zero, sizeof zero); /* the gap behind the first pixel */
    assert_int_equal(first_difference(&a, &b, false), 4);
    free(a.memory);
    free(b.memory);
}

static void names_resolve(void **state)
{
    (void)state;
    assert_int_equal(dn_isa_by_name("avx512"), DN_ISA_AVX512);
    assert_int_equal(dn_isa_by_name("AVX512"), -1);
    assert_int_equal(dn_precision_by_name("fp32"), DN_PRECISION_FP32);
    assert_int_equal(dn_precision_by_name("fp16"), -1);
    assert_string_equal(dn_isa_name(DN_ISA_OPENBLAS), "openblas");
    assert_true(dn_isa_available(DN_ISA_SCALAR) && dn_isa_available(DN_ISA_OPENBLAS));
    char features[256], tiny[4];
    dn_cpu_features(features, sizeof features);
    dn_cpu_features(tiny, sizeof tiny);
    assert_true(strlen(tiny) < sizeof tiny);
}

/* Whatever else multiplies in bf16 was measured to be slower than fp32, or was not measured. */
static void bf16_is_for_amx_alone(void **state)
{
    (void)state;
    for (int isa = DN_ISA_AUTO; isa <= DN_ISA_NEON; isa++) {
        const struct dn_kernels *k = dn_kernels_for((enum dn_isa)isa, DN_PRECISION_AUTO);
        if (k)
            assert_int_equal(k->precision,
                             k->isa == DN_ISA_AMX ? DN_PRECISION_BF16 : DN_PRECISION_FP32);
    }
    const struct dn_kernels *amx = dn_kernels_for(DN_ISA_AMX, DN_PRECISION_BF16);
    assert_ptr_equal(dn_kernels_for(DN_ISA_AUTO, DN_PRECISION_AUTO),
                     amx ? amx : dn_kernels_for(DN_ISA_AUTO, DN_PRECISION_FP32));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(bf16_convolutions),
        cmocka_unit_test(bf16_maps_of_norms),
        cmocka_unit_test(silu_for_bf16_is_close),
        cmocka_unit_test(convolution_forms),
        cmocka_unit_test(norms),
        cmocka_unit_test(attention),
        cmocka_unit_test(bf16_attention),
        cmocka_unit_test(pointwise),
        cmocka_unit_test(names_resolve),
        cmocka_unit_test(bf16_is_for_amx_alone),
        cmocka_unit_test(a_changed_bit_and_a_touched_guard_are_seen),
    };
    if (!dn_openblas_use_one_thread())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
