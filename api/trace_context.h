/*
 * The traceparent header of W3C Trace Context (https://www.w3.org/TR/trace-context/). Any thread.
 */
#ifndef API_TRACE_CONTEXT_H
#define API_TRACE_CONTEXT_H

#include <stdint.h>

#define TRACEPARENT_BYTES 56

struct trace_context {
    char trace_id[33];
    char span_id[17]; /* of whoever sends the header */
    char flags[3];
};

/* Read a header. Returns 0, or -1 when it is missing (NULL) or malformed; then it is to be taken
 * for missing, as the standard wants it. */
int trace_context_parse(struct trace_context *t, const char *header);

/* Begin a span of our own in the same trace; `random` is not 0. */
void trace_context_continue(struct trace_context *t, uint64_t random);

/* Write the header. */
void trace_context_format(char out[TRACEPARENT_BYTES], const struct trace_context *t);

#endif
