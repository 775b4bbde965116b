#include "server/cli/suggest.h"

#include <string.h>

#define LONGEST 64

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to put in, take out, replace or swap with their neighbour (Damerau and Levenshtein's,
 * each pair swapped once). Of words of at most LONGEST bytes. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][LONGEST + 1], bytes_a = strlen(a), bytes_b = strlen(b);
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= bytes_b; j++)
        last[j] = before[j] = j;
    for (size_t i = 1; i <= bytes_a; i++) {
        now[0] = i;
        for (size_t j = 1; j <= bytes_b; j++) {
            now[j] = least(least(now[j - 1], last[j]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[bytes_b];
}

void suggest(struct suggestion *s, const char *typed, const char *word)
{
    size_t typed_bytes = strlen(typed), word_bytes = strlen(word);
    if (typed_bytes == 0 || typed_bytes > LONGEST || word_bytes > LONGEST)
        return;
    size_t d = distance(typed, word);
    if (typed_bytes >= 2 && strncmp(typed, word, typed_bytes) == 0)
        d = 1;
    if (3 * d <= word_bytes + 1 && (s->word == NULL || d < s->distance))
        *s = (struct suggestion){.word = word, .distance = d};
}
