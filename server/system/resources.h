/*
 * What the daemon needs of the system, asked for before it starts: libuv ends the program, without
 * a word, when it cannot have its threads or its first descriptors. Before any other thread runs.
 */
#ifndef SERVER_SYSTEM_RESOURCES_H
#define SERVER_SYSTEM_RESOURCES_H

#include <stddef.h>
#include <stdint.h>

/* Raise the limit on descriptors as far as we may; `max_connections` becomes what it leaves room
 * for. Returns 0, or -1 with a line in `error`. */
int resources_take_descriptors(uint32_t *max_connections, char *error, size_t error_bytes);

/* See whether `n` threads can be had at once. Returns 0, or -1 with a line in `error`. */
int resources_check_threads(uint32_t n, char *error, size_t error_bytes);

#endif
