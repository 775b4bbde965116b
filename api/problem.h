/*
 * An error as the API tells it: RFC 9457 problem+json. The only place that maps an error to an HTTP
 * status. A problem is a plain value; any thread.
 */
#ifndef API_PROBLEM_H
#define API_PROBLEM_H

#include <stddef.h>

#define PROBLEM_MAX_ERRORS 12
#define PROBLEM_POINTER_BYTES 136
#define PROBLEM_MEDIA_TYPE "application/problem+json"

/* name, status, type (urn:denoised:problem:...), title */
#define PROBLEM_KINDS(X)                                                                           \
    X(PROBLEM_INVALID_REQUEST, 400, "invalid-request", "Invalid request")                          \
    X(PROBLEM_MALFORMED_JSON, 400, "malformed-json", "Malformed JSON")                             \
    X(PROBLEM_UNAUTHORIZED, 401, "unauthorized", "An API key is required")                         \
    X(PROBLEM_PRIORITY, 403, "priority-not-allowed", "Not with this priority")                     \
    X(PROBLEM_NOT_FOR_BROWSERS, 403, "not-for-browsers", "Not for pages of browsers")              \
    X(PROBLEM_FOREIGN_ORIGIN, 403, "foreign-origin", "Not for pages of other origins")             \
    X(PROBLEM_NOT_FOUND, 404, "not-found", "No such resource")                                     \
    X(PROBLEM_MODEL_NOT_FOUND, 404, "model-not-found", "No such model")                            \
    X(PROBLEM_JOB_NOT_FOUND, 404, "job-not-found", "No such job")                                  \
    X(PROBLEM_MODEL_EXISTS, 409, "model-exists", "The name belongs to another model")              \
    X(PROBLEM_MODEL_IS_DEFAULT, 409, "model-is-default", "The default model cannot be unloaded")   \
    X(PROBLEM_MODELS_FULL, 409, "models-full", "There are too many models")                        \
    X(PROBLEM_MODEL_REFUSED, 422, "model-refused", "The file is not fit to serve")                 \
    X(PROBLEM_METHOD_NOT_ALLOWED, 405, "method-not-allowed", "Method not allowed")                 \
    X(PROBLEM_NOT_ACCEPTABLE, 406, "not-acceptable", "Not acceptable")                             \
    X(PROBLEM_REQUEST_TIMEOUT, 408, "request-timeout", "The request took too long to arrive")      \
    X(PROBLEM_JOB_EXISTS, 409, "job-exists", "The id belongs to another job")                      \
    X(PROBLEM_JOB_NOT_DONE, 409, "job-not-done", "The job has no images")                          \
    X(PROBLEM_JOB_CANCELED, 409, "job-canceled", "The job was canceled")                           \
    X(PROBLEM_JOB_EXPIRED, 410, "job-expired", "The job has expired")                              \
    X(PROBLEM_LENGTH_REQUIRED, 411, "length-required", "Length required")                          \
    X(PROBLEM_IDEMPOTENCY_BUSY, 409, "idempotency-in-progress", "The first request is not done")   \
    X(PROBLEM_PRECONDITION_FAILED, 412, "precondition-failed", "Precondition failed")              \
    X(PROBLEM_BODY_TOO_LARGE, 413, "body-too-large", "Request body too large")                     \
    X(PROBLEM_URI_TOO_LONG, 414, "uri-too-long", "URI too long")                                   \
    X(PROBLEM_UNSUPPORTED_MEDIA_TYPE, 415, "unsupported-media-type", "Unsupported media type")     \
    X(PROBLEM_EXPECTATION_FAILED, 417, "expectation-failed", "Expectation failed")                 \
    X(PROBLEM_MISDIRECTED, 421, "misdirected-request", "Not a host of this server")                \
    X(PROBLEM_IDEMPOTENCY_MISMATCH, 422, "idempotency-mismatch", "Another request had this key")   \
    X(PROBLEM_QUOTA_EXCEEDED, 429, "quota-exceeded", "Quota exceeded")                             \
    X(PROBLEM_INTERNAL, 500, "internal-error", "Internal error")                                   \
    X(PROBLEM_OUT_OF_MEMORY, 503, "out-of-memory", "Out of memory")                                \
    X(PROBLEM_QUEUE_FULL, 503, "queue-full", "The queue is full")                                  \
    X(PROBLEM_JOBS_FULL, 503, "jobs-full", "There are too many jobs")                              \
    X(PROBLEM_LOADING, 503, "loading", "The models are being loaded")                              \
    X(PROBLEM_DRAINING, 503, "draining", "The server is shutting down")                            \
    X(PROBLEM_DEADLINE_BUSY, 503, "deadline-busy", "Too busy for this deadline")                   \
    X(PROBLEM_DEADLINE, 504, "deadline-exceeded", "The deadline is not met")

enum problem_kind {
#define PROBLEM_NAME(name, status, type, title) name,
    PROBLEM_KINDS(PROBLEM_NAME)
#undef PROBLEM_NAME
};

struct problem_error {
    char pointer[PROBLEM_POINTER_BYTES]; /* RFC 6901; query parameters are named the same way */
    char detail[200];
};

struct problem {
    enum problem_kind kind;
    char detail[320];
    struct problem_error errors[PROBLEM_MAX_ERRORS];
    size_t n_errors; /* found; those beyond PROBLEM_MAX_ERRORS are only counted */
};

/* Start over: a problem of this kind with this detail and no errors. */
__attribute__((format(printf, 3, 4))) void problem_set(struct problem *p, enum problem_kind kind,
                                                       const char *format, ...);

/* Add the fault of one field. `pointer` is a whole JSON pointer of well-formed UTF-8. */
__attribute__((format(printf, 3, 4))) void problem_add(struct problem *p, const char *pointer,
                                                       const char *format, ...);

/* Write "/key" into `pointer`, escaped as RFC 6901 says, after its present text. */
void problem_pointer_push(char pointer[PROBLEM_POINTER_BYTES], const char *key);

/* The HTTP status of a kind. */
int problem_status(enum problem_kind kind);

/* The URI of a kind. */
const char *problem_type(enum problem_kind kind);

/* The last part of that URI: "queue-full". */
const char *problem_slug(enum problem_kind kind);

/* The problem as JSON text. The caller frees; NULL when out of memory. */
char *problem_json(const struct problem *p, const char *request_id, size_t *bytes);

#endif
