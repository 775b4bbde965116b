/*
 * bf16 convolutions on AMX: the matrix unit multiplies a tile of 16 pixels x 32 channels by a tile
 * of 32 channels x 16 output channels and adds the products in fp32.
 *
 * No im2col. Maps are channels last with a border of zeros, so for one tap the 16 pixels of a tile
 * are 16 rows of memory at a constant distance: the map itself is the matrix. There are two ways to
 * cut a map into tiles:
 *
 * - Rows. An output row is cut into equal tiles, and sums go from the unit straight into the
 * output. For fp32 outputs with nothing to follow, which is what a norm reads.
 * - A run. The whole map is one run of pixels, border included; sums go through a buffer, and those
 *   of the border pixels at the ends of rows are thrown away. The unit does not wait: a block's
 * sums are stored behind the products of the next. Tiles may read behind a map (dn_map_slack()).
 *
 * The order of sums is the unit's own (Intel SDM, TDPBF16PS), beginning with the bias;
 * reference_bf16.c repeats it in C, and the bits are the same.
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
    pack_pairs(packed, cv, weights, ROWS);
}

/* Tiles 0 to 3 are sums, 4 and 5 `rows` pixels each, 6 and 7 weights. */
static void configure(int rows)
{
    struct tile_config config = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.column_bytes[t] = 64;
        config.rows[t] = (uint8_t)(t < 6 ? rows : K / 2);
    }
    load_tile_config(&config);
}

/* A convolution as products of pixels and weights. Distances are in bytes. */
struct product {
    const char *a; /* the first pixel of a block under tap (0,0) */
    ptrdiff_t next_tile;
    int a_stride; /* from one pixel of a tile to the next */
    ptrdiff_t tap[DN_MAX_TAPS];
    int n_taps, k_steps;   /* of one tap */
    ptrdiff_t next_column; /* of weights: 16 more output channels */
    const float *bias;     /* in whole pairs of tiles of channels, or NULL */
};

static inline void prefetch_tile(const char *b)
{
    for (int row = 0; row < TILE_BYTES; row += 64)
        _mm_prefetch(b + row, _MM_HINT_T0);
}

/* Sums begin with the bias: of channels from `even` in tiles 0 and 2, from `odd` in 1 and 3. */
static inline void begin_sums(const struct product *p, int even, int odd)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (p->bias) {
        _tile_loadd(0, p->bias + even, 0);
        _tile_loadd(1, p->bias + odd, 0);
        _tile_loadd(2, p->bias + even, 0);
        _tile_loadd(3, p->bias + odd, 0);
    }
}

/*
 * Once in so many steps a tile of sums is stored to where nobody reads it. Without that the first
 * store after more than 30 steps takes 270 ns instead of 16, which doubles the time of a
 * convolution with 128 channels: measured on a Xeon of family 6, model 167, by unrolled loops of
 * products; the cause is not known.
 */
enum { STEPS_BETWEEN_STORES = 8 };

/* 2 tiles of pixels x 32 output channels -> c[tile * next_c + pixel * ld + channel]. Products of
 * the same weights follow each other: then the unit need not load them again. */
static inline void multiply_2x2(const struct product *p, const char *b, int first, float *c,
                                ptrdiff_t next_c, int ld)
{
    _Alignas(64) float spare[16 * 16];
    begin_sums(p, first, first + 16);
    for (int t = 0, step = 0; t < p->n_taps; t++) {
        const char *a = p->a + p->tap[t];
        for (int k = 0; k < p->k_steps; k++, step++, a += 2 * K, b += TILE_BYTES) {
            if (step % STEPS_BETWEEN_STORES == STEPS_BETWEEN_STORES - 1)
                _tile_stored(0, spare, 64);
            _tile_loadd(6, b, 64);
            _tile_loadd(4, a, p->a_stride);
            _tile_loadd(5, a + p->next_tile, p->a_stride);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, b + p->next_column, 64);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, ld * 4);
    _tile_stored(1, c + 16, ld * 4);
    _tile_stored(2, c + next_c, ld * 4);
    _tile_stored(3, c + next_c + 16, ld * 4);
}

/* 4 tiles of pixels x 16 output channels -> c[64][16]: for small maps, whose weights pass once and
 * come from the second-level cache. */
