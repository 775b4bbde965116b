/* What model.c, limits.c and step.c, the files behind denoise.h, share. */
#ifndef CORE_MODEL_PRIVATE_H
#define CORE_MODEL_PRIVATE_H

#include <stdatomic.h>

#include "core/denoise.h"
#include "core/graph/plan.h"
#include "core/kernels/kernels.h"
#include "core/model/config.h"
#include "core/model/safetensors.h"
#include "core/sampling/sampler.h"

struct dn_model {
    atomic_uint n_owners;
    struct dn_model_info info;
    struct dn_config config;
    char *config_text;
    char kernels_name[64];
    const struct dn_kernels *kernels;
    struct dn_schedule schedule;
    struct dn_plan *plan;
    size_t size; /* floats of an image: H W C */
};

/* The steps of a row that take two evaluations: first..end-1. */
struct dn_guided_steps {
    uint32_t first, end;
};

struct dn_guided_steps dn_model_guided_steps(const struct dn_model *model,
                                             const struct dn_row_params *params);

/* The model's own timesteps of so many steps; NULL where it has none. */
const struct dn_step_list *dn_model_step_list(const struct dn_model *model, uint64_t steps);

/* Record the config's network on a graph with these weights, and plan it for `kernels`. */
int dn_model_plan(struct dn_plan **plan, struct dn_config *config, struct dn_safetensors *tensors,
                  const struct dn_kernels *kernels, bool keep_all, struct dn_error *err);

#endif
