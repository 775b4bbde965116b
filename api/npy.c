#include "api/npy.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void npy_header(uint8_t header[NPY_HEADER_BYTES], size_t n, int height, int width, int channels)
{
    assert(height >= 1 && width >= 1 && channels >= 1);
    /* Magic, version 1.0, length of the rest in little-endian 16 bits; then a Python literal,
     * padded with blanks and closed by a newline so that the data begin on a multiple of 64. */
    static const uint8_t start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, NPY_HEADER_BYTES - 10,
                                      0};
    char channels_text[16] = "", dict[NPY_HEADER_BYTES];
    if (channels > 1)
        snprintf(channels_text, sizeof channels_text, ", %d", channels);
    int length = snprintf(dict, sizeof dict,
                          "{'descr': '|u1', 'fortran_order': False, 'shape': (%zu, %d, %d%s), }", n,
                          height, width, channels_text);
    /* The longest, with a 20-digit n and three 10-digit sides, is 112 bytes of 117. */
    assert(length > 0 && length < NPY_HEADER_BYTES - 10);
    memset(header, ' ', NPY_HEADER_BYTES);
    memcpy(header, start, sizeof start);
    memcpy(header + sizeof start, dict, (size_t)length);
    header[NPY_HEADER_BYTES - 1] = '\n';
}
