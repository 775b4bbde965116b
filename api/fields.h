/*
 * The fields of a sampling request as they were given, before they mean anything: one table says
 * each field's type and where it may stand. Private to api/.
 */
#ifndef API_FIELDS_H
#define API_FIELDS_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "api/problem.h"
#include "api/query.h"
#include "core/denoise.h"

enum field {
    FIELD_LABEL,
    FIELD_LABELS,
    FIELD_N,
    FIELD_SEED,
    FIELD_INDEX,
    FIELD_STEPS,
    FIELD_SAMPLER,
    FIELD_GUIDANCE_SCALE,
    FIELD_GUIDANCE_INTERVAL,
    FIELD_ETA,
    FIELD_MODEL,
    FIELD_PRESET,
    FIELD_FORMAT,
    FIELD_FRAMES,
    FIELD_FRAME_MS,
    FIELD_LAYOUT,
    FIELD_SCALE,
    FIELD_COLUMNS,
    FIELD_TIMEOUT_MS,
    FIELD_PRIORITY,
    FIELD_PREVIEW_EVERY,
    FIELD_ID,
    FIELD_COUNT
};

/* Where a request is written, and so which fields it may have. */
enum field_place { IN_QUERY = 1, IN_SAMPLE = 2, IN_JOB = 4, IN_PICTURE = 8 };

/* A number or a string; `string` is NULL for a number. */
struct field_value {
    double number;
    const char *string;
};

struct fields {
    bool has[FIELD_COUNT];
    struct field_value value[FIELD_COUNT]; /* strings borrow from the body or the query */
    const cJSON *labels;                   /* the array of FIELD_LABELS */
    struct dn_interval interval;           /* of FIELD_GUIDANCE_INTERVAL */
};

/* Sort the members of a JSON object, or the parameters of a query, into fields. Unknown names and
 * wrong types are added to *problem. */
void fields_from_json(struct fields *f, const cJSON *object, enum field_place place,
                      struct problem *problem);
void fields_from_query(struct fields *f, const struct query *query, struct problem *problem);

/* Take the two numbers of an array, which must have no more, as the guidance interval. */
void fields_take_interval(struct fields *f, const cJSON *array, struct problem *problem);

/* The field's JSON pointer: "/steps". */
const char *field_pointer(enum field field);

struct sample_params;
struct api_context;

/* The index of the model that the fields name: by `model`, or else the first that has the preset
 * they name, or else the default. -1: there is none of that name. *preset is the model's that they
 * name, or NULL. */
int params_find_model(const struct fields *f, const struct api_context *context,
                      const struct dn_preset **preset);

/* Resolve the fields of a request, however they came, into *p, which is zero but for the model, if
 * that is known, and the format that is meant where none is named. What a preset sets is added to
 * *f. Faults are added to *problem, a missing label is none. Returns 0, or -1; params_free(p)
 * either way. */
int params_from_fields(struct sample_params *p, struct fields *f, const struct api_context *context,
                       struct problem *problem);

#endif
