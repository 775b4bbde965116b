/*
 * Every route of the API, in one table: method, path, what it can answer with. HEAD is understood
 * wherever GET is, OPTIONS everywhere. Any thread.
 */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include <stdbool.h>
#include <stddef.h>

enum route_id {
    ROUTE_DISCOVERY,
    ROUTE_SAMPLES,
    ROUTE_SAMPLE_PNG,
    ROUTE_SAMPLE_APNG,
    ROUTE_JOB_CREATE,
    ROUTE_JOB_LIST,
    ROUTE_JOB,
    ROUTE_JOB_DELETE,
    ROUTE_JOB_CANCEL,
    ROUTE_JOB_EVENTS,
    ROUTE_JOB_RESULT,
    ROUTE_JOB_GRID,
    ROUTE_JOB_IMAGE,
    ROUTE_VERIFY,
    ROUTE_IMAGES,
    ROUTE_MODELS,
    ROUTE_MODEL,
    ROUTE_CAPABILITIES,
    ROUTE_LIVEZ,
    ROUTE_READYZ,
    ROUTE_METRICS,
    ROUTE_VERSION,
    ROUTE_OPENAPI,
    ROUTE_DOCS,
    ROUTE_ASSET,
    ROUTE_ADMIN,
    ROUTE_ADMIN_MODELS,
    ROUTE_ADMIN_LOAD,
    ROUTE_ADMIN_ACTIVATE,
    ROUTE_ADMIN_UNLOAD,
    ROUTE_COUNT
};

#define ROUTE_MAX_TYPES 6
#define ROUTE_MAX_SEGMENTS 2 /* {names} in one pattern */

struct route {
    const char *method;                 /* "GET", "POST", "DELETE" */
    const char *pattern;                /* as in openapi.yaml: "/v1/samples/{label}.png" */
    const char *types[ROUTE_MAX_TYPES]; /* media types it answers with, the default first */
    bool any_accept;                    /* answers whatever the Accept header says */
    const char *body;                   /* the media type that it takes; NULL for no body */
};

extern const struct route routes[ROUTE_COUNT];

/* What a {name} of the pattern stands for, raw; points into the path. */
struct route_segment {
    const char *text;
    size_t bytes;
};

struct route_match {
    int id; /* enum route_id, or -1: no such path, or not this method */
    bool path_exists;
    bool has_openai_errors;
    char allow[48]; /* for the Allow header when the path exists */
    struct route_segment segments[ROUTE_MAX_SEGMENTS];
};

/* The first route with the same pattern: what they have in common is counted there. */
int route_first(int id);

/* It takes bodies of so many bytes, whatever the server's limit for others is; 0 for most. */
size_t route_body_bytes(int id);

/* Is it one of the admin listener's? That has nothing else, and no other listener has it. */
bool route_is_admin(int id);

/* Find the route of a method and a raw (undecoded) path without its query, among those of the admin
 * listener or among the others. HEAD finds GET's. */
void route_find(struct route_match *match, const char *method, const char *path, bool is_admin);

#endif
