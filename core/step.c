/* Rows, workspaces and the step that advances them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/memory.h"
#include "core/base/rng.h"
#include "core/model_private.h"

struct dn_row {
    const struct dn_model *model;
    struct dn_row_params params;
    struct dn_guided_steps guided;
    struct dn_sampling sampling;
    const struct dn_sampler_ops *ops;
    float values[]; /* x, x0, eps, noise, history; then the timestep list */
};

struct dn_workspace {
    const struct dn_model *model;
    uint32_t max_evaluations;
    size_t bytes;
    struct dn_evaluation *evaluations; /* [max_evaluations] */
    float *outputs;                    /* [max_evaluations][size] */
    void *arena;
};

/* ---- rows ---------------------------------------------------------------------------------------
 */

static int check_params(const struct dn_model *model, const struct dn_row_params *p,
                        struct dn_error *err)
{
    const struct dn_model_info *info = &model->info;

    if (p->seed > DN_SEED_MAX)
        return dn_fail(err, DN_EINVAL, "seed: 0..%llu expected", (unsigned long long)DN_SEED_MAX);
    if (p->label >= (uint32_t)info->n_classes)
        return dn_fail(err, DN_EINVAL, "label: 0..%d expected", info->n_classes - 1);
    if (dn_model_check_steps(model, p->steps, err))
        return dn_wrap(err, "steps");
    if ((int)p->sampler < 0 || p->sampler >= DN_SAMPLER_COUNT ||
        !(info->samplers >> p->sampler & 1))
        return dn_fail(err, DN_EINVAL, "sampler: not one of the model's");
    if (dn_model_check_guidance(model, p->guidance_scale, err))
        return dn_wrap(err, "guidance_scale");
    if (dn_model_check_guidance_interval(model, p->guidance_interval, err))
        return dn_wrap(err, "guidance_interval");
    if (!(p->eta >= 0 && p->eta <= 1))
        return dn_fail(err, DN_EINVAL, "eta: 0..1 expected");
    if (p->eta != 0 && !dn_sampler_info(p->sampler)->has_eta)
        return dn_fail(err, DN_EINVAL, "eta: 0 expected, the sampler %s has none",
                       dn_sampler_info(p->sampler)->name);
    return 0;
}

int dn_row_new(struct dn_row **out, const struct dn_model *model,
               const struct dn_row_params *params, struct dn_error *err)
{
    size_t size = model->size;
    int rc = check_params(model, params, err);

    *out = NULL;
    if (rc)
        return rc;
    const struct dn_sampler_ops *ops = dn_sampler_ops(params->sampler);
    size_t n_values = (4 + ops->n_history) * size;
    struct dn_row *row =
        malloc(sizeof *row + n_values * sizeof(float) + params->steps * sizeof(int));
    if (!row)
        return dn_fail(err, DN_ENOMEM, "out of memory");
    int *ks = (int *)(void *)(row->values + n_values);
    const struct dn_step_list *list = dn_model_step_list(model, params->steps);
    if (list)
        memcpy(ks, list->timesteps, params->steps * sizeof *ks);
    else if (ops->list_timesteps)
        ops->list_timesteps(model->info.timesteps, (int)params->steps, ks);
    else
        dn_schedule_trailing(model->info.timesteps, (int)params->steps, ks);
    row->model = model;
    row->params = *params;
    row->guided = dn_model_guided_steps(model, params);
    row->ops = ops;
    row->sampling = (struct dn_sampling){.schedule = &model->schedule,
                                         .size = size,
                                         .ks = ks,
                                         .n_steps = (int)params->steps,
                                         .final_alpha_bar = 1.0,
                                         .eta = params->eta,
                                         .seed = params->seed,
                                         .index = params->index,
                                         .x = row->values,
                                         .x0 = row->values + size,
                                         .eps = row->values + 2 * size,
                                         .noise = row->values + 3 * size,
                                         .history = row->values + 4 * size};
    dn_noise(row->sampling.x, size, params->seed, params->index, 0);
    /* Before the first step the noise stands for the image. */
    memcpy(row->sampling.x0, row->sampling.x, size * sizeof(float));
    *out = row;
    return 0;
}

void dn_row_free(struct dn_row *row)
{
    free(row);
}

const struct dn_row_params *dn_row_params(const struct dn_row *row)
{
    return &row->params;
}

uint32_t dn_row_steps_done(const struct dn_row *row)
{
    return (uint32_t)row->sampling.step;
}

