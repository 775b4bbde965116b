/*
 * The routes that draw and answer with what was drawn. Loop thread only.
 */
#ifndef SERVER_ROUTES_SAMPLES_H
#define SERVER_ROUTES_SAMPLES_H

#include "server/drawing/drawing.h"
#include "server/http/request.h"

/* Have it drawn, with the request suspended until it is answered in `form`, or refuse it; with
 * wait_s the client gets a job after so many seconds. Takes `params` over. */
void samples_start(struct request *r, struct sample_params *params, const struct form *form,
                   bool is_get, const char *etag, uint32_t wait_s);

/* POST /v1/samples */
void samples_create(struct request *r);

/* GET /v1/samples/{label}.png and .apng */
void samples_get_picture(struct request *r);

#endif
