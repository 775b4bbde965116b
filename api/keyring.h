/*
 * The API keys of a file: who may ask, and for how much.
 *
 * A line is a client's name, its key or the key's SHA-256, and its own limits where they differ
 * from the default ones:
 *
 *     # comment
 *     studio   sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b
 *     crawler  a-key-of-at-least-16-characters  rows-per-minute=60 burst-rows=10 rows-in-flight=4
 *     nightly  another-key-of-16-characters-and-more  priority=low
 *
 * A key is kept as a digest only. What is compared is a digest keyed by the caller's random salt,
 * so that the time a look-up takes tells nothing about the keys. Const once parsed; any thread.
 */
#ifndef API_KEYRING_H
#define API_KEYRING_H

#include <stddef.h>
#include <stdint.h>

#include "api/priority.h"

#define KEYRING_NAME_BYTES 64
#define KEYRING_SALT_BYTES 16
#define KEYRING_DIGEST_BYTES 32
#define KEYRING_ERROR_BYTES 160
#define KEYRING_LIMIT_MAX 1000000000

/* In rows, that is images, where 0 is no limit. */
struct key_limits {
    uint32_t rows_per_minute;
    uint32_t burst_rows;     /* at once after a pause; 0: as many as in a minute */
    uint32_t rows_in_flight; /* waiting or at work */
    enum priority priority;  /* the highest */
};

struct key {
    char name[KEYRING_NAME_BYTES];
    struct key_limits limits;
};

/* The digest that is compared, of key `key_idx`. */
struct key_digest {
    uint8_t digest[KEYRING_DIGEST_BYTES];
    uint32_t key_idx;
};

struct keyring {
    struct key *keys; /* owned, [n_keys], by name */
    size_t n_keys;
    struct key_digest *digests; /* owned, [n_keys], by digest */
    uint8_t salt[KEYRING_SALT_BYTES];
};

/* Read the text of a file. Returns 0, the caller frees with keyring_free(); or -1 with nothing to
 * free and a message that names the line, and never a key, in `error`. */
int keyring_parse(struct keyring *k, const char *text, size_t bytes,
                  const struct key_limits *defaults, const uint8_t salt[KEYRING_SALT_BYTES],
                  char error[KEYRING_ERROR_BYTES]);

/* The index of the client whose key this is, or -1. */
int keyring_find(const struct keyring *k, const char *key, size_t bytes);

/* The index of the client of that name, or -1. */
int keyring_find_name(const struct keyring *k, const char *name);

void keyring_free(struct keyring *k);

#endif
