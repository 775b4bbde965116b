#include "server/routes/rendering.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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
    TAILQ_HEAD(, rendering_wait) waits; /* requests; none once all clients have left */
    struct client *client;              /* held: who asked first; NULL is nobody in particular */
    const struct form *form;
    size_t image_idx;
    uint64_t start; /* its turn */
    bool is_waiting;
    struct rendition made;
    int rc;
    TAILQ_ENTRY(rendering) link; /* of those that wait */
};

/* A request that waits for a rendering. */
struct rendering_wait {
    struct rendering *rendering;
    struct request *request;
    TAILQ_ENTRY(rendering_wait) link;
};

/* A body that is being sent, which whoever asks for the same is sent as well. */
struct live_rendition {
    struct answer_body *body; /* not held: it goes when it is sent */
    char drawing_id[sizeof((struct drawing *)NULL)->id];
    const struct form *form;
    size_t image_idx;
    char media_type[sizeof((struct rendition *)NULL)->media_type];
    char digest[IMAGE_DIGEST_BYTES];
    LIST_ENTRY(live_rendition) link;
};

static void renderings_next(struct renderings *all);

static void rendering_free(struct rendering *g)
{
    rendition_free(&g->made);
    drawing_detach(&g->observer, REASON_NONE);
    client_drop(g->client);
    free(g);
}

