/*
 * Self-attention with a lane a query: scores, softmax and weighted values of DN_LANES queries go
 * side by side, so that every maximum and every sum runs over registers and never across one. Only
 * queries and results have to be transposed.
 */
#include "core/kernels/vector/vector.h"

enum {
    PARTS = DN_LANES / V_LANES,       /* registers of DN_LANES queries */
    SUMS = V_REGISTERS / (2 * PARTS), /* of so many registers, at a time */
};

/* Queries, later results, [C][padded]; the scores of DN_LANES queries, [T][DN_LANES]; keys and
 * values, [T][C] each, where their maps are not that. */
size_t ISA(dn_attention_scratch)(int tokens, int channels, int heads)
{
    (void)heads;
    return (size_t)channels * (size_t)(round_up(tokens, DN_LANES) + 2 * tokens) +
           (size_t)(tokens * DN_LANES);
}

/* sum[i * sum_ld ..] = sum over k of a[k * a_ld ..] b[i * b_step + k * b_ld], for DN_LANES lanes
 * and `n` sums (a constant after inlining). */
static inline __attribute__((always_inline)) void sums_of(int n, int depth, const float *a,
                                                          int a_ld, const float *b, int b_step,
                                                          int b_ld, float *sums, int sum_ld)
{
    vfloat sum[SUMS][PARTS];
#pragma GCC unroll 16
    for (int i = 0; i < n; i++)
#pragma GCC unroll 4
        for (int v = 0; v < PARTS; v++)
            sum[i][v] = v_set(0.0f);
    for (int k = 0; k < depth; k++, a += a_ld, b += b_ld) {
        vfloat x[PARTS];
#pragma GCC unroll 4
        for (int v = 0; v < PARTS; v++)
            x[v] = v_load(a + v * V_LANES);
#pragma GCC unroll 16
        for (int i = 0; i < n; i++) {
            vfloat y = v_set(b[i * b_step]);
#pragma GCC unroll 4
            for (int v = 0; v < PARTS; v++)
                sum[i][v] = v_fma(y, x[v], sum[i][v]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; i++)
#pragma GCC unroll 4
        for (int v = 0; v < PARTS; v++)
            v_store(sums + i * sum_ld + v * V_LANES, sum[i][v]);
}

/* Scores [T][DN_LANES] -> numerators of the softmax; 1 / their sums to inverse. */
static inline void softmax(float *restrict score, int tokens, float inverse[DN_LANES])
{
    const float *end = score + tokens * DN_LANES;
    float top[DN_LANES], sum[DN_LANES] = {0};

    memcpy(top, score, sizeof top);
    for (const float *s = score + DN_LANES; s < end; s += DN_LANES)
#pragma GCC unroll 1 /* unrolled, it is sixteen scalars to gcc */
        for (int l = 0; l < DN_LANES; l++)
            top[l] = s[l] > top[l] ? s[l] : top[l];
    for (float *s = score; s < end; s += DN_LANES)
        for (int l = 0; l < DN_LANES; l++) {
            s[l] = dn_expf(s[l] - top[l]);
            sum[l] = sum[l] + s[l];
        }
    for (int l = 0; l < DN_LANES; l++)
        inverse[l] = 1.0f / sum[l];
}

/* A map as [T][ld], copied to `room` where its rows do not follow each other. */
struct tokens {
    const float *data;
    int ld;
};

static struct tokens tokens_of(const struct dn_map *map, float *room)
{
    if (map->pitch == map->w * map->ld)
        return (struct tokens){map->data, map->ld};
    for (int i = 0; i < map->h * map->w; i++)
        memcpy(room + i * map->c, pixel(map, i / map->w, i % map->w),
               (size_t)map->c * sizeof *room);
    return (struct tokens){room, map->c};
}

/* DN_LANES queries of a head, [D][padded], which make room for the result. */
static void attend(int n, int d, float *queries, int padded, struct tokens keys,
                   struct tokens values, float *restrict score)
{
    float inverse[DN_LANES];
    int j = 0, e = 0;

    for (; j + SUMS <= n; j += SUMS)
        sums_of(SUMS, d, queries, padded, keys.data + j * keys.ld, keys.ld, 1, score + j * DN_LANES,
                DN_LANES);
    for (; j < n; j++)
        sums_of(1, d, queries, padded, keys.data + j * keys.ld, keys.ld, 1, score + j * DN_LANES,
                DN_LANES);
    softmax(score, n, inverse);
    for (; e + SUMS <= d; e += SUMS)
        sums_of(SUMS, n, score, DN_LANES, values.data + e, 1, values.ld, queries + e * padded,
                padded);
    for (; e < d; e++)
        sums_of(1, n, score, DN_LANES, values.data + e, 1, values.ld, queries + e * padded, padded);
    for (e = 0; e < d; e++)
        for (int l = 0; l < DN_LANES; l++)
            queries[e * padded + l] = queries[e * padded + l] * inverse[l];
}

void ISA(dn_attention)(int heads, const struct dn_map *q, const struct dn_map *k,
                       const struct dn_map *v, const struct dn_map *out,
                       const struct dn_epilogue *epilogue, float *scratch)
{
    int d = q->c / heads, tokens = q->h * q->w, padded = round_up(tokens, DN_LANES);
    float scale = 1.0f / sqrtf((float)d);
    float *queries = scratch, *score = queries + (size_t)q->c * (size_t)padded;
    float *room = score + tokens * DN_LANES;
    struct tokens keys = tokens_of(k, room), values = tokens_of(v, room + tokens * q->c);
    float row[DN_MAX_CHANNELS];

    for (int i = 0; i < padded; i++) { /* beyond the last token that one again */
        int token = i < tokens ? i : tokens - 1;
        const float *query = pixel(q, token / q->w, token % q->w);
        for (int c = 0; c < q->c; c++)
            queries[c * padded + i] = query[c] * scale;
    }
    for (int c = 0; c < q->c; c += d, keys.data += d, values.data += d)
        for (int i = 0; i < padded; i += DN_LANES)
            attend(tokens, d, queries + c * padded + i, padded, keys, values, score);
    for (int i = 0; i < tokens; i++) {
        int y = i / q->w, x = i % q->w;
        for (int c = 0; c < q->c; c++)
            row[c] = queries[c * padded + i];
        finish(epilogue, row, out, y, x, 0, q->c);
    }
}
