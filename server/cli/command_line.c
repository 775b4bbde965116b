#include "server/cli/command_line.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/cli/option_table.h"
#include "server/cli/option_values.h"
#include "server/cli/suggest.h"

#define MAX_ROWS 64
#define PREFIX "DENOISED_"
#define SHIPPED_FOLDER_BYTES 2000

extern char **environ;

/* One parse. `source` is what an error names: "--steps" or "DENOISED_STEPS". */
struct parser {
    struct options *o;
    bool from_flag[MAX_ROWS], is_set[MAX_ROWS];
};

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

/* May the flag stand without a value, for on, and with "no-" in front, for off? */
static bool is_switch(const struct option_row *row)
{
    return row->value != NULL && strncmp(row->value, "on|off", 6) == 0;
}

static int refuse_flag(const char *source, enum command command)
{
    char flags[MAX_ROWS][OPTION_VARIABLE_BYTES], near[OPTION_HINT_BYTES];
    struct suggestion nearest = {.word = NULL};
    for (size_t i = 0; i < option_table_rows; i++) {
        if ((option_table[i].commands & (1u << command)) == 0)
            continue;
        snprintf(flags[i], sizeof flags[i], "--%s", option_table[i].name);
        suggest(&nearest, source, flags[i]);
    }
    const char *name = option_command_name(command);
    return option_refuse(source, "no such flag%s; see denoised %s --help",
                         option_hint(near, &nearest), name);
}

/* Take the flag at argv[*at] and its value. */
static int take_flag(struct parser *p, int argc, char **argv, int *at)
{
    enum command command = p->o->command;
    const char *text = argv[(*at)++], *value = NULL;
    size_t length = strcspn(text, "=");
    if (text[length] == '=')
        value = text + length + 1;
    if (text[0] == '-' && length > 2 && text[1] != '-' && find_flag(text, 2, command) >= 0) {
        length = 2; /* -n4 */
        value = text + length;
    }
    char source[80];
    snprintf(source, sizeof source, "%.*s", (int)(length < 79 ? length : 79), text);

    int found = find_flag(text, length, command);
    bool is_off = found < 0 && strncmp(source, "--no-", 5) == 0;
    if (is_off) {
        char positive[sizeof source];
        snprintf(positive, sizeof positive, "--%s", source + 5);
        found = find_flag(positive, strlen(positive), command);
        is_off = found >= 0 && is_switch(&option_table[found]);
        found = is_off ? found : -1;
    }
    if (found < 0)
        return refuse_flag(source, command);
    const struct option_row *row = &option_table[found];
    if ((row->commands & (1u << command)) == 0)
        return option_refuse(source, "not a flag of denoised %s; see denoised %s --help",
                             option_command_name(command), option_command_name(command));
    if (p->from_flag[found] && row->type != OPTION_MODELS)
        return option_refuse(source, "given twice");
    if (is_off && value != NULL)
        return option_refuse(source, "takes no value");
    bool has_next = *at < argc && !is_flag(argv[*at]);
    if (is_off)
        value = "off";
    else if (value == NULL && has_next)
        value = argv[(*at)++];
    else if (value == NULL && is_switch(row))
        value = "on";
    else if (value == NULL)
        return option_refuse(source, "a value is missing: %s", row->value);
    p->from_flag[found] = p->is_set[found] = true;
    return option_set(p->o, source, row, value);
}

/* The command of that name, or COMMAND_HEALTH + 1. */
static int find_command(const char *name)
{
    int command = COMMAND_SERVE;
    while (command <= COMMAND_HEALTH &&
           strcmp(name, option_command_name((enum command)command)) != 0)
        command++;
    return command;
}

static int refuse_command(const char *name)
{
    char near[OPTION_HINT_BYTES];
    return option_refuse(name,
                         "no such command: serve, sample, bench, info, health or help expected%s",
                         option_hint_of_list(near, name, "serve|sample|bench|info|health|help"));
}

/* denoised help [COMMAND] */
static int take_help(int argc, char **argv)
{
    int command = argc > 2 ? find_command(argv[2]) : -1;
    if (command > COMMAND_HEALTH)
        return refuse_command(argv[2]);
    if (argc > 3)
        return option_refuse(argv[3], "one command expected after help");
    if (command < 0)
        option_print_short_help(command);
    else
        option_print_help(command);
    return -1;
}

