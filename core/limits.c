/* What a model lets a row have, and what a row of it costs: of its info alone. */
#include <math.h>
#include <stdio.h>

#include "core/base/error.h"
#include "core/model_private.h"

const struct dn_step_list *dn_model_step_list(const struct dn_model *model, uint64_t steps)
{
    const struct dn_model_info *info = &model->info;
    for (size_t i = 0; i < info->n_step_lists; i++)
        if (info->step_lists[i].steps == steps)
            return &info->step_lists[i];
    return NULL;
}

int dn_model_check_steps(const struct dn_model *model, uint64_t steps, struct dn_error *err)
{
    const struct dn_model_info *info = &model->info;
    char list[DN_MAX_STEP_LISTS * 12] = "";
    size_t used = 0;

    if (info->n_step_lists == 0)
        return steps >= 1 && steps <= (uint64_t)info->timesteps
                   ? 0
                   : dn_fail(err, DN_EINVAL, "1..%d expected", info->timesteps);
    if (dn_model_step_list(model, steps))
        return 0;
    for (size_t i = 0; i < info->n_step_lists; i++) {
        const char *joint = i == 0 ? "" : i + 1 < info->n_step_lists ? ", " : " or ";
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%u", joint,
                                 info->step_lists[i].steps);
    }
    return dn_fail(err, DN_EINVAL, "%s expected", list);
}

int dn_model_check_guidance(const struct dn_model *model, double guidance_scale,
                            struct dn_error *err)
{
    const struct dn_model_info *info = &model->info;

    if (info->has_fixed_guidance && guidance_scale != info->default_guidance_scale)
        return dn_fail(err, DN_EINVAL, "%g expected: it is fixed, this model was trained for it",
                       info->default_guidance_scale);
    if (!info->has_fixed_guidance && !info->can_guide && guidance_scale != 1)
        return dn_fail(err, DN_EINVAL, "1 expected: this model was not trained for guidance");
    if (!(guidance_scale >= 0 && guidance_scale <= DN_GUIDANCE_MAX))
        return dn_fail(err, DN_EINVAL, "0..%g expected", DN_GUIDANCE_MAX);
    return 0;
}

int dn_model_check_guidance_interval(const struct dn_model *model, struct dn_interval interval,
                                     struct dn_error *err)
{
    const struct dn_model_info *info = &model->info;

    if (!info->can_guide && !(interval.start == 0 && interval.end == 1))
        return dn_fail(err, DN_EINVAL, "0 to 1 expected: this model %s",
                       info->has_fixed_guidance ? "has its guidance in its weights"
                                                : "was not trained for guidance");
    if (!(interval.start >= 0 && interval.start < interval.end && interval.end <= 1))
        return dn_fail(err, DN_EINVAL, "0 <= start < end <= 1 expected");
    return 0;
}

/* The first step i of `steps` with i / steps >= fraction, which is 0..1; the quotient itself
 * decides, so that 0.3 is exactly the fourth step of ten. */
static uint32_t first_step_at(double fraction, uint32_t steps)
{
    uint32_t i = (uint32_t)ceil(fraction * steps);
    while (i > 0 && (i - 1) / (double)steps >= fraction)
        i--;
    while (i / (double)steps < fraction)
        i++;
    return i;
}

struct dn_guided_steps dn_model_guided_steps(const struct dn_model *model,
                                             const struct dn_row_params *params)
{
    if (params->guidance_scale == 1 || model->info.has_fixed_guidance)
        return (struct dn_guided_steps){0, 0};
    return (struct dn_guided_steps){first_step_at(params->guidance_interval.start, params->steps),
                                    first_step_at(params->guidance_interval.end, params->steps)};
}

uint32_t dn_model_step_evaluations(const struct dn_model *model, const struct dn_row_params *params,
                                   uint32_t step)
{
    struct dn_guided_steps guided = dn_model_guided_steps(model, params);
    return step >= guided.first && step < guided.end ? 2 : 1;
}

uint32_t dn_model_row_evaluations(const struct dn_model *model, const struct dn_row_params *params)
{
    struct dn_guided_steps guided = dn_model_guided_steps(model, params);
    return params->steps + guided.end - guided.first;
}

uint32_t dn_model_nearest_steps(const struct dn_model *model, uint32_t steps)
{
    const struct dn_model_info *info = &model->info;
    if (info->n_step_lists == 0)
        return steps < 1                           ? 1
               : steps < (uint32_t)info->timesteps ? steps
                                                   : (uint32_t)info->timesteps;
    size_t i = 0;
    while (i + 1 < info->n_step_lists && info->step_lists[i + 1].steps <= steps)
        i++;
    return info->step_lists[i].steps;
}

double dn_model_unguided_scale(const struct dn_model *model)
{
    return model->info.has_fixed_guidance ? model->info.default_guidance_scale : 1;
}
