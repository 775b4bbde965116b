/*
 * A sampling request at work: the job, its pixels and images, and the HTTP request that waits.
 *
 * Made by a handler on the loop thread; the worker threads fill in one row's image each; back on
 * the loop thread it becomes the request's answer and is freed.
 */
#ifndef SERVER_SAMPLES_H
#define SERVER_SAMPLES_H

#include "api/document.h"
#include "server/job.h"
#include "server/request.h"

struct sample {
    struct job job; /* first: the scheduler hands back a struct job * */
    struct server *server;
    struct request *request;
    struct sample_params params;
    bool is_png; /* the answer is a picture, not a document */
    bool is_get;
    char etag[IMAGE_ETAG_BYTES]; /* "" without one */
    char id[40];
    int64_t created;
    uint8_t *pixels;      /* [n_rows,H,W,C] */
    size_t image_bytes;   /* of one of them */
    struct image *images; /* [n_rows] */
    struct image sheet;   /* with a grid */
    struct sample_timings timings;
    char *document; /* the JSON answer */
    size_t document_bytes;
};

#endif
