/*
 * The JSON of the admin listener: what a request to load a model says, and what an operator sees of
 * the models. Any thread.
 */
#ifndef API_ADMIN_H
#define API_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/params.h"
#include "api/problem.h"

#define ADMIN_PATH_BYTES 4096

struct admin_load {
    char path[ADMIN_PATH_BYTES];
    bool make_default;
};

/* Read the body of POST /admin/models. Returns 0, or -1 with *problem. */
int admin_load_read(struct admin_load *load, const char *body, size_t bytes,
                    struct problem *problem);

enum admin_model_state { ADMIN_SERVING, ADMIN_RETIRING, ADMIN_GONE };

struct admin_model {
    const struct dn_model_info *info;
    const char *path;
    enum admin_model_state state;
    int place; /* in the context; -1 unless it is serving */
    int64_t loaded_s;
    int64_t reloaded_s;       /* 0: never */
    const char *reload_error; /* "" when the last reload went well */
    uint32_t evaluations;     /* in one step of one worker */
    uint64_t workspace_bytes; /* of all workers */
    uint64_t rows;            /* admitted and not yet drawn */
    uint64_t images;          /* drawn */
};

/* Each returns malloc'd text, or NULL without memory, as in document.h. `result` is what came of a
 * load. `loading` are the files that are read or wait for it. */
char *admin_document_model(const struct admin_model *m, const struct api_context *context,
                           size_t *bytes);
char *admin_document_load(const char *result, const struct admin_model *m,
                          const struct api_context *context, size_t *bytes);
char *admin_document_models(const struct admin_model *models, size_t n, const char *const *loading,
                            size_t n_loading, size_t max_models, const struct api_context *context,
                            size_t *bytes);

#endif
