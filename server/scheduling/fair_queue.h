/*
 * The jobs of one model, and which of those that wait goes first. Three questions, one after the
 * other:
 *
 *   Which priority? The highest that waits. One evaluation in FAIR_PRIORITY_SHARE is owed to each
 *   lower one.
 *   Which client? The one that had the fewest evaluations, whatever the number of its requests
 *   (start-time fair queueing, Goyal, Vin and Cheng 1996).
 *   Which of its jobs? The one with the least left to do (job_queue.h). One evaluation in
 *   FAIR_OLDEST_SHARE is owed to the one that came first.
 *
 * What is owed is given before anything else, so that nothing waits for ever.
 *
 * A client's evaluations are counted for each priority by itself, and for all models together. One
 * that was idle has no more than FAIR_CREDIT of them to catch up on: for so long it goes before the
 * others, then it takes turns with them. So its share of any time is at most an equal one, and so
 * much more.
 *
 * A client's jobs of one model and priority are a lane, which is there while they are. Jobs are
 * linked, never owned. Loop thread only.
 */
#ifndef SERVER_SCHEDULING_FAIR_QUEUE_H
#define SERVER_SCHEDULING_FAIR_QUEUE_H

#include <sys/queue.h>

#include "api/priority.h"
#include "server/scheduling/job_queue.h"

#define FAIR_PRIORITY_SHARE 8
#define FAIR_OLDEST_SHARE 4
#define FAIR_CREDIT 512
/* Evaluations that a client must be behind to interrupt another's batch, which otherwise comes back
 * soon enough. */
#define FAIR_LEAD 128

struct lane;
struct lane_sum;
struct worker;

/* What one client had. Zeros at first; nothing to free, and to be kept while it has jobs. */
struct fair_share {
    uint64_t had[PRIORITIES]; /* evaluations, and those that it let pass */
    uint32_t n_jobs[PRIORITIES];
    uint64_t n_rows; /* that are still to be drawn for it: the scheduler's */
    struct lane *lanes;
};

/* What the queues of all models have in common. */
struct fair_clock {
    LIST_HEAD(, fair_queue) queues;
    uint64_t now[PRIORITIES];     /* what the client had that was served last */
    uint64_t owed[PRIORITIES];    /* evaluations, times FAIR_PRIORITY_SHARE */
    size_t n_waiting[PRIORITIES]; /* lanes */
};

/* The lanes of one priority. */
struct fair_band {
    struct lane_sum *lanes; /* owned, [n_lanes] of [capacity], in no order */
    struct lane **heap; /* owned, [n_waiting] of [capacity]: those that wait, by what they had */
    size_t n_lanes, n_waiting, capacity;
    uint64_t left; /* evaluations that its jobs still need */
};

struct fair_queue {
    struct fair_clock *clock;
    LIST_ENTRY(fair_queue) link;
    size_t n_jobs;
    double evaluation_s; /* that one of this model takes a worker: its owner's, at first 0 */
    struct fair_band bands[PRIORITIES];
};

void fair_clock_init(struct fair_clock *clock);

/* `clock` outlives the queue. */
void fair_queue_init(struct fair_queue *q, struct fair_clock *clock);
/* No job may be left. */
void fair_queue_deinit(struct fair_queue *q);

/* A job, whose `share` and `priority` are set, begins and ends. Returns 0 or DN_ENOMEM. */
int fair_queue_enter(struct fair_queue *q, struct job *job);
void fair_queue_leave(struct fair_queue *q, struct job *job);

/* The job has rows that wait, or none any more: as job_queue_put() and job_queue_take(). */
void fair_queue_put(struct fair_queue *q, struct job *job);
void fair_queue_take(struct fair_queue *q, struct job *job);

/* Is there no job? And does one wait? */
bool fair_queue_is_empty(const struct fair_queue *q);
bool fair_queue_waits(const struct fair_queue *q);

/* Of the jobs that wait: the one to go first, and the one to which something is owed. NULL when
 * there is none. */
struct job *fair_queue_first(struct fair_queue *q);
struct job *fair_queue_owed(struct fair_queue *q);

/* Of the queues of two models in both of which jobs wait: does `a` go before `b`? */
bool fair_queue_goes_before(struct fair_queue *a, struct fair_queue *b);

/* Must `job` not wait until a batch with a row of `other` comes back by itself? */
bool fair_queue_displaces(const struct job *job, const struct job *other);

/* A row of the job is handed out for a step of so many evaluations. */
void fair_queue_hand_out(struct fair_queue *q, const struct job *job, uint32_t evaluations);
/* A worker is back with its batch, none of whose rows was put yet: count what was done. */
void fair_queue_settle(struct fair_queue *q, const struct worker *w);
/* The job has had so many evaluations. */
void fair_queue_shrink(struct fair_queue *q, const struct job *job, uint64_t evaluations);
/* The job neither waits nor needs anything any more. */
void fair_queue_drop(struct fair_queue *q, struct job *job);

/* From now on the job, which is not drawn, is of this share and priority, which are not its own: it
 * is the last of its like there, or the first if it has begun. Returns 0 or DN_ENOMEM: then it
 * stays where it was. */
int fair_queue_move(struct fair_queue *q, struct job *job, struct fair_share *share,
                    enum priority priority);

/* Call `act` with every job, which may leave, and the queue may go with the last one. */
void fair_queue_each(struct fair_queue *q, void (*act)(void *arg, struct job *job), void *arg);

/* Seconds that one worker would take for what goes before a new job's evaluations, of all models.
 */
double fair_clock_ahead_s(const struct fair_clock *clock, const struct fair_share *share,
                          enum priority priority, uint64_t evaluations);

/* The same before a job that is not drawn, if it was of that share and priority; they may be its
 * own.
 */
double fair_clock_before_s(const struct fair_clock *clock, const struct job *job,
                           const struct fair_share *share, enum priority priority);

/* Seconds that one worker would take for all that is left. */
double fair_clock_left_s(const struct fair_clock *clock);

#endif
