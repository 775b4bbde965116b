/*
 * The config that travels with the weights (docs/model-file.md): what the network is, what its
 * output means, how to sample from it. Strings that name a sampler, a schedule or an architecture
 * are kept as strings here; whoever owns the table of them resolves them.
 *
 * An architecture reads its own parameters with dn_arch_int() and its siblings; what it leaves
 * unread is an unknown field, and an error.
 */
#ifndef CORE_MODEL_CONFIG_H
#define CORE_MODEL_CONFIG_H

#include <stdbool.h>

#include "core/denoise.h"

enum {
    DN_MAX_CLASSES = 1000,
    DN_MAX_SIDE = 512,
    DN_MAX_TIMESTEPS = 10000,
    DN_MAX_ALLOWED_SAMPLERS = 16,
    DN_MAX_STEP_LISTS = 16,
    DN_MAX_LISTED_STEPS = 64,
    DN_MAX_PRESETS = 16,
    DN_NAME_BYTES = 64,
};

struct cJSON;

struct dn_config {
    char arch_type[DN_NAME_BYTES];

    int channels, height, width;
    double range[2]; /* value of pixel 0 and of pixel 255 */

    int n_classes;
    char **class_names; /* [n_classes] */
    bool null_label;    /* label n_classes means "no label" */

    char prediction[DN_NAME_BYTES];
    char beta_schedule[DN_NAME_BYTES];
    int timesteps;
    double beta_start, beta_end;
    /* The network sees t = (k + time_offset) / time_divisor at timestep k = 0..timesteps-1. */
    double time_divisor, time_offset;
    bool clip_sample; /* clip the x0 estimate to `range` at each step */

    int n_samplers;
    char samplers[DN_MAX_ALLOWED_SAMPLERS][DN_NAME_BYTES];
    char default_sampler[DN_NAME_BYTES];
    int default_steps;
    double default_guidance_scale;
    struct dn_interval default_guidance_interval;
    bool has_fixed_guidance;
    int n_step_lists;
    struct dn_step_list step_lists[DN_MAX_STEP_LISTS]; /* steps rising */
    int listed_timesteps[DN_MAX_STEP_LISTS][DN_MAX_LISTED_STEPS];
    int n_presets;
    struct dn_preset presets[DN_MAX_PRESETS]; /* but for the sampler, which is ... */
    char preset_samplers[DN_MAX_PRESETS][DN_NAME_BYTES];

    struct cJSON *arch; /* what of the architecture object is still unread */
};

/* Errors: EFORMAT, naming the field ("config: diffusion.timesteps: ..."), ENOMEM. */
int dn_config_parse(struct dn_config *config, const char *text, struct dn_error *err);
void dn_config_deinit(struct dn_config *config);

/* Read a field of the architecture object, once. 0, or EFORMAT with err filled. */
int dn_arch_int(struct dn_config *config, const char *field, int least, int most, int *value,
                struct dn_error *err);
/* A list of 1..max whole numbers. */
int dn_arch_ints(struct dn_config *config, const char *field, int least, int most, int *values,
                 int max, int *count, struct dn_error *err);
int dn_arch_string(struct dn_config *config, const char *field, char value[DN_NAME_BYTES],
                   struct dn_error *err);
/* EFORMAT, naming the first field of the architecture object that was never read. */
int dn_arch_check_all_read(const struct dn_config *config, struct dn_error *err);

#endif
