/*
 * Answers that several routes give. Loop thread only.
 */
#ifndef SERVER_ROUTES_REPLIES_H
#define SERVER_ROUTES_REPLIES_H

#include "server/drawing/drawing.h"
#include "server/drawing/jobs.h"
#include "server/drawing/refusal.h"
#include "server/http/request.h"

/* What was asked for is not drawn. */
void reply_refusal(struct request *r, const struct refusal *refusal);

/* There is no memory for the request, which is counted as refused. */
void reply_no_memory(struct request *r);

/* Answer with a rendition of `d`, whose bytes are taken, if `rc` says that it was made: body and
 * headers, but for those on caching. */
void reply_rendition(struct request *r, const struct drawing *d, int rc,
                     struct rendition *rendition);

/* Add the headers that tell of the drawing, and of its one picture where `digest` is not "". */
void reply_add_drawing(struct request *r, const struct drawing *d, const char *digest);

/* Answer with a job as it stands now, and one that was just made with its Location too. */
void reply_job(struct request *r, unsigned status, struct stored_job *job);
void reply_created_job(struct request *r, unsigned status, struct stored_job *job);

#endif
