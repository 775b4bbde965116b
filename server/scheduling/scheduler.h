/*
 * The scheduler: which rows take their next step now, on which worker.
 *
 * Continuous batching: each time a worker is free, its batch is filled from whatever rows wait; a
 * new job joins at the next step, a finished or canceled row leaves at its next step. Who goes
 * first is in fair_queue.h. While there is little to do, rows are spread over the workers instead
 * of filling one batch.
 *
 * Loop thread only, but for scheduler_open().
 */
#ifndef SERVER_SCHEDULING_SCHEDULER_H
#define SERVER_SCHEDULING_SCHEDULER_H

#include <uv.h>

#include "server/base/metrics.h"
#include "server/base/options.h"
#include "server/scheduling/job.h"
#include "server/scheduling/served_model.h"

struct scheduler;

/* Any thread. Borrows metrics. Returns 0 or DN_ENOMEM. */
int scheduler_open(struct scheduler **out, const struct options *options, uint32_t n_workers,
                   struct metrics *metrics);

/* Take jobs for a model, which must stay until it was retired and let go. */
void scheduler_add_model(struct scheduler *s, struct served_model *m);

/* No other job will be submitted for it. `let_go` is called when the last one has ended, which may
 * be at once. */
void scheduler_retire_model(struct scheduler *s, struct served_model *m,
                            void (*let_go)(struct served_model *m, void *arg), void *arg);

/* All models, those that are being retired too. */
const struct served_model_list *scheduler_models(const struct scheduler *s);

/* Run every model on every worker, find the batch size that pays, then call `ready` with 0 or a
 * dn_code. */
void scheduler_warm(struct scheduler *s, uv_loop_t *loop, void (*ready)(void *arg, int rc),
                    void *arg);

enum scheduler_verdict {
    SCHEDULER_ADMITTED,  /* ops->done will be called, not from within */
    SCHEDULER_FULL,      /* its rows do not fit into the queue now */
    SCHEDULER_OVER_PART, /* nor into the part of it that its share may hold (room.h) */
    SCHEDULER_NO_MEMORY
};

/* Admit a job, or say why not. */
enum scheduler_verdict scheduler_submit(struct scheduler *s, struct job *job);

/* From now on a job is of `share`, NULL allowed, and `priority`; the shares stay until it ends.
 * Nothing happens to one that is drawn. Returns 0, or DN_ENOMEM: it stays where it was. */
int scheduler_move(struct scheduler *s, struct job *job, struct fair_share *share,
                   enum priority priority);

/* Take back a job that has not ended: rows that wait go at once, those at work after their step.
 * ops->done may be called before this returns. */
void scheduler_cancel(struct scheduler *s, struct job *job, enum job_reason reason);
void scheduler_cancel_all(struct scheduler *s, enum job_reason reason);

/* Jobs that have not ended. */
size_t scheduler_jobs(const struct scheduler *s);

/* No job is left and no worker is at work. */
bool scheduler_is_idle(const struct scheduler *s);

/* Seconds until a new job of so many evaluations is begun: of `share`, NULL allowed, in this
 * priority, by what steps of each model took lately. */
double scheduler_ahead_s(const struct scheduler *s, const struct fair_share *share,
                         enum priority priority, uint64_t evaluations);

/* Seconds until a job takes its next steps, if it was of `share`, NULL allowed, and `priority`, by
 * the same: 0 for one that is drawn. */
double scheduler_before_s(const struct scheduler *s, const struct job *job,
                          const struct fair_share *share, enum priority priority);

/* Seconds that so many evaluations of a model take for `n_rows` images, each of whose steps follow
 * one another, when there is nothing else to do. */
double scheduler_alone_s(const struct scheduler *s, const struct served_model *m,
                         uint64_t evaluations, uint32_t n_rows);

/* Seconds until a job is done of which no step is done yet, by the same. */
double scheduler_job_s(const struct scheduler *s, const struct job *job);

/* Seconds until all admitted work is done, by the same. At least 1. */
uint32_t scheduler_eta_s(const struct scheduler *s);

/* No job may be left, and the loop's handles must be closed. NULL allowed. */
void scheduler_close(struct scheduler *s);

#endif
