/*
 * Why a request's images are not drawn. Loop thread only.
 */
#ifndef SERVER_DRAWING_REFUSAL_H
#define SERVER_DRAWING_REFUSAL_H

#include <stdint.h>

#include "api/problem.h"
#include "server/drawing/studio.h"

enum refusal_kind {
    REFUSED_NO_MEMORY,
    REFUSED_QUEUE_FULL,
    REFUSED_QUEUE_PART,
    REFUSED_FRAMES_FULL,
    REFUSED_CLAIMS_FULL,
    REFUSED_DRAINING,
    REFUSED_JOBS_FULL,
    REFUSED_JOBS_PART
};

struct refusal {
    struct problem problem;
    uint32_t retry_after_s; /* 0: the answer has the header of its problem, if any */
};

/* Refuse for a want of room, and count it. */
void refusal_set(struct refusal *refusal, const struct studio *studio, enum refusal_kind why);

#endif
