#include "api/prefer.h"

#include <string.h>
#include <strings.h>

#define BLANKS " \t"

/* Is the token of `bytes` bytes this name? */
static bool is_name(const char *token, size_t bytes, const char *name)
{
    return bytes == strlen(name) && strncasecmp(token, name, bytes) == 0;
}

/* Digits to the end of the preference; false for anything else or more than a day. */
static bool read_seconds(const char *s, uint32_t *seconds)
{
    size_t digits = strspn(s, "0123456789");
    uint32_t value = 0;
    for (size_t i = 0; i < digits && value <= 86400; i++) {
        value = 10 * value + (uint32_t)(s[i] - '0');
    }
    s += digits;
    s += strspn(s, BLANKS);
    *seconds = value;
    return digits > 0 && value <= 86400 && (*s == '\0' || *s == ',' || *s == ';');
}

void prefer_read(struct prefer *prefer, const char *header)
{
    *prefer = (struct prefer){.respond_async = false};
    while (header && *header) {
        header += strspn(header, BLANKS ",");
        size_t bytes = strcspn(header, BLANKS ",;=");
        const char *rest = header + bytes + strspn(header + bytes, BLANKS);
        if (is_name(header, bytes, "respond-async") && *rest != '=') {
            prefer->respond_async = true;
        } else if (is_name(header, bytes, "wait") && *rest == '=' && !prefer->has_wait) {
            rest++;
            prefer->has_wait = read_seconds(rest + strspn(rest, BLANKS), &prefer->wait_s);
            prefer->wait_s = prefer->has_wait ? prefer->wait_s : 0;
        }
        /* A quoted string may hold commas; none of ours has one. */
        bool quoted = false;
        while (*header && (quoted || *header != ',')) {
            quoted ^= *header == '"';
            header++;
        }
    }
}
