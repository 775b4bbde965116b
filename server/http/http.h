/*
 * HTTP: libmicrohttpd inside the libuv loop.
 *
 * The library has no thread of its own (see pump.h). The time limits on clients are ours (see
 * connection.h). Loop thread only.
 */
#ifndef SERVER_HTTP_HTTP_H
#define SERVER_HTTP_HTTP_H

#include "server/http/http_context.h"
#include "server/system/listen.h"

struct http;

#define HTTP_ADMIN_CONNECTIONS 8u

/* Serve a listening socket, which from now on is the library's to close: the admin's routes or all
 * others. Returns 0 or -1. */
int http_open(struct http **out, const struct http_context *context, struct listener *listener,
              bool is_admin);

/* Requests that are being received, worked on or answered. NULL has none. */
size_t http_requests(const struct http *http);

/* Let clients that connect from now on wait in the socket's queue, and give the socket up. NULL
 * allowed. */
void http_stop_accepting(struct http *http);

/* Close every connection; no request may be suspended. NULL allowed. */
void http_close(struct http *http);

/* Free what is left, once the loop has run the close callbacks. NULL allowed. */
void http_free(struct http *http);

#endif
