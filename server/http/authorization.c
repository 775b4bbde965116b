#include "server/http/authorization.h"

#include <string.h>
#include <strings.h>

#define REALM "Bearer realm=\"denoised\""

/* The key behind "Bearer ", or NULL. */
static const char *bearer(const char *header)
{
    if (strncasecmp(header, "Bearer", 6) != 0 || header[6] != ' ') {
        return NULL;
    }
    return header + 6 + strspn(header + 6, " ");
}

int authorization_check(struct request *r, const struct clients *clients, struct problem *problem)
{
    if (!clients_are_known(clients) || r->client) {
        return 0;
    }
    const char *authorization = request_header(r, MHD_HTTP_HEADER_AUTHORIZATION);
    const char *key = request_header(r, "X-API-Key");
    if (authorization && key) {
        problem_set(problem, PROBLEM_INVALID_REQUEST,
                    "Authorization and X-API-Key are two ways to say one thing; send one.");
        return -1;
    }
    if (authorization) {
        key = bearer(authorization);
    }
    if (!key) {
        problem_set(problem, PROBLEM_UNAUTHORIZED,
                    "An API key is required, as Authorization: Bearer KEY or X-API-Key: KEY.");
        return -1;
    }
    struct client *client = clients_find(clients, key, strcspn(key, " \t"));
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
