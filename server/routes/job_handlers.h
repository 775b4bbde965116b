/*
 * The routes of stored jobs, /v1/jobs. Loop thread only.
 */
#ifndef SERVER_ROUTES_JOB_HANDLERS_H
#define SERVER_ROUTES_JOB_HANDLERS_H

#include "server/http/request.h"

void jobs_handle_create(struct request *r);
void jobs_handle_list(struct request *r);
void jobs_handle_get(struct request *r);
void jobs_handle_delete(struct request *r);
void jobs_handle_cancel(struct request *r);
void jobs_handle_events(struct request *r);
void jobs_handle_result(struct request *r);
void jobs_handle_grid(struct request *r);
void jobs_handle_image(struct request *r);

#endif
