#include "server/routes/events.h"

#include <stdlib.h>
#include <string.h>

#include "api/event_document.h"
#include "api/openai_events.h"
#include "api/query.h"
#include "server/drawing/gate.h"
#include "server/drawing/news.h"
#include "server/routes/replies.h"
#include "server/routes/service.h"

#define MEDIA_TYPE "text/event-stream"
#define BLOCK_BYTES 16384
#define EVENT_HEAD_BYTES 4096
#define ROOM_CHECK_MS 250
#define EVENT_MAX_SHEET_BYTES 65536 /* a larger one of a job is told by its URL */

static const char ping[] = ": still here\n\n";

struct stream {
    struct observer observer; /* first */
    struct service *service;
    struct request *request; /* not to be touched when MHD frees the stream */
    struct client *client;   /* held; NULL allowed */
    struct ticket ticket;
    struct alarm alarm; /* while it rests */
    char *job_id;       /* owned; NULL for a drawing of its own, whose events have no ids */
    uint64_t position;  /* version of the last event made */
    char *event;        /* owned: what is being sent */
    size_t event_bytes, sent;
    size_t counted_bytes; /* of it, by answers.h */
    bool is_openai, is_resting, is_over;
};

static void stream_drop_event(struct stream *s)
{
    free(s->event);
    s->event = NULL;
    answers_give_back(&s->service->answers, s->client, s->counted_bytes);
    s->counted_bytes = 0;
}

/* Is the sheet told by its URL? */
static bool has_link(const struct stream *s)
{
    return s->job_id && s->observer.drawing->sheet.png_bytes > EVENT_MAX_SHEET_BYTES;
}

/* ---- one event ------------------------------------------------------------------------------ */

/* At most what the event takes, before it is made. */
static size_t estimate(const struct stream *s, const struct news_item *item)
{
    const struct drawing *d = s->observer.drawing;
    size_t bytes = 0;
    if (item->kind == NEWS_IMAGE) {
        bytes = d->images[item->image].png_bytes;
    } else if (item->kind == NEWS_PREVIEW) {
        bytes = d->image_bytes;
    } else if (item->kind == NEWS_ENDED && !s->is_openai && !has_link(s)) {
        bytes = d->sheet.png_bytes;
    }
    return bytes + bytes / 3 + EVENT_HEAD_BYTES;
}

/* The last event: well or not. */
static char *make_end(struct stream *s, uint64_t version)
{
    struct drawing *d = s->observer.drawing;
    const char *id = s->job_id ? s->job_id : d->id;
    s->is_over = true;
    s->request->queue_ms = d->timings.queue_ms;
    s->request->sample_ms = d->timings.sample_ms;
    if (d->job.state == JOB_SUCCEEDED) {
        return s->is_openai ? openai_event_done(&s->event_bytes)
                            : event_completed(&d->params, id, &d->sheet, has_link(s), &d->timings,
                                              version, &s->event_bytes);
    }
    struct problem problem;
    drawing_problem(d, &problem);
    return s->is_openai ? openai_event_error(&problem, &s->event_bytes)
                        : event_error(&problem, s->request->id, version, &s->event_bytes);
}

/* OpenAI's stream has no word of the beginning and of progress. */
static bool is_told(const struct stream *s, const struct news_item *item)
{
    return !s->is_openai || (item->kind != NEWS_STARTED && item->kind != NEWS_PROGRESS);
}

static char *make_openai_event(struct stream *s, const struct news_item *item)
{
    const struct drawing *d = s->observer.drawing;
    if (item->kind == NEWS_ENDED) {
        return make_end(s, 0);
    }
    if (item->kind == NEWS_IMAGE) {
        return openai_event_completed(&d->params, item->image, &d->images[item->image], d->created,
                                      &s->event_bytes);
    }
    return openai_event_partial(&d->params, item->image, d->news->preview_steps[item->image],
                                d->news->previews + item->image * d->image_bytes, d->created,
                                &s->event_bytes);
}

static char *make_event(struct stream *s, const struct news_item *item)
{
    struct drawing *d = s->observer.drawing;
    uint64_t version = s->job_id ? item->version : 0;
    struct job_progress progress;
    switch (item->kind) {
    case NEWS_STARTED:
        return event_started(&d->params, s->job_id ? s->job_id : d->id, d->created, version,
                             &s->event_bytes);
    case NEWS_PROGRESS:
        drawing_progress(d, &progress);
        return event_progress(&progress, version, &s->event_bytes);
    case NEWS_PREVIEW:
        return event_preview(&d->params, item->image, d->news->preview_steps[item->image],
                             d->news->previews + item->image * d->image_bytes, version,
                             &s->event_bytes);
    case NEWS_IMAGE:
        return event_image(&d->params, item->image, &d->images[item->image], version,
                           &s->event_bytes);
    case NEWS_ENDED:
        return make_end(s, version);
    case NEWS_NONE:
        break;
    }
    return NULL;
}

