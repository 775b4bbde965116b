/*
 * What http.c and request.c share. Private to them.
 */
#ifndef SERVER_HTTP_HTTP_INTERNAL_H
#define SERVER_HTTP_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <uv.h>

#include "server/http/connection.h"

struct http {
    struct server *server;
    bool is_admin;
    struct MHD_Daemon *mhd;
    struct connection_list connections;
    uv_poll_t poll;
    uv_timer_t timer;
};

/* Let the library look at its connections in the loop's next turn: it does not wake by itself when
 * one is resumed. */
void http_wake(struct http *http);

#endif
