#include "api/json.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "api/unicode.h"

/* One pass over the bytes that accepts exactly RFC 8259 within our limits. `pointer` follows the
 * object member the scan is in, so that a fault names its field. */
struct scan {
    const char *at, *start, *end;
    struct problem *problem;
    char pointer[PROBLEM_POINTER_BYTES];
};

static bool scan_value(struct scan *s, int depth);

static bool scan_fail(struct scan *s, const char *why)
{
    problem_set(s->problem, PROBLEM_MALFORMED_JSON, "The request body is not acceptable JSON.");
    problem_add(s->problem, s->pointer, "byte %zu: %s", (size_t)(s->at - s->start), why);
    return false;
}

static void scan_space(struct scan *s)
{
    while (s->at < s->end &&
           (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) {
        s->at++;
    }
}

static bool scan_is(const struct scan *s, char c)
{
    return s->at < s->end && *s->at == c;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The length of the number that starts at `s` by the grammar of RFC 8259 part 6, or 0. */
static size_t number_length(const char *s, const char *end)
{
    const char *at = s;
    if (at < end && *at == '-') {
        at++;
    }
    if (at == end || !is_digit(*at)) {
        return 0;
    }
    if (*at == '0') {
        at++;
    } else {
        while (at < end && is_digit(*at)) {
            at++;
        }
    }
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        while (at < end && is_digit(*at)) {
            at++;
        }
        if (at == fraction) {
            return 0;
        }
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) {
            at++;
        }
        const char *exponent = at;
        while (at < end && is_digit(*at)) {
            at++;
        }
        if (at == exponent) {
            return 0;
        }
    }
    return (size_t)(at - s);
}

#define NUMBER_MAX_BYTES 63 /* cJSON cuts a number after 63 bytes and goes on with the rest */

static bool scan_number(struct scan *s)
{
    size_t bytes = number_length(s->at, s->end);
    if (bytes == 0) {
        return scan_fail(s, "a malformed number");
    }
    if (bytes > NUMBER_MAX_BYTES) {
        return scan_fail(s, "a number of more than 63 characters");
    }
    char digits[NUMBER_MAX_BYTES + 1];
    memcpy(digits, s->at, bytes);
    digits[bytes] = '\0';
    if (!isfinite(strtod(digits, NULL))) {
        return scan_fail(s, "a number too large to be finite");
    }
    s->at += bytes;
    if (s->at < s->end && (is_digit(*s->at) || *s->at == '.')) {
        return scan_fail(s, "a malformed number");
    }
    return true;
}

/* Four hexadecimal digits after \u, or -1. */
static int scan_hex4(const struct scan *s, const char *at)
{
    if (s->end - at < 4) {
        return -1;
    }
    int code = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = is_digit(c)              ? c - '0'
                    : (c >= 'a' && c <= 'f') ? c - 'a' + 10
                    : (c >= 'A' && c <= 'F') ? c - 'A' + 10
                                             : -1;
        if (digit < 0) {
            return -1;
        }
        code = code * 16 + digit;
    }
    return code;
}

static bool scan_escape(struct scan *s)
{
    s->at++; /* the backslash */
    if (s->at == s->end) {
        return scan_fail(s, "a string without its end");
    }
    if (*s->at != 'u') {
        if (!memchr("\"\\/bfnrt", *s->at, 8)) {
            return scan_fail(s, "an unknown escape in a string");
        }
        s->at++;
        return true;
    }
    int code = scan_hex4(s, s->at + 1);
    if (code < 0) {
        return scan_fail(s, "\\u needs four hexadecimal digits");
    }
    if (code == 0) {
        return scan_fail(s, "\\u0000 is not allowed in a string");
    }
    s->at += 5;
    if (code >= 0xdc00 && code <= 0xdfff) {
        return scan_fail(s, "half a surrogate pair");
    }
    if (code >= 0xd800 && code <= 0xdbff) {
        int low = -1;
        if (s->end - s->at >= 6 && s->at[0] == '\\' && s->at[1] == 'u') {
            low = scan_hex4(s, s->at + 2);
        }
        if (low < 0xdc00 || low > 0xdfff) {
            return scan_fail(s, "half a surrogate pair");
        }
        s->at += 6;
    }
    return true;
}

static bool scan_string(struct scan *s)
{
    s->at++; /* the quote */
    for (;;) {
        if (s->at == s->end) {
            return scan_fail(s, "a string without its end");
        }
        unsigned char c = (unsigned char)*s->at;
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c < 0x20) {
            return scan_fail(s, "a control character in a string");
        }
        if (c == '\\') {
            if (!scan_escape(s)) {
                return false;
            }
            continue;
        }
        size_t n = unicode_length(s->at, (size_t)(s->end - s->at));
        if (n == 0) {
            return scan_fail(s, "not UTF-8");
        }
        s->at += n;
    }
}

/* The key just scanned, decoded by cJSON, goes onto the pointer. */
static void scan_push_key(struct scan *s, const char *key, size_t bytes)
{
    cJSON *decoded = cJSON_ParseWithLength(key, bytes);
    if (cJSON_IsString(decoded)) {
        problem_pointer_push(s->pointer, decoded->valuestring);
    }
    cJSON_Delete(decoded);
}

