/*
 * The models that requests may name, the default one first, and their other names.
 *
 * The set owns its models until they leave it, which hands them to the scheduler; `api` is what
 * requests are checked against, made anew whenever the set changes. Loop thread only, but for
 * model_set_open().
 */
#ifndef SERVER_MODELS_MODELS_H
#define SERVER_MODELS_MODELS_H

#include <stddef.h>

#include "api/params.h"
#include "server/scheduling/served_model.h"

#define MODELS_MAX_ALIASES 16
#define MODELS_MAX_DEPARTED 64

struct model_set {
    struct served_model *served[OPTIONS_MAX_MODELS]; /* the first is the default */
    size_t n_served;

    /* what the api's context borrows */
    struct dn_model *models[OPTIONS_MAX_MODELS];
    int64_t created[OPTIONS_MAX_MODELS];
    uint32_t batch_limits[OPTIONS_MAX_MODELS];
    struct api_alias aliases[MODELS_MAX_ALIASES];
    struct api_departed departed[MODELS_MAX_DEPARTED]; /* the last one first */
    size_t n_departed;
};

/* Is it NAME=MODEL[,NAME=MODEL...]? What the names mean is seen when the models are open. */
bool model_aliases_are_valid(const char *list);

/* Open every model of the options and check their aliases. Two of one name are an error. Any
 * thread. Returns 0 or a negative dn_code with *err filled; then nothing is open. */
int model_set_open(struct model_set *set, const struct options *options, uint32_t n_workers,
                   struct dn_error *err);

/* Free the models that are in it. */
void model_set_close(struct model_set *set);

/* The one that serves this model of the context. */
struct served_model *model_set_find(const struct model_set *set, const struct dn_model *model);

/* The place of the model of that name, or -1. */
int model_set_find_name(const struct model_set *set, const char *name);

/* Does an option give this name to a model, here or not? */
bool model_name_is_alias(const char *list, const char *name);

/* Let `m` serve, in the place of the one of its name or as the last. Returns the one whose place it
 * took, or NULL. There must be room. */
struct served_model *model_set_put(struct model_set *set, struct served_model *m);

/* Make the one at `place` the default. */
void model_set_activate(struct model_set *set, size_t place);

/* Take out the one at `place`, which is not the default. */
struct served_model *model_set_take(struct model_set *set, size_t place);

/* Write the set into the context: models, default, aliases, those that left. After each change. */
void model_set_publish(struct model_set *set, const struct options *options,
                       struct api_context *api);

#endif
