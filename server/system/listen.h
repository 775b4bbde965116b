/*
 * The listening socket: HOST:PORT (IPv4, [IPv6], a name, or * for all addresses; port 0 picks a
 * free one) or unix:PATH; or one that whoever started the daemon has opened for it, as
 * sd_listen_fds(3) says. Start-up only; looking up a name may block.
 *
 * A socket that was passed is not the daemon's alone: clients queue at it before the daemon starts
 * and after it has stopped, so one daemon can replace another without refusing anybody.
 */
#ifndef SERVER_SYSTEM_LISTEN_H
#define SERVER_SYSTEM_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#define LISTEN_URL_BYTES 160

struct listener {
    int fd;                           /* -1 once the HTTP library has it */
    bool is_local;                    /* only this machine can connect */
    bool is_passed;                   /* others have it as well */
    char url[LISTEN_URL_BYTES];       /* "http://127.0.0.1:8080" or "unix:PATH", as it really is */
    char unix_path[108];              /* to be removed at the end, or "" */
    uint64_t unix_device, unix_inode; /* what it was when it was bound */
};

/* Bind and listen. A stale Unix socket that nobody listens on is replaced. Returns 0, or -1 with a
 * message in `error`. */
int listen_open(struct listener *l, const char *address, char *error, unsigned long error_bytes);

/* Take the socket that was passed: the one named "admin", or the other. Returns 1, 0 when there is
 * none, or -1 with a message. */
int listen_take_passed(struct listener *l, bool is_admin, char *error, unsigned long error_bytes);

/* Remove the name of a socket of our own, if it still is ours, and close it, unless the HTTP
 * library has it. */
void listen_close(struct listener *l);

#endif
