/*
 * The files of web/ and of the API reference's renderer, as tools/embed.py put them into the
 * program. Constant; any thread.
 */
#ifndef SERVER_ROUTES_WEB_ASSETS_H
#define SERVER_ROUTES_WEB_ASSETS_H

#include <stdbool.h>
#include <stddef.h>

struct web_asset {
    const char *name;
    const char *type; /* media type */
    const char *etag; /* with its quotes */
    const unsigned char *bytes;
    size_t size;
    bool gzip; /* the bytes are compressed */
};

extern const struct web_asset web_assets[];
extern const size_t n_web_assets;

#endif
