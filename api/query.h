/*
 * A request's target, the query of a URL and percent-encoding, read strictly: a bad escape, a NUL,
 * a control character or bytes that are not UTF-8 are errors. Any thread.
 */
#ifndef API_QUERY_H
#define API_QUERY_H

#include <stddef.h>

#include "api/problem.h"

#define QUERY_MAX_PAIRS 32

struct query {
    char *storage; /* owned: what keys and values point into */
    size_t n_pairs;
    struct {
        const char *key;
        const char *value;
    } pairs[QUERY_MAX_PAIRS];
};

/* Cut a request's target (RFC 9112, 3.2) in place, so that it is its path alone; scheme and
 * authority of the absolute form are passed over. Returns its query, which may be NULL. */
char *query_split_target(char *target);

/* Decode in place those escapes of a path that stand for characters that need none (RFC 3986,
 * 2.3): /%6civez is /livez. Others stay, as do malformed ones. */
void query_normalise_path(char *path);

/* The host and port of a target in absolute form, by their length; 0 of another. */
size_t query_target_authority(const char *target, const char **authority);

/* Read "a=1&b=2" (NULL or "" is an empty query). Each key occurs once. The caller frees with
 * query_free, after an error as well. Returns 0, or -1 with *problem filled. */
int query_parse(struct query *q, const char *raw, struct problem *problem);
void query_free(struct query *q);

/* Decode %XX in place, and '+' as a space when `plus_is_space`. Returns 0, or -1 when the result
 * would not be printable UTF-8. */
int query_decode(char *s, int plus_is_space);

#endif
