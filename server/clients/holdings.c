#include "server/clients/holdings.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct holding *holdings_take(struct holdings *all, const char *name)
{
    struct holding *h;
    LIST_FOREACH(h, all, link)
    {
        if (strcmp(h->name, name) == 0) {
            h->references++;
            return h;
        }
    }
    h = calloc(1, sizeof *h);
    if (h) {
        memcpy(h->name, name, strlen(name) + 1);
        h->references = 1;
        LIST_INSERT_HEAD(all, h, link);
    }
    return h;
}

void holding_drop(struct holding *h)
{
    if (h && --h->references == 0) {
        LIST_REMOVE(h, link);
        free(h);
    }
}

static uint64_t measure(const struct holding *h, enum holding_measure by)
{
    return by == HOLDING_BYTES ? h->bytes : by == HOLDING_THINGS ? h->n : h->n_expired;
}

struct holding *holdings_most(const struct holdings *all, enum holding_measure by,
                              const struct holding *newcomer, uint64_t more)
{
    struct holding *h, *most = NULL;
    uint64_t most_has = 0;
    LIST_FOREACH(h, all, link)
    {
        uint64_t has = measure(h, by) + (h == newcomer ? more : 0);
        bool may_lose = by == HOLDING_EXPIRED ? h->n_expired > 0 : h->n_spare > 0;
        if (may_lose && (!most || has > most_has || (has == most_has && h == newcomer))) {
            most = h;
            most_has = has;
        }
    }
    return most;
}
