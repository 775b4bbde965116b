/*
 * Cross-origin requests from browsers (Fetch standard, "CORS protocol"), by --cors-origin only.
 * Without the option no answer says anything about origins. Loop thread only.
 */
#ifndef SERVER_HTTP_CORS_H
#define SERVER_HTTP_CORS_H

#include <stdbool.h>

#include "server/http/request.h"

/* Is it "*", or a list of origins (scheme://host[:port], with commas between)? In small letters, as
 * browsers write them. */
bool cors_list_is_valid(const char *list);

/* May the page that sent this request, if one did, read answers? */
bool cors_allows(const struct request *r);

/* Tell the request's origin, if it is one of ours, that its page may read the answer. */
void cors_add_headers(struct request *r);

/* The answer to a preflight: what such a page may send. */
void cors_add_preflight(struct request *r);

#endif
