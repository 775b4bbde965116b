/*
 * What the fuzz targets share. A target is one function of the bytes of an input; it asserts what
 * must hold of any, and the sanitizers see the rest. replay.c runs it over the corpus.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* assert(), whatever NDEBUG says. */
void fuzz_check(bool holds, const char *what);

/* The input as text, up to its first zero byte. The caller frees. */
char *fuzz_text(const uint8_t *data, size_t size);

/* What a daemon with one small model checks requests against: two classes, four timesteps. */
const struct api_context *fuzz_context(void);

/* Parameters that were accepted are within all limits, and what an answer says of them is accepted
 * again and means the same. */
void fuzz_check_params(const struct sample_params *p);

/* A refusal has a reason, and is well-formed JSON in both shapes. */
void fuzz_check_problem(const struct problem *problem);

#endif
