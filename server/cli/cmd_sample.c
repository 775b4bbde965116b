/*
 * `denoised sample`: draw images into files. The pixels, and the PNGs, are those that the API
 * serves for the same parameters.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/classes.h"
#include "api/text.h"
#include "server/base/random.h"
#include "server/cli/commands.h"
#include "server/cli/progress.h"
#include "server/cli/sample_output.h"
#include "server/cli/sample_run.h"
#include "server/cli/shown.h"
#include "server/cli/suggest.h"
#include "server/system/processors.h"

#define PNG_SIDE_MAX 1000000
#define NAMES_MAX 20 /* of classes in an error */

static int refuse(const char *flag, const char *text)
{
    complain("%s: %s", flag, text);
    return 2;
}

static int fail(const struct dn_error *err)
{
    complain("%s", err->text);
    return 1;
}

/* Say which classes there are, or the first of many, and which is near. */
static int refuse_label(const struct dn_model *model, const char *word)
{
    const struct dn_model_info *info = dn_model_info(model);
    struct suggestion nearest = {.word = NULL};
    struct text names = TEXT_INIT, shown = TEXT_INIT;
    for (int i = 0; i < info->n_classes; i++) {
        suggest(&nearest, word, info->class_names[i]);
        if (i < NAMES_MAX) {
            text_puts(&names, i > 0 ? ", " : "");
            text_shown(&names, info->class_names[i]);
        }
    }
    if (info->n_classes > NAMES_MAX)
        text_puts(&names, ", ...");
    text_shown(&shown, word);
    char *list = text_take(&names, NULL), *typed = text_take(&shown, NULL);
    fprintf(stderr, "denoised: --label: '%.100s': ", typed != NULL ? typed : "");
    if (!classes_have_numerals(info))
        fprintf(stderr, "a number from 0 to %d or ", info->n_classes - 1);
    fprintf(stderr, "one of %s expected", list != NULL ? list : "the classes");
    if (nearest.word != NULL && text_is_plain(nearest.word))
        fprintf(stderr, "; did you mean %s?", nearest.word);
    fputs("\n", stderr);
    free(list);
    free(typed);
    return 2;
}

/* Read --label into p->labels. Returns an exit status. */
static int read_labels(struct sample_params *p, const char *text)
{
    int n_classes = dn_model_info(p->model)->n_classes;
    bool is_all = strcmp(text, "all") == 0;
    size_t n_most = (size_t)n_classes, n_commas = 0;
    for (const char *c = text; *c != '\0'; c++)
        n_commas += *c == ',';
    if (!is_all)
        n_most = n_commas + 1;
    p->labels = malloc(n_most * sizeof *p->labels);
    char *copy = strdup(text);
    int status = p->labels == NULL || copy == NULL ? refuse("--label", "out of memory") : 0;
    for (uint32_t i = 0; status == 0 && is_all && i < (uint32_t)n_classes; i++)
        p->labels[p->n_labels++] = i;
    char *rest = is_all ? NULL : copy, *word;
    while (status == 0 && (word = strsep(&rest, ",")) != NULL) {
        int label = classes_find(p->model, word);
        if (label < 0) {
            status = refuse_label(p->model, word);
        } else {
            p->labels[p->n_labels++] = (uint32_t)label;
        }
    }
    free(copy);
    p->is_list = p->n_labels > 1;
    return status;
}

