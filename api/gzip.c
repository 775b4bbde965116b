#include "api/gzip.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MIN_BYTES 1024
/* A few milliseconds at level 1, in which the loop thread does nothing else. */
#define MAX_BYTES (512u << 10)
#define WINDOW_BITS_GZIP (15 + 16) /* zlib.h, deflateInit2: 16 more writes a gzip header */
#define MEMORY_LEVEL 8             /* zlib's default */

bool gzip_pays(const char *media_type, size_t bytes)
{
    return bytes >= MIN_BYTES && bytes <= MAX_BYTES &&
           (strncmp(media_type, "text/", 5) == 0 || strstr(media_type, "json") ||
            strstr(media_type, "javascript") || strstr(media_type, "svg"));
}

char *gzip_compress(const char *data, size_t bytes, size_t *out_bytes)
{
    if (bytes > MAX_BYTES) {
        return NULL;
    }
    char *out = malloc(bytes);
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data,
                  .avail_in = (uInt)bytes,
                  .next_out = (Bytef *)out,
                  .avail_out = (uInt)bytes};
    if (!out || deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS_GZIP, MEMORY_LEVEL,
                             Z_DEFAULT_STRATEGY) != Z_OK) {
        free(out);
        return NULL;
    }
    int rc = deflate(&z, Z_FINISH);
    *out_bytes = z.total_out;
    deflateEnd(&z);
    if (rc != Z_STREAM_END) { /* longer than what it was made of */
        free(out);
        return NULL;
    }
    return out;
}
