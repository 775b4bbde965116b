/*
 * Lines on their way to a descriptor whose reader may be slow, stuck or gone.
 *
 * A thread writes them from a ring of fixed size, whole lines in each call, so that those of
 * several writers to one pipe do not mix. outlet_put() never waits for the reader: a line for which
 * there is no room, or that cannot be written (a full disk, a limit on the file's size, nobody at
 * the other end), is dropped and counted. Once lines can be written again, `notice` says in their
 * place how many are missing.
 *
 * Any thread may put lines; one opens and closes. The descriptor is the caller's.
 */
#ifndef SERVER_BASE_OUTLET_H
#define SERVER_BASE_OUTLET_H

#include <stddef.h>
#include <stdint.h>

#define OUTLET_NOTICE_BYTES 256

struct outlet;

/* Write the line that tells of `n_lost` lines, at most OUTLET_NOTICE_BYTES, and return its length.
 * Called on the outlet's thread. */
typedef size_t outlet_notice_fn(const void *context, uint64_t n_lost,
                                char line[OUTLET_NOTICE_BYTES]);

/* The ring's size is a power of two. `notice` may be NULL: then nobody is told. `context` lives as
 * long as the process. Returns 0, the caller closes; or -1 without memory or a thread. */
int outlet_open(struct outlet **o, int fd, size_t ring_bytes, outlet_notice_fn *notice,
                const void *context);

/* Put a line, which ends in '\n'. */
void outlet_put(struct outlet *o, const char *line, size_t bytes);

/* Lines dropped since it was opened. */
uint64_t outlet_dropped(struct outlet *o);

/* Wait until all is written, and free it. Of a reader that takes nothing for a second, or not all
 * in five, the rest is not waited for: the process is expected to exit. NULL does nothing. */
void outlet_close(struct outlet *o);

#endif
