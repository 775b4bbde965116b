/*
 * A job: the rows of one request, from admission to its one outcome.
 *
 *            +---------> CANCELED | FAILED <--------+
 *            |               ^                      |
 *         QUEUED --------> RUNNING --------> FINISHING --------> SUCCEEDED
 *                first step     all drawn, encoded        finish()
 *
 * The owner embeds it, fills the first part, hands it to scheduler_submit(), and has it back when
 * ops->done is called. In between everything but the first part belongs to the loop thread.
 */
#ifndef SERVER_SCHEDULING_JOB_H
#define SERVER_SCHEDULING_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/priority.h"
#include "core/denoise.h"
#include "server/base/metrics.h"

struct job;
struct served_model;
struct lane;
struct fair_share;

/* A step of one row costs at most a conditional and an unconditional evaluation. */
#define ROW_MAX_EVALUATIONS 2

struct job_ops {
    /* Any thread; of one job several at a time. */
    struct dn_row_params (*row_params)(const struct job *job, size_t i);
    /* A worker thread: row `i` is made, or has taken a step. NULL where nobody keeps what comes
     * before the image. Of one job several at a time, for different rows. */
    void (*keep)(struct job *job, size_t i, const struct dn_row *row);
    /* A worker thread: row `i` is done, keep its image. Returns 0 or a negative dn_code. Of one
     * job several at a time, for different rows. */
    int (*encode)(struct job *job, size_t i, const struct dn_row *row);
    /* A worker thread, after every row is encoded and alone. Returns 0 or a negative dn_code. */
    int (*finish)(struct job *job);
    /* The loop thread, after each step of a row, whose image so far is at hand: for those who
     * follow it. `row` is NULL after the last step: its image is encoded. The function is NULL for
     * those who do not follow; then a worker may take several steps at a time. Must not cancel
     * jobs. */
    void (*stepped)(struct job *job, size_t i, const struct dn_row *row);
    /* The loop thread: the job has its outcome and is the owner's again. */
    void (*done)(struct job *job);
};

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_FINISHING, JOB_SUCCEEDED, JOB_FAILED, JOB_CANCELED };

struct job {
    /* the owner's, const after submission */
    const struct job_ops *ops;
    struct served_model *model;
    uint32_t n_rows;
    uint32_t steps;             /* of each row */
    uint32_t first_evaluations; /* of the network, for each row's first step */
    uint64_t evaluations;       /* for all steps of all rows */
    /* whose turn its steps are, NULL for that of all who have none: scheduler_move() changes them
     */
    enum priority priority;
    struct fair_share *share;

    enum job_state state;
    enum job_reason reason; /* why it failed or was canceled */
    int error;              /* dn_code of a failure */

    struct dn_row **rows; /* [n_rows], NULL before the first step and after the last */
    uint32_t next_row;    /* the first row without a step yet */
    uint32_t *started;    /* stack of rows that wait for a further step */
    uint32_t n_started;
    uint32_t n_drawn; /* rows that had their last step and are encoded */
    bool *is_drawn;   /* [n_rows] which of them; NULL when the job is over */
    uint32_t n_busy;  /* rows that workers hold, and the finish: the job cannot end */
    uint64_t steps_done;
    uint64_t evaluations_done;

    /* the links of fair_queue.h, of job_queue.h and of the queue for finish() */
    struct lane *lane;
    uint64_t turn; /* until it has begun: what such jobs had in its lane when this one is next */
    int class;
    bool is_waiting, in_finish_queue;
    struct job *ready_prev, *ready_next;
    struct job *older, *newer;
    struct job *finish_next;

    uint64_t submitted_ns, first_step_ns, last_step_ns, canceled_ns; /* uv_hrtime */
};

/* Move to another state; asserts that the edge exists. */
void job_move(struct job *job, enum job_state to);

static inline bool job_is_over(const struct job *job)
{
    return job->state >= JOB_SUCCEEDED;
}

/* Rows that wait for a step. */
static inline uint32_t job_ready_rows(const struct job *job)
{
    return job->n_started + (job->n_rows - job->next_row);
}

/* Evaluations of the next step of a row that no worker has. */
static inline uint32_t job_row_evaluations(const struct job *job, uint32_t row_idx)
{
    const struct dn_row *row = job->rows[row_idx];
    return row ? dn_row_next_evaluations(row) : job->first_evaluations;
}

/* The next row to step, which must exist. Started rows go first: it bounds how many rows are alive
 * at once, whatever a request's size. */
static inline uint32_t job_next_row(const struct job *job)
{
    return job->n_started ? job->started[job->n_started - 1] : job->next_row;
}

static inline uint32_t job_take_row(struct job *job)
{
    return job->n_started ? job->started[--job->n_started] : job->next_row++;
}

#endif
