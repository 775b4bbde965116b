/*
 * The program: set OpenBLAS right, read the options, run the command.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/denoise.h"
#include "server/cli/command_line.h"
#include "server/cli/commands.h"

/* Set while the program executes itself again, to the core type that OpenBLAS had chosen or "-"
 * where it had chosen well. */
#define AGAIN "_DENOISED_AGAIN"

/*
 * OpenBLAS reads its environment before main(): a wrong core type (see dn_blas_better_core) and its
 * pool of threads, which nothing here uses, can only be changed by executing the program again.
 * What the user has set stays. Returns the core type that was corrected, or NULL.
 */
static const char *correct_blas(char **argv)
{
    const char *was = getenv(AGAIN);
    if (was != NULL)
        return was[0] != '-' ? was : NULL;
    const char *better = getenv("OPENBLAS_CORETYPE") == NULL ? dn_blas_better_core() : NULL;
    if (better == NULL && getenv("OPENBLAS_NUM_THREADS") != NULL)
        return NULL;
    if (setenv(AGAIN, better != NULL ? dn_blas_core() : "-", 1) == 0 &&
        (better == NULL || setenv("OPENBLAS_CORETYPE", better, 1) == 0) &&
        setenv("OPENBLAS_NUM_THREADS", "1", 0) == 0)
        execv("/proc/self/exe", argv);
    /* Without /proc or memory it runs all the same, only slower; `denoised info` tells. */
    unsetenv(AGAIN);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct options o; /* models may point into it, so it must not move */
    static int (*const commands[])(const struct options *) = {
        [COMMAND_SERVE] = cmd_serve, [COMMAND_SAMPLE] = cmd_sample, [COMMAND_BENCH] = cmd_bench,
        [COMMAND_INFO] = cmd_info,   [COMMAND_HEALTH] = cmd_health,
    };
    const char *blas_core_was = correct_blas(argv);
    int code = options_parse(&o, argc, argv);
    if (code == 0) {
        o.blas_core_was = blas_core_was;
        code = commands[o.command](&o);
    }
    if (fflush(stdout) != 0 && code <= 0) {
        perror("denoised: standard output");
        code = 1;
    }
    return code < 0 ? 0 : code;
}
