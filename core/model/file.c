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

static void close_file(struct dn_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

int dn_file_open(struct dn_file *file, const char *path, struct dn_error *err)
{
    struct stat st;

    /* O_NONBLOCK: opening a FIFO by mistake must not hang. */
    *file = (struct dn_file){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file->fd < 0 || fstat(file->fd, &st) != 0)
        return dn_fail(err, DN_EIO, "%s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return dn_fail(err, DN_EIO, "not a regular file");
    if ((uint64_t)st.st_size > FILE_MAX_BYTES)
        return dn_fail(err, DN_EFORMAT, "%lld bytes: at most %zu are allowed",
                       (long long)st.st_size, FILE_MAX_BYTES);
    file->size = (size_t)st.st_size;
    /* Not dn_alloc(): its zeros would use the memory at once. */
    file->bytes = aligned_alloc(DN_ALIGN, dn_align_up(file->size + 1));
    return file->bytes ? 0 : dn_fail(err, DN_ENOMEM, "out of memory");
}

int dn_file_read_to(struct dn_file *file, size_t bytes, struct dn_error *err)
{
    size_t end = bytes < file->size ? bytes : file->size;
    while (file->n_read < end) {
        ssize_t n = read(file->fd, file->bytes + file->n_read, end - file->n_read);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return dn_fail(err, DN_EIO, "%s", n < 0 ? strerror(errno) : "the file became shorter");
        file->n_read += (size_t)n;
    }
    if (file->n_read == file->size && file->fd >= 0) {
        digest_of(file, file->digest);
        close_file(file);
    }
    return 0;
}

int dn_file_read(struct dn_file *file, const char *path, struct dn_error *err)
{
    int rc = dn_file_open(file, path, err);
    rc = rc ? rc : dn_file_read_to(file, file->size, err);
    if (rc)
        dn_file_free(file);
    return rc;
}

void dn_file_free(struct dn_file *file)
{
    close_file(file);
    free(file->bytes);
    *file = (struct dn_file){.fd = -1};
}
