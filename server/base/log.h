/*
 * The log: one line an event on standard error, as text or JSON, stamped in UTC to the millisecond.
 *
 * Lines leave through an outlet, so nobody who logs waits for who reads. What is dropped on the way
 * is counted, and the line "log_lines_dropped" tells. Any thread may log; a struct log is const
 * while it is open.
 */
#ifndef SERVER_BASE_LOG_H
#define SERVER_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "server/base/options.h"
#include "server/base/outlet.h"

struct log {
    enum log_format format;
    struct outlet *outlet; /* NULL: not open, and lines are written at once */
};

enum log_level { LOG_INFO, LOG_WARN, LOG_ERROR };

/* One key and its value. Strings are UTF-8 of any content; a NULL string leaves the key out. */
struct log_field {
    const char *key;
    enum { LOG_FIELD_STRING, LOG_FIELD_INTEGER, LOG_FIELD_MS } type;
    const char *string;
    int64_t integer;
    double ms;
};

#define LOG_S(k, v)                                                                                \
    {                                                                                              \
        .key = (k), .type = LOG_FIELD_STRING, .string = (v)                                        \
    }
#define LOG_I(k, v)                                                                                \
    {                                                                                              \
        .key = (k), .type = LOG_FIELD_INTEGER, .integer = (int64_t)(v)                             \
    }
#define LOG_MS(k, v)                                                                               \
    {                                                                                              \
        .key = (k), .type = LOG_FIELD_MS, .ms = (v)                                                \
    }

/* Write one event: log_event(log, LOG_INFO, "listening", LOG_S("url", url)); */
#define log_event(log, level, event, ...)                                                          \
    log_write((log), (level), (event), (const struct log_field[]){__VA_ARGS__, {.key = NULL}})

/* The options outlive the process's exit. Returns 0, the caller closes; or -1 without memory or a
 * thread. */
int log_open(struct log *log, const struct options *options);

/* Wait for the lines to be written, as outlet_close() does. */
void log_close(struct log *log);

/* Lines dropped so far. */
uint64_t log_dropped(const struct log *log);

/* `fields` ends with a NULL key. A line for which there is no memory is written without fields. */
void log_write(const struct log *log, enum log_level level, const char *event,
               const struct log_field *fields);

#endif