static void multiply_4x1(const struct product *p, const char *b, int first, float *c)
{
    enum { AHEAD = 4 * TILE_BYTES };
    const ptrdiff_t next = p->next_tile;
    _Alignas(64) float spare[16 * 16];
    begin_sums(p, first, first);
    for (int t = 0, step = 0; t < p->n_taps; t++) {
        const char *a = p->a + p->tap[t];
        for (int k = 0; k < p->k_steps; k++, step++, a += 2 * K, b += TILE_BYTES) {
            if (step % STEPS_BETWEEN_STORES == STEPS_BETWEEN_STORES - 1)
                _tile_stored(0, spare, 64);
            prefetch_tile(b + AHEAD);
            _tile_loadd(6, b, 64);
            _tile_loadd(4, a, p->a_stride);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(5, a + next, p->a_stride);
            _tile_dpbf16ps(1, 5, 6);
            _tile_loadd(4, a + 2 * next, p->a_stride);
            _tile_dpbf16ps(2, 4, 6);
            _tile_loadd(5, a + 3 * next, p->a_stride);
            _tile_dpbf16ps(3, 5, 6);
        }
    }
    _tile_stored(0, c, 64);
    _tile_stored(1, c + 16 * 16, 64);
    _tile_stored(2, c + 32 * 16, 64);
    _tile_stored(3, c + 48 * 16, 64);
}

/* Where sums go, and what follows them. */
struct target {
    const struct dn_map *out;
    const struct dn_epilogue *epilogue;
    bool plain; /* nothing follows */
};

/* `n` pixels of a row, 16 channels at most, where nothing follows. */
static inline __attribute__((always_inline)) void store_tile(enum dn_type type, __mmask16 mask,
                                                             const struct dn_map *out,
                                                             const float *sums, int ld, int first,
                                                             int y, int x, int n)
{
    char *to = (char *)dn_pixel(out, y, x) + (size_t)first * dn_type_bytes(type);
    size_t step = (size_t)out->ld * dn_type_bytes(type);
    for (int p = 0; p < n; p++, sums += ld, to += step)
        store_16(type, to, 0, mask, _mm512_load_ps(sums));
}

/* Sums [n][ld] -> pixels x .. x + n of row y, channels first .. first + channels. */
static void store_row(const struct target *t, const float *sums, int ld, int first, int channels,
                      int y, int x, int n)
{
    for (; channels > 0; channels -= 16, first += 16, sums += 16) {
        __mmask16 mask = (__mmask16)(channels < 16 ? (1u << channels) - 1 : 0xffffu);
        if (t->plain && t->out->type == DN_FP32)
            store_tile(DN_FP32, mask, t->out, sums, ld, first, y, x, n);
        else if (t->plain && channels >= 16)
            store_tile(DN_BF16, 0xffff, t->out, sums, ld, first, y, x, n);
        else
            for (int p = 0; p < n; p++)
                finish_16(t->epilogue, _mm512_load_ps(sums + p * ld), t->out, y, x + p, first,
                          mask);
    }
}

/* Sums [n][ld] of output channels first .. first + channels, beginning with pixel m of a run. Pixel
 * m is (y,x) = (m / pitch, m % pitch) of the output, or nothing where x is beyond its width. */
struct block {
    const float *sums;
    int ld, first, channels, m, n, pitch;
};

static void store_block(const struct target *t, const struct block *b)
{
    for (int p = 0; p < b->n;) {
        int y = (b->m + p) / b->pitch, x = (b->m + p) % b->pitch;
        int row = b->pitch - x < b->n - p ? b->pitch - x : b->n - p;
        int valid = t->out->w - x < row ? t->out->w - x : row;
        store_row(t, b->sums + p * b->ld, b->ld, b->first, b->channels, y, x, valid);
        p += row;
    }
}

/* Stride 1: the whole map, border included, is one run of pixels. */
static void convolve_run(const struct dn_conv *cv, const struct dn_map *in, const struct target *t,
                         struct product *p)
{
    _Alignas(64) float sums[2][64 * 16];
    struct block done = {0};
    const char *weights = cv->weights;
    int pitch = in->pitch / in->ld, n = (t->out->h - 1) * pitch + t->out->w;
    bool tall = n <= 4 * ROWS; /* few pixels: every weight passes once */

