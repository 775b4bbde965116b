#include "server/drawing/drawing.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/base/random.h"
#include "server/base/room.h"
#include "server/drawing/gate.h"
#include "server/drawing/news.h"

static void claim_free(struct studio *studio, struct provenance *claim)
{
    if (claim) {
        studio->claims_bytes -= claim->file_bytes;
        provenance_free(claim);
        free(claim);
    }
}

static void drawing_free(struct drawing *d)
{
    for (size_t i = 0; d->images && i < d->params.n_rows; i++) {
        image_free(&d->images[i]);
    }
    image_free(&d->sheet);
    news_free(d->news);
    free(d->images);
    free(d->frames);
    free(d->pixels);
    rendition_free(&d->made);
    claim_free(d->studio, d->claim);
    params_free(&d->params);
    client_drop(d->client);
    free(d);
}

/* ---- on worker threads ---------------------------------------------------------------------- */

static struct dn_row_params drawing_row_params(const struct job *job, size_t i)
{
    return params_row(&((const struct drawing *)job)->params, i);
}

/* Of a film. */
static void drawing_keep(struct job *job, size_t i, const struct dn_row *row)
{
    struct drawing *d = (struct drawing *)job;
    int frame = params_frame(&d->params, dn_row_steps_done(row));
    if (frame >= 0 && !dn_row_done(row)) { /* the last is the image itself */
        dn_row_pixels(row, d->frames + ((size_t)frame * job->n_rows + i) * d->image_bytes);
    }
}

static int drawing_encode(struct job *job, size_t i, const struct dn_row *row)
{
    struct drawing *d = (struct drawing *)job;
    uint8_t *pixels = d->pixels + i * d->image_bytes;
    dn_row_pixels(row, pixels);
    return image_encode(&d->images[i], &d->params, i, pixels, d->frames);
}

static double ms_between(uint64_t from_ns, uint64_t to_ns)
{
    return 1e-6 * (double)(to_ns - from_ns);
}

static int drawing_finish(struct job *job)
{
    struct drawing *d = (struct drawing *)job;
    int rc = 0;
    if (d->params.layout == LAYOUT_GRID) {
        rc = image_encode_sheet(&d->sheet, &d->params, d->pixels, d->frames);
    }
    d->timings = (struct sample_timings){
        .queue_ms = ms_between(job->submitted_ns, job->first_step_ns),
        .sample_ms = ms_between(job->first_step_ns, job->last_step_ns),
        .encode_ms = ms_between(job->last_step_ns, uv_hrtime()),
    };
    return rc == 0 && d->form ? rendition_make(&d->made, d, d->form, 0) : rc;
}

/* ---- for those who follow ---------------------------------------------------------------------
 */

/* After a step of row `i`, which is NULL when that was its last. */
static void drawing_stepped(struct job *job, size_t i, const struct dn_row *row)
{
    struct drawing *d = (struct drawing *)job;
    uint32_t every = d->params.preview_every;
    news_start(d->news);
    news_step(d->news, (uint32_t)(job->steps_done / job->n_rows));
    if (!row) {
        news_image(d->news, (uint32_t)i);
    } else if (every && dn_row_steps_done(row) % every == 0) {
        dn_row_pixels(row, news_preview(d->news, (uint32_t)i, dn_row_steps_done(row)));
    }
    for (struct observer *o = d->observers; o; o = o->next) {
        if (o->ops->changed) {
            o->ops->changed(o);
        }
    }
}

static void tell_end(struct drawing *d)
{
    if (d->job.first_step_ns) {
        news_start(d->news);
    }
    for (uint32_t i = 0; d->job.state == JOB_SUCCEEDED && i < d->job.n_rows; i++) {
        news_image(d->news, i);
    }
    news_end(d->news);
}

double drawing_before_s(const struct drawing *d, struct client *client, enum priority priority)
{
    return scheduler_before_s(d->studio->serving->scheduler, &d->job, client_share(client),
                              priority);
}

int drawing_move(struct drawing *d, struct client *client, enum priority priority)
{
    if (d->job.state > JOB_RUNNING) {
        return 0;
    }
    int rc = scheduler_move(d->studio->serving->scheduler, &d->job, client_share(client), priority);
    if (rc == 0) {
        struct client *before = d->client;
        d->client = client_hold(client);
        if (before) {
            before->frames_bytes -= d->frames_bytes;
        }
        if (client) {
            client->frames_bytes += d->frames_bytes;
        }
        client_drop(before);
    }
    return rc;
}

