/*
 * A request that waits for its drawing: made by a handler, gone with the answer or with the client.
 * Loop thread only.
 */
#ifndef SERVER_SAMPLES_H
#define SERVER_SAMPLES_H

#include "server/drawing.h"
#include "server/gate.h"
#include "server/request.h"

struct sample {
    struct observer observer; /* first */
    struct ticket ticket;
    struct request *request;
    const struct form *form;
    bool is_get;
    char etag[IMAGE_ETAG_BYTES]; /* "" without one */
};

#endif
