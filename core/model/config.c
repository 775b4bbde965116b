#include "core/model/config.h"

#include <cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/memory.h"

/* One JSON object being read: fields are taken out of it, so that what remains is unknown. */
struct object {
    cJSON *json;
    const char *path;
    struct dn_error *err;
    int rc; /* sticky */
};

static void fail(struct object *o, const char *field, const char *what)
{
    if (o->rc == 0)
        o->rc = dn_fail(o->err, DN_EFORMAT, "config: %s%s%s: %s", o->path, *o->path ? "." : "",
                        field, what);
}

/* The field's item, taken out of the object; NULL and an error if missing or given twice. */
static cJSON *take(struct object *o, const char *field)
{
    cJSON *item = o->rc ? NULL : cJSON_DetachItemFromObjectCaseSensitive(o->json, field);
    if (!item)
        fail(o, field, "missing");
    else if (cJSON_GetObjectItemCaseSensitive(o->json, field))
        fail(o, field, "given twice");
    return item;
}

/* Is there an optional field? */
static bool has(const struct object *o, const char *field)
{
    return o->rc == 0 && cJSON_GetObjectItemCaseSensitive(o->json, field);
}

static void take_number(struct object *o, const char *field, double least, double most,
                        double *value)
{
    cJSON *item = take(o, field);
    if (item &&
        (!cJSON_IsNumber(item) || !(item->valuedouble >= least && item->valuedouble <= most)))
        fail(o, field, "not a number in its range");
    else if (item)
        *value = item->valuedouble;
    cJSON_Delete(item);
}

static void take_int(struct object *o, const char *field, int least, int most, int *value)
{
    double d = least;
    take_number(o, field, least, most, &d);
    if (d != floor(d))
        fail(o, field, "not a whole number");
    *value = (int)d;
}

static void copy_string(struct object *o, const char *field, const cJSON *item,
                        char value[DN_NAME_BYTES])
{
    if (!cJSON_IsString(item) || !*item->valuestring || strlen(item->valuestring) >= DN_NAME_BYTES)
        fail(o, field, "a string of 1 to 63 bytes expected");
    else
        memcpy(value, item->valuestring, strlen(item->valuestring) + 1);
}

static void take_string(struct object *o, const char *field, char value[DN_NAME_BYTES])
{
    cJSON *item = take(o, field);
    if (item)
        copy_string(o, field, item, value);
    cJSON_Delete(item);
}

static void take_bool(struct object *o, const char *field, bool *value)
{
    cJSON *item = take(o, field);
    if (item && !cJSON_IsBool(item))
        fail(o, field, "true or false expected");
    *value = cJSON_IsTrue(item);
    cJSON_Delete(item);
}

static struct object take_object(struct object *o, const char *field)
{
    struct object inner = {.json = take(o, field), .path = field, .err = o->err};
    if (inner.json && !cJSON_IsObject(inner.json))
        fail(o, field, "an object expected");
    inner.rc = o->rc;
    return inner;
}

/* Unknown fields are errors; hands the inner object's error to the outer one. */
static void finish(struct object *o, struct object *outer)
{
    if (o->rc == 0 && o->json && o->json->child)
        fail(o, o->json->child->string, "unknown field");
    cJSON_Delete(o->json);
    o->json = NULL;
    if (outer && outer->rc == 0)
        outer->rc = o->rc;
}

static void read_classes(struct object *o, struct dn_config *config)
{
    cJSON *list = take(o, "classes");
    int n = cJSON_GetArraySize(list);
    if (list && (!cJSON_IsArray(list) || n < 1 || n > DN_MAX_CLASSES)) {
        fail(o, "classes", "a list of 1 to 1000 names expected");
    } else if (list) {
        config->class_names = calloc((size_t)n, sizeof *config->class_names);
        if (!config->class_names)
            o->rc = dn_fail(o->err, DN_ENOMEM, "out of memory");
        for (cJSON *item = list->child; item && o->rc == 0; item = item->next) {
            char name[DN_NAME_BYTES] = "";
            copy_string(o, "classes", item, name);
            for (int i = 0; i < config->n_classes; i++)
                if (strcmp(config->class_names[i], name) == 0)
                    fail(o, "classes", "a name given twice");
            if (o->rc)
                break;
            char *copy = dn_strndup(name, strlen(name));
            if (!copy)
                o->rc = dn_fail(o->err, DN_ENOMEM, "out of memory");
            else
                config->class_names[config->n_classes++] = copy;
        }
    }
    cJSON_Delete(list);
}

