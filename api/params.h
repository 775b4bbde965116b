/*
 * The parameters of a sampling request: from a JSON body or a URL to resolved, checked values.
 *
 * Nothing is ignored, rounded or clamped: each fault is reported under its field's pointer, all
 * faults of a request at once. What is left out gets the model's defaults, except the seed: the
 * caller draws one where has_seed is false. Any thread.
 */
#ifndef API_PARAMS_H
#define API_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/priority.h"
#include "api/problem.h"
#include "api/query.h"
#include "core/denoise.h"

struct cJSON;

#define PARAMS_SCALE_MAX 32
#define PARAMS_TIMEOUT_MS_MAX 3600000
/* Decoded bytes of all pictures of one response, after scaling. */
#define PARAMS_MAX_PIXEL_BYTES (UINT32_C(64) << 20)

/* Of a film. */
#define PARAMS_FRAMES_MAX 64
#define PARAMS_FRAMES_DEFAULT 24
#define PARAMS_FRAME_MS_MIN 10
#define PARAMS_FRAME_MS_MAX 10000
#define PARAMS_FRAME_MS_DEFAULT 80
#define PARAMS_LAST_FRAME_MS 2000 /* at least: it is what one wants to look at */

#define PARAMS_JOB_ID_BYTES 65

enum params_layout { LAYOUT_LIST, LAYOUT_GRID };
enum params_format { FORMAT_PNG, FORMAT_APNG };

#define API_ALIAS_BYTES 64

/* Another name of a model. */
struct api_alias {
    char name[API_ALIAS_BYTES];
    size_t model_idx;
};

/* A model that was here. */
struct api_departed {
    char name[64], digest[72];
    char successor[72]; /* the digest of what is served under its name since, or "" */
};

/* What requests are checked against. */
struct api_context {
    struct dn_model *const *models; /* the first is the default */
    size_t n_models;
    const int64_t *created; /* [n_models] the files' times, in seconds */
    const struct api_alias *aliases;
    size_t n_aliases;
    const struct api_departed *departed; /* the last one first */
    size_t n_departed;
    const char *xmp_version; /* as in sample_params */
    uint32_t max_rows_per_request;
    uint32_t max_queue_rows;
    uint32_t max_body_bytes;
    uint32_t workers;
    uint32_t max_batch;
    const uint32_t *batch_limits; /* [n_models] evaluations in one step of one worker */
};

struct sample_params {
    struct dn_model *model; /* a share of it */
    bool model_by_digest;   /* the request named the model by its digest */
    bool is_list;           /* the request said `labels`, not `label` */
    uint32_t *labels;       /* owned, [n_labels] */
    size_t n_labels;
    uint32_t n; /* images of each label */
    size_t n_rows;
    bool has_seed;
    uint64_t seed;
    uint32_t index; /* of the first image */
    uint32_t steps;
    enum dn_sampler sampler;
    double guidance_scale;
    struct dn_interval guidance_interval;
    double eta;
    enum params_layout layout;
    uint32_t scale;
    uint32_t columns; /* of the grid; 0 with LAYOUT_LIST */
    enum params_format format;
    uint32_t frames;     /* of a film, from the noise to the image; 0 with FORMAT_PNG */
    uint32_t frame_ms;   /* how long each is shown */
    uint32_t timeout_ms; /* 0: none */
    bool has_priority;   /* the request named one; else it is normal */
    enum priority priority;
    uint32_t preview_every;           /* steps between two previews of an image; 0 is none */
    char job_id[PARAMS_JOB_ID_BYTES]; /* the client's own; "" without one */
    const char *xmp_version; /* denoised's, for the pictures' XMP; static; NULL: they have none */
};

enum params_kind { PARAMS_SAMPLE, PARAMS_FILM, PARAMS_JOB };

/* Read the body of POST /v1/samples, with PARAMS_FILM where format is apng unless it says
 * otherwise, or of POST /v1/jobs, which may have an id too. Returns 0; the caller frees with
 * params_free. Or -1 with *problem filled and nothing to free. */
int params_from_body(struct sample_params *p, const struct api_context *context,
                     enum params_kind kind, const char *body, size_t bytes,
                     struct problem *problem);

/* Is it what a job may be called: 1 to 64 characters of A-Z a-z 0-9 . _ -? */
bool params_job_id_valid(const char *id);

/* A copy with labels and a share of the model of its own. Returns 0 or DN_ENOMEM, and then there is
 * nothing to free. */
int params_copy(struct sample_params *to, const struct sample_params *from);

/* Read the parameters that a picture of `model` names. As params_from_body; the caller has set
 * *problem, which gets the errors. */
int params_from_picture(struct sample_params *p, const struct api_context *context,
                        struct dn_model *model, const struct cJSON *object,
                        struct problem *problem);

/* Read GET /v1/samples/{label}.png or .apng, which is the format: the decoded label and the query.
 * As params_from_body. */
int params_from_url(struct sample_params *p, const struct api_context *context,
                    enum params_format format, const char *label, const struct query *query,
                    struct problem *problem);

void params_free(struct sample_params *p);

/* The engine's parameters of row `i` of the request. */
struct dn_row_params params_row(const struct sample_params *p, size_t i);

/* Which frame of a film shows a row that has taken so many steps, or -1. The first is the noise,
 * the last the image. */
int params_frame(const struct sample_params *p, uint32_t steps_done);

/* Turn a list into a grid of near a square. */
void params_make_grid(struct sample_params *p);

/* Rows and columns of cells of the request's sheet. */
uint32_t params_grid_rows(const struct sample_params *p);

/* The model of that name (file stem), digest or alias, or -1. */
int api_model_find(const struct api_context *context, const char *id);

/* Fill *problem: there is no model `id`, as the field `pointer` says, or not any more. */
void api_model_missing(const struct api_context *context, const char *id, const char *pointer,
                       struct problem *problem);

#endif
