/* UTF-8 as RFC 3629 has it. */
#ifndef CORE_MODEL_UTF8_H
#define CORE_MODEL_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Well-formed UTF-8 without a NUL byte: no overlong forms, no surrogates, nothing past U+10FFFF. */
bool dn_utf8_valid(const char *text, size_t bytes);

#endif
