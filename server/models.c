#include "server/models.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- aliases -------------------------------------------------------------------------------- */

/* Bytes of a name up to `end` or the end of the list; 0 if it is not one. */
static size_t name_bytes(const char *s, char end)
{
    size_t bytes = 0;
    while (s[bytes] > ' ' && s[bytes] != 127 && !strchr("=,", s[bytes])) {
        bytes++;
    }
    bool is_fine = bytes > 0 && bytes < API_ALIAS_BYTES;
    return is_fine && (s[bytes] == end || (end == ',' && !s[bytes])) ? bytes : 0;
}

bool model_aliases_are_valid(const char *list)
{
    for (size_t n = 0; n < MODELS_MAX_ALIASES; n++) {
        size_t bytes = name_bytes(list, '=');
        list += bytes + (bytes > 0);
        size_t target_bytes = bytes ? name_bytes(list, ',') : 0;
        if (target_bytes == 0) {
            return false;
        }
        list += target_bytes;
        if (!*list++) {
            return true;
        }
    }
    return false;
}

static int model_set_find(const struct model_set *set, const char *name)
{
    for (size_t i = 0; i < set->n_models; i++) {
        if (strcmp(dn_model_info(set->models[i])->name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static int refuse_alias(struct dn_error *err, const char *name, const char *why)
{
    err->code = DN_EINVAL;
    snprintf(err->text, sizeof err->text, "model alias %s: %s", name, why);
    return DN_EINVAL;
}

/* Resolve a valid list, or NULL. */
static int model_set_add_aliases(struct model_set *set, const char *list, struct dn_error *err)
{
    while (list && *list) {
        struct api_alias *alias = &set->aliases[set->n_aliases];
        char target[API_ALIAS_BYTES];
        size_t bytes = name_bytes(list, '='), target_bytes = name_bytes(list + bytes + 1, ',');
        snprintf(alias->name, sizeof alias->name, "%.*s", (int)bytes, list);
        snprintf(target, sizeof target, "%.*s", (int)target_bytes, list + bytes + 1);
        list += bytes + 1 + target_bytes;
        list += *list == ',';
        int model_idx = model_set_find(set, target);
        if (model_idx < 0) {
            return refuse_alias(err, alias->name, "it stands for no --model");
        }
        if (model_set_find(set, alias->name) >= 0) {
            return refuse_alias(err, alias->name, "a model has this name itself");
        }
        for (size_t i = 0; i < set->n_aliases; i++) {
            if (strcmp(set->aliases[i].name, alias->name) == 0) {
                return refuse_alias(err, alias->name, "given twice");
            }
        }
        alias->model_idx = (size_t)model_idx;
        set->n_aliases++;
    }
    return 0;
}

/* ---- models --------------------------------------------------------------------------------- */

static int model_set_check_name(const struct model_set *set, const struct dn_model_info *info,
                                struct dn_error *err)
{
    if (model_set_find(set, info->name) < 0) {
        return 0;
    }
    err->code = DN_EINVAL;
    snprintf(err->text, sizeof err->text, "two models are named %s", info->name);
    return DN_EINVAL;
}

int model_set_open(struct model_set *set, const struct options *options, struct dn_error *err)
{
    const struct dn_model_options model_options = {.isa = options->isa,
                                                   .precision = options->precision};
    set->n_models = set->n_aliases = 0;
    for (int i = 0; i < options->n_models; i++) {
        struct dn_model *model;
        int rc = dn_model_open(&model, options->models[i], &model_options, err);
        if (rc == 0) {
            rc = model_set_check_name(set, dn_model_info(model), err);
            if (rc != 0) {
                dn_model_free(model);
            }
        }
        if (rc != 0) {
            model_set_close(set);
            return rc;
        }
        struct stat file;
        set->created[set->n_models] =
            stat(options->models[i], &file) == 0 ? (int64_t)file.st_mtime : 0;
        set->models[set->n_models++] = model;
    }
    int rc = model_set_add_aliases(set, options->model_aliases, err);
    if (rc != 0) {
        model_set_close(set);
    }
    return rc;
}

void model_set_close(struct model_set *set)
{
    while (set->n_models > 0) {
        dn_model_free(set->models[--set->n_models]);
    }
}
