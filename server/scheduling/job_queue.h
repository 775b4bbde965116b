/*
 * The jobs of one lane (fair_queue.h), in the two orders that it is asked for: the one with the
 * least left to do, and the one that came first.
 *
 * A job's class is the magnitude of the evaluations that it still needs: 0 for one, 1 for two or
 * three, 2 for up to seven, ... Of the jobs with rows that wait for a step, those of a lower class
 * go first; within a class those that have begun, then by arrival. (Shortest remaining first, but
 * for factors of two, which makes every operation a constant few instructions.)
 *
 * Jobs are linked, never owned. Loop thread only.
 */
#ifndef SERVER_SCHEDULING_JOB_QUEUE_H
#define SERVER_SCHEDULING_JOB_QUEUE_H

#include "server/scheduling/job.h"

#define JOB_CLASSES 64

struct job_queue {
    struct job *first[JOB_CLASSES], *last[JOB_CLASSES]; /* with rows that wait */
    uint64_t classes;                                   /* bit c: class c has jobs */
    struct job *oldest, *newest;                        /* every job that has not ended */
};

/* A job begins and ends. */
void job_queue_enter(struct job_queue *q, struct job *job);
void job_queue_leave(struct job_queue *q, struct job *job);

/* The job has rows that wait, and its class may have changed since it was last put. */
void job_queue_put(struct job_queue *q, struct job *job);
/* The job has none any more. Nothing happens to one that was not put. */
void job_queue_take(struct job_queue *q, struct job *job);

/* Of the jobs with rows that wait: the one to go first, and the one that came first. NULL when
 * there is none. */
struct job *job_queue_first(const struct job_queue *q);
struct job *job_queue_oldest(const struct job_queue *q);

/* The class of so many evaluations, of which there are some. */
int job_magnitude(uint64_t evaluations);

/* The class of what `job`, which is not done, still needs. */
int job_class(const struct job *job);

#endif
