/*
 * POST /v1/verify: is this picture what it says it is? Loop thread only.
 */
#ifndef SERVER_ROUTES_VERIFY_H
#define SERVER_ROUTES_VERIFY_H

#include "server/http/request.h"

void verify_picture(struct request *r);

#endif
