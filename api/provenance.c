#include "api/provenance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/document.h"
#include "api/document_parts.h"
#include "api/json.h"
#include "api/png.h"
#include "api/text.h"

/* Rows and columns of cells: of a sheet, or 1 and 1. */
static uint32_t cell_rows(const struct sample_params *p)
{
    return p->columns ? params_grid_rows(p) : 1;
}

static uint32_t cell_columns(const struct sample_params *p)
{
    return p->columns ? p->columns : 1;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* The string `key` of `object`, which is found at `pointer`, if it fits into `size` bytes; NULL
 * with an error added. */
static const char *read_string(const cJSON *object, const char *pointer, const char *key,
                               size_t size, struct problem *problem)
{
    char whole[PROBLEM_POINTER_BYTES];
    snprintf(whole, sizeof whole, "%s", pointer);
    problem_pointer_push(whole, key);
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsString(value)) {
        problem_add(problem, whole, "a string is expected");
        return NULL;
    }
    if (strlen(value->valuestring) >= size) {
        problem_add(problem, whole, "must have at most %zu bytes", size - 1);
        return NULL;
    }
    return value->valuestring;
}

static void copy_string(char *out, size_t size, const cJSON *object, const char *pointer,
                        const char *key, struct problem *problem)
{
    const char *s = read_string(object, pointer, key, size, problem);
    snprintf(out, size, "%s", s ? s : "");
}

static void check_keys(const cJSON *root, struct problem *problem)
{
    static const char *const known[] = {"version", "model", "params", "determinism", "digest"};
    for (const cJSON *member = root->child; member; member = member->next) {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(known[i], member->string) != 0) {
            i++;
        }
        if (i == sizeof known / sizeof *known) {
            char pointer[PROBLEM_POINTER_BYTES] = "";
            problem_pointer_push(pointer, member->string);
            problem_add(problem, pointer, "unknown field");
        }
    }
}

/* The model that drew the picture, or NULL. */
static struct dn_model *find_model(const struct api_context *context, const cJSON *root,
                                   struct problem *problem)
{
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(root, "model");
    const char *digest = read_string(model, "/model", "digest", IMAGE_DIGEST_BYTES, problem);
    if (!digest) {
        return NULL;
    }
    for (size_t i = 0; i < context->n_models; i++) {
        if (strcmp(dn_model_info(context->models[i])->digest, digest) == 0) {
            return context->models[i];
        }
    }
    api_model_missing(context, digest, "/model/digest", problem);
    return NULL;
}

/* Errors of the parameters are found below /params. */
static void push_params(struct problem *problem, size_t from)
{
    for (size_t i = from; i < problem->n_errors && i < PROBLEM_MAX_ERRORS; i++) {
        char pointer[PROBLEM_POINTER_BYTES + 8];
        snprintf(pointer, sizeof pointer, "/params%s", problem->errors[i].pointer);
        snprintf(problem->errors[i].pointer, PROBLEM_POINTER_BYTES, "%.*s",
                 PROBLEM_POINTER_BYTES - 1, pointer);
    }
}

static int read_params(struct provenance *out, const struct api_context *context,
                       struct dn_model *model, const cJSON *root, struct problem *problem)
{
    size_t known = problem->n_errors;
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(root, "params");
    if (!object) {
        problem_add(problem, "/params", "is required");
        return -1;
    }
    int rc = params_from_picture(&out->params, context, model, object, problem);
    push_params(problem, known);
    if (rc != 0) {
        return -1;
    }
    out->format = out->params.format;
    out->params.format = FORMAT_PNG;
    const struct sample_params *p = &out->params;
    if (!p->has_seed) {
        problem_add(problem, "/params/seed", "is required");
    } else if (p->layout == LAYOUT_LIST && p->n_rows != 1) {
        problem_add(problem, "/params/layout", "a picture of several images is a grid");
    }
    return 0;
}

static void check_size(const struct provenance *claim, struct problem *problem)
{
    const struct sample_params *p = &claim->params;
    const struct dn_model_info *info = dn_model_info(p->model);
    uint32_t height = (uint32_t)info->height * cell_rows(p) * p->scale;
    uint32_t width = (uint32_t)info->width * cell_columns(p) * p->scale;
    if (claim->height != height || claim->width != width) {
        problem_add(problem, "/params", "give a picture of %ux%u, but it has %ux%u", width, height,
                    claim->width, claim->height);
    }
}

