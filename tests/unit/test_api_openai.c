/* api/openai and api/prompt: a body in OpenAI's shape becomes parameters, a problem its error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/openai.h"
#include "api/prompt.h"

#define MAX_IMAGES 20

/* The labels that a prompt names as text, "7 7 3"; "-" with a fault. */
static const char *labels_of(char text[256], const struct dn_model_info *info, const char *prompt)
{
    uint32_t labels[MAX_IMAGES];
    struct problem problem;
    problem_set(&problem, PROBLEM_INVALID_REQUEST, "x");
    int n = prompt_read(labels, MAX_IMAGES, info, prompt, &problem);
    assert_int_equal(n < 0, problem.n_errors == 1);
    if (n < 0) {
        assert_string_equal(problem.errors[0].pointer, "/prompt");
        return "-";
    }
    size_t used = 0;
    for (int i = 0; i < n; i++) {
        used += (size_t)snprintf(text + used, 256 - used, "%s%u", i ? " " : "", labels[i]);
    }
    return text;
}

static void check_prompts(const struct dn_model_info *info, const char *const (*cases)[2])
{
    for (; (*cases)[0]; cases++) {
        char text[256];
        print_message("\"%s\"\n", (*cases)[0]);
        assert_string_equal(labels_of(text, info, (*cases)[0]), (*cases)[1]);
    }
}

static void test_digits(void **state)
{
    (void)state;
    static const char *const names[] = {"zero", "one", "two",   "three", "four",
                                        "five", "six", "seven", "eight", "nine"};
    static const char *const cases[][2] = {
        {"7", "7"},
        {"seven", "7"},
        {"SEVEN!", "7"},
        {"a handwritten 7", "7"},
        {"2026", "2 0 2 6"},
        {"3.14", "3 1 4"},
        {"7-9", "7 9"},
        {"1, 2 and 3", "1 2 3"},
        {"one two three", "1 2 3"},
        {"four sevens", "7 7 7 7"},
        {"4 7s", "7 7 7 7"},
        {"four handwritten sevens", "7 7 7 7"},
        {"Draw three EIGHTs, please.", "8 8 8"},
        {"two 3s and a 5", "3 3 5"},
        {"three and two sevens", "3 7 7"},
        {"three, two sevens", "3 7 7"},
        {"three two sevens", "3 7 7"},
        {"ten sixes", "6 6 6 6 6 6 6 6 6 6"},
        {"two 12s", "1 2 1 2"},
        {"sevens", "7"},
        {"9's and zeroes", "9 0"},
        {"one sevens", "7"},
        {"20 7s", "7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7"},
        {"21 7s", "-"},
        {"123456789012345678901", "-"},
        {"99999999999999999999 sevens", "-"},
        {"zero sevens", "-"},
        {"", "-"},
        {"   ", "-"},
        {"a cat", "-"},
        {"a 7 on a 1990s TV", "7"},
        {"a 7 from the 90s", "7"},
        {"a '80s 3", "3"},
        {"four 1990s sevens", "7 7 7 7"},
        {"1990", "1 9 9 0"},
        {"the 1800's", "-"},
        {"90s", "9 0"},
        {"4 7's", "7 7 7 7"},
        {"twenty-six", "2 6"},
        {"Twenty six", "2 6"},
        {"twenty sixes", "6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6"},
        {"twenty-six sevens", "-"},
        {"ten", "1 0"},
        {"nineteen ninety-nine", "1 9 9 9"},
        {"forty", "4 0"},
        {"thirty-one and 2", "3 1 2"},
        {"the twenty-first 7", "7"},
        {"the seventh", "-"},
        {"the 7th 3", "3"},
        {"seventy-eight, 9", "7 8 9"},
        {"sixty zero", "6 0 0"},
        {"\uff17", "7"},
        {"\uff12\uff10\uff12\uff16", "2 0 2 6"},
        {"\u0667", "7"},
        {"\u0664\u0662", "4 2"},
        {"\u06f7", "7"},
        {"\u096d", "7"},
        {"\u4e03", "7"},
        {"\u4e8c\u3007\u4e8c\u516d", "2 0 2 6"},
        {"\uff11\uff0c\uff12", "1 2"},
        {"\u201c7\u201d", "7"},
        {"9\u2019s", "9"},
        {"3\u20145", "3 5"},
        {"\u56fe7", "-"},
        {"\u5341", "-"},
        {"four \uff17s", "7 7 7 7"},
        {"\u2026 8", "8"},
        {"someone's tenure", "-"},
        {"7th 28x28 mp3", "-"},
        {"sevenish", "-"},
        {"\xc3\xa9"
         "7",
         "-"},
        {"7\xc3\xa9", "-"},
        {"\xc3\xa9 7", "7"},
        {NULL, NULL},
    };
    const struct dn_model_info info = {.name = "digits", .n_classes = 10, .class_names = names};
    check_prompts(&info, cases);
}

