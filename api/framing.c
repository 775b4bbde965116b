#include "api/framing.h"

#include <string.h>
#include <strings.h>

#define MAX_EXTENSION_BYTES 1024 /* of one chunk; they mean nothing here */
#define MAX_SIZE_DIGITS 16
#define DIGITS "0123456789"

static const char bad_line[] = "The request line is not METHOD TARGET HTTP/1.1.";
static const char bad_end[] = "A line does not end with CR LF.";
static const char bad_name[] = "The name of a header field is not a token followed by a colon.";
static const char bad_fold[] = "A header field is folded over several lines.";
static const char bad_value[] = "A header field has a control character in its value.";
static const char bad_length[] = "Content-Length is not one decimal number.";
static const char two_lengths[] = "There is more than one Content-Length.";
static const char bad_coding[] = "Transfer-Encoding is not chunked, once and alone.";
static const char old_coding[] = "HTTP/1.0 has no Transfer-Encoding.";
static const char both[] = "Content-Length and Transfer-Encoding contradict each other.";
static const char bad_chunk[] = "A chunk of the body is malformed.";
static const char bad_trailer[] = "A trailer field is about the message's framing.";
static const char no_host[] = "HTTP/1.1 requires a Host.";
static const char two_hosts[] = "There is more than one Host.";
static const char bad_host[] = "Host is not a host and maybe a port.";

