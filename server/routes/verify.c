#include "server/routes/verify.h"

#include <stdlib.h>

#include "api/provenance.h"
#include "server/drawing/drawing.h"
#include "server/drawing/gate.h"
#include "server/http/request.h"
#include "server/routes/replies.h"
#include "server/routes/service.h"

struct verification {
    struct observer observer; /* first */
    struct ticket ticket;
    struct request *request;
    struct provenance claim;
};

/* Let the request go on with the answer it has; without one its connection is closed. */
static void verification_leave(struct verification *v, enum job_reason reason)
{
    struct request *r = v->request;
    drawing_detach(&v->observer, reason);
    ticket_end(&v->ticket, false);
    provenance_free(&v->claim);
    free(v);
    r->holder = NULL;
    request_resume(r);
}

static void on_ended(struct observer *o)
{
    struct verification *v = (struct verification *)o;
    struct drawing *d = o->drawing;
    struct request *r = v->request;
    r->queue_ms = d->timings.queue_ms;
    r->sample_ms = d->timings.sample_ms;
    if (d->job.state == JOB_SUCCEEDED) {
        size_t bytes;
        char *body = provenance_document(&v->claim, &d->params, d->pixels, &bytes);
        request_reply(r, 200, "application/json", body, bytes);
        request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    } else {
        struct problem problem;
        drawing_problem(d, &problem);
        request_reply_problem(r, &problem);
    }
    verification_leave(v, REASON_NONE);
}

static const struct observer_ops verification_ops = {.ended = on_ended};

static void on_gone(struct request *r)
{
    r->gone = true;
    verification_leave(r->holder, REASON_DISCONNECT);
}

/* Have it drawn and suspend the request, which has no time limit. Returns 0, or -1 with a reply
 * made. */
static int verification_start(struct verification *v)
{
    struct request *r = v->request;
    if (request_watch(r, on_gone) != 0) {
        reply_no_memory(r);
        return -1;
    }
    struct refusal refusal;
    if (ticket_begin(&v->ticket, &service_of(r)->studio, r->client, &v->claim.params, NULL,
                     &refusal) != 0) {
        request_unwatch(r);
        reply_refusal(r, &refusal);
        return -1;
    }
    r->n_rows = (uint32_t)v->claim.params.n_rows;
    if (drawing_begin(&service_of(r)->studio, r->client, &v->claim.params, NULL, &v->observer,
                      &refusal) != 0) {
        request_unwatch(r);
        ticket_end(&v->ticket, true);
        reply_refusal(r, &refusal);
        return -1;
    }
    r->holder = v;
    request_suspend(r);
    return 0;
}

void verify_picture(struct request *r)
{
    struct problem problem;
    struct verification *v = r->out_of_memory ? NULL : calloc(1, sizeof *v);
    if (!v) {
        reply_no_memory(r);
        return;
    }
    *v = (struct verification){.observer.ops = &verification_ops, .request = r};
    const uint8_t *file = (const uint8_t *)(r->body ? r->body : "");
    if (provenance_read(&v->claim, &service_of(r)->serving.api, file, r->body_bytes, &problem) !=
        0) {
        free(v);
        request_reply_problem(r, &problem);
        return;
    }
    if (verification_start(v) != 0) {
        provenance_free(&v->claim);
        free(v);
    }
}
