#include "core/model/file.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/memory.h"

static const size_t FILE_MAX_BYTES = (size_t)1 << 30;

static void digest_of(const struct dn_file *file, char text[72])
{
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];

    sha256_init(&context);
    sha256_update(&context, file->size, file->bytes);
    sha256_digest(&context, sizeof digest, digest);
    int used = snprintf(text, 72, "sha256:");
    for (size_t i = 0; i < sizeof digest; i++)
        used += snprintf(text + used, 72 - (size_t)used, "%02x", digest[i]);
}

int dn_file_read(struct dn_file *file, const char *path, struct dn_error *err)
{
    struct stat st;
    size_t at = 0;
    int rc = 0;

    *file = (struct dn_file){0};
    /* O_NONBLOCK: opening a FIFO by mistake must not hang. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return dn_fail(err, DN_EIO, "%s", strerror(errno));
    if (fstat(fd, &st) != 0) {
        rc = dn_fail(err, DN_EIO, "%s", strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        rc = dn_fail(err, DN_EIO, "not a regular file");
        goto out;
    }
    if ((uint64_t)st.st_size > FILE_MAX_BYTES) {
        rc = dn_fail(err, DN_EFORMAT, "%lld bytes: at most %zu are allowed", (long long)st.st_size,
                     FILE_MAX_BYTES);
        goto out;
    }
    file->size = (size_t)st.st_size;
    file->bytes = dn_alloc(file->size);
    if (!file->bytes) {
        rc = dn_fail(err, DN_ENOMEM, "out of memory");
        goto out;
    }
    while (at < file->size) {
        ssize_t n = read(fd, file->bytes + at, file->size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            rc = dn_fail(err, DN_EIO, "%s", n < 0 ? strerror(errno) : "the file became shorter");
            goto out;
        }
        at += (size_t)n;
    }
    digest_of(file, file->digest);
out:
    close(fd);
    if (rc)
        dn_file_free(file);
    return rc;
}

void dn_file_free(struct dn_file *file)
{
    free(file->bytes);
    *file = (struct dn_file){0};
}
