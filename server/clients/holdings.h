/*
 * What each client has in a store that all share, so that room is made at the cost of who has most.
 *
 * A holding belongs to the things that refer to it, and goes with the last one. There are as many
 * as there are clients with something in the store. Loop thread only.
 */
#ifndef SERVER_CLIENTS_HOLDINGS_H
#define SERVER_CLIENTS_HOLDINGS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "api/keyring.h"

struct holding {
    char name[KEYRING_NAME_BYTES]; /* of the client; "" where clients have none */
    size_t references;
    size_t n; /* things, and their bytes */
    uint64_t bytes;
    size_t n_spare; /* of them those that may go, and their bytes */
    uint64_t spare_bytes;
    size_t n_expired;     /* that are remembered, and not among the things */
    uint64_t next_number; /* of a thing */
    LIST_ENTRY(holding) link;
};

LIST_HEAD(holdings, holding);

/* The client's, which is made where it has none, with a reference to it; NULL without memory. */
struct holding *holdings_take(struct holdings *all, const char *name);
void holding_drop(struct holding *h); /* NULL allowed */

enum holding_measure { HOLDING_THINGS, HOLDING_BYTES, HOLDING_EXPIRED };

/* Who has most of those who have something that may go, `more` counted as well for `newcomer`,
 * NULL allowed, who comes first of equals. NULL where nobody has. */
struct holding *holdings_most(const struct holdings *all, enum holding_measure by,
                              const struct holding *newcomer, uint64_t more);

#endif
