/* Aligned memory and overflow-checked sizes. */
#ifndef CORE_BASE_MEMORY_H
#define CORE_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* One cache line, and one AVX-512 register. */
#define DN_ALIGN 64

static inline size_t dn_align_up(size_t bytes)
{
    return (bytes + DN_ALIGN - 1) / DN_ALIGN * DN_ALIGN;
}

/* Zeroed memory on a DN_ALIGN boundary, freed with free(); NULL when there is none. */
void *dn_alloc(size_t bytes);

/* Duplicate of `bytes` bytes with a 0 byte behind them, freed with free(); NULL when out of memory.
 */
char *dn_strndup(const char *text, size_t bytes);

#endif
