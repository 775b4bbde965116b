#include "server/http/idempotency.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#include "api/image.h"
#include "server/clients/clients.h"
#include "server/http/request.h"

#define HEADER "Idempotency-Key"
#define KEY_MAX_BYTES 255
#define NS_PER_S UINT64_C(1000000000)

/* Name and value of a header, each with its terminator, one after the other. */
struct header_text {
    char *bytes; /* owned */
    size_t length;
};

struct stored_answer {
    struct idempotency *table;
    char key[IMAGE_DIGEST_BYTES];     /* of client, route and key */
    char payload[IMAGE_DIGEST_BYTES]; /* of all else that decides the answer */
    bool is_complete;
    uint64_t expires_ns;
    unsigned status;
    char *type, *body; /* owned */
    size_t body_bytes, bytes;
    struct header_text headers;
    struct stored_answer *bucket_next;
    struct stored_answer *newer; /* when complete */
    struct holding *holding;     /* its client's, when complete */
};

/* ---- the table ------------------------------------------------------------------------------ */

void idempotency_init(struct idempotency *i, uint64_t ttl_s, uint64_t max_bytes)
{
    *i = (struct idempotency){.ttl_ns = ttl_s * NS_PER_S, .max_bytes = max_bytes};
}

static struct stored_answer **bucket_of(struct idempotency *i, const char *key)
{
    /* The digest's first digits are as random as any. */
    unsigned long at = strtoul((char[]){key[7], key[8], key[9], '\0'}, NULL, 16);
    return &i->buckets[at % IDEMPOTENCY_BUCKETS];
}

static void answer_free(struct stored_answer *s)
{
    holding_drop(s->holding);
    free(s->type);
    free(s->body);
    free(s->headers.bytes);
    free(s);
}

static void answer_forget(struct stored_answer *s)
{
    struct stored_answer **at = bucket_of(s->table, s->key);
    while (*at != s) {
        at = &(*at)->bucket_next;
    }
    *at = s->bucket_next;
    answer_free(s);
}

/* Forget the oldest complete answer of that client, or of all with NULL. */
static void forget_oldest(struct idempotency *i, const struct holding *of)
{
    struct stored_answer *before = NULL, *s = i->oldest;
    while (of && s->holding != of) {
        before = s;
        s = s->newer;
    }
    *(before ? &before->newer : &i->oldest) = s->newer;
    if (!s->newer) {
        i->newest = before;
    }
    i->bytes -= s->bytes;
    i->n_answers--;
    s->holding->n--;
    s->holding->n_spare--;
    s->holding->bytes -= s->bytes;
    answer_forget(s);
}

/* Drop what is too old. */
static void table_expire(struct idempotency *i)
{
    uint64_t now_ns = uv_hrtime();
    while (i->oldest && i->oldest->expires_ns <= now_ns) {
        forget_oldest(i, NULL);
    }
}

/* Make room for an answer of the client's, at the cost of who has most. */
static void table_trim(struct idempotency *i, const struct holding *h, uint64_t more_bytes)
{
    table_expire(i);
    while (i->oldest && i->n_answers >= IDEMPOTENCY_MAX_ANSWERS) {
        forget_oldest(i, holdings_most(&i->holdings, HOLDING_THINGS, h, 1));
    }
    while (i->oldest && i->bytes + more_bytes > i->max_bytes) {
        forget_oldest(i, holdings_most(&i->holdings, HOLDING_BYTES, h, more_bytes));
    }
}

static struct stored_answer *table_find(struct idempotency *i, const char *key)
{
    struct stored_answer *s = *bucket_of(i, key);
    while (s && strcmp(s->key, key) != 0) {
        s = s->bucket_next;
    }
    return s;
}

void idempotency_free(struct idempotency *i)
{
    while (i->oldest) {
        forget_oldest(i, NULL);
    }
}

/* ---- the key and what it stands for --------------------------------------------------------- */

