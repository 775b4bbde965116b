/*
 * The models that requests may name, the default one first, and their other names.
 *
 * The set owns its models until they leave it, which hands them to the scheduler; `api` is what
 * requests are checked against, made anew whenever the set changes. Loop thread only, but for
 * model_set_open().
 */
#ifndef SERVER_MODELS_H
#define SERVER_MODELS_H

#include <stddef.h>

#include "api/params.h"
#include "server/served_model.h"

#define MODELS_MAX_ALIASES 16

struct model_set {
    struct served_model *served[OPTIONS_MAX_MODELS]; /* the first is the default */
    size_t n_served;

    /* what the api's context borrows */
    struct dn_model *models[OPTIONS_MAX_MODELS];
    int64_t created[OPTIONS_MAX_MODELS];
    uint32_t batch_limits[OPTIONS_MAX_MODELS];
    struct api_alias aliases[MODELS_MAX_ALIASES];
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

/* Write the set into the context: models, default, aliases. */
void model_set_publish(struct model_set *set, const struct options *options,
                       struct api_context *api);

#endif