int drawing_follow(struct drawing *d)
{
    if (d->news) {
        return 0;
    }
    d->news = news_new(d->job.n_rows, d->params.preview_every ? d->image_bytes : 0);
    if (!d->news) {
        return DN_ENOMEM;
    }
    /* Only the loop thread reads or writes this one of the operations. */
    d->ops.stepped = drawing_stepped;
    if (d->job.first_step_ns) {
        news_start(d->news);
    }
    if (drawing_has_ended(d)) {
        tell_end(d);
    }
    return 0;
}

/* ---- on the loop thread --------------------------------------------------------------------- */

static void drawing_done(struct job *job)
{
    struct drawing *d = (struct drawing *)job;
    struct studio *studio = d->studio;
    d->is_working = false;
    free(d->frames);
    d->frames = NULL;
    studio->frames_bytes -= d->frames_bytes;
    if (d->client) {
        d->client->frames_bytes -= d->frames_bytes;
    }
    if (d->news) {
        tell_end(d);
    }
    if (!d->observers) {
        drawing_free(d);
    } else {
        /* The last to detach frees the drawing, and with it ends the list. */
        for (struct observer *o = d->observers, *next; o; o = next) {
            next = o->next;
            o->ops->ended(o);
        }
    }
    life_tell_end(studio->life);
}

static const struct job_ops drawing_ops = {
    .row_params = drawing_row_params,
    .encode = drawing_encode,
    .finish = drawing_finish,
    .done = drawing_done,
};

static size_t image_bytes(const struct sample_params *p)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    return (size_t)info->height * (size_t)info->width * (size_t)info->channels;
}

/* Of all frames of a film but the last; at most PARAMS_MAX_PIXEL_BYTES. */
static size_t frames_bytes(const struct sample_params *p)
{
    return p->format == FORMAT_APNG ? (p->frames - 1) * p->n_rows * image_bytes(p) : 0;
}

/* Memory for the images of `params`, which it takes over. NULL when there is none. */
static struct drawing *drawing_new(struct studio *studio, struct client *client,
                                   struct sample_params *params, const struct form *form)
{
    struct drawing *d = calloc(1, sizeof *d);
    if (!d) {
        params_free(params);
        return NULL;
    }
    d->studio = studio;
    d->client = client_hold(client);
    d->params = *params;
    *params = (struct sample_params){.labels = NULL};
    d->form = form;
    d->image_bytes = image_bytes(&d->params);
    d->pixels = calloc(d->params.n_rows, d->image_bytes);
    d->frames_bytes = frames_bytes(&d->params);
    d->frames = d->frames_bytes ? malloc(d->frames_bytes) : NULL;
    d->images = calloc(d->params.n_rows, sizeof *d->images);
    bool has_frames = d->frames || d->frames_bytes == 0;
    if (!d->pixels || !d->images || !has_frames || random_id(d->id, sizeof d->id, "smp_") != 0) {
        drawing_free(d);
        return NULL;
    }
    d->created = (int64_t)time(NULL);
    d->ops = drawing_ops;
    d->ops.keep = d->frames ? drawing_keep : NULL;
    d->job.ops = &d->ops;
    d->job.model = model_set_find(&studio->serving->models, d->params.model);
    d->job.n_rows = (uint32_t)d->params.n_rows;
    d->job.steps = d->params.steps;
    d->job.priority = d->params.priority;
    d->job.share = client_share(client);
    const struct dn_row_params row = params_row(&d->params, 0);
    d->job.first_evaluations = dn_model_step_evaluations(d->params.model, &row, 0);
    d->job.evaluations =
        (uint64_t)d->params.n_rows * dn_model_row_evaluations(d->params.model, &row);
    return d;
}

static const enum refusal_kind refusals[] = {
    [SCHEDULER_FULL] = REFUSED_QUEUE_FULL,
    [SCHEDULER_OVER_PART] = REFUSED_QUEUE_PART,
    [SCHEDULER_NO_MEMORY] = REFUSED_NO_MEMORY,
};

