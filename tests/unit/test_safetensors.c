/* The model file's reader on every kind of malformed file: each is an error that names what is
 * wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/memory.h"
#include "core/model/config.h"
#include "core/model/file.h"
#include "core/model/safetensors.h"
#include "core/model/utf8.h"

#define META "\"__metadata__\":{\"denoised.config\":\"{}\"}"
#define TENSOR(name, shape, begin, end)                                                            \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

/* A file of that header, a multiple of `padding` bytes long, and `data_bytes` zeros of data. */
static uint8_t *padded_file_of(const char *header, size_t padding, size_t data_bytes, size_t *size)
{
    size_t n = (strlen(header) + padding - 1) / padding * padding;
    uint8_t *bytes = dn_alloc(8 + n + data_bytes + 8);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(n >> (8 * i));
    memset(bytes + 8, ' ', n);
    memcpy(bytes + 8, header, strlen(header));
    *size = 8 + n + data_bytes;
    return bytes;
}

/* A file of that header and `data_bytes` bytes of data, every float `value`. */
static uint8_t *file_of(const char *header, size_t data_bytes, float value, size_t *size)
{
    uint8_t *bytes = padded_file_of(header, 8, data_bytes, size);
    for (size_t i = 0; i + 4 <= data_bytes; i += 4)
        memcpy(bytes + *size - data_bytes + i, &value, 4);
    return bytes;
}

static void expect_error(const char *header, size_t data_bytes, float value, const char *text)
{
    struct dn_safetensors st;
    struct dn_error err = {0};
    size_t size;
    uint8_t *bytes = file_of(header, data_bytes, value, &size);
    int rc = dn_safetensors_parse(&st, bytes, size, &err);
    if (rc != DN_EFORMAT || !strstr(err.text, text))
        fail_msg("%s: \"%s\" expected, %d \"%s\" found", header, text, rc, err.text);
    free(bytes);
}

static void a_good_file_is_read(void **state)
{
    (void)state;
    struct dn_safetensors st;
    struct dn_error err = {0};
    size_t size;
    uint8_t *bytes =
        file_of("{" META "," TENSOR("b", "[2,3]", 0, 24) "," TENSOR("a", "[1]", 24, 28) "}", 28,
                1.5f, &size);
    assert_int_equal(dn_safetensors_parse(&st, bytes, size, &err), 0);
    assert_int_equal(st.n_tensors, 2);
    assert_int_equal(st.n_values, 7);
    assert_string_equal(st.config, "{}");
    const int64_t shape[] = {2, 3};
    assert_non_null(dn_safetensors_use(&st, "b", shape, 2, &err));
    assert_true(dn_safetensors_use(&st, "b", shape, 2, &err)[5] == 1.5f);
    assert_int_equal(dn_safetensors_check_all_used(&st, &err), DN_EFORMAT);
    assert_non_null(strstr(err.text, "tensor a: surplus"));
    assert_null(dn_safetensors_use(&st, "b", shape, 1, &err));
    assert_non_null(strstr(err.text, "tensor b: shape [2] expected, [2,3] found"));
    assert_null(dn_safetensors_use(&st, "c", shape, 2, &err));
    assert_non_null(strstr(err.text, "tensor c: missing"));
    dn_safetensors_deinit(&st);
    free(bytes);
}

