#include "api/openai.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/fields.h"
#include "api/json.h"
#include "api/prompt.h"
#include "api/text.h"

#define OPENAI_MAX_PARTIAL 3

enum openai_field {
    OPENAI_PROMPT,
    OPENAI_MODEL,
    OPENAI_N,
    OPENAI_SIZE,
    OPENAI_SEED,
    OPENAI_STEPS,
    OPENAI_SAMPLER,
    OPENAI_GUIDANCE_SCALE,
    OPENAI_GUIDANCE_INTERVAL,
    OPENAI_RESPONSE_FORMAT,
    OPENAI_OUTPUT_FORMAT,
    OPENAI_OUTPUT_COMPRESSION,
    OPENAI_QUALITY,
    OPENAI_PRESET,
    OPENAI_STYLE,
    OPENAI_BACKGROUND,
    OPENAI_MODERATION,
    OPENAI_USER,
    OPENAI_STREAM,
    OPENAI_PARTIAL_IMAGES,
    OPENAI_TIMEOUT_MS,
    OPENAI_PRIORITY,
    OPENAI_FIELD_COUNT
};

enum openai_type { OPENAI_STRING, OPENAI_NUMBER, OPENAI_BOOLEAN, OPENAI_INTERVAL };

static const char *const openai_type_names[] = {
    [OPENAI_STRING] = "a string",
    [OPENAI_NUMBER] = "a number",
    [OPENAI_BOOLEAN] = "true or false",
    [OPENAI_INTERVAL] = "an array of two numbers",
};

static const struct {
    const char *pointer;
    enum openai_type type;
    const char *only[2]; /* the values of a string that can be honoured; none: any */
    const char *why;     /* ... and what to say of others */
} openai_rows[OPENAI_FIELD_COUNT] = {
    [OPENAI_PROMPT] = {"/prompt", OPENAI_STRING, {NULL}, NULL},
    [OPENAI_MODEL] = {"/model", OPENAI_STRING, {NULL}, NULL},
    [OPENAI_N] = {"/n", OPENAI_NUMBER, {NULL}, NULL},
    [OPENAI_SIZE] = {"/size", OPENAI_STRING, {NULL}, NULL},
    [OPENAI_SEED] = {"/seed", OPENAI_NUMBER, {NULL}, NULL},
    [OPENAI_STEPS] = {"/num_inference_steps", OPENAI_NUMBER, {NULL}, NULL},
    [OPENAI_SAMPLER] = {"/sampler", OPENAI_STRING, {NULL}, NULL},
    [OPENAI_GUIDANCE_SCALE] = {"/guidance_scale", OPENAI_NUMBER, {NULL}, NULL},
    [OPENAI_GUIDANCE_INTERVAL] = {"/guidance_interval", OPENAI_INTERVAL, {NULL}, NULL},
    [OPENAI_RESPONSE_FORMAT] = {"/response_format",
                                OPENAI_STRING,
                                {"b64_json"},
                                "must be b64_json: images are answered, not kept under a URL"},
    [OPENAI_OUTPUT_FORMAT] = {"/output_format", OPENAI_STRING, {"png"}, "must be png"},
    [OPENAI_OUTPUT_COMPRESSION] = {"/output_compression", OPENAI_NUMBER, {NULL}, NULL},
    [OPENAI_QUALITY] = {"/quality", OPENAI_STRING, {NULL}, NULL},
    [OPENAI_PRESET] = {"/preset", OPENAI_STRING, {NULL}, NULL},
    [OPENAI_STYLE] = {"/style", OPENAI_STRING, {"natural"}, "must be natural: there is one style"},
    [OPENAI_BACKGROUND] = {"/background",
                           OPENAI_STRING,
                           {"auto", "opaque"},
                           "must be auto or opaque"},
    [OPENAI_MODERATION] = {"/moderation", OPENAI_STRING, {"auto", "low"}, "must be auto or low"},
    [OPENAI_USER] = {"/user", OPENAI_STRING, {NULL}, NULL},
    [OPENAI_STREAM] = {"/stream", OPENAI_BOOLEAN, {NULL}, NULL},
    [OPENAI_PARTIAL_IMAGES] = {"/partial_images", OPENAI_NUMBER, {NULL}, NULL},
    [OPENAI_TIMEOUT_MS] = {"/timeout_ms", OPENAI_NUMBER, {NULL}, NULL},
    [OPENAI_PRIORITY] = {"/priority", OPENAI_STRING, {NULL}, NULL},
};

/* ---- reading -------------------------------------------------------------------------------- */

