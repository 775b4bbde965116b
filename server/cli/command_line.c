#include "server/cli/command_line.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/cli/option_table.h"
#include "server/clients/proxies.h"
#include "server/http/cors.h"
#include "server/http/origin.h"
#include "server/models/models.h"

#define MAX_ROWS 64
#define PREFIX "DENOISED_"
#define SHIPPED_FOLDER_BYTES 2000

extern char **environ;

/* One parse. `source` is what an error names: "--steps" or "DENOISED_STEPS". */
struct parser {
    struct options *o;
    bool from_flag[MAX_ROWS], is_set[MAX_ROWS];
};

__attribute__((format(printf, 2, 3))) static int refuse(const char *source, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "denoised: %s: %s\n", source, text);
    return 2;
}

/* ---- values --------------------------------------------------------------------------------- */

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
            return refuse(source, "'%s': a path of 1 to %zu bytes expected after unix:", text,
                          most);
        return 0;
    }
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text)
        return refuse(source, "'%s': HOST:PORT or unix:PATH expected", text);
    size_t host_bytes = (size_t)(colon - text);
    bool has_brackets = host_bytes > 2 && text[0] == '[' && colon[-1] == ']';
    if (!has_brackets && strcspn(text, "[]:") < host_bytes)
        return refuse(source, "'%s': an IPv6 address stands in brackets, [ADDRESS]:PORT", text);
    long long port;
    if (!parse_whole(&port, colon + 1) || port < 0 || port > 65535)
        return refuse(source, "'%s': a port from 0 to 65535 expected after the colon", text);
    return 0;
}

static int add_model(struct options *o, const char *source, const struct option_row *row,
                     const char *path)
{
    if (o->n_models == (int)row->max)
        return refuse(source, "at most %d model%s here", (int)row->max, row->max > 1 ? "s" : "");
    o->models[o->n_models++] = path;
    return 0;
}

/* DENOISED_MODEL holds several files with a colon between them. */
static int add_models(struct parser *p, const char *source, const struct option_row *row,
                      const char *list)
{
    char *text = p->o->model_text;
    if (strlen(list) >= sizeof p->o->model_text)
        return refuse(source, "longer than %zu bytes", sizeof p->o->model_text - 1);
    strcpy(text, list);
    for (char *rest = text, *path; (path = strsep(&rest, ":")) != NULL;) {
        if (path[0] == '\0')
            return refuse(source, "'%s': an empty file name", list);
        int code = add_model(p->o, source, row, path);
        if (code != 0)
            return code;
    }
    return 0;
}

