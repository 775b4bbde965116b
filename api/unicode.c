#include "api/unicode.h"

#include <assert.h>
#include <string.h>

size_t unicode_length(const char *s, size_t bytes)
{
    const unsigned char *u = (const unsigned char *)s;
    if (u[0] < 0x80) {
        return 1;
    }
    /* RFC 3629 part 4: the second byte's range is what excludes overlong forms and surrogates. */
    size_t n;
    unsigned char low = 0x80, high = 0xbf;
    if (u[0] >= 0xc2 && u[0] <= 0xdf) {
        n = 2;
    } else if (u[0] >= 0xe0 && u[0] <= 0xef) {
        n = 3;
        low = u[0] == 0xe0 ? 0xa0 : low;
        high = u[0] == 0xed ? 0x9f : high;
    } else if (u[0] >= 0xf0 && u[0] <= 0xf4) {
        n = 4;
        low = u[0] == 0xf0 ? 0x90 : low;
        high = u[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (bytes < n || u[1] < low || u[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if (u[i] < 0x80 || u[i] > 0xbf) {
            return 0;
        }
    }
    return n;
}

uint32_t unicode_code(const char *s, size_t n)
{
    static const uint8_t first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = (uint8_t)s[0] & first_bits[n];
    for (size_t i = 1; i < n; i++) {
        code = code << 6 | ((uint8_t)s[i] & 0x3f);
    }
    return code;
}

bool unicode_is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x61c || code == 0x200e ||
           code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

bool unicode_valid(const char *s, size_t bytes)
{
    while (bytes > 0) {
        size_t n = unicode_length(s, bytes);
        if (n == 0) {
            return false;
        }
        s += n;
        bytes -= n;
    }
    return true;
}

void unicode_copy(char *out, size_t size, const char *s)
{
    assert(size > 4);
    size_t bytes = strlen(s);
    if (bytes < size) {
        memcpy(out, s, bytes + 1);
        return;
    }
    size_t used = 0;
    for (;;) {
        size_t n = unicode_length(s + used, bytes - used);
        if (n == 0 || used + n > size - 4) {
            break;
        }
        used += n;
    }
    memcpy(out, s, used);
    memcpy(out + used, "...", 4);
}
