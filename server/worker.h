/*
 * A worker: the right to use one thread of libuv's pool, and the memory for it.
 *
 * The loop thread fills in the work of an idle worker and starts it; the pool's thread does the
 * work and touches nothing but the worker, the rows it was handed, and through ops their images;
 * then the loop thread has the worker back. No locks: uv_queue_work orders the two.
 */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include <uv.h>

#include "server/job.h"
#include "server/models.h"

#define WORKER_MAX_ENCODE 16 /* rows in one encoding */

enum work_kind { WORK_WARM, WORK_STEP, WORK_ENCODE };

struct batch_row {
    struct job *job;
    uint32_t row_idx;
    struct dn_row *row; /* NULL: to be made */
    int error;
};

struct worker {
    uv_work_t work;
    struct scheduler *scheduler;
    bool busy;
    const struct model_set *models;
    struct dn_workspace *workspaces[OPTIONS_MAX_MODELS]; /* one a model */

    enum work_kind kind;
    uint64_t started_ns, ended_ns;
    int error;

    /* WORK_STEP, and the evaluations of WORK_WARM's measured steps */
    size_t model_idx;
    uint32_t max_batch;
    struct batch_row *batch;   /* [max_batch] */
    struct dn_row **step_rows; /* [max_batch] */
    uint32_t n_batch;
    uint32_t evaluations;

    /* WORK_ENCODE */
    struct job *job;
    uint32_t encode_rows[WORKER_MAX_ENCODE];
    uint32_t n_encode;
    bool finish; /* these are the job's last rows */
};

/* Take all memory that steps of up to `max_batch` evaluations need. Any thread. Returns 0 or a
 * negative dn_code with *err filled; worker_close is right after both. */
int worker_open(struct worker *w, const struct model_set *models, uint32_t max_batch,
                struct dn_error *err);
void worker_close(struct worker *w);

/* Do the work, on the pool's thread. */
void worker_run(struct worker *w);

#endif
