#include "tools/bench/load/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void client_end(struct client *c, int status)
{
    c->has_request = false;
    c->done(c, status);
}

static void on_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    c->state = CLIENT_CLOSED;
    if (c->has_request) {
        client_end(c, c->status);
    }
}

/* Close, then report `status` for the request if there is one. */
static void client_drop(struct client *c, int status)
{
    if (c->state != CLIENT_CLOSING && c->state != CLIENT_CLOSED) {
        c->state = CLIENT_CLOSING;
        c->status = status;
        uv_close((uv_handle_t *)&c->tcp, on_closed);
    }
}

/* ---- the answer's head ---------------------------------------------------------------------- */

/* The value of the only header of that name, NULL where there is none or several. */
static const char *find_header(const char *head, const char *name, char *value, size_t bytes)
{
    const char *found = NULL;
    size_t length = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line && line[2];
         line = strstr(line + 2, "\r\n")) {
        const char *at = line + 2;
        if (strncasecmp(at, name, length) != 0 || at[length] != ':') {
            continue;
        }
        at += length + 1;
        at += strspn(at, " \t");
        size_t n = strcspn(at, "\r");
        if (found || n >= bytes) {
            return NULL;
        }
        memcpy(value, at, n);
        value[n] = '\0';
        found = value;
    }
    return found;
}

static int parse_head(struct client *c)
{
    char value[128];
    const char *head = c->head;
    if (strncmp(head, "HTTP/1.1 ", 9) != 0 || strspn(head + 9, "0123456789") != 3 ||
        head[12] != ' ') {
        return -1;
    }
    c->status = atoi(head + 9);
    if (c->status < 200 || find_header(head, "Transfer-Encoding", value, sizeof value)) {
        return -1;
    }
    const char *length = find_header(head, "Content-Length", value, sizeof value);
    if (!length || !*length || strlen(length) > 12 ||
        strspn(length, "0123456789") != strlen(length)) {
        return -1;
    }
    c->body_bytes = strtoull(length, NULL, 10);
    const char *connection = find_header(head, "Connection", value, sizeof value);
    c->keeps_alive = !connection || strcasecmp(connection, "close") != 0;
    const char *retry = find_header(head, "Retry-After", value, sizeof value);
    bool is_number = retry && strlen(retry) < 9 && strspn(retry, "0123456789") == strlen(retry);
    c->retry_after_s = is_number ? (uint32_t)atoi(retry) : 0;
    const char *type = find_header(head, "Content-Type", value, sizeof value);
    c->is_png = type && strcmp(type, "image/png") == 0;
    return c->is_png || (type && strstr(type, "json")) ? 0 : -1;
}

/* ---- the answer's body ---------------------------------------------------------------------- */

static void take_body(struct client *c, const char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes && c->body_received + i < sizeof c->first; i++) {
        c->first[c->body_received + i] = (uint8_t)data[i];
    }
    size_t n = bytes < sizeof c->last ? bytes : sizeof c->last;
    memmove(c->last, c->last + n, sizeof c->last - n);
    memcpy(c->last + sizeof c->last - n, data + bytes - n, n);
    c->body_received += bytes;
}

static bool body_is_sound(const struct client *c)
{
    static const uint8_t png_first[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    static const uint8_t png_last[8] = {'I', 'E', 'N', 'D', 0xAE, 0x42, 0x60, 0x82};
    if (c->body_bytes < 8) {
        return false;
    }
    if (c->is_png) {
        return memcmp(c->first, png_first, 8) == 0 && memcmp(c->last, png_last, 8) == 0;
    }
    return c->first[0] == '{' && memcmp(c->last + 6, "}\n", 2) == 0;
}

/* Returns 0, or -1 for what is no answer to our request. */
static int client_receive(struct client *c, const char *data, size_t bytes)
{
    if (c->state != CLIENT_WAITING) {
        return -1; /* nobody asked */
    }
    if (!c->in_body) {
        size_t room = CLIENT_MAX_HEAD - c->head_bytes, n = bytes < room ? bytes : room;
        memcpy(c->head + c->head_bytes, data, n);
        char *end = memmem(c->head, c->head_bytes + n, "\r\n\r\n", 4);
        if (!end) {
            c->head_bytes += n;
            return c->head_bytes < CLIENT_MAX_HEAD ? 0 : -1;
        }
        size_t used = (size_t)(end + 4 - c->head) - c->head_bytes;
        data += used;
        bytes -= used;
        c->in_body = true;
        end[2] = '\0';
        if (strlen(c->head) != (size_t)(end + 2 - c->head) || parse_head(c) != 0) {
            return -1;
        }
    }
    if (bytes > c->body_bytes - c->body_received) {
        return -1;
    }
    take_body(c, data, bytes);
    if (c->body_received < c->body_bytes) {
        return 0;
    }
    if (!body_is_sound(c)) {
        return -1;
    }
    if (!c->keeps_alive) {
        client_drop(c, c->status);
    } else if (!c->is_writing) {
        c->state = CLIENT_IDLE;
        client_end(c, c->status);
    } else {
        return -1; /* answered before it was asked */
    }
    return 0;
}

/* ---- libuv ---------------------------------------------------------------------------------- */

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct client *c = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(c->buffer, sizeof c->buffer);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct client *c = stream->data;
    if (n < 0 || (n > 0 && client_receive(c, buffer->base, (size_t)n) != 0)) {
        client_drop(c, CLIENT_ERROR);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct client *c = write->data;
    c->is_writing = false;
    if (status != 0) {
        client_drop(c, CLIENT_ERROR);
    }
}

static void client_write(struct client *c)
{
    c->state = CLIENT_WAITING;
    c->head_bytes = c->body_received = c->body_bytes = 0;
    c->in_body = false;
    c->is_writing = true;
    c->write.data = c;
    /* The buffer is only read. */
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)c->request, (unsigned)c->request_bytes);
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buffer, 1, on_written) != 0) {
        c->is_writing = false;
        client_drop(c, CLIENT_ERROR);
    }
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct client *c = connect->data;
    if (status != 0 || uv_read_start((uv_stream_t *)&c->tcp, on_allocate, on_read) != 0) {
        client_drop(c, CLIENT_ERROR);
    } else {
        client_write(c);
    }
}

void client_init(struct client *c, uv_loop_t *loop, const struct sockaddr_in *address,
                 void (*done)(struct client *client, int status), void *owner)
{
    c->state = CLIENT_CLOSED;
    c->loop = loop;
    c->address = *address;
    c->done = done;
    c->owner = owner;
    c->has_request = c->is_writing = false;
}

void client_send(struct client *c, const char *request, size_t bytes)
{
    assert(c->state == CLIENT_CLOSED || c->state == CLIENT_IDLE);
    c->request = request;
    c->request_bytes = bytes;
    c->has_request = true;
    if (c->state == CLIENT_IDLE) {
        client_write(c);
        return;
    }
    uv_tcp_init(c->loop, &c->tcp);
    uv_tcp_nodelay(&c->tcp, 1);
    c->tcp.data = c;
    c->connect.data = c;
    c->state = CLIENT_CONNECTING;
    if (uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&c->address, on_connected) !=
        0) {
        client_drop(c, CLIENT_ERROR);
    }
}

void client_close(struct client *c)
{
    c->has_request = false;
    client_drop(c, CLIENT_ERROR);
}
