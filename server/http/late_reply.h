/*
 * The answer to a request that did not arrive in time. Loop thread only.
 */
#ifndef SERVER_HTTP_LATE_REPLY_H
#define SERVER_HTTP_LATE_REPLY_H

struct connection;

/* Send it past the library, which cannot answer what it has not got whole. */
void late_reply_send(const struct connection *c);

#endif
