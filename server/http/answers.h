/*
 * The memory of answers that are not sent yet, which clients decide over by how they read: bounded
 * by --max-answers-bytes in all, and by a quarter of that for each client, all without an API key
 * being one. A client that holds none gets one whatever its size, while all hold less than there
 * may be; small answers are not counted, for connections bound those. Loop thread only.
 */
#ifndef SERVER_HTTP_ANSWERS_H
#define SERVER_HTTP_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/clients/clients.h"

#define ANSWERS_UNCOUNTED_BYTES 32768

struct answers {
    uint64_t max_bytes, bytes;
    uint64_t everyones; /* of those who are nobody in particular */
};

/* Count so many bytes more for the client, NULL allowed. Returns whether there is room. */
bool answers_take(struct answers *a, struct client *client, size_t bytes);
void answers_give_back(struct answers *a, struct client *client, size_t bytes);

/* The bytes of an answer, which several may be sent from; counted once. */
struct answer_body {
    struct answers *all;
    struct client *client; /* held: who is charged */
    char *bytes;           /* owned */
    size_t n_bytes;
    uint32_t references;
    void *owner;                                /* of `released`, who may keep what it likes here */
    void (*released)(struct answer_body *body); /* nobody needs it any more; NULL allowed */
};

/* Take malloc'd bytes over, whatever comes of it. NULL when there is no room or no memory. */
struct answer_body *answer_body_new(struct answers *a, struct client *client, char *bytes,
                                    size_t n_bytes);
struct answer_body *answer_body_hold(struct answer_body *body);
void answer_body_drop(struct answer_body *body); /* NULL allowed */

#endif
