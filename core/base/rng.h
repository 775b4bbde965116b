/*
 * Counter-based noise. Any element of any step of any image can be drawn alone, so an image does
 * not depend on what was drawn before it.
 *
 * Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), keyed by the
 * 64-bit seed, counted by {element / 4, step, image index, 0}; Box-Muller turns each four words
 * into four normals.
 */
#ifndef CORE_BASE_RNG_H
#define CORE_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* The block function: counter[4] and key[2] to out[4]. */
void dn_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* Standard normals noise[0..n) of one image at one step. Step 0 is the initial noise; the noise
 * added by step i of a stochastic sampler (counted from 0) is step i + 1. Thread-safe, allocates
 * nothing. */
void dn_noise(float *noise, size_t n, uint64_t seed, uint32_t index, uint32_t step);

#endif
