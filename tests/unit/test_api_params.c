/* api/params: a request against the shipped model becomes resolved parameters, or a named fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/document.h"
#include "api/params.h"

static struct dn_model *models[1];
static struct api_context context = {.models = models,
                                     .n_models = 1,
                                     .max_rows_per_request = 256,
                                     .max_queue_rows = 4096,
                                     .max_body_bytes = 65536};

static int setup(void **state)
{
    (void)state;
    const struct dn_model_options options = {.isa = DN_ISA_AUTO, .precision = DN_PRECISION_AUTO};
    struct dn_error err;
    return dn_model_open(&models[0], "models/mnist.safetensors", &options, &err);
}

static int teardown(void **state)
{
    (void)state;
    dn_model_free(models[0]);
    return 0;
}

static int read_body(struct sample_params *p, const char *body, struct problem *problem)
{
    return params_from_body(p, &context, PARAMS_SAMPLE, body, strlen(body), problem);
}

static void test_defaults(void **state)
{
    (void)state;
    const struct dn_model_info *info = dn_model_info(models[0]);
    struct sample_params p;
    struct problem problem;
    assert_int_equal(read_body(&p, "{\"label\":7}", &problem), 0);
    assert_int_equal(p.n_rows, 1);
    assert_int_equal(p.labels[0], 7);
    assert_false(p.has_seed);
    assert_int_equal(p.steps, info->default_steps);
    assert_int_equal(p.sampler, info->default_sampler);
    assert_true(p.guidance_scale == info->default_guidance_scale);
    assert_int_equal(p.scale, 1);
    assert_int_equal(p.layout, LAYOUT_LIST);
    assert_int_equal(p.columns, 0);
    params_free(&p);
}

static void test_rows(void **state)
{
    (void)state;
    struct sample_params p;
    struct problem problem;
    assert_int_equal(read_body(&p,
                               "{\"labels\":[3,\"one\"],\"n\":2,\"seed\":9007199254740991,"
                               "\"index\":10,\"steps\":1000,\"sampler\":\"ddim\",\"eta\":1,"
                               "\"guidance_scale\":20,\"layout\":\"grid\",\"columns\":3}",
                               &problem),
                     0);
    assert_int_equal(p.n_rows, 4);
    static const uint32_t labels[] = {3, 3, 1, 1};
    for (size_t i = 0; i < 4; i++) {
        struct dn_row_params row = params_row(&p, i);
        assert_int_equal(row.label, labels[i]);
        assert_int_equal(row.index, 10 + i);
        assert_true(row.seed == DN_SEED_MAX);
        assert_int_equal(row.steps, 1000);
        assert_true(row.eta == 1 && row.guidance_scale == 20);
    }
    assert_int_equal(params_grid_rows(&p), 2);
    params_free(&p);
}

static void test_limits_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        const char *pointer; /* NULL: accepted */
    } cases[] = {
        {"{\"label\":9}", NULL},
        {"{\"label\":10}", "/label"},
        {"{\"label\":1,\"n\":256}", NULL},
        {"{\"label\":1,\"n\":257}", "/n"},
        {"{\"labels\":[1,2,3],\"n\":85}", NULL},
        {"{\"labels\":[1,2,3],\"n\":86}", "/n"},
        {"{\"label\":1,\"seed\":9007199254740991}", NULL},
        {"{\"label\":1,\"seed\":9007199254740992}", "/seed"},
        {"{\"label\":1,\"index\":4294967295}", NULL},
        {"{\"label\":1,\"n\":2,\"index\":4294967294}", NULL},
        {"{\"label\":1,\"n\":2,\"index\":4294967295}", "/index"},
        {"{\"label\":1,\"guidance_scale\":20}", NULL},
        {"{\"label\":1,\"guidance_scale\":20.000001}", "/guidance_scale"},
        {"{\"label\":1,\"n\":83,\"scale\":32}", NULL}, /* 83 x 28 x 28 x 32 x 32 < 64 Mi */
        {"{\"label\":1,\"n\":84,\"scale\":32}", "/scale"},
        {"{\"label\":1,\"n\":83,\"scale\":32,\"layout\":\"grid\",\"columns\":50}", "/scale"},
        {"{\"label\":1,\"n\":1.0}", NULL},
        {"{\"label\":1,\"n\":1e2}", NULL},
        {"{\"label\":1e0}", NULL},
        {"{\"label\":\"9\"}", NULL},
        {"{\"labels\":[\"0\",\"one\",2]}", NULL},
        {"{\"label\":\"10\"}", "/label"},
        {"{\"label\":\"07\"}", "/label"},
        {"{\"label\":\"7.0\"}", "/label"},
        {"{\"label\":\"-1\"}", "/label"},
        {"{\"label\":\" 7\"}", "/label"},
        {"{\"label\":\"\"}", "/label"},
        {"{\"label\":\"4294967296\"}", "/label"},
        {"{\"label\":\"18446744073709551617\"}", "/label"},
        {"{\"labels\":[1,\"10\"]}", "/labels/1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sample_params p;
        struct problem problem;
        int rc = read_body(&p, cases[i].body, &problem);
        assert_int_equal(rc, cases[i].pointer ? -1 : 0);
        if (rc == 0) {
            params_free(&p);
        } else {
            assert_int_equal(problem.n_errors, 1);
            assert_string_equal(problem.errors[0].pointer, cases[i].pointer);
        }
    }
}