static int set_int(void *field, const char *source, const struct option_row *row, const char *text)
{
    long long value;
    if (!parse_whole(&value, text) || value < (long long)row->min || value > (long long)row->max)
        return refuse(source, "'%s': a whole number from %lld to %lld expected", text,
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
        return refuse(source, "'%s': a number from %g to %g expected", text, row->min, row->max);
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
        return refuse(source, "'%s': START,END expected, 0 <= START < END <= 1", text);
    memcpy(field, &value, sizeof value);
    return 0;
}

static int set_seed(struct options *o, const char *source, const char *text)
{
    long long value;
    if (!parse_whole(&value, text) || value < 0 || (unsigned long long)value > DN_SEED_MAX)
        return refuse(source, "'%s': a whole number from 0 to %llu expected", text,
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
    return refuse(source, "'%s': one of %s expected", text, names);
}

/* Give row's field the value that `text` says. */
static int set_field(struct parser *p, const char *source, const struct option_row *row,
                     const char *text)
{
    static_assert(sizeof(enum dn_isa) == sizeof(int), "names are stored as int");
    static_assert(sizeof(enum dn_precision) == sizeof(int), "names are stored as int");
    static_assert(sizeof(enum log_format) == sizeof(int), "names are stored as int");
    void *field = (char *)p->o + row->offset;
    if (text[0] == '\0')
        return refuse(source, "empty");
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
            return refuse(source, "'%s': * or a list of scheme://host[:port] expected", text);
        memcpy(field, &text, sizeof text);
        return 0;
    case OPTION_HOSTS:
        if (!allowed_hosts_are_valid(text))
            return refuse(
                source, "'%s': * or a list of hosts without ports and of *.SUFFIX expected", text);
        memcpy(field, &text, sizeof text);
        return 0;
    case OPTION_ALIASES:
        if (!model_aliases_are_valid(text))
            return refuse(source, "'%s': NAME=MODEL[,NAME=MODEL...] expected", text);
        memcpy(field, &text, sizeof text);
        return 0;
    case OPTION_PROXIES: {
        struct proxies proxies;
        if (proxies_parse(&proxies, text) != 0)
            return refuse(source, "'%s': at most %d of ADDRESS, ADDRESS/BITS and unix expected",
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
        return source[0] == '-' ? add_model(p->o, source, row, text)
                                : add_models(p, source, row, text);
    case OPTION_INT:
        return set_int(field, source, row, text);
    case OPTION_SEED:
        return set_seed(p->o, source, text);
    case OPTION_NUMBER:
        return set_number(field, source, row, text);
    case OPTION_INTERVAL:
        return set_interval(field, source, text);
    case OPTION_NAME: {
        int value = row->by_name(text);
        if (value < 0)
            return refuse(source, "'%s': one of %s expected", text, row->value);
        memcpy(field, &value, sizeof value);
        return 0;
    }
    case OPTION_ON_OFF:
    case OPTION_SWITCH: {
        bool value;
        if (!parse_on_off(&value, text))
            return refuse(source, "'%s': on or off expected", text);
        memcpy(field, &value, sizeof value);
        return 0;
    }
    }
    assert(false && "every type is handled");
    return 2;
}

/* ---- command line --------------------------------------------------------------------------- */

static bool is_flag(const char *text)
{
    if (strncmp(text, "--", 2) == 0)
        return true;
    if (text[0] != '-' || text[1] == '\0' || text[2] != '\0')
        return false;
    for (size_t i = 0; i < option_table_rows; i++)
        if (option_table[i].letter == text[1])
            return true;
    return text[1] == 'h';
}

/* The row of a flag, of `command` if it has one of that name, else of another; -1 when none has. */
static int find_flag(const char *name, size_t length, enum command command)
{
    int found = -1;
    for (size_t i = 0; i < option_table_rows; i++) {
        const struct option_row *row = &option_table[i];
        bool is_long = length > 2 && strncmp(name, "--", 2) == 0 &&
                       strlen(row->name) == length - 2 &&
                       memcmp(row->name, name + 2, length - 2) == 0;
        bool is_letter =
            length == 2 && row->letter != 0 && name[0] == '-' && name[1] == row->letter;
        if (!is_long && !is_letter)
            continue;
        found = (int)i;
        if ((row->commands & (1u << command)) != 0)
            break;
    }
    return found;
}

/* Take the flag at argv[*at] and its value. */
static int take_flag(struct parser *p, int argc, char **argv, int *at)
{
    enum command command = p->o->command;
    const char *text = argv[(*at)++], *value = NULL;
    size_t length = strcspn(text, "=");
    if (text[length] == '=')
        value = text + length + 1;
    char source[80];
    snprintf(source, sizeof source, "%.*s", (int)(length < 79 ? length : 79), text);

    int found = find_flag(text, length, command);
    if (found < 0)
        return refuse(source, "no such flag; see denoised %s --help", option_command_name(command));
    const struct option_row *row = &option_table[found];
    if ((row->commands & (1u << command)) == 0)
        return refuse(source, "not a flag of denoised %s; see denoised %s --help",
                      option_command_name(command), option_command_name(command));
    if (p->from_flag[found] && row->type != OPTION_MODELS)
        return refuse(source, "given twice");
    if (row->type == OPTION_SWITCH) {
        if (value != NULL)
            return refuse(source, "takes no value");
        value = "on";
    } else if (value == NULL) {
        if (*at == argc || is_flag(argv[*at]))
            return refuse(source, "a value is missing: %s", row->value);
        value = argv[(*at)++];
    }
    p->from_flag[found] = p->is_set[found] = true;
    return set_field(p, source, row, value);
}

static int take_command_line(struct parser *p, int argc, char **argv)
{
    int at = 1;
    bool has_command = argc > 1 && argv[1][0] != '-';
    if (has_command) {
        enum command command = COMMAND_SERVE;
        while (command <= COMMAND_HEALTH && strcmp(argv[1], option_command_name(command)) != 0)
            command++;
        if (command > COMMAND_HEALTH)
            return refuse(argv[1],
                          "no such command: serve, sample, bench, info or health expected");
        p->o->command = command;
        at = 2;
    }
    while (at < argc) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            option_print_help(has_command ? (int)p->o->command : -1);
            return -1;
        }
        if (strcmp(argv[at], "--version") == 0) {
            option_print_version();
            return -1;
        }
        if (argv[at][0] != '-')
            return refuse(argv[at], "a flag expected here");
        int code = take_flag(p, argc, argv, &at);
        if (code != 0)
            return code;
    }
    return 0;
}

/* ---- environment ---------------------------------------------------------------------------- */

/* Kubernetes tells every pod of each Service, so a Service called denoised gives it
 * DENOISED_SERVICE_HOST, DENOISED_SERVICE_PORT_HTTP, DENOISED_PORT, DENOISED_PORT_8080_TCP_ADDR. */
static bool is_from_kubernetes(const char *name)
{
    if (strstr(name, "_SERVICE_HOST") != NULL || strstr(name, "_SERVICE_PORT") != NULL)
        return true;
    const char *port = strstr(name, "_PORT");
    return port != NULL &&
           (port[5] == '\0' || (port[5] == '_' && port[6] >= '0' && port[6] <= '9'));
}

static bool is_of_tools(const char *name)
{
    static const char *const names[] = {"DENOISED_CACHE", "DENOISED_BINARY", "DENOISED_OPENAPI",
                                        "DENOISED_BROWSER"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* An empty one is as good as none: there is no other way to take one back in files of variables. */
static int take_variable(struct parser *p, const char *name, const char *value)
{
    if (value[0] == '\0')
        return 0;
    bool is_known = is_of_tools(name) || is_from_kubernetes(name);
    for (size_t i = 0; i < option_table_rows; i++) {
        const struct option_row *row = &option_table[i];
        char variable[OPTION_VARIABLE_BYTES];
        option_variable(variable, row);
        if (strcmp(variable, name) != 0)
            continue;
        is_known = true;
        if ((row->commands & (1u << p->o->command)) == 0 || p->from_flag[i])
            continue;
        p->is_set[i] = true;
        int code = set_field(p, name, row, value);
        if (code != 0)
            return code;
    }
    return is_known ? 0 : refuse(name, "no such variable; see denoised --help");
}

static int take_environment(struct parser *p)
{
    for (char **entry = environ; *entry != NULL; entry++) {
        char name[128];
        size_t length = strcspn(*entry, "=");
        if (strncmp(*entry, PREFIX, strlen(PREFIX)) != 0 || (*entry)[length] != '=')
            continue;
        if (length >= sizeof name)
            return refuse("environment", "no such variable: %.100s...", *entry);
        memcpy(name, *entry, length);
        name[length] = '\0';
        int code = take_variable(p, name, *entry + length + 1);
        if (code != 0)
            return code;
    }
    return 0;
}

/* ---- defaults and what belongs together ----------------------------------------------------- */

static void take_presets(struct parser *p)
{
    for (size_t i = 0; i < option_table_rows; i++) {
        const struct option_row *row = &option_table[i];
        if (p->is_set[i] || row->preset == NULL || (row->commands & (1u << p->o->command)) == 0)
            continue;
        int code = set_field(p, row->name, row, row->preset);
        assert(code == 0 && "every default is a valid value");
        (void)code;
    }
}

/* Where the shipped models are: in the source tree that the program was built in, where it was
 * installed, or where `make install` would have put them. */
static bool find_shipped_folder(char folder[SHIPPED_FOLDER_BYTES])
{
    static const char *const near[] = {"/../models", "/../share/denoised/models"};
    char program[SHIPPED_FOLDER_BYTES - 32];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash != NULL)
        *slash = '\0';
    for (size_t i = slash != NULL ? 0 : 2; i <= 2; i++) {
        char file[SHIPPED_FOLDER_BYTES + 32];
        snprintf(folder, SHIPPED_FOLDER_BYTES, "%s%s", i < 2 ? program : DENOISED_DATADIR,
                 i < 2 ? near[i] : "/models");
        snprintf(file, sizeof file, "%s/mnist.safetensors", folder);
        if (access(file, F_OK) == 0)
            return true;
    }
    return false;
}

/* The shipped models, of which the first is always there. */
static void find_shipped_models(struct options *o)
{
    static const char *const names[] = {"mnist", "mnist-fast"};
    static_assert(sizeof o->model_text >= 2 * (SHIPPED_FOLDER_BYTES + 32), "room for all");
    char folder[SHIPPED_FOLDER_BYTES], *text = o->model_text;
    if (!find_shipped_folder(folder))
        return;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int length = sprintf(text, "%s/%s.safetensors", folder, names[i]);
        if (access(text, F_OK) == 0) {
            o->models[o->n_models++] = text;
            text += length + 1;
        }
    }
}

static int check_together(struct options *o)
{
    if (o->command == COMMAND_HEALTH) {
        bool is_tcp = strncmp(o->listen, "unix:", 5) != 0;
        return is_tcp && strtol(strrchr(o->listen, ':') + 1, NULL, 10) == 0
                   ? refuse("--listen", "'%s': the port that the daemon listens on expected",
                            o->listen)
                   : 0;
    }
    if (o->n_models == 0)
        find_shipped_models(o);
    /* Of a missing model, info has still the processor and the libraries to tell. */
    if (o->n_models == 0 && o->command != COMMAND_INFO)
        return refuse("--model", "needed: the models that come with denoised are neither in "
                                 "../models beside the program nor in " DENOISED_DATADIR "/models");
    if (o->command == COMMAND_SERVE && o->max_rows_per_request > o->max_queue_rows)
        return refuse("--max-rows-per-request", "%d is more than --max-queue-rows %d",
                      o->max_rows_per_request, o->max_queue_rows);
    if (o->command == COMMAND_SERVE && !o->api_keys_file &&
        (o->rows_per_minute || o->max_rows_in_flight || o->metrics_need_key))
        return refuse(o->rows_per_minute      ? "--rows-per-minute"
                      : o->max_rows_in_flight ? "--max-rows-in-flight"
                                              : "--metrics-need-key",
                      "is about API keys, and there is no --api-keys-file");
    if (o->command == COMMAND_SERVE && o->burst_rows && !o->rows_per_minute)
        return refuse("--burst-rows", "goes with --rows-per-minute");
    if (o->command == COMMAND_SAMPLE && o->labels == NULL)
        return refuse("--label", "needed: what to draw");
    if (o->command == COMMAND_SAMPLE && o->output == NULL)
        return refuse("--output", "needed: the file to write, -o FILE.png or -o FILE.npy");
    return 0;
}

int options_parse(struct options *o, int argc, char **argv)
{
    assert(option_table_rows <= MAX_ROWS);
    memset(o, 0, sizeof *o);
    o->guidance_scale = o->eta = -1;
    struct parser p = {.o = o};
    int code = take_command_line(&p, argc, argv);
    if (code == 0)
        code = take_environment(&p);
    if (code != 0)
        return code;
    take_presets(&p);
    return check_together(o);
}
