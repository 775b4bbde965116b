/*
 * Models that come, change and leave while others serve.
 *
 * A file is read, checked and measured on a thread of the pool that no worker needs, one file at a
 * time; only a model that is fit to serve changes anything, in one turn of the loop. What was
 * admitted before ends with the model that it began with. Loop thread only.
 */
#ifndef SERVER_MODELS_MODEL_LOADS_H
#define SERVER_MODELS_MODEL_LOADS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <uv.h>

#include "api/problem.h"
#include "server/base/life.h"
#include "server/base/log.h"
#include "server/base/metrics.h"
#include "server/models/serving.h"

#define MODEL_LOADS_MAX 16 /* that wait for their turn, but for a reload's */

/* One file to be read. */
struct model_load {
    struct model_loads *loads;
    char *path;
    bool is_reload; /* of what is served, by SIGHUP */
    bool make_default;
    char digest[72]; /* of what is served from there, or "" */

    struct served_model *opened; /* by the thread of the pool; NULL where the file is the same */
    struct dn_error error;
    int rc;

    enum model_load_result result;
    struct served_model *served; /* with a result other than MODEL_REFUSED */
    struct problem problem;      /* with MODEL_REFUSED */

    /* Called once, with result; not from within model_loads_add(). NULL for nobody. */
    void (*ended)(struct model_load *load, void *arg);
    void *arg;
    TAILQ_ENTRY(model_load) link;
};

struct model_loads {
    /* the owner's, set before model_loads_init() */
    struct serving *serving;
    uv_loop_t *loop;
    const struct life *life;
    const struct log *log;
    void (*reload_ended)(struct model_loads *l);

    TAILQ_HEAD(model_load_queue, model_load) queue; /* the first is at work */
    size_t n_queued;
    uv_work_t work;
    bool is_working;

    size_t n_reloading; /* files of the reload that are still to be read */
    bool reload_again;  /* it was asked for once more meanwhile */
    uint64_t reloaded[MODEL_LOAD_RESULTS];
};

void model_loads_init(struct model_loads *l);

/* Have the file at `path` served under its name; in the place of the one from there, if it has
 * changed. Returns the load, which is freed after `ended`; or NULL with the problem. */
struct model_load *model_loads_add(struct model_loads *l, const char *path, bool make_default,
                                   void (*ended)(struct model_load *load, void *arg), void *arg,
                                   struct problem *problem);

/* Read the files of all models that are served again. A model whose file is gone or broken stays.
 */
void model_loads_reload(struct model_loads *l);

/* Make the model at `place` of the set the default. */
void model_loads_activate(struct model_loads *l, size_t place);

/* Serve the one at `place` no more. Returns 0, or -1 with the problem when it is the default. */
int model_loads_unload(struct model_loads *l, size_t place, struct problem *problem);

/* The server shuts down: nothing is loaded any more, and those who wait are told. */
void model_loads_stop(struct model_loads *l);

#endif
