/*
 * A file read into aligned memory, from its beginning and as far as the reader wants, so that what
 * it is can be seen before the memory for all of it is used; with its SHA-256 once it is whole.
 */
#ifndef CORE_MODEL_FILE_H
#define CORE_MODEL_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "core/denoise.h"

struct dn_file {
    int fd;         /* -1 when all is read */
    uint8_t *bytes; /* room for `size`; what is not read yet takes no memory */
    size_t size, n_read;
    char digest[72]; /* "sha256:<64 hex>" when all is read */
};

/* No byte is read yet. Free it also after an error. Errors: EIO (cannot be opened, not a regular
 * file), EFORMAT (larger than 1 GiB), ENOMEM. */
int dn_file_open(struct dn_file *file, const char *path, struct dn_error *err);

/* Read on until the first `bytes` bytes are there, `size` at most. Errors: EIO. */
int dn_file_read_to(struct dn_file *file, size_t bytes, struct dn_error *err);

/* Open it and read all. The errors of both; nothing is to be freed then. */
int dn_file_read(struct dn_file *file, const char *path, struct dn_error *err);
void dn_file_free(struct dn_file *file);

#endif
