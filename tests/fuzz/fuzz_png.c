/* Fuzz target: the reader of pictures from strangers, on any bytes. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/png_read.h"
#include "core/denoise.h"
#include "tests/fuzz/fuzz.h"

#define PIXELS_MAX (1 << 16)

static size_t n_pixels;
static unsigned sum;

/* A sanitizer sees a pixel that is not there. */
static void add_line(void *context, uint32_t y, const uint8_t *rgba)
{
    const struct png_head *head = context;
    assert(y < head->height);
    for (size_t i = 0; i < (size_t)head->width * 4; i++)
        sum += rgba[i];
    n_pixels += head->width;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct png_head head;
    char error[PNG_READ_ERROR_BYTES];
    n_pixels = sum = 0;
    int rc = png_read_head(&head, data, size, "denoised", PIXELS_MAX, error);
    if (rc == 0) {
        assert(!head.text || head.text[head.text_bytes] == '\0');
        rc = png_read_lines(data, size, add_line, &head, error);
        assert(n_pixels <= PIXELS_MAX);
        assert(rc != 0 || n_pixels == (size_t)head.width * head.height);
        free(head.text);
    }
    assert(rc == 0 || rc == DN_ENOMEM || (rc == DN_EINVAL && error[0]));
    return sum > UINT32_MAX - 1;
}
