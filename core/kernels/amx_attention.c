/*
 * Self-attention on AMX, for heads of a multiple of 16 channels: scores from bf16 queries and keys,
 * the softmax's numerators in fp32 and rounded to bf16, their products with bf16 values, and their
 * sums as products with ones.
 *
 * Keys and values are laid out once as the second operand wants them, pairs of what is summed over
 * side by side. Then each head takes QUERIES queries at a time: all their scores, all their
 * numerators, all their results, so that the matrix unit and the rest seldom wait for each other.
 *
 * The order of sums is that of TDPBF16PS over 16 channels, and over 32 tokens; reference_bf16.c
 * repeats it in C.
 */
#include "core/kernels/amx.h"

enum {
    ROWS = 16,  /* of a tile: queries */
    WIDTH = 16, /* of a tile in floats: keys, or channels of values */
    CHANNELS = DN_BF16_HEAD,
    TOKENS = 32,             /* whose values one instruction takes */
    QUERIES = 64,            /* whose scores stay in the first-level cache */
    KEYS = WIDTH * CHANNELS, /* values of a tile of keys */
    VALUES = TOKENS * WIDTH, /* and of values */
    ROW_BYTES = 4 * WIDTH,
};

/* 0 = 4 x 5, scores of queries and keys; 1 = 6 x 7, results of numerators and values; 2 = 6 x 3,
 * sums of numerators. */
static const struct tile_config config = {
    .palette = 1,
    .column_bytes = {64, 64, 4, 4, 2 * CHANNELS, 64, 64, 64},
    .rows = {ROWS, ROWS, ROWS, TOKENS / 2, ROWS, CHANNELS / 2, ROWS, TOKENS / 2},
};

/* A map as [T][ld]; the memory behind it can be read. */
struct tokens {
    const uint16_t *data;
    int ld;
};

/* What lies in the scratch memory; T rounded up to `padded`. */
struct room {
    int padded;
    uint16_t *tokens[3];  /* [T][C], maps that are not that */
    uint16_t *keys;       /* [C/16][T/16] tiles [8][16][2] of channels, tokens, channels */
    uint16_t *values;     /* [C/16][T/32] tiles [16][16][2] of tokens, channels, tokens */
    float *scores;        /* [QUERIES][T] */
    uint16_t *numerators; /* [QUERIES][T] */
};

size_t dn_amx_attention_scratch(int tokens, int channels, int heads)
{
    size_t padded = (size_t)round_up(tokens, TOKENS);
    if (channels / heads % CHANNELS)
        return ISA(dn_attention_scratch)(tokens, channels, heads);
    return 5 * padded * (size_t)channels / 2 + QUERIES * padded + QUERIES * padded / 2;
}

static struct room divide(float *scratch, int tokens, int channels)
{
    struct room r = {.padded = round_up(tokens, TOKENS)};
    size_t map = (size_t)r.padded * (size_t)channels;
    uint16_t *at = (uint16_t *)(scratch + QUERIES * r.padded);
    r.scores = scratch;
    for (int i = 0; i < 3; i++, at += map)
        r.tokens[i] = at;
    r.keys = at;
    r.values = at + map;
    r.numerators = at + 2 * map;
    return r;
}

static struct tokens tokens_of(const struct dn_map *map, uint16_t *room)
{
    if (map->type == DN_BF16 && map->pitch == map->w * map->ld)
        return (struct tokens){map->data, map->ld};
    for (int i = 0; i < map->h * map->w; i++)
        for (int c = 0; c < map->c; c += WIDTH)
            store_16(DN_BF16, room + i * map->c, c, 0xffff,
                     load_16(map->type, dn_pixel(map, i / map->w, i % map->w), c, 0xffff));
    return (struct tokens){room, map->c};
}

/* Eight channels of token `i`; beyond the last token that one again. */
static inline __m128i eight_of(struct tokens k, int n, int i, int c)
{
    return _mm_loadu_si128((const __m128i *)(k.data + (i < n ? i : n - 1) * k.ld + c));
}