static void test_url(void **state)
{
    (void)state;
    struct query q;
    struct problem problem;
    struct sample_params p;
    assert_int_equal(
        query_parse(&q, "seed=5&steps=10&scale=3&index=7&guidance_scale=2.5", &problem), 0);
    assert_int_equal(params_from_url(&p, &context, FORMAT_PNG, "seven", &q, &problem), 0);
    struct dn_row_params row = params_row(&p, 0);
    assert_int_equal(row.label, 7);
    assert_int_equal(row.index, 7);
    assert_int_equal(row.steps, 10);
    assert_true(row.seed == 5 && row.guidance_scale == 2.5);
    params_free(&p);
    static const char *const labels[] = {"07", "10", "-1", "1.0", "x", "", "999999999999"};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        assert_int_equal(params_from_url(&p, &context, FORMAT_PNG, labels[i], &q, &problem), -1);
        assert_string_equal(problem.errors[0].pointer, "/label");
    }
    query_free(&q);
}

static void test_the_etag_follows_the_picture(void **state)
{
    (void)state;
    static const char *const queries[] = {"seed=1",
                                          "seed=2",
                                          "seed=1&index=1",
                                          "seed=1&scale=2",
                                          "seed=1&steps=19",
                                          "seed=1&steps=9",
                                          "seed=1&guidance_scale=1.25",
                                          "seed=1&sampler=ddim",
                                          "seed=1&sampler=ddim&eta=0.5"};
    char etags[2 * sizeof queries / sizeof *queries][IMAGE_ETAG_BYTES];
    size_t n = 0;
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        for (int label = 0; label < 2; label++) {
            struct query q;
            struct problem problem;
            struct sample_params p;
            assert_int_equal(query_parse(&q, queries[i], &problem), 0);
            assert_int_equal(
                params_from_url(&p, &context, FORMAT_PNG, label ? "1" : "0", &q, &problem), 0);
            assert_int_equal(image_etag(etags[n], &p, "1"), 0);
            char again[IMAGE_ETAG_BYTES], upgraded[IMAGE_ETAG_BYTES];
            assert_int_equal(image_etag(again, &p, "1"), 0);
            assert_string_equal(again, etags[n]);
            assert_int_equal(image_etag(upgraded, &p, "2"), 0);
            assert_string_not_equal(upgraded, etags[n]);
            char marked[IMAGE_ETAG_BYTES], marked_anew[IMAGE_ETAG_BYTES];
            p.xmp_version = "1";
            assert_int_equal(image_etag(marked, &p, "1"), 0);
            assert_string_not_equal(marked, etags[n]);
            p.xmp_version = "2";
            assert_int_equal(image_etag(marked_anew, &p, "1"), 0);
            assert_string_not_equal(marked_anew, marked);
            for (size_t j = 0; j < n; j++) {
                assert_string_not_equal(etags[j], etags[n]);
            }
            n++;
            params_free(&p);
            query_free(&q);
        }
    }
}

static void test_models_by_name_and_digest(void **state)
{
    (void)state;
    assert_int_equal(api_model_find(&context, "mnist"), 0);
    assert_int_equal(api_model_find(&context, dn_model_info(models[0])->digest), 0);
    assert_int_equal(api_model_find(&context, "mnis"), -1);
    assert_int_equal(api_model_find(&context, ""), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_limits_are_exact),
        cmocka_unit_test(test_url),
        cmocka_unit_test(test_the_etag_follows_the_picture),
        cmocka_unit_test(test_models_by_name_and_digest),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
