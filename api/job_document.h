/*
 * The JSON documents of stored jobs. As document.h: malloc'd text that the caller frees, or NULL
 * when memory ran out. Any thread.
 */
#ifndef API_JOB_DOCUMENT_H
#define API_JOB_DOCUMENT_H

#include "api/image.h"
#include "api/params.h"
#include "api/text.h"

/* How far a drawing has come. */
struct job_progress {
    uint32_t step; /* of every image, on average and rounded down */
    uint32_t steps;
    uint32_t images_done;
    uint32_t images;
    double
        eta_ms; /* by what is before it, once it has begun by its own pace; 0 when it has ended */
};

/* What is told of one job. Times are Unix seconds, 0 for what has not happened. */
struct job_view {
    const char *id;
    const char *status;
    const struct sample_params *params;
    int64_t created, started, finished, expires;
    struct job_progress progress;
    const struct image *images;    /* [n_rows] of a job that succeeded, else NULL */
    const struct problem *problem; /* why it failed, else NULL */
};

/* Write the object itself, or `{"step":..}` alone. */
void job_document_put(struct text *t, const struct job_view *job);
void job_document_put_progress(struct text *t, const struct job_progress *progress);

char *job_document(const struct job_view *job, size_t *bytes);

#endif
