/*
 * If-Match and If-None-Match (RFC 9110, 13). There are no dates of change here, so the conditions
 * about those say nothing. Loop thread only.
 */
#ifndef SERVER_HTTP_PRECONDITION_H
#define SERVER_HTTP_PRECONDITION_H

#include "server/http/request.h"

enum precondition { PRECONDITION_GO, PRECONDITION_NOT_MODIFIED, PRECONDITION_FAILED };

/* What the request's conditions say of a resource with this entity tag; NULL or "" where it has
 * none, which no tag of a client's is equal to. */
enum precondition precondition_check(struct request *r, const char *etag);

/* Answer what has failed. */
void precondition_reply(struct request *r);

#endif
