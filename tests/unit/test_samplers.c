/*
 * Samplers without a network. The "model" is x t / (t + 1) elementwise on x_k = k / 768, as in the
 * tests of Hugging Face diffusers (tests/schedulers); sums and means are those that its schedulers
 * give, or fp64 computations of the published formulas where the spacing is ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/rng.h"
#include "core/sampling/sampler.h"

enum { SIZE = 768, MAX_STEPS = 1000 };

struct run {
    struct dn_schedule schedule;
    struct dn_sampling sampling;
    int ks[MAX_STEPS];
    float arrays[8][SIZE]; /* x, x0, eps, noise, three of history, the model's output */
};

static void begin(struct run *r, const char *betas, double beta_start, double beta_end,
                  const char *prediction, bool clip)
{
    memset(r, 0, sizeof *r);
    assert_int_equal(
        dn_schedule_init(&r->schedule, 1000, betas, beta_start, beta_end, prediction, NULL), 0);
    r->schedule.clip = clip;
    r->sampling = (struct dn_sampling){.schedule = &r->schedule,
                                       .size = SIZE,
                                       .ks = r->ks,
                                       .final_alpha_bar = 1.0,
                                       .x = r->arrays[0],
                                       .x0 = r->arrays[1],
                                       .eps = r->arrays[2],
                                       .noise = r->arrays[3],
                                       .history = r->arrays[4]};
    for (int i = 0; i < SIZE; i++)
        r->sampling.x[i] = (float)i / SIZE;
}

static void trailing(struct run *r, int n)
{
    r->sampling.n_steps = n;
    dn_schedule_trailing(1000, n, r->ks);
}

/* k = i T / n, falling. */
static void leading(struct run *r, int n)
{
    r->sampling.n_steps = n;
    for (int i = 0; i < n; i++)
        r->ks[i] = (n - 1 - i) * (1000 / n);
}

/* diffusers' DPM-Solver grid: n + 1 points from T - 1 to 0, the last dropped. */
static void linspace(struct run *r, int n)
{
    r->sampling.n_steps = n;
    for (int i = 0; i < n; i++)
        r->ks[i] = (int)lround(999.0 * (n - i) / n);
}

static void finish(struct run *r, enum dn_sampler sampler)
{
    struct dn_sampling *s = &r->sampling;
    float *output = r->arrays[7];
    while (s->step < s->n_steps) {
        double t = s->ks[s->step];
        for (int i = 0; i < SIZE; i++)
            output[i] = (float)(s->x[i] * t / (t + 1));
        dn_sampling_step(s, dn_sampler_ops(sampler), output);
    }
    dn_schedule_deinit(&r->schedule);
}

static void expect(const struct run *r, double sum, double mean)
{
    double total = 0;
    for (int i = 0; i < SIZE; i++)
        total += fabs(r->sampling.x[i]);
    if (fabs(total - sum) > 1e-2 || fabs(total / SIZE - mean) > 1e-3)
        fail_msg("sum %.4f expected, %.4f found", sum, total);
}

static void ddim_reproduces_the_reference(void **state)
{
    (void)state;
    struct run r;
    begin(&r, "linear", 1e-4, 0.02, "epsilon", true);
    leading(&r, 10);
    finish(&r, DN_SAMPLER_DDIM);
    expect(&r, 172.0067, 0.223967);

    begin(&r, "linear", 1e-4, 0.02, "v_prediction", true);
    leading(&r, 10);
    finish(&r, DN_SAMPLER_DDIM);
    expect(&r, 52.5302, 0.0684);

    begin(&r, "linear", 0.01, 0.02, "epsilon", true);
    leading(&r, 10);
    finish(&r, DN_SAMPLER_DDIM);
    expect(&r, 149.8295, 0.1951);

    begin(&r, "linear", 0.01, 0.02, "epsilon", true);
    leading(&r, 10);
    r.sampling.final_alpha_bar = r.schedule.alpha_bar[0];
    finish(&r, DN_SAMPLER_DDIM);
    expect(&r, 149.0784, 0.1941);
}

static void trailing_spacing_goes_to_the_next_entry(void **state)
{
    (void)state;
    struct run r;
    begin(&r, "linear", 1e-4, 0.02, "epsilon", true);
    trailing(&r, 10);
    finish(&r, DN_SAMPLER_DDIM);
    expect(&r, 170.0350, 0.221400);

    /* 12 does not divide 1000: stepping by t - T / n would give 175.0229. */
    begin(&r, "linear", 1e-4, 0.02, "epsilon", true);
    trailing(&r, 12);
    finish(&r, DN_SAMPLER_DDIM);
    expect(&r, 174.3176, 0.226976);
}

