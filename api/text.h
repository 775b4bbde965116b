/*
 * A growing piece of text, and JSON written into it.
 *
 * A failed allocation is remembered, later calls do nothing, and text_take() then returns NULL: one
 * check at the end serves a whole document. Any thread; one text belongs to one thread at a time.
 */
#ifndef API_TEXT_H
#define API_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *bytes; /* owned, terminated, NULL while empty */
    size_t length;
    size_t capacity;
    bool failed;
};

#define TEXT_INIT                                                                                  \
    {                                                                                              \
        NULL, 0, 0, false                                                                          \
    }

/* Append `bytes` bytes of `data`. */
void text_append(struct text *t, const char *data, size_t bytes);

/* Append a terminated string. */
void text_puts(struct text *t, const char *s);

/* Append formatted text. */
__attribute__((format(printf, 2, 3))) void text_printf(struct text *t, const char *format, ...);

/* Append `s` as a JSON string with its quotes. What unicode_is_control() finds is escaped, and a
 * byte that is not UTF-8 becomes U+FFFD. */
void text_json_string(struct text *t, const char *s);

/* The same for people: no quotes, and quotes and backslashes stay as they are. */
void text_shown(struct text *t, const char *s);

/* Is `s` UTF-8 without anything that text_shown() escapes? */
bool text_is_plain(const char *s);

/* Append the shortest decimal that reads back as the same finite number. */
void text_json_number(struct text *t, double number);

/* Append `data` in base64 (RFC 4648 part 4, padded), without quotes. */
void text_base64(struct text *t, const uint8_t *data, size_t bytes);

/* Hand the text over: the caller frees. NULL when memory ran out on the way. `length` may be NULL.
 */
char *text_take(struct text *t, size_t *length);

/* Forget the text. */
void text_free(struct text *t);

#endif
