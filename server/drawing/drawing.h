/*
 * A drawing: the images of one request's parameters, while they are drawn and afterwards, and those
 * who are interested in them.
 *
 * It lives as long as an observer is attached: a request that waits, a stored job, a stream of
 * events. When the last one leaves, what is still to be drawn is canceled and the drawing is freed.
 * Loop thread only, but for what is drawn, which a worker fills in before the loop thread reads it.
 */
#ifndef SERVER_DRAWING_DRAWING_H
#define SERVER_DRAWING_DRAWING_H

#include "api/bundle.h"
#include "api/document.h"
#include "api/job_document.h"
#include "api/provenance.h"
#include "server/drawing/refusal.h"
#include "server/drawing/studio.h"
#include "server/scheduling/job.h"

struct client;
struct drawing;
struct observer;
struct news;

struct observer_ops {
    /* There is news: a step or an image. Must neither attach nor detach anybody. NULL for those who
     * do not follow the drawing. */
    void (*changed)(struct observer *o);
    /* The drawing has its outcome. May detach this observer, nobody else. */
    void (*ended)(struct observer *o);
};

/* Embedded in whoever is interested; `ops` is its owner's, the rest drawing.c's. */
struct observer {
    const struct observer_ops *ops;
    struct drawing *drawing; /* NULL while it is not attached */
    struct observer *prev, *next;
};

/* The body of an answer, and what its headers say of it. */
struct rendition {
    char media_type[BUNDLE_TYPE_BYTES];
    char digest[IMAGE_DIGEST_BYTES]; /* of the pixels, where it is one picture; else "" */
    char *bytes;                     /* owned */
    size_t n_bytes;
};

/* How a drawing that succeeded becomes an answer. */
struct form {
    const char *media_type;
    /* Fill in the body, and the media type where it has parameters. `i` is the image of a form that
     * is one image. Any thread. Returns 0 or a negative dn_code. */
    int (*make)(const struct drawing *d, size_t i, struct rendition *out);
};

struct drawing {
    struct job job;     /* first: the scheduler hands back a struct job * */
    struct job_ops ops; /* the job's: `stepped` is set once somebody follows */
    struct news *news;  /* of a drawing that somebody follows, else NULL */
    struct studio *studio;
    struct sample_params params;
    struct client *client;   /* held: whose turn it is; NULL is nobody in particular */
    const struct form *form; /* its body is made by the worker; NULL for none */
    char id[40];
    int64_t created;
    bool is_working; /* the scheduler has it */
    struct observer *observers;

    uint8_t *pixels;    /* [n_rows,H,W,C] */
    size_t image_bytes; /* of one of them */
    uint8_t *frames;    /* [frames-1,n_rows,H,W,C] while a film is drawn */
    size_t frames_bytes;
    struct image *images; /* [n_rows] */
    struct image sheet;   /* with a grid */
    struct sample_timings timings;
    struct rendition made;    /* in `form` */
    struct provenance *claim; /* owned: what it is compared with, by form_verification; else NULL */
};

/* Have `params` drawn for `client`, NULL allowed, with `o` attached; takes params over whatever
 * comes of it, and so the malloc'd `claim`, which is NULL for most. Returns 0, and ops->ended is
 * not called from within; or -1 with the refusal, and nothing is attached. */
int drawing_begin(struct studio *studio, struct client *client, struct sample_params *params,
                  const struct form *form, struct provenance *claim, struct observer *o,
                  struct refusal *refusal);

/* Also be told of a drawing; after it has ended there is nothing more to tell. */
void drawing_attach(struct drawing *d, struct observer *o);

/* Seconds until its next steps, if it was drawn for `client`, NULL allowed, in this priority. */
double drawing_before_s(const struct drawing *d, struct client *client, enum priority priority);

/* Draw what is left of it for another, or in another priority. Returns 0, or DN_ENOMEM: nothing has
 * changed. */
int drawing_move(struct drawing *d, struct client *client, enum priority priority);

/* Have its news kept from now on. Returns 0 or DN_ENOMEM. */
int drawing_follow(struct drawing *d);

/* Leave; the drawing may be gone afterwards. Nothing happens to one that is not attached. `reason`
 * is why it is canceled if it was the last. */
void drawing_detach(struct observer *o, enum job_reason reason);

/* End it early for everybody. */
void drawing_cancel(struct drawing *d, enum job_reason reason);

/* It has its outcome, which is in job.state, and ops->ended was called. */
bool drawing_has_ended(const struct drawing *d);

/* Image `i` is there, though others may still be drawn. */
bool drawing_has_image(const struct drawing *d, size_t i);

/* How far it has come. */
void drawing_progress(const struct drawing *d, struct job_progress *progress);

/* What a drawing that succeeded is in a form. The caller frees. Any thread, once it has ended.
 * Returns 0 or a dn_code. */
int rendition_make(struct rendition *out, const struct drawing *d, const struct form *form,
                   size_t i);
void rendition_free(struct rendition *rendition);

/* The same, for whoever has waited for it: made already where `form` is the drawing's own. */
int drawing_take(struct drawing *d, const struct form *form, struct rendition *out);

/* Why a drawing that ended has failed. */
void drawing_problem(const struct drawing *d, struct problem *problem);

#endif