static void dpmpp_2m_reproduces_the_reference(void **state)
{
    (void)state;
    struct run r;
    begin(&r, "linear", 1e-4, 0.02, "epsilon", false);
    linspace(&r, 10);
    r.sampling.final_alpha_bar = r.schedule.alpha_bar[0];
    finish(&r, DN_SAMPLER_DPMPP_2M);
    expect(&r, 253.553, 0.3301);

    begin(&r, "linear", 1e-4, 0.02, "v_prediction", false);
    linspace(&r, 10);
    r.sampling.final_alpha_bar = r.schedule.alpha_bar[0];
    finish(&r, DN_SAMPLER_DPMPP_2M);
    expect(&r, 172.876, 0.2251);

    begin(&r, "linear", 1e-4, 0.02, "epsilon", false);
    trailing(&r, 10);
    finish(&r, DN_SAMPLER_DPMPP_2M);
    expect(&r, 185.2649, 0.241230);
}

static void the_cosine_schedule_reproduces_the_reference(void **state)
{
    (void)state;
    struct run r;
    begin(&r, "cosine", 0, 0, "v_prediction", false);
    trailing(&r, 10);
    finish(&r, DN_SAMPLER_DDIM);
    expect(&r, 60.7431, 0.079093);

    begin(&r, "cosine", 0, 0, "v_prediction", false);
    trailing(&r, 10);
    finish(&r, DN_SAMPLER_DPMPP_2M);
    expect(&r, 78.5809, 0.102319);
}

static void unipc_reproduces_the_reference(void **state)
{
    (void)state;
    struct run r;
    begin(&r, "linear", 1e-4, 0.02, "epsilon", false);
    linspace(&r, 10);
    r.sampling.final_alpha_bar = r.schedule.alpha_bar[0];
    finish(&r, DN_SAMPLER_UNIPC);
    expect(&r, 189.232, 0.2464);

    begin(&r, "linear", 1e-4, 0.02, "v_prediction", false);
    linspace(&r, 10);
    r.sampling.final_alpha_bar = r.schedule.alpha_bar[0];
    finish(&r, DN_SAMPLER_UNIPC);
    expect(&r, 77.872, 0.1014);
}

/* From the formula in its own coordinates, x / a against s / a, in fp64. */
static void ipndm_reproduces_the_formula(void **state)
{
    (void)state;
    struct run r;
    begin(&r, "linear", 1e-4, 0.02, "epsilon", false);
    trailing(&r, 10);
    finish(&r, DN_SAMPLER_IPNDM);
    expect(&r, 186.0178, 0.242211);

    begin(&r, "linear", 1e-4, 0.02, "v_prediction", true);
    trailing(&r, 10);
    r.sampling.final_alpha_bar = r.schedule.alpha_bar[0];
    finish(&r, DN_SAMPLER_IPNDM);
    expect(&r, 84.4432, 0.109952);

    begin(&r, "linear", 1e-4, 0.02, "v_prediction", false);
    trailing(&r, 12);
    finish(&r, DN_SAMPLER_IPNDM);
    expect(&r, 74.9607, 0.097605);
}

static double distance(const struct run *a, const struct run *b)
{
    double worst = 0;
    for (int i = 0; i < SIZE; i++)
        worst = fmax(worst, fabs(a->sampling.x[i] - b->sampling.x[i]));
    return worst;
}

/* With one or two steps DPM-Solver++(2M) never uses its history: that is its first order. */
static void first_order_dpmpp_is_ddim(void **state)
{
    (void)state;
    for (int n = 1; n <= 2; n++) {
        struct run a, b;
        begin(&a, "linear", 1e-4, 0.02, "v_prediction", false);
        trailing(&a, n);
        finish(&a, DN_SAMPLER_DPMPP_2M);
        begin(&b, "linear", 1e-4, 0.02, "v_prediction", false);
        trailing(&b, n);
        finish(&b, DN_SAMPLER_DDIM);
        assert_true(distance(&a, &b) < 1e-5);
    }
}

static void ddpm_is_ddim_with_eta_one(void **state)
{
    (void)state;
    struct run a, b;
    const int counts[] = {1000, 100, 37};
    for (size_t i = 0; i < 3; i++) {
        begin(&a, "linear", 1e-4, 0.02, "v_prediction", false);
        trailing(&a, counts[i]);
        a.sampling.seed = 5;
        finish(&a, DN_SAMPLER_DDPM);
        begin(&b, "linear", 1e-4, 0.02, "v_prediction", false);
        trailing(&b, counts[i]);
        b.sampling.seed = 5;
        b.sampling.eta = 1;
        finish(&b, DN_SAMPLER_DDIM);
        /* fp32 rounding of up to 1000 steps. */
        assert_true(distance(&a, &b) < 2e-4);
    }
}