/* ---- resting and going on ------------------------------------------------------------------- */

static void stream_wake(struct stream *s)
{
    if (s->is_resting) {
        s->is_resting = false;
        alarm_clear(&s->service->alarms, &s->alarm);
        request_continue(s->request);
    }
}

static void on_ping(struct alarm *alarm)
{
    struct stream *s = (struct stream *)(void *)((char *)alarm - offsetof(struct stream, alarm));
    s->event = strdup(ping);
    if (s->event) {
        s->event_bytes = sizeof ping - 1;
        s->sent = 0;
    }
    stream_wake(s);
}

static void on_room(struct alarm *alarm)
{
    stream_wake((struct stream *)(void *)((char *)alarm - offsetof(struct stream, alarm)));
}

static void on_news(struct observer *o)
{
    stream_wake((struct stream *)o);
}

static void on_ended(struct observer *o)
{
    struct stream *s = (struct stream *)o;
    ticket_end(&s->ticket, false);
    stream_wake(s);
}

static const struct observer_ops stream_ops = {.changed = on_news, .ended = on_ended};

/* Its rows leave now, whenever the library comes to see that the client has gone. */
static void on_gone(struct request *r)
{
    struct stream *s = r->holder;
    r->gone = true;
    drawing_detach(&s->observer, REASON_DISCONNECT);
    ticket_end(&s->ticket, false);
    stream_wake(s);
}

static void on_late(struct ticket *t)
{
    struct stream *s = (struct stream *)(void *)((char *)t - offsetof(struct stream, ticket));
    ticket_end(t, false);
    drawing_cancel(s->observer.drawing, REASON_DEADLINE);
}

/* ---- the library's side --------------------------------------------------------------------- */

static ssize_t stream_end(struct stream *s, ssize_t how)
{
    request_unwatch(s->request);
    return how;
}

/* Make the next event. Returns whether there is one; if not, the stream rests or is at its end. */
static bool stream_next(struct stream *s)
{
    struct news_item item = news_next(s->observer.drawing->news, s->position);
    while (item.kind != NEWS_NONE && !is_told(s, &item)) {
        s->position = item.version;
        item = news_next(s->observer.drawing->news, s->position);
    }
    if (item.kind == NEWS_NONE) {
        s->is_resting = true;
        alarm_set(&s->service->alarms, &s->alarm, (uint64_t)s->service->options->sse_ping_s * 1000,
                  on_ping);
        request_pause(s->request);
        return false;
    }
    size_t bytes = estimate(s, &item);
    if (!answers_take(&s->service->answers, s->client, bytes)) {
        /* Others of this client's are to be read first: nothing is lost meanwhile. */
        s->is_resting = true;
        alarm_set(&s->service->alarms, &s->alarm, ROOM_CHECK_MS, on_room);
        request_pause(s->request);
        return false;
    }
    s->counted_bytes = bytes;
    s->event = s->is_openai ? make_openai_event(s, &item) : make_event(s, &item);
    s->sent = 0;
    s->position = item.version;
    return s->event != NULL;
}

static ssize_t stream_read(void *cls, uint64_t at, char *out, size_t max)
{
    struct stream *s = cls;
    (void)at;
    if (s->request->gone) {
        return stream_end(s, MHD_CONTENT_READER_END_WITH_ERROR);
    }
    /* Its time to read counts from here. */
    request_progress(s->request);
    if (s->event && s->sent == s->event_bytes) {
        stream_drop_event(s);
    }
    if (!s->event && s->is_over) {
        return stream_end(s, MHD_CONTENT_READER_END_OF_STREAM);
    }
    if (!s->event && !stream_next(s)) {
        /* 0 is right only for one that rests: the rest has no memory for its event. */
        return s->is_resting ? 0 : stream_end(s, MHD_CONTENT_READER_END_WITH_ERROR);
    }
    size_t bytes = s->event_bytes - s->sent;
    bytes = bytes < max ? bytes : max;
    memcpy(out, s->event + s->sent, bytes);
    s->sent += bytes;
    s->request->response_bytes += bytes;
    return (ssize_t)bytes;
}