/* The key without its quotes. Clients send both a structured string and a bare token. */
static int read_key(char key[KEY_MAX_BYTES + 1], const char *header, struct problem *problem)
{
    size_t bytes = strlen(header);
    while (bytes > 0 && (header[bytes - 1] == ' ' || header[bytes - 1] == '\t')) {
        bytes--;
    }
    if (bytes >= 2 && header[0] == '"' && header[bytes - 1] == '"') {
        header++;
        bytes -= 2;
    }
    bool ok = bytes >= 1 && bytes <= KEY_MAX_BYTES;
    for (size_t k = 0; ok && k < bytes; k++) {
        ok = header[k] > ' ' && header[k] < 0x7f && !strchr("\"\\,;", header[k]);
    }
    if (!ok) {
        problem_set(problem, PROBLEM_INVALID_REQUEST,
                    HEADER " is one string of 1 to %d visible characters without \" \\ , and ;.",
                    KEY_MAX_BYTES);
        return -1;
    }
    memcpy(key, header, bytes);
    key[bytes] = '\0';
    return 0;
}

/* The digest of several texts, which none of them can imitate by what it contains. */
static int digest_parts(char digest[IMAGE_DIGEST_BYTES], const char *const parts[],
                        const size_t bytes[], size_t n)
{
    size_t all = 0;
    for (size_t k = 0; k < n; k++) {
        all += sizeof bytes[k] + bytes[k];
    }
    uint8_t *text = malloc(all), *at = text;
    if (!text) {
        return -1;
    }
    for (size_t k = 0; k < n; k++) {
        memcpy(at, &bytes[k], sizeof bytes[k]);
        at += sizeof bytes[k];
        if (bytes[k]) {
            memcpy(at, parts[k], bytes[k]);
        }
        at += bytes[k];
    }
    image_digest(digest, text, all);
    free(text);
    return 0;
}

static int digest_request(struct stored_answer *s, struct request *r, const char *key)
{
    const char *accept = request_list(r, MHD_HTTP_HEADER_ACCEPT);
    const char *prefer = request_list(r, "Prefer");
    const char *name[] = {r->client ? r->client->name : "", r->path, key};
    const char *payload[] = {r->query ? r->query : "", accept ? accept : "", prefer ? prefer : "",
                             r->body};
    size_t name_bytes[] = {strlen(name[0]), strlen(name[1]), strlen(name[2])};
    size_t payload_bytes[] = {strlen(payload[0]), strlen(payload[1]), strlen(payload[2]),
                              r->body_bytes};
    return digest_parts(s->key, name, name_bytes, 3) != 0 ||
                   digest_parts(s->payload, payload, payload_bytes, 4) != 0
               ? -1
               : 0;
}

/* ---- a request begins ----------------------------------------------------------------------- */

static int replay(const struct stored_answer *s, struct request *r)
{
    char *body = malloc(s->body_bytes + 1);
    if (!body) {
        return -1;
    }
    memcpy(body, s->body, s->body_bytes);
    request_reply(r, s->status, s->type, body, s->body_bytes);
    for (size_t at = 0; at < s->headers.length;) {
        const char *name = s->headers.bytes + at;
        const char *value = name + strlen(name) + 1;
        request_add_header(r, name, value);
        at += strlen(name) + 1 + strlen(value) + 1;
    }
    request_add_header(r, "Idempotency-Replayed", "true");
    return 0;
}

