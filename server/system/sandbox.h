/*
 * The system calls that a serving daemon needs, and a seccomp filter that lets no other through.
 *
 * After sandbox_enter() the process, with all threads that it will ever have, can neither run a
 * program nor fork, open a file for writing, make a socket or connect one, map memory to execute,
 * or trace or signal others. A call that is not on the list fails with EPERM, or ends the process;
 * one that is newer than the list fails with ENOSYS, so that a newer C library falls back on what
 * is.
 */
#ifndef SERVER_SYSTEM_SANDBOX_H
#define SERVER_SYSTEM_SANDBOX_H

#include <stdbool.h>

/* For good, and before the first event loop is made: no io_uring, by which the kernel would do what
 * the filter never sees. libuv from 1.45 on makes rings for each loop, whatever its environment
 * says, and takes epoll alone where it gets none. Returns as sandbox_enter(). */
int sandbox_refuse_rings(void);

/* For good. `may_unlink`: a Unix socket is to be removed at the end. `may_kill`: a call that is not
 * on the list ends the process, by SIGSYS. Returns 0 or a negative errno: -ENOSYS where this is not
 * built for the processor or goes against the build's sanitizer. */
int sandbox_enter(bool may_unlink, bool may_kill);

#endif
