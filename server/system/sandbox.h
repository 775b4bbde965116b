/*
 * The system calls that a serving daemon needs, and a seccomp filter that lets no other through.
 *
 * After sandbox_enter() the process, with all threads that it will ever have, can neither run a
 * program nor fork, open a file for writing, make a socket or connect one, map memory to execute,
 * or trace or signal others. A call that is not on the list fails with EPERM; one that is newer
 * than the list with ENOSYS, so that a newer C library falls back on what is.
 */
#ifndef SERVER_SYSTEM_SANDBOX_H
#define SERVER_SYSTEM_SANDBOX_H

#include <stdbool.h>

/* For good. `may_unlink`: a Unix socket is to be removed at the end. Returns 0 or a negative errno:
 * -ENOSYS where this is not built for the processor or goes against the build's sanitizer. */
int sandbox_enter(bool may_unlink);

#endif