static void wait_leave(struct rendering_wait *w)
{
    struct request *r = w->request;
    TAILQ_REMOVE(&w->rendering->waits, w, link);
    free(w);
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

static void rendering_refuse_all(struct rendering *g, enum problem_kind kind, const char *text)
{
    struct rendering_wait *w;
    rendering_unqueue(g);
    while ((w = TAILQ_FIRST(&g->waits))) {
        rendering_refuse(w->request, kind, text);
        wait_leave(w);
    }
    rendering_free(g);
}

/* ---- bodies that are being sent ------------------------------------------------------------- */

static void on_released(struct answer_body *body)
{
    struct live_rendition *live = body->owner;
    LIST_REMOVE(live, link);
    free(live);
}

/* Of a rendering that is made, whose bytes it takes over. Returns the body with a reference, or
 * NULL when there is no memory or no room. */
static struct answer_body *live_new(struct rendering *g, struct answers *answers)
{
    struct live_rendition *live = calloc(1, sizeof *live);
    struct answer_body *body = NULL;
    if (live) {
        body = answer_body_new(answers, g->client, g->made.bytes, g->made.n_bytes);
        g->made.bytes = NULL;
    }
    if (!body) {
        free(live);
        return NULL;
    }
    live->body = body;
    memcpy(live->drawing_id, g->observer.drawing->id, sizeof live->drawing_id);
    memcpy(live->media_type, g->made.media_type, sizeof live->media_type);
    memcpy(live->digest, g->made.digest, sizeof live->digest);
    live->form = g->form;
    live->image_idx = g->image_idx;
    body->owner = live;
    body->released = on_released;
    LIST_INSERT_HEAD(&g->all->live, live, link);
    return body;
}

static struct live_rendition *live_find(const struct renderings *all, const struct drawing *d,
                                        const struct form *form, size_t i)
{
    struct live_rendition *live;
    LIST_FOREACH(live, &all->live, link)
    {
        if (live->form == form && live->image_idx == i && strcmp(live->drawing_id, d->id) == 0) {
            return live;
        }
    }
    return NULL;
}

static void reply_live(struct request *r, const struct drawing *d,
                       const struct live_rendition *live)
{
    request_reply_shared(r, 200, live->media_type, live->body);
    reply_add_drawing(r, d, live->digest);
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (routes[r->route.id].types[1]) {
        request_add_header(r, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT);
    }
}

/* ---- making them ---------------------------------------------------------------------------- */

/* On a thread of the pool. */
static void rendering_work(uv_work_t *work)
{
    struct rendering *g = work->data;
    g->rc = rendition_make(&g->made, g->observer.drawing, g->form, g->image_idx);
}

static void rendering_reply(struct rendering *g)
{
    struct rendering_wait *w = TAILQ_FIRST(&g->waits);
    struct answer_body *body =
        w && g->rc == 0 ? live_new(g, &service_of(w->request)->answers) : NULL;
    while ((w = TAILQ_FIRST(&g->waits))) {
        if (body) {
            reply_live(w->request, g->observer.drawing, body->owner);
        } else if (g->rc == 0) {
            request_reply_unread(w->request);
        } else {
            request_reply(w->request, 503, NULL, NULL, 0);
        }
        wait_leave(w);
    }
    answer_body_drop(body);
}

static void rendering_after(uv_work_t *work, int status)
{
    struct rendering *g = work->data;
    struct renderings *all = g->all;
    (void)status; /* never canceled */
    all->at_work = NULL;
    rendering_reply(g);
    rendering_free(g);
    renderings_next(all);
    life_tell_end(all->life);
}

static void renderings_next(struct renderings *all)
{
    struct rendering *g = TAILQ_FIRST(&all->waiting);
    if (!g || all->at_work) {
        return;
    }
    rendering_unqueue(g);
    all->at_work = g;
    all->now = g->start;
    g->work.data = g;
    int rc = uv_queue_work(all->loop, &g->work, rendering_work, rendering_after);
    assert(rc == 0); /* fails only without a callback */
    (void)rc;
}

static void on_gone(struct request *r)
{
    struct rendering_wait *w = r->holder;
    struct rendering *g = w->rendering;
    r->gone = true;
    wait_leave(w);
    if (g->is_waiting && TAILQ_EMPTY(&g->waits)) {
        rendering_unqueue(g);
        rendering_free(g);
    }
}

/* ---- whose turn it is ----------------------------------------------------------------------- */

/* What its client's next one begins after. */
static uint64_t *finish_of(struct renderings *all, struct client *client)
{
    return client ? &client->renderings_finish : &all->everyones_finish;
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
    *finish_of(all, last->client) = last->start; /* it was the last of its client's */
    rendering_refuse_all(last, PROBLEM_QUEUE_FULL, TOO_MANY);
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
    LIST_INIT(&g->live);
}

static bool is_same(const struct rendering *g, const struct drawing *d, const struct form *form,
                    size_t i)
{
    return g->observer.drawing == d && g->form == form && g->image_idx == i;
}

/* One that is not made yet, of the same; or NULL. */
static struct rendering *rendering_find(const struct renderings *all, const struct drawing *d,
                                        const struct form *form, size_t i)
{
    struct rendering *g = all->at_work;
    if (g && is_same(g, d, form, i)) {
        return g;
    }
    TAILQ_FOREACH(g, &all->waiting, link)
    {
        if (is_same(g, d, form, i)) {
            return g;
        }
    }
    return NULL;
}

/* A new one, in the queue, whose room was looked for. NULL without memory. */
static struct rendering *rendering_new(struct renderings *all, struct client *client,
                                       struct drawing *d, const struct form *form, size_t i,
                                       uint64_t start)
{
    struct rendering *g = calloc(1, sizeof *g);
    if (!g) {
        return NULL;
    }
    *g = (struct rendering){
        .observer.ops = &rendering_ops,
        .all = all,
        .client = client_hold(client),
        .form = form,
        .image_idx = i,
        .start = start,
        .is_waiting = true,
    };
    TAILQ_INIT(&g->waits);
    drawing_attach(d, &g->observer);
    make_room(all); /* nothing can fail any more */
    *finish_of(all, client) = start + rendering_cost(g);
    rendering_enqueue(all, g);
    return g;
}

void rendering_start(struct request *r, struct drawing *d, const struct form *form, size_t i)
{
    struct renderings *all = &service_of(r)->renderings;
    const struct live_rendition *live = live_find(all, d, form, i);
    if (live) {
        reply_live(r, d, live);
        return;
    }
    struct rendering *g = rendering_find(all, d, form, i);
    uint64_t finish = *finish_of(all, r->client);
    uint64_t start = finish > all->now ? finish : all->now;
    if (!g && !can_have_room(all, start)) {
        rendering_refuse(r, PROBLEM_QUEUE_FULL, TOO_MANY);
        return;
    }
    struct rendering_wait *w = calloc(1, sizeof *w);
    if (!w || request_watch(r, on_gone) != 0) {
        free(w);
        reply_no_memory(r);
        return;
    }
    g = g ? g : rendering_new(all, r->client, d, form, i, start);
    if (!g) {
        request_unwatch(r);
        free(w);
        reply_no_memory(r);
        return;
    }
    *w = (struct rendering_wait){.rendering = g, .request = r};
    TAILQ_INSERT_TAIL(&g->waits, w, link);
    r->holder = w;
    request_suspend(r);
    renderings_next(all);
}

void renderings_stop(struct renderings *all)
{
    struct rendering *g;
    while ((g = TAILQ_FIRST(&all->waiting))) {
        rendering_refuse_all(g, PROBLEM_DRAINING, "The server finishes its work and shuts down.");
    }
}

bool renderings_are_idle(const struct renderings *all)
{
    return !all->at_work && all->n_waiting == 0;
}
