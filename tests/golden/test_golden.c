/*
 * The engine against PyTorch: every block's output of a batch of mixed rows, and whole
 * trajectories. Values and their origin: tests/golden/generate.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/memory.h"
#include "core/model/file.h"
#include "core/model_private.h"

#define MODEL "models/mnist.safetensors"
#define GOLDEN "tests/golden/unet_st.safetensors"
#define FAST_MODEL "models/mnist-fast.safetensors"
#define FAST_GOLDEN "tests/golden/mnist-fast.safetensors"

/* Of a tensor's largest magnitude. fp32 sums of up to 1152 products in another order than
 * PyTorch's; 2e-6 is what is seen. */
static const double BLOCK_TOLERANCE = 1e-5;
/* Of the value range: differences of 1e-6 an evaluation, fed back over up to 50 evaluations. */
static const double TRAJECTORY_TOLERANCE = 1e-3;
/* Of whole trajectories in bf16, whose evaluations are off by some 1e-2. */
static const double BF16_PSNR_DB = 35;

enum { ROWS = 3 };
static const int timesteps[ROWS] = {999, 500, 20}, labels[ROWS] = {7, 10, 3};

static const char *const values[] = {
    "encoder.0.res_blocks.0",
    "encoder.0.res_blocks.1",
    "encoder.0.downsampling",
    "encoder.1.res_blocks.0",
    "encoder.1.res_blocks.1",
    "encoder.1.downsampling",
    "mid_block.res1",
    "mid_block.res2",
    "mid_block.st.blocks.0",
    "mid_block.st",
    "decoder.0.upsampling",
    "decoder.0.res_blocks.0",
    "decoder.0.res_blocks.1",
    "decoder.1.upsampling",
    "decoder.1.res_blocks.0",
    "decoder.1.res_blocks.1",
    "proj",
};

struct fixture {
    struct dn_file file, fast_file;
    struct dn_safetensors golden, fast_golden;
};

static const struct dn_tensor *golden(const struct dn_safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    fail_msg("no golden tensor %s", name);
    return NULL;
}

/* Largest difference over the golden's largest magnitude. */
static double relative_error(const struct dn_tensor *t, const struct dn_map *map)
{
    const float *want = t->data;
    double worst = 0, top = 0;
    assert_int_equal(t->count, (size_t)(map->h * map->w * map->c));
    for (int y = 0; y < map->h; y++) {
        for (int x = 0; x < map->w; x++) {
            for (int c = 0; c < map->c; c++, want++) {
                double d =
                    fabs(((const float *)map->data)[y * map->pitch + x * map->ld + c] - *want);
                worst = fmax(worst, isnan(d) ? INFINITY : d);
                top = fmax(top, fabs(*want));
            }
        }
    }
    return worst / top;
}

