/*
 * Reader of the safetensors container: 8 bytes little-endian header length, a JSON header of that
 * length, then the tensors' bytes. https://github.com/huggingface/safetensors#format
 *
 * Nothing in the file is trusted. F32, F16 and BF16 tensors are taken, all as floats, which hold
 * every value of the others exactly. They must be finite, need not be aligned, and together they
 * must cover the data exactly once. What is no such file at all is told by its first bytes.
 */
#ifndef CORE_MODEL_SAFETENSORS_H
#define CORE_MODEL_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/denoise.h"
#include "core/model/file.h"

enum {
    DN_TENSOR_MAX_RANK = 8,
    DN_TENSOR_MAX_COUNT = 65536,
};

enum dn_tensor_type { DN_TENSOR_F32, DN_TENSOR_F16, DN_TENSOR_BF16 };

struct dn_tensor {
    char *name; /* UTF-8 */
    enum dn_tensor_type type;
    int rank;
    int64_t shape[DN_TENSOR_MAX_RANK];
    size_t count;
    const uint8_t *bytes; /* inside the file's */
    size_t n_bytes;
    const float *data; /* inside the file's bytes, or `converted` */
    float *converted;  /* NULL where the file's bytes do */
    bool used;
};

/* Owns its names, metadata and converted values; borrows the file's bytes. */
struct dn_safetensors {
    struct dn_tensor *tensors; /* sorted by name */
    size_t n_tensors;
    size_t n_values; /* of all tensors together */
    char *config;    /* __metadata__["denoised.config"] */
};

/* Parse `size` bytes, 8-byte aligned, which must outlive *st. Errors: EFORMAT, ENOMEM. */
int dn_safetensors_parse(struct dn_safetensors *st, const uint8_t *bytes, size_t size,
                         struct dn_error *err);

/* The same in two steps, of which the first reads no more than the header of a file that was
 * opened: what it promises fits the file, and st->config is there. The second reads the rest. After
 * an error of it st is to be freed. Errors: EFORMAT, ENOMEM, EIO. */
int dn_safetensors_read_header(struct dn_safetensors *st, struct dn_file *file,
                               struct dn_error *err);
int dn_safetensors_read_values(struct dn_safetensors *st, struct dn_file *file,
                               struct dn_error *err);
void dn_safetensors_deinit(struct dn_safetensors *st);

/* The data of tensor `name`, marked as used; NULL, with err filled, if it is missing or has another
 * shape. */
const float *dn_safetensors_use(struct dn_safetensors *st, const char *name, const int64_t *shape,
                                int rank, struct dn_error *err);

/* EFORMAT, naming the first one, if a tensor was never used. */
int dn_safetensors_check_all_used(const struct dn_safetensors *st, struct dn_error *err);

#endif
