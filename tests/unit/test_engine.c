/*
 * The engine through its public header: the determinism contract, parameter errors, and that a step
 * allocates nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/denoise.h"

#define MODEL "models/mnist.safetensors"
enum { PIXELS = 784 };

/* ---- counting allocations: this program's malloc family stands in front of glibc's ----------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#else
#define COUNTS_ALLOCATIONS 1
static _Atomic long allocations;

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);

void *malloc(size_t bytes)
{
    allocations++;
    return __libc_malloc(bytes);
}
void *calloc(size_t n, size_t bytes)
{
    allocations++;
    return __libc_calloc(n, bytes);
}
void *realloc(void *p, size_t bytes)
{
    allocations++;
    return __libc_realloc(p, bytes);
}
void *aligned_alloc(size_t align, size_t bytes)
{
    allocations++;
    return __libc_memalign(align, bytes);
}
#endif

/* ---- helpers --------------------------------------------------------------------------------- */

/* NULL where this processor has no such kernels. */
static struct dn_model *open_set(struct dn_model_options options)
{
    struct dn_model *model;
    struct dn_error err = {0};
    int rc = dn_model_open(&model, MODEL, &options, &err);
    if (rc && rc != DN_EUNSUPPORTED)
        fail_msg("%s", err.text);
    return model;
}

static struct dn_model *open_model(void)
{
    return open_set((struct dn_model_options){.isa = DN_ISA_AUTO});
}

static struct dn_row *row_new(const struct dn_model *model, const struct dn_row_params *params)
{
    struct dn_row *row;
    struct dn_error err = {0};
    if (dn_row_new(&row, model, params, &err))
        fail_msg("%s", err.text);
    return row;
}

/* The image of one row that is advanced all alone. */
static void alone(const struct dn_model *model, const struct dn_row_params *params, uint8_t *pixels)
{
    struct dn_workspace *workspace;
    struct dn_row *row = row_new(model, params);
    assert_int_equal(dn_workspace_new(&workspace, model, 2, NULL), 0);
    while (!dn_row_done(row))
        assert_int_equal(dn_step(workspace, &row, 1), 0);
    dn_row_pixels(row, pixels);
    dn_row_free(row);
    dn_workspace_free(workspace);
}

static const struct dn_row_params cases[] = {
    {.seed = 1,
     .index = 0,
     .label = 7,
     .steps = 6,
     .sampler = DN_SAMPLER_DPMPP_2M,
     .guidance_scale = 1.5,
     .guidance_interval = {0, 1}},
    {.seed = 1,
     .index = 1,
     .label = 7,
     .steps = 3,
     .sampler = DN_SAMPLER_DDIM,
     .guidance_scale = 1,
     .guidance_interval = {0, 1}},
    {.seed = 2,
     .index = 0,
     .label = 0,
     .steps = 5,
     .sampler = DN_SAMPLER_DDIM,
     .guidance_scale = 3,
     .guidance_interval = {0, 1},
     .eta = 1},
    {.seed = 3,
     .index = 9,
     .label = 4,
     .steps = 7,
     .sampler = DN_SAMPLER_DDPM,
     .guidance_scale = 1,
     .guidance_interval = {0, 1}},
    {.seed = DN_SEED_MAX,
     .index = 255,
     .label = 9,
     .steps = 1,
     .sampler = DN_SAMPLER_DPMPP_2M,
     .guidance_scale = 0,
     .guidance_interval = {0, 1}},
    {.seed = 4,
     .index = 3,
     .label = 2,
     .steps = 8,
     .sampler = DN_SAMPLER_DPMPP_2M,
     .guidance_scale = 2,
     .guidance_interval = {0.25, 0.7}},
};
enum { CASES = sizeof cases / sizeof *cases };

/* Advance the cases together: `order` says in which order they stand in the batch, row i joins at
 * step `joins[i]`, and others leave as they finish. */
