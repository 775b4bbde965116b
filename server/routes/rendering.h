/*
 * Answers from drawings that have ended, made off the loop thread, which has no time to encode
 * documents, archives and pictures.
 *
 * They count against no quota, so they get one thread of the pool between them, which no worker and
 * no load needs: one is made at a time, some wait, and more are refused. Clients take turns, as in
 * fair_queue.h, counted in images: one starts where the one before it of the same client ends, or
 * now, which is the start of the one that is made; the lowest start goes first. Where no more may
 * wait, the one with the highest is refused, whether it has just come or waits. So however many
 * one client wants, another's is made after the one that is at work.
 *
 * Whoever asks for what is being made, waits to be made or is being sent gets the same bytes, so
 * that many connections to one result are one result's memory. Loop thread only.
 */
#ifndef SERVER_ROUTES_RENDERING_H
#define SERVER_ROUTES_RENDERING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
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
    TAILQ_HEAD(rendering_queue, rendering) waiting; /* by their starts */
    size_t n_waiting;
    LIST_HEAD(, live_rendition) live; /* bodies that are being sent */
    struct rendering *at_work;        /* it is being made; or NULL */
    uint64_t now;                     /* images: its start, or of the one that was made last */
    uint64_t everyones_finish;        /* of those who are nobody in particular */
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
