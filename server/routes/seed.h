/*
 * The seed of a request that has none. Loop thread only.
 */
#ifndef SERVER_ROUTES_SEED_H
#define SERVER_ROUTES_SEED_H

#include "api/params.h"
#include "server/http/request.h"

/* Give the parameters a seed if the client did not. Returns 0, or -1 with a reply made and the
 * parameters freed. */
int seed_draw(struct request *r, struct sample_params *params);

#endif
