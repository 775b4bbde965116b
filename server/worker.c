#include "server/worker.h"

#include <stdio.h>
#include <stdlib.h>

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

/* One evaluation of each model to touch the memory, and one to measure. */
static int worker_warm(struct worker *w)
{
    w->evaluations = 0;
    uint64_t measured_ns = 0;
    for (size_t i = 0; i < w->models->n_models; i++) {
        const struct dn_row_params params = {
            .steps = 2,
            .sampler = dn_model_info(w->models->models[i])->default_sampler,
            .guidance_scale = 1,
        };
        struct dn_row *row;
        struct dn_error err;
        int rc = dn_row_new(&row, w->models->models[i], &params, &err);
        for (int step = 0; rc == 0 && step < 2; step++) {
            uint64_t before_ns = uv_hrtime();
            rc = dn_step(w->workspaces[i], &row, 1);
            measured_ns += step ? uv_hrtime() - before_ns : 0;
        }
        if (rc != 0) {
            dn_row_free(row);
            return rc;
        }
        dn_row_free(row);
        w->evaluations++;
    }
    w->started_ns = uv_hrtime() - measured_ns; /* so that the two times say how long it took */
    return 0;
}

static void worker_step(struct worker *w)
{
    struct dn_model *model = w->models->models[w->model_idx];
    uint32_t n = 0;
    w->evaluations = 0;
    for (uint32_t i = 0; i < w->n_batch; i++) {
        struct batch_row *b = &w->batch[i];
        b->error = 0;
        if (!b->row) {
            struct dn_error err;
            struct dn_row_params params = b->job->ops->row_params(b->job, b->row_idx);
            b->error = dn_row_new(&b->row, model, &params, &err);
        }
        if (b->error == 0) {
            w->step_rows[n++] = b->row;
            w->evaluations += dn_row_evaluations_per_step(b->row);
        } else {
            b->row = NULL;
        }
    }
    int rc = n ? dn_step(w->workspaces[w->model_idx], w->step_rows, n) : 0;
    for (uint32_t i = 0; rc != 0 && i < w->n_batch; i++) {
        w->batch[i].error = w->batch[i].error ? w->batch[i].error : rc;
    }
}

static int worker_encode(struct worker *w)
{
    int rc = 0;
    for (uint32_t i = 0; i < w->n_encode && rc == 0; i++) {
        uint32_t idx = w->encode_rows[i];
        rc = w->job->ops->encode(w->job, idx, w->job->rows[idx]);
        dn_row_free(w->job->rows[idx]);
        w->job->rows[idx] = NULL;
    }
    return rc == 0 && w->finish ? w->job->ops->finish(w->job) : rc;
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
        worker_step(w);
        break;
    case WORK_ENCODE:
        w->error = worker_encode(w);
        break;
    }
    w->ended_ns = uv_hrtime();
}
