#include "server/drawing/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/metrics.h"

/* A key is a quoted digest in hex: its first digits are as good as any hash of it. */
static size_t bucket_of(const char *key)
{
    char digits[4] = {key[1], key[2], key[3], '\0'};
    return (size_t)strtoul(digits, NULL, 16) % CACHE_BUCKETS;
}

static size_t entry_bytes(const struct cache_entry *e)
{
    return sizeof *e + e->png_bytes;
}

int cache_open(struct cache **out, size_t max_bytes, struct metrics *metrics)
{
    struct cache *cache = calloc(1, sizeof *cache); /* a list of zeros is an empty one */
    *out = cache;
    if (!cache) {
        return -1;
    }
    cache->max_bytes = max_bytes;
    cache->metrics = metrics;
    TAILQ_INIT(&cache->by_use);
    return 0;
}

static void entry_remove(struct cache *cache, struct cache_entry *e)
{
    TAILQ_REMOVE(&cache->by_use, e, by_use);
    LIST_REMOVE(e, same_bucket);
    cache->metrics->cache_bytes -= entry_bytes(e);
    cache->metrics->cache_entries--;
    free(e->png);
    free(e);
}

void cache_close(struct cache *cache)
{
    if (!cache) {
        return;
    }
    while (!TAILQ_EMPTY(&cache->by_use)) {
        entry_remove(cache, TAILQ_FIRST(&cache->by_use));
    }
    free(cache);
}

const struct cache_entry *cache_find(struct cache *cache, const char *key)
{
    struct cache_entry *e;
    LIST_FOREACH(e, &cache->entries[bucket_of(key)], same_bucket)
    {
        if (strcmp(e->key, key) == 0) {
            TAILQ_REMOVE(&cache->by_use, e, by_use);
            TAILQ_INSERT_HEAD(&cache->by_use, e, by_use);
            return e;
        }
    }
    return NULL;
}

bool cache_put(struct cache *cache, const char *key, const struct image *image)
{
    if (sizeof(struct cache_entry) + image->png_bytes > cache->max_bytes) {
        return false;
    }
    if (cache_find(cache, key)) {
        return true;
    }
    struct cache_entry *e = calloc(1, sizeof *e);
    uint8_t *png = malloc(image->png_bytes);
    if (!e || !png) {
        free(png);
        free(e);
        return false;
    }
    snprintf(e->key, sizeof e->key, "%s", key);
    snprintf(e->digest, sizeof e->digest, "%s", image->digest);
    memcpy(png, image->png, image->png_bytes);
    e->png = png;
    e->png_bytes = image->png_bytes;
    while (cache->metrics->cache_bytes + entry_bytes(e) > cache->max_bytes) {
        /* The analyzer does not follow the list's pointer to its last pointer.
         * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        entry_remove(cache, TAILQ_LAST(&cache->by_use, cache_use));
        cache->metrics->cache_evictions++;
    }
    TAILQ_INSERT_HEAD(&cache->by_use, e, by_use);
    LIST_INSERT_HEAD(&cache->entries[bucket_of(key)], e, same_bucket);
    cache->metrics->cache_bytes += entry_bytes(e);
    cache->metrics->cache_entries++;
    return true;
}

struct drawing *cache_find_flight(const struct cache *cache, const char *key)
{
    struct cache_flight *f;
    LIST_FOREACH(f, &cache->flights[bucket_of(key)], same_bucket)
    {
        if (strcmp(f->key, key) == 0) {
            return f->drawing;
        }
    }
    return NULL;
}

void cache_begin_flight(struct cache *cache, struct cache_flight *flight, const char *key,
                        struct drawing *drawing)
{
    *flight = (struct cache_flight){.key = key, .drawing = drawing};
    LIST_INSERT_HEAD(&cache->flights[bucket_of(key)], flight, same_bucket);
}

void cache_end_flight(struct cache_flight *flight)
{
    if (flight->drawing) {
        LIST_REMOVE(flight, same_bucket);
        flight->drawing = NULL;
    }
}
