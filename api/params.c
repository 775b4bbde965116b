#include "api/params.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/classes.h"
#include "api/fields.h"
#include "api/json.h"
#include "api/text.h"
#include "api/unicode.h"

int api_model_find(const struct api_context *context, const char *id)
{
    for (size_t i = 0; i < context->n_models; i++) {
        const struct dn_model_info *info = dn_model_info(context->models[i]);
        if (strcmp(info->name, id) == 0 || strcmp(info->digest, id) == 0) {
            return (int)i;
        }
    }
    for (size_t i = 0; i < context->n_aliases; i++) {
        if (strcmp(context->aliases[i].name, id) == 0) {
            return (int)context->aliases[i].model_idx;
        }
    }
    return -1;
}

void api_model_missing(const struct api_context *context, const char *id, const char *pointer,
                       struct problem *problem)
{
    char shown[72];
    size_t i = 0;
    while (i < context->n_departed && strcmp(context->departed[i].digest, id) != 0 &&
           strcmp(context->departed[i].name, id) != 0) {
        i++;
    }
    if (i == context->n_departed) {
        unicode_copy(shown, sizeof shown, id);
        problem_set(problem, PROBLEM_MODEL_NOT_FOUND,
                    "There is no model \"%s\" here; /v1/models lists what there is.", shown);
        problem_add(problem, pointer, "no such model");
        return;
    }
    const struct api_departed *d = &context->departed[i];
    if (*d->successor) {
        problem_set(problem, PROBLEM_MODEL_NOT_FOUND,
                    "The model %s of digest %s is not served any more: %s took its place.", d->name,
                    d->digest, d->successor);
    } else {
        problem_set(problem, PROBLEM_MODEL_NOT_FOUND,
                    "The model %s of digest %s is not served any more: it was unloaded.", d->name,
                    d->digest);
    }
    problem_add(problem, pointer, "not served any more");
}

/* ---- one field ------------------------------------------------------------------------------ */

/* An integer field into *out, which keeps its default when the field is absent. */
static void read_integer(const struct fields *f, enum field field, uint64_t min, uint64_t max,
                         uint64_t *out, struct problem *problem)
{
    if (!f->has[field]) {
        return;
    }
    double number = f->value[field].number;
    if (floor(number) != number) {
        problem_add(problem, field_pointer(field), "an integer is expected");
    } else if (!(number >= (double)min && number <= (double)max)) {
        problem_add(problem, field_pointer(field), "must be %llu..%llu", (unsigned long long)min,
                    (unsigned long long)max);
    } else {
        *out = (uint64_t)number;
    }
}

static void read_real(const struct fields *f, enum field field, double min, double max, double *out,
                      struct problem *problem)
{
    if (!f->has[field]) {
        return;
    }
    double number = f->value[field].number;
    if (!(number >= min && number <= max)) {
        problem_add(problem, field_pointer(field), "must be %g..%g", min, max);
    } else {
        *out = number + 0.0; /* -0 is 0: equal requests have equal ETags */
    }
}

/* One of `names`, or `fallback` when absent. */
static int read_name(const struct fields *f, enum field field, const char *const names[], int n,
                     int fallback, struct problem *problem)
{
    if (!f->has[field]) {
        return fallback;
    }
    struct text list = TEXT_INIT;
    for (int i = 0; i < n; i++) {
        if (names[i] && strcmp(names[i], f->value[field].string) == 0) {
            text_free(&list);
            return i;
        }
        if (names[i]) {
            text_printf(&list, "%s%s", list.length ? ", " : "", names[i]);
        }
    }
    char *all = text_take(&list, NULL);
    problem_add(problem, field_pointer(field), "must be one of: %s", all ? all : "");
    free(all);
    return fallback;
}

static bool read_label(const struct sample_params *p, const struct field_value *value,
                       const char *pointer, uint32_t *out, struct problem *problem)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    if (value->string) {
        int class = classes_find(p->model, value->string);
        if (class < 0 && classes_have_numerals(info)) {
            problem_add(problem, pointer,
                        "model %s has no class of that name; numerals are names of its classes",
                        info->name);
            return false;
        }
        if (class < 0) {
            problem_add(problem, pointer, "must be a class name of model %s or a number 0..%d",
                        info->name, info->n_classes - 1);
            return false;
        }
        *out = (uint32_t) class;
        return true;
    }
    double number = value->number;
    if (floor(number) != number || number < 0 || number >= info->n_classes) {
        problem_add(problem, pointer, "must be an integer 0..%d or a class name of model %s",
                    info->n_classes - 1, info->name);
        return false;
    }
    *out = (uint32_t)number;
    return true;
}

