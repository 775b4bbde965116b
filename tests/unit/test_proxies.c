/* server/clients/proxies: whom a request is from, by what proxies say and whom one believes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "server/clients/proxies.h"

static struct proxies parse(const char *text)
{
    struct proxies p;
    if (proxies_parse(&p, text) != 0) {
        fail_msg("not understood: %s", text);
    }
    return p;
}

static struct sockaddr_storage peer_at(const char *text)
{
    struct sockaddr_storage peer = {.ss_family = AF_UNIX};
    if (strcmp(text, "unix") == 0) {
        return peer;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&peer;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&peer;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        peer.ss_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        peer.ss_family = AF_INET6;
    }
    return peer;
}

static bool has(const char *list, const char *address)
{
    struct proxies p = parse(list);
    struct sockaddr_storage peer = peer_at(address);
    return proxies_has(&p, (const struct sockaddr *)&peer);
}

static void test_lists(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",         ",",           "10.0.0.0/8,", ",10.0.0.0/8", "10.0.0.0/33", "10.0.0.0/",
        "10.0.0/8", "10.0.0.0/a",  "::/129",      "::/1000",     "localhost",   "unix:/x",
        "Unix",     "10.0.0.1:80", "[::1]",       "10.0.0.1 ",   " 10.0.0.1",   "10.0.0.0/-1"};
    struct proxies p;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (proxies_parse(&p, bad[i]) != -1) {
            fail_msg("taken: '%s'", bad[i]);
        }
    }
    assert_int_equal(proxies_parse(&p, NULL), 0);
    assert_int_equal(p.n_networks, 0);

    char many[PROXIES_MAX * 10 + 10] = "10.0.0.1";
    for (int i = 1; i < PROXIES_MAX; i++) {
        strcat(many, ",10.0.0.1");
    }
    p = parse(many);
    assert_int_equal(p.n_networks, PROXIES_MAX);
    strcat(many, ",::1");
    assert_int_equal(proxies_parse(&p, many), -1);
}

static void test_networks(void **state)
{
    (void)state;
    assert_true(has("10.0.0.0/8", "10.255.1.2"));
    assert_false(has("10.0.0.0/8", "11.0.0.0"));
    assert_true(has("10.1.2.3/8", "10.9.9.9"));
    assert_true(has("192.168.4.0/22", "192.168.7.255"));
    assert_false(has("192.168.4.0/22", "192.168.8.0"));
    assert_true(has("127.0.0.1", "127.0.0.1"));
    assert_false(has("127.0.0.1", "127.0.0.2"));
    assert_true(has("0.0.0.0/0", "8.8.8.8"));
    assert_false(has("0.0.0.0/0", "2001:db8::1"));
    assert_true(has("::/0", "8.8.8.8")); /* which is an IPv6 address too */
    assert_true(has("fd00::/8", "fdff::1"));
    assert_false(has("fd00::/8", "fe00::1"));
    assert_true(has("10.0.0.0/8", "::ffff:10.1.2.3")); /* as a socket for both sees it */
    assert_true(has("::1,unix,10.0.0.0/8", "unix"));
    assert_false(has("0.0.0.0/0,::/0", "unix"));
}

/* `header`: values of repeated headers with "|" between. */
static void expect(const char *list, const char *from, const char *header, const char *expected)
{
    char copy[512], client[PROXIES_ADDRESS_BYTES], *rest = copy;
    const char *values[8], *value;
    size_t n = 0;
    strcpy(copy, header);
    while (*header && (value = strsep(&rest, "|"))) {
        values[n++] = value;
    }
    struct proxies p = parse(list);
    struct sockaddr_storage peer = peer_at(from);
    proxies_client(&p, (const struct sockaddr *)&peer, values, n, client);
    if (strcmp(client, expected) != 0) {
        fail_msg("%s from %s: '%s' and not '%s'", header, from, client, expected);
    }
}

static void test_clients(void **state)
{
    (void)state;
    static const char near[] = "127.0.0.1,10.0.0.0/8,unix";
    expect(near, "127.0.0.1", "203.0.113.9", "203.0.113.9");
    expect(near, "unix", "2001:db8::9", "2001:db8::9");
    expect(near, "127.0.0.1", "", "");
    /* Anybody may write the header. */
    expect(near, "203.0.113.1", "198.51.100.1", "");
    expect(near, "127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9");
    expect(near, "127.0.0.1", "10.0.0.5, 203.0.113.9", "203.0.113.9");
    /* Through two proxies, and in two headers. */
    expect(near, "127.0.0.1", "198.51.100.1, 203.0.113.9 , 10.0.0.5", "203.0.113.9");
    expect(near, "127.0.0.1", "198.51.100.1|203.0.113.9|10.0.0.5,10.0.0.6", "203.0.113.9");
    /* A client within. */
    expect(near, "127.0.0.1", "10.0.0.5", "10.0.0.5");
    expect(near, "127.0.0.1", "10.0.0.7,10.0.0.5", "10.0.0.7");
    /* Forms. */
    expect(near, "unix", "203.0.113.9:4711", "203.0.113.9");
    expect(near, "unix", "[2001:DB8::9]:4711", "2001:db8::9");
    expect(near, "unix", "[2001:db8::9]", "2001:db8::9");
    expect(near, "unix", "::ffff:203.0.113.9", "203.0.113.9");
    expect(near, "unix", "\t203.0.113.9 ", "203.0.113.9");
    /* What is no address says nothing, and nothing before it does. */
    static const char *const garbage[] = {"unknown",
                                          "203.0.113.9:",
                                          "203.0.113.9:port",
                                          "203.0.113.9:123456",
                                          "[2001:db8::9",
                                          "[]",
                                          "203.0.113",
                                          ",",
                                          "\"203.0.113.9\"",
                                          "2001:db8::9]",
                                          " ",
                                          "[2001:db8::9]x"};
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        char header[128] = "198.51.100.1, ";
        expect(near, "unix", garbage[i], "");
        strcat(header, garbage[i]);
        expect(near, "unix", header, "");
        strcat(header, ",10.0.0.5");
        expect(near, "unix", header, "10.0.0.5");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
