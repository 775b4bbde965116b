#include "server/http/receive.h"

#include <stddef.h>
#include <sys/socket.h>

#include "server/http/connection.h"

static _Thread_local struct connection_list *receiving;

void receive_for(struct connection_list *list)
{
    receiving = list;
}

/* Under the name that the library calls; a header of libc may have made a macro of it. */
ssize_t receive_in_place_of_recv(int fd, void *out, size_t bytes, int flags) __asm__("recv");

__attribute__((visibility("default"))) ssize_t receive_in_place_of_recv(int fd, void *out,
                                                                        size_t bytes, int flags)
{
    ssize_t n = recvfrom(fd, out, bytes, flags, NULL, NULL);
    struct connection *c = receiving && !(flags & MSG_PEEK) ? connection_find(receiving, fd) : NULL;
    if (c && n > 0) {
        connection_received(c, out, (size_t)n);
    }
    return n;
}
