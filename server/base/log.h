/*
 * The log: one line an event on standard error, as text or JSON, stamped in UTC to the millisecond.
 *
 * A line is one write(), so lines never mix. Any thread may log; a struct log is const once set up.
 */
#ifndef SERVER_BASE_LOG_H
#define SERVER_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "server/base/options.h"

struct log {
    enum log_format format;
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

/* `fields` ends with a NULL key. A line for which there is no memory is written without fields. */
void log_write(const struct log *log, enum log_level level, const char *event,
               const struct log_field *fields);

#endif