static void together(const struct dn_model *model, struct dn_workspace *workspace, const int *order,
                     const int *joins, uint8_t pixels[CASES][PIXELS])
{
    struct dn_row *rows[CASES], *batch[CASES];
    int done = 0;
    for (int i = 0; i < CASES; i++)
        rows[i] = row_new(model, &cases[i]);
    for (int step = 0; done < CASES; step++) {
        size_t n = 0;
        for (int i = 0; i < CASES; i++)
            if (joins[order[i]] <= step && !dn_row_done(rows[order[i]]))
                batch[n++] = rows[order[i]];
        assert_int_equal(dn_step(workspace, batch, n), 0);
        done = 0;
        for (int i = 0; i < CASES; i++)
            done += dn_row_done(rows[i]);
    }
    for (int i = 0; i < CASES; i++) {
        dn_row_pixels(rows[i], pixels[i]);
        dn_row_free(rows[i]);
    }
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void pixels_do_not_depend_on_batch_mates(void **state)
{
    (void)state;
    static const struct dn_model_options sets[] = {
        {DN_ISA_AUTO, DN_PRECISION_FP32},   {DN_ISA_OPENBLAS, DN_PRECISION_FP32},
        {DN_ISA_AVX2, DN_PRECISION_FP32},   {DN_ISA_AMX, DN_PRECISION_BF16},
        {DN_ISA_AVX512, DN_PRECISION_BF16},
    };
    static const int orders[][CASES] = {{0, 1, 2, 3, 4, 5}, {5, 4, 2, 0, 1, 3}, {3, 4, 5, 1, 0, 2}};
    static const int joins[][CASES] = {{0, 0, 0, 0, 0, 0}, {2, 0, 1, 0, 3, 1}, {0, 5, 4, 1, 2, 0}};

    for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) {
        struct dn_model *model = open_set(sets[k]);
        if (!model)
            continue;
        struct dn_workspace *workspace;
        uint8_t want[CASES][PIXELS], found[CASES][PIXELS];
        assert_int_equal(dn_workspace_new(&workspace, model, 16, NULL), 0);
        for (int i = 0; i < CASES; i++)
            alone(model, &cases[i], want[i]);
        for (int o = 0; o < 3; o++) {
            together(model, workspace, orders[o], joins[o], found);
            assert_memory_equal(found, want, sizeof want);
        }
        dn_workspace_free(workspace);
        dn_model_free(model);
    }
}

/* Kernel sets of one domain, the first of which is plain C. */
static void check_domain(const struct dn_model_options *sets, size_t n)
{
    struct dn_row_params params = cases[0];
    uint8_t want[PIXELS], found[PIXELS];
    params.steps = 2;
    struct dn_model *scalar = open_set(sets[0]);
    alone(scalar, &params, want);
    for (size_t i = 1; i < n; i++) {
        struct dn_model *model = open_set(sets[i]);
        if (!model)
            continue;
        alone(model, &params, found);
        assert_memory_equal(found, want, sizeof want);
        assert_string_equal(dn_model_info(model)->kernels, dn_model_info(scalar)->kernels);
        dn_model_free(model);
    }
    dn_model_free(scalar);
}

static void kernels_of_one_domain_give_the_same_pixels(void **state)
{
    (void)state;
    static const struct dn_model_options fp32[] = {{DN_ISA_SCALAR, DN_PRECISION_FP32},
                                                   {DN_ISA_AVX2, DN_PRECISION_FP32},
                                                   {DN_ISA_AVX512, DN_PRECISION_FP32},
                                                   {DN_ISA_NEON, DN_PRECISION_FP32}};
    static const struct dn_model_options bf16[] = {{DN_ISA_SCALAR, DN_PRECISION_BF16},
                                                   {DN_ISA_AMX, DN_PRECISION_BF16}};
    check_domain(fp32, sizeof fp32 / sizeof *fp32);
    check_domain(bf16, sizeof bf16 / sizeof *bf16);
}

struct worker {
    const struct dn_model *model;
    uint8_t pixels[CASES][PIXELS];
};

static void *work(void *argument)
{
    struct worker *w = argument;
    for (int i = 0; i < CASES; i++)
        alone(w->model, &cases[i], w->pixels[i]);
    return NULL;
}

static void threads_share_a_model(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    struct dn_model *model = open_model();
    static struct worker workers[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i].model = model;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i < THREADS; i++)
        assert_memory_equal(workers[i].pixels, workers[0].pixels, sizeof workers[0].pixels);
    dn_model_free(model);
}

static void every_parameter_changes_the_pixels(void **state)
{
    (void)state;
    struct dn_model *model = open_model();
    const struct dn_row_params base = {.seed = 5,
                                       .index = 2,
                                       .label = 3,
                                       .steps = 4,
                                       .sampler = DN_SAMPLER_DDIM,
                                       .guidance_scale = 1.5,
                                       .guidance_interval = {0, 1},
                                       .eta = 0.5};
    struct dn_row_params p[9] = {base, base, base, base, base, base, base, base, base};
    p[0].seed = 6;
    p[1].index = 3;
    p[2].label = 2;
    p[3].steps = 5;
    p[4].sampler = DN_SAMPLER_DDPM;
    p[4].eta = 0;
    p[5].guidance_scale = 1.6;
    p[6].eta = 0.6;
    p[7].guidance_interval.start = 0.25;
    p[8].guidance_interval.end = 0.75;
    uint8_t want[PIXELS], found[PIXELS];
    alone(model, &base, want);
    for (int i = 0; i < 9; i++) {
        alone(model, &p[i], found);
        assert_memory_not_equal(found, want, sizeof want);
    }
    dn_model_free(model);
}

