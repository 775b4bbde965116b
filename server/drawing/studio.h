/*
 * What it takes to have images drawn, and how much of it is in use. The server owns one. Loop
 * thread only.
 */
#ifndef SERVER_DRAWING_STUDIO_H
#define SERVER_DRAWING_STUDIO_H

#include "server/base/alarm.h"
#include "server/base/life.h"
#include "server/models/serving.h"

struct studio {
    struct serving *serving;
    struct life *life;
    struct alarm_list *alarms;
    uint64_t frames_bytes; /* of films that are being drawn */
};

#endif
