/*
 * Streams of Server-Sent Events: a request whose answer is told while a drawing is at work. Loop
 * thread only.
 *
 * A stream holds one event at a time, made from the drawing's news when the client can take it, and
 * rests while there is none; now and then it says that it is still there.
 */
#ifndef SERVER_ROUTES_EVENTS_H
#define SERVER_ROUTES_EVENTS_H

#include "server/drawing/drawing.h"
#include "server/http/request.h"

/* Have `params`, which it takes over, drawn and tell of it; the drawing ends with the stream.
 * is_openai: in the shape of OpenAI's Images API. */
void events_start(struct request *r, struct sample_params *params, bool is_openai);

/* Tell of a job's drawing, from after the request's Last-Event-ID on. */
void events_follow(struct request *r, struct drawing *d, const char *job_id);

#endif