static void a_step_allocates_nothing(void **state)
{
    (void)state;
#if COUNTS_ALLOCATIONS
    /* Not OpenBLAS: its small-matrix kernel for AVX-512 allocates by itself. */
    static const struct dn_model_options sets[] = {
        {DN_ISA_SCALAR, DN_PRECISION_FP32}, {DN_ISA_AVX2, DN_PRECISION_FP32},
        {DN_ISA_AVX512, DN_PRECISION_FP32}, {DN_ISA_AVX512, DN_PRECISION_BF16},
        {DN_ISA_AMX, DN_PRECISION_BF16},    {DN_ISA_NEON, DN_PRECISION_FP32},
    };
    for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) {
        struct dn_model *model = open_set(sets[k]);
        if (!model)
            continue;
        struct dn_workspace *workspace;
        struct dn_row *rows[CASES];
        assert_int_equal(dn_workspace_new(&workspace, model, 16, NULL), 0);
        for (int i = 0; i < CASES; i++)
            rows[i] = row_new(model, &cases[i]);
        assert_int_equal(dn_step(workspace, rows, CASES), 0);
        long before = allocations;
        assert_int_equal(dn_step(workspace, rows, 4), 0); /* the fifth is done */
        assert_int_equal(allocations, before);
        void *volatile one = malloc(1); /* the counter counts */
        free(one);
        assert_int_equal(allocations, before + 1);
        for (int i = 0; i < CASES; i++)
            dn_row_free(rows[i]);
        dn_workspace_free(workspace);
        dn_model_free(model);
    }
#else
    skip();
#endif
}

/* Step i of n is guided when start <= i / n < end, and costs two evaluations instead of one. */
static void guidance_acts_in_its_interval(void **state)
{
    (void)state;
    static const struct {
        struct dn_interval interval;
        double scale;
        uint32_t steps;
        const char *evaluations; /* of each step */
    } rows[] = {
        {{0, 1}, 2, 5, "22222"},           {{0, 1}, 1, 5, "11111"},   {{0.2, 0.8}, 1, 5, "11111"},
        {{0, 0.5}, 2, 5, "22211"},         {{0.5, 1}, 2, 5, "11122"}, {{0.5, 1}, 2, 4, "1122"},
        {{0.3, 0.7}, 0, 10, "1112222111"}, /* 3 / 10 and 7 / 10 are exactly those */
        {{0.1, 0.2}, 2, 4, "1111"},        /* between two steps */
        {{0, 0.001}, 2, 3, "211"},         {{0.999, 1}, 2, 3, "111"}, {{0.7, 1}, 2, 1, "1"},
    };
    struct dn_model *model = open_model();
    struct dn_workspace *workspace;
    assert_int_equal(dn_workspace_new(&workspace, model, 2, NULL), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dn_row_params params = cases[0];
        params.steps = rows[i].steps;
        params.guidance_scale = rows[i].scale;
        params.guidance_interval = rows[i].interval;
        struct dn_row *row = row_new(model, &params);
        uint32_t sum = 0;
        for (uint32_t step = 0; step < params.steps; step++) {
            uint32_t want = (uint32_t)(rows[i].evaluations[step] - '0');
            assert_int_equal(dn_row_next_evaluations(row), want);
            assert_int_equal(dn_model_step_evaluations(model, &params, step), want);
            assert_int_equal(dn_step(workspace, &row, 1), 0);
            sum += want;
        }
        assert_int_equal(dn_row_next_evaluations(row), 0);
        assert_int_equal(dn_model_row_evaluations(model, &params), sum);
        dn_row_free(row);
    }
    /* 0.07 x 100 is more than 7, but 7 / 100 is 0.07: the eighth step is guided. */
    const struct dn_row_params fine = {
        .steps = 100, .guidance_scale = 2, .guidance_interval = {0.07, 0.57}};
    assert_int_equal(dn_model_step_evaluations(model, &fine, 6), 1);
    assert_int_equal(dn_model_step_evaluations(model, &fine, 7), 2);
    assert_int_equal(dn_model_row_evaluations(model, &fine), 100 + 50);
    dn_workspace_free(workspace);
    dn_model_free(model);
}

