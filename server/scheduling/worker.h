/*
 * A worker: a thread that computes, and the memory for it.
 *
 * The loop thread fills in the work of an idle worker and begins it; the worker's thread does the
 * work and touches nothing but the worker, the rows it was handed, and through ops their images;
 * then the loop thread has the worker back. While a worker is at work, the loop thread sets nothing
 * but `recall` and reads what it filled in itself.
 *
 * The thread is the worker's own, not one of libuv's pool, whose threads take turns: each piece of
 * work would begin on another one, far from the workspace in its cache.
 */
#ifndef SERVER_SCHEDULING_WORKER_H
#define SERVER_SCHEDULING_WORKER_H

#include <stdatomic.h>
#include <uv.h>

#include "server/scheduling/job.h"
#include "server/scheduling/served_model.h"

#define WORKER_MAX_STEPS 64 /* of a batch, before it comes back */

enum work_kind { WORK_WARM, WORK_STEP, WORK_FINISH };

struct batch_row {
    struct job *job;
    uint32_t row_idx;
    struct dn_row *row;   /* NULL: to be made; afterwards: could not be made, or is drawn */
    uint32_t evaluations; /* of each step that it takes in this batch */
    bool is_drawn;        /* had its last step, and is encoded unless there is an error */
    int error;
};

struct worker {
    uv_thread_t thread;
    uv_mutex_t mutex; /* of the next two lines */
    uv_cond_t begun;
    bool has_work, is_back, is_closing;
    uv_async_t *back; /* tells the loop thread that a worker is back */
    bool busy;        /* it was begun and not taken back */
    uint32_t number;  /* of its workspace in each model */
    const struct served_model_list *models;

    enum work_kind kind;
    uint64_t free_ns; /* since when there was work for it and it was not at work; 0: no work */
    uint64_t started_ns, ended_ns;
    int error;

    /* WORK_STEP */
    struct served_model *model;
    struct batch_row *batch;   /* [max_batch] */
    struct dn_row **step_rows; /* [max_batch] */
    uint32_t n_batch;
    uint32_t evaluations; /* of one step */
    uint32_t limit;       /* the most of them */
    uint64_t hold_ns;     /* the batch comes back after the first step past this time */
    atomic_bool recall;   /* ... or after the step in which this is set */
    uint32_t n_steps;     /* taken by every row without an error */
    uint64_t step_ns[WORKER_MAX_STEPS]; /* [n_steps], how long each took */
    uint64_t stepped_ns;                /* when the last one ended; then comes the encoding */

    /* WORK_FINISH */
    struct job *job;
};

/* Take the memory for batches of up to `max_batch` rows, and a thread. Any thread. Returns 0 or
 * DN_ENOMEM, and then there is nothing to close. */
int worker_open(struct worker *w, uint32_t number, uint32_t max_batch);

/* It must be idle. */
void worker_close(struct worker *w);

/* Have the work done that was filled in. `back` must be set. */
void worker_begin(struct worker *w);

/* Is the worker back? Then it is idle again. */
bool worker_take_back(struct worker *w);

#endif
