#include "server/cli/option_values.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "server/cli/shown.h"
#include "server/clients/proxies.h"
#include "server/http/cors.h"
#include "server/http/origin.h"
#include "server/models/models.h"

int option_refuse(const char *source, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    complain("%s: %s", source, text);
    return 2;
}

const char *option_hint(char text[OPTION_HINT_BYTES], const struct suggestion *s)
{
    text[0] = '\0';
    if (s->word != NULL)
        snprintf(text, OPTION_HINT_BYTES, "; did you mean %s?", s->word);
    return text;
}

const char *option_hint_of_list(char text[OPTION_HINT_BYTES], const char *typed, const char *list)
{
    char words[256];
    struct suggestion nearest = {.word = NULL};
    snprintf(words, sizeof words, "%s", list);
    for (char *rest = words, *word; (word = strsep(&rest, "|")) != NULL;)
        suggest(&nearest, typed, word);
    return option_hint(text, &nearest);
}

/* Decimal digits and nothing else: strtoll alone would take blanks, signs and what follows. */
static bool parse_whole(long long *out, const char *text)
{
    const char *digits = text + (text[0] == '-');
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return false;
    errno = 0;
    *out = strtoll(text, NULL, 10);
    if (errno == ERANGE)
        *out = text[0] == '-' ? LLONG_MIN : LLONG_MAX;
    return true;
}

/* A decimal number: no blanks, no hexadecimal, no inf or nan. */
static bool parse_number(double *out, const char *text)
{
    if (text[0] == '\0' || text[0] == '+' || text[strspn(text, "+-.0123456789eE")] != '\0')
        return false;
    char *end;
    *out = strtod(text, &end);
    return *end == '\0';
}

static bool parse_on_off(bool *out, const char *text)
{
    *out = strcmp(text, "on") == 0;
    return *out || strcmp(text, "off") == 0;
}

static int check_listen(const char *source, const char *text)
{
    if (strncmp(text, "unix:", 5) == 0) {
        size_t length = strlen(text + 5), most = sizeof((struct sockaddr_un *)0)->sun_path - 1;
        if (length < 1 || length > most)
            return option_refuse(source,
                                 "'%s': a path of 1 to %zu bytes expected after unix:", text, most);
        return 0;
    }
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text)
        return option_refuse(source, "'%s': HOST:PORT or unix:PATH expected", text);
    size_t host_bytes = (size_t)(colon - text);
    bool has_brackets = host_bytes > 2 && text[0] == '[' && colon[-1] == ']';
    if (!has_brackets && strcspn(text, "[]:") < host_bytes)
        return option_refuse(source, "'%s': an IPv6 address stands in brackets, [ADDRESS]:PORT",
                             text);
    long long port;
    if (!parse_whole(&port, colon + 1) || port < 0 || port > 65535)
        return option_refuse(source, "'%s': a port from 0 to 65535 expected after the colon", text);
    return 0;
}

static int add_model(struct options *o, const char *source, const struct option_row *row,
                     const char *path)
{
    if (o->n_models == (int)row->max)
        return option_refuse(source, "at most %d model%s here", (int)row->max,
                             row->max > 1 ? "s" : "");
    o->models[o->n_models++] = path;
    return 0;
}

/* DENOISED_MODEL holds several files with a colon between them. */
static int add_models(struct options *o, const char *source, const struct option_row *row,
                      const char *list)
{
    char *text = o->model_text;
    if (strlen(list) >= sizeof o->model_text)
        return option_refuse(source, "longer than %zu bytes", sizeof o->model_text - 1);
    strcpy(text, list);
    for (char *rest = text, *path; (path = strsep(&rest, ":")) != NULL;) {
        if (path[0] == '\0')
            return option_refuse(source, "'%s': an empty file name", list);
        int code = add_model(o, source, row, path);
        if (code != 0)
            return code;
    }
    return 0;
}

static int set_int(void *field, const char *source, const struct option_row *row, const char *text)
{
    long long value;
    if (!parse_whole(&value, text) || value < (long long)row->min || value > (long long)row->max)
        return option_refuse(source, "'%s': a whole number from %lld to %lld expected", text,
                             (long long)row->min, (long long)row->max);
    int as_int = (int)value;
    memcpy(field, &as_int, sizeof as_int);
    return 0;
}

static int set_number(void *field, const char *source, const struct option_row *row,
                      const char *text)
{
    double value;
    if (!parse_number(&value, text) || !(value >= row->min && value <= row->max))
        return option_refuse(source, "'%s': a number from %g to %g expected", text, row->min,
                             row->max);
    memcpy(field, &value, sizeof value);
    return 0;
}