static int read_text(struct provenance *out, const struct api_context *context, const cJSON *root,
                     struct problem *problem)
{
    problem_set(problem, PROBLEM_INVALID_REQUEST,
                "The picture's text denoised is not valid; see errors.");
    if (!cJSON_IsObject(root)) {
        problem_add(problem, "", "an object is expected, found %s", json_type_name(root));
        return -1;
    }
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(root, "version");
    if (!cJSON_IsNumber(version) || version->valuedouble != PROVENANCE_VERSION) {
        problem_add(problem, "/version", "must be %d", PROVENANCE_VERSION);
        return -1;
    }
    check_keys(root, problem);
    const cJSON *domain = cJSON_GetObjectItemCaseSensitive(root, "determinism");
    copy_string(out->precision, sizeof out->precision, domain, "/determinism", "precision",
                problem);
    copy_string(out->kernels, sizeof out->kernels, domain, "/determinism", "kernels", problem);
    copy_string(out->digest, sizeof out->digest, root, "", "digest", problem);
    struct dn_model *model = find_model(context, root, problem);
    if (!model || read_params(out, context, model, root, problem) != 0) {
        return -1;
    }
    if (problem->n_errors == 0) {
        check_size(out, problem);
    }
    return problem->n_errors ? -1 : 0;
}

void provenance_problem(const char *error, struct problem *problem)
{
    problem_set(problem, PROBLEM_INVALID_REQUEST, "The body is not a PNG that is read here: %s.",
                error);
}

/* As provenance_read(), of a file that out->file is. */
static int read_file(struct provenance *out, const struct api_context *context,
                     struct problem *problem)
{
    struct png_head head;
    cJSON *root;
    int rc = png_read_head(&head, out->file, out->file_bytes, PROVENANCE_KEY, PROVENANCE_MAX_PIXELS,
                           out->error);
    if (rc == DN_ENOMEM) {
        problem_set(problem, PROBLEM_OUT_OF_MEMORY, "There was no memory for the picture.");
        return -1;
    }
    if (rc != 0) {
        provenance_problem(out->error, problem);
        return -1;
    }
    out->height = head.height;
    out->width = head.width;
    rc = -1;
    if (!head.text) {
        problem_set(problem, PROBLEM_INVALID_REQUEST,
                    "The picture has no text %s: it does not say how it was drawn.",
                    PROVENANCE_KEY);
    } else if (json_parse(&root, head.text, head.text_bytes, problem) == 0) {
        rc = read_text(out, context, root, problem);
        cJSON_Delete(root);
    }
    free(head.text);
    return rc;
}

int provenance_read(struct provenance *out, const struct api_context *context, uint8_t *file,
                    size_t bytes, struct problem *problem)
{
    *out = (struct provenance){.file = file, .file_bytes = bytes};
    int rc = read_file(out, context, problem);
    if (rc != 0) {
        provenance_free(out);
    }
    return rc;
}

/* ---- comparing ------------------------------------------------------------------------------ */

struct pixel {
    uint8_t samples[3];
    size_t n;
};

struct comparison {
    const uint8_t *sheet; /* the unscaled picture that is expected */
    uint8_t *first;       /* of each pixel of it the found one's first copy */
    uint32_t scale;
    size_t width, channels; /* of the sheet */
    uint64_t n_different;   /* pixels */
    uint32_t x, y;          /* of the first */
    struct pixel found, expected;
    bool is_scaled;      /* each pixel's copies are equal, as scaling makes them */
    bool is_transparent; /* some pixel is */
};

/* Grey where the sheet is grey and so is the pixel. */
static struct pixel pixel_of(const uint8_t *rgba, size_t channels)
{
    bool is_grey = channels == 1 && rgba[0] == rgba[1] && rgba[1] == rgba[2];
    return (struct pixel){{rgba[0], rgba[1], rgba[2]}, is_grey ? 1 : 3};
}

