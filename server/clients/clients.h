/*
 * The clients that have an API key, and what each of them may still ask for.
 *
 * Without --api-keys-file there are none, and everybody may ask. With it there is one struct client
 * a line, whatever comes in, so that memory depends on the file alone. A client belongs to the
 * table and to the requests and tickets that refer to it, for a reload may take its line away: each
 * holds a reference. Loop thread only.
 */
#ifndef SERVER_CLIENTS_CLIENTS_H
#define SERVER_CLIENTS_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>

#include <sys/types.h>

#include "api/keyring.h"
#include "api/problem.h"
#include "server/base/options.h"
#include "server/scheduling/fair_queue.h"

#define CLIENTS_ERROR_BYTES 512
#define CLIENT_LIMITS_BYTES 128

struct client {
    char name[KEYRING_NAME_BYTES];
    struct key_limits limits; /* burst_rows is set where rows_per_minute is */
    double tokens;            /* rows that may be asked for now; below 0 after a large request */
    uint64_t refilled_ns;
    uint32_t rows_in_flight;
    struct fair_share share;    /* of the engine */
    uint64_t renderings_finish; /* where its next turn starts (rendering.h) */
    uint64_t frames_bytes;      /* of films that are being drawn for it */
    uint64_t answer_bytes;      /* of its answers that are not sent yet (answers.h) */
    uint32_t references;
};

struct clients {
    const struct options *options;
    struct keyring ring;
    struct client **table; /* owned, [ring.n_keys], in the ring's order */
    mode_t file_mode;      /* the permissions of the file */
};

/* Read the file, if there is one. Returns 0, or -1 with a message; then nothing has changed. What a
 * client has used up stays used up, as long as its name stays. */
int clients_load(struct clients *c, const struct options *options, char error[CLIENTS_ERROR_BYTES]);
void clients_free(struct clients *c);

/* Must requests have a key? */
bool clients_are_known(const struct clients *c);

/* The client of that key, or NULL. */
struct client *clients_find(const struct clients *c, const char *key, size_t bytes);

/* Its limits and what is left of them, as draft-ietf-httpapi-ratelimit-headers has them in
 * RateLimit-Policy and RateLimit; "" without a limit. */
void client_describe_limits(struct client *client, char policy[CLIENT_LIMITS_BYTES],
                            char state[CLIENT_LIMITS_BYTES]);

/* Take a reference, or give one back. NULL allowed. */
struct client *client_hold(struct client *client);
void client_drop(struct client *client);

/* Its share of the engine: NULL is that of those who are nobody in particular. */
struct fair_share *client_share(struct client *client);

/* May it have so many rows more? Returns 0, and they are counted; or -1 with the problem, and with
 * the seconds to wait in *retry_after_s, 0 when waiting does not help or is not known. NULL is
 * nobody in particular, who has no limit. */
int client_take(struct client *client, uint32_t rows, struct problem *problem,
                uint32_t *retry_after_s);

/* The rows are not in flight any more; `unused` gives them back to the minute's as well. */
void client_give_back(struct client *client, uint32_t rows, bool unused);

#endif