static void read_image(struct object *o, struct dn_config *config)
{
    struct object image = take_object(o, "image");
    take_int(&image, "channels", 1, 4, &config->channels);
    if (config->channels != 1 && config->channels != 3)
        fail(&image, "channels", "1 or 3 expected");
    take_int(&image, "height", 1, DN_MAX_SIDE, &config->height);
    take_int(&image, "width", 1, DN_MAX_SIDE, &config->width);
    cJSON *range = take(&image, "range");
    if (range && (!cJSON_IsArray(range) || cJSON_GetArraySize(range) != 2 ||
                  !cJSON_IsNumber(range->child) || !cJSON_IsNumber(range->child->next))) {
        fail(&image, "range", "two numbers expected");
    } else if (range) {
        config->range[0] = range->child->valuedouble;
        config->range[1] = range->child->next->valuedouble;
        if (!(config->range[0] >= -1e3 && config->range[0] < config->range[1] &&
              config->range[1] <= 1e3))
            fail(&image, "range", "two rising numbers within -1000..1000 expected");
    }
    cJSON_Delete(range);
    finish(&image, o);
}

static void read_diffusion(struct object *o, struct dn_config *config)
{
    struct object d = take_object(o, "diffusion");
    take_string(&d, "prediction", config->prediction);
    take_int(&d, "timesteps", 1, DN_MAX_TIMESTEPS, &config->timesteps);
    take_string(&d, "beta_schedule", config->beta_schedule);
    take_number(&d, "beta_start", 0, 1, &config->beta_start);
    take_number(&d, "beta_end", 0, 1, &config->beta_end);
    take_number(&d, "time_divisor", 1e-6, 1e6, &config->time_divisor);
    take_number(&d, "time_offset", 0, 1e6, &config->time_offset);
    take_bool(&d, "clip_sample", &config->clip_sample);
    finish(&d, o);
}

/* "4": [999, 599, 399, 199] */
static void read_step_list(struct object *o, const cJSON *list, struct dn_config *config)
{
    int n = cJSON_GetArraySize(list), i = config->n_step_lists, count = 0;
    int *timesteps = config->listed_timesteps[i];
    char name[16];

    snprintf(name, sizeof name, "%d", n);
    if (!cJSON_IsArray(list) || n < 1 || n > DN_MAX_LISTED_STEPS ||
        strcmp(name, list->string) != 0) {
        fail(o, list->string, "a list of as many timesteps expected, 1 to 64");
        return;
    }
    if (i > 0 && config->step_lists[i - 1].steps >= (uint32_t)n) {
        fail(o, list->string, "not after those with fewer steps");
        return;
    }
    for (const cJSON *item = list->child; item; item = item->next) {
        double k = cJSON_IsNumber(item) ? item->valuedouble : NAN;
        double most = count > 0 ? timesteps[count - 1] - 1 : config->timesteps - 1;
        if (!(k >= 0 && k <= most) || k != floor(k)) {
            fail(o, list->string, "falling whole numbers below diffusion.timesteps expected");
            return;
        }
        timesteps[count++] = (int)k;
    }
    config->step_lists[config->n_step_lists++] =
        (struct dn_step_list){.steps = (uint32_t)n, .timesteps = timesteps};
}

static void read_step_lists(struct object *o, struct dn_config *config)
{
    struct object lists = take_object(o, "timesteps");
    lists.path = "sampling.timesteps";
    int n = cJSON_GetArraySize(lists.json);
    if (lists.rc == 0 && (n < 1 || n > DN_MAX_STEP_LISTS))
        fail(o, "timesteps", "1 to 16 lists expected");
    lists.rc = o->rc;
    while (lists.rc == 0 && lists.json->child) {
        cJSON *list = cJSON_DetachItemViaPointer(lists.json, lists.json->child);
        read_step_list(&lists, list, config);
        cJSON_Delete(list);
    }
    finish(&lists, o);
}

static bool has_step_list(const struct dn_config *config, int steps)
{
    for (int i = 0; i < config->n_step_lists; i++)
        if (config->step_lists[i].steps == (uint32_t)steps)
            return true;
    return config->n_step_lists == 0;
}

/* Two numbers, the second larger, within 0..1. */
static void take_interval(struct object *o, const char *field, struct dn_interval *interval)
{
    cJSON *pair = take(o, field);
    if (pair && (!cJSON_IsArray(pair) || cJSON_GetArraySize(pair) != 2 ||
                 !cJSON_IsNumber(pair->child) || !cJSON_IsNumber(pair->child->next))) {
        fail(o, field, "two numbers expected");
    } else if (pair) {
        *interval = (struct dn_interval){pair->child->valuedouble, pair->child->next->valuedouble};
        if (!(interval->start >= 0 && interval->start < interval->end && interval->end <= 1))
            fail(o, field, "two rising numbers within 0..1 expected");
    }
    cJSON_Delete(pair);
}

