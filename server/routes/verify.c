#include "server/routes/verify.h"

#include <stdlib.h>

#include "api/provenance.h"
#include "server/drawing/drawing.h"
#include "server/drawing/forms.h"
#include "server/drawing/gate.h"
#include "server/http/request.h"
#include "server/routes/replies.h"
#include "server/routes/service.h"

/* The picture's text is read here; its pixels are by the worker that has drawn them anew. */
struct verification {
    struct observer observer; /* first */
    struct ticket ticket;
    struct request *request;
};

/* Let the request go on with the answer it has; without one its connection is closed. */
static void verification_leave(struct verification *v, enum job_reason reason)
{
    struct request *r = v->request;
    drawing_detach(&v->observer, reason);
    ticket_end(&v->ticket, false);
    free(v);
    r->holder = NULL;
    request_resume(r);
}

static void on_ended(struct observer *o)
{
    struct verification *v = (struct verification *)o;
    struct drawing *d = o->drawing;
    struct request *r = v->request;
    struct problem problem;
    r->queue_ms = d->timings.queue_ms;
    r->sample_ms = d->timings.sample_ms;
    if (d->job.state != JOB_SUCCEEDED) {
        drawing_problem(d, &problem);
        request_reply_problem(r, &problem);
    } else if (*d->claim->error) {
        provenance_problem(d->claim->error, &problem);
        request_reply_problem(r, &problem);
    } else {
        struct rendition made;
        int rc = drawing_take(d, &form_verification, &made);
        request_reply(r, 200, made.media_type, rc == 0 ? made.bytes : NULL, made.n_bytes);
        request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    }
    verification_leave(v, REASON_NONE);
}

static const struct observer_ops verification_ops = {.ended = on_ended};

static void on_gone(struct request *r)
{
    r->gone = true;
    verification_leave(r->holder, REASON_DISCONNECT);
}

/* Have it drawn and suspend the request, which has no time limit. Takes `claim` over. Returns 0, or
 * -1 with a reply made. */
static int verification_start(struct verification *v, struct provenance *claim)
{
    struct request *r = v->request;
    struct sample_params params;
    struct refusal refusal;
    if (request_watch(r, on_gone) != 0) {
        reply_no_memory(r);
        goto free_claim;
    }
    if (ticket_begin(&v->ticket, &service_of(r)->studio, r->client, &claim->params, NULL,
                     &refusal) != 0) {
        request_unwatch(r);
        reply_refusal(r, &refusal);
        goto free_claim;
    }
    params = claim->params; /* its priority is known by now */
    claim->params = (struct sample_params){.labels = NULL};
    r->n_rows = (uint32_t)params.n_rows;
    if (drawing_begin(&service_of(r)->studio, r->client, &params, &form_verification, claim,
                      &v->observer, &refusal) != 0) {
        request_unwatch(r);
        ticket_end(&v->ticket, true);
        reply_refusal(r, &refusal);
        return -1;
    }
    r->holder = v;
    request_suspend(r);
    return 0;

free_claim:
    provenance_free(claim);
    free(claim);
    return -1;
}

void verify_picture(struct request *r)
{
    struct problem problem;
    struct verification *v = r->out_of_memory ? NULL : calloc(1, sizeof *v);
    struct provenance *claim = v ? calloc(1, sizeof *claim) : NULL;
    if (!claim) {
        free(v);
        reply_no_memory(r);
        return;
    }
    *v = (struct verification){.observer.ops = &verification_ops, .request = r};
    uint8_t *file = (uint8_t *)r->body; /* the claim's from now on */
    size_t bytes = r->body_bytes;
    r->body = NULL;
    r->body_bytes = r->body_capacity = 0;
    if (provenance_read(claim, &service_of(r)->serving.api, file, bytes, &problem) != 0) {
        free(claim);
        free(v);
        request_reply_problem(r, &problem);
        return;
    }
    if (verification_start(v, claim) != 0) {
        free(v);
    }
}
