#include "api/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/text.h"
#include "api/unicode.h"

struct problem_row {
    int status;
    const char *type;
    const char *title;
};

static const struct problem_row problem_rows[] = {
#define PROBLEM_ROW(name, number, slug, text) [name] = {number, "urn:denoised:problem:" slug, text},
    PROBLEM_KINDS(PROBLEM_ROW)
#undef PROBLEM_ROW
};

/* Formatted text cut to the buffer, between characters. */
__attribute__((format(printf, 3, 0))) static void problem_format(char *out, size_t size,
                                                                 const char *format, va_list args)
{
    char whole[1024];
    vsnprintf(whole, sizeof whole, format, args);
    unicode_copy(out, size, whole);
}

void problem_set(struct problem *p, enum problem_kind kind, const char *format, ...)
{
    p->kind = kind;
    p->n_errors = 0;
    va_list args;
    va_start(args, format);
    problem_format(p->detail, sizeof p->detail, format, args);
    va_end(args);
}

void problem_add(struct problem *p, const char *pointer, const char *format, ...)
{
    if (p->n_errors < PROBLEM_MAX_ERRORS) {
        struct problem_error *e = &p->errors[p->n_errors];
        unicode_copy(e->pointer, sizeof e->pointer, pointer);
        va_list args;
        va_start(args, format);
        problem_format(e->detail, sizeof e->detail, format, args);
        va_end(args);
    }
    p->n_errors++;
}

void problem_pointer_push(char pointer[PROBLEM_POINTER_BYTES], const char *key)
{
    struct text t = TEXT_INIT;
    text_puts(&t, pointer);
    text_puts(&t, "/");
    for (const char *at = key; *at;) {
        size_t plain = strcspn(at, "~/");
        text_append(&t, at, plain);
        at += plain;
        if (*at) {
            text_puts(&t, *at++ == '~' ? "~0" : "~1");
        }
    }
    char *whole = text_take(&t, NULL);
    if (whole) { /* out of memory: the parent's pointer is still true */
        unicode_copy(pointer, PROBLEM_POINTER_BYTES, whole);
    }
    text_free(&(struct text){.bytes = whole});
}

int problem_status(enum problem_kind kind)
{
    return problem_rows[kind].status;
}

const char *problem_type(enum problem_kind kind)
{
    return problem_rows[kind].type;
}

const char *problem_slug(enum problem_kind kind)
{
    return strrchr(problem_rows[kind].type, ':') + 1;
}

char *problem_json(const struct problem *p, const char *request_id, size_t *bytes)
{
    const struct problem_row *row = &problem_rows[p->kind];
    struct text t = TEXT_INIT;
    text_printf(&t, "{\"type\":\"%s\",\"title\":", row->type);
    text_json_string(&t, row->title);
    text_printf(&t, ",\"status\":%d,\"detail\":", row->status);
    text_json_string(&t, p->detail);
    text_puts(&t, ",\"errors\":[");
    for (size_t i = 0; i < p->n_errors && i < PROBLEM_MAX_ERRORS; i++) {
        text_puts(&t, i ? ",{\"pointer\":" : "{\"pointer\":");
        text_json_string(&t, p->errors[i].pointer);
        text_puts(&t, ",\"detail\":");
        text_json_string(&t, p->errors[i].detail);
        text_puts(&t, "}");
    }
    text_puts(&t, "],\"request_id\":");
    text_json_string(&t, request_id);
    text_puts(&t, "}\n");
    return text_take(&t, bytes);
}