/* Take the preset, which none of the flags that it stands for may be beside. */
static int read_preset(struct sample_params *p, const struct options *o)
{
    const struct dn_preset *preset = dn_model_preset(p->model, o->preset);
    char text[240];
    if (preset == NULL) {
        snprintf(text, sizeof text, "'%.40s': model %s%s no preset of that name", o->preset,
                 dn_model_info(p->model)->name,
                 o->n_models > 1 ? " and the others that come with denoised have" : " has");
        return refuse("--preset", text);
    }
    const char *flag = o->sampler != NULL       ? "--sampler"
                       : o->steps > 0           ? "--steps"
                       : o->guidance_scale >= 0 ? "--guidance-scale"
                       : o->guidance_interval.end > 0 && preset->has_guidance_interval
                           ? "--guidance-interval"
                       : o->eta >= 0 && preset->has_eta ? "--eta"
                                                        : NULL;
    if (flag != NULL) {
        snprintf(text, sizeof text, "preset %s sets it: give the preset or the flag", preset->name);
        return refuse(flag, text);
    }
    p->sampler = preset->sampler;
    p->steps = preset->steps;
    p->guidance_scale = preset->guidance_scale;
    if (preset->has_guidance_interval)
        p->guidance_interval = preset->guidance_interval;
    p->eta = preset->eta;
    return 0;
}

static int refuse_sampler(const struct dn_model_info *info)
{
    char text[240];
    int used = snprintf(text, sizeof text, "not one of this model's:");
    for (int i = 0; i < DN_SAMPLER_COUNT; i++)
        if ((info->samplers & (1u << i)) != 0)
            used += snprintf(text + used, sizeof text - (size_t)used, " %s",
                             dn_sampler_info((enum dn_sampler)i)->name);
    return refuse("--sampler", text);
}

/* Sampler, steps, guidance and eta: the model's defaults, or what the user said if it may be. */
static int read_sampling(struct sample_params *p, const struct options *o)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    struct dn_error err;
    char text[160];
    p->sampler = info->default_sampler;
    p->steps = (uint32_t)info->default_steps;
    p->guidance_scale = info->default_guidance_scale;
    p->guidance_interval = info->default_guidance_interval;
    int status = o->preset != NULL ? read_preset(p, o) : 0;
    if (status != 0)
        return status;
    if (o->sampler != NULL)
        p->sampler = (enum dn_sampler)dn_sampler_by_name(o->sampler);
    if ((info->samplers & (1u << p->sampler)) == 0)
        return refuse_sampler(info);
    if (o->steps > 0)
        p->steps = (uint32_t)o->steps;
    if (dn_model_check_steps(p->model, p->steps, &err))
        return refuse("--steps", err.text);
    if (o->guidance_scale >= 0)
        p->guidance_scale = o->guidance_scale;
    if (dn_model_check_guidance(p->model, p->guidance_scale, &err))
        return refuse("--guidance-scale", err.text);
    if (o->guidance_interval.end > 0)
        p->guidance_interval = o->guidance_interval;
    if (dn_model_check_guidance_interval(p->model, p->guidance_interval, &err))
        return refuse("--guidance-interval", err.text);
    if (o->guidance_interval.end > 0 && p->guidance_scale == 1 &&
        (p->guidance_interval.start > 0 || p->guidance_interval.end < 1))
        return refuse("--guidance-interval", "guidance is off: its scale is 1");
    if (o->eta >= 0)
        p->eta = o->eta;
    if (p->eta != 0 && !dn_sampler_info(p->sampler)->has_eta) {
        snprintf(text, sizeof text, "sampler %s has none", dn_sampler_info(p->sampler)->name);
        return refuse("--eta", text);
    }
    return 0;
}

/* n, seed and the layout of the output. */
static int read_layout(struct sample_params *p, const struct options *o,
                       const struct sample_output_name *name)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    p->n = (uint32_t)o->n;
    p->n_rows = p->n_labels * p->n;
    if (p->n_rows > UINT32_MAX)
        return refuse("--n", "more than 4294967295 images");
    p->has_seed = true;
    p->seed = o->seed;
    if (!o->has_seed && random_seed(&p->seed) != 0)
        return refuse("--seed", "none given, and the system has no random bits");
    p->scale = (uint32_t)o->scale;
    if (name->kind == OUTPUT_NPY && p->scale != 1)
        return refuse("--scale", "an array holds the pixels as they are: 1 expected");
    if (name->kind != OUTPUT_PNG || p->n_rows == 1)
        return 0;
    p->layout = LAYOUT_GRID;
    p->columns = p->n > 1 && p->n_labels > 1 ? p->n : (uint32_t)ceil(sqrt((double)p->n_rows));
    uint64_t height = (uint64_t)params_grid_rows(p) * (uint64_t)info->height * p->scale;
    uint64_t width = (uint64_t)p->columns * (uint64_t)info->width * p->scale;
    if (height > PNG_SIDE_MAX || width > PNG_SIDE_MAX)
        return refuse("--output", "a grid with a side of more than 1000000 pixels; a name with %d "
                                  "makes a PNG of each image, FILE.npy an array of all");
    return 0;
}

