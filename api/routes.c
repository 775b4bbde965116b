#include "api/routes.h"

#include <stdio.h>
#include <string.h>

#define JSON "application/json"

const struct route routes[ROUTE_COUNT] = {
    [ROUTE_DISCOVERY] = {"GET", "/", {JSON}, false},
    [ROUTE_SAMPLES] = {"POST", "/v1/samples", {JSON, "image/png"}, false},
    [ROUTE_SAMPLE_PNG] = {"GET", "/v1/samples/{label}.png", {"image/png"}, false},
    [ROUTE_MODELS] = {"GET", "/v1/models", {JSON}, false},
    [ROUTE_MODEL] = {"GET", "/v1/models/{id}", {JSON}, false},
    [ROUTE_CAPABILITIES] = {"GET", "/v1/capabilities", {JSON}, false},
    [ROUTE_LIVEZ] = {"GET", "/livez", {JSON}, true},
    [ROUTE_READYZ] = {"GET", "/readyz", {JSON}, true},
    [ROUTE_METRICS] = {"GET", "/metrics", {"text/plain"}, false},
    [ROUTE_VERSION] = {"GET", "/version", {JSON}, false},
    [ROUTE_OPENAPI] = {"GET", "/openapi.json", {JSON}, false},
};

/* Does `path` fit `pattern`? A {name} stands for one segment, not empty. */
static bool route_fits(const char *pattern, const char *path, struct route_match *match)
{
    const char *open = strchr(pattern, '{');
    if (!open) {
        return strcmp(pattern, path) == 0;
    }
    size_t prefix = (size_t)(open - pattern);
    const char *suffix = strchr(open, '}') + 1;
    size_t suffix_bytes = strlen(suffix), path_bytes = strlen(path);
    if (path_bytes <= prefix + suffix_bytes || strncmp(pattern, path, prefix) != 0 ||
        strcmp(path + path_bytes - suffix_bytes, suffix) != 0) {
        return false;
    }
    const char *segment = path + prefix;
    size_t bytes = path_bytes - prefix - suffix_bytes;
    if (memchr(segment, '/', bytes)) {
        return false;
    }
    match->segment = segment;
    match->segment_bytes = bytes;
    return true;
}

void route_find(struct route_match *match, const char *method, const char *path)
{
    *match = (struct route_match){.id = -1};
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    bool get = false, post = false;
    for (int id = 0; id < ROUTE_COUNT; id++) {
        if (!route_fits(routes[id].pattern, path, match)) {
            continue;
        }
        match->path_exists = true;
        get |= strcmp(routes[id].method, "GET") == 0;
        post |= strcmp(routes[id].method, "POST") == 0;
        if (strcmp(routes[id].method, wanted) == 0) {
            match->id = id;
        }
    }
    snprintf(match->allow, sizeof match->allow, "%s%sOPTIONS", get ? "GET, HEAD, " : "",
             post ? "POST, " : "");
}
