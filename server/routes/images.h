/*
 * OpenAI's Images API. Loop thread only.
 */
#ifndef SERVER_ROUTES_IMAGES_H
#define SERVER_ROUTES_IMAGES_H

#include "server/http/request.h"

void images_create(struct request *r);

#endif
