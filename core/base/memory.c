#include "core/base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *dn_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t rounded = dn_align_up(bytes ? bytes : 1);
    void *p = aligned_alloc(DN_ALIGN, rounded);
    if (p)
        memset(p, 0, rounded);
    return p;
}

char *dn_strndup(const char *text, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    if (copy) {
        memcpy(copy, text, bytes);
        copy[bytes] = '\0';
    }
    return copy;
}
