/*
 * Where the daemon is in its life. Its parts read it, and tell when something of theirs has ended,
 * which may be what the end of it all waits for. Loop thread only.
 *
 *     LOADING --> READY --> LEAVING --> DRAINING --> STOPPING
 *        |                                 ^            ^
 *        +---------------------------------+            |  a second signal, or the drain's time is
 *        +----------------------------------------------+  up: what still runs is canceled
 *
 * One that is LEAVING does all that it did, but says that it is not ready, and closes each
 * connection with its next answer.
 */
#ifndef SERVER_BASE_LIFE_H
#define SERVER_BASE_LIFE_H

#include <stdbool.h>

enum life_state { LIFE_LOADING, LIFE_READY, LIFE_LEAVING, LIFE_DRAINING, LIFE_STOPPING };

struct life {
    enum life_state state;
    /* One whose socket is others' as well accepts nothing more when it drains. Who is connected has
     * nobody else to ask, and could not know: each of them is served once more. */
    bool works_while_draining;
    void (*ended)(struct life *life);
};

/* Is new work taken? */
static inline bool life_takes_work(const struct life *life)
{
    return life->state < LIFE_DRAINING ||
           (life->state == LIFE_DRAINING && life->works_while_draining);
}

/* Something ended: see whether a daemon that is going down has nothing left to do. */
static inline void life_tell_end(struct life *life)
{
    life->ended(life);
}

#endif