static void bad_parameters_are_named(void **state)
{
    (void)state;
    struct dn_model *model = open_model();
    const struct dn_row_params good = cases[0];
    struct dn_row_params p[14];
    static const char *const names[14] = {"seed",
                                          "label",
                                          "steps",
                                          "steps",
                                          "sampler",
                                          "guidance_scale",
                                          "guidance_scale",
                                          "eta",
                                          "eta",
                                          "eta",
                                          "guidance_interval",
                                          "guidance_interval",
                                          "guidance_interval",
                                          "guidance_interval"};
    for (int i = 0; i < 14; i++)
        p[i] = good;
    p[0].seed = DN_SEED_MAX + 1;
    p[1].label = 10;
    p[2].steps = 0;
    p[3].steps = 1001;
    p[4].sampler = DN_SAMPLER_COUNT;
    p[5].guidance_scale = 20.5;
    p[6].guidance_scale = -0.5;
    p[7].eta = 0.5; /* DPM-Solver++ has none */
    p[8].sampler = DN_SAMPLER_DDIM;
    p[8].eta = 1.5;
    p[9].sampler = DN_SAMPLER_DDIM;
    p[9].eta = __builtin_nan("");
    p[10].guidance_interval = (struct dn_interval){0, 0};
    p[11].guidance_interval = (struct dn_interval){-0.1, 0.5};
    p[12].guidance_interval = (struct dn_interval){0.5, 1.5};
    p[13].guidance_interval = (struct dn_interval){__builtin_nan(""), 1};
    for (int i = 0; i < 14; i++) {
        struct dn_row *row;
        struct dn_error err = {0};
        assert_int_equal(dn_row_new(&row, model, &p[i], &err), DN_EINVAL);
        assert_null(row);
        if (strncmp(err.text, names[i], strlen(names[i])) != 0)
            fail_msg("%s expected to be named, \"%s\" found", names[i], err.text);
    }
    dn_model_free(model);
}

static void a_step_refuses_what_it_cannot_do(void **state)
{
    (void)state;
    struct dn_model *model = open_model(), *other = open_model();
    struct dn_workspace *workspace;
    struct dn_error err = {0};
    struct dn_row *guided = row_new(model, &cases[0]), *foreign = row_new(other, &cases[1]);
    struct dn_row *short_row = row_new(model, &cases[4]);

    assert_int_equal(dn_workspace_new(&workspace, model, 0, &err), DN_EINVAL);
    assert_int_equal(dn_workspace_new(&workspace, model, 2, &err), 0);
    assert_true(dn_workspace_bytes(workspace) > 100000);
    assert_int_equal(dn_step(workspace, (struct dn_row *[]){guided, short_row}, 2), DN_EINVAL);
    assert_int_equal(dn_row_steps_done(guided), 0);
    assert_int_equal(dn_step(workspace, &foreign, 1), DN_EINVAL);
    assert_int_equal(dn_step(workspace, &short_row, 1), 0);
    assert_true(dn_row_done(short_row));
    assert_int_equal(dn_step(workspace, &short_row, 1), DN_EINVAL);
    assert_int_equal(dn_step(workspace, NULL, 0), 0);
    dn_row_free(guided);
    dn_row_free(foreign);
    dn_row_free(short_row);
    dn_workspace_free(workspace);
    dn_model_free(model);
    dn_model_free(other);
}

static void the_model_describes_itself(void **state)
{
    (void)state;
    struct dn_model *model = open_model();
    const struct dn_model_info *info = dn_model_info(model);
    assert_string_equal(info->name, "mnist");
    assert_int_equal(strlen(info->digest), 71);
    assert_int_equal(info->n_parameters, 771105 + 16);
    assert_int_equal(info->n_classes, 10);
    assert_string_equal(info->class_names[7], "seven");
    assert_int_equal(dn_model_class_by_name(model, "seven"), 7);
    assert_int_equal(dn_model_class_by_name(model, "Seven"), -1);
    assert_true(info->macs > 87e6 && info->macs < 91e6);
    assert_int_equal(dn_sampler_by_name("dpmpp_2m"), DN_SAMPLER_DPMPP_2M);
    assert_int_equal(dn_sampler_by_name("euler"), -1);
    dn_model_free(model);

    struct dn_error err;
    assert_int_equal(dn_model_open(&model, MODEL,
                                   &(struct dn_model_options){DN_ISA_OPENBLAS, DN_PRECISION_BF16},
                                   &err),
                     DN_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "precision bf16: isa openblas"));
    /* No processor has both. */
    enum dn_isa foreign = dn_isa_available(DN_ISA_NEON) ? DN_ISA_AVX2 : DN_ISA_NEON;
    assert_int_equal(dn_model_open(&model, MODEL, &(struct dn_model_options){.isa = foreign}, &err),
                     DN_EUNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_do_not_depend_on_batch_mates),
        cmocka_unit_test(kernels_of_one_domain_give_the_same_pixels),
        cmocka_unit_test(threads_share_a_model),
        cmocka_unit_test(every_parameter_changes_the_pixels),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(guidance_acts_in_its_interval),
        cmocka_unit_test(bad_parameters_are_named),
        cmocka_unit_test(a_step_refuses_what_it_cannot_do),
        cmocka_unit_test(the_model_describes_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
