/*
 * Does the daemon do what it is there for? Looked at now and then: steps advance, or there was
 * nothing to step.
 *
 * Rows that were not there at the last look may have come a moment ago, to workers that were idle:
 * they are a stall only if they are still there, and nothing was stepped, at the next one. So a
 * stall is seen after one interval between looks at the least and two at the most. Loop thread
 * only.
 */
#ifndef SERVER_SYSTEM_STALL_H
#define SERVER_SYSTEM_STALL_H

#include <stdbool.h>
#include <stdint.h>

/* Zeros at first. */
struct stall {
    uint64_t steps; /* at the last look */
    bool had_rows;  /* then */
    bool is_stalled;
};

/* A look: so many steps were done since the start, and so many rows are there. Returns whether
 * `is_stalled` has changed. */
bool stall_look(struct stall *s, uint64_t steps, uint64_t rows);

#endif