/* "fast": {"sampler": "ipndm", "steps": 5, "guidance_scale": 1.5} */
static void read_preset(struct object *o, cJSON *item, struct dn_config *config)
{
    struct dn_preset *preset = &config->presets[config->n_presets];
    char path[DN_PRESET_NAME_BYTES + 32];
    struct object p = {.json = item, .path = path, .err = o->err};
    int steps = 0;
    size_t n = strlen(item->string);

    if (n < 1 || n >= sizeof preset->name ||
        strspn(item->string, "abcdefghijklmnopqrstuvwxyz0123456789-") != n)
        fail(o, item->string, "a name of 1 to 32 letters a-z, digits and - expected");
    else if (!cJSON_IsObject(item))
        fail(o, item->string, "an object expected");
    for (int i = 0; i < config->n_presets && o->rc == 0; i++)
        if (strcmp(config->presets[i].name, item->string) == 0)
            fail(o, item->string, "given twice");
    p.rc = o->rc;
    if (p.rc == 0) {
        memcpy(preset->name, item->string, n + 1);
        snprintf(path, sizeof path, "%s.%s", o->path, preset->name);
        take_string(&p, "sampler", config->preset_samplers[config->n_presets]);
        take_int(&p, "steps", 1, DN_MAX_TIMESTEPS, &steps);
        preset->steps = (uint32_t)steps;
        take_number(&p, "guidance_scale", 0, DN_GUIDANCE_MAX, &preset->guidance_scale);
        preset->has_guidance_interval = has(&p, "guidance_interval");
        if (preset->has_guidance_interval)
            take_interval(&p, "guidance_interval", &preset->guidance_interval);
        preset->has_eta = has(&p, "eta");
        if (preset->has_eta)
            take_number(&p, "eta", 0, 1, &preset->eta);
        config->n_presets++;
    }
    finish(&p, o);
}

static void read_presets(struct object *o, struct dn_config *config)
{
    struct object presets = take_object(o, "presets");
    presets.path = "sampling.presets";
    int n = cJSON_GetArraySize(presets.json);
    if (presets.rc == 0 && (n < 1 || n > DN_MAX_PRESETS))
        fail(o, "presets", "1 to 16 of them expected");
    presets.rc = o->rc;
    while (presets.rc == 0 && presets.json->child)
        read_preset(&presets, cJSON_DetachItemViaPointer(presets.json, presets.json->child),
                    config);
    finish(&presets, o);
}

static void read_sampling(struct object *o, struct dn_config *config)
{
    struct object s = take_object(o, "sampling");
    cJSON *list = take(&s, "samplers");
    int n = cJSON_GetArraySize(list);
    if (list && (!cJSON_IsArray(list) || n < 1 || n > DN_MAX_ALLOWED_SAMPLERS))
        fail(&s, "samplers", "a list of 1 to 16 names expected");
    else if (list)
        for (cJSON *item = list->child; item; item = item->next)
            copy_string(&s, "samplers", item, config->samplers[config->n_samplers++]);
    cJSON_Delete(list);
    if (has(&s, "timesteps"))
        read_step_lists(&s, config);
    double fixed_guidance = 0;
    config->has_fixed_guidance = has(&s, "fixed_guidance_scale");
    if (config->has_fixed_guidance)
        take_number(&s, "fixed_guidance_scale", 0, DN_GUIDANCE_MAX, &fixed_guidance);

    struct object def = take_object(&s, "default");
    def.path = "sampling.default";
    take_string(&def, "sampler", config->default_sampler);
    take_int(&def, "steps", 1, DN_MAX_TIMESTEPS, &config->default_steps);
    if (def.rc == 0 && config->default_steps > config->timesteps)
        fail(&def, "steps", "more than diffusion.timesteps");
    if (def.rc == 0 && !has_step_list(config, config->default_steps))
        fail(&def, "steps", "not among sampling.timesteps");
    take_number(&def, "guidance_scale", 0, DN_GUIDANCE_MAX, &config->default_guidance_scale);
    if (config->has_fixed_guidance && config->default_guidance_scale != fixed_guidance)
        fail(&def, "guidance_scale", "not sampling.fixed_guidance_scale");
    config->default_guidance_interval = (struct dn_interval){0, 1};
    if (has(&def, "guidance_interval"))
        take_interval(&def, "guidance_interval", &config->default_guidance_interval);
    finish(&def, &s);
    if (has(&s, "presets"))
        read_presets(&s, config);
    finish(&s, o);
}

