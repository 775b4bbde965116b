/*
 * What it takes to have images drawn, and how much of it is in use. The server owns one. Loop
 * thread only.
 */
#ifndef SERVER_DRAWING_STUDIO_H
#define SERVER_DRAWING_STUDIO_H

#include "server/base/alarm.h"
#include "server/base/life.h"
#include "server/models/serving.h"

/* Files of pictures that wait to be verified. */
#define DRAWING_CLAIMS_BYTES_MAX (UINT64_C(32) << 20)

struct studio {
    struct serving *serving;
    struct life *life;
    struct alarm_list *alarms;
    uint64_t frames_bytes; /* of films that are being drawn */
    uint64_t claims_bytes; /* of pictures that are being verified */
};

#endif
