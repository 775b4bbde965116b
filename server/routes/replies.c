#include "server/routes/replies.h"

#include <stdio.h>

#include "server/routes/service.h"

void reply_refusal(struct request *r, const struct refusal *refusal)
{
    request_reply_problem(r, &refusal->problem);
    if (refusal->retry_after_s) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", refusal->retry_after_s);
        request_add_header(r, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
}

void reply_no_memory(struct request *r)
{
    struct refusal refusal;
    refusal_set(&refusal, &service_of(r)->studio, REFUSED_NO_MEMORY);
    reply_refusal(r, &refusal);
}

void reply_add_drawing(struct request *r, const struct drawing *d, const char *digest)
{
    const struct dn_model_info *info = dn_model_info(d->params.model);
    char text[128];
    if (*digest) {
        request_add_header(r, "X-Sample-Digest", digest);
    }
    snprintf(text, sizeof text, "%llu", (unsigned long long)d->params.seed);
    request_add_header(r, "X-Seed", text);
    request_add_header(r, "X-Model-Digest", info->digest);
    request_add_header(r, "X-Determinism", info->kernels);
    if (!drawing_has_ended(d)) { /* an image of a job at work: the timings are not known yet */
        return;
    }
    snprintf(text, sizeof text, "queue;dur=%.3f, sample;dur=%.3f, encode;dur=%.3f",
             d->timings.queue_ms, d->timings.sample_ms, d->timings.encode_ms);
    request_add_header(r, "Server-Timing", text);
}

void reply_rendition(struct request *r, const struct drawing *d, int rc,
                     struct rendition *rendition)
{
    char *body = rc == 0 ? rendition->bytes : NULL;
    rendition->bytes = NULL;
    request_reply(r, 200, rendition->media_type, body, rendition->n_bytes);
    if (body) {
        reply_add_drawing(r, d, rendition->digest);
    }
}

void reply_job(struct request *r, unsigned status, struct stored_job *job)
{
    struct job_view view;
    size_t bytes = 0;
    jobs_view(job, &view);
    char *body = job_document(&view, &bytes);
    request_reply(r, status, "application/json", body, bytes);
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

void reply_created_job(struct request *r, unsigned status, struct stored_job *job)
{
    char location[16 + PARAMS_JOB_ID_BYTES];
    snprintf(location, sizeof location, "/v1/jobs/%s", job->id);
    reply_job(r, status, job);
    request_add_header(r, MHD_HTTP_HEADER_LOCATION, location);
}
