#include "api/query.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/unicode.h"

static size_t scheme_length(const char *target)
{
    return strncasecmp(target, "http://", 7) == 0    ? 7
           : strncasecmp(target, "https://", 8) == 0 ? 8
                                                     : 0;
}

size_t query_target_authority(const char *target, const char **authority)
{
    size_t scheme_bytes = scheme_length(target);
    size_t bytes = scheme_bytes ? strcspn(target + scheme_bytes, "/?") : 0;
    const char *start = target + scheme_bytes;
    for (size_t i = 0; i < bytes; i++) { /* who the user is, is before the last @ */
        if (target[scheme_bytes + i] == '@') {
            start = target + scheme_bytes + i + 1;
        }
    }
    *authority = start;
    return (size_t)(target + scheme_bytes + bytes - start);
}

char *query_split_target(char *target)
{
    size_t scheme_bytes = scheme_length(target);
    size_t authority_bytes = scheme_bytes ? strcspn(target + scheme_bytes, "/?") : 0;
    if (authority_bytes > 0) { /* without one it is no URL of HTTP (RFC 9110, 4.2.1) */
        char *rest = target + scheme_bytes + authority_bytes;
        if (*rest != '/') {
            *--rest = '/'; /* an empty path; there was a byte of the authority */
        }
        memmove(target, rest, strlen(rest) + 1);
    }
    char *mark = strchr(target, '?');
    if (!mark) {
        return NULL;
    }
    *mark = '\0';
    return mark + 1;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void query_normalise_path(char *path)
{
    char *out = path;
    for (const char *in = path; *in; in++) {
        int high = *in == '%' ? hex_digit(in[1]) : -1;
        int low = high < 0 ? -1 : hex_digit(in[2]);
        char c = low < 0 ? '\0' : (char)(high * 16 + low);
        if (c && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", c)) {
            *out++ = c;
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
}

int query_decode(char *s, int plus_is_space)
{
    char *out = s;
    for (const char *in = s; *in; in++) {
        char c = *in;
        if (c == '%') {
            int high = hex_digit(in[1]);
            int low = high < 0 ? -1 : hex_digit(in[2]);
            if (low < 0) {
                return -1;
            }
            c = (char)(high * 16 + low);
            in += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if ((unsigned char)c < 0x20 || c == 0x7f) {
            return -1;
        }
        *out++ = c;
    }
    *out = '\0';
    return unicode_valid(s, (size_t)(out - s)) ? 0 : -1;
}

static int query_fault(struct problem *problem, const char *detail)
{
    problem_set(problem, PROBLEM_INVALID_REQUEST, "The query of the URL is malformed.");
    problem_add(problem, "", "%s", detail);
    return -1;
}

static int query_add(struct query *q, char *pair, struct problem *problem)
{
    if (q->n_pairs == QUERY_MAX_PAIRS) {
        return query_fault(problem, "more than 32 query parameters");
    }
    char *value = strchr(pair, '=');
    if (value) {
        *value++ = '\0';
    } else {
        value = pair + strlen(pair);
    }
    if (query_decode(pair, 1) != 0) {
        return query_fault(problem, "a parameter's name is not percent-encoded UTF-8 text");
    }
    char pointer[PROBLEM_POINTER_BYTES] = "";
    problem_pointer_push(pointer, pair);
    if (query_decode(value, 1) != 0) {
        problem_set(problem, PROBLEM_INVALID_REQUEST, "The query of the URL is malformed.");
        problem_add(problem, pointer, "not percent-encoded UTF-8 text");
        return -1;
    }
    for (size_t i = 0; i < q->n_pairs; i++) {
        if (strcmp(q->pairs[i].key, pair) == 0) {
            problem_set(problem, PROBLEM_INVALID_REQUEST,
                        "The query of the URL names a parameter more than once.");
            problem_add(problem, pointer, "this parameter occurs more than once");
            return -1;
        }
    }
    q->pairs[q->n_pairs].key = pair;
    q->pairs[q->n_pairs].value = value;
    q->n_pairs++;
    return 0;
}

int query_parse(struct query *q, const char *raw, struct problem *problem)
{
    *q = (struct query){.storage = NULL};
    if (!raw || !*raw) {
        return 0;
    }
    q->storage = strdup(raw);
    if (!q->storage) {
        problem_set(problem, PROBLEM_OUT_OF_MEMORY, "There was no memory to read the request.");
        return -1;
    }
    for (char *pair = q->storage; pair;) {
        char *next = strchr(pair, '&');
        if (next) {
            *next++ = '\0';
        }
        if (*pair && query_add(q, pair, problem) != 0) {
            return -1;
        }
        pair = next;
    }
    return 0;
}

void query_free(struct query *q)
{
    free(q->storage);
    *q = (struct query){.storage = NULL};
}
