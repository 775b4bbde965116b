/* A file read whole into aligned memory, with its SHA-256. */
#ifndef CORE_MODEL_FILE_H
#define CORE_MODEL_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "core/denoise.h"

struct dn_file {
    uint8_t *bytes;
    size_t size;
    char digest[72]; /* "sha256:<64 hex>" */
};

/* Errors: EIO (cannot be read, not a regular file), EFORMAT (larger than 1 GiB), ENOMEM. */
int dn_file_read(struct dn_file *file, const char *path, struct dn_error *err);
void dn_file_free(struct dn_file *file);

#endif
