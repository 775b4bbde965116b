/* Fuzz target: the command line and the environment. A line of the input that begins with DENOISED_
 * is a variable, any other an argument. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/cli/command_line.h"
#include "tests/fuzz/fuzz.h"

#define MAX_LINES 64

static void check_options(const struct options *o)
{
    fuzz_check(o->n_models >= 0 && o->n_models <= OPTIONS_MAX_MODELS, "models");
    if (o->command == COMMAND_SERVE) {
        fuzz_check(o->listen && o->n_models > 0, "what a daemon needs");
        fuzz_check(o->workers >= 0 && o->max_batch >= 2 && o->max_connections >= 1, "sizes");
        fuzz_check(o->max_rows_per_request <= o->max_queue_rows, "a request fits the queue");
        fuzz_check((uint32_t)o->max_frames_bytes >= PARAMS_MAX_PIXEL_BYTES, "a film has room");
    } else if (o->command == COMMAND_SAMPLE) {
        fuzz_check(o->labels && o->output && o->n >= 1 && o->seed <= DN_SEED_MAX, "a sample");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char program[] = "denoised";
    static FILE *nowhere;
    nowhere = nowhere ? nowhere : fopen("/dev/null", "w");
    fuzz_check(nowhere != NULL, "there is /dev/null");
    char *arguments[MAX_LINES + 2] = {program}, *variables[MAX_LINES + 1] = {NULL};
    int n_arguments = 1, n_variables = 0;
    char *text = fuzz_text(data, size), *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) && n_arguments + n_variables <= MAX_LINES;) {
        if (strncmp(line, "DENOISED_", 9) == 0) {
            variables[n_variables++] = line;
        } else if (*line || rest) {
            arguments[n_arguments++] = line;
        }
    }
    struct options o;
    char **environment = environ;
    FILE *out = stdout, *err = stderr;
    environ = variables;
    stdout = stderr = nowhere; /* it says what is wrong, and --help is long */
    int rc = options_parse(&o, n_arguments, arguments);
    stdout = out;
    stderr = err;
    environ = environment;
    fuzz_check(rc == 0 || rc == -1 || rc == 2, "a verdict");
    if (rc == 0) {
        check_options(&o);
    }
    free(text);
    return 0;
}