static int set_interval(void *field, const char *source, const char *text)
{
    struct dn_interval value;
    const char *comma = strchr(text, ',');
    char start[32];
    bool is_pair = comma != NULL && (size_t)(comma - text) < sizeof start;
    if (is_pair) {
        memcpy(start, text, (size_t)(comma - text));
        start[comma - text] = '\0';
    }
    if (!is_pair || !parse_number(&value.start, start) || !parse_number(&value.end, comma + 1) ||
        !(value.start >= 0 && value.start < value.end && value.end <= 1))
        return option_refuse(source, "'%s': START,END expected, 0 <= START < END <= 1", text);
    memcpy(field, &value, sizeof value);
    return 0;
}

static int set_seed(struct options *o, const char *source, const char *text)
{
    long long value;
    if (!parse_whole(&value, text) || value < 0 || (unsigned long long)value > DN_SEED_MAX)
        return option_refuse(source, "'%s': a whole number from 0 to %llu expected", text,
                             (unsigned long long)DN_SEED_MAX);
    o->seed = (uint64_t)value;
    o->has_seed = true;
    return 0;
}

static int refuse_sampler(const char *source, const char *text)
{
    char names[256] = "";
    for (int i = 0; i < DN_SAMPLER_COUNT; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? "|" : "",
                 dn_sampler_info((enum dn_sampler)i)->name);
    }
    char near[OPTION_HINT_BYTES];
    return option_refuse(source, "'%s': one of %s expected%s", text, names,
                         option_hint_of_list(near, text, names));
}

static int refuse_name(const char *source, const struct option_row *row, const char *text)
{
    char near[OPTION_HINT_BYTES];
    return option_refuse(source, "'%s': one of %s expected%s", text, row->value,
                         option_hint_of_list(near, text, row->value));
}

int option_set(struct options *o, const char *source, const struct option_row *row,
               const char *text)
{
    static_assert(sizeof(enum dn_isa) == sizeof(int), "names are stored as int");
    static_assert(sizeof(enum dn_precision) == sizeof(int), "names are stored as int");
    static_assert(sizeof(enum log_format) == sizeof(int), "names are stored as int");
    void *field = (char *)o + row->offset;
    if (text[0] == '\0')
        return option_refuse(source, "empty");
    switch (row->type) {
    case OPTION_LISTEN: {
        int code = check_listen(source, text);
        if (code != 0)
            return code;
        memcpy(field, &text, sizeof text);
        return 0;
    }
    case OPTION_ORIGINS:
        if (!cors_list_is_valid(text))
            return option_refuse(source, "'%s': * or a list of scheme://host[:port] expected",
                                 text);
        memcpy(field, &text, sizeof text);
        return 0;
    case OPTION_HOSTS:
        if (!allowed_hosts_are_valid(text))
            return option_refuse(
                source, "'%s': * or a list of hosts without ports and of *.SUFFIX expected", text);
        memcpy(field, &text, sizeof text);
        return 0;
    case OPTION_ALIASES:
        if (!model_aliases_are_valid(text))
            return option_refuse(
                source, "'%s': NAME=MODEL[,NAME=MODEL...] expected, in a name " DN_MODEL_NAME_RULE,
                text);
        memcpy(field, &text, sizeof text);
        return 0;
    case OPTION_PROXIES: {
        struct proxies proxies;
        if (proxies_parse(&proxies, text) != 0)
            return option_refuse(source,
                                 "'%s': at most %d of ADDRESS, ADDRESS/BITS and unix expected",
                                 text, PROXIES_MAX);
        memcpy(field, &text, sizeof text);
        return 0;
    }
    case OPTION_SAMPLER:
        if (dn_sampler_by_name(text) < 0)
            return refuse_sampler(source, text);
        memcpy(field, &text, sizeof text);
        return 0;
    case OPTION_TEXT:
        memcpy(field, &text, sizeof text);
        return 0;
    case OPTION_MODELS:
        return source[0] == '-' ? add_model(o, source, row, text)
                                : add_models(o, source, row, text);
    case OPTION_INT:
        return set_int(field, source, row, text);
    case OPTION_SEED:
        return set_seed(o, source, text);
    case OPTION_NUMBER:
        return set_number(field, source, row, text);
    case OPTION_INTERVAL:
        return set_interval(field, source, text);
    case OPTION_NAME: {
        int value = row->by_name(text);
        if (value < 0)
            return refuse_name(source, row, text);
        memcpy(field, &value, sizeof value);
        return 0;
    }
    case OPTION_ON_OFF: {
        bool value;
        if (!parse_on_off(&value, text))
            return option_refuse(source, "'%s': on or off expected", text);
        memcpy(field, &value, sizeof value);
        return 0;
    }
    }
    assert(false && "every type is handled");
    return 2;
}
