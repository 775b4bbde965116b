#include "api/trace_context.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Lower-case hexadecimal only: the standard says so. */
static bool take_hex(char *out, const char **at, size_t digits)
{
    if (strspn(*at, "0123456789abcdef") < digits) {
        return false;
    }
    memcpy(out, *at, digits);
    out[digits] = '\0';
    *at += digits;
    return true;
}

static bool take_dash(const char **at)
{
    return *(*at)++ == '-';
}

int trace_context_parse(struct trace_context *t, const char *header)
{
    char version[3];
    *t = (struct trace_context){.flags = ""};
    if (!header) {
        return -1;
    }
    const char *at = header + strspn(header, " \t");
    bool ok = take_hex(version, &at, 2) && take_dash(&at) && take_hex(t->trace_id, &at, 32) &&
              take_dash(&at) && take_hex(t->span_id, &at, 16) && take_dash(&at) &&
              take_hex(t->flags, &at, 2);
    /* Version 0 ends here; later ones may go on after a dash. */
    ok = ok && strcmp(version, "ff") != 0 &&
         (at[strspn(at, " \t")] == '\0' || (*at == '-' && strcmp(version, "00") != 0));
    ok = ok && strspn(t->trace_id, "0") < 32 && strspn(t->span_id, "0") < 16;
    if (!ok) {
        *t = (struct trace_context){.flags = ""};
    }
    return ok ? 0 : -1;
}

void trace_context_continue(struct trace_context *t, uint64_t random)
{
    snprintf(t->span_id, sizeof t->span_id, "%016" PRIx64, random);
}

void trace_context_format(char out[TRACEPARENT_BYTES], const struct trace_context *t)
{
    snprintf(out, TRACEPARENT_BYTES, "00-%s-%s-%s", t->trace_id, t->span_id, t->flags);
}
