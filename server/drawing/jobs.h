/*
 * Stored jobs: drawings that nobody waits for on a connection. Loop thread only.
 *
 *         +-------> FAILED | CANCELED -------+
 *         |              ^                   v
 *       QUEUED ------> RUNNING             EXPIRED ---> forgotten
 *                        |                   ^
 *                        +---> SUCCEEDED ----+
 *
 * Finished jobs keep their images until their time is up or others need the room, which the oldest
 * of the owner that has most make; then they are known as expired for as long again. Their number
 * and bytes are bounded, and so is the number of the expired. Jobs that have not ended are never
 * given up: one owner's are at most a part of the whole (room.h).
 */
#ifndef SERVER_DRAWING_JOBS_H
#define SERVER_DRAWING_JOBS_H

#include <sys/queue.h>

#include "api/image.h"
#include "api/job_document.h"
#include "server/base/alarm.h"
#include "server/clients/holdings.h"
#include "server/drawing/drawing.h"
#include "server/drawing/gate.h"

struct jobs;

enum stored_state {
    STORED_QUEUED,
    STORED_RUNNING,
    STORED_SUCCEEDED,
    STORED_FAILED,
    STORED_CANCELED,
    STORED_EXPIRED,
    STORED_STATES
};

extern const char *const stored_state_names[STORED_STATES];

/* Somebody who waits for a job's end. */
struct job_waiter {
    /* The job has its outcome, or goes away; the waiter is not waiting any more. Must neither
     * create nor remove jobs. */
    void (*over)(struct job_waiter *w);
    struct stored_job *job; /* NULL while it is not waiting */
    TAILQ_ENTRY(job_waiter) link;
};

struct stored_job {
    struct observer observer; /* first; attached until it expires */
    struct jobs *jobs;
    struct ticket ticket;
    struct holding *holding;     /* its owner's */
    struct sample_params params; /* a copy: the drawing goes before the record */
    char id[PARAMS_JOB_ID_BYTES];
    char body_digest[IMAGE_DIGEST_BYTES]; /* of the request that made it */
    uint64_t number;                      /* of its owner's, in order of creation */
    enum stored_state state;
    struct job_progress progress;
    struct problem *problem; /* why it failed, or NULL */
    int64_t created_s, started_s, finished_s, expires_s;
    uint64_t expires_ns; /* uv_hrtime: when it does expire */
    uint64_t bytes;
    bool is_kept; /* in `kept`: it has ended */
    TAILQ_HEAD(, job_waiter) waiters;
    TAILQ_ENTRY(stored_job) all;  /* the newest first */
    TAILQ_ENTRY(stored_job) kept; /* of the finished, or of the expired, the oldest first */
    LIST_ENTRY(stored_job) same_hash;
};

/* Returns 0 or -1. `studio` outlives it. */
int jobs_open(struct jobs **out, struct studio *studio);

/* Nothing may be at work or waiting. NULL allowed. */
void jobs_close(struct jobs *jobs);

/* Whose jobs a client, NULL allowed, may see and name: the others are not there for it. */
const char *jobs_owner(const struct client *client);

/* The owner's job of that id, expired or not, or NULL. */
struct stored_job *jobs_find(const struct jobs *jobs, const char *owner, const char *id);

/* The owner's newest job older than its number `before`, or NULL. */
struct stored_job *jobs_older(const struct jobs *jobs, const char *owner, uint64_t before);

/* Have params drawn for `client` as a job with the id in them, or one of its own where that is "".
 * The id must be free. Takes params over whatever comes of it. NULL with the refusal. */
struct stored_job *jobs_create(struct jobs *jobs, struct client *client,
                               struct sample_params *params, const char *body_digest,
                               struct refusal *refusal);

/* Make a job of a drawing that is at work, for which a request of `client` has waited so far, and
 * whose ticket it takes. NULL when there is no room. */
struct stored_job *jobs_adopt(struct jobs *jobs, struct client *client, struct drawing *d,
                              struct ticket *ticket);

/* End a job early: it is canceled when this returns. One that has ended stays as it is. */
void jobs_cancel(struct stored_job *job);

/* Cancel it if it has not ended, and forget it. */
void jobs_remove(struct stored_job *job);

/* Where it stands now. */
enum stored_state jobs_update(struct stored_job *job);
void jobs_view(struct stored_job *job, struct job_view *view);

/* Its drawing if it has succeeded and not expired, else NULL. */
struct drawing *jobs_result(struct stored_job *job);

/* Call w->over when the job, which has not ended, ends. */
void jobs_wait(struct stored_job *job, struct job_waiter *w);
void jobs_unwait(struct job_waiter *w);

#endif
