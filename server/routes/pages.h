/*
 * What a browser is given: the playground at /, the API reference at /docs, and their parts. All of
 * it is in the program. Loop thread only.
 */
#ifndef SERVER_ROUTES_PAGES_H
#define SERVER_ROUTES_PAGES_H

#include "server/http/request.h"

/* The playground. */
void pages_playground(struct request *r);

/* The API reference. */
void pages_docs(struct request *r);

/* /assets/{name} */
void pages_asset(struct request *r);

#endif
