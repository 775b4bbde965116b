/* Errors inside the engine: a negative enum dn_code, and text for a person in a caller-given
 * struct. */
#ifndef CORE_BASE_ERROR_H
#define CORE_BASE_ERROR_H

#include <stdarg.h>

#include "core/denoise.h"

/* Fill `err` (NULL allowed) and return `code`, for `return dn_fail(err, DN_EFORMAT, "...", ...)`.
 */
int dn_fail(struct dn_error *err, enum dn_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "outer: " in front of the text already in `err`; returns err's code. */
int dn_wrap(struct dn_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