int drawing_begin(struct studio *studio, struct client *client, struct sample_params *params,
                  const struct form *form, struct provenance *claim, struct observer *o,
                  struct refusal *refusal)
{
    studio->claims_bytes += claim ? claim->file_bytes : 0;
    if (studio->claims_bytes > DRAWING_CLAIMS_BYTES_MAX) {
        claim_free(studio, claim);
        params_free(params);
        refusal_set(refusal, studio, REFUSED_CLAIMS_FULL);
        return -1;
    }
    if (!life_takes_work(studio->life)) {
        claim_free(studio, claim);
        params_free(params);
        refusal_set(refusal, studio, REFUSED_DRAINING);
        return -1;
    }
    uint64_t most = (uint64_t)studio->serving->options->max_frames_bytes;
    uint64_t *held = client ? &client->frames_bytes : NULL;
    if (!room_for_part(most, studio->frames_bytes, held ? *held : 0, frames_bytes(params))) {
        claim_free(studio, claim);
        params_free(params);
        refusal_set(refusal, studio, REFUSED_FRAMES_FULL);
        return -1;
    }
    struct drawing *d = drawing_new(studio, client, params, form);
    /* From the start, or a fast drawing would be over before anybody looks. */
    bool is_followed = o->ops->changed || (d && d->params.preview_every);
    if (d) {
        d->claim = claim;
    } else {
        claim_free(studio, claim);
    }
    enum scheduler_verdict verdict = SCHEDULER_NO_MEMORY;
    if (d && (!is_followed || drawing_follow(d) == 0)) {
        verdict = scheduler_submit(studio->serving->scheduler, &d->job);
    }
    if (verdict != SCHEDULER_ADMITTED) {
        if (d) {
            drawing_free(d);
        }
        refusal_set(refusal, studio, refusals[verdict]);
        return -1;
    }
    d->is_working = true;
    studio->frames_bytes += d->frames_bytes;
    if (held) {
        *held += d->frames_bytes;
    }
    drawing_attach(d, o);
    return 0;
}

void drawing_attach(struct drawing *d, struct observer *o)
{
    assert(!o->drawing);
    o->drawing = d;
    o->prev = NULL;
    o->next = d->observers;
    if (d->observers) {
        d->observers->prev = o;
    }
    d->observers = o;
}

void drawing_detach(struct observer *o, enum job_reason reason)
{
    struct drawing *d = o->drawing;
    if (!d) {
        return;
    }
    *(o->prev ? &o->prev->next : &d->observers) = o->next;
    if (o->next) {
        o->next->prev = o->prev;
    }
    o->drawing = NULL;
    if (d->observers) {
        return;
    }
    if (d->is_working) {
        drawing_cancel(d, reason); /* frees it, now or after the steps that are being taken */
    } else {
        drawing_free(d);
    }
}

void drawing_cancel(struct drawing *d, enum job_reason reason)
{
    if (d->is_working) {
        scheduler_cancel(d->studio->serving->scheduler, &d->job, reason);
    }
}

bool drawing_has_ended(const struct drawing *d)
{
    return !d->is_working && job_is_over(&d->job);
}

bool drawing_has_image(const struct drawing *d, size_t i)
{
    return d->job.state == JOB_SUCCEEDED || (d->job.is_drawn && d->job.is_drawn[i]);
}

void drawing_progress(const struct drawing *d, struct job_progress *progress)
{
    const struct job *job = &d->job;
    uint64_t total = (uint64_t)job->n_rows * job->steps, done = job->steps_done;
    double eta_ms = 0;
    if (!job_is_over(job)) {
        eta_ms = done > 0 ? ms_between(job->first_step_ns, uv_hrtime()) * (double)(total - done) /
                                (double)done
                          : 1e3 * scheduler_job_s(d->studio->serving->scheduler, job);
    }
    *progress = (struct job_progress){
        .step = (uint32_t)(done / job->n_rows),
        .steps = job->steps,
        .images_done = job->n_drawn,
        .images = job->n_rows,
        .eta_ms = eta_ms,
    };
}

/* ---- answers -------------------------------------------------------------------------------- */

int rendition_make(struct rendition *out, const struct drawing *d, const struct form *form,
                   size_t i)
{
    *out = (struct rendition){.bytes = NULL};
    snprintf(out->media_type, sizeof out->media_type, "%s", form->media_type);
    int rc = form->make(d, i, out);
    if (rc != 0) {
        rendition_free(out);
    }
    return rc;
}

void rendition_free(struct rendition *rendition)
{
    free(rendition->bytes);
    rendition->bytes = NULL;
}

int drawing_take(struct drawing *d, const struct form *form, struct rendition *out)
{
    assert(d->job.state == JOB_SUCCEEDED);
    if (form != d->form || !d->made.bytes) {
        return rendition_make(out, d, form, 0);
    }
    *out = d->made;
    d->made.bytes = NULL;
    return 0;
}

void drawing_problem(const struct drawing *d, struct problem *problem)
{
    if (d->job.reason == REASON_SHUTDOWN) {
        problem_set(problem, PROBLEM_DRAINING, "The server shut down before this was drawn.");
    } else if (d->job.reason == REASON_CANCEL) {
        problem_set(problem, PROBLEM_JOB_CANCELED, "The job was canceled.");
    } else if (d->job.reason == REASON_DEADLINE) {
        gate_problem_late(problem, d->params.timeout_ms);
    } else if (d->job.reason == REASON_OUT_OF_MEMORY) {
        problem_set(problem, PROBLEM_OUT_OF_MEMORY, "There was no memory to draw this.");
    } else {
        problem_set(problem, PROBLEM_INTERNAL, "The engine failed: %s.", dn_strerror(d->job.error));
    }
}
