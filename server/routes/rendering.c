#include "server/routes/rendering.h"

#include <assert.h>
#include <stdlib.h>

#include "server/drawing/drawing.h"
#include "server/drawing/forms.h"
#include "server/http/request.h"
#include "server/routes/replies.h"
#include "server/routes/service.h"

#define RETRY_AFTER_S "1" /* each takes a fraction of that */
#define TOO_MANY "Too many results of jobs are being encoded now."

struct rendering {
    struct observer observer; /* first: keeps the drawing */
    uv_work_t work;
    struct renderings *all;
    struct request *request; /* NULL once the client has left */
    const struct form *form;
    size_t image_idx;
    uint64_t start; /* its turn */
    bool is_waiting;
    struct rendition made;
    int rc;
    TAILQ_ENTRY(rendering) link;
};

static void renderings_next(struct renderings *all);

static void rendering_free(struct rendering *g)
{
    rendition_free(&g->made);
    drawing_detach(&g->observer, REASON_NONE);
    free(g);
}

static void rendering_leave(struct rendering *g)
{
    struct request *r = g->request;
    g->request = NULL;
    r->holder = NULL;
    request_resume(r);
}

static void rendering_unqueue(struct rendering *g)
{
    TAILQ_REMOVE(&g->all->waiting, g, link);
    g->all->n_waiting--;
    g->is_waiting = false;
}

/* What was asked for is drawn: no job is refused, and none is counted. */
static void rendering_refuse(struct request *r, enum problem_kind kind, const char *text)
{
    struct problem problem;
    problem_set(&problem, kind, "%s", text);
    request_reply_problem(r, &problem);
    request_add_header(r, MHD_HTTP_HEADER_RETRY_AFTER, RETRY_AFTER_S);
}

/* On a thread of the pool. */
static void rendering_work(uv_work_t *work)
{
    struct rendering *g = work->data;
    g->rc = rendition_make(&g->made, g->observer.drawing, g->form, g->image_idx);
}

static void rendering_after(uv_work_t *work, int status)
{
    struct rendering *g = work->data;
    struct renderings *all = g->all;
    (void)status; /* never canceled */
    if (g->request) {
        reply_rendition(g->request, g->observer.drawing, g->rc, &g->made);
        request_add_header(g->request, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
        if (routes[g->request->route.id].types[1]) {
            request_add_header(g->request, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT);
        }
        rendering_leave(g);
    }
    rendering_free(g);
    all->is_working = false;
    renderings_next(all);
    life_tell_end(all->life);
}

static void renderings_next(struct renderings *all)
{
    struct rendering *g = TAILQ_FIRST(&all->waiting);
    if (!g || all->is_working) {
        return;
    }
    rendering_unqueue(g);
    all->is_working = true;
    all->now = g->start;
    g->work.data = g;
    int rc = uv_queue_work(all->loop, &g->work, rendering_work, rendering_after);
    assert(rc == 0); /* fails only without a callback */
    (void)rc;
}

static void on_gone(struct request *r)
{
    struct rendering *g = r->holder;
    r->gone = true;
    rendering_leave(g);
    if (g->is_waiting) {
        rendering_unqueue(g);
        rendering_free(g);
    }
}

/* ---- whose turn it is ----------------------------------------------------------------------- */

/* What its client's next one begins after. */
static uint64_t *finish_of(struct renderings *all, const struct request *r)
{
    return r->client ? &r->client->renderings_finish : &all->everyones_finish;
}

/* Images that are encoded for it. */
static uint64_t rendering_cost(const struct rendering *g)
{
    return g->form == &form_image ? 1 : g->observer.drawing->params.n_rows;
}

/* Behind all whose turn comes no later. */
static void rendering_enqueue(struct renderings *all, struct rendering *g)
{
    struct rendering *before = TAILQ_LAST(&all->waiting, rendering_queue);
    while (before && before->start > g->start) {
        before = TAILQ_PREV(before, rendering_queue, link);
    }
    if (before) {
        TAILQ_INSERT_AFTER(&all->waiting, before, g, link);
    } else {
        TAILQ_INSERT_HEAD(&all->waiting, g, link);
    }
    all->n_waiting++;
}

/* Is there room for one that starts at `start`, or can some be made? */
static bool can_have_room(const struct renderings *all, uint64_t start)
{
    return all->n_waiting < RENDERINGS_WAITING_MAX ||
           TAILQ_LAST(&all->waiting, rendering_queue)->start > start;
}

/* Make it, at the cost of who is furthest ahead of the others. */
static void make_room(struct renderings *all)
{
    if (all->n_waiting < RENDERINGS_WAITING_MAX) {
        return;
    }
    struct rendering *last = TAILQ_LAST(&all->waiting, rendering_queue);
    *finish_of(all, last->request) = last->start; /* it was the last of its client's */
    rendering_unqueue(last);
    rendering_refuse(last->request, PROBLEM_QUEUE_FULL, TOO_MANY);
    rendering_leave(last);
    rendering_free(last);
}

/* ---- beginning and end ---------------------------------------------------------------------- */

static void on_ended(struct observer *o)
{
    (void)o; /* what is rendered was there before */
}

static const struct observer_ops rendering_ops = {.ended = on_ended};

void renderings_init(struct renderings *g, uv_loop_t *loop, struct life *life)
{
    *g = (struct renderings){.loop = loop, .life = life};
    TAILQ_INIT(&g->waiting);
}

void rendering_start(struct request *r, struct drawing *d, const struct form *form, size_t i)
{
    struct renderings *all = &service_of(r)->renderings;
    uint64_t *finish = finish_of(all, r);
    uint64_t start = *finish > all->now ? *finish : all->now;
    if (!can_have_room(all, start)) {
        rendering_refuse(r, PROBLEM_QUEUE_FULL, TOO_MANY);
        return;
    }
    struct rendering *g = calloc(1, sizeof *g);
    if (!g || request_watch(r, on_gone) != 0) {
        free(g);
        reply_no_memory(r);
        return;
    }
    make_room(all); /* nothing can fail any more */
    *g = (struct rendering){
        .observer.ops = &rendering_ops,
        .all = all,
        .request = r,
        .form = form,
        .image_idx = i,
        .start = start,
        .is_waiting = true,
    };
    drawing_attach(d, &g->observer);
    *finish = start + rendering_cost(g);
    r->holder = g;
    request_suspend(r);
    rendering_enqueue(all, g);
    renderings_next(all);
}

void renderings_stop(struct renderings *all)
{
    struct rendering *g, *next;
    for (g = TAILQ_FIRST(&all->waiting); g; g = next) {
        next = TAILQ_NEXT(g, link);
        rendering_unqueue(g);
        rendering_refuse(g->request, PROBLEM_DRAINING,
                         "The server finishes its work and shuts down.");
        rendering_leave(g);
        rendering_free(g);
    }
}

bool renderings_are_idle(const struct renderings *all)
{
    return !all->is_working && all->n_waiting == 0;
}
