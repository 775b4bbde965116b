#include "core/base/rng.h"

#include <math.h>

#include "core/base/exact_math.h"

enum { ROUNDS = 10, LANES = 16 };

/* Salmon et al. 2011, table 2 and section 4. */
static const uint32_t M0 = 0xD2511F53, M1 = 0xCD9E8D57, W0 = 0x9E3779B9, W1 = 0xBB67AE85;

void dn_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)M0 * c0, p1 = (uint64_t)M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += W0;
        k1 += W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The middle of one of 2^23 equal parts of (0, 1), exactly: never 0, never 1. */
static float uniform(uint32_t word)
{
    return ((float)(word >> 9) + 0.5f) * 0x1p-23f;
}

void dn_noise(float *noise, size_t n, uint64_t seed, uint32_t index, uint32_t step)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    size_t blocks = (n + 3) / 4;

    for (size_t first = 0; first < blocks; first += LANES) {
        size_t count = blocks - first < LANES ? blocks - first : LANES;
        float u[4][LANES], normal[4][LANES];
        for (size_t i = 0; i < LANES; i++) {
            const uint32_t counter[4] = {(uint32_t)(first + i), step, index, 0};
            uint32_t words[4];
            dn_philox(words, counter, key);
            for (int j = 0; j < 4; j++)
                u[j][i] = uniform(words[j]);
        }
        for (int pair = 0; pair < 4; pair += 2) {
            for (size_t i = 0; i < LANES; i++) {
                float radius = sqrtf(-2.0f * dn_logf(u[pair][i]));
                float sine, cosine;
                dn_sincos_turnsf(u[pair + 1][i], &sine, &cosine);
                normal[pair][i] = radius * cosine;
                normal[pair + 1][i] = radius * sine;
            }
        }
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < 4 && 4 * (first + i) + j < n; j++)
                noise[4 * (first + i) + j] = normal[j][i];
    }
}
