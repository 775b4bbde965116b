/*
 * Answers from drawings that have ended, made off the loop thread, which has no time to encode
 * documents, archives and pictures.
 *
 * They count against no quota, so they get one thread of the pool between them, which no worker and
 * no load needs: one is made at a time, some wait in the order of their arrival, and more are
 * refused. Loop thread only.
 */
#ifndef SERVER_ROUTES_RENDERING_H
#define SERVER_ROUTES_RENDERING_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <uv.h>

#include "server/base/life.h"

#define RENDERINGS_WAITING_MAX 64

struct drawing;
struct form;
struct rendering;
struct request;

struct renderings {
    uv_loop_t *loop;
    struct life *life;
    TAILQ_HEAD(, rendering) waiting;
    size_t n_waiting;
    bool is_working; /* one is being made */
};

void renderings_init(struct renderings *g, uv_loop_t *loop, struct life *life);

/* Answer `r` with a drawing that has succeeded, in a form; `i` is the image where the form is one
 * image. Suspends the request, or answers that there is no memory or that too many wait. The
 * drawing may lose its other observers meanwhile. */
void rendering_start(struct request *r, struct drawing *d, const struct form *form, size_t i);

/* The server shuts down at once: those that wait are told so. */
void renderings_stop(struct renderings *g);

/* None is left. */
bool renderings_are_idle(const struct renderings *g);

#endif
