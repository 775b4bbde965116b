/* Fuzz target: the reader of pictures from strangers, on any bytes. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "api/png_read.h"
#include "core/denoise.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct png_picture picture;
    char error[PNG_READ_ERROR_BYTES];
    unsigned sum = 0;

    int rc = png_decode(&picture, data, size, "denoised", 1 << 16, error);
    if (rc == 0) {
        size_t bytes = (size_t)picture.height * picture.width * picture.channels;
        assert(bytes >= 1 && bytes <= 1 << 16);
        for (size_t i = 0; i < bytes; i++) /* a sanitizer sees a pixel that is not there */
            sum += picture.pixels[i];
        assert(!picture.text || picture.text[picture.text_bytes] == '\0');
        png_picture_free(&picture);
    } else {
        assert(rc == DN_ENOMEM || (rc == DN_EINVAL && error[0]));
    }
    return sum > UINT32_MAX - 1;
}