bool dn_row_done(const struct dn_row *row)
{
    return row->sampling.step == row->sampling.n_steps;
}

uint32_t dn_row_next_evaluations(const struct dn_row *row)
{
    uint32_t step = dn_row_steps_done(row);
    if (dn_row_done(row))
        return 0;
    return step >= row->guided.first && step < row->guided.end ? 2 : 1;
}

const float *dn_row_values(const struct dn_row *row)
{
    return dn_row_done(row) ? row->sampling.x : row->sampling.x0;
}

void dn_row_pixels(const struct dn_row *row, uint8_t *pixels)
{
    const struct dn_schedule *s = &row->model->schedule;
    const float *v = dn_row_values(row);
    float scale = 255.0f / (s->hi - s->lo);

    for (size_t i = 0; i < row->sampling.size; i++) {
        float p = (v[i] - s->lo) * scale;
        p = p > 0.0f ? p : 0.0f; /* NaN too */
        p = p < 255.0f ? p : 255.0f;
        pixels[i] = (uint8_t)(p + 0.5f);
    }
}

/* ---- workspaces and steps -------------------------------------------------------------------- */

int dn_workspace_new(struct dn_workspace **out, const struct dn_model *model,
                     uint32_t max_evaluations, struct dn_error *err)
{
    *out = NULL;
    if (max_evaluations < 1 || max_evaluations > 4096)
        return dn_fail(err, DN_EINVAL, "max_evaluations: 1..4096 expected");
    struct dn_workspace *w = calloc(1, sizeof *w);
    if (!w)
        return dn_fail(err, DN_ENOMEM, "out of memory");
    size_t arena = dn_plan_arena_bytes(model->plan, max_evaluations);
    size_t outputs = max_evaluations * model->size * sizeof(float);
    size_t evaluations = max_evaluations * sizeof *w->evaluations;
    w->model = model;
    w->max_evaluations = max_evaluations;
    w->bytes = sizeof *w + arena + outputs + evaluations;
    w->arena = dn_alloc(arena);
    w->outputs = dn_alloc(outputs);
    w->evaluations = dn_alloc(evaluations);
    if (!w->arena || !w->outputs || !w->evaluations) {
        dn_workspace_free(w);
        return dn_fail(err, DN_ENOMEM, "out of memory");
    }
    *out = w;
    return 0;
}

void dn_workspace_free(struct dn_workspace *w)
{
    if (!w)
        return;
    free(w->arena);
    free(w->outputs);
    free(w->evaluations);
    free(w);
}

size_t dn_workspace_bytes(const struct dn_workspace *w)
{
    return w->bytes;
}

int dn_step(struct dn_workspace *w, struct dn_row *const rows[], size_t n)
{
    return dn_step_profiled(w, rows, n, NULL);
}

int dn_step_profiled(struct dn_workspace *w, struct dn_row *const rows[], size_t n, double *seconds)
{
    size_t size = w->model->size, needed = 0, e = 0;

    for (size_t i = 0; i < n; i++) {
        if (rows[i]->model != w->model || dn_row_done(rows[i]))
            return DN_EINVAL;
        needed += dn_row_next_evaluations(rows[i]);
        if (needed > w->max_evaluations)
            return DN_EINVAL;
    }
    for (size_t i = 0; i < n; i++) {
        const struct dn_row *row = rows[i];
        int timestep = row->sampling.ks[row->sampling.step];
        for (uint32_t pass = 0; pass < dn_row_next_evaluations(row); pass++, e++)
            w->evaluations[e] = (struct dn_evaluation){
                .input = row->sampling.x,
                .timestep = timestep,
                .label = pass == 0 ? (int)row->params.label : w->model->info.n_classes,
                .is_twin = pass > 0,
                .output = w->outputs + e * size};
    }
    dn_plan_run(w->model->plan, w->arena, w->evaluations, e, seconds);

    e = 0;
    for (size_t i = 0; i < n; i++) {
        float *output = w->outputs + e * size;
        uint32_t n_evaluations = dn_row_next_evaluations(rows[i]);
        if (n_evaluations == 2) {
            /* Classifier-free guidance (Ho & Salimans 2022): uncond + s (cond - uncond). */
            const float *uncond = output + size;
            float s = (float)rows[i]->params.guidance_scale;
            for (size_t j = 0; j < size; j++)
                output[j] = uncond[j] + s * (output[j] - uncond[j]);
        }
        dn_sampling_step(&rows[i]->sampling, rows[i]->ops, output);
        e += n_evaluations;
    }
    return 0;
}
