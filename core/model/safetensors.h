/*
 * Reader of the safetensors container: 8 bytes little-endian header length, a JSON header of that
 * length, then the tensors' bytes. https://github.com/huggingface/safetensors#format
 *
 * Nothing in the file is trusted. Only F32 tensors are taken, they must be finite, and together
 * they must cover the data exactly once.
 */
#ifndef CORE_MODEL_SAFETENSORS_H
#define CORE_MODEL_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/denoise.h"

enum {
    DN_TENSOR_MAX_RANK = 8,
    DN_TENSOR_MAX_COUNT = 65536,
};

struct dn_tensor {
    char *name; /* UTF-8 */
    int rank;
    int64_t shape[DN_TENSOR_MAX_RANK];
    const float *data; /* inside the file's bytes */
    size_t count;
    bool used;
};

/* Owns its names and metadata; borrows the file's bytes. */
struct dn_safetensors {
    struct dn_tensor *tensors; /* sorted by name */
    size_t n_tensors;
    size_t n_values; /* of all tensors together */
    char *config;    /* __metadata__["denoised.config"] */
};

/* Parse `size` bytes, 8-byte aligned, which must outlive *st. Errors: EFORMAT, ENOMEM. */
int dn_safetensors_parse(struct dn_safetensors *st, const uint8_t *bytes, size_t size,
                         struct dn_error *err);
void dn_safetensors_deinit(struct dn_safetensors *st);

/* The data of tensor `name`, marked as used; NULL, with err filled, if it is missing or has another
 * shape. */
const float *dn_safetensors_use(struct dn_safetensors *st, const char *name, const int64_t *shape,
                                int rank, struct dn_error *err);

/* EFORMAT, naming the first one, if a tensor was never used. */
int dn_safetensors_check_all_used(const struct dn_safetensors *st, struct dn_error *err);

#endif
