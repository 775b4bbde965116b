/* api/json, api/unicode, api/text: strict reading, exact writing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/json.h"
#include "api/text.h"
#include "api/unicode.h"

static int parse(const char *body, size_t bytes, struct problem *problem)
{
    /* An exact allocation, so that a sanitizer sees any read past the end. */
    char *copy = malloc(bytes ? bytes : 1);
    assert_non_null(copy);
    memcpy(copy, body, bytes);
    cJSON *root = NULL;
    int rc = json_parse(&root, copy, bytes, problem);
    assert_int_equal(rc == 0, root != NULL);
    cJSON_Delete(root);
    free(copy);
    return rc;
}

static void test_accepts(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{}",
        " \t\r\n{ } ",
        "[]",
        "0",
        "-0",
        "1.5e-3",
        "1E+2",
        "\"\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
        "\"\\ud83d\\ude00 \xf0\x9f\x98\x80\"",
        "true",
        "null",
        "[1,[2,[3,[4,[5,[6,[7,[]]]]]]]]",
        "{\"a\":{\"b\":[{}]},\"c\":false}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct problem problem;
        assert_int_equal(parse(good[i], strlen(good[i]), &problem), 0);
    }
}

static void test_refuses_every_prefix(void **state)
{
    (void)state;
    static const char body[] =
        "{\"label\":[1.5e3,\"\\ud83d\\ude00\xc3\xa9\",true,null,{\"x\":-1}]}";
    for (size_t bytes = 0; bytes < sizeof body - 1; bytes++) {
        struct problem problem;
        assert_int_equal(parse(body, bytes, &problem), -1);
        assert_int_equal(problem.kind, PROBLEM_MALFORMED_JSON);
        assert_int_equal(problem.n_errors, 1);
    }
    struct problem problem;
    assert_int_equal(parse(body, sizeof body - 1, &problem), 0);
}

/* What the strict reader accepts cJSON reads too, whatever one byte is changed to. */
static void test_agrees_with_cjson_on_mutations(void **state)
{
    (void)state;
    static const char body[] = "{\"label\":7,\"seed\":1e3,\"x\":[\"a\\u0041\",null]}";
    char mutated[sizeof body];
    size_t accepted = 0;
    for (size_t i = 0; i < sizeof body - 1; i++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(mutated, body, sizeof body);
            mutated[i] = (char)byte;
            struct problem problem;
            if (parse(mutated, sizeof body - 1, &problem) == 0) {
                accepted++;
            } else {
                assert_int_equal(problem.kind, PROBLEM_MALFORMED_JSON);
            }
        }
    }
    assert_true(accepted > 1000); /* letters within the strings */
}

static void test_names_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *body, *pointer;
    } cases[] = {
        {"", ""},
        {"{\"a\":01}", "/a"},
        {"{\"a\":{\"b/c~d\":nope}}", "/a/b~1c~0d"},
        {"{\"a\":1,\"a\":1}", "/a"},
        {"{\"a\":[{\"b\":1,\"\\u0062\":2}]}", "/a/b"},
        {"{\"a\":1}}", ""},
        {"{\"a\":1e400}", "/a"},
        {"{\"\":tru}", "/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct problem problem;
        assert_int_equal(parse(cases[i].body, strlen(cases[i].body), &problem), -1);
        assert_string_equal(problem.errors[0].pointer, cases[i].pointer);
    }
}

static void test_a_long_key_gives_a_short_pointer(void **state)
{
    (void)state;
    char body[2048];
    memset(body, 'k', sizeof body);
    memcpy(body, "{\"", 2);
    memcpy(body + sizeof body - 4, "\":x}", 4);
    struct problem problem;
    assert_int_equal(parse(body, sizeof body, &problem), -1);
    assert_int_equal(strlen(problem.errors[0].pointer), PROBLEM_POINTER_BYTES - 1);
}

static void test_read_number(void **state)
{
    (void)state;
    double number;
    assert_int_equal(json_read_number(&number, "-12.5e1"), 0);
    assert_true(number == -125);
    static const char *const bad[] = {"",   " 1", "1 ",    "+1",  "01",  "1.",    ".5", "0x10",
                                      "1e", "--", "1e999", "inf", "nan", "1,000", "1a", "1_0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(json_read_number(&number, bad[i]), -1);
    }
}

