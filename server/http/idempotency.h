/*
 * Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): a POST that is sent again with
 * the key and the body of an earlier one gets the earlier one's answer, and nothing is drawn twice.
 *
 * Answers with a status of 2xx are kept for --idempotency-ttl-s, within a fixed number and
 * --idempotency-max-bytes: the oldest of the client that has most go first. Any other answer is
 * forgotten, so that what was refused may be tried again. A key belongs to the client whose API key
 * came with it. Loop thread only.
 */
#ifndef SERVER_HTTP_IDEMPOTENCY_H
#define SERVER_HTTP_IDEMPOTENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/problem.h"
#include "server/clients/holdings.h"

struct request;
struct stored_answer;

#define IDEMPOTENCY_BUCKETS 1024
#define IDEMPOTENCY_MAX_ANSWERS 4096

struct idempotency {
    uint64_t ttl_ns, max_bytes;
    struct stored_answer *buckets[IDEMPOTENCY_BUCKETS];
    struct stored_answer *oldest, *newest; /* of those that are complete */
    size_t n_answers;
    uint64_t bytes;
    struct holdings holdings; /* of each client */
};

void idempotency_init(struct idempotency *i, uint64_t ttl_s, uint64_t max_bytes);
void idempotency_free(struct idempotency *i);

enum idempotency_verdict {
    IDEMPOTENCY_GO,       /* handle the request; its answer is kept if it has a key */
    IDEMPOTENCY_REPLAYED, /* it is answered */
    IDEMPOTENCY_REFUSED   /* with the problem */
};

/* Look at a complete request that asks for something to be drawn. */
enum idempotency_verdict idempotency_begin(struct idempotency *i, struct request *r,
                                           struct problem *problem);

/* The request is being answered with this body, which is copied. Nothing happens without a key. */
void idempotency_body(struct request *r, unsigned status, const char *type, const char *body,
                      size_t bytes);

/* The answer has all its headers: keep it, or forget the key. Nothing happens without one. */
void idempotency_end(struct request *r);

#endif
