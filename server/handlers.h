/*
 * What each route does. Loop thread only.
 */
#ifndef SERVER_HANDLERS_H
#define SERVER_HANDLERS_H

#include "server/request.h"

/* Check what the headers say: route, method, media types, body. Returns 0 or -1 with *problem. */
int handlers_check(struct request *r, struct problem *problem);

/* Handle a complete request: afterwards it has a reply or is suspended. */
void handlers_run(struct request *r);

/* Why a server that is not ready is not. */
void problem_not_ready(struct problem *problem, const struct server *server);

/* The two that draw (samples.c). */
void samples_create(struct request *r);
void samples_get_png(struct request *r);

#endif
