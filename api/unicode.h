/*
 * UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. Any thread.
 */
#ifndef API_UNICODE_H
#define API_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the well-formed character that starts at `s` (`bytes` > 0 are there), or 0. */
size_t unicode_length(const char *s, size_t bytes);

/* Is all of it well-formed? */
bool unicode_valid(const char *s, size_t bytes);

/* The code point of the well-formed character of `n` bytes at `s`. */
uint32_t unicode_code(const char *s, size_t n);

/* Is it one that is not seen and may change how others are shown? Controls (C0, DEL, C1), line and
 * paragraph separators, marks of writing direction. */
bool unicode_is_control(uint32_t code);

/* Copy at most `size` - 1 bytes of well-formed `s`, cut between characters; a cut ends in "...". */
void unicode_copy(char *out, size_t size, const char *s);

#endif