static void test_unicode(void **state)
{
    (void)state;
    /* Every code point is well-formed in its one shortest form; surrogates are not characters. */
    for (uint32_t code = 0; code <= 0x110000; code++) {
        unsigned char s[4];
        size_t n;
        if (code < 0x80) {
            s[0] = (unsigned char)code;
            n = 1;
        } else if (code < 0x800) {
            s[0] = (unsigned char)(0xc0 | code >> 6);
            s[1] = (unsigned char)(0x80 | (code & 63));
            n = 2;
        } else if (code < 0x10000) {
            s[0] = (unsigned char)(0xe0 | code >> 12);
            s[1] = (unsigned char)(0x80 | (code >> 6 & 63));
            s[2] = (unsigned char)(0x80 | (code & 63));
            n = 3;
        } else {
            s[0] = (unsigned char)(0xf0 | code >> 18);
            s[1] = (unsigned char)(0x80 | (code >> 12 & 63));
            s[2] = (unsigned char)(0x80 | (code >> 6 & 63));
            s[3] = (unsigned char)(0x80 | (code & 63));
            n = 4;
        }
        int sound = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        assert_int_equal(unicode_length((const char *)s, n), sound ? n : 0);
        if (n > 1) {
            assert_int_equal(unicode_length((const char *)s, n - 1), 0);
        }
    }
    assert_false(unicode_valid("\xc0\x80", 2));
    assert_false(unicode_valid("\xe0\x9f\xbf", 3));
    assert_false(unicode_valid("\xf0\x8f\xbf\xbf", 4));
    char out[8];
    unicode_copy(out, sizeof out, "1234567");
    assert_string_equal(out, "1234567");
    unicode_copy(out, sizeof out, "abc\xc3\xa9\xc3\xa9\xc3\xa9");
    assert_string_equal(out, "abc..."); /* not half an é */
}

static void test_base64(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *encoded;
    } vectors[] = {/* RFC 4648 part 10 */
                   {"", ""},
                   {"f", "Zg=="},
                   {"fo", "Zm8="},
                   {"foo", "Zm9v"},
                   {"foob", "Zm9vYg=="},
                   {"fooba", "Zm9vYmE="},
                   {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct text t = TEXT_INIT;
        text_puts(&t, "<");
        text_base64(&t, (const uint8_t *)vectors[i].plain, strlen(vectors[i].plain));
        text_puts(&t, ">");
        char *s = text_take(&t, NULL);
        assert_memory_equal(s + 1, vectors[i].encoded, strlen(vectors[i].encoded));
        assert_int_equal(strlen(s), strlen(vectors[i].encoded) + 2);
        free(s);
    }
    struct text t = TEXT_INIT;
    text_base64(&t, (const uint8_t *)"\xff\xef\xbe\x00", 4);
    char *s = text_take(&t, NULL);
    assert_string_equal(s, "/+++AA==");
    free(s);
}

static void test_numbers_read_back(void **state)
{
    (void)state;
    static const double numbers[] = {0,      1,     1.5,  0.1, 1.0 / 3, 20,  9007199254740991.0,
                                     1e-300, 2.675, -0.0, -3,  1e14,    1e15};
    static const char *const texts[] = {"0",
                                        "1",
                                        "1.5",
                                        "0.1",
                                        NULL,
                                        "20",
                                        "9007199254740991",
                                        "1e-300",
                                        "2.675",
                                        "-0",
                                        "-3",
                                        "100000000000000",
                                        "1e+15"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct text t = TEXT_INIT;
        text_json_number(&t, numbers[i]);
        char *s = text_take(&t, NULL);
        assert_true(strtod(s, NULL) == numbers[i]);
        if (texts[i]) {
            assert_string_equal(s, texts[i]);
        }
        free(s);
    }
}

static void test_printed_text_grows(void **state)
{
    (void)state;
    struct text t = TEXT_INIT;
    char expected[4096] = "";
    for (int i = 0; i < 40; i++) { /* fits, ends at the capacity or goes beyond it */
        text_printf(&t, "%0*d,", 3 * i + 1, i % 10);
        size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "%0*d,", 3 * i + 1, i % 10);
        assert_int_equal(t.length, strlen(expected));
        assert_string_equal(t.bytes, expected);
    }
    text_free(&t);
}

