/* Noise: the published Philox vectors, the moments of the normals, and that any part can be drawn
 * alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/exact_math.h"
#include "core/base/rng.h"

/* Random123's kat_vectors, philox4x32 10. */
static void philox_matches_the_published_vectors(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        dn_philox(out, cases[i].counter, cases[i].key);
        assert_memory_equal(out, cases[i].out, sizeof out);
    }
}

/* Standard errors of 2^20 draws: mean 0.001, variance 0.0014, fourth moment 0.0096; five of each.
 */
static void normals_have_normal_moments(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    float *noise = malloc(N * sizeof *noise);
    assert_non_null(noise);
    dn_noise(noise, N, 42, 0, 0);
    double mean = 0, square = 0, fourth = 0, pair = 0;
    for (int i = 0; i < N; i++) {
        double v = noise[i];
        mean += v / N;
        square += v * v / N;
        fourth += v * v * v * v / N;
        pair += i ? v * noise[i - 1] / N : 0;
    }
    assert_true(fabs(mean) < 0.005);
    assert_true(fabs(square - 1) < 0.007);
    assert_true(fabs(fourth - 3) < 0.048);
    assert_true(fabs(pair) < 0.005);
    free(noise);
}

static void a_prefix_does_not_depend_on_the_length(void **state)
{
    (void)state;
    float whole[784], part[784];
    dn_noise(whole, 784, 7, 3, 5);
    for (size_t n = 1; n < 784; n += 61) {
        memset(part, 0xee, sizeof part);
        dn_noise(part, n, 7, 3, 5);
        assert_memory_equal(part, whole, n * sizeof *part);
        if (n < 784)
            assert_int_equal(((unsigned char *)part)[n * sizeof *part], 0xee);
    }
}

static void seed_index_and_step_all_matter(void **state)
{
    (void)state;
    float a[16], b[16];
    dn_noise(a, 16, 1, 0, 0);
    const struct {
        uint64_t seed;
        uint32_t index, step;
    } others[] = {{2, 0, 0}, {1, 1, 0}, {1, 0, 1}, {UINT64_C(1) | UINT64_C(1) << 40, 0, 0}};
    for (size_t i = 0; i < 4; i++) {
        dn_noise(b, 16, others[i].seed, others[i].index, others[i].step);
        for (int j = 0; j < 16; j++)
            assert_true(a[j] != b[j]);
    }
}

/* Against libm in double precision, a dense sweep of the range each is used in. */
static void exact_functions_are_accurate(void **state)
{
    (void)state;
    double e = 0, l = 0, s = 0, d = 0;
    for (int i = 0; i < 400000; i++) {
        double u = (i + 0.5) / 400000;
        float x = (float)(u * 170 - 86);
        e = fmax(e, fabs(dn_expf(x) / exp((double)x) - 1));
        float y = (float)exp(u * 80 - 40);
        double want = log((double)y);
        l = fmax(l, fabs(dn_logf(y) - want) / fmax(fabs(want), 1e-3));
        float t = (float)(u * 8 - 4), sine, cosine;
        dn_sincos_turnsf(t, &sine, &cosine);
        s = fmax(s, fabs(sine - sin(2 * M_PI * t)));
        s = fmax(s, fabs(cosine - cos(2 * M_PI * t)));
        double z = exp(u * 80 - 39.9);
        d = fmax(d, fabs(dn_log(z) - log(z)) / fmax(fabs(log(z)), 1e-2));
    }
    assert_true(e < 2e-7);
    assert_true(l < 2e-7);
    assert_true(s < 2e-7);
    assert_true(d < 1e-14);
    assert_true(dn_expf(-1e30f) == 0.0f);
    assert_true(isfinite(dn_expf(1e30f)));
    assert_true(fabsf(dn_siluf(-200.0f)) < 1e-30f && fabsf(dn_siluf(200.0f) / 200.0f - 1) < 2e-7f);
    assert_true(isnan(dn_siluf(NAN)) && dn_siluf(0.0f) == 0.0f);
    double relative = 0, absolute = 0;
    for (float x = -110.0f; x < 110.0f; x += 0.00113f) {
        double want = (double)x / (1 + exp(-(double)x)), error = fabs(dn_siluf(x) - want);
        if (x > -10)
            relative = fmax(relative, error / fabs(want));
        else
            absolute = fmax(absolute, error);
    }
    print_message("silu: relative error %.1e, beyond -10 absolute %.1e\n", relative, absolute);
    assert_true(relative < 1e-6 && absolute < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_matches_the_published_vectors),
        cmocka_unit_test(normals_have_normal_moments),
        cmocka_unit_test(a_prefix_does_not_depend_on_the_length),
        cmocka_unit_test(seed_index_and_step_all_matter),
        cmocka_unit_test(exact_functions_are_accurate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
