#include "server/http/cors.h"

#include <string.h>
#include <strings.h>

#define HEADERS_ACCEPTED                                                                           \
    "Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, traceparent, "   \
    "X-API-Key, X-Request-Id"
#define HEADERS_EXPOSED                                                                            \
    "ETag, Idempotency-Replayed, Location, Preference-Applied, RateLimit, RateLimit-Policy, "      \
    "Retry-After, Server-Timing, traceparent, X-Determinism, X-Model-Digest, X-Request-Id, "       \
    "X-Sample-Digest, X-Seed"
#define MAX_AGE_S "600"

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
            strcspn(colon + 3, ",/?#@* \t") != length - scheme - 3) {
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
        if (length == bytes && strncasecmp(s, origin, length) == 0) {
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

void cors_add_preflight(struct request *r)
{
    if (allowed_origin(r) && request_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_REQUEST_METHOD)) {
        request_add_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_METHODS, r->route.allow);
        request_add_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_HEADERS, HEADERS_ACCEPTED);
        request_add_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
    }
}
