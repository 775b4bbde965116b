/*
 * Content negotiation: the Accept, Accept-Encoding, Content-Type and If-None-Match headers (RFC
 * 9110). Any thread.
 */
#ifndef API_ACCEPT_H
#define API_ACCEPT_H

#include <stdbool.h>

/* Which of `types` (NULL-terminated or `max` long) the Accept header likes best; the first wins a
 * tie. A missing header (NULL) accepts all. Returns its index, or -1 when none is acceptable. */
int accept_choose(const char *header, const char *const types[], int max);

/* May a body of this Content-Type be read as our JSON? application/json and +json, UTF-8 only; no
 * header at all; and application/x-www-form-urlencoded, which is what `curl -d` says of any body.
 */
bool accept_is_json_body(const char *content_type);

/* Is a Content-Type (NULL for none) this type, whatever its parameters? */
bool accept_is_type(const char *content_type, const char *type);

/* Does an Accept-Encoding header ask for gzip? A missing one (NULL) does not. */
bool accept_takes_gzip(const char *header);

/* Does an If-None-Match header hold this ETag (with its quotes), or "*"? Weak comparison. */
bool accept_etag_matches(const char *header, const char *etag);

/* Does an If-Match header hold it, or "*"? Strong comparison. */
bool accept_etag_is(const char *header, const char *etag);

/* Is each element of the list this token, in any case? */
bool accept_lists_only(const char *header, const char *token);

#endif
