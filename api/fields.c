#include "api/fields.h"

#include <string.h>

#include "api/json.h"

#define IN_REQUEST (IN_SAMPLE | IN_JOB)
#define IN_BODY (IN_REQUEST | IN_PICTURE)

enum field_type { TYPE_NUMBER, TYPE_STRING, TYPE_LABEL, TYPE_LIST, TYPE_INTERVAL };

static const struct {
    const char *pointer;
    enum field_type type;
    unsigned places; /* of enum field_place */
} field_rows[FIELD_COUNT] = {
    [FIELD_LABEL] = {"/label", TYPE_LABEL, IN_BODY},
    [FIELD_LABELS] = {"/labels", TYPE_LIST, IN_BODY},
    [FIELD_N] = {"/n", TYPE_NUMBER, IN_BODY},
    [FIELD_SEED] = {"/seed", TYPE_NUMBER, IN_BODY | IN_QUERY},
    [FIELD_INDEX] = {"/index", TYPE_NUMBER, IN_BODY | IN_QUERY},
    [FIELD_STEPS] = {"/steps", TYPE_NUMBER, IN_BODY | IN_QUERY},
    [FIELD_SAMPLER] = {"/sampler", TYPE_STRING, IN_BODY | IN_QUERY},
    [FIELD_GUIDANCE_SCALE] = {"/guidance_scale", TYPE_NUMBER, IN_BODY | IN_QUERY},
    [FIELD_GUIDANCE_INTERVAL] = {"/guidance_interval", TYPE_INTERVAL, IN_BODY | IN_QUERY},
    [FIELD_ETA] = {"/eta", TYPE_NUMBER, IN_BODY | IN_QUERY},
    [FIELD_MODEL] = {"/model", TYPE_STRING, IN_REQUEST | IN_QUERY},
    [FIELD_PRESET] = {"/preset", TYPE_STRING, IN_REQUEST | IN_QUERY},
    [FIELD_FORMAT] = {"/format", TYPE_STRING, IN_BODY},
    [FIELD_FRAMES] = {"/frames", TYPE_NUMBER, IN_BODY | IN_QUERY},
    [FIELD_FRAME_MS] = {"/frame_ms", TYPE_NUMBER, IN_BODY | IN_QUERY},
    [FIELD_LAYOUT] = {"/layout", TYPE_STRING, IN_BODY},
    [FIELD_SCALE] = {"/scale", TYPE_NUMBER, IN_BODY | IN_QUERY},
    [FIELD_COLUMNS] = {"/columns", TYPE_NUMBER, IN_BODY},
    [FIELD_TIMEOUT_MS] = {"/timeout_ms", TYPE_NUMBER, IN_REQUEST},
    [FIELD_PRIORITY] = {"/priority", TYPE_STRING, IN_REQUEST},
    [FIELD_PREVIEW_EVERY] = {"/preview_every", TYPE_NUMBER, IN_REQUEST},
    [FIELD_ID] = {"/id", TYPE_STRING, IN_JOB},
};

static const char *const type_names[] = {
    [TYPE_NUMBER] = "a number",
    [TYPE_STRING] = "a string",
    [TYPE_LABEL] = "an integer or a string",
    [TYPE_LIST] = "an array",
    [TYPE_INTERVAL] = "an array of two numbers",
};

const char *field_pointer(enum field field)
{
    return field_rows[field].pointer;
}

static int field_by_name(const char *name)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (strcmp(field_rows[i].pointer + 1, name) == 0) {
            return i;
        }
    }
    return -1;
}

static bool type_fits(enum field_type type, const cJSON *value)
{
    switch (type) {
    case TYPE_NUMBER:
        return cJSON_IsNumber(value);
    case TYPE_STRING:
        return cJSON_IsString(value);
    case TYPE_LABEL:
        return cJSON_IsNumber(value) || cJSON_IsString(value);
    case TYPE_LIST:
    case TYPE_INTERVAL:
        return cJSON_IsArray(value);
    }
    return false;
}

void fields_take_interval(struct fields *f, const cJSON *array, struct problem *problem)
{
    const cJSON *start = array->child, *end = start ? start->next : NULL;
    if (!cJSON_IsNumber(start) || !cJSON_IsNumber(end) || end->next) {
        problem_add(problem, field_pointer(FIELD_GUIDANCE_INTERVAL), "two numbers are expected");
        return;
    }
    f->has[FIELD_GUIDANCE_INTERVAL] = true;
    f->interval = (struct dn_interval){start->valuedouble, end->valuedouble};
}

/* "0.2,0.8" */
static void read_interval(struct fields *f, const char *text, struct problem *problem)
{
    char start[64];
    size_t length = strcspn(text, ",");
    if (length < sizeof start && text[length] == ',') {
        memcpy(start, text, length);
        start[length] = '\0';
        if (json_read_number(&f->interval.start, start) == 0 &&
            json_read_number(&f->interval.end, text + length + 1) == 0) {
            f->has[FIELD_GUIDANCE_INTERVAL] = true;
            return;
        }
    }
    problem_add(problem, field_pointer(FIELD_GUIDANCE_INTERVAL),
                "two numbers with a comma between are expected");
}

void fields_from_json(struct fields *f, const cJSON *object, enum field_place place,
                      struct problem *problem)
{
    *f = (struct fields){.labels = NULL};
    for (const cJSON *member = object->child; member; member = member->next) {
        int field = field_by_name(member->string);
        if (field < 0 || !(field_rows[field].places & place)) {
            char pointer[PROBLEM_POINTER_BYTES] = "";
            problem_pointer_push(pointer, member->string);
            problem_add(problem, pointer, "unknown field");
            continue;
        }
        enum field_type type = field_rows[field].type;
        if (!type_fits(type, member)) {
            problem_add(problem, field_rows[field].pointer, "%s is expected, found %s",
                        type_names[type], json_type_name(member));
            continue;
        }
        if (type == TYPE_INTERVAL) {
            fields_take_interval(f, member, problem);
            continue;
        }
        f->has[field] = true;
        f->value[field].number = member->valuedouble;
        f->value[field].string = cJSON_IsString(member) ? member->valuestring : NULL;
        if (field == FIELD_LABELS) {
            f->labels = member;
        }
    }
}

void fields_from_query(struct fields *f, const struct query *query, struct problem *problem)
{
    *f = (struct fields){.labels = NULL};
    for (size_t i = 0; i < query->n_pairs; i++) {
        const char *key = query->pairs[i].key, *value = query->pairs[i].value;
        int field = field_by_name(key);
        if (field < 0 || !(field_rows[field].places & IN_QUERY)) {
            char pointer[PROBLEM_POINTER_BYTES] = "";
            problem_pointer_push(pointer, key);
            problem_add(problem, pointer, "unknown parameter");
            continue;
        }
        if (field_rows[field].type == TYPE_INTERVAL) {
            read_interval(f, value, problem);
            continue;
        }
        if (field_rows[field].type == TYPE_NUMBER) {
            if (json_read_number(&f->value[field].number, value) != 0) {
                problem_add(problem, field_rows[field].pointer, "a number is expected");
                continue;
            }
        } else {
            f->value[field].string = value;
        }
        f->has[field] = true;
    }
}
