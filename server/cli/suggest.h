/*
 * What somebody may have meant: the nearest of several words. Any thread.
 */
#ifndef SERVER_CLI_SUGGEST_H
#define SERVER_CLI_SUGGEST_H

#include <stddef.h>

struct suggestion {
    const char *word; /* borrowed; NULL: nothing is near */
    size_t distance;
};

/* Take `word` if it is nearer to `typed` than what there is, and near at all: it begins so, or a
 * third of its letters or fewer are wrong. */
void suggest(struct suggestion *s, const char *typed, const char *word);

#endif
