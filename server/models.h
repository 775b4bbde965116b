/*
 * The models that the daemon serves: opened once, const until the end.
 */
#ifndef SERVER_MODELS_H
#define SERVER_MODELS_H

#include <stddef.h>

#include "api/params.h"
#include "core/denoise.h"
#include "server/options.h"

#define MODELS_MAX_ALIASES 16

struct model_set {
    struct dn_model *models[OPTIONS_MAX_MODELS];
    int64_t created[OPTIONS_MAX_MODELS]; /* the files' times of modification */
    size_t n_models;
    struct api_alias aliases[MODELS_MAX_ALIASES];
    size_t n_aliases;
};

/* Is it NAME=MODEL[,NAME=MODEL...]? What the names mean is seen when the models are open. */
bool model_aliases_are_valid(const char *list);

/* Open every model of the options and resolve their aliases. Two of one name are an error. Any
 * thread. Returns 0 or a negative dn_code with *err filled; then nothing is open. */
int model_set_open(struct model_set *set, const struct options *options, struct dn_error *err);
void model_set_close(struct model_set *set);

#endif
