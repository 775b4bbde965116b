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
#define RING_BYTES ((size_t)1 << 20) /* some thousand lines */

/* How every line begins, in less than HEAD_BYTES. Events are words of ours. */
static void format_head(char *out, enum log_format format, enum log_level level, const char *event)
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
    if (format == LOG_TEXT && *s && !strpbrk(s, " =\"\\") && text_is_plain(s)) {
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

static size_t format_dropped(const void *context, uint64_t n_lost, char line[OUTLET_NOTICE_BYTES])
{
    const struct options *options = context;
    bool is_json = options->log_format == LOG_JSON;
    format_head(line, options->log_format, LOG_WARN, "log_lines_dropped");
    size_t used = strlen(line);
    return used + (size_t)snprintf(line + used, OUTLET_NOTICE_BYTES - used,
                                   is_json ? ",\"lines\":%llu}\n" : " lines=%llu\n",
                                   (unsigned long long)n_lost);
}

int log_open(struct log *log, const struct options *options)
{
    log->format = options->log_format;
    return outlet_open(&log->outlet, STDERR_FILENO, RING_BYTES, format_dropped, options);
}

void log_close(struct log *log)
{
    outlet_close(log->outlet);
    log->outlet = NULL;
}

uint64_t log_dropped(const struct log *log)
{
    return log->outlet ? outlet_dropped(log->outlet) : 0;
}

static void put_line(const struct log *log, const char *line, size_t bytes)
{
    if (log->outlet) {
        outlet_put(log->outlet, line, bytes);
    } else { /* nobody is left to tell when that fails */
        ssize_t written = write(STDERR_FILENO, line, bytes);
        (void)written;
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
    if (line) {
        put_line(log, line, bytes);
    } else {
        strcat(head, end); /* there is room for it */
        put_line(log, head, strlen(head));
    }
    free(line);
}