/*
 * Euler ancestral (Karras et al. 2022's Euler step down to sigma_down, then noise up to sigma_to,
 * as k-diffusion has it) in y = x / a against sigma = s / a, in fp64:
 *
 *     sigma_up^2 = sigma_to^2 (sigma^2 - sigma_to^2) / sigma^2,  sigma_down^2 = sigma_to^2 -
 * sigma_up^2 y' = y + (y - x0) / sigma (sigma_down - sigma) + sigma_up noise
 *
 * It is the same process, so there is no sampler of that name.
 */
static void euler_ancestral_is_ddim_with_eta_one(void **state)
{
    (void)state;
    enum { STEPS = 25 };
    struct run r;
    double y[SIZE];
    float noise[SIZE];
    begin(&r, "linear", 1e-4, 0.02, "v_prediction", false);
    trailing(&r, STEPS);
    struct dn_sampling *s = &r.sampling;
    s->seed = 5;
    s->eta = 1;
    for (int i = 0; i < SIZE; i++)
        y[i] = s->x[i] / sqrt(dn_sampling_alpha_bar(s, 0));
    for (int step = 0; step < STEPS; step++) {
        double from = dn_sampling_alpha_bar(s, step), to = dn_sampling_alpha_bar(s, step + 1);
        double sigma = sqrt((1 - from) / from), sigma_to = sqrt((1 - to) / to);
        double up = sigma_to * sqrt((sigma * sigma - sigma_to * sigma_to) / (sigma * sigma));
        double down = sqrt(sigma_to * sigma_to - up * up);
        dn_noise(noise, SIZE, 5, 0, (uint32_t)step + 1);
        for (int i = 0; i < SIZE; i++) {
            double x = y[i] * sqrt(from), v = 0.25 * x * sin((double)step + x);
            double x0 = sqrt(from) * x - sqrt(1 - from) * v;
            r.arrays[7][i] = (float)(0.25 * s->x[i] * sin((double)step + s->x[i]));
            y[i] += (y[i] - x0) / sigma * (down - sigma) + up * noise[i];
        }
        dn_sampling_step(s, dn_sampler_ops(DN_SAMPLER_DDIM), r.arrays[7]);
        for (int i = 0; i < SIZE; i++)
            assert_true(fabs(s->x[i] - y[i] * sqrt(to)) < 2e-5); /* fp32 rounding of 25 steps */
    }
    dn_schedule_deinit(&r.schedule);
}

/*
 * For Gaussian data of deviation d the best v is known, v = a s (1 - d^2) / (a^2 d^2 + s^2) x, and
 * so is the solution of the probability-flow equation: x d / sqrt(a^2 d^2 + s^2). Largest error
 * against it.
 */
static double gaussian_error(enum dn_sampler sampler, int n)
{
    const double d = 0.5;
    struct run r;
    begin(&r, "linear", 1e-4, 0.02, "v_prediction", false);
    trailing(&r, n);
    struct dn_sampling *s = &r.sampling;
    double ab = dn_sampling_alpha_bar(s, 0), gain = d / sqrt(ab * d * d + 1 - ab), worst = 0;
    while (s->step < n) {
        ab = dn_sampling_alpha_bar(s, s->step);
        double slope = sqrt(ab * (1 - ab)) * (1 - d * d) / (ab * d * d + 1 - ab);
        for (int i = 0; i < SIZE; i++)
            r.arrays[7][i] = (float)(slope * s->x[i]);
        dn_sampling_step(s, dn_sampler_ops(sampler), r.arrays[7]);
    }
    for (int i = 0; i < SIZE; i++)
        worst = fmax(worst, fabs(s->x[i] - gain * i / SIZE));
    dn_schedule_deinit(&r.schedule);
    return worst;
}

/* Four times the steps: a first-order solver's error falls to about a quarter, a second-order one's
 * at least to a tenth, until the first-order step to the clean image dominates. */