static bool type_fits(enum openai_type type, const cJSON *value)
{
    return type == OPENAI_STRING     ? cJSON_IsString(value)
           : type == OPENAI_NUMBER   ? cJSON_IsNumber(value)
           : type == OPENAI_INTERVAL ? cJSON_IsArray(value)
                                     : cJSON_IsBool(value);
}

static void check_string(enum openai_field field, const char *value, struct problem *problem)
{
    const char *const *only = openai_rows[field].only;
    if (!only[0] || strcmp(value, only[0]) == 0 || (only[1] && strcmp(value, only[1]) == 0)) {
        return;
    }
    problem_add(problem, openai_rows[field].pointer, "%s", openai_rows[field].why);
}

/* Sort the members of `object`; null is as good as absent. */
static void read_members(const cJSON *values[OPENAI_FIELD_COUNT], const cJSON *object,
                         struct problem *problem)
{
    for (const cJSON *member = object->child; member; member = member->next) {
        int field = 0;
        while (field < OPENAI_FIELD_COUNT &&
               strcmp(openai_rows[field].pointer + 1, member->string) != 0) {
            field++;
        }
        if (field == OPENAI_FIELD_COUNT) {
            char pointer[PROBLEM_POINTER_BYTES] = "";
            problem_pointer_push(pointer, member->string);
            problem_add(problem, pointer, "unknown field");
        } else if (cJSON_IsNull(member) && field != OPENAI_PROMPT) {
            continue;
        } else if (!type_fits(openai_rows[field].type, member)) {
            problem_add(problem, openai_rows[field].pointer, "%s is expected, found %s",
                        openai_type_names[openai_rows[field].type], json_type_name(member));
        } else {
            values[field] = member;
            if (cJSON_IsString(member)) {
                check_string((enum openai_field)field, member->valuestring, problem);
            }
        }
    }
    if (!cJSON_GetObjectItemCaseSensitive(object, "prompt")) {
        problem_add(problem, "/prompt", "is required");
    }
    if (values[OPENAI_OUTPUT_COMPRESSION] &&
        values[OPENAI_OUTPUT_COMPRESSION]->valuedouble != 100) {
        problem_add(problem, "/output_compression", "must be 100: PNG loses nothing");
    }
    const cJSON *partial = values[OPENAI_PARTIAL_IMAGES];
    if (partial && (floor(partial->valuedouble) != partial->valuedouble ||
                    partial->valuedouble < 0 || partial->valuedouble > OPENAI_MAX_PARTIAL)) {
        problem_add(problem, "/partial_images", "must be an integer 0..%d", OPENAI_MAX_PARTIAL);
    } else if (partial && partial->valuedouble != 0 && !cJSON_IsTrue(values[OPENAI_STREAM])) {
        problem_add(problem, "/partial_images", "only with stream true");
    }
}

static void give_string(struct fields *f, enum field field, const cJSON *value)
{
    f->has[field] = value != NULL;
    f->value[field].string = value ? value->valuestring : NULL;
}

static void give_number(struct fields *f, enum field field, const cJSON *value)
{
    f->has[field] = value != NULL;
    f->value[field].number = value ? value->valuedouble : 0;
}

/* What OpenAI's clients call quality, as a preset. */
static void read_quality(struct fields *f, const struct api_context *context,
                         const cJSON *const values[OPENAI_FIELD_COUNT], struct problem *problem)
{
    static const struct {
        const char *quality, *preset;
    } names[] = {{"auto", NULL},         {"standard", NULL}, {"low", "fast"},
                 {"medium", "balanced"}, {"high", "exact"},  {"hd", "exact"}};
    const char *quality = values[OPENAI_QUALITY] ? values[OPENAI_QUALITY]->valuestring : "auto";
    size_t i = 0;
    while (i < sizeof names / sizeof *names && strcmp(names[i].quality, quality) != 0) {
        i++;
    }
    if (i == sizeof names / sizeof *names) {
        problem_add(problem, "/quality", "must be one of: auto, standard, low, medium, high, hd");
        return;
    }
    if (!names[i].preset) {
        return;
    }
    if (f->has[FIELD_PRESET]) {
        problem_add(problem, "/quality", "give quality or preset, not both");
        return;
    }
    const struct dn_preset *preset;
    f->has[FIELD_PRESET] = true;
    f->value[FIELD_PRESET].string = names[i].preset;
    if (params_find_model(f, context, &preset) >= 0 && !preset) {
        f->has[FIELD_PRESET] = false;
        problem_add(problem, "/quality", "%s is the preset %s, which there is not here", quality,
                    names[i].preset);
    }
}

