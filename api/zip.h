/*
 * A ZIP archive in memory (PKWARE's APPNOTE 6.3, without Zip64): entries are stored, not packed,
 * because what goes in is packed already. The same entries give the same bytes. Any thread; one
 * archive belongs to one thread at a time.
 */
#ifndef API_ZIP_H
#define API_ZIP_H

#include <stddef.h>
#include <stdint.h>

#include "api/text.h"

#define ZIP_MAX_ENTRIES 65534 /* 65535 would mean Zip64; a request has at most 65000 images */

struct zip {
    struct text files;     /* each with its local header */
    struct text directory; /* the central one */
    unsigned n_entries;
};

#define ZIP_INIT                                                                                   \
    {                                                                                              \
        TEXT_INIT, TEXT_INIT, 0                                                                    \
    }

/* Add a file; at most ZIP_MAX_ENTRIES. `name` is ASCII; `comment` belongs to the entry and may be
 * "". Memory that was short is remembered. */
void zip_add(struct zip *z, const char *name, const char *comment, const void *data, size_t bytes);

/* Hand the archive over: the caller frees. NULL when memory ran out, or it has 4 GiB or more. */
char *zip_take(struct zip *z, size_t *bytes);

#endif
