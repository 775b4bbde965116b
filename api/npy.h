/*
 * The header of a NumPy array file (.npy, format 1.0): what stands before the raw bytes.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 *
 * No state: may be called by any thread.
 */
#ifndef API_NPY_H
#define API_NPY_H

#include <stddef.h>
#include <stdint.h>

#define NPY_HEADER_BYTES 128

/* Write the header of a C-ordered uint8 array: shape [n,height,width] where channels is 1, else
 * [n,height,width,channels]. The array's bytes follow it in the file. Any n; sides at least 1. */
void npy_header(uint8_t header[NPY_HEADER_BYTES], size_t n, int height, int width, int channels);

#endif
