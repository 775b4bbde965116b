/* Opening a model: file -> tensors and config -> schedule -> recorded graph -> plan. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/model/file.h"
#include "core/model/safetensors.h"
#include "core/model_private.h"
#include "core/nets/nets.h"

static const float *weight_of(void *context, const char *name, const int64_t *shape, int rank,
                              struct dn_error *err)
{
    return dn_safetensors_use(context, name, shape, rank, err);
}

bool dn_model_name_is_valid(const char *name, size_t bytes)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:";
    for (size_t i = 0; i < bytes; i++)
        if (!memchr(allowed, name[i], sizeof allowed - 1))
            return false;
    bool is_folder = bytes <= 2 && memcmp(name, "..", bytes) == 0;
    return bytes < 64 && !is_folder; /* the empty name is none either */
}

/* "models/mnist.safetensors" -> "mnist". */
static int name_of(char name[64], const char *path, struct dn_error *err)
{
    static const char suffix[] = ".safetensors";
    const char *slash = strrchr(path, '/');
    const char *stem = slash ? slash + 1 : path;
    size_t n = strlen(stem);

    if (n >= sizeof suffix - 1 && strcmp(stem + n - (sizeof suffix - 1), suffix) == 0)
        n -= sizeof suffix - 1;
    if (!dn_model_name_is_valid(stem, n))
        return dn_fail(err, DN_EFORMAT, "the file's name before .safetensors: " DN_MODEL_NAME_RULE);
    memcpy(name, stem, n);
    name[n] = '\0';
    return 0;
}

static int read_samplers(struct dn_model *model, struct dn_error *err)
{
    const struct dn_config *c = &model->config;
    for (int i = 0; i < c->n_samplers; i++) {
        int sampler = dn_sampler_by_name(c->samplers[i]);
        if (sampler < 0)
            return dn_fail(err, DN_EFORMAT, "config: sampling.samplers: no sampler %s",
                           c->samplers[i]);
        if (model->info.samplers >> sampler & 1)
            return dn_fail(err, DN_EFORMAT, "config: sampling.samplers: %s given twice",
                           c->samplers[i]);
        model->info.samplers |= UINT32_C(1) << sampler;
    }
    int sampler = dn_sampler_by_name(c->default_sampler);
    if (sampler < 0 || !(model->info.samplers >> sampler & 1))
        return dn_fail(err, DN_EFORMAT,
                       "config: sampling.default.sampler: not among sampling.samplers");
    model->info.default_sampler = (enum dn_sampler)sampler;
    return 0;
}

/* Resolve and check the presets by what the model lets its rows have. Its info is filled. */
static int read_presets(struct dn_model *model, struct dn_error *err)
{
    struct dn_config *c = &model->config;
    int rc = 0;

    for (int i = 0; i < c->n_presets && rc == 0; i++) {
        struct dn_preset *preset = &c->presets[i];
        const char *field = "sampler";
        int sampler = dn_sampler_by_name(c->preset_samplers[i]);
        if (sampler < 0 || !(model->info.samplers >> sampler & 1)) {
            rc = dn_fail(err, DN_EFORMAT, "not among sampling.samplers");
        } else {
            preset->sampler = (enum dn_sampler)sampler;
            if ((rc = dn_model_check_steps(model, preset->steps, err)))
                field = "steps";
            else if ((rc = dn_model_check_guidance(model, preset->guidance_scale, err)))
                field = "guidance_scale";
            else if (preset->has_guidance_interval &&
                     (rc = dn_model_check_guidance_interval(model, preset->guidance_interval, err)))
                field = "guidance_interval";
            else if (preset->has_guidance_interval && preset->guidance_scale == 1) {
                field = "guidance_interval";
                rc = dn_fail(err, DN_EFORMAT, "guidance_scale 1 has none");
            } else if (preset->has_eta && !dn_sampler_info(preset->sampler)->has_eta) {
                field = "eta";
                rc = dn_fail(err, DN_EFORMAT, "sampler %s has none", c->preset_samplers[i]);
            }
        }
        if (rc) {
            err->code = DN_EFORMAT;
            rc = dn_wrap(err, "config: sampling.presets.%s.%s", preset->name, field);
        }
    }
    model->info.n_presets = (size_t)c->n_presets;
    model->info.presets = c->presets;
    return rc;
}

static int choose_kernels(struct dn_model *model, const struct dn_model_options *options,
                          struct dn_error *err)
{
    struct dn_model_info *info = &model->info;
    const struct dn_kernels *kernels = dn_kernels_for(options->isa, options->precision);

    if (!dn_isa_available(options->isa))
        return dn_fail(err, DN_EUNSUPPORTED, "isa %s: not on this processor or in this build",
                       dn_isa_name(options->isa));
    if (!kernels)
        return dn_fail(err, DN_EUNSUPPORTED,
                       "precision %s: isa %s has no kernels for it on this processor",
                       dn_precision_name(options->precision), dn_isa_name(options->isa));
    model->kernels = kernels;
    info->isa = kernels->isa;
    info->precision = kernels->precision;
    if (kernels->isa == DN_ISA_OPENBLAS)
        snprintf(model->kernels_name, sizeof model->kernels_name, "%s-%s", kernels->domain,
                 dn_blas_core());
    else
        snprintf(model->kernels_name, sizeof model->kernels_name, "%s", kernels->domain);
    info->kernels = model->kernels_name;
    return 0;
}