static void print_done(const struct sample_params *p, const struct options *o, double seconds)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    FILE *out = strcmp(o->output, OUTPUT_STDOUT) == 0 ? stderr : stdout;
    print_shown(out, o->output);
    fprintf(out, ": %zu image%s of %s, seed %llu, %s %u steps, guidance %g", p->n_rows,
            p->n_rows == 1 ? "" : "s", info->name, (unsigned long long)p->seed,
            dn_sampler_info(p->sampler)->name, p->steps, p->guidance_scale);
    if (p->guidance_interval.start > 0 || p->guidance_interval.end < 1)
        fprintf(out, " in %g..%g", p->guidance_interval.start, p->guidance_interval.end);
    if (dn_sampler_info(p->sampler)->has_eta)
        fprintf(out, ", eta %g", p->eta);
    fprintf(out, ", %s, %.2f s\n", info->kernels, seconds);
}

static int draw(struct sample_params *p, const struct options *o,
                const struct sample_output_name *name)
{
    struct dn_error err = {.code = DN_OK};
    struct sample_output out;
    struct processors processors;
    processors_read(&processors);
    uint64_t began_ns = clock_now_ns();
    if (sample_output_open(&out, name, p, &err) < 0)
        return fail(&err);
    struct sample_run run = {.params = p,
                             .n_threads = o->threads > 0 ? o->threads : processors.usable,
                             .max_evaluations = (uint32_t)o->max_batch,
                             .on_image = sample_output_image,
                             .context = &out};
    int code = sample_run(&run, &err);
    struct dn_error close_err = err;
    int close_code = sample_output_close(&out, code == 0, &close_err);
    if (code < 0 || close_code < 0)
        return fail(code < 0 ? &err : &close_err);
    print_done(p, o, (double)(clock_now_ns() - began_ns) * 1e-9);
    return 0;
}

/* The model, or of the shipped ones the first that has the preset. */
static int open_model(struct dn_model **model, const struct options *o, struct dn_error *err)
{
    const struct dn_model_options options = {.isa = o->isa, .precision = o->precision};
    *model = NULL;
    for (int i = 0; i < o->n_models; i++) {
        struct dn_model *next;
        int code = dn_model_open(&next, o->models[i], &options, err);
        bool fits = code == 0 && (o->preset == NULL || dn_model_preset(next, o->preset) != NULL);
        if (code < 0 || fits || *model == NULL) {
            dn_model_free(*model);
            *model = next;
        } else {
            dn_model_free(next);
        }
        if (code < 0 || fits)
            return code;
    }
    return 0;
}

int cmd_sample(const struct options *o)
{
    struct dn_error err = {.code = DN_OK};
    struct sample_output_name name;
    if (sample_output_parse(&name, o->output, &err) < 0)
        return refuse("--output", err.text);
    struct dn_model *model;
    if (open_model(&model, o, &err) < 0)
        return fail(&err);
    struct sample_params params = {.model = model, .xmp_version = o->xmp ? DENOISED_VERSION : NULL};
    int status = read_labels(&params, o->labels);
    if (status == 0)
        status = read_sampling(&params, o);
    if (status == 0)
        status = read_layout(&params, o, &name);
    if (status == 0)
        status = draw(&params, o, &name);
    free(params.labels);
    dn_model_free(model);
    return status;
}
