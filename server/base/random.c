#include "server/base/random.h"

#include <stdio.h>
#include <sys/random.h>

#include "core/denoise.h"

int random_seed(uint64_t *seed)
{
    if (getrandom(seed, sizeof *seed, 0) != (ssize_t)sizeof *seed) {
        return -1;
    }
    *seed &= DN_SEED_MAX;
    return 0;
}

int random_bytes(void *out, size_t bytes)
{
    return getrandom(out, bytes, 0) == (ssize_t)bytes ? 0 : -1;
}

int random_id(char *out, size_t bytes, const char *prefix)
{
    uint32_t words[3];
    if (getrandom(words, sizeof words, 0) != (ssize_t)sizeof words) {
        return -1;
    }
    snprintf(out, bytes, "%s%08x%08x%08x", prefix, words[0], words[1], words[2]);
    return 0;
}