enum idempotency_verdict idempotency_begin(struct idempotency *i, struct request *r,
                                           struct problem *problem)
{
    const char *header = request_header(r, HEADER);
    char key[KEY_MAX_BYTES + 1];
    if (!header) {
        return IDEMPOTENCY_GO;
    }
    if (read_key(key, header, problem) != 0) {
        return IDEMPOTENCY_REFUSED;
    }
    table_expire(i);
    struct stored_answer *s = calloc(1, sizeof *s);
    if (!s || digest_request(s, r, key) != 0) {
        free(s);
        problem_set(problem, PROBLEM_OUT_OF_MEMORY, "There was no memory for the request.");
        return IDEMPOTENCY_REFUSED;
    }
    struct stored_answer *known = table_find(i, s->key);
    if (!known) {
        s->table = i;
        struct stored_answer **bucket = bucket_of(i, s->key);
        s->bucket_next = *bucket;
        *bucket = s;
        r->stored_answer = s;
        return IDEMPOTENCY_GO;
    }
    enum idempotency_verdict verdict = IDEMPOTENCY_REFUSED;
    if (strcmp(known->payload, s->payload) != 0) {
        problem_set(problem, PROBLEM_IDEMPOTENCY_MISMATCH,
                    "An earlier request with this " HEADER " said something else.");
    } else if (!known->is_complete) {
        problem_set(problem, PROBLEM_IDEMPOTENCY_BUSY,
                    "The earlier request with this " HEADER " is not answered yet.");
    } else if (replay(known, r) != 0) {
        problem_set(problem, PROBLEM_OUT_OF_MEMORY, "There was no memory for the answer.");
    } else {
        verdict = IDEMPOTENCY_REPLAYED;
    }
    free(s);
    return verdict;
}

/* ---- and is answered ------------------------------------------------------------------------ */

void idempotency_body(struct request *r, unsigned status, const char *type, const char *body,
                      size_t bytes)
{
    struct stored_answer *s = r->stored_answer;
    if (!s) {
        return;
    }
    free(s->body);
    free(s->type);
    s->body = s->type = NULL;
    s->status = status;
    if (status < 200 || status >= 300 || bytes > s->table->max_bytes / 4 || !type) {
        return;
    }
    s->type = strdup(type);
    s->body = malloc(bytes + 1);
    if (s->body) {
        memcpy(s->body, body, bytes);
        s->body_bytes = bytes;
    }
}

/* Of the answer, not of the one request that it was made for. */
static bool is_kept(const char *name, const char *value)
{
    static const char *const others[] = {
        "Content-Type",     "Content-Encoding", "X-Request-Id", "X-Content-Type-Options",
        "traceparent",      "RateLimit",        "Connection",   "Idempotency-Replayed",
        "RateLimit-Policy",
    };
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        if (strcasecmp(name, others[k]) == 0) {
            return false;
        }
    }
    if (strcasecmp(name, "Vary") == 0) {
        return strcasecmp(value, "Accept") == 0;
    }
    return strncasecmp(name, "Access-Control-", 15) != 0;
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    struct header_text *t = cls;
    (void)kind;
    if (!is_kept(name, value)) {
        return MHD_YES;
    }
    size_t name_bytes = strlen(name) + 1, value_bytes = strlen(value) + 1;
    char *grown = realloc(t->bytes, t->length + name_bytes + value_bytes);
    if (!grown) {
        free(t->bytes);
        *t = (struct header_text){.bytes = NULL};
        return MHD_NO;
    }
    memcpy(grown + t->length, name, name_bytes);
    memcpy(grown + t->length + name_bytes, value, value_bytes);
    t->bytes = grown;
    t->length += name_bytes + value_bytes;
    return MHD_YES;
}

void idempotency_end(struct request *r)
{
    struct stored_answer *s = r->stored_answer;
    if (!s) {
        return;
    }
    r->stored_answer = NULL;
    struct idempotency *i = s->table;
    if (!s->body || !s->type || !r->response) {
        answer_forget(s);
        return;
    }
    (void)MHD_get_response_headers(r->response, on_header, &s->headers);
    s->holding = holdings_take(&i->holdings, r->client ? r->client->name : "");
    if (!s->headers.bytes || !s->holding) { /* each has some: there was no memory */
        answer_forget(s);
        return;
    }
    s->bytes = sizeof *s + s->body_bytes + s->headers.length;
    table_trim(i, s->holding, s->bytes);
    s->holding->n++;
    s->holding->n_spare++;
    s->holding->bytes += s->bytes;
    s->is_complete = true;
    s->expires_ns = uv_hrtime() + i->ttl_ns;
    *(i->newest ? &i->newest->newer : &i->oldest) = s;
    i->newest = s;
    i->bytes += s->bytes;
    i->n_answers++;
}