/* "280x280", a multiple of the model's own size, or "auto", which is that. */
static void read_size(struct fields *f, const struct dn_model_info *info, const cJSON *value,
                      struct problem *problem)
{
    if (!value || strcmp(value->valuestring, "auto") == 0) {
        return;
    }
    for (int scale = 1; scale <= PARAMS_SCALE_MAX; scale++) {
        char size[32];
        snprintf(size, sizeof size, "%dx%d", scale * info->width, scale * info->height);
        if (strcmp(size, value->valuestring) == 0) {
            f->has[FIELD_SCALE] = true;
            f->value[FIELD_SCALE].number = scale;
            return;
        }
    }
    problem_add(problem, "/size", "must be auto or %dx%d times 1..%d, like %dx%d", info->width,
                info->height, PARAMS_SCALE_MAX, 10 * info->width, 10 * info->height);
}

/* Give `f` the labels [n_named] that the prompt names, and n. Returns -1 when memory ran out; *list
 * is to be freed. */
static int give_labels(struct fields *f, cJSON **list, uint32_t *labels, size_t n_named,
                       const cJSON *n, uint32_t max_rows, struct problem *problem)
{
    if (n && (floor(n->valuedouble) != n->valuedouble || n->valuedouble < 1 ||
              n->valuedouble > max_rows)) {
        problem_add(problem, "/n", "must be an integer 1..%u", max_rows);
        n = NULL;
    }
    if (n_named == 1) {
        f->has[FIELD_LABEL] = true;
        f->value[FIELD_LABEL].number = labels[0];
        give_number(f, FIELD_N, n);
        return 0;
    }
    size_t n_images = n ? (size_t)n->valuedouble : n_named;
    if (n_images % n_named != 0) {
        problem_add(problem, "/n",
                    "the prompt names %zu images: leave n out or let it be a multiple of that",
                    n_named);
        n_images = n_named;
    }
    *list = cJSON_CreateArray();
    for (size_t i = 0; *list && i < n_images; i++) {
        cJSON *label = cJSON_CreateNumber(labels[i % n_named]);
        if (!label || !cJSON_AddItemToArray(*list, label)) {
            cJSON_Delete(label);
            return -1;
        }
    }
    f->has[FIELD_LABELS] = true;
    f->labels = *list;
    return *list ? 0 : -1;
}

/* params_from_fields() names the fields of POST /v1/samples: change that in faults from `first` on.
 */
static void rename_pointers(struct problem *problem, size_t first)
{
    static const struct {
        const char *from, *to;
    } names[] = {{"/label", "/prompt"},
                 {"/labels", "/prompt"},
                 {"/steps", "/num_inference_steps"},
                 {"/scale", "/size"}};
    for (size_t i = first; i < problem->n_errors && i < PROBLEM_MAX_ERRORS; i++) {
        char *pointer = problem->errors[i].pointer;
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            if (strcmp(pointer, names[k].from) == 0) {
                snprintf(pointer, PROBLEM_POINTER_BYTES, "%s", names[k].to);
            }
        }
    }
}

