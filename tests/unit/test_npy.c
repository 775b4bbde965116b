/* api/npy: the header's bytes, as numpy 1.24's own numpy.save writes them. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/npy.h"

static void check(size_t n, int height, int width, int channels, const char *shape)
{
    uint8_t header[NPY_HEADER_BYTES];
    npy_header(header, n, height, width, channels);
    assert_memory_equal(header, "\x93NUMPY\x01\x00\x76\x00", 10);
    char want[NPY_HEADER_BYTES];
    int length = snprintf(want, sizeof want,
                          "{'descr': '|u1', 'fortran_order': False, 'shape': %s, }", shape);
    assert_memory_equal(header + 10, want, (size_t)length);
    for (int i = 10 + length; i < NPY_HEADER_BYTES - 1; i++)
        assert_int_equal(header[i], ' ');
    assert_int_equal(header[NPY_HEADER_BYTES - 1], '\n');
}

static void test_header(void **state)
{
    (void)state;
    check(10000, 28, 28, 1, "(10000, 28, 28)");
    check(7, 32, 64, 3, "(7, 32, 64, 3)");
    check(0, 1, 1, 1, "(0, 1, 1)");
    check(SIZE_MAX, INT_MAX, INT_MAX, INT_MAX,
          "(18446744073709551615, 2147483647, 2147483647, 2147483647)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_header)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
