/*
 * Random bits from the kernel. Any thread.
 */
#ifndef SERVER_BASE_RANDOM_H
#define SERVER_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* A seed in 0..DN_SEED_MAX. Returns 0, or -1 when the kernel has none to give. */
int random_seed(uint64_t *seed);

/* Any bytes. Returns 0 or -1. */
int random_bytes(void *out, size_t bytes);

/* `prefix` and 24 random hexadecimal digits. Returns 0 or -1. */
int random_id(char *out, size_t bytes, const char *prefix);

#endif
