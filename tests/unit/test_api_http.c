/* api/routes, api/accept, api/query, api/image's digest: HTTP's small grammars. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/accept.h"
#include "api/image.h"
#include "api/query.h"
#include "api/routes.h"

static int find(const char *method, const char *path)
{
    struct route_match match;
    route_find(&match, method, path, strncmp(path, "/admin", 6) == 0);
    return match.id;
}

static void test_routes(void **state)
{
    (void)state;
    struct route_match match;
    assert_int_equal(find("GET", "/"), ROUTE_DISCOVERY);
    assert_int_equal(find("POST", "/v1/samples"), ROUTE_SAMPLES);
    assert_int_equal(find("HEAD", "/v1/models"), ROUTE_MODELS);
    assert_int_equal(find("GET", "/v1/models/"), -1);
    assert_int_equal(find("GET", ""), -1);
    assert_int_equal(find("GET", "/v1/samples/.png"), -1);
    assert_int_equal(find("GET", "/v1/samples/a/b.png"), -1);
    assert_int_equal(find("GET", "/v1/samples/7.PNG"), -1);

    route_find(&match, "GET", "/v1/samples/7.png.png", false);
    assert_int_equal(match.id, ROUTE_SAMPLE_PNG);
    assert_int_equal(match.segments[0].bytes, 5);
    assert_memory_equal(match.segments[0].text, "7.png", 5);

    route_find(&match, "DELETE", "/v1/samples", false);
    assert_true(match.path_exists);
    assert_int_equal(match.id, -1);
    assert_string_equal(match.allow, "POST, OPTIONS");
    route_find(&match, "OPTIONS", "/livez", false);
    assert_string_equal(match.allow, "GET, HEAD, OPTIONS");
    route_find(&match, "GET", "/nope", false);
    assert_false(match.path_exists);

    route_find(&match, "GET", "/admin/models", false); /* of another listener */
    assert_false(match.path_exists);
    route_find(&match, "GET", "/livez", true);
    assert_false(match.path_exists);
    route_find(&match, "DELETE", "/admin/models", true);
    assert_string_equal(match.allow, "GET, HEAD, POST, OPTIONS");
}

static void test_every_route_finds_itself(void **state)
{
    (void)state;
    for (int id = 0; id < ROUTE_COUNT; id++) {
        assert_non_null(routes[id].method);
        assert_non_null(routes[id].types[0]);
        assert_int_equal(find(routes[id].method, routes[id].pattern), id);
    }
}

static void test_accept(void **state)
{
    (void)state;
    static const char *const types[] = {"application/json", "image/png", NULL};
    static const struct {
        const char *header;
        int expected;
    } cases[] = {
        {NULL, 0},
        {"", 0},
        {"*/*", 0},
        {"image/png", 1},
        {"IMAGE/PNG", 1},
        {"image/*", 1},
        {"image/pn", -1},
        {"image/pngx", -1},
        {"text/html", -1},
        {"image/png;q=0", -1},
        {"image/png;q=0, */*", 0},
        {"application/json;q=0, */*;q=0.1", 1},
        {"application/json;q=0.1, image/png;q=0.2", 1},
        {"application/json;q=0.2,image/png;q=0.2", 0},
        {"*/*;q=0.001", 0},
        {"image/png;level=1;q=0.5, application/json;q=0.4", 1},
        {"text/x;p=\"a,image/png\"", -1},
        {",, ,image/png", 1},
        {"image/png;q=x", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(accept_choose(cases[i].header, types, 3), cases[i].expected);
    }
}

static void test_content_type(void **state)
{
    (void)state;
    assert_true(accept_is_json_body(NULL));
    assert_true(accept_is_json_body("application/json"));
    assert_true(accept_is_json_body("Application/JSON ; Charset=UTF-8"));
    assert_true(accept_is_json_body("application/problem+json"));
    assert_true(accept_is_json_body("application/x-www-form-urlencoded"));
    assert_false(accept_is_json_body(""));
    assert_false(accept_is_json_body("application/+jso"));
    assert_false(accept_is_json_body("text/json"));
    assert_false(accept_is_json_body("application/json-seq"));
    assert_false(accept_is_json_body("application/json;charset=latin1"));
}

static void test_etags(void **state)
{
    (void)state;
    assert_true(accept_etag_matches("\"a\"", "\"a\""));
    assert_true(accept_etag_matches("W/\"a\"", "\"a\""));
    assert_true(accept_etag_matches("\"x\" , \"a\"", "\"a\""));
    assert_true(accept_etag_matches("*", "\"a\""));
    assert_true(accept_etag_matches("\"b,c\", \"a\"", "\"a\""));
    assert_false(accept_etag_matches(NULL, "\"a\""));
    assert_false(accept_etag_matches("", "\"a\""));
    assert_false(accept_etag_matches("a", "\"a\""));
    assert_false(accept_etag_matches("\"x, \"a\"", "\"a\"")); /* an open quote hides the rest */
}

static void test_query(void **state)
{
    (void)state;
    struct query q;
    struct problem problem;
    assert_int_equal(query_parse(&q, "a=1&b=%41+c&&d", &problem), 0);
    assert_int_equal(q.n_pairs, 3);
    assert_string_equal(q.pairs[1].key, "b");
    assert_string_equal(q.pairs[1].value, "A c");
    assert_string_equal(q.pairs[2].value, "");
    query_free(&q);
    assert_int_equal(query_parse(&q, NULL, &problem), 0);
    query_free(&q);
    static const struct {
        const char *raw, *pointer;
    } bad[] = {{"a=%", "/a"}, {"a=%1", "/a"},   {"a=%00", "/a"}, {"a=%ff", "/a"},
               {"%zz=1", ""}, {"a=1&a=", "/a"}, {"a=%0a", "/a"}, {"a/b=\x01", "/a~1b"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(query_parse(&q, bad[i].raw, &problem), -1);
        assert_string_equal(problem.errors[0].pointer, bad[i].pointer);
        query_free(&q);
    }
}

static void test_digest(void **state)
{
    (void)state;
    char digest[IMAGE_DIGEST_BYTES];
    image_digest(digest, (const uint8_t *)"abc", 3); /* FIPS 180-2 appendix B.1 */
    assert_string_equal(digest,
                        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes), cmocka_unit_test(test_every_route_finds_itself),
        cmocka_unit_test(test_accept), cmocka_unit_test(test_content_type),
        cmocka_unit_test(test_etags),  cmocka_unit_test(test_query),
        cmocka_unit_test(test_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
