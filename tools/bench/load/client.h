/*
 * One keep-alive HTTP/1.1 connection of the load generator: POST a body, check the answer, again.
 *
 * Strict: an answer must have one valid Content-Length, no transfer coding, and a body that is what
 * its Content-Type says (application/json: an object and a line feed; image/png: a PNG's beginning
 * and end). Anything else is an error, which closes the connection.
 *
 * The owner embeds the struct; everything happens on its loop's thread.
 */
#ifndef TOOLS_BENCH_LOAD_CLIENT_H
#define TOOLS_BENCH_LOAD_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define CLIENT_MAX_HEAD 4096
#define CLIENT_ERROR (-1) /* in place of a status: no answer, or a malformed one */

enum client_state { CLIENT_CLOSED, CLIENT_CONNECTING, CLIENT_IDLE, CLIENT_WAITING, CLIENT_CLOSING };

struct client {
    enum client_state state;
    uv_loop_t *loop;
    struct sockaddr_in address;
    /* The request was answered with `status`, or failed. The client is idle or closed then and
     * takes the next request. */
    void (*done)(struct client *client, int status);
    void *owner;

    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    const char *request; /* the whole of it, borrowed until done() */
    size_t request_bytes;
    bool has_request;
    bool is_writing;

    char head[CLIENT_MAX_HEAD];
    size_t head_bytes;
    bool in_body;
    int status;
    uint32_t retry_after_s; /* 0: not said */
    bool keeps_alive, is_png;
    uint64_t body_bytes, body_received;
    uint8_t first[8], last[8]; /* of the body */
    char buffer[65536];
};

void client_init(struct client *c, uv_loop_t *loop, const struct sockaddr_in *address,
                 void (*done)(struct client *client, int status), void *owner);

/* Send a request on an idle or closed client; connects where it must. done() is called later, never
 * from within. */
void client_send(struct client *c, const char *request, size_t bytes);

/* Close without a word; done() is not called. The memory is free when the loop has run. */
void client_close(struct client *c);

#endif
