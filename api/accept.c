#include "api/accept.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static const char *skip_space(const char *s)
{
    return s + strspn(s, " \t");
}

/* The end of the list element at `s`: its comma or the terminator, past any quoted string. */
static const char *element_end(const char *s)
{
    bool quoted = false;
    for (; *s; s++) {
        if (quoted && *s == '\\' && s[1]) {
            s++;
        } else if (*s == '"') {
            quoted = !quoted;
        } else if (*s == ',' && !quoted) {
            break;
        }
    }
    return s;
}

/* The weight of an element in thousandths: "q=0.5" is 500. 1000 without one, 0 when malformed. */
static int element_weight(const char *s, const char *end)
{
    for (const char *at = s; at < end; at++) {
        if (*at != ';') {
            continue;
        }
        const char *name = skip_space(at + 1);
        if ((*name != 'q' && *name != 'Q') || name[1] != '=') {
            continue;
        }
        const char *q = name + 2;
        if (*q != '0' && *q != '1') {
            return 0;
        }
        int weight = (*q - '0') * 1000;
        if (q[1] == '.') {
            int unit = 100;
            for (const char *digit = q + 2; *digit >= '0' && *digit <= '9'; digit++, unit /= 10) {
                weight += (*digit - '0') * unit;
            }
        }
        return weight > 1000 ? 1000 : weight;
    }
    return 1000;
}

/* How closely the range of `length` characters fits a type: 3 exactly, 2 by kind, 1 any, 0 no. */
static int range_fits(const char *range, size_t length, const char *type)
{
    if (length == strlen(type) && strncasecmp(range, type, length) == 0) {
        return 3;
    }
    size_t kind = strcspn(type, "/") + 1;
    if (length == kind + 1 && range[kind] == '*' && strncasecmp(range, type, kind) == 0) {
        return 2;
    }
    return length == 3 && strncmp(range, "*/*", 3) == 0;
}

/* The weight that the header gives to one type: its most specific range decides. */
static int header_weight(const char *header, const char *type)
{
    int best_fit = 0, weight = 0;
    for (const char *s = header; *s;) {
        s = skip_space(s);
        const char *end = element_end(s);
        int fit = range_fits(s, strcspn(s, ",; \t"), type);
        if (fit > best_fit) {
            best_fit = fit;
            weight = element_weight(s, end);
        }
        s = *end ? end + 1 : end;
    }
    return weight;
}

int accept_choose(const char *header, const char *const types[], int max)
{
    if (!header || !*skip_space(header)) {
        return 0;
    }
    int best = -1, best_weight = 0;
    for (int i = 0; i < max && types[i]; i++) {
        int weight = header_weight(header, types[i]);
        if (weight > best_weight) {
            best = i;
            best_weight = weight;
        }
    }
    return best;
}

bool accept_takes_gzip(const char *header)
{
    int gzip = -1, any = -1;
    for (const char *s = header ? header : ""; *s;) {
        s = skip_space(s);
        const char *end = element_end(s);
        size_t length = strcspn(s, ",; \t");
        if ((length == 4 && strncasecmp(s, "gzip", 4) == 0) ||
            (length == 6 && strncasecmp(s, "x-gzip", 6) == 0)) {
            gzip = element_weight(s, end);
        } else if (length == 1 && *s == '*') {
            any = element_weight(s, end);
        }
        s = *end ? end + 1 : end;
    }
    return gzip >= 0 ? gzip > 0 : any > 0;
}

bool accept_is_json_body(const char *content_type)
{
    if (!content_type) {
        return true;
    }
    const char *s = skip_space(content_type);
    size_t length = strcspn(s, "; \t");
    bool json = (length == 16 && strncasecmp(s, "application/json", 16) == 0) ||
                (length == 33 && strncasecmp(s, "application/x-www-form-urlencoded", 33) == 0) ||
                (length > 17 && strncasecmp(s, "application/", 12) == 0 &&
                 strncasecmp(s + length - 5, "+json", 5) == 0);
    if (!json) {
        return false;
    }
    for (s = strchr(s, ';'); s; s = strchr(s, ';')) {
        s = skip_space(s + 1);
        if (strncasecmp(s, "charset=", 8) == 0) {
            const char *name = s + 8;
            name += *name == '"';
            size_t n = strcspn(name, "\"; \t");
            return (n == 5 && strncasecmp(name, "utf-8", 5) == 0) ||
                   (n == 4 && strncasecmp(name, "utf8", 4) == 0); /* as many say it */
        }
    }
    return true;
}

bool accept_is_type(const char *content_type, const char *type)
{
    const char *s = skip_space(content_type ? content_type : "");
    size_t length = strcspn(s, "; \t");
    return length == strlen(type) && strncasecmp(s, type, length) == 0;
}

/* Is the tag in the list? Weak ones count as well, or not (RFC 9110, 8.8.3.2). */
static bool list_has_etag(const char *list, const char *etag, bool takes_weak)
{
    size_t bytes = strlen(etag);
    for (const char *s = list; *s;) {
        s = skip_space(s);
        const char *end = element_end(s);
        bool is_weak = strncmp(s, "W/", 2) == 0;
        const char *tag = is_weak ? s + 2 : s;
        size_t length = (size_t)(end - tag);
        while (length > 0 && (tag[length - 1] == ' ' || tag[length - 1] == '\t')) {
            length--;
        }
        bool is_it = length > 0 && length == bytes && strncmp(tag, etag, bytes) == 0;
        if ((length == 1 && *tag == '*') || (is_it && (takes_weak || !is_weak))) {
            return true;
        }
        s = *end ? end + 1 : end;
    }
    return false;
}

bool accept_etag_matches(const char *header, const char *etag)
{
    return header && list_has_etag(header, etag, true);
}

bool accept_etag_is(const char *header, const char *etag)
{
    return list_has_etag(header, etag, false);
}

bool accept_lists_only(const char *header, const char *token)
{
    size_t bytes = strlen(token);
    for (const char *s = header; *s;) {
        s = skip_space(s);
        size_t length = strcspn(s, ",");
        size_t trimmed = length;
        while (trimmed > 0 && (s[trimmed - 1] == ' ' || s[trimmed - 1] == '\t')) {
            trimmed--;
        }
        if (trimmed > 0 && (trimmed != bytes || strncasecmp(s, token, bytes) != 0)) {
            return false;
        }
        s += length + (s[length] == ',');
    }
    return true;
}
