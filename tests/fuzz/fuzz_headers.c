/* Fuzz target: every header that is read: each takes the whole input for its value. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "api/accept.h"
#include "api/prefer.h"
#include "api/routes.h"
#include "api/trace_context.h"
#include "server/clients/proxies.h"
#include "tests/fuzz/fuzz.h"

static void check_accept(const char *value)
{
    for (int id = 0; id < ROUTE_COUNT; id++) {
        int chosen = accept_choose(value, routes[id].types, ROUTE_MAX_TYPES);
        fuzz_check(chosen < ROUTE_MAX_TYPES && (chosen < 0 || routes[id].types[chosen]), "a type");
    }
    (void)accept_takes_gzip(value);
    (void)accept_is_json_body(value);
    (void)accept_is_type(value, "image/png");
    fuzz_check(!accept_etag_matches(value, "\"0\"") || strpbrk(value, "*\""), "a tag is quoted");
}

static void check_trace(const char *value)
{
    struct trace_context t, again;
    char text[TRACEPARENT_BYTES];
    if (trace_context_parse(&t, value) != 0) {
        return;
    }
    fuzz_check(strlen(t.trace_id) == 32 && strlen(t.span_id) == 16, "ids have their length");
    trace_context_continue(&t, 1);
    trace_context_format(text, &t);
    fuzz_check(trace_context_parse(&again, text) == 0, "what is written is read");
    fuzz_check(strcmp(again.trace_id, t.trace_id) == 0, "and is the same trace");
}

/* As proxies, and as what a trusted one says. */
static void check_proxies(const char *value)
{
    const struct sockaddr_in peer = {.sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct proxies proxies;
    char client[PROXIES_ADDRESS_BYTES];
    uint8_t address[16];
    (void)proxies_parse(&proxies, value);
    fuzz_check(proxies_parse(&proxies, "127.0.0.0/8,10.0.0.0/8,unix") == 0, "networks");
    const char *const values[] = {value, "10.0.0.1, 127.0.0.1"};
    for (size_t n = 1; n <= 2; n++) {
        proxies_client(&proxies, (const struct sockaddr *)&peer, values, n, client);
        fuzz_check(!*client || inet_pton(strchr(client, ':') ? AF_INET6 : AF_INET, client, address),
                   "a client is an address");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *value = fuzz_text(data, size);
    struct prefer prefer;
    check_accept(value);
    check_trace(value);
    check_proxies(value);
    prefer_read(&prefer, value);
    fuzz_check(prefer.has_wait || prefer.wait_s == 0, "no wait without one");
    free(value);
    return 0;
}
