#include "server/rendering.h"

#include <assert.h>
#include <stdlib.h>

#include "server/request.h"
#include "server/server.h"

struct rendering {
    struct observer observer; /* first: keeps the drawing */
    uv_work_t work;
    struct server *server;
    struct request *request; /* NULL once the client has left */
    const struct form *form;
    size_t image_idx;
    struct rendition made;
    int rc;
};

/* On a thread of the pool, which takes it in turn with the steps. */
static void rendering_work(uv_work_t *work)
{
    struct rendering *g = work->data;
    g->rc = rendition_make(&g->made, g->observer.drawing, g->form, g->image_idx);
}

static void rendering_leave(struct rendering *g)
{
    struct request *r = g->request;
    g->request = NULL;
    r->holder = NULL;
    request_resume(r);
}

static void rendering_after(uv_work_t *work, int status)
{
    struct rendering *g = work->data;
    struct server *server = g->server;
    (void)status; /* never canceled */
    if (g->request) {
        drawing_reply(g->observer.drawing, g->request, g->rc, &g->made);
        request_add_header(g->request, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
        if (routes[g->request->route.id].types[1]) {
            request_add_header(g->request, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT);
        }
        rendering_leave(g);
    }
    rendition_free(&g->made);
    drawing_detach(&g->observer, REASON_NONE);
    free(g);
    server->n_renderings--;
    server_check_idle(server);
}

static void on_gone(struct request *r)
{
    r->gone = true;
    rendering_leave(r->holder);
}

static void on_ended(struct observer *o)
{
    (void)o; /* what is rendered was there before */
}

static const struct observer_ops rendering_ops = {.ended = on_ended};

void rendering_start(struct request *r, struct drawing *d, const struct form *form, size_t i)
{
    struct rendering *g = calloc(1, sizeof *g);
    if (!g || request_watch(r, on_gone) != 0) {
        free(g);
        drawing_reply_refused(r, ADMISSION_NO_MEMORY);
        return;
    }
    *g = (struct rendering){
        .observer.ops = &rendering_ops,
        .server = r->server,
        .request = r,
        .form = form,
        .image_idx = i,
    };
    g->work.data = g;
    drawing_attach(d, &g->observer);
    r->holder = g;
    request_suspend(r);
    int rc = uv_queue_work(&r->server->loop, &g->work, rendering_work, rendering_after);
    assert(rc == 0); /* fails only without a callback */
    (void)rc;
    r->server->n_renderings++;
}
