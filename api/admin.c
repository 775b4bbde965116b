#include "api/admin.h"

#include <string.h>

#include "api/document_parts.h"
#include "api/json.h"

/* ---- the request ---------------------------------------------------------------------------- */

static void read_path(struct admin_load *load, const cJSON *value, struct problem *problem)
{
    if (!cJSON_IsString(value)) {
        problem_add(problem, "/path", "a string is expected, found %s", json_type_name(value));
    } else if (value->valuestring[0] != '/') {
        problem_add(problem, "/path", "must be absolute");
    } else if (strlen(value->valuestring) >= ADMIN_PATH_BYTES) {
        problem_add(problem, "/path", "must have at most %d bytes", ADMIN_PATH_BYTES - 1);
    } else {
        memcpy(load->path, value->valuestring, strlen(value->valuestring) + 1);
    }
}

static void read_members(struct admin_load *load, const cJSON *root, struct problem *problem)
{
    bool has_path = false;
    for (const cJSON *member = root->child; member; member = member->next) {
        char pointer[PROBLEM_POINTER_BYTES] = "";
        problem_pointer_push(pointer, member->string);
        if (strcmp(member->string, "path") == 0) {
            has_path = true;
            read_path(load, member, problem);
        } else if (strcmp(member->string, "default") != 0) {
            problem_add(problem, pointer, "unknown field");
        } else if (!cJSON_IsBool(member)) {
            problem_add(problem, pointer, "a boolean is expected, found %s",
                        json_type_name(member));
        } else {
            load->make_default = cJSON_IsTrue(member);
        }
    }
    if (!has_path) {
        problem_add(problem, "/path", "is required");
    }
}

int admin_load_read(struct admin_load *load, const char *body, size_t bytes,
                    struct problem *problem)
{
    *load = (struct admin_load){.path = ""};
    cJSON *root;
    if (json_parse(&root, body, bytes, problem) != 0) {
        return -1;
    }
    problem_set(problem, PROBLEM_INVALID_REQUEST, "The request is not valid; see errors.");
    if (cJSON_IsObject(root)) {
        read_members(load, root, problem);
    } else {
        problem_add(problem, "", "an object is expected, found %s", json_type_name(root));
    }
    cJSON_Delete(root);
    return problem->n_errors ? -1 : 0;
}

/* ---- the answers ---------------------------------------------------------------------------- */

static void put_reload(struct text *t, const struct admin_model *m)
{
    if (m->reloaded_s == 0) {
        text_puts(t, "\"reloaded\":null,\"reload_error\":null,");
        return;
    }
    text_printf(t, "\"reloaded\":%lld,\"reload_error\":", (long long)m->reloaded_s);
    if (*m->reload_error) {
        text_json_string(t, m->reload_error);
    } else {
        text_puts(t, "null");
    }
    text_puts(t, ",");
}

static void put_model(struct text *t, const struct admin_model *m,
                      const struct api_context *context)
{
    static const char *const states[] = {
        [ADMIN_SERVING] = "serving", [ADMIN_RETIRING] = "retiring", [ADMIN_GONE] = "gone"};
    text_puts(t, "{\"object\":\"admin_model\",");
    document_put_string(t, "id", m->info->name);
    text_puts(t, ",");
    document_put_string(t, "digest", m->info->digest);
    text_puts(t, ",");
    document_put_string(t, "path", m->path);
    text_printf(t, ",\"state\":\"%s\",\"default\":%s,", states[m->state],
                m->place == 0 ? "true" : "false");
    document_put_aliases(t, context, m->place);
    text_printf(t, ",\"loaded\":%lld,", (long long)m->loaded_s);
    put_reload(t, m);
    text_printf(t,
                "\"evaluations\":%u,\"workspace_bytes\":%llu,\"file_bytes\":%zu,"
                "\"queue_rows\":%llu,\"images\":%llu}",
                m->evaluations, (unsigned long long)m->workspace_bytes, m->info->file_bytes,
                (unsigned long long)m->rows, (unsigned long long)m->images);
}

char *admin_document_model(const struct admin_model *m, const struct api_context *context,
                           size_t *bytes)
{
    struct text t = TEXT_INIT;
    put_model(&t, m, context);
    text_puts(&t, "\n");
    return text_take(&t, bytes);
}

char *admin_document_load(const char *result, const struct admin_model *m,
                          const struct api_context *context, size_t *bytes)
{
    struct text t = TEXT_INIT;
    text_puts(&t, "{");
    document_put_string(&t, "result", result);
    text_puts(&t, ",\"model\":");
    put_model(&t, m, context);
    text_puts(&t, "}\n");
    return text_take(&t, bytes);
}

char *admin_document_models(const struct admin_model *models, size_t n, const char *const *loading,
                            size_t n_loading, size_t max_models, const struct api_context *context,
                            size_t *bytes)
{
    struct text t = TEXT_INIT;
    text_puts(&t, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < n; i++) {
        text_puts(&t, i ? "," : "");
        put_model(&t, &models[i], context);
    }
    text_puts(&t, "],\"loading\":[");
    for (size_t i = 0; i < n_loading; i++) {
        text_puts(&t, i ? "," : "");
        text_json_string(&t, loading[i]);
    }
    text_printf(&t, "],\"max_models\":%zu}\n", max_models);
    return text_take(&t, bytes);
}
