/*
 * bf16 convolutions on AMX: the matrix unit multiplies a tile of 16 pixels x 32 channels by a tile
 * of 32 channels x 16 output channels and adds the products in fp32.
 *
 * No im2col. Maps are channels last with a border of zeros, so for one tap the 16 pixels of a tile
 * are 16 rows of memory at a constant distance: the map itself is the matrix. With stride 1 the
 * whole map is one run of pixels, border included; what is computed for the border pixels at the
 * ends of rows is thrown away. Tiles may read behind a map (see slack_bytes in
 * graph/memory_plan.h).
 *
 * The order of sums is the unit's own (Intel SDM, TDPBF16PS); reference_bf16.c repeats it in C, and
 * the bits are the same.
 */
#include <immintrin.h>

#include "core/kernels/vector/vector.h"

enum {
    ROWS = 16, /* of a tile: pixels of A and C, pairs of channels of B */
    TILE_BYTES = 1024,
    K = 32, /* channels that one instruction takes */
};

static int steps_of(const struct dn_conv *cv)
{
    return cv->n_taps * (cv->in_c / K);
}

/* [O/16][taps][I/32] tiles of B: row r has, for each of 16 output channels, input channels 2 r and
 * 2 r + 1. Zero beyond O. */
static size_t conv_packed(const struct dn_conv *cv)
{
    if (cv->type == DN_FP32)
        return ISA(dn_conv_packed)(cv);
    return (size_t)round_up(cv->out_c, ROWS) / ROWS * (size_t)steps_of(cv) * TILE_BYTES;
}

static void conv_pack(void *packed, const struct dn_conv *cv, const float *weights)
{
    if (cv->type == DN_FP32) {
        ISA(dn_conv_pack)(packed, cv, weights);
        return;
    }
    uint16_t *to = packed;
    for (int first = 0; first < cv->out_c; first += ROWS)
        for (int k = 0; k < cv->n_taps * cv->in_c; k += 2)
            for (int o = first; o < first + ROWS; o++)
                for (int i = k; i < k + 2; i++)
                    *to++ = o < cv->out_c ? dn_bf16_of_float(weights[i * cv->out_c + o]) : 0;
}

static size_t conv_scratch(const struct dn_conv *cv)
{
    return cv->type == DN_FP32 ? ISA(dn_conv_scratch)(cv) : 0;
}

static void configure_tiles(void)
{
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t column_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.column_bytes[t] = 64;
        config.rows[t] = ROWS;
    }
    _tile_loadconfig(&config);
}

/* The matrix product of a block of pixels: `a` is the first one under tap (0,0). */
struct product {
    const char *a;
    int a_stride;               /* bytes from one pixel to the next */
    ptrdiff_t tap[DN_MAX_TAPS]; /* bytes */
    int n_taps, k_steps;        /* K-steps of one tap */
};

/* 32 pixels x 32 output channels -> c[32][32]. */
static void multiply_2x2(const struct product *p, const char *b, ptrdiff_t next_b, float *c)
{
    const ptrdiff_t lower = (ptrdiff_t)ROWS * p->a_stride;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int t = 0; t < p->n_taps; t++) {
        const char *a = p->a + p->tap[t];
        for (int k = 0; k < p->k_steps; k++, a += 2 * K, b += TILE_BYTES) {
            _tile_loadd(6, b, 64);
            _tile_loadd(4, a, p->a_stride);
            _tile_loadd(7, b + next_b, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(5, a + lower, p->a_stride);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, 128);
    _tile_stored(1, c + 16, 128);
    _tile_stored(2, c + 16 * 32, 128);
    _tile_stored(3, c + 16 * 32 + 16, 128);
}

/* 64 pixels x 16 output channels -> c[64][16]: for small maps, whose weights pass once. */
static void multiply_4x1(const struct product *p, const char *b, float *c)
{
    const ptrdiff_t lower = (ptrdiff_t)ROWS * p->a_stride;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int t = 0; t < p->n_taps; t++) {
        const char *a = p->a + p->tap[t];
        for (int k = 0; k < p->k_steps; k++, a += 2 * K, b += TILE_BYTES) {
            _tile_loadd(6, b, 64);
            _tile_loadd(4, a, p->a_stride);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(5, a + lower, p->a_stride);
            _tile_dpbf16ps(1, 5, 6);
            _tile_loadd(4, a + 2 * lower, p->a_stride);
            _tile_dpbf16ps(2, 4, 6);
            _tile_loadd(5, a + 3 * lower, p->a_stride);
            _tile_dpbf16ps(3, 5, 6);
        }
    }
    _tile_stored(0, c, 64);
    _tile_stored(1, c + 16 * 16, 64);
    _tile_stored(2, c + 32 * 16, 64);
    _tile_stored(3, c + 48 * 16, 64);
}

/* Where the pixels of a block go. */
struct target {
    const struct dn_conv *cv;
    const struct dn_map *out;
    const struct dn_epilogue *epilogue;
    int run; /* pixels from one output row to the next in the run of pixels */
};

