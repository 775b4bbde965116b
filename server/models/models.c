#include "server/models/models.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- aliases -------------------------------------------------------------------------------- */

/* Bytes of a name up to `end` or the end of the list; 0 if it is not one. */
static size_t name_bytes(const char *s, char end)
{
    size_t bytes = strcspn(s, "=,");
    bool is_fine = dn_model_name_is_valid(s, bytes);
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

int model_set_find_name(const struct model_set *set, const char *name)
{
    for (size_t i = 0; i < set->n_served; i++) {
        if (strcmp(served_model_info(set->served[i])->name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

struct alias_text {
    char name[API_ALIAS_BYTES], target[API_ALIAS_BYTES];
};

/* The next of a valid list, which may be NULL. Returns the rest, or NULL when there was none. */
static const char *next_alias(struct alias_text *alias, const char *list)
{
    if (!list || !*list) {
        return NULL;
    }
    size_t bytes = name_bytes(list, '='), target_bytes = name_bytes(list + bytes + 1, ',');
    snprintf(alias->name, sizeof alias->name, "%.*s", (int)bytes, list);
    snprintf(alias->target, sizeof alias->target, "%.*s", (int)target_bytes, list + bytes + 1);
    list += bytes + 1 + target_bytes;
    return list + (*list == ',');
}

static int refuse_alias(struct dn_error *err, const char *name, const char *why)
{
    err->code = DN_EINVAL;
    snprintf(err->text, sizeof err->text, "model alias %.300s: %s", name, why);
    return DN_EINVAL;
}

static int check_aliases(const struct model_set *set, const char *list, struct dn_error *err)
{
    struct alias_text seen[MODELS_MAX_ALIASES];
    for (size_t n = 0; (list = next_alias(&seen[n], list)); n++) {
        if (model_set_find_name(set, seen[n].target) < 0) {
            return refuse_alias(err, seen[n].name, "it stands for no --model");
        }
        if (model_set_find_name(set, seen[n].name) >= 0) {
            return refuse_alias(err, seen[n].name, "a model has this name itself");
        }
        for (size_t i = 0; i < n; i++) {
            if (strcmp(seen[i].name, seen[n].name) == 0) {
                return refuse_alias(err, seen[n].name, "given twice");
            }
        }
    }
    return 0;
}

bool model_name_is_alias(const char *list, const char *name)
{
    struct alias_text alias;
    while ((list = next_alias(&alias, list))) {
        if (strcmp(alias.name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- models --------------------------------------------------------------------------------- */

static int check_name(const struct model_set *set, const struct dn_model_info *info,
                      struct dn_error *err)
{
    if (model_set_find_name(set, info->name) < 0) {
        return 0;
    }
    err->code = DN_EINVAL;
    snprintf(err->text, sizeof err->text, "two models are named %s", info->name);
    return DN_EINVAL;
}

int model_set_open(struct model_set *set, const struct options *options, uint32_t n_workers,
                   struct dn_error *err)
{
    set->n_served = 0;
    int rc = 0;
    for (int i = 0; i < options->n_models && rc == 0; i++) {
        struct served_model *m;
        rc = served_model_open(&m, options->models[i], options, n_workers, err);
        if (rc == 0) {
            rc = check_name(set, served_model_info(m), err);
            m->loaded_s = (int64_t)time(NULL);
            set->served[set->n_served++] = m;
        }
    }
    rc = rc == 0 ? check_aliases(set, options->model_aliases, err) : rc;
    if (rc != 0) {
        model_set_close(set);
    }
    return rc;
}

void model_set_close(struct model_set *set)
{
    while (set->n_served > 0) {
        served_model_free(set->served[--set->n_served]);
    }
}

/* Remember the one that leaves; the memory is short. */
static void note_departure(struct model_set *set, const struct served_model *m,
                           const struct served_model *successor)
{
    if (set->n_departed < MODELS_MAX_DEPARTED) {
        set->n_departed++;
    }
    memmove(&set->departed[1], &set->departed[0], (set->n_departed - 1) * sizeof set->departed[0]);
    struct api_departed *d = &set->departed[0];
    *d = (struct api_departed){.successor = ""};
    memcpy(d->name, served_model_info(m)->name, sizeof d->name);
    memcpy(d->digest, served_model_info(m)->digest, sizeof d->digest);
    if (successor) {
        memcpy(d->successor, served_model_info(successor)->digest, sizeof d->successor);
    }
}

struct served_model *model_set_put(struct model_set *set, struct served_model *m)
{
    int place = model_set_find_name(set, served_model_info(m)->name);
    m->loaded_s = (int64_t)time(NULL);
    if (place < 0) {
        assert(set->n_served < OPTIONS_MAX_MODELS);
        set->served[set->n_served++] = m;
        return NULL;
    }
    struct served_model *old = set->served[place];
    m->n_images = old->n_images;
    old->n_images = 0; /* what it still draws is added when it is let go */
    set->served[place] = m;
    note_departure(set, old, m);
    return old;
}

void model_set_activate(struct model_set *set, size_t place)
{
    struct served_model *m = set->served[place];
    memmove(&set->served[1], &set->served[0], place * sizeof set->served[0]);
    set->served[0] = m;
}

struct served_model *model_set_take(struct model_set *set, size_t place)
{
    assert(place > 0 && place < set->n_served);
    struct served_model *m = set->served[place];
    set->n_served--;
    memmove(&set->served[place], &set->served[place + 1],
            (set->n_served - place) * sizeof set->served[0]);
    note_departure(set, m, NULL);
    return m;
}

struct served_model *model_set_find(const struct model_set *set, const struct dn_model *model)
{
    size_t i = 0;
    while (set->served[i]->model != model) {
        i++;
        assert(i < set->n_served);
    }
    return set->served[i];
}

void model_set_publish(struct model_set *set, const struct options *options,
                       struct api_context *api)
{
    struct alias_text alias;
    const char *list = options->model_aliases;
    for (size_t i = 0; i < set->n_served; i++) {
        set->models[i] = set->served[i]->model;
        set->created[i] = set->served[i]->created;
        set->batch_limits[i] = set->served[i]->batch_limit;
    }
    api->models = set->models;
    api->n_models = set->n_served;
    api->created = set->created;
    api->batch_limits = set->batch_limits;
    api->aliases = set->aliases;
    api->departed = set->departed;
    api->n_departed = set->n_departed;
    api->n_aliases = 0;
    while ((list = next_alias(&alias, list))) {
        int model_idx = model_set_find_name(set, alias.target);
        if (model_idx >= 0) { /* else it stands for a model that is not here now */
            struct api_alias *a = &set->aliases[api->n_aliases++];
            memcpy(a->name, alias.name, sizeof a->name);
            a->model_idx = (size_t)model_idx;
        }
    }
}
