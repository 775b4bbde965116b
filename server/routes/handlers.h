/*
 * What each route does. Loop thread only.
 */
#ifndef SERVER_ROUTES_HANDLERS_H
#define SERVER_ROUTES_HANDLERS_H

#include "server/http/http_context.h"

/* Every route's, for all listeners. */
extern const struct http_handlers route_handlers;

#endif
