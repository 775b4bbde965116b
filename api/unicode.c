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
