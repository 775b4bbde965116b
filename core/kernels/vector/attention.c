/* Self-attention: one head after the other, its keys and values packed into scratch. */
#include "core/kernels/vector/vector.h"

/* One head's keys, transposed, and values, both padded to whole lanes, then one row of scores. */
size_t ISA(dn_attention_scratch)(int tokens, int channels, int heads)
{
    return (size_t)round_up(tokens, DN_LANES) * (size_t)(2 * (channels / heads) + 1);
}

/* Turn scores [padded] of `tokens` keys into softmax numerators, 0 beyond; returns 1 / their sum.
 */
static inline float softmax(float *restrict score, int tokens, int padded, float scale)
{
    float top[DN_LANES], sum[DN_LANES] = {0};
    for (int j = 0; j < tokens; j++)
        score[j] = score[j] * scale;
    for (int j = tokens; j < padded; j++)
        score[j] = -INFINITY;
    for (int l = 0; l < DN_LANES; l++)
        top[l] = score[l];
    for (int j = DN_LANES; j < padded; j += DN_LANES)
        for (int l = 0; l < DN_LANES; l++)
            top[l] = score[j + l] > top[l] ? score[j + l] : top[l];
    for (int half = DN_LANES / 2; half >= 1; half /= 2)
        for (int l = 0; l < half; l++)
            top[l] = top[l + half] > top[l] ? top[l + half] : top[l];
    for (int j = 0; j < padded; j += DN_LANES)
        for (int l = 0; l < DN_LANES; l++) {
            score[j + l] = dn_expf(score[j + l] - top[0]);
            sum[l] = sum[l] + score[j + l];
        }
    return 1.0f / add_lanes(sum);
}

void ISA(dn_attention)(int heads, const struct dn_map *q, const struct dn_map *k,
                       const struct dn_map *v, const struct dn_map *out,
                       const struct dn_epilogue *epilogue, float *scratch)
{
    int d = q->c / heads, padded = round_up(q->h * q->w, DN_LANES);
    float scale = 1.0f / sqrtf((float)d);
    float *restrict keys = scratch;                             /* [D][padded] */
    float *restrict values = keys + (size_t)d * (size_t)padded; /* [padded][D] */
    float *restrict score = values + (size_t)d * (size_t)padded;

    memset(keys, 0, (size_t)d * (size_t)padded * sizeof *keys);
    for (int head = 0; head < heads; head++) {
        int tokens = 0;
        for (int y = 0; y < k->h; y++) {
            for (int x = 0; x < k->w; x++, tokens++) {
                const float *key = pixel(k, y, x) + head * d, *value = pixel(v, y, x) + head * d;
                for (int e = 0; e < d; e++) {
                    keys[e * padded + tokens] = key[e];
                    values[tokens * d + e] = value[e];
                }
            }
        }
        for (int y = 0; y < q->h; y++) {
            for (int x = 0; x < q->w; x++) {
                const float *query = pixel(q, y, x) + head * d;
                for (int j = 0; j < padded; j += DN_LANES) {
                    float dot[DN_LANES] = {0};
                    for (int e = 0; e < d; e++)
                        for (int l = 0; l < DN_LANES; l++)
                            dot[l] = dot[l] + query[e] * keys[e * padded + j + l];
                    memcpy(score + j, dot, sizeof dot);
                }
                float inverse = softmax(score, tokens, padded, scale);
                /* A lane a channel: sixteen sums stay in registers over the tokens. */
                for (int e = 0; e < d; e += DN_LANES) {
                    int n = d - e < DN_LANES ? d - e : DN_LANES;
                    float sum[DN_LANES] = {0};
                    if (n == DN_LANES) {
                        for (int j = 0; j < tokens; j++)
                            for (int l = 0; l < DN_LANES; l++)
                                sum[l] = sum[l] + score[j] * values[j * d + e + l];
                    } else {
                        for (int j = 0; j < tokens; j++)
                            for (int l = 0; l < n; l++)
                                sum[l] = sum[l] + score[j] * values[j * d + e + l];
                    }
                    for (int l = 0; l < n; l++)
                        sum[l] = sum[l] * inverse;
                    finish(epilogue, sum, out, y, x, head * d + e, n);
                }
            }
        }
    }
}