static void deterministic_samplers_converge(void **state)
{
    (void)state;
    static const enum dn_sampler samplers[] = {DN_SAMPLER_DDIM, DN_SAMPLER_DPMPP_2M,
                                               DN_SAMPLER_UNIPC, DN_SAMPLER_IPNDM};
    double errors[4][3];
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 3; j++)
            errors[i][j] = gaussian_error(samplers[i], (int[]){10, 40, 160}[j]);
        print_message("  %-9s %.2e %.2e %.2e\n", dn_sampler_info(samplers[i])->name, errors[i][0],
                      errors[i][1], errors[i][2]);
    }
    assert_true(errors[0][1] < 0.35 * errors[0][0] && errors[0][2] < 0.35 * errors[0][1]);
    for (int i = 1; i < 4; i++) {
        assert_true(errors[i][1] < 0.1 * errors[i][0] && errors[i][2] < errors[i][1]);
        for (int j = 0; j < 3; j++)
            assert_true(errors[i][j] < errors[0][j]);
    }
}

static void the_last_step_is_exactly_x0(void **state)
{
    (void)state;
    for (int sampler = 0; sampler < DN_SAMPLER_COUNT; sampler++) {
        struct run r;
        begin(&r, "linear", 1e-4, 0.02, "v_prediction", true);
        trailing(&r, 5);
        finish(&r, (enum dn_sampler)sampler);
        assert_memory_equal(r.sampling.x, r.sampling.x0, sizeof r.arrays[0]);
    }
}

/* The estimate, noised again with the row's own noise of that step. */
static void consistency_noises_the_estimate_again(void **state)
{
    (void)state;
    struct run r;
    float noise[SIZE];
    begin(&r, "linear", 1e-4, 0.02, "v_prediction", true);
    struct dn_sampling *s = &r.sampling;
    r.ks[0] = 999;
    r.ks[1] = 399;
    s->n_steps = 2;
    s->seed = 77;
    s->index = 3;
    dn_noise(noise, SIZE, 77, 3, 1);
    memset(r.arrays[7], 0, sizeof r.arrays[7]);
    dn_sampling_step(s, dn_sampler_ops(DN_SAMPLER_CONSISTENCY), r.arrays[7]);
    double alpha_bar = r.schedule.alpha_bar[399];
    for (int i = 0; i < SIZE; i++)
        assert_true(fabs(s->x[i] - (sqrt(alpha_bar) * s->x0[i] + sqrt(1 - alpha_bar) * noise[i])) <
                    1e-6);
    dn_sampling_step(s, dn_sampler_ops(DN_SAMPLER_CONSISTENCY), r.arrays[7]);
    assert_memory_equal(s->x, s->x0, sizeof noise);
    dn_schedule_deinit(&r.schedule);
}

static void trailing_lists_fall_from_the_end(void **state)
{
    (void)state;
    for (int n = 1; n <= 1000; n++) {
        int ks[MAX_STEPS];
        dn_schedule_trailing(1000, n, ks);
        assert_int_equal(ks[0], 999);
        for (int i = 1; i < n; i++)
            assert_true(ks[i] < ks[i - 1]);
        assert_true(ks[n - 1] >= 0);
    }
}

static void bad_schedules_are_named(void **state)
{
    (void)state;
    struct dn_schedule s;
    struct dn_error err;
    assert_int_equal(dn_schedule_init(&s, 10, "sqrt", 0.1, 0.2, "epsilon", &err), DN_EFORMAT);
    assert_non_null(strstr(err.text, "beta_schedule"));
    assert_int_equal(dn_schedule_init(&s, 10, "linear", 0.3, 0.2, "epsilon", &err), DN_EFORMAT);
    assert_non_null(strstr(err.text, "beta_start"));
    assert_int_equal(dn_schedule_init(&s, 10, "linear", 0.1, 0.2, "score", &err), DN_EFORMAT);
    assert_non_null(strstr(err.text, "prediction"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ddim_reproduces_the_reference),
        cmocka_unit_test(trailing_spacing_goes_to_the_next_entry),
        cmocka_unit_test(dpmpp_2m_reproduces_the_reference),
        cmocka_unit_test(unipc_reproduces_the_reference),
        cmocka_unit_test(ipndm_reproduces_the_formula),
        cmocka_unit_test(the_cosine_schedule_reproduces_the_reference),
        cmocka_unit_test(first_order_dpmpp_is_ddim),
        cmocka_unit_test(ddpm_is_ddim_with_eta_one),
        cmocka_unit_test(euler_ancestral_is_ddim_with_eta_one),
        cmocka_unit_test(deterministic_samplers_converge),
        cmocka_unit_test(the_last_step_is_exactly_x0),
        cmocka_unit_test(consistency_noises_the_estimate_again),
        cmocka_unit_test(trailing_lists_fall_from_the_end),
        cmocka_unit_test(bad_schedules_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
