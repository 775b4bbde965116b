/*
 * The Prefer header (RFC 7240): how long a client will wait for its answer. Preferences that are
 * not known are passed over, as the RFC says. Any thread.
 */
#ifndef API_PREFER_H
#define API_PREFER_H

#include <stdbool.h>
#include <stdint.h>

struct prefer {
    bool respond_async;
    bool has_wait;
    uint32_t wait_s;
};

/* Read the header, which may be NULL. Of one that occurs twice the first counts. */
void prefer_read(struct prefer *prefer, const char *header);

#endif
