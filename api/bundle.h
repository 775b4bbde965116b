/*
 * Every picture of a finished request in one body: a ZIP archive or multipart/mixed (RFC 2046).
 *
 * First comes manifest.json: the resolved parameters, and of each image its seed, its digest and
 * its file's name. Then the pictures, or with layout grid the sheet. Both are functions of the
 * request and its seed alone: the same images, the same bytes. Any thread.
 */
#ifndef API_BUNDLE_H
#define API_BUNDLE_H

#include <stddef.h>

#include "api/image.h"
#include "api/params.h"

#define BUNDLE_TYPE_BYTES 80

/* `images` [n_rows], and the sheet when the layout is a grid. The caller frees. NULL when memory
 * ran out. */
char *bundle_zip(const struct sample_params *p, const struct image *images,
                 const struct image *sheet, size_t *bytes);

/* The same; media_type gets the boundary as well. */
char *bundle_multipart(const struct sample_params *p, const struct image *images,
                       const struct image *sheet, char media_type[BUNDLE_TYPE_BYTES],
                       size_t *bytes);

#endif
