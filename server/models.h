/*
 * The models that the daemon serves: opened once, const until the end.
 */
#ifndef SERVER_MODELS_H
#define SERVER_MODELS_H

#include <stddef.h>

#include "core/denoise.h"
#include "server/options.h"

struct model_set {
    struct dn_model *models[OPTIONS_MAX_MODELS];
    size_t n_models;
};

/* Open every model of the options. Two of one name are an error. Any thread. Returns 0 or a
 * negative dn_code with *err filled; then nothing is open. */
int model_set_open(struct model_set *set, const struct options *options, struct dn_error *err);
void model_set_close(struct model_set *set);

#endif
