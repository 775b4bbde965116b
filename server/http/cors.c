#include "server/http/cors.h"

#include <stdio.h>
#include <string.h>

#define HEADERS_ACCEPTED                                                                           \
    "Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, traceparent, "   \
    "X-API-Key, X-Request-Id"
#define HEADERS_EXPOSED                                                                            \
    "ETag, Idempotency-Replayed, Location, Preference-Applied, RateLimit, RateLimit-Policy, "      \
    "Retry-After, Server-Timing, traceparent, X-Determinism, X-Model-Digest, X-Request-Id, "       \
    "X-Sample-Digest, X-Seed"
#define MAX_AGE_S "600"
#define MAX_REQUESTED_BYTES 4096
#define TOKENS_AND_COMMAS                                                                          \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~, \t"

bool cors_list_is_valid(const char *list)
{
    if (strcmp(list, "*") == 0) {
        return true;
    }
    for (const char *s = list;; s++) {
        size_t length = strcspn(s, ",");
        const char *colon = strstr(s, "://");
        size_t scheme = colon ? (size_t)(colon - s) : length;
        if (scheme == 0 || scheme + 3 >= length ||
            strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != scheme ||
            strcspn(colon + 3, ",/?#@* \tABCDEFGHIJKLMNOPQRSTUVWXYZ") != length - scheme - 3) {
            return false;
        }
        s += length;
        if (!*s) {
            return true;
        }
    }
}

static bool list_has(const char *list, const char *origin)
{
    size_t bytes = strlen(origin);
    for (const char *s = list; *s; s += *s == ',') {
        size_t length = strcspn(s, ",");
        if (length == bytes && memcmp(s, origin, length) == 0) {
            return true;
        }
        s += length;
    }
    return false;
}

/* What Access-Control-Allow-Origin says to this request, or NULL. */
static const char *allowed_origin(const struct request *r)
{
    const char *list = r->is_admin ? NULL : r->context->options->cors_origin;
    const char *origin = list ? request_header(r, MHD_HTTP_HEADER_ORIGIN) : NULL;
    if (!origin) {
        return NULL;
    }
    if (strcmp(list, "*") == 0) {
        return list;
    }
    return list_has(list, origin) ? origin : NULL;
}

bool cors_allows(const struct request *r)
{
    const char *list = r->is_admin ? NULL : r->context->options->cors_origin;
    return list && (strcmp(list, "*") == 0 || allowed_origin(r));
}

void cors_add_headers(struct request *r)
{
    const char *list = r->is_admin ? NULL : r->context->options->cors_origin;
    if (list && strcmp(list, "*") != 0) {
        request_add_header(r, MHD_HTTP_HEADER_VARY, "Origin");
    }
    const char *origin = allowed_origin(r);
    if (origin) {
        request_add_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        request_add_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_EXPOSE_HEADERS, HEADERS_EXPOSED);
    }
}

/* What a page of ours may send: our own, and what it asks for. Client libraries have headers of
 * their own, and none that others may send harms us. */
static void add_allowed_headers(struct request *r)
{
    const char *wanted = request_list(r, MHD_HTTP_HEADER_ACCESS_CONTROL_REQUEST_HEADERS);
    size_t bytes = wanted ? strlen(wanted) : 0;
    char value[sizeof HEADERS_ACCEPTED + 2 + MAX_REQUESTED_BYTES];
    bool is_list =
        bytes > 0 && bytes <= MAX_REQUESTED_BYTES && strspn(wanted, TOKENS_AND_COMMAS) == bytes;
    snprintf(value, sizeof value, "%s%s%s", HEADERS_ACCEPTED, is_list ? ", " : "",
             is_list ? wanted : "");
    request_add_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_HEADERS, value);
}

void cors_add_preflight(struct request *r)
{
    if (allowed_origin(r) && request_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_REQUEST_METHOD)) {
        request_add_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_METHODS, r->route.allow);
        add_allowed_headers(r);
        request_add_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
    }
}