static void stream_free(void *cls)
{
    struct stream *s = cls;
    alarm_clear(&s->service->alarms, &s->alarm);
    drawing_detach(&s->observer, REASON_DISCONNECT);
    ticket_end(&s->ticket, false);
    free(s->job_id);
    stream_drop_event(s);
    client_drop(s->client);
    free(s);
}

/* ---- beginning ------------------------------------------------------------------------------ */

static struct stream *stream_new(struct request *r)
{
    struct stream *s = calloc(1, sizeof *s);
    if (!s || request_watch(r, on_gone) != 0) {
        free(s);
        return NULL;
    }
    s->observer.ops = &stream_ops;
    s->service = service_of(r);
    s->request = r;
    s->client = client_hold(r->client);
    r->holder = s;
    return s;
}

/* The stream is the response's from here on. */
static void stream_reply(struct stream *s)
{
    struct request *r = s->request;
    if (request_reply_stream(r, MEDIA_TYPE, BLOCK_BYTES, stream_read, s, stream_free) != 0) {
        request_unwatch(r);
        stream_free(s);
        reply_no_memory(r);
        return;
    }
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store, no-transform");
    request_add_header(r, "X-Accel-Buffering", "no");
}

void events_start(struct request *r, struct sample_params *params, bool is_openai)
{
    struct stream *s = stream_new(r);
    if (!s) {
        params_free(params);
        reply_no_memory(r);
        return;
    }
    s->is_openai = is_openai;
    struct refusal refusal;
    if (ticket_begin(&s->ticket, &service_of(r)->studio, r->client, params, on_late, &refusal) !=
        0) {
        params_free(params);
        request_unwatch(r);
        stream_free(s);
        reply_refusal(r, &refusal);
        return;
    }
    r->n_rows = (uint32_t)params->n_rows;
    if (drawing_begin(&service_of(r)->studio, r->client, params, NULL, NULL, &s->observer,
                      &refusal) != 0) {
        request_unwatch(r);
        ticket_end(&s->ticket, true);
        stream_free(s);
        reply_refusal(r, &refusal);
        return;
    }
    stream_reply(s);
    request_add_header(r, MHD_HTTP_HEADER_VARY, "Accept");
}

/* A version by an id that says one, else 0. */
static uint64_t position_of(const char *id, uint64_t newest)
{
    bool is_number = *id && strspn(id, "0123456789") == strlen(id) && strlen(id) < 20;
    uint64_t position = is_number ? strtoull(id, NULL, 10) : 0;
    return position <= newest ? position : 0;
}

/* The version after which the client wants to go on: by the header, or by the parameter of clients
 * that cannot send one. From the beginning where neither says one of this job's: a client that
 * comes again by itself would else be refused for ever. Returns 0, or -1 with a reply made. */
static int read_position(struct request *r, uint64_t newest, uint64_t *position)
{
    struct query query;
    struct problem problem;
    const char *id = request_header(r, "Last-Event-ID");
    int rc = query_parse(&query, r->query, &problem);
    if (rc == 0) {
        problem_set(&problem, PROBLEM_INVALID_REQUEST, "The request is not valid; see errors.");
    }
    for (size_t i = 0; rc == 0 && i < query.n_pairs; i++) {
        if (strcmp(query.pairs[i].key, "lastEventId") == 0) {
            id = id ? id : query.pairs[i].value;
        } else {
            char pointer[PROBLEM_POINTER_BYTES] = "";
            problem_pointer_push(pointer, query.pairs[i].key);
            problem_add(&problem, pointer, "unknown parameter");
            rc = -1;
        }
    }
    *position = id && rc == 0 ? position_of(id, newest) : 0;
    query_free(&query);
    if (rc != 0) {
        request_reply_problem(r, &problem);
    }
    return rc;
}

void events_follow(struct request *r, struct drawing *d, const char *job_id)
{
    uint64_t position;
    if (strcmp(r->method, "HEAD") == 0) {
        request_reply_head(r, 200, MEDIA_TYPE);
        return;
    }
    if (drawing_follow(d) != 0) {
        reply_no_memory(r);
        return;
    }
    if (read_position(r, d->news->version, &position) != 0) {
        return;
    }
    if (d->news->ended && position == d->news->ended) {
        /* All is told: 204 is what stops a browser from asking again. */
        request_reply_static(r, 204, NULL, "", 0);
        return;
    }
    struct stream *s = stream_new(r);
    if (s) {
        s->position = position;
        s->job_id = strdup(job_id);
    }
    if (!s || !s->job_id) {
        if (s) {
            request_unwatch(r);
            stream_free(s);
        }
        reply_no_memory(r);
        return;
    }
    drawing_attach(d, &s->observer);
    stream_reply(s);
}