bool params_job_id_valid(const char *id)
{
    size_t bytes = strlen(id);
    return bytes >= 1 && bytes < PARAMS_JOB_ID_BYTES &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == bytes;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int params_out_of_memory(struct problem *problem)
{
    problem_set(problem, PROBLEM_OUT_OF_MEMORY, "There was no memory for the request.");
    return -1;
}

/* label | labels into p->labels. Returns -1 only when memory ran out. */
static int resolve_labels(struct sample_params *p, const struct fields *f,
                          const struct api_context *context, struct problem *problem)
{
    if (f->has[FIELD_LABEL] && f->has[FIELD_LABELS]) {
        problem_add(problem, "/labels", "give label or labels, not both");
        return 0;
    }
    p->is_list = f->has[FIELD_LABELS];
    size_t n = p->is_list ? (size_t)cJSON_GetArraySize(f->labels) : f->has[FIELD_LABEL];
    if (p->is_list && n == 0) {
        problem_add(problem, "/labels", "must not be empty");
        return 0;
    }
    if (n > context->max_rows_per_request) {
        problem_add(problem, "/labels", "must have at most %u items",
                    context->max_rows_per_request);
        return 0;
    }
    p->labels = calloc(n ? n : 1, sizeof *p->labels);
    if (!p->labels) {
        return params_out_of_memory(problem);
    }
    if (!p->is_list) {
        if (n) {
            read_label(p, &f->value[FIELD_LABEL], "/label", &p->labels[0], problem);
        }
        p->n_labels = n;
        return 0;
    }
    size_t i = 0;
    for (const cJSON *item = f->labels->child; item; item = item->next, i++) {
        char pointer[PROBLEM_POINTER_BYTES] = "/labels", number[24];
        snprintf(number, sizeof number, "%zu", i);
        problem_pointer_push(pointer, number);
        if (cJSON_IsNumber(item) || cJSON_IsString(item)) {
            struct field_value value = {.number = item->valuedouble, .string = item->valuestring};
            read_label(p, &value, pointer, &p->labels[i], problem);
        } else {
            problem_add(problem, pointer, "an integer or a string is expected, found %s",
                        json_type_name(item));
        }
    }
    p->n_labels = n;
    return 0;
}

int params_find_model(const struct fields *f, const struct api_context *context,
                      const struct dn_preset **preset)
{
    const char *name = f->has[FIELD_PRESET] ? f->value[FIELD_PRESET].string : NULL;
    *preset = NULL;
    if (f->has[FIELD_MODEL]) {
        int found = api_model_find(context, f->value[FIELD_MODEL].string);
        if (found >= 0 && name) {
            *preset = dn_model_preset(context->models[found], name);
        }
        return found;
    }
    for (size_t i = 0; name && i < context->n_models; i++) {
        if ((*preset = dn_model_preset(context->models[i], name))) {
            return (int)i;
        }
    }
    return 0;
}

/* There is no such preset: say which there are, in the model that the request names or in all. */
static void refuse_preset(const struct fields *f, const struct api_context *context,
                          const struct dn_model *named, struct problem *problem)
{
    struct text list = TEXT_INIT;
    for (size_t i = 0; i < context->n_models; i++) {
        const struct dn_model_info *info = dn_model_info(context->models[i]);
        if (f->has[FIELD_MODEL] && context->models[i] != named) {
            continue;
        }
        for (size_t k = 0; k < info->n_presets; k++) {
            text_printf(&list, "%s%s of %s", list.length ? ", " : "", info->presets[k].name,
                        info->name);
        }
    }
    char *all = text_take(&list, NULL);
    if (all && *all) {
        problem_add(problem, "/preset", "must be one of: %s", all);
    } else if (f->has[FIELD_MODEL]) {
        problem_add(problem, "/preset", "model %s has no presets", dn_model_info(named)->name);
    } else {
        problem_add(problem, "/preset", "no model here has presets");
    }
    free(all);
}

/* Give `f` what the preset sets. What the request sets as well is a fault. */
static void apply_preset(struct fields *f, const struct dn_preset *preset, struct problem *problem)
{
    const struct {
        enum field field;
        bool is_set;
        struct field_value value;
    } values[] = {
        {FIELD_SAMPLER, true, {.string = dn_sampler_info(preset->sampler)->name}},
        {FIELD_STEPS, true, {.number = preset->steps}},
        {FIELD_GUIDANCE_SCALE, true, {.number = preset->guidance_scale}},
        {FIELD_GUIDANCE_INTERVAL, preset->has_guidance_interval, {.string = NULL}},
        {FIELD_ETA, preset->has_eta, {.number = preset->eta}},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        enum field field = values[i].field;
        if (!values[i].is_set) {
            continue;
        }
        if (f->has[field]) {
            problem_add(problem, field_pointer(field),
                        "preset %s sets it: give the preset or the field", preset->name);
        }
        f->has[field] = true;
        f->value[field] = values[i].value;
    }
    if (preset->has_guidance_interval) {
        f->interval = preset->guidance_interval;
    }
}

/* Where there is no guidance, it is on no part of the steps. */
static void resolve_interval(struct sample_params *p, const struct fields *f,
                             struct problem *problem)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    const char *pointer = field_pointer(FIELD_GUIDANCE_INTERVAL);
    struct dn_error err;
    bool is_off = p->guidance_scale == 1;
    p->guidance_interval = is_off ? (struct dn_interval){0, 1} : info->default_guidance_interval;
    if (!f->has[FIELD_GUIDANCE_INTERVAL]) {
        return;
    }
    p->guidance_interval = (struct dn_interval){f->interval.start + 0.0, f->interval.end};
    if (dn_model_check_guidance_interval(p->model, p->guidance_interval, &err)) {
        problem_add(problem, pointer, "model %s: %s", info->name, err.text);
    } else if (is_off && (p->guidance_interval.start > 0 || p->guidance_interval.end < 1)) {
        problem_add(problem, pointer, "guidance is off: guidance_scale is 1");
    }
}