/* Classes that are no numbers, of several words, more than ten. */
static void test_things(void **state)
{
    (void)state;
    static const char *const names[] = {"cat", "polar bear", "bear", "T-shirt/top", "dress", "e",
                                        "f",   "g",          "h",    "i",           "j",     "k"};
    static const char *const cases[][2] = {
        {"a cat", "0"},
        {"four cats", "0 0 0 0"},
        {"two polar bears and a bear", "1 1 2"},
        {"t-shirt/TOP", "3"},
        {"2 dresses", "4 4"},
        {"11", "11"},
        {"12", "-"},
        {"1 11", "1 11"},
        {"99999999999999999999", "-"},
        {"three", "-"},
        {"caterpillar", "-"},
        {"four", "-"},
        {"2 11s", "11 11"},
        {"ten cats", "0 0 0 0 0 0 0 0 0 0"},
        {"twenty-six", "-"},
        {"twelve cats", "0 0 0 0 0 0 0 0 0 0 0 0"},
        {"a cat of the 1990s", "0"},
        {NULL, NULL},
    };
    const struct dn_model_info info = {.name = "things", .n_classes = 12, .class_names = names};
    check_prompts(&info, cases);
}

/* Where classes are named by numerals, a number is a name. */
static void test_numerals(void **state)
{
    (void)state;
    static const char *const names[] = {"1", "0", "10", "cat"};
    static const char *const cases[][2] = {
        {"1", "0"},         {"a 0", "1"},     {"10", "2"},
        {"two 10s", "2 2"}, {"1 cat", "0 3"}, {"10 0s and a 1", "1 1 1 1 1 1 1 1 1 1 0"},
        {"2", "-"},         {"3", "-"},       {"101", "-"},
        {"01", "-"},        {NULL, NULL},
    };
    const struct dn_model_info info = {.name = "folders", .n_classes = 4, .class_names = names};
    check_prompts(&info, cases);
    static const char *const backwards[] = {"9", "8", "7", "6", "5", "4", "3", "2", "1", "0"};
    static const char *const by_digit[][2] = {
        {"7", "2"}, {"2026", "7 9 7 3"}, {"two 12s", "8 7 8 7"}, {NULL, NULL}};
    const struct dn_model_info digits = {
        .name = "backwards", .n_classes = 10, .class_names = backwards};
    check_prompts(&digits, by_digit);
    static const char *const kanji[] = {"\u516d", "\u4e03"};
    static const char *const of_kanji[][2] = {
        {"\u4e03", "1"}, {"\u516d \u4e03", "0 1"}, {NULL, NULL}};
    const struct dn_model_info other = {.name = "kanji", .n_classes = 2, .class_names = kanji};
    check_prompts(&other, of_kanji);
}

static void test_errors(void **state)
{
    (void)state;
    struct problem problem;
    problem_set(&problem, PROBLEM_INVALID_REQUEST, "see errors");
    problem_add(&problem, "/n", "is \"wrong\"");
    problem_add(&problem, "/a~1b", "too");
    char *text = openai_error(&problem, NULL);
    assert_string_equal(text, "{\"error\":{\"message\":\"n: is \\\"wrong\\\"; a~1b: too\",\"type\":"
                              "\"invalid_request_error\",\"param\":\"n\","
                              "\"code\":\"invalid_request\"}}\n");
    free(text);
    static const struct {
        enum problem_kind kind;
        const char *type, *code;
    } cases[] = {
        {PROBLEM_UNAUTHORIZED, "invalid_request_error", "invalid_api_key"},
        {PROBLEM_QUOTA_EXCEEDED, "rate_limit_error", "rate_limit_exceeded"},
        {PROBLEM_MODEL_NOT_FOUND, "invalid_request_error", "model_not_found"},
        {PROBLEM_QUEUE_FULL, "server_error", "queue_full"},
        {PROBLEM_INTERNAL, "server_error", "internal_error"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char wanted[160];
        problem_set(&problem, cases[i].kind, "why");
        snprintf(
            wanted, sizeof wanted,
            "{\"error\":{\"message\":\"why\",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}\n",
            cases[i].type, cases[i].code);
        text = openai_error(&problem, NULL);
        assert_string_equal(text, wanted);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_things),
        cmocka_unit_test(test_numerals),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
