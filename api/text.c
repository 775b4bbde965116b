#include "api/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/unicode.h"

#define FIRST_CAPACITY 256

static bool text_reserve(struct text *t, size_t more)
{
    if (t->failed) {
        return false;
    }
    if (more > SIZE_MAX / 4 || t->length > SIZE_MAX / 4) {
        t->failed = true;
        return false;
    }
    size_t need = t->length + more + 1;
    if (need <= t->capacity) {
        return true;
    }
    size_t capacity = t->capacity ? t->capacity : FIRST_CAPACITY;
    while (capacity < need) {
        capacity *= 2;
    }
    char *bytes = realloc(t->bytes, capacity);
    if (!bytes) {
        t->failed = true;
        return false;
    }
    t->bytes = bytes;
    t->capacity = capacity;
    return true;
}

void text_append(struct text *t, const char *data, size_t bytes)
{
    if (!text_reserve(t, bytes)) {
        return;
    }
    memcpy(t->bytes + t->length, data, bytes);
    t->length += bytes;
    t->bytes[t->length] = '\0';
}

void text_puts(struct text *t, const char *s)
{
    text_append(t, s, strlen(s));
}

void text_printf(struct text *t, const char *format, ...)
{
    va_list args;
    for (size_t room = 0;;) { /* twice where it does not fit into what there is */
        if (!text_reserve(t, room)) {
            return;
        }
        room = t->capacity - t->length;
        va_start(args, format);
        int length = vsnprintf(t->bytes + t->length, room, format, args);
        va_end(args);
        if (length < 0) {
            t->failed = true;
            return;
        }
        if ((size_t)length < room) {
            t->length += (size_t)length;
            return;
        }
        room = (size_t)length;
    }
}

/* Bytes of the next character, and its code; U+FFFD, the sign for what is none, for a byte of none.
 */
static size_t next_character(uint32_t *code, const char *s, size_t bytes)
{
    size_t n = unicode_length(s, bytes);
    *code = n > 0 ? unicode_code(s, n) : 0xfffd;
    return n > 0 ? n : 1;
}

/* With controls and what is not UTF-8 as \uXXXX, and a backslash before what `also` has. */
static void put_escaped(struct text *t, const char *s, const char *also)
{
    const char *plain = s, *end = s + strlen(s); /* plain: start of what needs no escape */
    for (size_t n; s < end; s += n) {
        uint32_t code;
        n = next_character(&code, s, (size_t)(end - s));
        bool is_special = code < 0x80 && strchr(also, (char)code);
        if (code != 0xfffd && !is_special && !unicode_is_control(code)) {
            continue;
        }
        text_append(t, plain, (size_t)(s - plain));
        text_printf(t, is_special ? "\\%c" : "\\u%04x", (unsigned)code);
        plain = s + n;
    }
    text_append(t, plain, (size_t)(s - plain));
}

void text_json_string(struct text *t, const char *s)
{
    text_append(t, "\"", 1);
    put_escaped(t, s, "\"\\");
    text_append(t, "\"", 1);
}

void text_shown(struct text *t, const char *s)
{
    put_escaped(t, s, "");
}

bool text_is_plain(const char *s)
{
    size_t bytes = strlen(s);
    for (size_t n; bytes > 0; s += n, bytes -= n) {
        uint32_t code;
        n = next_character(&code, s, bytes);
        if (code == 0xfffd || unicode_is_control(code)) {
            return false;
        }
    }
    return true;
}

void text_json_number(struct text *t, double number)
{
    char decimal[40];
    if (fabs(number) < 1e15 && number == trunc(number) && !signbit(number)) {
        text_printf(t, "%llu", (unsigned long long)number);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(decimal, sizeof decimal, "%.*g", digits, number);
        if (strtod(decimal, NULL) == number) {
            break;
        }
    }
    text_puts(t, decimal);
}

void text_base64(struct text *t, const uint8_t *data, size_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    if (bytes > SIZE_MAX / 8 || !text_reserve(t, (bytes + 2) / 3 * 4)) {
        t->failed = true;
        return;
    }
    char *out = t->bytes + t->length;
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        uint32_t three = (uint32_t)data[i] << 16;
        three |= left > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        three |= left > 2 ? (uint32_t)data[i + 2] : 0;
        *out++ = digits[three >> 18];
        *out++ = digits[three >> 12 & 63];
        *out++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[three & 63] : '=';
    }
    *out = '\0';
    t->length = (size_t)(out - t->bytes);
}

char *text_take(struct text *t, size_t *length)
{
    if (!t->bytes && !t->failed) {
        text_append(t, "", 0);
    }
    char *bytes = t->failed ? NULL : t->bytes;
    if (t->failed) {
        free(t->bytes);
    }
    if (length) {
        *length = bytes ? t->length : 0;
    }
    *t = (struct text)TEXT_INIT;
    return bytes;
}

void text_free(struct text *t)
{
    free(t->bytes);
    *t = (struct text)TEXT_INIT;
}