static void resolve_sampling(struct sample_params *p, const struct fields *f,
                             struct problem *problem)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    struct dn_error err;
    const char *names[DN_SAMPLER_COUNT];
    for (int i = 0; i < DN_SAMPLER_COUNT; i++) {
        bool allowed = info->samplers & UINT32_C(1) << i;
        names[i] = allowed ? dn_sampler_info((enum dn_sampler)i)->name : NULL;
    }
    p->sampler = (enum dn_sampler)read_name(f, FIELD_SAMPLER, names, DN_SAMPLER_COUNT,
                                            (int)info->default_sampler, problem);
    uint64_t steps = (uint64_t)info->default_steps;
    bool any_steps = info->n_step_lists == 0;
    read_integer(f, FIELD_STEPS, any_steps ? 1 : 0,
                 any_steps ? (uint64_t)info->timesteps : UINT32_MAX, &steps, problem);
    if (dn_model_check_steps(p->model, steps, &err)) {
        problem_add(problem, "/steps", "model %s: %s", info->name, err.text);
    }
    p->steps = (uint32_t)steps;

    p->guidance_scale = info->default_guidance_scale;
    read_real(f, FIELD_GUIDANCE_SCALE, 0, DN_GUIDANCE_MAX, &p->guidance_scale, problem);
    if (dn_model_check_guidance(p->model, p->guidance_scale, &err)) {
        problem_add(problem, "/guidance_scale", "model %s: %s", info->name, err.text);
    }
    resolve_interval(p, f, problem);
    p->eta = 0;
    if (f->has[FIELD_ETA] && !dn_sampler_info(p->sampler)->has_eta) {
        problem_add(problem, "/eta", "sampler %s has no eta", dn_sampler_info(p->sampler)->name);
    } else {
        read_real(f, FIELD_ETA, 0, 1, &p->eta, problem);
    }
}

static uint32_t default_columns(const struct sample_params *p)
{
    return (uint32_t)ceil(sqrt((double)p->n_rows));
}

/* format and, of a film, frames and frame_ms. */
static void resolve_film(struct sample_params *p, const struct fields *f, struct problem *problem)
{
    static const char *const formats[] = {[FORMAT_PNG] = "png", [FORMAT_APNG] = "apng"};
    p->format = (enum params_format)read_name(f, FIELD_FORMAT, formats, 2, (int)p->format, problem);
    if (p->format != FORMAT_APNG) {
        for (enum field field = FIELD_FRAMES; field <= FIELD_FRAME_MS; field++) {
            if (f->has[field]) {
                problem_add(problem, field_pointer(field), "only with format apng");
            }
        }
        return;
    }
    uint64_t most = p->steps < PARAMS_FRAMES_MAX ? p->steps + 1 : PARAMS_FRAMES_MAX;
    uint64_t frames = most < PARAMS_FRAMES_DEFAULT ? most : PARAMS_FRAMES_DEFAULT;
    uint64_t frame_ms = PARAMS_FRAME_MS_DEFAULT;
    read_integer(f, FIELD_FRAMES, 2, most, &frames, problem);
    read_integer(f, FIELD_FRAME_MS, PARAMS_FRAME_MS_MIN, PARAMS_FRAME_MS_MAX, &frame_ms, problem);
    p->frames = (uint32_t)frames;
    p->frame_ms = (uint32_t)frame_ms;
}

