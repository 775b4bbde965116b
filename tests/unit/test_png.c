/* api/png: what is encoded decodes to the same pixels and texts; bad arguments are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <png.h>

#include "api/png.h"
#include "core/denoise.h"

/* Pixels with runs, gradients and noise: xorshift, so that the file is the same everywhere. */
static uint8_t *pattern(size_t n_bytes, uint32_t seed)
{
    uint8_t *pixels = malloc(n_bytes);
    assert_non_null(pixels);
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < n_bytes; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        pixels[i] = (uint8_t)(i % 7 < 4 ? 0 : (i % 7 == 4 ? i & 255 : state >> 24));
    }
    return pixels;
}

/* Decode with libpng's simplified reader, then compare each scaled pixel with its source. */
static void check_round_trip(int height, int width, int channels, int scale)
{
    size_t n_bytes = (size_t)(height * width * channels);
    uint8_t *pixels = pattern(n_bytes, (uint32_t)(height * 31 + width));
    uint8_t *file, *again;
    size_t file_bytes, again_bytes;
    assert_int_equal(
        png_encode(&file, &file_bytes, pixels, height, width, channels, scale, NULL, 0), DN_OK);
    assert_int_equal(
        png_encode(&again, &again_bytes, pixels, height, width, channels, scale, NULL, 0), DN_OK);
    assert_int_equal(file_bytes, again_bytes);
    assert_memory_equal(file, again, file_bytes);

    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, file, file_bytes));
    assert_int_equal(image.width, width * scale);
    assert_int_equal(image.height, height * scale);
    assert_int_equal(image.format, channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB);
    uint8_t *decoded = malloc(PNG_IMAGE_SIZE(image));
    assert_non_null(decoded);
    assert_true(png_image_finish_read(&image, NULL, decoded, 0, NULL));
    for (int y = 0; y < height * scale; y++)
        for (int x = 0; x < width * scale; x++)
            for (int c = 0; c < channels; c++)
                assert_int_equal(decoded[(y * width * scale + x) * channels + c],
                                 pixels[((y / scale) * width + x / scale) * channels + c]);
    free(decoded);
    free(again);
    free(file);
    free(pixels);
}

static void test_round_trip(void **state)
{
    (void)state;
    check_round_trip(28, 28, 1, 1);
    check_round_trip(28, 28, 1, 3);
    check_round_trip(28, 28, 1, PNG_SCALE_MAX);
    check_round_trip(32, 32, 3, 1);
    check_round_trip(5, 9, 3, 4);
    check_round_trip(1, 1, 1, 1);
    check_round_trip(280, 140, 1, 1); /* beyond the settings for small images */
    check_round_trip(128, 128, 3, 2);
}

struct reader {
    const uint8_t *bytes;
    size_t n_bytes;
};

static void read_bytes(png_structp png, png_bytep to, size_t n_bytes)
{
    struct reader *r = png_get_io_ptr(png);
    if (n_bytes > r->n_bytes)
        png_error(png, "truncated");
    memcpy(to, r->bytes, n_bytes);
    r->bytes += n_bytes;
    r->n_bytes -= n_bytes;
}

static void test_texts(void **state)
{
    (void)state;
    char *longest = malloc(20001);
    assert_non_null(longest);
    memset(longest, 'x', 20000);
    longest[20000] = '\0';
    const struct png_text texts[] = {{"denoised", "{\"label\":7,\"class\":\"se\xC3\xBCven\"}"},
                                     {"Software", ""},
                                     {"k", longest}};
    uint8_t pixels[16] = {0};
    struct reader reader;
    uint8_t *file;
    assert_int_equal(png_encode(&file, &reader.n_bytes, pixels, 4, 4, 1, 1, texts, 3), DN_OK);
    reader.bytes = file;

    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    if (setjmp(png_jmpbuf(png)) != 0)
        fail_msg("libpng refuses the file");
    png_set_read_fn(png, &reader, read_bytes);
    png_read_png(png, info, PNG_TRANSFORM_IDENTITY, NULL);
    png_textp found;
    assert_int_equal(png_get_text(png, info, &found, NULL), 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(found[i].key, texts[i].key);
        assert_string_equal(found[i].text, texts[i].text);
        assert_int_equal(found[i].compression, PNG_ITXT_COMPRESSION_NONE);
    }
    png_destroy_read_struct(&png, &info, NULL);
    free(file);
    free(longest);
}

static void check_refused(int height, int width, int channels, int scale, const char *key,
                          const char *text)
{
    static const uint8_t pixels[64 * 64 * 3];
    const struct png_text texts[] = {{key, text}};
    uint8_t *file = (uint8_t *)1;
    size_t file_bytes = 1;
    assert_int_equal(png_encode(&file, &file_bytes, pixels, height, width, channels, scale, texts,
                                key != NULL || text != NULL ? 1 : 0),
                     DN_EINVAL);
    assert_null(file);
    assert_int_equal(file_bytes, 0);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    check_refused(0, 4, 1, 1, NULL, NULL);
    check_refused(4, -1, 1, 1, NULL, NULL);
    check_refused(4, 4, 2, 1, NULL, NULL);
    check_refused(4, 4, 4, 1, NULL, NULL);
    check_refused(4, 4, 1, 0, NULL, NULL);
    check_refused(4, 4, 1, PNG_SCALE_MAX + 1, NULL, NULL);
    check_refused(4, 1000001, 1, 1, NULL, NULL);
    check_refused(100000, 4, 1, 32, NULL, NULL);
    check_refused(4, 4, 1, 1, "", "text");
    check_refused(4, 4, 1, 1, "key", NULL);
    check_refused(4, 4, 1, 1, NULL, "text");
    check_refused(4, 4, 1, 1, " key", "text");
    check_refused(4, 4, 1, 1, "key ", "text");
    check_refused(4, 4, 1, 1, "two  spaces", "text");
    check_refused(4, 4, 1, 1, "k\xC3\xBC", "text");
    check_refused(
        4, 4, 1, 1,
        "a key of eighty characters, one more than the seventy-nine that PNG allows a key", "text");
}

static void test_grid(void **state)
{
    (void)state;
    uint8_t *images = pattern(5 * 3 * 2 * 3, 9); /* [5,3,2,3] */
    uint8_t sheet[2 * 3 * 3 * 2 * 3];            /* [2*3, 3*2, 3] */
    memset(sheet, 0xAA, sizeof sheet);
    png_grid(sheet, images, 5, 3, 2, 3, 3);
    for (int y = 0; y < 6; y++)
        for (int x = 0; x < 6; x++)
            for (int c = 0; c < 3; c++) {
                int i = y / 3 * 3 + x / 2;
                int want = i < 5 ? images[((i * 3 + y % 3) * 2 + x % 2) * 3 + c] : 0;
                assert_int_equal(sheet[(y * 6 + x) * 3 + c], want);
            }
    free(images);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_grid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
