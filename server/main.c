/*
 * The program: set the process right, read the options, run the command.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/denoise.h"
#include "server/cli/command_line.h"
#include "server/cli/commands.h"

/* Set while the program executes itself again, to the core type that OpenBLAS had chosen or "-"
 * where it had chosen well. */
#define AGAIN "_DENOISED_AGAIN"

/*
 * A daemon that starts must not die of a SIGHUP, and the kernel drops what the first process of a
 * container has no handler for. So the signals that serve handles are held back from the beginning,
 * before libraries initialise and start threads, until it has its handlers; others take them as
 * soon as the command is known. The mask survives the second execution.
 */
static void mask_signals(int how)
{
    const uint64_t watched =
        UINT64_C(1) << (SIGTERM - 1) | UINT64_C(1) << (SIGINT - 1) | UINT64_C(1) << (SIGHUP - 1);
    syscall(SYS_rt_sigprocmask, how, &watched, NULL, sizeof watched);
}

static void hold_signals_back(void)
{
    mask_signals(SIG_BLOCK);
}

__attribute__((used,
               section(".preinit_array"))) static void (*const first)(void) = hold_signals_back;

/*
 * Whoever opened the next file would get the number of a standard descriptor that is closed, and
 * what is printed would go there. What takes the place of one cannot be used either, so that a
 * command whose output goes nowhere fails.
 */
static void fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            open("/", O_PATH);
    }
}

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
    prctl(PR_SET_NAME, "denoised"); /* "exe" after the second execution */
    fill_standard_descriptors();
    signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit fails like one to a full disk */
    const char *blas_core_was = correct_blas(argv);
    int code = options_parse(&o, argc, argv);
    if (code == 0) {
        o.blas_core_was = blas_core_was;
        if (o.command != COMMAND_SERVE)
            mask_signals(SIG_UNBLOCK);
        code = commands[o.command](&o);
    }
    bool is_written = fflush(stdout) == 0 && !ferror(stdout);
    if (!is_written && code <= 0) {
        perror("denoised: standard output");
        code = 1;
    }
    return code < 0 ? 0 : code;
}
