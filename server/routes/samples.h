/*
 * A request that waits for its drawing: made by a handler, gone with the answer or with the client.
 * Loop thread only.
 */
#ifndef SERVER_ROUTES_SAMPLES_H
#define SERVER_ROUTES_SAMPLES_H

#include "server/base/alarm.h"
#include "server/drawing/cache.h"
#include "server/drawing/drawing.h"
#include "server/drawing/gate.h"
#include "server/http/request.h"

struct sample {
    struct observer observer; /* first */
    struct ticket ticket;
    struct cache_flight flight; /* of a GET that others may join */
    bool is_collapsed;          /* it joined another */
    struct request *request;
    const struct form *form;
    bool is_get;
    struct alarm alarm; /* when the client wants a job instead of waiting on */
    uint32_t wait_s;
    char etag[IMAGE_ETAG_BYTES]; /* "" without one */
};

/* Have it drawn, with the request suspended until it is answered in `form`, or refuse it; with
 * wait_s the client gets a job after so many seconds. Takes `params` over. */
void samples_start(struct request *r, struct sample_params *params, const struct form *form,
                   bool is_get, const char *etag, uint32_t wait_s);

#endif
