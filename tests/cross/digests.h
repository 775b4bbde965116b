/*
 * A program that prints digests of what the kernels and the engine compute, to be run on unlike
 * processors, real and emulated; test_cross.py compares them. It is built of core without model/
 * and OpenBLAS, so that a cross compiler needs no library but libc:
 *
 *     digests.c    the command line, kernel by kernel
 *     rows.c       the real network and samplers, rows stepped by dn_step()
 *     stand_ins.c  the few functions of what is left out that the rest of core names
 *
 * One thread. A line of digests is "WHAT DIGEST".
 */
#ifndef TESTS_CROSS_DIGESTS_H
#define TESTS_CROSS_DIGESTS_H

#include <stddef.h>
#include <stdint.h>

#include "core/kernels/kernels.h"
#include "core/model/config.h"

/* The architecture's parameters, where struct dn_config has the JSON object of them. */
struct arch {
    int channels[4], levels;
    int context_dim, time_dim, heads, depth, groups;
};

/* FNV-1a of the bytes, begun with hash = DIGEST_START. */
#define DIGEST_START UINT64_C(0xcbf29ce484222325)
uint64_t digest_add(uint64_t hash, const void *bytes, size_t n);

/* End the program with a message. */
_Noreturn void die(const char *what);

/* A small network with weights drawn by name: a row of every sampler, stepped together. */
void rows_print_small(const struct dn_kernels *kernels);
/* The model file's network: the pixels, in hexadecimal, of one image of two steps. */
void rows_print_image(const struct dn_kernels *kernels, const char *path);

#endif