static void malformed_headers_are_named(void **state)
{
    (void)state;
    expect_error("{" META "," TENSOR("a", "[2]", 0, 8) "}", 4, 0, "data_offsets [0,8] outside");
    expect_error("{" META "," TENSOR("a", "[1]", 4, 8) "}", 4, 0, "data_offsets [4,8] outside");
    expect_error("{" META "," TENSOR("a", "[1]", 4, 0) "}", 8, 0, "tensor a: data_offsets");
    expect_error("{" META "," TENSOR("a", "[2]", 0, 4) "," TENSOR("b", "[1]", 4, 8) "}", 8, 0,
                 "tensor a: 8 bytes expected by its shape, 4 found");
    expect_error("{" META "," TENSOR("a", "[2]", 0, 8) "," TENSOR("b", "[1]", 4, 8) "}", 8, 0,
                 "tensor b: overlaps tensor a");
    expect_error("{" META "," TENSOR("a", "[1]", 4, 8) "}", 8, 0,
                 "4 bytes before it belong to no tensor");
    expect_error("{" META "," TENSOR("a", "[1]", 0, 4) "}", 8, 0, "4 bytes at the end");
    expect_error("{" META "," TENSOR("a", "[1]", 0, 4) "," TENSOR("a", "[1]", 4, 8) "}", 8, 0,
                 "tensor a: given twice");
    expect_error("{" META "," TENSOR("a", "[1]", 0, 4) "}", 4, NAN,
                 "tensor a: value 0 is not finite");
    expect_error("{" META "," TENSOR("a", "[1]", 0, 4) "}", 4, INFINITY, "value 0 is not finite");
    expect_error("{" META "," TENSOR("a", "[1.5]", 0, 4) "}", 4, 0, "tensor a: shape");
    expect_error("{" META "," TENSOR("a", "[-1]", 0, 4) "}", 4, 0, "tensor a: shape");
    expect_error("{" META "," TENSOR("a", "[0]", 0, 0) "}", 4, 0, "tensor a: shape");
    expect_error("{" META "," TENSOR("a", "\"x\"", 0, 4) "}", 4, 0, "tensor a: shape: an array");
    expect_error("{" META "," TENSOR("a", "[4294967296,4294967296]", 0, 4) "}", 4, 0,
                 "larger than the file");
    expect_error("{" META "," TENSOR("a", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, 0,
                 "more than 8 dimensions");
    expect_error("{" META ",\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, 0,
                 "tensor a: dtype F32, F16 or BF16 expected, F64 found");
    expect_error("{" META ",\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0,
                 "tensor a: 2 bytes expected by its shape, 4 found");
    expect_error("{" META ",\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
                 INFINITY, "tensor a: value 1 is not finite");
    expect_error("{" META ",\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
                 0x1.f8p+121f /* 0x7c7c0000 */, "tensor a: value 1 is not finite");
    expect_error("{" META ",\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, 0,
                 "tensor a: dtype");
    expect_error("{" META ",\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4,
                 0, "tensor a: data_offsets");
    expect_error("{" META ",\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, 0,
                 "tensor a: data_offsets");
    expect_error("{" META
                 ",\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}",
                 4, 0, "tensor a: shape given twice");
    expect_error("{" META
                 ",\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}",
                 4, 0, "tensor a: unknown field x");
    expect_error("{" META ",\"a\":[]}", 4, 0, "tensor a: an object expected");
    expect_error("{" TENSOR("a", "[1]", 0, 4) "}", 4, 0, "denoised.config: missing");
    expect_error("{" META "," META "}", 0, 0, "__metadata__: given twice");
    expect_error("{\"__metadata__\":{\"denoised.config\":5}}", 0, 0, "a string expected");
    expect_error("{\"__metadata__\":[]}", 0, 0, "__metadata__: an object expected");
    expect_error("[]", 0, 0, "not a JSON object");
    expect_error("{" META, 0, 0, "not a JSON object");
    expect_error("{" META "}{}", 0, 0, "text behind the JSON object");
    expect_error("{\"\xff\":1}", 0, 0, "not UTF-8");
    expect_error("{\"\xed\xa0\x80\":1}", 0, 0, "not UTF-8");
}

static void truncated_and_huge_lengths_are_named(void **state)
{
    (void)state;
    struct dn_safetensors st;
    struct dn_error err = {0};
    _Alignas(8) uint8_t bytes[16] = {0};
    bytes[0] = 16;
    for (size_t size = 1; size < 8; size++) {
        assert_int_equal(dn_safetensors_parse(&st, bytes, size, &err), DN_EFORMAT);
        assert_non_null(strstr(err.text, "truncated"));
    }
    assert_int_equal(dn_safetensors_parse(&st, bytes, 16, &err), DN_EFORMAT);
    assert_non_null(strstr(err.text, "truncated"));
    memset(bytes, 0xff, 8);
    assert_int_equal(dn_safetensors_parse(&st, bytes, 16, &err), DN_EFORMAT);
    assert_non_null(strstr(err.text, "at most"));
}

/* As writers leave it that pad no header: at any address. Shape and dtype of "a", and its bits. */
static void expect_values(const char *type, const char *shape, size_t padding, const void *bits,
                          size_t n_bytes, const float *wanted, size_t n)
{
    struct dn_safetensors st;
    struct dn_error err = {0};
    char header[200];
    size_t size;
    snprintf(header, sizeof header,
             "{" META ",\"a\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[0,%zu]}}", type,
             shape, n_bytes);
    /* Lengths of the header that leave each remainder by 8. */
    for (size_t extra = 0; extra < 8; extra++) {
        strcat(header, " ");
        uint8_t *bytes = padded_file_of(header, padding, n_bytes, &size);
        memcpy(bytes + size - n_bytes, bits, n_bytes);
        if (dn_safetensors_parse(&st, bytes, size, &err) != 0)
            fail_msg("%s: %s", header, err.text);
        assert_int_equal(st.n_values, n);
        assert_int_equal((uintptr_t)st.tensors[0].data % _Alignof(float), 0);
        assert_memory_equal(st.tensors[0].data, wanted, n * sizeof *wanted);
        dn_safetensors_deinit(&st);
        free(bytes);
    }
}

/* The value by the standard's formula. */
static float value_of(unsigned bits, int exponent_bits, int fraction_bits)
{
    int exponent = (int)(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
    int fraction = (int)bits & ((1 << fraction_bits) - 1), bias = (1 << (exponent_bits - 1)) - 1;
    double value = exponent == 0
                       ? ldexp(fraction, 1 - bias - fraction_bits)
                       : ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
    return (float)(bits >> 15 ? -value : value);
}

static void values_of_every_type_are_exact(void **state)
{
    (void)state;
    static uint16_t bits[65536];
    static float wanted[65536];
    static const struct {
        const char *type;
        int exponent_bits, fraction_bits;
    } types[] = {{"F16", 5, 10}, {"BF16", 8, 7}};
    char shape[32];

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t n = 0;
        unsigned last = (1u << types[i].exponent_bits) - 1; /* infinity and NaN: refused */
        for (unsigned b = 0; b < 65536; b++)
            if ((b >> types[i].fraction_bits & last) != last) {
                bits[n] = (uint16_t)b;
                wanted[n++] = value_of(b, types[i].exponent_bits, types[i].fraction_bits);
            }
        snprintf(shape, sizeof shape, "[%zu]", n);
        expect_values(types[i].type, shape, 1, bits, 2 * n, wanted, n);
    }
    const float floats[] = {0.0f, -0.0f, 1.5f, 0x1p-149f, -0x1.fffffep127f};
    for (size_t padding = 1; padding <= 8; padding *= 2)
        expect_values("F32", "[1,5]", padding, floats, sizeof floats, floats, 5);
}

/* Types that are mixed, as where norms stay in F32: each where it lies. */
static void types_may_be_mixed(void **state)
{
    (void)state;
    struct dn_safetensors st;
    struct dn_error err = {0};
    const char *header = "{" META ",\"b\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]},"
                         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}";
    const int64_t one = 1;
    size_t size;
    uint8_t *bytes = padded_file_of(header, 8, 6, &size);
    const float value = 3.25f;
    memcpy(bytes + size - 6, &(uint16_t){0xc000}, 2);
    memcpy(bytes + size - 4, &value, 4);
    assert_int_equal(dn_safetensors_parse(&st, bytes, size, &err), 0);
    assert_true(*dn_safetensors_use(&st, "a", &one, 1, &err) == 3.25f);
    assert_true(*dn_safetensors_use(&st, "b", &one, 1, &err) == -2.0f);
    dn_safetensors_deinit(&st);
    free(bytes);
}

