#include "server/scheduling/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define WARM_SECONDS 0.3 /* for all models together */

static int worker_warm(struct worker *w)
{
    struct served_model *m;
    int rc = 0, n = 0;
    TAILQ_FOREACH(m, w->models, link) n++;
    TAILQ_FOREACH(m, w->models, link)
    {
        rc = rc == 0 ? served_model_measure(m, w->number, WARM_SECONDS / n) : rc;
    }
    return rc;
}

/* ---- stepping and finishing ----------------------------------------------------------------- */

static void row_keep(const struct batch_row *b)
{
    if (b->job->ops->keep && b->error == 0) {
        b->job->ops->keep(b->job, b->row_idx, b->row);
    }
}

/* Fill step_rows, making the rows that have not begun. Returns how many there are. */
static uint32_t step_prepare(struct worker *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n_batch; i++) {
        struct batch_row *b = &w->batch[i];
        b->error = 0;
        if (!b->row) {
            struct dn_error err;
            struct dn_row_params params = b->job->ops->row_params(b->job, b->row_idx);
            b->error = dn_row_new(&b->row, w->model->model, &params, &err);
            row_keep(b);
        }
        if (b->error == 0) {
            w->step_rows[n++] = b->row;
        } else {
            b->row = NULL;
        }
    }
    return n;
}

static void worker_step(struct worker *w)
{
    uint32_t n = step_prepare(w);
    bool go_on = n > 0;
    uint64_t now_ns = uv_hrtime();
    w->n_steps = 0;
    while (go_on) {
        uint64_t before_ns = now_ns;
        int rc = dn_step(w->model->workspaces[w->number], w->step_rows, n);
        for (uint32_t i = 0; rc != 0 && i < w->n_batch; i++) {
            w->batch[i].error = w->batch[i].error ? w->batch[i].error : rc;
        }
        if (rc != 0) {
            return;
        }
        for (uint32_t i = 0; i < w->n_batch; i++) {
            row_keep(&w->batch[i]);
        }
        now_ns = uv_hrtime();
        w->step_ns[w->n_steps++] = now_ns - before_ns;
        go_on = now_ns < w->hold_ns && w->n_steps < WORKER_MAX_STEPS && n == w->n_batch &&
                !atomic_load_explicit(&w->recall, memory_order_relaxed);
        for (uint32_t i = 0; i < n && go_on; i++) {
            go_on = dn_row_next_evaluations(w->step_rows[i]) == w->batch[i].evaluations;
        }
    }
}

/* A row that is done becomes its image here, where it is still at hand, and without another way
 * through the loop; so does the answer to a request of one row. */
static int row_finish(const struct worker *w, struct batch_row *b)
{
    struct job *job = b->job;
    if (job->n_rows == 1) { /* nobody else has the job now, and finish() wants to know */
        job->last_step_ns = w->stepped_ns;
    }
    int rc = job->ops->encode(job, b->row_idx, b->row);
    dn_row_free(b->row);
    b->row = NULL;
    b->is_drawn = true;
    return rc == 0 && job->n_rows == 1 ? job->ops->finish(job) : rc;
}

static void worker_step_and_finish(struct worker *w)
{
    worker_step(w);
    w->stepped_ns = uv_hrtime();
    for (uint32_t i = 0; i < w->n_batch; i++) {
        struct batch_row *b = &w->batch[i];
        if (b->error == 0 && dn_row_done(b->row)) {
            b->error = row_finish(w, b);
        }
    }
}

static void worker_run(struct worker *w)
{
    w->started_ns = uv_hrtime();
    w->error = 0;
    switch (w->kind) {
    case WORK_WARM:
        w->error = worker_warm(w);
        break;
    case WORK_STEP:
        worker_step_and_finish(w);
        break;
    case WORK_FINISH:
        w->error = w->job->ops->finish(w->job);
        break;
    }
    w->ended_ns = uv_hrtime();
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void worker_main(void *arg)
{
    struct worker *w = arg;
    sigset_t all;
    char name[16];
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* they are the loop thread's */
    snprintf(name, sizeof name, "worker-%u", w->number);
    prctl(PR_SET_NAME, name);
    uv_mutex_lock(&w->mutex);
    while (!w->is_closing) {
        if (!w->has_work) {
            uv_cond_wait(&w->begun, &w->mutex);
            continue;
        }
        w->has_work = false;
        uv_mutex_unlock(&w->mutex);
        worker_run(w);
        uv_mutex_lock(&w->mutex);
        w->is_back = true;
        uv_async_send(w->back); /* still locked: who knows that it is back may close the loop */
    }
    uv_mutex_unlock(&w->mutex);
}

int worker_open(struct worker *w, uint32_t number, uint32_t max_batch)
{
    *w = (struct worker){.number = number};
    w->batch = calloc(max_batch, sizeof *w->batch);
    w->step_rows = calloc(max_batch, sizeof *w->step_rows);
    if (!w->batch || !w->step_rows) {
        goto fail_memory;
    }
    if (uv_mutex_init(&w->mutex) != 0) {
        goto fail_memory;
    }
    if (uv_cond_init(&w->begun) != 0) {
        goto fail_mutex;
    }
    if (uv_thread_create(&w->thread, worker_main, w) != 0) {
        goto fail_cond;
    }
    return 0;

fail_cond:
    uv_cond_destroy(&w->begun);
fail_mutex:
    uv_mutex_destroy(&w->mutex);
fail_memory:
    free(w->batch);
    free(w->step_rows);
    return DN_ENOMEM;
}

void worker_close(struct worker *w)
{
    uv_mutex_lock(&w->mutex);
    w->is_closing = true;
    uv_cond_signal(&w->begun);
    uv_mutex_unlock(&w->mutex);
    uv_thread_join(&w->thread);
    uv_cond_destroy(&w->begun);
    uv_mutex_destroy(&w->mutex);
    free(w->batch);
    free(w->step_rows);
}

void worker_begin(struct worker *w)
{
    w->busy = true;
    uv_mutex_lock(&w->mutex);
    w->has_work = true;
    uv_cond_signal(&w->begun);
    uv_mutex_unlock(&w->mutex);
}

bool worker_take_back(struct worker *w)
{
    if (!w->busy) {
        return false;
    }
    uv_mutex_lock(&w->mutex);
    bool is_back = w->is_back;
    w->is_back = false;
    uv_mutex_unlock(&w->mutex);
    w->busy = !is_back;
    return is_back;
}
