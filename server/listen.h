/*
 * The listening socket: HOST:PORT (IPv4, [IPv6], a name, or nothing for all addresses; port 0 picks
 * a free one) or unix:PATH. Start-up only; looking up a name may block.
 */
#ifndef SERVER_LISTEN_H
#define SERVER_LISTEN_H

#include <stdbool.h>

#define LISTEN_URL_BYTES 160

struct listener {
    int fd;
    bool is_local;              /* only this machine can connect */
    char url[LISTEN_URL_BYTES]; /* "http://127.0.0.1:8080" or "unix:PATH", as it really is */
    char unix_path[108];        /* to be removed at the end, or "" */
};

/* Bind and listen. A stale Unix socket that nobody listens on is replaced. Returns 0, or -1 with a
 * message in `error`. */
int listen_open(struct listener *l, const char *address, char *error, unsigned long error_bytes);

/* Remove the Unix socket's name. The descriptor is the HTTP library's to close. */
void listen_close(struct listener *l);

#endif