static int take_command_line(struct parser *p, int argc, char **argv)
{
    int at = 1;
    bool has_command = argc > 1 && argv[1][0] != '-';
    if (has_command && strcmp(argv[1], "help") == 0)
        return take_help(argc, argv);
    if (has_command) {
        int command = find_command(argv[1]);
        if (command > COMMAND_HEALTH)
            return refuse_command(argv[1]);
        p->o->command = (enum command)command;
        at = 2;
    }
    while (at < argc) {
        int helped = has_command ? (int)p->o->command : -1;
        if (strcmp(argv[at], "--help") == 0) {
            option_print_help(helped);
            return -1;
        }
        if (strcmp(argv[at], "-h") == 0) {
            option_print_short_help(helped);
            return -1;
        }
        if (strcmp(argv[at], "--version") == 0) {
            option_print_version();
            return -1;
        }
        if (argv[at][0] != '-')
            return option_refuse(argv[at], find_command(argv[at]) <= COMMAND_HEALTH
                                               ? "a flag expected here; the command comes first"
                                               : "a flag expected here");
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
    char variables[MAX_ROWS][OPTION_VARIABLE_BYTES], near[OPTION_HINT_BYTES];
    struct suggestion nearest = {.word = NULL};
    for (size_t i = 0; i < option_table_rows; i++) {
        const struct option_row *row = &option_table[i];
        option_variable(variables[i], row);
        suggest(&nearest, name, variables[i]);
        if (strcmp(variables[i], name) != 0)
            continue;
        is_known = true;
        if ((row->commands & (1u << p->o->command)) == 0 || p->from_flag[i])
            continue;
        p->is_set[i] = true;
        int code = option_set(p->o, name, row, value);
        if (code != 0)
            return code;
    }
    return is_known ? 0
                    : option_refuse(name, "no such variable%s; see denoised --help",
                                    option_hint(near, &nearest));
}

static int take_environment(struct parser *p)
{
    for (char **entry = environ; *entry != NULL; entry++) {
        char name[128];
        size_t length = strcspn(*entry, "=");
        if (strncmp(*entry, PREFIX, strlen(PREFIX)) != 0 || (*entry)[length] != '=')
            continue;
        if (length >= sizeof name)
            return option_refuse("environment", "no such variable: %.100s...", *entry);
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
        int code = option_set(p->o, row->name, row, row->preset);
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

static bool is_given(const struct parser *p, const char *name)
{
    for (size_t i = 0; i < option_table_rows; i++)
        if (p->is_set[i] && strcmp(option_table[i].name, name) == 0)
            return true;
    return false;
}

/* A default gives way to what it does not fit with: nobody asked for it. */
static void adapt_defaults(struct parser *p)
{
    struct options *o = p->o;
    if (o->command != COMMAND_SERVE || o->max_rows_per_request <= o->max_queue_rows)
        return;
    if (!is_given(p, "max-rows-per-request"))
        o->max_rows_per_request = o->max_queue_rows;
    else if (!is_given(p, "max-queue-rows"))
        o->max_queue_rows = o->max_rows_per_request;
}

static int check_together(struct options *o)
{
    if (o->command == COMMAND_HEALTH) {
        bool is_tcp = strncmp(o->listen, "unix:", 5) != 0;
        return is_tcp && strtol(strrchr(o->listen, ':') + 1, NULL, 10) == 0
                   ? option_refuse("--listen", "'%s': the port that the daemon listens on expected",
                                   o->listen)
                   : 0;
    }
    if (o->n_models == 0)
        find_shipped_models(o);
    /* Of a missing model, info has still the processor and the libraries to tell. */
    if (o->n_models == 0 && o->command != COMMAND_INFO)
        return option_refuse("--model",
                             "needed: the models that come with denoised are neither in "
                             "../models beside the program nor in " DENOISED_DATADIR "/models");
    if (o->command == COMMAND_SERVE && o->max_rows_per_request > o->max_queue_rows)
        return option_refuse("--max-rows-per-request", "%d is more than --max-queue-rows %d",
                             o->max_rows_per_request, o->max_queue_rows);
    if (o->command == COMMAND_SERVE && !o->api_keys_file &&
        (o->rows_per_minute || o->max_rows_in_flight || o->metrics_need_key))
        return option_refuse(o->rows_per_minute      ? "--rows-per-minute"
                             : o->max_rows_in_flight ? "--max-rows-in-flight"
                                                     : "--metrics-need-key",
                             "is about API keys, and there is no --api-keys-file");
    if (o->command == COMMAND_SERVE && o->burst_rows && !o->rows_per_minute)
        return option_refuse("--burst-rows", "goes with --rows-per-minute");
    if (o->command == COMMAND_SAMPLE && o->labels == NULL)
        return option_refuse("--label", "needed: what to draw");
    if (o->command == COMMAND_SAMPLE && o->output == NULL)
        return option_refuse("--output", "needed: the file to write, -o FILE.png or -o FILE.npy");
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
    adapt_defaults(&p);
    return check_together(o);
}
