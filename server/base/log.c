#include "server/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/text.h"

static const char *const level_names[] = {
    [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};

#define HEAD_BYTES 160

/* How every line begins. Events are words of ours. */
static void format_head(char out[HEAD_BYTES], enum log_format format, enum log_level level,
                        const char *event)
{
    struct timespec now;
    struct tm utc;
    char date[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out, HEAD_BYTES,
             format == LOG_JSON ? "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"event\":\"%s\""
                                : "%s.%03ldZ %s %s",
             date, now.tv_nsec / 1000000, level_names[level], event);
}

/* A value that holds a space, a quote or the like stands in JSON's quotes in the text format too.
 */
static void put_string(struct text *t, enum log_format format, const char *s)
{
    if (format == LOG_TEXT && *s && !strpbrk(s, " =\"\\\t\r\n\v\f")) {
        text_puts(t, s);
    } else {
        text_json_string(t, s);
    }
}

static void put_field(struct text *t, enum log_format format, const struct log_field *field)
{
    if (field->type == LOG_FIELD_STRING && !field->string) {
        return;
    }
    text_printf(t, format == LOG_JSON ? ",\"%s\":" : " %s=", field->key);
    switch (field->type) {
    case LOG_FIELD_STRING:
        put_string(t, format, field->string);
        break;
    case LOG_FIELD_INTEGER:
        text_printf(t, "%lld", (long long)field->integer);
        break;
    case LOG_FIELD_MS:
        text_printf(t, "%.3f", field->ms);
        break;
    }
}

void log_write(const struct log *log, enum log_level level, const char *event,
               const struct log_field *fields)
{
    struct text t = TEXT_INIT;
    char head[HEAD_BYTES];
    const char *end = log->format == LOG_JSON ? "}\n" : "\n";
    format_head(head, log->format, level, event);
    text_puts(&t, head);
    for (const struct log_field *field = fields; field->key; field++) {
        put_field(&t, log->format, field);
    }
    text_puts(&t, end);
    size_t bytes;
    char *line = text_take(&t, &bytes);
    if (!line) {
        dprintf(STDERR_FILENO, "%s%s", head, end);
        return;
    }
    /* Nobody is left to tell when standard error fails. */
    ssize_t written = write(STDERR_FILENO, line, bytes);
    (void)written;
    free(line);
}
