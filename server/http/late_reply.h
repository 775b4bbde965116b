/*
 * The answer to a request that does not come to its end. Loop thread only.
 */
#ifndef SERVER_HTTP_LATE_REPLY_H
#define SERVER_HTTP_LATE_REPLY_H

#include "api/problem.h"

struct connection;

/* Send it past the library, which cannot answer what it has not got whole. */
void late_reply_send(const struct connection *c, const struct problem *why);

#endif
