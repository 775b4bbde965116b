/*
 * Preloaded into a daemon under test, to bring about what no request can:
 *
 *     HOLD_MODELS=PIPE  a model is not opened before a byte can be read from PIPE, a named one
 *     HOLD_UNLINK=PIPE  nor is a file removed
 *     HOLD_DIGIT=PIPE   nor a digit drawn to its end: its worker hangs
 *     NO_SEEDS=1        the system has no random numbers when a seed is to be drawn
 *     EARLY_SIGNAL=N    the process gets signal N while its libraries initialise
 *
 * Without these variables it changes nothing, and nothing waits for a pipe that is not there.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

typedef int open_function(const char *path, int flags, ...);
typedef int unlink_function(const char *path);
typedef void update_function(void *context, size_t bytes, const uint8_t *data);
typedef ssize_t getrandom_function(void *out, size_t bytes, unsigned flags);

static int has_suffix(const char *path, const char *suffix)
{
    size_t bytes = strlen(path), suffix_bytes = strlen(suffix);
    return bytes >= suffix_bytes && strcmp(path + bytes - suffix_bytes, suffix) == 0;
}

/* Wait for a byte from the pipe that the variable names, if it is set; with calls that the seccomp
 * filter lets through. */
static void hold(const char *variable)
{
    open_function *next = (open_function *)(uintptr_t)dlsym(RTLD_NEXT, "open");
    const char *path = getenv(variable);
    if (path) {
        char byte;
        int fd = next(path, O_RDONLY);
        if (fd < 0 && errno == ENOENT) {
            return;
        }
        if (fd < 0 || read(fd, &byte, 1) != 1) {
            abort();
        }
        close(fd);
    }
}

EXPORTED int open(const char *path, int flags, ...)
{
    open_function *next = (open_function *)(uintptr_t)dlsym(RTLD_NEXT, "open");
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (has_suffix(path, ".safetensors")) {
        hold("HOLD_MODELS");
    }
    return next(path, flags, mode);
}

EXPORTED int unlink(const char *path)
{
    unlink_function *next = (unlink_function *)(uintptr_t)dlsym(RTLD_NEXT, "unlink");
    hold("HOLD_UNLINK");
    return next(path);
}

/* The pixels of a digit are the one thing of so many bytes that has a digest. */
EXPORTED void nettle_sha256_update(void *context, size_t bytes, const uint8_t *data)
{
    update_function *next = (update_function *)(uintptr_t)dlsym(RTLD_NEXT, "nettle_sha256_update");
    if (bytes == 28 * 28) {
        hold("HOLD_DIGIT");
    }
    next(context, bytes, data);
}

/* A seed is the one thing of 8 bytes that is asked for without a traceparent. */
EXPORTED ssize_t getrandom(void *out, size_t bytes, unsigned flags)
{
    getrandom_function *next = (getrandom_function *)(uintptr_t)dlsym(RTLD_NEXT, "getrandom");
    if (bytes == sizeof(uint64_t) && getenv("NO_SEEDS")) {
        errno = EIO;
        return -1;
    }
    return next(out, bytes, flags);
}

__attribute__((constructor)) static void send_early_signal(void)
{
    const char *number = getenv("EARLY_SIGNAL");
    if (number) {
        kill(getpid(), atoi(number));
    }
}