/* Tiles of 16 tokens: pairs of channels are transposed as if they were one value. */
static void lay_out_keys(struct tokens k, int n, int channels, uint16_t *to)
{
    for (int first = 0; first < channels; first += CHANNELS) {
        for (int i = 0; i < n; i += WIDTH) {
            for (int c = first; c < first + CHANNELS; c += 8, to += 4 * 2 * WIDTH) {
                __m512i r[4];
                for (int j = 0; j < 4; j++) {
                    r[j] = _mm512_castsi128_si512(eight_of(k, n, i + j, c));
                    r[j] = _mm512_inserti32x4(r[j], eight_of(k, n, i + j + 4, c), 1);
                    r[j] = _mm512_inserti32x4(r[j], eight_of(k, n, i + j + 8, c), 2);
                    r[j] = _mm512_inserti32x4(r[j], eight_of(k, n, i + j + 12, c), 3);
                }
                __m512i a = _mm512_unpacklo_epi32(r[0], r[1]),
                        b = _mm512_unpackhi_epi32(r[0], r[1]);
                __m512i d = _mm512_unpacklo_epi32(r[2], r[3]),
                        e = _mm512_unpackhi_epi32(r[2], r[3]);
                _mm512_storeu_si512(to, _mm512_unpacklo_epi64(a, d));
                _mm512_storeu_si512(to + 2 * WIDTH, _mm512_unpackhi_epi64(a, d));
                _mm512_storeu_si512(to + 4 * WIDTH, _mm512_unpacklo_epi64(b, e));
                _mm512_storeu_si512(to + 6 * WIDTH, _mm512_unpackhi_epi64(b, e));
            }
        }
    }
}

/* Tiles of 32 tokens: the channels of two tokens by turns. Beyond the last token zeros. */
static void lay_out_values(struct tokens v, int n, int channels, uint16_t *to)
{
    uint16_t order[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        order[i] = (uint16_t)(i / 2 + i % 2 * WIDTH);
    const __m512i by_turns = _mm512_loadu_si512(order);
    for (int c = 0; c < channels; c += WIDTH) {
        for (int i = 0; i < round_up(n, TOKENS); i += 2, to += 2 * WIDTH) {
            const __m256i *even = (const __m256i *)(v.data + i * v.ld + c);
            const __m256i *odd = (const __m256i *)(v.data + (i + 1) * v.ld + c);
            __m512i pair = _mm512_setzero_si512();
            if (i < n)
                pair = _mm512_inserti64x4(pair, _mm256_loadu_si256(even), 0);
            if (i + 1 < n)
                pair = _mm512_inserti64x4(pair, _mm256_loadu_si256(odd), 1);
            _mm512_storeu_si512(to, _mm512_permutexvar_epi16(by_turns, pair));
        }
    }
}

/* dn_exp2f_bf16(). */
static inline __m512 exp2_of(__m512 t)
{
    __m512 f = _mm512_reduce_ps(t, 1); /* what is above the next lower integer */
    __m512 p = _mm512_set1_ps(7.80245289e-2f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.26067185e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.95833504e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.99925196e-1f));
    return _mm512_scalef_ps(p, t);
}

/* The numerators of one query. */
static void numerators_of(const float *score, int n, float to_exponent, uint16_t *to)
{
    const __m512 by = _mm512_set1_ps(to_exponent);
    __m512 top = _mm512_loadu_ps(score);
    for (int j = WIDTH; j < n; j += WIDTH) /* keys beyond the last are that one again */
        top = _mm512_max_ps(top, _mm512_loadu_ps(score + j));
    top = _mm512_set1_ps(_mm512_reduce_max_ps(top));
    for (int j = 0; j < n; j += TOKENS) {
        __m512 low = _mm512_sub_ps(_mm512_loadu_ps(score + j), top);
        __m512 high = _mm512_sub_ps(_mm512_loadu_ps(score + j + WIDTH), top);
        __mmask32 valid = n - j < TOKENS ? (1u << (n - j)) - 1 : ~0u;
        low = exp2_of(_mm512_mul_ps(low, by));
        high = exp2_of(_mm512_mul_ps(high, by));
        _mm512_storeu_si512(to + j, (__m512i)_mm512_maskz_cvtne2ps_pbh(valid, high, low));
    }
}