static int setup(void **state)
{
    static struct fixture f;
    struct dn_error err = {0};
    if (dn_file_read(&f.file, GOLDEN, &err) || dn_file_read(&f.fast_file, FAST_GOLDEN, &err) ||
        dn_safetensors_parse(&f.golden, f.file.bytes, f.file.size, &err) ||
        dn_safetensors_parse(&f.fast_golden, f.fast_file.bytes, f.fast_file.size, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    dn_safetensors_deinit(&f->golden);
    dn_safetensors_deinit(&f->fast_golden);
    dn_file_free(&f->file);
    dn_file_free(&f->fast_file);
    return 0;
}

/* The worst error of all blocks under one kernel table; `spoil` changes one weight by 1 %. */
static double blocks_error(struct fixture *f, enum dn_isa isa, bool spoil, bool print)
{
    struct dn_error err = {0};
    struct dn_file file;
    struct dn_safetensors tensors;
    struct dn_config config;
    struct dn_plan *plan;
    double worst = 0;

    assert_int_equal(dn_file_read(&file, MODEL, &err), 0);
    assert_int_equal(dn_safetensors_parse(&tensors, file.bytes, file.size, &err), 0);
    assert_int_equal(dn_config_parse(&config, tensors.config, &err), 0);
    if (spoil) {
        const int64_t shape[] = {128, 64, 3, 3};
        float *w = (float *)(uintptr_t)dn_safetensors_use(&tensors, "mid_block.res1.conv.weight",
                                                          shape, 4, &err);
        size_t largest = 0;
        for (size_t i = 0; i < 128 * 64 * 9; i++)
            if (fabsf(w[i]) > fabsf(w[largest]))
                largest = i;
        w[largest] *= 1.01f;
    }
    assert_int_equal(
        dn_model_plan(&plan, &config, &tensors, dn_kernels_for(isa, DN_PRECISION_FP32), true, &err),
        0);
    void *arena = dn_alloc(dn_plan_arena_bytes(plan, ROWS));
    float output[ROWS][784];
    struct dn_evaluation evaluations[ROWS];
    char name[128];
    for (int i = 0; i < ROWS; i++) {
        snprintf(name, sizeof name, "row%d.x", i);
        evaluations[i] = (struct dn_evaluation){.input = golden(&f->golden, name)->data,
                                                .timestep = timesteps[i],
                                                .label = labels[i],
                                                .output = output[i]};
    }
    dn_plan_run(plan, arena, evaluations, ROWS, NULL);
    for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
        double here = 0;
        for (int i = 0; i < ROWS; i++) {
            struct dn_map map;
            snprintf(name, sizeof name, "row%d.%s", i, values[j]);
            assert_int_equal(dn_plan_value(plan, arena, (size_t)i, values[j], &map), 0);
            here = fmax(here, relative_error(golden(&f->golden, name), &map));
        }
        if (print)
            print_message("  %-9s %-24s %.2e\n", dn_isa_name(isa), values[j], here);
        worst = fmax(worst, here);
    }
    free(arena);
    dn_plan_free(plan);
    dn_config_deinit(&config);
    dn_safetensors_deinit(&tensors);
    dn_file_free(&file);
    return worst;
}

static void every_block_matches_pytorch(void **state)
{
    static const enum dn_isa isas[] = {DN_ISA_SCALAR, DN_ISA_OPENBLAS, DN_ISA_AVX2, DN_ISA_AVX512,
                                       DN_ISA_NEON};
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (dn_isa_available(isas[i]))
            assert_true(blocks_error(*state, isas[i], false, i == 0) <= BLOCK_TOLERANCE);
}

static void a_spoiled_weight_is_seen(void **state)
{
    assert_true(blocks_error(*state, DN_ISA_OPENBLAS, true, false) > BLOCK_TOLERANCE);
}

/* ---- trajectories ---------------------------------------------------------------------------- */

struct trajectory {
    const char *name;
    struct dn_row_params params;
};

static const struct trajectory trajectories[] = {
    {"dpmpp_2m", {42, 0, 7, 20, DN_SAMPLER_DPMPP_2M, 1.5, {0, 1}, 0}},
    {"ddim", {43, 1, 2, 25, DN_SAMPLER_DDIM, 1.0, {0, 1}, 0}},
    {"ddim_eta", {44, 2, 5, 12, DN_SAMPLER_DDIM, 2.0, {0, 1}, 1.0}},
    {"ddpm", {45, 3, 8, 30, DN_SAMPLER_DDPM, 1.0, {0, 1}, 0}},
    {"interval", {46, 4, 3, 20, DN_SAMPLER_DPMPP_2M, 3.0, {0.2, 0.65}, 0}},
    {"unipc", {47, 5, 4, 14, DN_SAMPLER_UNIPC, 1.5, {0, 1}, 0}},
    {"heun", {52, 7, 8, 13, DN_SAMPLER_HEUN, 1.5, {0, 1}, 0}},
    {"heun_even", {53, 8, 6, 8, DN_SAMPLER_HEUN, 1.0, {0, 1}, 0}},
    {"ipndm", {48, 6, 9, 10, DN_SAMPLER_IPNDM, 1.5, {0, 1}, 0}},
};
enum { TRAJECTORIES = sizeof trajectories / sizeof *trajectories };

/* At the guidance scale that the model was trained for. */
static const struct trajectory fast_trajectories[] = {
    {"steps1", {49, 0, 6, 1, DN_SAMPLER_CONSISTENCY, 0, {0, 1}, 0}},
    {"steps2", {50, 1, 1, 2, DN_SAMPLER_CONSISTENCY, 0, {0, 1}, 0}},
    {"steps4", {51, 2, 0, 4, DN_SAMPLER_CONSISTENCY, 0, {0, 1}, 0}},
};
enum { FAST_TRAJECTORIES = sizeof fast_trajectories / sizeof *fast_trajectories };

static struct dn_model *open_model(const char *path, enum dn_precision precision)
{
    const struct dn_model_options options = {.precision = precision};
    struct dn_error err = {0};
    struct dn_model *model;
    if (dn_model_open(&model, path, &options, &err))
        fail_msg("%s", err.text);
    /* All samplers are tried, whatever the model's file allows. */
    model->info.samplers = (1u << DN_SAMPLER_COUNT) - 1;
    return model;
}

/* Run all of them together to their ends; [n] rows for the caller to free. */
static void run_rows(const struct dn_model *model, const struct trajectory *cases, size_t n,
                     struct dn_row **rows)
{
    const struct dn_model_info *info = dn_model_info(model);
    struct dn_error err = {0};
    struct dn_workspace *workspace;
    size_t n_running = n;

    assert_int_equal(dn_workspace_new(&workspace, model, 2 * (uint32_t)n, &err), 0);
    for (size_t i = 0; i < n; i++) {
        struct dn_row_params params = cases[i].params;
        if (info->has_fixed_guidance)
            params.guidance_scale = info->default_guidance_scale;
        if (dn_row_new(&rows[i], model, &params, &err))
            fail_msg("%s: %s", cases[i].name, err.text);
    }
    while (n_running > 0) {
        struct dn_row *running[TRAJECTORIES];
        n_running = 0;
        for (size_t i = 0; i < n; i++)
            if (!dn_row_done(rows[i]))
                running[n_running++] = rows[i];
        assert_int_equal(dn_step(workspace, running, n_running), 0);
    }
    dn_workspace_free(workspace);
}

/* From start to end: the values of fp32 within a tolerance, those of bf16 by the ratio of their
 * range to the root mean square of the error. */
static void check_trajectories(const struct dn_safetensors *file, const char *path,
                               const struct trajectory *cases, size_t n,
                               enum dn_precision precision)
{
    struct dn_model *model = open_model(path, precision);
    struct dn_row *rows[TRAJECTORIES];

    if (!strstr(file->config, dn_model_info(model)->digest))
        fail_msg("%s is not the model of the golden values; make golden makes them anew", path);
    run_rows(model, cases, n, rows);
    for (size_t i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "trajectory.%s", cases[i].name);
        const struct dn_tensor *want = golden(file, name);
        const float *found = dn_row_values(rows[i]);
        double worst = 0, squares = 0;
        for (size_t j = 0; j < want->count; j++) {
            double d = fabs(found[j] - want->data[j]);
            worst = fmax(worst, d);
            squares += d * d;
        }
        double psnr_db = 10 * log10(4 * (double)want->count / squares); /* the range is 2 */
        print_message("  %s trajectory %-10s largest error %.2e, PSNR %.1f dB\n",
                      dn_precision_name(precision), cases[i].name, worst / 2, psnr_db);
        if (precision == DN_PRECISION_BF16)
            assert_true(psnr_db >= BF16_PSNR_DB);
        else
            assert_true(worst / 2 <= TRAJECTORY_TOLERANCE);
        dn_row_free(rows[i]);
    }
    dn_model_free(model);
}

static void check_all_trajectories(const struct fixture *f, enum dn_precision precision)
{
    check_trajectories(&f->golden, MODEL, trajectories, TRAJECTORIES, precision);
    check_trajectories(&f->fast_golden, FAST_MODEL, fast_trajectories, FAST_TRAJECTORIES,
                       precision);
}

static void trajectories_match_pytorch(void **state)
{
    check_all_trajectories(*state, DN_PRECISION_FP32);
}

static void bf16_trajectories_are_close_to_pytorch(void **state)
{
    if (!dn_kernels_for(DN_ISA_AUTO, DN_PRECISION_BF16))
        skip();
    check_all_trajectories(*state, DN_PRECISION_BF16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_matches_pytorch),
        cmocka_unit_test(a_spoiled_weight_is_seen),
        cmocka_unit_test(trajectories_match_pytorch),
        cmocka_unit_test(bf16_trajectories_are_close_to_pytorch),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
