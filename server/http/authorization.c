#include "server/http/authorization.h"

#include <string.h>
#include <strings.h>

#define REALM "Bearer realm=\"denoised\""

/* The keys that a request shows, on whatever lines. */
struct credentials {
    const char *key; /* NULL: none so far */
    size_t bytes;
    bool is_malformed, is_ambiguous;
};

static void take_key(struct credentials *c, const char *text)
{
    text += strspn(text, " \t");
    size_t bytes = strcspn(text, " \t");
    if (text[bytes + strspn(text + bytes, " \t")]) {
        c->is_malformed = true; /* more than one word */
    } else if (bytes > 0 && c->key) {
        c->is_ambiguous |= bytes != c->bytes || memcmp(text, c->key, bytes) != 0;
    } else if (bytes > 0) {
        c->key = text;
        c->bytes = bytes;
    }
}

/* Other schemes than Bearer are for another hop, like a proxy's Basic. */
static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    struct credentials *c = cls;
    (void)kind;
    if (!value) {
        return MHD_YES;
    }
    if (strcasecmp(name, "X-API-Key") == 0) {
        take_key(c, value);
    } else if (strcasecmp(name, MHD_HTTP_HEADER_AUTHORIZATION) == 0 &&
               strncasecmp(value, "Bearer ", 7) == 0) {
        take_key(c, value + 7);
    }
    return MHD_YES;
}

int authorization_check(struct request *r, const struct clients *clients, struct problem *problem)
{
    struct credentials c = {.key = NULL};
    if (!clients_are_known(clients) || r->client) {
        return 0;
    }
    MHD_get_connection_values(r->mhd, MHD_HEADER_KIND, on_header, &c);
    if (c.is_malformed) {
        problem_set(problem, PROBLEM_UNAUTHORIZED, "An API key is one word.");
        return -1;
    }
    if (c.is_ambiguous) {
        problem_set(problem, PROBLEM_INVALID_REQUEST, "The request shows two different API keys.");
        return -1;
    }
    if (!c.key) {
        problem_set(problem, PROBLEM_UNAUTHORIZED,
                    "An API key is required, as Authorization: Bearer KEY or X-API-Key: KEY.");
        return -1;
    }
    struct client *client = clients_find(clients, c.key, c.bytes);
    if (!client) {
        problem_set(problem, PROBLEM_UNAUTHORIZED, "There is no such API key.");
        return -1;
    }
    r->client = client_hold(client);
    return 0;
}

void authorization_add_headers(struct request *r)
{
    if (r->status == 401) {
        request_add_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
                           request_header(r, MHD_HTTP_HEADER_AUTHORIZATION) ? REALM
                               ", error=\"invalid_token\""
                                                                            : REALM);
    }
    if (!r->client) {
        return;
    }
    char policy[CLIENT_LIMITS_BYTES], state[CLIENT_LIMITS_BYTES];
    client_describe_limits(r->client, policy, state);
    if (*policy) {
        request_add_header(r, "RateLimit-Policy", policy);
        request_add_header(r, "RateLimit", state);
    }
}