/* Scores of `tiles` tiles of queries, all keys, the channels of one head. */
static void multiply_keys(const struct room *r, struct tokens q, int tiles, int n, int d, int head)
{
    int columns = (n + WIDTH - 1) / WIDTH;
    for (int column = 0; column < columns; column++) {
        for (int t = 0; t < tiles; t++) {
            _tile_zero(0);
            for (int c = head; c < head + d; c += CHANNELS) {
                _tile_loadd(4, q.data + t * ROWS * q.ld + c, 2 * q.ld);
                _tile_loadd(5, r->keys + (c / CHANNELS * columns + column) * KEYS, ROW_BYTES);
                _tile_dpbf16ps(0, 4, 5);
            }
            _tile_stored(0, r->scores + t * ROWS * r->padded + column * WIDTH, 4 * r->padded);
        }
    }
}

/* Sums of numerators, and their products with the values of 16 channels. */
static void multiply_values(const struct room *r, int tiles, int c, float *sums, float *results)
{
    const uint16_t *values = r->values + c * r->padded;
    for (int t = 0; t < tiles; t++) {
        _tile_zero(1);
        _tile_zero(2);
        for (int j = 0; j < r->padded; j += TOKENS) {
            _tile_loadd(6, r->numerators + t * ROWS * r->padded + j, 2 * r->padded);
            _tile_loadd(7, values + j * WIDTH, ROW_BYTES);
            _tile_dpbf16ps(1, 6, 7);
            _tile_dpbf16ps(2, 6, 3);
        }
        _tile_stored(1, results + t * ROWS * WIDTH, ROW_BYTES);
        _tile_stored(2, sums + t * ROWS, 4);
    }
}

void dn_amx_attention(int heads, const struct dn_map *q, const struct dn_map *k,
                      const struct dn_map *v, const struct dn_map *out,
                      const struct dn_epilogue *epilogue, float *scratch)
{
    int n = q->h * q->w, d = q->c / heads;
    if (d % CHANNELS) {
        ISA(dn_attention)(heads, q, k, v, out, epilogue, scratch);
        return;
    }
    _Alignas(64) float results[QUERIES * WIDTH], sums[QUERIES];
    _Alignas(64) uint16_t ones[TOKENS];
    float to_exponent = 1.44269504f / sqrtf((float)d);
    struct room r = divide(scratch, n, q->c);
    struct tokens queries = tokens_of(q, r.tokens[0]);

    lay_out_keys(tokens_of(k, r.tokens[1]), n, q->c, r.keys);
    lay_out_values(tokens_of(v, r.tokens[2]), n, q->c, r.values);
    for (int i = 0; i < TOKENS; i++)
        ones[i] = dn_bf16_of_float(1.0f);
    load_tile_config(&config);
    show_tiles_memory();
    _tile_loadd(3, ones, 4);
    for (int first = 0; first < n; first += QUERIES, queries.data += QUERIES * queries.ld) {
        int valid = n - first < QUERIES ? n - first : QUERIES;
        int tiles = (valid + ROWS - 1) / ROWS;
        for (int head = 0; head < q->c; head += d) {
            multiply_keys(&r, queries, tiles, n, d, head);
            for (int i = 0; i < valid; i++)
                numerators_of(r.scores + i * r.padded, n, to_exponent, r.numerators + i * r.padded);
            show_tiles_memory();
            for (int c = head; c < head + d; c += WIDTH) {
                multiply_values(&r, tiles, c, sums, results);
                for (int i = 0; i < tiles * ROWS; i += WIDTH)
                    _mm512_store_ps(sums + i,
                                    _mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_load_ps(sums + i)));
                for (int i = 0, y = first / q->w, x = first % q->w; i < valid; i++) {
                    __m512 v16 =
                        _mm512_mul_ps(_mm512_load_ps(results + i * WIDTH), _mm512_set1_ps(sums[i]));
                    finish_16(epilogue, v16, out, y, x, c, 0xffff);
                    if (++x == q->w)
                        x = 0, y++;
                }
            }
        }
    }
    _tile_release();
}
