#include "api/routes.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "api/provenance.h"

#define JSON "application/json"

const struct route routes[ROUTE_COUNT] = {
    [ROUTE_DISCOVERY] = {"GET", "/", {JSON, "text/html"}, false, NULL},
    [ROUTE_SAMPLES] = {"POST",
                       "/v1/samples",
                       {JSON, "image/png", "image/apng", "application/zip", "multipart/mixed",
                        "text/event-stream"},
                       false,
                       JSON},
    [ROUTE_SAMPLE_PNG] = {"GET", "/v1/samples/{label}.png", {"image/png"}, false, NULL},
    [ROUTE_SAMPLE_APNG] = {"GET", "/v1/samples/{label}.apng", {"image/apng"}, false, NULL},
    [ROUTE_JOB_CREATE] = {"POST", "/v1/jobs", {JSON}, false, JSON},
    [ROUTE_JOB_LIST] = {"GET", "/v1/jobs", {JSON}, false, NULL},
    [ROUTE_JOB] = {"GET", "/v1/jobs/{id}", {JSON}, false, NULL},
    [ROUTE_JOB_DELETE] = {"DELETE", "/v1/jobs/{id}", {JSON}, true, NULL},
    [ROUTE_JOB_CANCEL] = {"POST", "/v1/jobs/{id}/cancel", {JSON}, false, NULL},
    [ROUTE_JOB_EVENTS] = {"GET", "/v1/jobs/{id}/events", {"text/event-stream"}, false, NULL},
    [ROUTE_JOB_RESULT] = {"GET",
                          "/v1/jobs/{id}/result",
                          {JSON, "image/png", "image/apng", "application/zip", "multipart/mixed"},
                          false,
                          NULL},
    [ROUTE_JOB_GRID] = {"GET", "/v1/jobs/{id}/grid.png", {"image/png"}, false, NULL},
    [ROUTE_JOB_IMAGE] = {"GET", "/v1/jobs/{id}/images/{i}.png", {"image/png"}, false, NULL},
    [ROUTE_VERIFY] = {"POST", "/v1/verify", {JSON}, false, "image/png"},
    [ROUTE_IMAGES] = {"POST", "/v1/images/generations", {JSON, "text/event-stream"}, false, JSON},
    [ROUTE_MODELS] = {"GET", "/v1/models", {JSON}, false, NULL},
    [ROUTE_MODEL] = {"GET", "/v1/models/{id}", {JSON}, false, NULL},
    [ROUTE_CAPABILITIES] = {"GET", "/v1/capabilities", {JSON}, false, NULL},
    [ROUTE_LIVEZ] = {"GET", "/livez", {JSON}, true, NULL},
    [ROUTE_READYZ] = {"GET", "/readyz", {JSON}, true, NULL},
    [ROUTE_METRICS] = {"GET", "/metrics", {"text/plain"}, true, NULL},
    [ROUTE_VERSION] = {"GET", "/version", {JSON}, false, NULL},
    [ROUTE_OPENAPI] = {"GET", "/openapi.json", {JSON}, false, NULL},
    [ROUTE_DOCS] = {"GET", "/docs", {"text/html"}, false, NULL},
    [ROUTE_ASSET] = {"GET", "/assets/{name}", {"text/html"}, true, NULL},
    [ROUTE_ADMIN] = {"GET", "/admin", {JSON}, false, NULL},
    [ROUTE_ADMIN_MODELS] = {"GET", "/admin/models", {JSON}, false, NULL},
    [ROUTE_ADMIN_LOAD] = {"POST", "/admin/models", {JSON}, false, JSON},
    [ROUTE_ADMIN_ACTIVATE] = {"POST", "/admin/models/{id}/activate", {JSON}, false, NULL},
    [ROUTE_ADMIN_UNLOAD] = {"POST", "/admin/models/{id}/unload", {JSON}, false, NULL},
};

/* Does `path` fit `pattern`? A {name} stands for one segment, or what a segment has before a
 * suffix; it is not empty. */
static bool route_fits(const char *pattern, const char *path, struct route_match *match)
{
    struct route_segment segments[ROUTE_MAX_SEGMENTS] = {{NULL, 0}};
    size_t n = 0;
    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++) {
                return false;
            }
            continue;
        }
        pattern = strchr(pattern, '}') + 1;
        size_t suffix_bytes = strcspn(pattern, "/"), bytes = strcspn(path, "/");
        if (bytes <= suffix_bytes ||
            strncmp(path + bytes - suffix_bytes, pattern, suffix_bytes) != 0) {
            return false;
        }
        assert(n < ROUTE_MAX_SEGMENTS);
        segments[n++] = (struct route_segment){path, bytes - suffix_bytes};
        path += bytes;
        pattern += suffix_bytes;
    }
    if (*path) {
        return false;
    }
    memcpy(match->segments, segments, sizeof segments);
    return true;
}

int route_first(int id)
{
    int first = 0;
    while (strcmp(routes[first].pattern, routes[id].pattern) != 0) {
        first++;
    }
    return first;
}

size_t route_body_bytes(int id)
{
    return id == ROUTE_VERIFY ? PROVENANCE_MAX_FILE_BYTES : 0;
}

bool route_is_admin(int id)
{
    const char *pattern = routes[id].pattern;
    return strncmp(pattern, "/admin", 6) == 0 && (!pattern[6] || pattern[6] == '/');
}

void route_find(struct route_match *match, const char *method, const char *path, bool is_admin)
{
    static const char *const methods[] = {"GET", "POST", "DELETE"};
    *match = (struct route_match){.id = -1};
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    bool allowed[sizeof methods / sizeof *methods] = {false};
    if (strcmp(path, "*") == 0 && strcmp(method, "OPTIONS") == 0) { /* RFC 9110: of the server */
        match->path_exists = allowed[0] = allowed[1] = allowed[2] = true;
    }
    for (int id = 0; id < ROUTE_COUNT; id++) {
        if (route_is_admin(id) != is_admin || !route_fits(routes[id].pattern, path, match)) {
            continue;
        }
        match->path_exists = true;
        match->has_openai_errors = id == ROUTE_IMAGES;
        for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
            allowed[i] |= strcmp(routes[id].method, methods[i]) == 0;
        }
        if (strcmp(routes[id].method, wanted) == 0) {
            match->id = id;
        }
    }
    snprintf(match->allow, sizeof match->allow, "%s%s%sOPTIONS", allowed[0] ? "GET, HEAD, " : "",
             allowed[1] ? "POST, " : "", allowed[2] ? "DELETE, " : "");
}
