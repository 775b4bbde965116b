/*
 * Where one message ends and the next begins (RFC 9112), read strictly: a second reader of the
 * bytes that a connection receives, beside the HTTP library's. What two readers could understand in
 * two ways, such as a proxy and this server, is a fault: lengths and codings that contradict each
 * other, names that are no tokens, control characters, folded lines, chunks without their line
 * ends, no host or two.
 *
 * A plain value, one for each connection; it looks and changes nothing. Any thread.
 */
#ifndef API_FRAMING_H
#define API_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAMING_NAME_BYTES 24   /* of the longest name that matters here, and its end */
#define FRAMING_VALUE_BYTES 264 /* a host has at most 255 bytes, and a port */

enum framing_state {
    FRAMING_START, /* before a request line: empty lines are passed over */
    FRAMING_LINE,
    FRAMING_NAME,
    FRAMING_VALUE,
    FRAMING_BODY,
    FRAMING_CHUNK_SIZE,
    FRAMING_CHUNK_EXTENSION,
    FRAMING_CHUNK_DATA,
    FRAMING_CHUNK_END
};

struct framing {
    enum framing_state state;
    uint64_t n_bytes;    /* seen */
    uint64_t n_messages; /* that have ended */
    const char *fault; /* of the message after those, as text; NULL: none. Nothing is read then. */

    bool after_cr, in_trailer;
    char name[FRAMING_NAME_BYTES], value[FRAMING_VALUE_BYTES];
    size_t name_bytes, value_bytes, n_spaces, line_bytes;
    char version[9];
    unsigned n_hosts, n_lengths, n_codings;
    uint64_t length; /* of the body, or of the chunk: what is still to come */
    unsigned n_digits;
};

/* Read on. After a fault the rest is not looked at. */
void framing_read(struct framing *f, const char *bytes, size_t n);

/* Is it such a fault that there is no request to speak of: a line that is none, a length that is no
 * number? */
bool framing_is_unreadable(const struct framing *f);

/* Is it a host as in a URL, and maybe a port: what a Host field may hold? */
bool framing_host_is_valid(const char *host, size_t bytes);

#endif