static void fill_info(struct dn_model *model, const struct dn_file *file, size_t n_parameters)
{
    const struct dn_config *c = &model->config;
    struct dn_model_info *info = &model->info;

    memcpy(info->digest, file->digest, sizeof info->digest);
    info->arch = c->arch_type;
    info->config = model->config_text;
    info->file_bytes = file->size;
    info->n_parameters = n_parameters;
    info->channels = c->channels;
    info->height = c->height;
    info->width = c->width;
    info->n_classes = c->n_classes;
    info->class_names = (const char *const *)c->class_names;
    info->timesteps = c->timesteps;
    info->prediction = c->prediction;
    info->default_steps = c->default_steps;
    info->default_guidance_scale = c->default_guidance_scale;
    info->default_guidance_interval = c->default_guidance_interval;
    info->can_guide = c->null_label && !c->has_fixed_guidance;
    info->has_fixed_guidance = c->has_fixed_guidance;
    info->n_step_lists = (size_t)c->n_step_lists;
    info->step_lists = c->step_lists;
    const struct dn_op_info *ops;
    size_t n_ops = dn_plan_ops(model->plan, &ops);
    for (size_t i = 0; i < n_ops; i++)
        info->macs += ops[i].macs;
    model->size = (size_t)c->height * (size_t)c->width * (size_t)c->channels;
}

/* Record the network on a graph and plan it. */
int dn_model_plan(struct dn_plan **plan, struct dn_config *config, struct dn_safetensors *tensors,
                  const struct dn_kernels *kernels, bool keep_all, struct dn_error *err)
{
    const struct dn_net *net = dn_net_by_type(config->arch_type);
    const struct dn_weight_source source = {weight_of, tensors};
    struct dn_graph *graph = NULL;

    if (!net)
        return dn_fail(err, DN_EFORMAT, "config: architecture.type: no architecture %s",
                       config->arch_type);
    if (kernels->isa == DN_ISA_OPENBLAS && !dn_openblas_use_one_thread())
        return dn_fail(
            err, DN_EUNSUPPORTED,
            "isa openblas: this OpenBLAS cannot be held to one thread a call (OpenMP build?)");
    int rc = dn_graph_new(&graph, &source, err);
    if (rc == 0)
        rc = net->record(graph, config, err);
    if (rc == 0)
        rc = dn_safetensors_check_all_used(tensors, err);
    if (rc == 0)
        rc = dn_plan_new(plan, graph, kernels, keep_all, err);
    dn_graph_free(graph);
    return rc;
}

int dn_model_open(struct dn_model **out, const char *path, const struct dn_model_options *options,
                  struct dn_error *err)
{
    struct dn_error local;
    struct dn_file file = {.fd = -1};
    struct dn_safetensors tensors = {0};
    struct dn_model *model = calloc(1, sizeof *model);
    int rc;

    err = err ? err : &local;
    *out = NULL;
    if (!model)
        return dn_fail(err, DN_ENOMEM, "load %.200s: out of memory", path);
    atomic_init(&model->n_owners, 1);
    struct dn_config *c = &model->config;
    if ((rc = name_of(model->info.name, path, err)) || (rc = choose_kernels(model, options, err)) ||
        (rc = dn_file_open(&file, path, err)) ||
        (rc = dn_safetensors_read_header(&tensors, &file, err)) ||
        (rc = dn_config_parse(c, tensors.config, err)) || (rc = read_samplers(model, err)) ||
        (rc = dn_schedule_init(&model->schedule, c->timesteps, c->beta_schedule, c->beta_start,
                               c->beta_end, c->prediction, err)) ||
        (rc = dn_safetensors_read_values(&tensors, &file, err)) ||
        (rc = dn_model_plan(&model->plan, c, &tensors, model->kernels, false, err)))
        goto out;
    model->schedule.clip = c->clip_sample;
    model->schedule.lo = (float)c->range[0];
    model->schedule.hi = (float)c->range[1];
    model->config_text = tensors.config;
    tensors.config = NULL;
    fill_info(model, &file, tensors.n_values);
    rc = read_presets(model, err);
out:
    dn_safetensors_deinit(&tensors);
    dn_file_free(&file);
    if (rc) {
        rc = dn_wrap(err, "load %.200s", path);
        dn_model_free(model);
        model = NULL;
    }
    *out = model;
    return rc;
}

struct dn_model *dn_model_share(struct dn_model *model)
{
    atomic_fetch_add_explicit(&model->n_owners, 1, memory_order_relaxed);
    return model;
}

void dn_model_strip(struct dn_model *model)
{
    dn_plan_free(model->plan);
    model->plan = NULL;
}

void dn_model_free(struct dn_model *model)
{
    /* What other owners did with the model happened before it is freed. */
    if (!model || atomic_fetch_sub_explicit(&model->n_owners, 1, memory_order_acq_rel) > 1)
        return;
    dn_model_strip(model);
    dn_schedule_deinit(&model->schedule);
    dn_config_deinit(&model->config);
    free(model->config_text);
    free(model);
}

const struct dn_model_info *dn_model_info(const struct dn_model *model)
{
    return &model->info;
}

size_t dn_model_ops(const struct dn_model *model, const struct dn_op_info **ops)
{
    return dn_plan_ops(model->plan, ops);
}

const struct dn_preset *dn_model_preset(const struct dn_model *model, const char *name)
{
    for (size_t i = 0; i < model->info.n_presets; i++)
        if (strcmp(model->info.presets[i].name, name) == 0)
            return &model->info.presets[i];
    return NULL;
}

int dn_model_class_by_name(const struct dn_model *model, const char *name)
{
    for (int i = 0; i < model->info.n_classes; i++)
        if (strcmp(model->info.class_names[i], name) == 0)
            return i;
    return -1;
}