static int resolve(struct sample_params *p, bool *is_stream, const struct api_context *context,
                   const cJSON *root, struct problem *problem)
{
    const cJSON *values[OPENAI_FIELD_COUNT] = {NULL};
    read_members(values, root, problem);
    struct fields f = {.labels = NULL};
    give_string(&f, FIELD_MODEL, values[OPENAI_MODEL]);
    give_string(&f, FIELD_SAMPLER, values[OPENAI_SAMPLER]);
    give_number(&f, FIELD_SEED, values[OPENAI_SEED]);
    give_number(&f, FIELD_STEPS, values[OPENAI_STEPS]);
    give_number(&f, FIELD_GUIDANCE_SCALE, values[OPENAI_GUIDANCE_SCALE]);
    if (values[OPENAI_GUIDANCE_INTERVAL]) {
        fields_take_interval(&f, values[OPENAI_GUIDANCE_INTERVAL], problem);
    }
    give_number(&f, FIELD_TIMEOUT_MS, values[OPENAI_TIMEOUT_MS]);
    give_string(&f, FIELD_PRIORITY, values[OPENAI_PRIORITY]);
    give_string(&f, FIELD_PRESET, values[OPENAI_PRESET]);
    read_quality(&f, context, values, problem);

    const struct dn_preset *preset;
    int model_idx = params_find_model(&f, context, &preset);
    uint32_t max_rows = context->max_rows_per_request;
    uint32_t *labels = calloc(max_rows, sizeof *labels);
    cJSON *list = NULL;
    int rc = labels ? 0 : -1;
    if (rc == 0 && model_idx >= 0) { /* else params_from_fields() says so */
        const struct dn_model_info *info = dn_model_info(context->models[model_idx]);
        const cJSON *prompt = values[OPENAI_PROMPT];
        int n_named =
            prompt ? prompt_read(labels, max_rows, info, prompt->valuestring, problem) : DN_EINVAL;
        read_size(&f, info, values[OPENAI_SIZE], problem);
        /* Without labels there is a fault already; the rest is checked all the same. */
        rc = n_named == DN_ENOMEM
                 ? DN_ENOMEM
                 : give_labels(&f, &list, labels, n_named > 0 ? (size_t)n_named : 1,
                               values[OPENAI_N], max_rows, problem);
    }
    if (rc != 0) {
        problem_set(problem, PROBLEM_OUT_OF_MEMORY, "There was no memory for the request.");
    } else {
        size_t first = problem->n_errors;
        rc = params_from_fields(p, &f, context, problem);
        rename_pointers(problem, problem->kind == PROBLEM_INVALID_REQUEST ? first : 0);
    }
    *is_stream = cJSON_IsTrue(values[OPENAI_STREAM]);
    if (rc == 0 && values[OPENAI_PARTIAL_IMAGES] && *is_stream) {
        /* At most so many before the last step, evenly. */
        uint32_t parts = (uint32_t)values[OPENAI_PARTIAL_IMAGES]->valuedouble + 1;
        p->preview_every = parts > 1 ? (p->steps + parts - 1) / parts : 0;
    }
    cJSON_Delete(list);
    free(labels);
    return rc;
}

int openai_params_from_body(struct sample_params *p, bool *is_stream,
                            const struct api_context *context, const char *body, size_t bytes,
                            struct problem *problem)
{
    *p = (struct sample_params){.labels = NULL};
    cJSON *root;
    if (json_parse(&root, body, bytes, problem) != 0) {
        return -1;
    }
    int rc = -1;
    problem_set(problem, PROBLEM_INVALID_REQUEST, "The request is not valid; see errors.");
    if (!cJSON_IsObject(root)) {
        problem_add(problem, "", "an object is expected, found %s", json_type_name(root));
    } else {
        rc = resolve(p, is_stream, context, root, problem);
    }
    if (rc != 0) {
        params_free(p);
    }
    cJSON_Delete(root);
    return rc;
}

/* ---- errors --------------------------------------------------------------------------------- */

static const char *error_type(int status)
{
    return status >= 500   ? "server_error"
           : status == 429 ? "rate_limit_error"
                           : "invalid_request_error";
}

/* OpenAI's own code where it has one, else ours. */
static const char *error_code(enum problem_kind kind)
{
    return kind == PROBLEM_UNAUTHORIZED     ? "invalid_api_key"
           : kind == PROBLEM_QUOTA_EXCEEDED ? "rate_limit_exceeded"
                                            : problem_slug(kind);
}

char *openai_error(const struct problem *problem, size_t *bytes)
{
    struct text message = TEXT_INIT, t = TEXT_INIT;
    size_t n = problem->n_errors < PROBLEM_MAX_ERRORS ? problem->n_errors : PROBLEM_MAX_ERRORS;
    if (problem->kind != PROBLEM_INVALID_REQUEST || n == 0) {
        text_puts(&message, problem->detail);
    } else {
        for (size_t i = 0; i < n; i++) {
            const char *pointer = problem->errors[i].pointer;
            text_printf(&message, "%s%s%s%s", i ? "; " : "", *pointer ? pointer + 1 : "",
                        *pointer ? ": " : "", problem->errors[i].detail);
        }
    }
    char *said = text_take(&message, NULL);
    text_puts(&t, "{\"error\":{\"message\":");
    text_json_string(&t, said ? said : problem->detail);
    text_printf(&t, ",\"type\":\"%s\",\"param\":", error_type(problem_status(problem->kind)));
    if (n > 0 && *problem->errors[0].pointer) {
        text_json_string(&t, problem->errors[0].pointer + 1);
    } else {
        text_puts(&t, "null");
    }
    text_puts(&t, ",\"code\":\"");
    for (const char *c = error_code(problem->kind); *c; c++) {
        text_append(&t, *c == '-' ? "_" : c, 1);
    }
    text_puts(&t, "\"}}\n");
    free(said);
    return text_take(&t, bytes);
}
