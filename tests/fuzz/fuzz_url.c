/* Fuzz target: a request's target, its path and its query. */
#include <stdlib.h>
#include <string.h>

#include "api/query.h"
#include "api/routes.h"
#include "tests/fuzz/fuzz.h"

static void check_query(char *raw, const char *label)
{
    static const enum params_format formats[] = {FORMAT_PNG, FORMAT_APNG};
    struct query query;
    struct problem problem;
    struct sample_params p;
    if (query_parse(&query, raw, &problem) != 0) {
        fuzz_check_problem(&problem);
        query_free(&query);
        return;
    }
    fuzz_check(query.n_pairs <= QUERY_MAX_PAIRS, "pairs");
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (params_from_url(&p, fuzz_context(), formats[i], label, &query, &problem) == 0) {
            fuzz_check(p.n_rows == 1 && p.format == formats[i], "a URL is one picture");
            fuzz_check_params(&p);
            params_free(&p);
        } else {
            fuzz_check_problem(&problem);
        }
    }
    query_free(&query);
}

static void check_route(const char *path, const struct route_match *match)
{
    fuzz_check(match->id < 0 || match->path_exists, "a route has its path");
    fuzz_check(!match->path_exists || strstr(match->allow, "OPTIONS"), "and methods");
    for (size_t i = 0; match->id >= 0 && i < ROUTE_MAX_SEGMENTS; i++) {
        const struct route_segment *segment = &match->segments[i];
        if (!segment->text) {
            continue;
        }
        size_t at = (size_t)(segment->text - path);
        fuzz_check(segment->bytes > 0 && at + segment->bytes <= strlen(path), "a segment");
        fuzz_check(!memchr(segment->text, '/', segment->bytes), "a segment is one");
        char *decoded = fuzz_text((const uint8_t *)segment->text, segment->bytes);
        if (query_decode(decoded, 0) == 0) {
            fuzz_check(strlen(decoded) <= segment->bytes, "decoding makes it no longer");
        }
        free(decoded);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "DELETE", "OPTIONS", "BREW"};
    char *path = fuzz_text(data, size), label[64] = "1";
    char *raw = query_split_target(path);
    fuzz_check(!strchr(path, '?'), "a path has no query");
    for (size_t i = 0; i < 2 * sizeof methods / sizeof *methods; i++) {
        struct route_match match;
        bool is_admin = i % 2;
        route_find(&match, methods[i / 2], path, is_admin);
        fuzz_check(match.id < 0 || route_is_admin(match.id) == is_admin, "on its own listener");
        check_route(path, &match);
        const struct route_segment *segment = &match.segments[0];
        if (match.id == ROUTE_SAMPLE_PNG && segment->bytes < sizeof label) {
            memcpy(label, segment->text, segment->bytes);
            label[segment->bytes] = '\0';
            if (query_decode(label, 0) != 0) {
                label[0] = '\0';
            }
        }
    }
    check_query(raw, label);
    free(path);
    return 0;
}
