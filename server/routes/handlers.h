/*
 * What each route does. Loop thread only.
 */
#ifndef SERVER_ROUTES_HANDLERS_H
#define SERVER_ROUTES_HANDLERS_H

#include "api/params.h"
#include "server/http/request.h"

/* Check what the headers say: route, method, media types, body. Returns 0 or -1 with *problem. */
int handlers_check(struct request *r, struct problem *problem);

/* Handle a complete request: afterwards it has a reply or is suspended. */
void handlers_run(struct request *r);

/* Why a server that is not ready is not. */
void problem_not_ready(struct problem *problem, const struct server *server);

/* Stored jobs (job_handlers.c). */
void jobs_handle_create(struct request *r);
void jobs_handle_list(struct request *r);
void jobs_handle_get(struct request *r);
void jobs_handle_delete(struct request *r);
void jobs_handle_cancel(struct request *r);
void jobs_handle_events(struct request *r);
void jobs_handle_result(struct request *r);
void jobs_handle_grid(struct request *r);
void jobs_handle_image(struct request *r);

/* Answer with a job and its Location. */
struct stored_job;
void jobs_reply_created(struct request *r, unsigned status, struct stored_job *job);

/* Those that draw (samples.c, verify.c). */
void samples_create(struct request *r);
void samples_get_picture(struct request *r);
void verify_picture(struct request *r);

/* OpenAI's Images API (images.c). */
void images_create(struct request *r);

/* Give the parameters a seed if the client did not. Returns 0, or -1 with a reply made and the
 * parameters freed. */
int samples_draw_seed(struct request *r, struct sample_params *params);

#endif