/* Rows of the request and their picture: n, index, layout, columns, scale. */
static void resolve_images(struct sample_params *p, const struct fields *f,
                           const struct api_context *context, struct problem *problem)
{
    static const char *const layouts[] = {[LAYOUT_LIST] = "list", [LAYOUT_GRID] = "grid"};
    const struct dn_model_info *info = dn_model_info(p->model);

    p->layout = (enum params_layout)read_name(f, FIELD_LAYOUT, layouts, 2, LAYOUT_LIST, problem);

    uint64_t n = 1, index = 0, scale = 1, columns = 0;
    uint64_t max_n = context->max_rows_per_request / (p->n_labels ? p->n_labels : 1);
    read_integer(f, FIELD_N, 1, max_n, &n, problem);
    p->n = (uint32_t)n;
    p->n_rows = p->n_labels * (size_t)n;
    read_integer(f, FIELD_INDEX, 0, UINT32_MAX - p->n_rows + 1, &index, problem);
    p->index = (uint32_t)index;
    read_integer(f, FIELD_SCALE, 1, PARAMS_SCALE_MAX, &scale, problem);
    p->scale = (uint32_t)scale;

    if (p->layout == LAYOUT_GRID) {
        columns = default_columns(p);
        read_integer(f, FIELD_COLUMNS, 1, p->n_rows ? p->n_rows : 1, &columns, problem);
    } else if (f->has[FIELD_COLUMNS]) {
        problem_add(problem, "/columns", "only with layout grid");
    }
    p->columns = (uint32_t)columns;

    uint64_t cells = p->columns ? (uint64_t)params_grid_rows(p) * p->columns : p->n_rows;
    uint64_t cell_bytes =
        (uint64_t)info->height * (uint64_t)info->width * (uint64_t)info->channels * scale * scale;
    if (cells * cell_bytes > PARAMS_MAX_PIXEL_BYTES) {
        problem_add(problem, "/scale", "%llu images of this size are more than %u MiB of pixels",
                    (unsigned long long)cells, PARAMS_MAX_PIXEL_BYTES >> 20);
    } else if (cells * cell_bytes * p->frames > PARAMS_MAX_PIXEL_BYTES) {
        problem_add(problem, "/frames", "%llu films of this size are more than %u MiB of pixels",
                    (unsigned long long)cells, PARAMS_MAX_PIXEL_BYTES >> 20);
    }
}

int params_from_fields(struct sample_params *p, struct fields *f, const struct api_context *context,
                       struct problem *problem)
{
    assert(context->n_models > 0);
    const struct dn_preset *preset;
    int found = params_find_model(f, context, &preset);
    const char *id = f->has[FIELD_MODEL] ? f->value[FIELD_MODEL].string : "";
    if (found < 0) {
        api_model_missing(context, id, "/model", problem);
        return -1;
    }
    p->model = p->model ? p->model : dn_model_share(context->models[found]);
    p->model_by_digest = strcmp(dn_model_info(p->model)->digest, id) == 0;
    if (preset) {
        apply_preset(f, preset, problem);
    } else if (f->has[FIELD_PRESET]) {
        refuse_preset(f, context, p->model, problem);
    }

    if (resolve_labels(p, f, context, problem) != 0) {
        return -1;
    }
    p->xmp_version = context->xmp_version;
    p->has_seed = f->has[FIELD_SEED];
    read_integer(f, FIELD_SEED, 0, DN_SEED_MAX, &p->seed, problem);
    uint64_t timeout_ms = 0;
    read_integer(f, FIELD_TIMEOUT_MS, 1, PARAMS_TIMEOUT_MS_MAX, &timeout_ms, problem);
    p->timeout_ms = (uint32_t)timeout_ms;
    p->has_priority = f->has[FIELD_PRIORITY];
    p->priority = (enum priority)read_name(f, FIELD_PRIORITY, priority_names, PRIORITIES,
                                           PRIORITY_NORMAL, problem);
    resolve_sampling(p, f, problem);
    resolve_film(p, f, problem);
    resolve_images(p, f, context, problem);
    uint64_t preview_every = 0;
    read_integer(f, FIELD_PREVIEW_EVERY, 1, p->steps, &preview_every, problem);
    p->preview_every = (uint32_t)preview_every;
    if (f->has[FIELD_ID] && !params_job_id_valid(f->value[FIELD_ID].string)) {
        problem_add(problem, "/id", "must be 1 to %d characters of A-Z a-z 0-9 . _ -",
                    PARAMS_JOB_ID_BYTES - 1);
    } else if (f->has[FIELD_ID]) {
        memcpy(p->job_id, f->value[FIELD_ID].string, strlen(f->value[FIELD_ID].string) + 1);
    }
    return problem->n_errors ? -1 : 0;
}

