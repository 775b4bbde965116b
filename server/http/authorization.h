/*
 * API keys in headers, and what the answers say of a key's limits. Loop thread only.
 */
#ifndef SERVER_HTTP_AUTHORIZATION_H
#define SERVER_HTTP_AUTHORIZATION_H

#include "server/clients/clients.h"
#include "server/http/request.h"

/* Find whose key the request's headers have, and keep it in r->client. Returns 0, or -1 with the
 * problem. */
int authorization_check(struct request *r, const struct clients *clients, struct problem *problem);

/* Tell the client of `r`, if it has a limit, what is left of it; and one without a key what it
 * lacks. */
void authorization_add_headers(struct request *r);

#endif