    configure(ROWS);
    p->next_tile = (ptrdiff_t)ROWS * p->a_stride;
    for (int first = 0, i = 0, channels; first < cv->out_c; first += channels) {
        bool wide = !tall && cv->out_c - first > 16;
        int pixels = wide ? 2 * ROWS : 4 * ROWS;
        channels = wide ? 32 : 16;
        for (int m = 0; m < n; m += pixels, i ^= 1) {
            p->a = (const char *)in->data + m / ROWS * p->next_tile;
            if (wide)
                multiply_2x2(p, weights, first, sums[i], 2 * 16 * ROWS, 32);
            else
                multiply_4x1(p, weights, first, sums[i]);
            store_block(t, &done);
            done = (struct block){
                .sums = sums[i],
                .ld = channels,
                .first = first,
                .channels = cv->out_c - first < channels ? cv->out_c - first : channels,
                .m = m,
                .n = n - m < pixels ? n - m : pixels,
                .pitch = pitch,
            };
        }
        weights += channels / 16 * p->next_column;
    }
    store_block(t, &done);
}

/* Do sums need nothing but to be stored? */
static bool is_direct(const struct dn_conv *cv, const struct target *t)
{
    return t->plain && t->out->type == DN_FP32 && cv->out_c % 32 == 0;
}

/* Two tiles at a time; the last tile of a row may overlap the one before. */
static void convolve_rows(const struct dn_conv *cv, const struct dn_map *in, const struct target *t,
                          struct product *p)
{
    _Alignas(64) float sums[2 * 16 * 32];
    const struct dn_map *out = t->out;
    int in_row = (out->w + ROWS - 1) / ROWS, rows = (out->w + in_row - 1) / in_row;
    int tiles = out->h * in_row;
    const char *weights = cv->weights;

    configure(rows);
    for (int first = 0; first < cv->out_c; first += 32, weights += 2 * p->next_column) {
        int channels = cv->out_c - first < 32 ? cv->out_c - first : 32;
        if (channels <= 16)
            p->next_column = 0; /* the same once more, for nobody */
        for (int tile = 0; tile < tiles; tile += 2) {
            int y[2], from[2], x[2]; /* columns from .. x + rows are new */
            for (int i = 0; i < 2; i++) {
                int n = tile + i < tiles ? tile + i : tile;
                y[i] = n / in_row;
                from[i] = n % in_row * rows;
                x[i] = from[i] < out->w - rows ? from[i] : out->w - rows;
            }
            const char *next = dn_pixel(in, y[1] * cv->stride, x[1] * cv->stride);
            p->a = dn_pixel(in, y[0] * cv->stride, x[0] * cv->stride);
            p->next_tile = next - p->a;
            if (is_direct(cv, t)) {
                float *c = (float *)dn_pixel(out, y[0], x[0]) + first;
                float *next_c = (float *)dn_pixel(out, y[1], x[1]) + first;
                multiply_2x2(p, weights, first, c, next_c - c, out->ld);
                continue;
            }
            multiply_2x2(p, weights, first, sums, 16 * 32, 32);
            for (int i = 0; i < 2 && tile + i < tiles; i++)
                store_row(t, sums + (16 * i + from[i] - x[i]) * 32, 32, first, channels, y[i],
                          from[i], x[i] + rows - from[i]);
        }
    }
}

static void conv(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                 const struct dn_epilogue *e, float *scratch)
{
    if (in->type == DN_FP32) {
        ISA(dn_conv)(cv, in, out, e, scratch);
        return;
    }
    _Alignas(64) float bias[DN_MAX_CHANNELS]; /* of whole pairs of tiles */
    struct target t = {out, e, e->act == DN_ACT_NONE && !e->residual && !e->channel};
    struct product p = {.a_stride = 2 * cv->stride * in->ld,
                        .n_taps = cv->n_taps,
                        .k_steps = cv->in_c / K,
                        .next_column = (ptrdiff_t)steps_of(cv) * TILE_BYTES,
                        .bias = cv->bias ? bias : NULL};
    for (int n = 0; n < cv->n_taps; n++)
        p.tap[n] = 2 * ((ptrdiff_t)cv->dy[n] * in->pitch + (ptrdiff_t)cv->dx[n] * in->ld);
    for (int o = 0; cv->bias && o < round_up(cv->out_c, 32); o++)
        bias[o] = o < cv->out_c ? cv->bias[o] : 0.0f;
    show_tiles_memory();

    /* A tile takes hardly less time for fewer than 8 pixels: narrow maps are better off in a run.
     */
    if (cv->stride > 1 || (is_direct(cv, &t) && out->w > 8))
        convolve_rows(cv, in, &t, &p);
    else
        convolve_run(cv, in, &t, &p);
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