/* Read the fields of an object that stands in `place`. As params_from_body. */
static int read_object(struct sample_params *p, const struct api_context *context,
                       const struct cJSON *object, enum field_place place, struct problem *problem)
{
    if (!cJSON_IsObject(object)) {
        problem_add(problem, "", "an object is expected, found %s", json_type_name(object));
        params_free(p);
        return -1;
    }
    struct fields f;
    fields_from_json(&f, object, place, problem);
    if (!cJSON_GetObjectItemCaseSensitive(object, "label") &&
        !cJSON_GetObjectItemCaseSensitive(object, "labels")) {
        problem_add(problem, "/label", "label or labels is required");
    }
    int rc = params_from_fields(p, &f, context, problem);
    if (rc != 0) {
        params_free(p);
    }
    return rc;
}

int params_from_picture(struct sample_params *p, const struct api_context *context,
                        struct dn_model *model, const struct cJSON *object, struct problem *problem)
{
    *p = (struct sample_params){.model = dn_model_share(model)};
    return read_object(p, context, object, IN_PICTURE, problem);
}

int params_from_body(struct sample_params *p, const struct api_context *context,
                     enum params_kind kind, const char *body, size_t bytes, struct problem *problem)
{
    *p = (struct sample_params){.format = kind == PARAMS_FILM ? FORMAT_APNG : FORMAT_PNG};
    cJSON *root;
    if (json_parse(&root, body, bytes, problem) != 0) {
        return -1;
    }
    problem_set(problem, PROBLEM_INVALID_REQUEST, "The request is not valid; see errors.");
    int rc = read_object(p, context, root, kind == PARAMS_JOB ? IN_JOB : IN_SAMPLE, problem);
    cJSON_Delete(root);
    return rc;
}

int params_from_url(struct sample_params *p, const struct api_context *context,
                    enum params_format format, const char *label, const struct query *query,
                    struct problem *problem)
{
    *p = (struct sample_params){.format = format};
    problem_set(problem, PROBLEM_INVALID_REQUEST, "The request is not valid; see errors.");
    struct fields f;
    fields_from_query(&f, query, problem);
    f.has[FIELD_LABEL] = true;
    f.value[FIELD_LABEL].string = label;
    int rc = params_from_fields(p, &f, context, problem);
    if (rc != 0) {
        params_free(p);
    }
    return rc;
}

int params_copy(struct sample_params *to, const struct sample_params *from)
{
    uint32_t *labels = malloc(from->n_labels * sizeof *labels);
    if (!labels) {
        return DN_ENOMEM;
    }
    memcpy(labels, from->labels, from->n_labels * sizeof *labels);
    *to = *from;
    to->labels = labels;
    dn_model_share(to->model);
    return 0;
}

void params_free(struct sample_params *p)
{
    free(p->labels);
    dn_model_free(p->model);
    p->labels = NULL;
    p->model = NULL;
}

struct dn_row_params params_row(const struct sample_params *p, size_t i)
{
    assert(i < p->n_rows);
    return (struct dn_row_params){
        .seed = p->seed,
        .index = p->index + (uint32_t)i,
        .label = p->labels[i / p->n],
        .steps = p->steps,
        .sampler = p->sampler,
        .guidance_scale = p->guidance_scale,
        .guidance_interval = p->guidance_interval,
        .eta = p->eta,
    };
}

int params_frame(const struct sample_params *p, uint32_t steps_done)
{
    /* Frame i shows the row after floor(i * steps / gaps) steps; there are no more gaps than steps,
     * so no two frames are the same one. */
    uint64_t gaps = p->frames - 1;
    uint64_t frame = (steps_done * gaps + p->steps - 1) / p->steps;
    return frame * p->steps / gaps == steps_done ? (int)frame : -1;
}

void params_make_grid(struct sample_params *p)
{
    p->layout = LAYOUT_GRID;
    p->columns = default_columns(p);
}

uint32_t params_grid_rows(const struct sample_params *p)
{
    return p->columns ? ((uint32_t)p->n_rows + p->columns - 1) / p->columns : 0;
}
