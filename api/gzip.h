/*
 * The gzip content coding (RFC 1952) of an answer. Any thread.
 */
#ifndef API_GZIP_H
#define API_GZIP_H

#include <stdbool.h>
#include <stddef.h>

/* Is a body of this media type and size worth compressing? Pictures are compressed already, a small
 * body fits into one packet as it is, and a very large one would hold the caller up. */
bool gzip_pays(const char *media_type, size_t bytes);

/* Compress `data`. Returns malloc'd bytes that the caller frees, *out_bytes long, or NULL when
 * there is no memory or nothing was gained: then the body is sent as it is. */
char *gzip_compress(const char *data, size_t bytes, size_t *out_bytes);

#endif