static void compare_line(void *context, uint32_t y, const uint8_t *rgba)
{
    struct comparison *c = context;
    size_t n = c->channels;
    for (size_t x = 0; x < c->width * c->scale; x++, rgba += 4) {
        size_t at = (y / c->scale * c->width + x / c->scale) * n;
        struct pixel found = pixel_of(rgba, n);
        c->is_transparent |= rgba[3] != 255;
        if (x % c->scale == 0 && y % c->scale == 0) {
            memcpy(c->first + at, found.samples, n);
        }
        c->is_scaled &= found.n == n && memcmp(c->first + at, found.samples, n) == 0;
        bool is_equal = found.n == n && memcmp(c->sheet + at, found.samples, n) == 0;
        if (!is_equal && c->n_different++ == 0) {
            c->x = (uint32_t)x;
            c->y = y;
            c->found = found;
            c->expected.n = n;
            memcpy(c->expected.samples, c->sheet + at, n);
        }
    }
}

/* Returns 0, or a negative dn_code with claim->error where the file is damaged. */
static int compare(struct comparison *c, struct provenance *claim)
{
    int rc = png_read_lines(claim->file, claim->file_bytes, compare_line, c, claim->error);
    if (rc == 0 && c->is_transparent) {
        snprintf(claim->error, sizeof claim->error, "a picture without transparency is expected");
        rc = DN_EINVAL;
    }
    return rc;
}

static void put_pixel(struct text *t, const char *key, const struct pixel *pixel)
{
    text_printf(t, ",\"%s\":[", key);
    for (size_t i = 0; i < pixel->n; i++) {
        text_printf(t, "%s%u", i ? "," : "", pixel->samples[i]);
    }
    text_puts(t, "]");
}

static void put_verdict(struct text *t, const struct provenance *claim, const struct comparison *c,
                        bool same_domain, const char *digest)
{
    text_printf(t, "{\"object\":\"verification\",\"match\":%s,\"same_domain\":%s,\"claimed\":{",
                c->n_different ? "false" : "true", same_domain ? "true" : "false");
    document_put_string(t, "precision", claim->precision);
    text_puts(t, ",");
    document_put_string(t, "kernels", claim->kernels);
    text_puts(t, ",");
    document_put_string(t, "digest", claim->digest);
    text_puts(t, "},\"picture_digest\":");
    if (c->is_scaled) {
        text_json_string(t, digest);
    } else {
        text_puts(t, "null");
    }
    text_puts(t, ",\"difference\":");
    if (c->n_different) {
        text_printf(t, "{\"pixels\":%llu,\"x\":%u,\"y\":%u", (unsigned long long)c->n_different,
                    c->x, c->y);
        put_pixel(t, "found", &c->found);
        put_pixel(t, "expected", &c->expected);
        text_puts(t, "}");
    } else {
        text_puts(t, "null");
    }
}

char *provenance_document(struct provenance *claim, const struct sample_params *p,
                          const uint8_t *pixels, size_t *bytes)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    size_t sheet_bytes = (size_t)info->height * (size_t)info->width * (size_t)info->channels *
                         cell_rows(p) * cell_columns(p);
    char digest[IMAGE_DIGEST_BYTES], *drawn = NULL, *body = NULL;
    uint8_t *sheet = malloc(sheet_bytes), *first = malloc(sheet_bytes);
    if (!sheet || !first) {
        goto out;
    }
    png_grid(sheet, pixels, p->n_rows, info->height, info->width, info->channels,
             (int)cell_columns(p));
    struct comparison c = {.sheet = sheet,
                           .first = first,
                           .scale = p->scale,
                           .width = (size_t)info->width * cell_columns(p),
                           .channels = (size_t)info->channels,
                           .is_scaled = true};
    int rc = compare(&c, claim);
    if (rc != 0) {
        *bytes = 0;
        body = rc == DN_EINVAL ? calloc(1, 1) : NULL;
        goto out;
    }
    image_digest(digest, sheet, sheet_bytes);
    struct sample_params as_said = *p;
    as_said.format = claim->format;
    drawn = p->columns ? document_sheet_text(&as_said, digest)
                       : document_image_text(&as_said, 0, digest);
    if (!drawn) {
        goto out;
    }
    image_digest(digest, first, sheet_bytes);
    bool same_domain = strcmp(claim->precision, dn_precision_name(info->precision)) == 0 &&
                       strcmp(claim->kernels, info->kernels) == 0;
    struct text t = TEXT_INIT;
    put_verdict(&t, claim, &c, same_domain, digest);
    text_printf(&t, ",\"drawn\":%s}\n", drawn);
    body = text_take(&t, bytes);
out:
    free(drawn);
    free(first);
    free(sheet);
    return body;
}

void provenance_free(struct provenance *claim)
{
    free(claim->file);
    claim->file = NULL;
    params_free(&claim->params);
}
