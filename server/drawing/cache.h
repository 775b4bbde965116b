/*
 * Pictures that are functions of their URLs: those lately sent, and those being drawn.
 *
 * The key is the strong ETag: a digest of all that the file's bytes depend on (model, domain,
 * resolved parameters, version). So a hit is exact. Bounded in bytes; who was asked for least
 * lately makes room. Loop thread only.
 */
#ifndef SERVER_DRAWING_CACHE_H
#define SERVER_DRAWING_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "api/image.h"

struct drawing;
struct metrics;

#define CACHE_BUCKETS 4096

/* A finished picture. */
struct cache_entry {
    char key[IMAGE_ETAG_BYTES];
    char digest[IMAGE_DIGEST_BYTES]; /* of its pixels */
    uint8_t *png;                    /* owned */
    size_t png_bytes;
    LIST_ENTRY(cache_entry) same_bucket;
    TAILQ_ENTRY(cache_entry) by_use;
};

/* A picture that is being drawn; embedded in the request that asked first. All zeros: none. */
struct cache_flight {
    const char *key; /* borrowed */
    struct drawing *drawing;
    LIST_ENTRY(cache_flight) same_bucket;
};

struct cache {
    size_t max_bytes; /* 0: keeps nothing */
    struct metrics *metrics;
    TAILQ_HEAD(cache_use, cache_entry) by_use; /* the one asked for last is first */
    LIST_HEAD(, cache_entry) entries[CACHE_BUCKETS];
    LIST_HEAD(, cache_flight) flights[CACHE_BUCKETS];
};

/* Returns 0 or -1. `metrics` outlives it and gets its counts. */
int cache_open(struct cache **out, size_t max_bytes, struct metrics *metrics);

/* No picture may be in flight. NULL allowed. */
void cache_close(struct cache *cache);

/* The picture of that key, which is now the one asked for last, or NULL. Valid until the next
 * cache_put(). */
const struct cache_entry *cache_find(struct cache *cache, const char *key);

/* Keep a copy of a picture. Returns whether it is kept: not when it is too large or memory is
 * short. */
bool cache_put(struct cache *cache, const char *key, const struct image *image);

/* The drawing of that key that is on its way, or NULL. */
struct drawing *cache_find_flight(const struct cache *cache, const char *key);

/* Let others find a drawing until cache_end_flight(), which does nothing to one that is all zeros.
 */
void cache_begin_flight(struct cache *cache, struct cache_flight *flight, const char *key,
                        struct drawing *drawing);
void cache_end_flight(struct cache_flight *flight);

#endif
