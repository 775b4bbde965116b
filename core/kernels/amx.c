/*
 * bf16 convolutions on AMX: the matrix unit multiplies a tile of 16 pixels x 32 channels by a tile
 * of 32 channels x 16 output channels and adds the products in fp32.
 *
 * No im2col. Maps are channels last with a border of zeros, so for one tap the 16 pixels of a tile
 * are 16 rows of memory at a constant distance: the map itself is the matrix. With stride 1 the
 * whole map is one run of pixels, border included; what is computed for the border pixels at the
 * ends of rows is thrown away. Tiles may read behind a map (dn_map_slack()).
 *
 * The order of sums is the unit's own (Intel SDM, TDPBF16PS); reference_bf16.c repeats it in C, and
 * the bits are the same.
 */
#include "core/kernels/amx.h"

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

static const struct tile_config config = {
    .palette = 1,
    .column_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS, ROWS},
};

/*
 * The matrix product of a run of pixels. A tile is 16 pixels a_stride apart; the next tile begins
 * tile_step further.
 */
struct product {
    const char *a; /* the first pixel of the block under tap (0,0) */
    int a_stride;  /* bytes, as all of these */
    ptrdiff_t tile_step;
    ptrdiff_t tap[DN_MAX_TAPS];
    int n_taps, k_steps; /* of one tap */
};

/* 32 pixels x 32 output channels -> c[32][32]. */
static void multiply_2x2(const struct product *p, const char *b, ptrdiff_t next_b, float *c)
{
    const ptrdiff_t lower = p->tile_step;
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
    const ptrdiff_t lower = p->tile_step;
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

/* Where the pixels of a run go: pixel m is (y,x) = (m / pitch, m % pitch) of the output, or nothing
 * where x is beyond its width. */
struct target {
    const struct dn_conv *cv;
    const struct dn_map *out;
    const struct dn_epilogue *epilogue;
    int pitch;
};

/* `n` pixels of an output row from x: one tile of output channels, with all that can follow. */
static void finish_tile(const struct target *t, const float *sums, int ld, int first, int y, int x,
                        int n)
{
    const struct dn_epilogue *e = t->epilogue;
    int channels = t->cv->out_c - first < ROWS ? t->cv->out_c - first : ROWS;
    __mmask16 mask = (__mmask16)((1u << channels) - 1);
    __m512 bias =
        t->cv->bias ? _mm512_maskz_loadu_ps(mask, t->cv->bias + first) : _mm512_setzero_ps();
    for (int p = 0; p < n; p++, sums += ld)
        finish_16(e, _mm512_add_ps(_mm512_load_ps(sums), bias), t->out, y, x + p, first, mask);
}

/* The same where nothing but the bias follows. */
static inline __attribute__((always_inline)) void store_tile(enum dn_type type,
                                                             const struct target *t,
                                                             const float *sums, int ld, int first,
                                                             int y, int x, int n)
{
    __m512 bias = t->cv->bias ? _mm512_loadu_ps(t->cv->bias + first) : _mm512_setzero_ps();
    char *to = (char *)dn_pixel(t->out, y, x) + (size_t)first * dn_type_bytes(type);
    size_t step = (size_t)t->out->ld * dn_type_bytes(type);
    for (int p = 0; p < n; p++, sums += ld, to += step)
        store_16(type, to, 0, 0xffff, _mm512_add_ps(_mm512_load_ps(sums), bias));
}

/* Sums [n][ld] of `tiles` tiles of output channels from `first`, beginning with pixel m. */
static void store_block(const struct target *t, const float *sums, int ld, int tiles, int first,
                        int m, int n)
{
    const struct dn_epilogue *e = t->epilogue;
    bool plain = e->act == DN_ACT_NONE && !e->residual && !e->channel &&
                 first + tiles * ROWS <= t->cv->out_c;
    int y = m / t->pitch, x = m % t->pitch;
    for (int p = 0; p < n;) {
        int row = t->pitch - x < n - p ? t->pitch - x : n - p; /* of the run, in this row */
        int valid = t->out->w - x < row ? t->out->w - x : row;
        for (int tile = 0; tile < tiles && valid > 0; tile++) {
            const float *from = sums + p * ld + tile * ROWS;
            int c = first + tile * ROWS;
            if (plain && t->out->type == DN_FP32)
                store_tile(DN_FP32, t, from, ld, c, y, x, valid);
            else if (plain)
                store_tile(DN_BF16, t, from, ld, c, y, x, valid);
            else
                finish_tile(t, from, ld, c, y, x, valid);
        }
        p += row;
        y++;
        x = 0;
    }
}

/* A run of n pixels; m = 0 is under p->a. */
static void multiply_run(const struct target *t, struct product *p, int n)
{
    _Alignas(64) float sums[32 * 32];
    const char *weights = t->cv->weights, *a = p->a;
    ptrdiff_t tile_column = (ptrdiff_t)steps_of(t->cv) * TILE_BYTES; /* to 16 more channels */
    int columns = round_up(t->cv->out_c, ROWS) / ROWS;
    bool tall = n <= 4 * ROWS; /* few pixels: every weight passes once */

    for (int column = 0; column < columns;) {
        int wide = tall || column + 1 == columns ? 1 : 2, rows = wide == 1 ? 4 * ROWS : 2 * ROWS;
        for (int m = 0; m < n; m += rows) {
            p->a = a + m / ROWS * p->tile_step;
            if (wide == 1)
                multiply_4x1(p, weights, sums);
            else
                multiply_2x2(p, weights, tile_column, sums);
            store_block(t, sums, wide * ROWS, wide, column * ROWS, m, n - m < rows ? n - m : rows);
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
    struct product p = {.a = in->data,
                        .a_stride = 2 * cv->stride * in->ld,
                        .n_taps = cv->n_taps,
                        .k_steps = cv->in_c / K};
    for (int n = 0; n < cv->n_taps; n++)
        p.tap[n] = 2 * ((ptrdiff_t)cv->dy[n] * in->pitch + (ptrdiff_t)cv->dx[n] * in->ld);

    _tile_loadconfig(&config);
    if (cv->stride == 1) {
        /* The whole map is one run. */
        struct target t = {cv, out, epilogue, in->pitch / in->ld};
        p.tile_step = (ptrdiff_t)ROWS * p.a_stride;
        multiply_run(&t, &p, (out->h - 1) * t.pitch + out->w);
    } else if (out->w <= ROWS) {
        /* A tile an output row. */
        struct target t = {cv, out, epilogue, ROWS};
        p.tile_step = (ptrdiff_t)2 * cv->stride * in->pitch;
        multiply_run(&t, &p, (out->h - 1) * ROWS + out->w);
    } else {
        p.tile_step = (ptrdiff_t)ROWS * p.a_stride;
        for (int y = 0; y < out->h; y++) {
            struct dn_map row = {dn_pixel(out, y, 0), out->type, 1, out->w, out->c, out->ld, 0};
            struct dn_map residual = {0};
            struct dn_epilogue of_row = *epilogue;
            if (epilogue->residual) {
                residual = *epilogue->residual;
                residual.data = dn_pixel(&residual, y, 0);
                of_row.residual = &residual;
            }
            struct target t = {cv, &row, &of_row, out->w};
            p.a = dn_pixel(in, y * cv->stride, 0);
            multiply_run(&t, &p, out->w);
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
    .group_norm = dn_avx512_bf16_group_norm,
    .layer_norm = dn_avx512_bf16_layer_norm,
    .attention_in_bf16 = true,
    .attention_scratch = dn_amx_attention_scratch,
    .attention = dn_amx_attention,
    .pointwise = ISA(dn_pointwise),
};
