/*
 * What pages of browsers may reach without being meant to (CORS is about reading, and this about
 * asking): a page may send simple requests to any address, and by DNS rebinding be of the very host
 * that it reads. So the Host is held against a list where only this machine can connect, and
 * without API keys pages of other origins change nothing. Loop thread only.
 */
#ifndef SERVER_HTTP_ORIGIN_H
#define SERVER_HTTP_ORIGIN_H

#include <stdbool.h>

#include "server/http/request.h"

/* Is it a list of hosts without ports, of *.SUFFIX and *, with commas between? */
bool allowed_hosts_are_valid(const char *list);

/* Is the request for a host of ours? Returns 0, or -1 with the problem. */
int origin_check_host(const struct request *r, struct problem *problem);

/* Does it change something for a page of another origin, that --cors-origin does not name? Returns
 * 0, or -1 with the problem. */
int origin_check_page(const struct request *r, struct problem *problem);

#endif
