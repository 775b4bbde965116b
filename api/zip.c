#include "api/zip.h"

#include <assert.h>
#include <string.h>

#include <zlib.h>

/* APPNOTE 4.4. A stored file needs version 1.0 to be read; 3 is Unix, whose file mode stands in the
 * upper half of the external attributes. */
#define VERSION_NEEDED 10
#define VERSION_MADE_BY (3 << 8 | 63)
#define FILE_MODE (UINT32_C(0100644) << 16)
#define DOS_DATE (1 << 5 | 1) /* 1980-01-01, always: equal files, equal archives */
#define DOS_TIME 0

static void put_16(struct text *t, unsigned value)
{
    const char bytes[2] = {(char)(value & 255), (char)(value >> 8 & 255)};
    text_append(t, bytes, sizeof bytes);
}

static void put_32(struct text *t, uint32_t value)
{
    put_16(t, value & 0xffff);
    put_16(t, value >> 16);
}

/* What the two headers of a file have in common: APPNOTE 4.3.7, from "version needed" on. */
static void put_file(struct text *t, const char *name, uint32_t crc, uint32_t bytes)
{
    put_16(t, VERSION_NEEDED);
    put_16(t, 0); /* flags */
    put_16(t, 0); /* stored */
    put_16(t, DOS_TIME);
    put_16(t, DOS_DATE);
    put_32(t, crc);
    put_32(t, bytes); /* packed */
    put_32(t, bytes);
    put_16(t, (unsigned)strlen(name));
    put_16(t, 0); /* extra field */
}

void zip_add(struct zip *z, const char *name, const char *comment, const void *data, size_t bytes)
{
    assert(z->n_entries < ZIP_MAX_ENTRIES);
    size_t at = z->files.length;
    if (bytes >= UINT32_MAX || at >= UINT32_MAX) { /* zip_take() says so */
        z->files.failed = true;
        return;
    }
    uint32_t crc = (uint32_t)crc32_z(0, data, bytes);
    text_append(&z->files, "PK\3\4", 4);
    put_file(&z->files, name, crc, (uint32_t)bytes);
    text_puts(&z->files, name);
    text_append(&z->files, data, bytes);

    text_append(&z->directory, "PK\1\2", 4);
    put_16(&z->directory, VERSION_MADE_BY);
    put_file(&z->directory, name, crc, (uint32_t)bytes);
    put_16(&z->directory, (unsigned)strlen(comment));
    put_16(&z->directory, 0); /* disk */
    put_16(&z->directory, 0); /* internal attributes */
    put_32(&z->directory, FILE_MODE);
    put_32(&z->directory, (uint32_t)at);
    text_puts(&z->directory, name);
    text_puts(&z->directory, comment);
    z->n_entries++;
}

char *zip_take(struct zip *z, size_t *bytes)
{
    size_t at = z->files.length, directory_bytes = z->directory.length;
    if (z->directory.failed || at + directory_bytes >= UINT32_MAX) {
        z->files.failed = true;
    }
    text_append(&z->files, z->directory.bytes ? z->directory.bytes : "", directory_bytes);
    text_free(&z->directory);
    text_append(&z->files, "PK\5\6", 4);
    put_16(&z->files, 0); /* this disk */
    put_16(&z->files, 0); /* the directory's */
    put_16(&z->files, z->n_entries);
    put_16(&z->files, z->n_entries);
    put_32(&z->files, (uint32_t)directory_bytes);
    put_32(&z->files, (uint32_t)at);
    put_16(&z->files, 0); /* comment */
    return text_take(&z->files, bytes);
}