/* The library takes them in strings, where JSON has none. */
static bool has_raw_control(const char *text)
{
    bool in_string = false;
    for (; *text; text++) {
        if (in_string && (unsigned char)*text < ' ')
            return true;
        if (in_string && *text == '\\' && text[1])
            text++;
        else if (*text == '"')
            in_string = !in_string;
    }
    return false;
}

int dn_config_parse(struct dn_config *config, const char *text, struct dn_error *err)
{
    *config = (struct dn_config){0};
    struct object root = {.path = "", .err = err};
    const char *end = NULL;
    int version = 0;

    errno = 0; /* the library does not tell a lack of memory from a fault; malloc() does */
    root.json = cJSON_ParseWithOpts(text, &end, 1);
    if (!root.json && errno == ENOMEM)
        return dn_fail(err, DN_ENOMEM, "out of memory");
    if (!root.json || !cJSON_IsObject(root.json)) {
        cJSON_Delete(root.json);
        return dn_fail(err, DN_EFORMAT, "config: not a JSON object");
    }
    if (has_raw_control(text)) {
        cJSON_Delete(root.json);
        return dn_fail(err, DN_EFORMAT, "config: a control character in a string, not escaped");
    }
    take_int(&root, "format_version", 1, 1, &version);
    read_image(&root, config);
    read_classes(&root, config);
    take_bool(&root, "null_label", &config->null_label);
    read_diffusion(&root, config);
    read_sampling(&root, config);
    if (root.rc == 0 && !config->null_label && !config->has_fixed_guidance &&
        config->default_guidance_scale != 1)
        fail(&root, "sampling.default.guidance_scale", "1 expected, there is no null label");
    struct dn_interval guided = config->default_guidance_interval;
    if (root.rc == 0 && (!config->null_label || config->has_fixed_guidance) &&
        !(guided.start == 0 && guided.end == 1))
        fail(&root, "sampling.default.guidance_interval",
             config->null_label ? "0 to 1 expected with sampling.fixed_guidance_scale"
                                : "0 to 1 expected, there is no null label");
    cJSON_Delete(take(&root, "training")); /* provenance, for people */

    struct object arch = take_object(&root, "architecture");
    take_string(&arch, "type", config->arch_type);
    if (root.rc == 0)
        root.rc = arch.rc;
    config->arch = arch.json;
    finish(&root, NULL);
    if (root.rc)
        dn_config_deinit(config);
    return root.rc;
}

void dn_config_deinit(struct dn_config *config)
{
    for (int i = 0; i < config->n_classes; i++)
        free(config->class_names[i]);
    free(config->class_names);
    cJSON_Delete(config->arch);
    *config = (struct dn_config){0};
}

int dn_arch_int(struct dn_config *config, const char *field, int least, int most, int *value,
                struct dn_error *err)
{
    struct object o = {.json = config->arch, .path = "architecture", .err = err};
    take_int(&o, field, least, most, value);
    return o.rc;
}

int dn_arch_ints(struct dn_config *config, const char *field, int least, int most, int *values,
                 int max, int *count, struct dn_error *err)
{
    struct object o = {.json = config->arch, .path = "architecture", .err = err};
    cJSON *list = take(&o, field);
    int n = cJSON_GetArraySize(list);
    *count = 0;
    if (list && (!cJSON_IsArray(list) || n < 1 || n > max))
        fail(&o, field, "a list of whole numbers of another length expected");
    else if (list)
        for (cJSON *item = list->child; item; item = item->next) {
            double d = cJSON_IsNumber(item) ? item->valuedouble : NAN;
            if (!(d >= least && d <= most) || d != floor(d)) {
                fail(&o, field, "a whole number out of its range");
                break;
            }
            values[(*count)++] = (int)d;
        }
    cJSON_Delete(list);
    return o.rc;
}

int dn_arch_string(struct dn_config *config, const char *field, char value[DN_NAME_BYTES],
                   struct dn_error *err)
{
    struct object o = {.json = config->arch, .path = "architecture", .err = err};
    take_string(&o, field, value);
    return o.rc;
}

int dn_arch_check_all_read(const struct dn_config *config, struct dn_error *err)
{
    if (config->arch->child)
        return dn_fail(err, DN_EFORMAT, "config: architecture.%.80s: unknown field",
                       config->arch->child->string);
    return 0;
}
