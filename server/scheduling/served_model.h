/*
 * A model that is served: the engine's model, every worker's memory for it, its queue.
 *
 * Opened and measured by one thread that nobody else knows of the model yet; from then on the loop
 * thread's, but for the workspaces, each of which is its worker's while that steps. The set of
 * models (models.h) owns it as long as requests may name it, then the scheduler until its last job
 * has ended. Parameters, records of jobs and pictures share the engine's model, of which nothing
 * but its description is left by then.
 */
#ifndef SERVER_SCHEDULING_SERVED_MODEL_H
#define SERVER_SCHEDULING_SERVED_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "core/denoise.h"
#include "server/base/options.h"
#include "server/scheduling/fair_queue.h"

#define SERVED_MODEL_MAX_SIZES 16 /* of batches, in the measurement */

/* The scheduler's, of one model. */
struct model_queue {
    struct fair_queue jobs;
    uint64_t waiting_evaluations; /* one step of every waiting row */
    uint64_t running_evaluations; /* in the workers' batches now */
};

struct batch_seconds {
    double
        of_size[SERVED_MODEL_MAX_SIZES]; /* the fewest of one step; 0: there was no time for it */
};

struct served_model {
    struct dn_model *model;
    char *path;
    int64_t created; /* the file's time of modification */
    uint32_t n_workers, max_batch;
    struct dn_workspace **workspaces; /* [n_workers] */
    struct batch_seconds *measured;   /* [n_workers] */
    uint32_t batch_limit;             /* the most evaluations in one step; at first max_batch */
    double evaluation_s;              /* in a batch of that size, when it was measured */

    /* the set's */
    int64_t loaded_s;       /* when it began to serve, in Unix time */
    int64_t reloaded_s;     /* when its file was last read again; 0: never */
    char reload_error[512]; /* what was wrong with it then, or "" */

    /* the scheduler's */
    struct model_queue queue;
    bool has_stepped;  /* for a request: its queue's evaluation_s is of the work as it is */
    uint64_t n_rows;   /* admitted and not yet drawn */
    uint64_t n_images; /* drawn, also by those that it replaced */
    void (*let_go)(struct served_model *m, void *arg); /* set once it is retired */
    void *let_go_arg;
    TAILQ_ENTRY(served_model) link;
};

TAILQ_HEAD(served_model_list, served_model);

/* Read and check the file, take all memory that `n_workers` need for steps of up to max_batch
 * evaluations, and see that the network draws the same numbers alone and in company. Any thread.
 * Returns 0 or a negative dn_code with *err filled. */
int served_model_open(struct served_model **out, const char *path, const struct options *options,
                      uint32_t n_workers, struct dn_error *err);

/* The same, but *out is NULL where the file is still the one of that digest. */
int served_model_open_changed(struct served_model **out, const char *path,
                              const struct options *options, uint32_t n_workers, const char *digest,
                              struct dn_error *err);

/* Time steps of batches of each size on the calling thread, in the workspace of worker number
 * `worker`, for about `seconds`. Returns 0 or a negative dn_code. */
int served_model_measure(struct served_model *m, uint32_t worker, double seconds);

/* Set batch_limit to the size that pays, by the mean of what the first `n` workers measured. */
void served_model_set_limit(struct served_model *m, uint32_t n);

/* Give back everything but what is shared. NULL allowed. */
void served_model_free(struct served_model *m);

/* The name that requests use, and all else there is to know. */
static inline const struct dn_model_info *served_model_info(const struct served_model *m)
{
    return dn_model_info(m->model);
}

#endif
