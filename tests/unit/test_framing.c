/* api/framing: where messages end, however their bytes are cut. tests/http/test_framing.py has the
 * table of what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/framing.h"

#define HEAD "POST / HTTP/1.1\r\nHost: x\r\n"
#define CODED HEAD "Transfer-Encoding: chunked\r\n\r\n"

static const struct {
    const char *bytes;
    uint64_t n_messages;
    bool is_fault;
} cases[] = {
    {"", 0, false},
    {"\r\n\r\n", 0, false},
    {HEAD "\r\n", 1, false},
    {HEAD "\r", 0, false},
    {HEAD "\r\n" HEAD "\r\n" HEAD, 2, false},
    {HEAD "Content-Length: 5\r\n\r\nhell", 0, false},
    {HEAD "Content-Length: 5\r\n\r\nhello", 1, false},
    {HEAD "Content-Length: 5\r\n\r\nhello\r\n" HEAD "\r\n", 2, false},
    {HEAD "Content-Length: 5\r\n\r\nhello ", 1, true},
    {HEAD "content-length: 999999999999999999999999\r\n\r\n", 0, false},
    {CODED "0\r\n\r\n", 1, false},
    {CODED "0\r\n", 0, false},
    {CODED "5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\n" HEAD "\r\n", 2, false},
    {CODED "fffffffffffffff\r\n", 0, true},
    {CODED "00000000000000001\r\n", 0, true},
    {HEAD "\r\n" HEAD "X : y\r\n\r\n" HEAD "\r\n", 1, true},
    {HEAD "A-name-as-long-as-any-that-matters-and-longer: x\r\n\r\n", 1, false},
    {HEAD "Content-Length-And-More-Of-It: x\r\n\r\n", 1, false},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].bytes);
        for (size_t piece = 1; piece <= n + 1; piece++) {
            struct framing f = {.fault = NULL};
            for (size_t at = 0; at < n; at += piece) {
                framing_read(&f, cases[i].bytes + at, n - at < piece ? n - at : piece);
            }
            assert_int_equal(f.n_messages, cases[i].n_messages);
            assert_int_equal(f.fault != NULL, cases[i].is_fault);
            assert_int_equal(f.n_bytes, n);
        }
    }
}

static void test_extensions_have_an_end(void **state)
{
    (void)state;
    struct framing f = {.fault = NULL};
    framing_read(&f, CODED "5;", strlen(CODED "5;"));
    for (int i = 0; i < 2000 && !f.fault; i++) {
        framing_read(&f, "x", 1);
    }
    assert_non_null(f.fault);
}

static void test_hosts(void **state)
{
    (void)state;
    static const char *const good[] = {"",      "localhost", "localhost:8080", "127.0.0.1:",
                                       "[::1]", "[::1]:80",  "a_b.example",    "a%2Fb"};
    static const char *const bad[] = {"a b",  "a/b",    "a@b", "a:b", "a:80:80",
                                      "[::1", "[::1]x", "::1", "a\tb"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(framing_host_is_valid(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(framing_host_is_valid(bad[i], strlen(bad[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_extensions_have_an_end),
        cmocka_unit_test(test_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
