/*
 * The admin listener: a second one, of this machine alone, on which models are loaded, activated
 * and unloaded. Loop thread only.
 *
 * Its address is its protection: a Unix socket belongs to the daemon's user alone, and a port is
 * one of loopback. It answers no pages of browsers.
 */
#ifndef SERVER_ROUTES_ADMIN_H
#define SERVER_ROUTES_ADMIN_H

#include <stddef.h>

struct server;
struct request;

/* Listen at the socket that was passed for it, or where --admin-listen says, if any. Returns 0, or
 * -1 with a message. */
int admin_open(struct server *server, char *error, size_t error_bytes);

void admin_discover(struct request *r);
void admin_list_models(struct request *r);
void admin_load_model(struct request *r);
void admin_activate_model(struct request *r);
void admin_unload_model(struct request *r);

#endif
