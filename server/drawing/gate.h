/*
 * Who may have images drawn, and until when: a ticket a request, from the moment that it is let in
 * to its answer, whether it waits for the answer or left a job behind.
 *
 * The ticket counts the request against its client's quota, and against the time that it has. It is
 * embedded in whoever waits for the drawing. Loop thread only.
 */
#ifndef SERVER_DRAWING_GATE_H
#define SERVER_DRAWING_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/params.h"
#include "server/base/alarm.h"
#include "server/clients/clients.h"
#include "server/drawing/refusal.h"
#include "server/drawing/studio.h"

struct ticket {
    struct studio *studio;
    struct client *client; /* held; NULL is nobody in particular */
    uint32_t rows;
    uint64_t evaluations; /* 0: not let in */
    struct alarm alarm;   /* set where its time has a limit */
    void (*late)(struct ticket *ticket);
};

/* Let a request of `client` (NULL is nobody in particular) for `params` in, whose priority this
 * resolves. Returns 0: the caller calls ticket_end() once. Or -1 with the refusal: 403 for its
 * priority, 429 over its quota, 503 where its time is too short as long as so much else is to be
 * done, 504 where it is too short anyway. `late` is called when its time is over, if it has a
 * limit, and must end the ticket. */
int ticket_begin(struct ticket *t, struct studio *studio, struct client *client,
                 struct sample_params *params, void (*late)(struct ticket *ticket),
                 struct refusal *refusal);

/* It has its answer or gave up; `unused` when nothing was done for it at all. Nothing happens to
 * one that is all zeros or has ended. */
void ticket_end(struct ticket *t, bool unused);

/* Let `to` stand for what `from` stood for, which has ended then. */
void ticket_move(struct ticket *to, struct ticket *from, void (*late)(struct ticket *ticket));

/* What a late request is told. */
void gate_problem_late(struct problem *problem, uint32_t timeout_ms);

#endif
