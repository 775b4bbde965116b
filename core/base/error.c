#include "core/base/error.h"

#include <stdio.h>
#include <string.h>

const char *dn_strerror(int code)
{
    switch (code) {
#define DN_CODE(number, name, text)                                                                \
    case number:                                                                                   \
        return text;
        DN_CODES(DN_CODE)
#undef DN_CODE
    default:
        return "unknown error";
    }
}

int dn_fail(struct dn_error *err, enum dn_code code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        err->code = code;
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return code;
}

int dn_wrap(struct dn_error *err, const char *format, ...)
{
    char inner[sizeof err->text];
    size_t used;
    va_list args;

    memcpy(inner, err->text, sizeof inner);
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, ": %s", inner);
    return err->code;
}