static void fail(struct framing *f, const char *fault)
{
    f->fault = fault;
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_token(char c)
{
    return is_alphanumeric(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool framing_is_unreadable(const struct framing *f)
{
    return f->fault == bad_line || f->fault == bad_length;
}

bool framing_host_is_valid(const char *host, size_t bytes)
{
    const char *end = host + bytes, *at = host;
    if (at < end && *at == '[') {
        for (at++; at < end && *at != ']'; at++) {
            if (hex_digit(*at) < 0 && *at != ':' && *at != '.') {
                return false;
            }
        }
        if (at == end) {
            return false;
        }
        at++;
    } else {
        while (at < end && *at && (is_alphanumeric(*at) || strchr("-._~%!$&'()*+,;=", *at))) {
            at++;
        }
    }
    if (at < end && *at++ != ':') {
        return false;
    }
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    return at == end;
}

/* ---- messages ------------------------------------------------------------------------------- */

static void end_message(struct framing *f)
{
    *f = (struct framing){.n_bytes = f->n_bytes, .n_messages = f->n_messages + 1};
}

static void begin_chunk(struct framing *f)
{
    f->state = FRAMING_CHUNK_SIZE;
    f->length = f->n_digits = 0;
    f->line_bytes = 0;
}

static void end_head(struct framing *f)
{
    bool is_new = strcmp(f->version, "HTTP/1.0") != 0;
    if (f->n_codings && f->n_lengths) {
        fail(f, both);
    } else if (f->n_codings && !is_new) {
        fail(f, old_coding);
    } else if (is_new && f->n_hosts == 0) {
        fail(f, no_host);
    } else if (f->n_codings) {
        begin_chunk(f);
    } else if (f->length) {
        f->state = FRAMING_BODY;
    } else {
        end_message(f);
    }
}

/* ---- fields --------------------------------------------------------------------------------- */

static bool name_is(const struct framing *f, const char *name)
{
    return f->name_bytes == strlen(name) && strncasecmp(f->name, name, f->name_bytes) == 0;
}

static void take_length(struct framing *f)
{
    if (f->n_lengths++) {
        fail(f, two_lengths);
        return;
    }
    /* 18 digits are beyond any body. One with more is left to the library, which says that it is
     * too large. */
    for (size_t i = 0; i < f->value_bytes; i++) {
        if (f->value[i] < '0' || f->value[i] > '9') {
            fail(f, bad_length);
            return;
        }
        f->length = f->length > UINT64_MAX / 10 - 9
                        ? UINT64_MAX / 10 - 9
                        : 10 * f->length + (uint64_t)(f->value[i] - '0');
    }
    if (f->value_bytes == 0) {
        fail(f, bad_length);
    }
}

static void end_field(struct framing *f)
{
    bool is_length = name_is(f, "Content-Length"), is_coding = name_is(f, "Transfer-Encoding"),
         is_host = name_is(f, "Host");
    size_t whole_bytes = f->value_bytes;
    while (f->value_bytes > 0 && strchr(" \t", f->value[f->value_bytes - 1])) {
        f->value_bytes--;
    }
    if (f->in_trailer && (is_length || is_coding || is_host)) {
        fail(f, bad_trailer);
    } else if ((is_length || is_coding) && f->value_bytes < whole_bytes) {
        fail(f, is_length ? bad_length : bad_coding); /* a blank behind it, which not all trim */
    } else if (is_length) {
        take_length(f);
    } else if (is_coding && (f->n_codings++ || f->value_bytes != 7 ||
                             strncasecmp(f->value, "chunked", 7) != 0)) {
        fail(f, bad_coding);
    } else if (is_host && f->n_hosts++) {
        fail(f, two_hosts);
    } else if (is_host && !framing_host_is_valid(f->value, f->value_bytes)) {
        fail(f, bad_host);
    }
    f->name_bytes = f->value_bytes = 0;
    f->state = FRAMING_NAME;
}

/* ---- lines ---------------------------------------------------------------------------------- */

static void end_request_line(struct framing *f)
{
    const char *v = f->version; /* one that is unknown is the library's to refuse */
    bool is_version = f->line_bytes == 8 && strncmp(v, "HTTP/", 5) == 0 && strchr(DIGITS, v[5]) &&
                      v[6] == '.' && strchr(DIGITS, v[7]);
    if (f->n_spaces != 2 || !is_version) {
        fail(f, bad_line);
    }
    f->state = FRAMING_NAME;
}

/* Of a request line only its parts count: what method and target say is checked elsewhere. */
static void read_request_line(struct framing *f, char c)
{
    if (is_control(c)) {
        fail(f, bad_line);
    } else if (c == ' ') {
        if (f->line_bytes == 0) { /* an empty part */
            fail(f, bad_line);
        }
        f->n_spaces++;
        f->line_bytes = 0;
        memset(f->version, 0, sizeof f->version);
    } else {
        if (f->line_bytes < sizeof f->version - 1) {
            f->version[f->line_bytes] = c;
        } else if (f->n_spaces == 2) {
            fail(f, bad_line);
        }
        f->line_bytes++;
    }
}

static void read_name(struct framing *f, char c)
{
    if (c == ':' && f->name_bytes > 0) {
        f->state = FRAMING_VALUE;
    } else if (f->name_bytes == 0 && (c == ' ' || c == '\t')) {
        fail(f, bad_fold);
    } else if (!is_token(c)) {
        fail(f, bad_name);
    } else {
        if (f->name_bytes < sizeof f->name) {
            f->name[f->name_bytes] = c;
        }
        f->name_bytes += f->name_bytes < sizeof f->name; /* a longer one is none that counts */
    }
}

static void read_value(struct framing *f, char c)
{
    if (is_control(c) && c != '\t') {
        fail(f, bad_value);
    } else if (f->value_bytes == 0 && (c == ' ' || c == '\t')) {
        return;
    } else if (f->value_bytes < sizeof f->value) {
        f->value[f->value_bytes++] = c;
    }
}

static void read_chunk_size(struct framing *f, char c)
{
    int digit = hex_digit(c);
    if (digit >= 0 && f->n_digits < MAX_SIZE_DIGITS && f->length < UINT64_MAX >> 8) {
        f->n_digits++;
        f->length = 16 * f->length + (uint64_t)digit;
    } else if (c == ';' && f->n_digits > 0) {
        f->state = FRAMING_CHUNK_EXTENSION;
    } else {
        fail(f, bad_chunk);
    }
}

static void read_chunk_extension(struct framing *f, char c)
{
    if ((is_control(c) && c != '\t') || ++f->line_bytes > MAX_EXTENSION_BYTES) {
        fail(f, bad_chunk);
    }
}

static void end_chunk_line(struct framing *f)
{
    if (f->state == FRAMING_CHUNK_END) {
        begin_chunk(f);
    } else if (f->n_digits == 0) {
        fail(f, bad_chunk);
    } else if (f->length > 0) {
        f->state = FRAMING_CHUNK_DATA;
    } else {
        f->in_trailer = true;
        f->state = FRAMING_NAME;
    }
}

static void end_line(struct framing *f)
{
    switch (f->state) {
    case FRAMING_START:
        break;
    case FRAMING_LINE:
        end_request_line(f);
        break;
    case FRAMING_NAME:
        if (f->name_bytes > 0) {
            fail(f, bad_name);
        } else if (f->in_trailer) {
            end_message(f);
        } else {
            end_head(f);
        }
        break;
    case FRAMING_VALUE:
        end_field(f);
        break;
    case FRAMING_CHUNK_SIZE:
    case FRAMING_CHUNK_EXTENSION:
    case FRAMING_CHUNK_END:
        end_chunk_line(f);
        break;
    case FRAMING_BODY:
    case FRAMING_CHUNK_DATA:
        break;
    }
}

static void read_in_line(struct framing *f, char c)
{
    switch (f->state) {
    case FRAMING_START:
        f->state = FRAMING_LINE;
        read_request_line(f, c);
        break;
    case FRAMING_LINE:
        read_request_line(f, c);
        break;
    case FRAMING_NAME:
        read_name(f, c);
        break;
    case FRAMING_VALUE:
        read_value(f, c);
        break;
    case FRAMING_CHUNK_SIZE:
        read_chunk_size(f, c);
        break;
    case FRAMING_CHUNK_EXTENSION:
        read_chunk_extension(f, c);
        break;
    case FRAMING_CHUNK_END:
        fail(f, bad_chunk);
        break;
    case FRAMING_BODY:
    case FRAMING_CHUNK_DATA:
        break;
    }
}

/* In a head a lone LF ends a line as well (RFC 9112, 2.2); in a chunked body it does not. */
static bool takes_lone_lf(const struct framing *f)
{
    return f->state <= FRAMING_VALUE && !f->in_trailer;
}

static void read_byte(struct framing *f, char c)
{
    if (c == '\n') {
        if (!f->after_cr && !takes_lone_lf(f)) {
            fail(f, f->in_trailer ? bad_end : bad_chunk);
            return;
        }
        f->after_cr = false;
        end_line(f);
    } else if (f->after_cr) {
        fail(f, bad_end);
    } else if (c == '\r') {
        f->after_cr = true;
    } else {
        read_in_line(f, c);
    }
}

void framing_read(struct framing *f, const char *bytes, size_t n)
{
    f->n_bytes += n;
    while (n > 0 && !f->fault) {
        if (f->state == FRAMING_BODY || f->state == FRAMING_CHUNK_DATA) {
            size_t taken = n < f->length ? n : (size_t)f->length;
            f->length -= taken;
            bytes += taken;
            n -= taken;
            if (f->length == 0 && f->state == FRAMING_CHUNK_DATA) {
                f->state = FRAMING_CHUNK_END;
            } else if (f->length == 0) {
                end_message(f);
            }
        } else {
            read_byte(f, *bytes++);
            n--;
        }
    }
}
