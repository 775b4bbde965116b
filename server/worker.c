#include "server/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WARM_SECONDS 0.3 /* for all models together */
#define WARM_PASSES 5

int worker_open(struct worker *w, const struct model_set *models, uint32_t max_batch,
                struct dn_error *err)
{
    *w = (struct worker){.models = models, .max_batch = max_batch};
    w->batch = calloc(max_batch, sizeof *w->batch);
    w->step_rows = calloc(max_batch, sizeof *w->step_rows);
    if (!w->batch || !w->step_rows) {
        err->code = DN_ENOMEM;
        snprintf(err->text, sizeof err->text, "no memory for a batch of %u", max_batch);
        return DN_ENOMEM;
    }
    for (size_t i = 0; i < models->n_models; i++) {
        int rc = dn_workspace_new(&w->workspaces[i], models->models[i], max_batch, err);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

void worker_close(struct worker *w)
{
    for (size_t i = 0; w->models && i < w->models->n_models; i++) {
        dn_workspace_free(w->workspaces[i]);
    }
    free(w->batch);
    free(w->step_rows);
    *w = (struct worker){.models = NULL};
}

/* ---- warming -------------------------------------------------------------------------------- */

uint32_t worker_batch_size(uint32_t max_batch, size_t number)
{
    uint32_t size = number < WORKER_MAX_SIZES ? UINT32_C(1) << number : UINT32_MAX;
    return size <= max_batch ? size : size / 2 < max_batch ? max_batch : 0;
}

/* This thread's time on a processor: on a machine that is busy with something else a long step is
 * interrupted more often, which by the clock makes a large batch look worse. */
static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Make the first `n` rows where there is none yet or one that is done. */
static int warm_make_rows(struct worker *w, size_t model_idx, uint32_t *n_rows, uint32_t n)
{
    struct dn_model *model = w->models->models[model_idx];
    const struct dn_row_params params = {
        .steps = (uint32_t)dn_model_info(model)->timesteps,
        .sampler = dn_model_info(model)->default_sampler,
        .guidance_scale = 1,
    };
    int rc = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        struct dn_error err;
        if (i == *n_rows) {
            ++*n_rows;
        } else if (dn_row_done(w->step_rows[i])) {
            dn_row_free(w->step_rows[i]);
        } else {
            continue;
        }
        rc = dn_row_new(&w->step_rows[i], model, &params, &err); /* NULL where it fails */
    }
    return rc;
}

/* Time a step of each size of batch, the shortest of a few. The first step of all touches the
 * memory and is not counted; a size that would take too long is left out. */
static int warm_model(struct worker *w, size_t model_idx)
{
    double *best = w->batch_seconds[model_idx];
    uint32_t n_rows = 0, size;
    int rc = warm_make_rows(w, model_idx, &n_rows, 1);
    rc = rc == 0 ? dn_step(w->workspaces[model_idx], w->step_rows, 1) : rc;
    double end_s = processor_seconds() + WARM_SECONDS / (double)w->models->n_models;
    for (int pass = 0; rc == 0 && pass < WARM_PASSES; pass++) {
        for (size_t i = 0; rc == 0 && (size = worker_batch_size(w->max_batch, i)) != 0; i++) {
            double expected_s = best[i] > 0 ? best[i] : i > 0 ? 2 * best[i - 1] : 0;
            bool is_first = pass == 0 && i == 0;
            if (!is_first && (expected_s == 0 || processor_seconds() + expected_s > end_s)) {
                continue;
            }
            rc = warm_make_rows(w, model_idx, &n_rows, size);
            double before_s = processor_seconds();
            rc = rc == 0 ? dn_step(w->workspaces[model_idx], w->step_rows, size) : rc;
            double seconds = processor_seconds() - before_s;
            best[i] = best[i] > 0 && best[i] < seconds ? best[i] : seconds;
        }
    }
    while (n_rows > 0) {
        dn_row_free(w->step_rows[--n_rows]);
    }
    return rc;
}

static int worker_warm(struct worker *w)
{
    int rc = 0;
    for (size_t i = 0; i < w->models->n_models && rc == 0; i++) {
        rc = warm_model(w, i);
    }
    return rc;
}

/* ---- stepping and finishing ----------------------------------------------------------------- */

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
            b->error = dn_row_new(&b->row, w->models->models[w->model_idx], &params, &err);
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
        int rc = dn_step(w->workspaces[w->model_idx], w->step_rows, n);
        for (uint32_t i = 0; rc != 0 && i < w->n_batch; i++) {
            w->batch[i].error = w->batch[i].error ? w->batch[i].error : rc;
        }
        if (rc != 0) {
            return;
        }
        now_ns = uv_hrtime();
        w->step_ns[w->n_steps++] = now_ns - before_ns;
        go_on = now_ns < w->hold_ns && w->n_steps < WORKER_MAX_STEPS && n == w->n_batch &&
                !atomic_load_explicit(&w->recall, memory_order_relaxed);
        for (uint32_t i = 0; i < n && go_on; i++) {
            go_on = !dn_row_done(w->step_rows[i]);
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

void worker_run(struct worker *w)
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
