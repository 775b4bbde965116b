/* What the files of the AMX table share. Only amx*.c include it. */
#ifndef CORE_KERNELS_AMX_H
#define CORE_KERNELS_AMX_H

#include "core/kernels/avx512_bf16.h"

/* What LDTILECFG reads for palette 1 (Intel SDM). */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
};

/* gcc's intrinsic says that it reads the first bytes alone. */
static inline void load_tile_config(const struct tile_config *config)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(*config));
}

/* gcc does not know that a tile load reads memory: what was written for it is written here,
 * and not later. */
static inline void show_tiles_memory(void)
{
    __asm__ volatile("" ::: "memory");
}

size_t dn_amx_attention_scratch(int tokens, int channels, int heads);
void dn_amx_attention(int heads, const struct dn_map *q, const struct dn_map *k,
                      const struct dn_map *v, const struct dn_map *out,
                      const struct dn_epilogue *epilogue, float *scratch);

#endif
