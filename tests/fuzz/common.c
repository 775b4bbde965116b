#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/document.h"
#include "api/json.h"
#include "api/openai.h"
#include "tests/fuzz/fuzz.h"

#define MODEL "tests/fuzz/corpus/safetensors/good"
#define MAX_ROWS 256

void fuzz_check(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "fuzz: does not hold: %s\n", what);
        abort();
    }
}

char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    fuzz_check(text != NULL, "there is memory");
    return text;
}

const struct api_context *fuzz_context(void)
{
    static struct dn_model *models[1];
    static const int64_t created[1];
    static const struct api_alias alias = {.name = "dall-e-3"};
    static const struct api_context context = {
        .models = models,
        .n_models = 1,
        .created = created,
        .aliases = &alias,
        .n_aliases = 1,
        .max_rows_per_request = MAX_ROWS,
        .max_queue_rows = 4096,
        .max_body_bytes = 65536,
    };
    const struct dn_model_options options = {.isa = DN_ISA_SCALAR, .precision = DN_PRECISION_FP32};
    struct dn_error err;
    if (!models[0] && dn_model_open(&models[0], MODEL, &options, &err) != 0) {
        fprintf(stderr, "fuzz: %s\n", err.text);
        abort();
    }
    return &context;
}

/* The parameters as a picture tells them, read back. */
static void read_back(struct sample_params *again, const struct sample_params *p)
{
    struct problem problem;
    cJSON *root;
    char *text = document_sheet_text(p, "sha256:");
    fuzz_check(text != NULL, "there is memory");
    fuzz_check(json_parse(&root, text, strlen(text), &problem) == 0, "a picture's text is JSON");
    problem_set(&problem, PROBLEM_INVALID_REQUEST, "-");
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(root, "params");
    int rc = params_from_picture(again, fuzz_context(), p->model, object, &problem);
    fuzz_check(rc == 0, "resolved parameters are accepted again");
    cJSON_Delete(root);
    free(text);
}

void fuzz_check_params(const struct sample_params *p)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    fuzz_check(p->n_rows >= 1 && p->n_rows <= MAX_ROWS && p->n_rows == p->n_labels * p->n, "rows");
    for (size_t i = 0; i < p->n_rows; i++) {
        struct dn_row_params row = params_row(p, i);
        fuzz_check(row.label < (uint32_t)info->n_classes && row.index >= p->index, "a row");
    }
    fuzz_check(p->steps >= 1 && p->steps <= (uint32_t)info->timesteps, "steps");
    fuzz_check(p->seed <= DN_SEED_MAX && p->scale >= 1 && p->scale <= PARAMS_SCALE_MAX, "scale");
    fuzz_check(p->guidance_scale >= 0 && p->guidance_scale <= DN_GUIDANCE_MAX, "guidance");
    fuzz_check(p->eta >= 0 && p->eta <= 1, "eta");
    fuzz_check((p->layout == LAYOUT_GRID) == (p->columns > 0) && p->columns <= p->n_rows, "grid");
    fuzz_check((p->format == FORMAT_APNG) == (p->frames > 0) && p->frames <= p->steps + 1, "film");
    for (uint32_t step = 0, frames = 0; p->frames && step <= p->steps; step++) {
        int frame = params_frame(p, step);
        fuzz_check(frame < 0 || (uint32_t)frame == frames, "frames come one after the other");
        frames += frame >= 0;
        fuzz_check(step < p->steps || frames == p->frames, "and all of them");
    }
    struct sample_params again;
    read_back(&again, p);
    fuzz_check(again.n_rows == p->n_rows && again.seed == p->seed && again.index == p->index &&
                   again.steps == p->steps && again.sampler == p->sampler &&
                   again.guidance_scale == p->guidance_scale && again.eta == p->eta &&
                   again.layout == p->layout && again.columns == p->columns &&
                   again.scale == p->scale && again.format == p->format &&
                   again.frames == p->frames && again.frame_ms == p->frame_ms &&
                   memcmp(again.labels, p->labels, p->n_labels * sizeof *p->labels) == 0,
               "resolved parameters mean the same again");
    params_free(&again);
}

static void check_json(char *json, size_t bytes)
{
    struct problem problem;
    cJSON *root;
    fuzz_check(json != NULL, "there is memory");
    fuzz_check(json_parse(&root, json, bytes, &problem) == 0, "an error is well-formed JSON");
    cJSON_Delete(root);
    free(json);
}

void fuzz_check_problem(const struct problem *problem)
{
    size_t bytes;
    fuzz_check(problem->detail[0] != '\0', "a refusal has a reason");
    char *json = problem_json(problem, "req_1", &bytes);
    check_json(json, bytes);
    json = openai_error(problem, &bytes);
    check_json(json, bytes);
}
