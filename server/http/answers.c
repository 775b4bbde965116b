#include "server/http/answers.h"

#include <stdlib.h>

static uint64_t *held_by(struct answers *a, struct client *client)
{
    return client ? &client->answer_bytes : &a->everyones;
}

bool answers_take(struct answers *a, struct client *client, size_t bytes)
{
    uint64_t *held = held_by(a, client);
    if (bytes <= ANSWERS_UNCOUNTED_BYTES) {
        return true;
    }
    bool is_over_part = *held > 0 && *held + bytes > a->max_bytes / 4;
    if (is_over_part || a->bytes >= a->max_bytes) {
        return false;
    }
    *held += bytes;
    a->bytes += bytes;
    return true;
}

void answers_give_back(struct answers *a, struct client *client, size_t bytes)
{
    if (bytes > ANSWERS_UNCOUNTED_BYTES) {
        *held_by(a, client) -= bytes;
        a->bytes -= bytes;
    }
}

struct answer_body *answer_body_new(struct answers *a, struct client *client, char *bytes,
                                    size_t n_bytes)
{
    struct answer_body *body = calloc(1, sizeof *body);
    if (!body || !answers_take(a, client, n_bytes)) {
        free(body);
        free(bytes);
        return NULL;
    }
    *body = (struct answer_body){.all = a,
                                 .client = client_hold(client),
                                 .bytes = bytes,
                                 .n_bytes = n_bytes,
                                 .references = 1};
    return body;
}

struct answer_body *answer_body_hold(struct answer_body *body)
{
    body->references++;
    return body;
}

void answer_body_drop(struct answer_body *body)
{
    if (!body || --body->references > 0) {
        return;
    }
    if (body->released) {
        body->released(body);
    }
    answers_give_back(body->all, body->client, body->n_bytes);
    client_drop(body->client);
    free(body->bytes);
    free(body);
}