static bool scan_object(struct scan *s, int depth)
{
    char outer[PROBLEM_POINTER_BYTES];
    memcpy(outer, s->pointer, sizeof outer);
    s->at++; /* the brace */
    scan_space(s);
    if (scan_is(s, '}')) {
        s->at++;
        return true;
    }
    for (int members = 1;; members++) {
        if (members > JSON_MAX_MEMBERS) {
            return scan_fail(s, "an object of more than 64 members");
        }
        if (!scan_is(s, '"')) {
            return scan_fail(s, "a key in quotes is expected");
        }
        const char *key = s->at;
        if (!scan_string(s)) {
            return false;
        }
        scan_push_key(s, key, (size_t)(s->at - key));
        scan_space(s);
        if (!scan_is(s, ':')) {
            return scan_fail(s, "a colon is expected");
        }
        s->at++;
        if (!scan_value(s, depth)) {
            return false;
        }
        memcpy(s->pointer, outer, sizeof outer);
        if (scan_is(s, '}')) {
            s->at++;
            return true;
        }
        if (!scan_is(s, ',')) {
            return scan_fail(s, "a comma or a closing brace is expected");
        }
        s->at++;
        scan_space(s);
    }
}

static bool scan_array(struct scan *s, int depth)
{
    s->at++; /* the bracket */
    scan_space(s);
    if (scan_is(s, ']')) {
        s->at++;
        return true;
    }
    for (;;) {
        if (!scan_value(s, depth)) {
            return false;
        }
        if (scan_is(s, ']')) {
            s->at++;
            return true;
        }
        if (!scan_is(s, ',')) {
            return scan_fail(s, "a comma or a closing bracket is expected");
        }
        s->at++;
    }
}

static bool scan_word(struct scan *s, const char *word)
{
    size_t bytes = strlen(word);
    if ((size_t)(s->end - s->at) < bytes || memcmp(s->at, word, bytes) != 0) {
        return scan_fail(s, "a value is expected");
    }
    s->at += bytes;
    return true;
}

/* A value and the space around it. */
static bool scan_value(struct scan *s, int depth)
{
    scan_space(s);
    if (s->at == s->end) {
        return scan_fail(s, "the text ends too early");
    }
    if (depth == JSON_MAX_DEPTH && (*s->at == '{' || *s->at == '[')) {
        return scan_fail(s, "nested deeper than 8 levels");
    }
    bool ok;
    switch (*s->at) {
    case '{':
        ok = scan_object(s, depth + 1);
        break;
    case '[':
        ok = scan_array(s, depth + 1);
        break;
    case '"':
        ok = scan_string(s);
        break;
    case 't':
        ok = scan_word(s, "true");
        break;
    case 'f':
        ok = scan_word(s, "false");
        break;
    case 'n':
        ok = scan_word(s, "null");
        break;
    default:
        ok = is_digit(*s->at) || *s->at == '-' ? scan_number(s)
                                               : scan_fail(s, "a value is expected");
    }
    if (ok) {
        scan_space(s);
    }
    return ok;
}

/* cJSON keeps every one of several equal keys and finds the first: two readers of one body could
 * see two requests. Keys are compared decoded, so "n" and "\u006e" are the same. */
static bool json_check_keys(const cJSON *value, char pointer[PROBLEM_POINTER_BYTES],
                            struct problem *problem)
{
    for (const cJSON *child = value->child; child; child = child->next) {
        char inner[PROBLEM_POINTER_BYTES];
        memcpy(inner, pointer, sizeof inner);
        if (cJSON_IsObject(value)) {
            problem_pointer_push(inner, child->string);
            for (const cJSON *other = child->next; other; other = other->next) {
                if (strcmp(child->string, other->string) == 0) {
                    problem_set(problem, PROBLEM_MALFORMED_JSON,
                                "The request body names a key more than once.");
                    problem_add(problem, inner, "this key occurs more than once");
                    return false;
                }
            }
        }
        if (child->child && !json_check_keys(child, inner, problem)) {
            return false;
        }
    }
    return true;
}

int json_parse(cJSON **out, const char *body, size_t bytes, struct problem *problem)
{
    *out = NULL;
    struct scan s = {.at = body, .start = body, .end = body + bytes, .problem = problem};
    if (!scan_value(&s, 0)) {
        return -1;
    }
    if (s.at < s.end) {
        scan_fail(&s, "text after the end of the JSON value");
        return -1;
    }
    cJSON *root = cJSON_ParseWithLength(body, bytes);
    if (!root) { /* the text is sound, so it was memory */
        problem_set(problem, PROBLEM_OUT_OF_MEMORY, "There was no memory to read the request.");
        return -1;
    }
    char pointer[PROBLEM_POINTER_BYTES] = "";
    if (!json_check_keys(root, pointer, problem)) {
        cJSON_Delete(root);
        return -1;
    }
    *out = root;
    return 0;
}

const char *json_type_name(const cJSON *value)
{
    if (cJSON_IsBool(value)) {
        return "a boolean";
    }
    if (cJSON_IsNull(value)) {
        return "null";
    }
    if (cJSON_IsNumber(value)) {
        return "a number";
    }
    if (cJSON_IsString(value)) {
        return "a string";
    }
    return cJSON_IsArray(value) ? "an array" : "an object";
}

int json_read_number(double *out, const char *s)
{
    size_t bytes = strlen(s);
    if (bytes == 0 || bytes > NUMBER_MAX_BYTES || number_length(s, s + bytes) != bytes) {
        return -1;
    }
    *out = strtod(s, NULL);
    return isfinite(*out) ? 0 : -1;
}