static void test_strings_are_escaped(void **state)
{
    (void)state;
    struct text t = TEXT_INIT;
    text_json_string(&t, "a\"b\\c\n\x01\x7f\xc3\xa9/");
    char *s = text_take(&t, NULL);
    assert_string_equal(s, "\"a\\\"b\\\\c\\u000a\\u0001\\u007f\xc3\xa9/\"");
    struct problem problem;
    assert_int_equal(parse(s, strlen(s), &problem), 0);
    free(s);
}

/* Controls of a terminal and of writing direction, separators, and bytes that are no UTF-8. */
static void test_what_is_not_seen_is_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"\x1b[31m", "\\u001b[31m"},
        {"a\xc2\x9b"
         "b",
         "a\\u009bb"},
        {"\xc2\x80\xc2\x9f\xc2\xa0", "\\u0080\\u009f\xc2\xa0"},
        {"\xe2\x80\x8d\xe2\x80\x8e\xe2\x80\x8f\xe2\x80\x90",
         "\xe2\x80\x8d\\u200e\\u200f\xe2\x80\x90"},
        {"\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xae\xe2\x80\xaf",
         "\xe2\x80\xa7\\u2028\\u202e\xe2\x80\xaf"},
        {"\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xaa", "\\u2066\\u2069\xe2\x81\xaa"},
        {"\xd8\x9c\xd8\xa7", "\\u061c\xd8\xa7"},
        {"x\xff\xc3", "x\\ufffd\\ufffd"},
        {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"},
        {"\xf0\x9f\x99\x82", "\xf0\x9f\x99\x82"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text quoted = TEXT_INIT, shown = TEXT_INIT;
        char expected[64];
        snprintf(expected, sizeof expected, "\"%s\"", cases[i].out);
        text_json_string(&quoted, cases[i].in);
        text_shown(&shown, cases[i].in);
        assert_string_equal(quoted.bytes, expected);
        assert_string_equal(shown.bytes, cases[i].out);
        assert_int_equal(text_is_plain(cases[i].in), strcmp(cases[i].in, cases[i].out) == 0);
        text_free(&quoted);
        text_free(&shown);
    }
}

static void test_problem_document(void **state)
{
    (void)state;
    struct problem p;
    problem_set(&p, PROBLEM_INVALID_REQUEST, "it has \"%s\"", "quotes");
    for (int i = 0; i < PROBLEM_MAX_ERRORS + 5; i++) {
        problem_add(&p, "/steps", "fault %d", i);
    }
    char *s = problem_json(&p, "id-1", NULL);
    cJSON *root = cJSON_Parse(s);
    assert_non_null(root);
    assert_string_equal(cJSON_GetObjectItem(root, "type")->valuestring,
                        "urn:denoised:problem:invalid-request");
    assert_int_equal(cJSON_GetObjectItem(root, "status")->valueint, 400);
    assert_string_equal(cJSON_GetObjectItem(root, "detail")->valuestring, "it has \"quotes\"");
    assert_string_equal(cJSON_GetObjectItem(root, "request_id")->valuestring, "id-1");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "errors")), PROBLEM_MAX_ERRORS);
    assert_int_equal(p.n_errors, PROBLEM_MAX_ERRORS + 5);
    cJSON_Delete(root);
    free(s);
    assert_int_equal(problem_status(PROBLEM_QUEUE_FULL), 503);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_refuses_every_prefix),
        cmocka_unit_test(test_agrees_with_cjson_on_mutations),
        cmocka_unit_test(test_names_the_place),
        cmocka_unit_test(test_a_long_key_gives_a_short_pointer),
        cmocka_unit_test(test_read_number),
        cmocka_unit_test(test_unicode),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_numbers_read_back),
        cmocka_unit_test(test_printed_text_grows),
        cmocka_unit_test(test_strings_are_escaped),
        cmocka_unit_test(test_what_is_not_seen_is_escaped),
        cmocka_unit_test(test_problem_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