static void other_files_are_named(void **state)
{
    (void)state;
#define FILE_OF(text) text, sizeof(text) - 1
    static const struct {
        const char *bytes;
        size_t n;
        const char *text;
    } files[] = {
        {FILE_OF(""), "an empty file"},
        {FILE_OF("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"),
         "run `git lfs pull`"},
        {FILE_OF("<!DOCTYPE html>\n<html>Not found</html>"), "an HTML page"},
        {FILE_OF("\xef\xbb\xbf\r\n <HTML lang=en><body>"), "an HTML page"},
        {FILE_OF("<?xml version=\"1.0\"?><Error><Code>AccessDenied"), "an XML or HTML"},
        {FILE_OF("{\"error\": \"Repository not found\"}"), "JSON text"},
        {FILE_OF("Entry not found"), "text: was an error"},
        {FILE_OF("404\n"), "text: was an error"},
        {FILE_OF("PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0archive/data.pkl"), "a ZIP archive"},
        {FILE_OF("\x80\x02}q\0X\x07\0\0\0weightsq"), "a Python pickle"},
        {FILE_OF("\x80\x04\x95\x0a\0\0\0\0\0\0\0}\x94\x8c\x01"), "a Python pickle"},
        {FILE_OF("\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\x56"), "compressed with gzip"},
        {FILE_OF("\x1f\x8b\x08\0\0\0\0\0"), "compressed with gzip"},
        {FILE_OF("\xfd"
                 "7zXZ\0\0\x04\xe6"),
         "compressed with xz"},
        {FILE_OF("GGUF\x03\0\0\0\x01\0\0\0"), "a GGUF model"},
        {FILE_OF("\x89HDF\r\n\x1a\n\0\0"), "an HDF5 file"},
        {FILE_OF("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "nothing but zeros"},
        {FILE_OF("\x08\0\0\0\0\0\0\0{\"a\":1"), "truncated: a header of 8 bytes"},
        {FILE_OF("\xff\xff\xff\xff\xff\xff\xff\xff{"), "header of 18446744073709551615 bytes"},
    };
#undef FILE_OF
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct dn_safetensors st;
        struct dn_error err = {0};
        /* Of that length exactly, so that a sanitizer sees what is read behind it. */
        uint8_t *bytes = malloc(files[i].n + !files[i].n);
        assert_non_null(bytes);
        memcpy(bytes, files[i].bytes, files[i].n);
        int rc = dn_safetensors_parse(&st, bytes, files[i].n, &err);
        if (rc != DN_EFORMAT || !strstr(err.text, files[i].text))
            fail_msg("%s: \"%s\" expected, %d \"%s\" found", files[i].bytes, files[i].text, rc,
                     err.text);
        free(bytes);
    }
}

/* Every prefix of a good file, and every single byte of its header changed, never crashes. */
static void damaged_files_never_crash(void **state)
{
    (void)state;
    size_t size;
    uint8_t *good =
        file_of("{" META "," TENSOR("b", "[2,3]", 0, 24) "," TENSOR("a", "[1]", 24, 28) "}", 28,
                1.0f, &size);
    uint8_t *bytes = dn_alloc(size);
    assert_non_null(bytes);
    int errors = 0;
    for (size_t i = 0; i < size; i++) {
        for (int change = 0; change < 6; change++) {
            static const uint8_t to[] = {0, '"', '}', '9', 0x80, 0xff};
            struct dn_safetensors st;
            struct dn_error err = {0};
            memcpy(bytes, good, size);
            bytes[i] = to[change];
            size_t length = change == 0 ? i : size;
            if (dn_safetensors_parse(&st, bytes, length, &err) == 0)
                dn_safetensors_deinit(&st);
            else
                errors += err.text[0] != '\0';
        }
    }
    assert_true(errors > 400);
    free(bytes);
    free(good);
}

static void utf8_is_checked(void **state)
{
    (void)state;
    static const char *const good[] = {
        "", "abc", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc3",
                                      "\xc0\x80",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xff",
                                      "a\xe2\x82"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(dn_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(dn_utf8_valid(bad[i], strlen(bad[i])));
    assert_false(dn_utf8_valid("a\0b", 3));
}

/* ---- the config ------------------------------------------------------------------------------ */

static char *shipped_config(void)
{
    struct dn_file file;
    struct dn_safetensors st;
    struct dn_error err = {0};
    assert_int_equal(dn_file_read(&file, "models/mnist.safetensors", &err), 0);
    assert_int_equal(dn_safetensors_parse(&st, file.bytes, file.size, &err), 0);
    char *config = st.config;
    st.config = NULL;
    dn_safetensors_deinit(&st);
    dn_file_free(&file);
    return config;
}

/* The shipped config with the first `from` replaced by `to`. */
static void expect_config_error(const char *from, const char *to, const char *text)
{
    struct dn_config config;
    struct dn_error err = {0};
    char *good = shipped_config(), *bad = malloc(strlen(good) + strlen(to) + 1);
    char *at = strstr(good, from);
    assert_non_null(bad);
    if (!at)
        fail_msg("the shipped config has no %s", from);
    sprintf(bad, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    int rc = dn_config_parse(&config, bad, &err);
    if (rc == 0) {
        /* The architecture's own fields are for the network to read. */
        rc = dn_arch_check_all_read(&config, &err);
        dn_config_deinit(&config);
    }
    if (rc != DN_EFORMAT || !strstr(err.text, text))
        fail_msg("%s: \"%s\" expected, %d \"%s\" found", to, text, rc, err.text);
    free(good);
    free(bad);
}

static void bad_configs_are_named(void **state)
{
    (void)state;
    expect_config_error("\"format_version\": 1", "\"format_version\": 2", "format_version");
    expect_config_error("\"timesteps\": 1000", "\"timesteps\": 0", "diffusion.timesteps");
    expect_config_error("\"timesteps\": 1000", "\"timesteps\": 10.5", "diffusion.timesteps");
    expect_config_error("\"timesteps\": 1000", "\"timesteps\": \"1000\"", "diffusion.timesteps");
    expect_config_error("\"timesteps\": 1000", "\"timesteps\": 1000, \"timesteps\": 1000",
                        "diffusion.timesteps: given twice");
    expect_config_error("\"timesteps\": 1000", "\"timesteps\": 5",
                        "sampling.default.steps: more than");
    expect_config_error("\"timesteps\": 1000, ", "", "diffusion.timesteps: missing");
    expect_config_error("\"height\": 28", "\"height\": 28, \"depth\": 3",
                        "image.depth: unknown field");
    expect_config_error("\"channels\": 1", "\"channels\": 2", "image.channels");
    expect_config_error("\"range\": [-1, 1]", "\"range\": [1, -1]", "image.range");
    expect_config_error("\"range\": [-1, 1]", "\"range\": [1]", "image.range");
    expect_config_error("\"range\": [-1, 1]", "\"range\": {\"lo\": -1, \"hi\": 1}", "image.range");
    expect_config_error("\"one\"", "\"zero\"", "classes: a name given twice");
    expect_config_error("\"one\"", "1", "classes");
    expect_config_error("\"one\"", "\"\"", "classes");
    expect_config_error("\"null_label\": true", "\"null_label\": false", "default.guidance_scale");
    expect_config_error("\"null_label\": true", "\"null_label\": 1", "null_label");
    expect_config_error("\"clip_sample\": false", "\"clip_sample\": null", "clip_sample");
    expect_config_error("\"format_version\": 1", "\"format_version\": 1, \"extra\": 1",
                        "config: extra: unknown field");
    expect_config_error("{\"format_version\"", "[{\"format_version\"", "not a JSON object");
    expect_config_error("\"samplers\": [", "\"samplers\": [7, ", "sampling.samplers");
}

/* Of networks that were trained for a few step counts at one guidance scale. */
static void bad_step_lists_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *text;
    } cases[] = {
        {"\"timesteps\": {\"2\": [999]}", "sampling.timesteps.2: a list of as many"},
        {"\"timesteps\": {\"1\": 999}", "sampling.timesteps.1: a list of as many"},
        {"\"timesteps\": {\"01\": [999]}", "sampling.timesteps.01: a list of as many"},
        {"\"timesteps\": {\"0\": []}", "sampling.timesteps.0: a list of as many"},
        {"\"timesteps\": {\"1\": [1000]}", "sampling.timesteps.1: falling whole numbers"},
        {"\"timesteps\": {\"1\": [-1]}", "sampling.timesteps.1: falling whole numbers"},
        {"\"timesteps\": {\"1\": [9.5]}", "sampling.timesteps.1: falling whole numbers"},
        {"\"timesteps\": {\"1\": [\"9\"]}", "sampling.timesteps.1: falling whole numbers"},
        {"\"timesteps\": {\"2\": [9, 9]}", "sampling.timesteps.2: falling whole numbers"},
        {"\"timesteps\": {\"2\": [9, 8], \"1\": [9]}", "sampling.timesteps.1: not after"},
        {"\"timesteps\": {\"1\": [9], \"1\": [9]}", "sampling.timesteps.1: not after"},
        {"\"timesteps\": {}", "sampling.timesteps: 1 to 16 lists"},
        {"\"timesteps\": [[999]]", "sampling.timesteps: an object expected"},
        {"\"timesteps\": {\"1\": [999]}", "default.steps: not among sampling.timesteps"},
        {"\"fixed_guidance_scale\": 2", "default.guidance_scale: not sampling.fixed"},
        {"\"fixed_guidance_scale\": true", "sampling.fixed_guidance_scale: not a number"},
        {"\"fixed_guidance_scale\": 21", "sampling.fixed_guidance_scale: not a number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char to[200];
        snprintf(to, sizeof to, "\"sampling\": {%s, ", cases[i].fields);
        expect_config_error("\"sampling\": {", to, cases[i].text);
    }
}

static void bad_presets_are_named(void **state)
{
    (void)state;
#define REST "\"sampler\": \"ddim\", \"steps\": 5, \"guidance_scale\": 1"
    static const struct {
        const char *presets, *text;
    } cases[] = {
        {"{}", "sampling.presets: 1 to 16"},
        {"[]", "sampling.presets: an object expected"},
        {"{\"\": {" REST "}}", "a name of 1 to 32"},
        {"{\"Fast\": {" REST "}}", "sampling.presets.Fast: a name of 1 to 32"},
        {"{\"abcdefghijklmnopqrstuvwxyz1234567\": {" REST "}}", "a name of 1 to 32"},
        {"{\"fast\": 5}", "sampling.presets.fast: an object expected"},
        {"{\"fast\": {" REST "}, \"fast\": {" REST "}}", "sampling.presets.fast: given twice"},
        {"{\"fast\": {}}", "sampling.presets.fast.sampler: missing"},
        {"{\"fast\": {" REST ", \"seed\": 1}}", "sampling.presets.fast.seed: unknown field"},
        {"{\"fast\": {" REST ", \"eta\": 2}}", "sampling.presets.fast.eta: not a number"},
        {"{\"a\": {\"sampler\": \"ddim\", \"steps\": 0}}", "presets.a.steps: not a number"},
        {"{\"a\": {\"sampler\": 1}}", "presets.a.sampler: a string"},
        {"{\"a\": {\"sampler\": \"ddim\", \"steps\": 5, \"guidance_scale\": 21}}",
         "presets.a.guidance_scale: not a number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        /* Before the shipped ones, which become an unknown field, or where there are none. */
        char *shipped = shipped_config(), to[400];
        bool has_presets = strstr(shipped, "\"presets\":");
        free(shipped);
        snprintf(to, sizeof to, "%s\"presets\": %s, %s", has_presets ? "" : "\"sampling\": {",
                 cases[i].presets, has_presets ? "\"others\":" : "");
        expect_config_error(has_presets ? "\"presets\":" : "\"sampling\": {", to, cases[i].text);
    }
}

static void bad_guidance_intervals_are_named(void **state)
{
    (void)state;
    static const char *const intervals[] = {"1",        "[0.5]",     "[0, 0.5, 1]", "[\"0\", 1]",
                                            "[0, 1.1]", "[-0.1, 1]", "[0.5, 0.5]",  "[0.6, 0.5]"};
    const char *name = "config: sampling.default.guidance_interval: ";
    char to[200];
    for (size_t i = 0; i < sizeof intervals / sizeof *intervals; i++) {
        snprintf(to, sizeof to, "\"default\": {\"guidance_interval\": %s, ", intervals[i]);
        expect_config_error("\"default\": {", to, name);
    }
    expect_config_error("\"default\": {",
                        "\"default\": {\"guidance_interval\": [0, 1], "
                        "\"guidance_interval\": [0, 1], ",
                        name);
}

static void odd_files_are_refused(void **state)
{
    (void)state;
    struct dn_file file;
    struct dn_error err = {0};
    assert_int_equal(dn_file_read(&file, "models", &err), DN_EIO);
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_int_equal(dn_file_read(&file, "/dev/zero", &err), DN_EIO);
    assert_int_equal(dn_file_read(&file, "no/such/file", &err), DN_EIO);
    assert_non_null(strstr(err.text, "No such file"));

    struct dn_model *model;
    assert_int_equal(dn_model_open(&model, "Makefile", &(struct dn_model_options){0}, &err),
                     DN_EFORMAT);
    assert_non_null(strstr(err.text, "load Makefile: "));
    assert_int_equal(dn_model_open(&model, "a b.safetensors", &(struct dn_model_options){0}, &err),
                     DN_EFORMAT);
    assert_null(model);
}

static void names_are_checked(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "mnist-fast", "1", "a.b", "...", ".a", "A_b:1", "-"};
    static const char *const bad[] = {"",
                                      ".",
                                      "..",
                                      "a b",
                                      "a/b",
                                      "a\\b",
                                      "a\n",
                                      "a\x1b[m",
                                      "a\"b",
                                      "a'b",
                                      "a=b",
                                      "a,b",
                                      "a\t",
                                      "a\x7f",
                                      "\xc3\xa9",
                                      "\xe2\x80\xae"
                                      "a",
                                      "a%",
                                      "\xff"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(dn_model_name_is_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(dn_model_name_is_valid(bad[i], strlen(bad[i])));
    assert_false(dn_model_name_is_valid("a\0b", 3));
    char name[65];
    memset(name, 'a', sizeof name);
    assert_true(dn_model_name_is_valid(name, 63));
    assert_false(dn_model_name_is_valid(name, 64));
}

/* A file of 1 GiB, most of it a hole. */
static void no_more_is_read_than_is_promised(void **state)
{
    (void)state;
    static const char *const headers[] = {"{" META "}", "{" META "," TENSOR("a", "[1]", 0, 4) "}",
                                          "{" META "," TENSOR("a", "[1]", 0, 2000000000) "}"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        char path[] = "/tmp/test_safetensors_XXXXXX";
        int fd = mkstemp(path);
        size_t size;
        uint8_t *bytes = file_of(headers[i], 0, 0, &size);
        assert_int_equal(write(fd, bytes, size), size);
        assert_int_equal(ftruncate(fd, 1 << 30), 0);
        close(fd);
        struct dn_file file;
        struct dn_safetensors st;
        struct dn_error err = {0};
        assert_int_equal(dn_file_open(&file, path, &err), 0);
        assert_int_equal(dn_safetensors_read_header(&st, &file, &err), DN_EFORMAT);
        assert_true(file.n_read < 4096);
        dn_file_free(&file);
        unlink(path);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_is_read),
        cmocka_unit_test(malformed_headers_are_named),
        cmocka_unit_test(truncated_and_huge_lengths_are_named),
        cmocka_unit_test(values_of_every_type_are_exact),
        cmocka_unit_test(types_may_be_mixed),
        cmocka_unit_test(other_files_are_named),
        cmocka_unit_test(damaged_files_never_crash),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(bad_configs_are_named),
        cmocka_unit_test(bad_step_lists_are_named),
        cmocka_unit_test(bad_presets_are_named),
        cmocka_unit_test(bad_guidance_intervals_are_named),
        cmocka_unit_test(odd_files_are_refused),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(no_more_is_read_than_is_promised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