static inline __m512 load_16(const struct dn_map *map, const void *pixel, int c, __mmask16 mask)
{
    if (map->type == DN_BF16) {
        __m256i half = _mm256_maskz_loadu_epi16(mask, (const uint16_t *)pixel + c);
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    }
    return _mm512_maskz_loadu_ps(mask, (const float *)pixel + c);
}

static inline void store_16(const struct dn_map *map, void *pixel, int c, __mmask16 mask, __m512 v)
{
    if (map->type == DN_BF16) {
        __m512i bits = _mm512_castps_si512(v);
        __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        bits = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
        _mm256_mask_storeu_epi16((uint16_t *)pixel + c, mask,
                                 _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
    } else {
        _mm512_mask_storeu_ps((float *)pixel + c, mask, v);
    }
}

/* Sums [n_pixels][ld] of `tiles` tiles of output channels from `first`; pixel 0 is number m of the
 * run of output row y. */
static void store_block(const struct target *t, const float *sums, int ld, int tiles, int first,
                        int y, int m, int n_pixels)
{
    const struct dn_epilogue *e = t->epilogue;
    int x = m % t->run;
    y += m / t->run;
    for (int tile = 0; tile < tiles; tile++, first += ROWS) {
        int n = t->cv->out_c - first;
        if (n <= 0)
            break;
        __mmask16 mask = (__mmask16)(n >= ROWS ? 0xffff : (1 << n) - 1);
        __m512 bias =
            t->cv->bias ? _mm512_maskz_loadu_ps(mask, t->cv->bias + first) : _mm512_setzero_ps();
        const float *from = sums + tile * ROWS;
        int py = y, px = x;
        for (int p = 0; p < n_pixels; p++, from += ld) {
            if (px < t->out->w) {
                __m512 v = _mm512_add_ps(_mm512_load_ps(from), bias);
                if (e->act == DN_ACT_SILU) {
                    float r[ROWS];
                    _mm512_storeu_ps(r, v);
                    finish(e, r, t->out, py, px, first, n < ROWS ? n : ROWS);
                } else {
                    if (e->act == DN_ACT_RELU)
                        v = _mm512_max_ps(v, _mm512_setzero_ps());
                    if (e->residual)
                        v = _mm512_add_ps(
                            v, load_16(e->residual, dn_pixel(e->residual, py, px), first, mask));
                    if (e->channel)
                        v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, e->channel + first));
                    store_16(t->out, dn_pixel(t->out, py, px), first, mask, v);
                }
            }
            if (++px == t->run) {
                px = 0;
                py++;
            }
        }
    }
}

/* A run of n pixels, the first of output row y. */
static void multiply_run(const struct target *t, struct product *p, int y, int n)
{
    _Alignas(64) float sums[32 * 32];
    const char *weights = t->cv->weights;
    const char *a = p->a;
    ptrdiff_t tile_column = (ptrdiff_t)steps_of(t->cv) * TILE_BYTES; /* to 16 more channels */
    int columns = round_up(t->cv->out_c, ROWS) / ROWS;
    bool tall = n <= 4 * ROWS || columns == 1;

    for (int column = 0; column < columns;) {
        int wide = tall || column + 1 == columns ? 1 : 2, rows = wide == 1 ? 4 * ROWS : 2 * ROWS;
        for (int m = 0; m < n; m += rows) {
            p->a = a + (ptrdiff_t)m * p->a_stride;
            if (wide == 1)
                multiply_4x1(p, weights, sums);
            else
                multiply_2x2(p, weights, tile_column, sums);
            store_block(t, sums, wide * ROWS, wide, column * ROWS, y, m,
                        n - m < rows ? n - m : rows);
        }
        column += wide;
        weights += wide * tile_column;
    }
}

static void conv(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                 const struct dn_epilogue *epilogue, float *scratch)
{
    if (in->type == DN_FP32) {
        ISA(dn_conv)(cv, in, out, epilogue, scratch);
        return;
    }
    struct product p = {
        .a_stride = cv->stride * in->ld * 2, .n_taps = cv->n_taps, .k_steps = cv->in_c / K};
    struct target t = {cv, out, epilogue, in->pitch / in->ld};
    for (int n = 0; n < cv->n_taps; n++)
        p.tap[n] = 2 * ((ptrdiff_t)cv->dy[n] * in->pitch + (ptrdiff_t)cv->dx[n] * in->ld);

    configure_tiles();
    if (cv->stride == 1) {
        p.a = in->data;
        multiply_run(&t, &p, 0, (out->h - 1) * t.run + out->w);
    } else {
        for (int y = 0; y < out->h; y++) {
            p.a = dn_pixel(in, y * cv->stride, 0);
            multiply_run(&t, &p, y, out->w);
        }
    }
    _tile_release();
}

const struct dn_kernels dn_kernels_amx = {
    .isa = DN_ISA_AMX,
    .precision = DN_PRECISION_BF16,
    .domain = "bf16-amx-1",
    .conv_packed = conv_packed,
    .conv_pack = conv_pack,
    .conv_scratch = conv_scratch,
    .conv = conv,
    .group_norm = ISA(dn_group_norm),
    .layer_norm = ISA(dn_layer_norm),
    .attention_scratch = ISA(dn_attention_scratch),
    .attention = ISA(dn_attention),
    .pointwise = ISA(dn_pointwise),
};
