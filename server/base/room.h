/*
 * How much of a store that many share one of them may hold, where what was promised is never taken
 * back: the rest is kept for whoever comes next.
 */
#ifndef SERVER_BASE_ROOM_H
#define SERVER_BASE_ROOM_H

#include <stdbool.h>
#include <stdint.h>

/* Of `max`, `used` is taken, `held` of it by who wants `more`. There is room where it fits, and
 * then holds at most half of what the others leave; who holds nothing needs only that it fits, so
 * that nothing is too large for ever. With k who hold all they can, 1 / (k + 1) stays free. */
static inline bool room_for_part(uint64_t max, uint64_t used, uint64_t held, uint64_t more)
{
    return used <= max && more <= max - used &&
           (held == 0 || held + more <= (max - (used - held)) / 2);
}

#endif
