/*
 * One HTTP request, from its request line to the end of its answer. Loop thread only.
 *
 * Made when libmicrohttpd has read the request line, freed when it says that the request is over.
 * A handler either replies, or suspends the request and replies later.
 */
#ifndef SERVER_HTTP_REQUEST_H
#define SERVER_HTTP_REQUEST_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/problem.h"
#include "api/routes.h"
#include "api/trace_context.h"
#include "server/clients/proxies.h"
#include "server/http/http_context.h"

struct connection;
struct pump;
struct client;
struct stored_answer;
struct answer_body;
struct joined_header;

#define REQUEST_ID_BYTES 129
#define REQUEST_MAX_URI_BYTES 8192

struct request {
    const struct http_context *context;
    struct pump *pump;
    struct connection *connection;
    struct MHD_Connection *mhd;
    uint64_t started_ns;
    char id[REQUEST_ID_BYTES];
    char forwarded_for[PROXIES_ADDRESS_BYTES]; /* the client, by a trusted proxy; else "" */
    struct client *client;               /* held; NULL without API keys and on public routes */
    struct stored_answer *stored_answer; /* with an Idempotency-Key, until it is answered */
    struct trace_context trace;          /* ids are "" unless the request came with one */
    char method[16];
    char *path;        /* owned: the raw path, its query cut off */
    char *authority;   /* owned: host and port that the target itself names, or NULL */
    const char *query; /* raw, points behind it; NULL without */
    struct route_match route;
    int media; /* index of the accepted type in the route's */
    bool has_body;
    uint64_t announced_bytes; /* by Content-Length */
    bool is_admin;            /* came by the admin listener */

    char *body; /* owned */
    size_t body_bytes, body_capacity;
    size_t max_body_bytes; /* its route's */
    size_t large_bytes;    /* of its body, among the large ones that are held */
    bool body_too_large, out_of_memory;

    bool begun;    /* headers are in */
    bool complete; /* all of it is in and a handler has it */
    bool suspended;
    bool gone; /* the client hung up */

    struct joined_header *joined; /* owned: see request_list() */

    struct MHD_Response *response;
    bool is_sealed; /* another answer than was meant, which gets no more headers */
    unsigned status;
    size_t response_bytes;

    void *holder;    /* what will let it go on, while it is suspended */
    uint32_t n_rows; /* for the log; 0 unless it sampled */
    double queue_ms, sample_ms;
};

/* A header of the request, or NULL: the first one, if there are more. */
const char *request_header(const struct request *r, const char *name);

/* A header whose value is a list, which may go on over several lines (RFC 9110, 5.2): all of it, or
 * NULL. Lives as long as the request. */
const char *request_list(struct request *r, const char *name);

/* Free what it has gathered; it has been answered or never will be. */
void request_free_lists(struct request *r);

/* Decode what the `i`th {name} of the route stands for. Returns 0, or -1 when it does not fit or is
 * malformed. */
int request_segment(const struct request *r, size_t i, char *out, size_t bytes);

/* Take a malloc'd body and answer with it. A NULL body is taken for out of memory. Where another
 * answer goes out, for want of memory or of room (answers.h), headers that are added afterwards,
 * which are meant for this one, are left out. */
void request_reply(struct request *r, unsigned status, const char *type, char *body, size_t bytes);

/* Answer with a body that others may be sent as well, as it is. */
void request_reply_shared(struct request *r, unsigned status, const char *type,
                          struct answer_body *body);

/* Answer that too much waits to be read. */
void request_reply_unread(struct request *r);

/* Answer with bytes that live as long as the process, in the content coding that they are in
 * already (NULL for none), and in no other. */
void request_reply_stored(struct request *r, unsigned status, const char *type, const char *coding,
                          const void *body, size_t bytes);

/* Answer with bytes that live as long as the process. */
void request_reply_static(struct request *r, unsigned status, const char *type, const char *body,
                          size_t bytes);

/* Answer a HEAD whose GET would have a body of a length that is not known. It closes the
 * connection: the library would otherwise end a body that is not there, and spoil what follows. */
void request_reply_head(struct request *r, unsigned status, const char *type);

/* Answer with what `read` gives, as MHD_ContentReaderCallback says; `end` is called with `arg` when
 * the library needs it no more, and not when this fails. Returns 0 or -1. */
int request_reply_stream(struct request *r, const char *type, size_t block_bytes,
                         MHD_ContentReaderCallback read, void *arg,
                         MHD_ContentReaderFreeCallback end);

/* From within `read`: call it again only after request_continue(). */
void request_pause(struct request *r);
void request_continue(struct request *r);

/* The client takes what it is sent: its time to read starts anew. */
void request_progress(struct request *r);

/* Answer with a problem. */
void request_reply_problem(struct request *r, const struct problem *problem);

/* Add a header to the answer. */
void request_add_header(struct request *r, const char *name, const char *value);

/* Call `gone` if the client hangs up, from now until request_resume() or request_unwatch().
 * Returns 0, or -1 when there is no memory for it. */
int request_watch(struct request *r, void (*gone)(struct request *request));
void request_unwatch(struct request *r);

/* Hold a watched request until request_resume(). */
void request_suspend(struct request *r);

/* Let a suspended request go on with the answer it has; without one its connection is closed. */
void request_resume(struct request *r);

#endif
