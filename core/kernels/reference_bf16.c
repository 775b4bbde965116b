/*
 * bf16 in plain C: convolution and attention with the order of sums of AMX, so that their results
 * have the same bits on any processor. Everything else is as in reference.c.
 */
#include <float.h>

#include "core/kernels/reference.h"

/* The matrix unit takes and gives zeros for what is smaller than a normal number. */
static float flush(float f)
{
    return fabsf(f) < FLT_MIN ? copysignf(0.0f, f) : f;
}

size_t dn_reference_bf16_conv_packed(const struct dn_conv *cv)
{
    return cv->type == DN_FP32
               ? dn_kernels_reference.conv_packed(cv)
               : sizeof(uint16_t) * (size_t)(cv->n_taps * cv->in_c) * (size_t)cv->out_c;
}

void dn_reference_bf16_conv_pack(void *packed, const struct dn_conv *cv, const float *weights)
{
    if (cv->type == DN_FP32) {
        dn_kernels_reference.conv_pack(packed, cv, weights);
        return;
    }
    for (size_t i = 0; i < dn_reference_bf16_conv_packed(cv) / sizeof(uint16_t); i++)
        ((uint16_t *)packed)[i] = dn_bf16_of_float(weights[i]);
}

size_t dn_reference_bf16_conv_scratch(const struct dn_conv *cv)
{
    return cv->type == DN_FP32 ? dn_kernels_reference.conv_scratch(cv) : 0;
}

/* sum + a b as one instruction has it: a chain of fused multiply-adds over the even products and
 * one over the odd (Intel SDM, TDPBF16PS). */
static float add_products(float sum, int n, const float *a, const float *b)
{
    float chain[2] = {0.0f, 0.0f};
    for (int i = 0; i < n; i++)
        chain[i & 1] = flush(fmaf(flush(a[i]), flush(b[i]), chain[i & 1]));
    return flush(sum + flush(chain[0] + chain[1]));
}

/* One output value before the epilogue, the bias first, in steps of 32 channels. */
static float dot(const struct dn_conv *cv, const struct dn_map *in, int y, int x, int o)
{
    enum { STEP = 32 };
    float sum = cv->bias ? flush(cv->bias[o]) : 0.0f, a[STEP], b[STEP];
    for (int n = 0; n < cv->n_taps; n++) {
        const uint16_t *p = dn_pixel(in, y * cv->stride + cv->dy[n], x * cv->stride + cv->dx[n]);
        const uint16_t *w =
            (const uint16_t *)cv->weights + (size_t)n * (size_t)(cv->in_c * cv->out_c) + o;
        for (int first = 0; first < cv->in_c; first += STEP) {
            for (int i = 0; i < STEP; i++) {
                a[i] = dn_bf16_to_float(p[first + i]);
                b[i] = dn_bf16_to_float(w[(first + i) * cv->out_c]);
            }
            sum = add_products(sum, STEP, a, b);
        }
    }
    return sum;
}

void dn_reference_bf16_conv(const struct dn_conv *cv, const struct dn_map *in,
                            const struct dn_map *out, const struct dn_epilogue *e, float *scratch)
{
    if (in->type == DN_FP32) {
        dn_kernels_reference.conv(cv, in, out, e, scratch);
        return;
    }
    for (int y = 0; y < out->h; y++) {
        for (int x = 0; x < out->w; x++) {
            for (int o = 0; o < cv->out_c; o++) {
                finish(e, dot(cv, in, y, x, o), out, y, x, o);
            }
        }
    }
}

size_t dn_reference_bf16_attention_scratch(int tokens, int channels, int heads)
{
    size_t fp32 = dn_kernels_reference.attention_scratch(tokens, channels, heads);
    return fp32 > (size_t)tokens ? fp32 : (size_t)tokens;
}

/* Channel c of token i, rounded to bf16. */
static float token(const struct dn_map *map, int i, int c)
{
    float f = dn_load(dn_pixel(map, i / map->w, i % map->w), map->type, c);
    return dn_bf16_to_float(dn_bf16_of_float(f));
}

/* Scores in steps of 16 channels, results and the numerators' sums in steps of 32 tokens. */
void dn_reference_bf16_attention(int heads, const struct dn_map *q, const struct dn_map *k,
                                 const struct dn_map *v, const struct dn_map *out,
                                 const struct dn_epilogue *e, float *scratch)
{
    enum { CHANNELS = DN_BF16_HEAD, TOKENS = 32 };
    int tokens = q->h * q->w, d = q->c / heads;
    float to_exponent = 1.44269504f / sqrtf((float)d), a[TOKENS], b[TOKENS];

    if (d % DN_BF16_HEAD) {
        dn_kernels_reference.attention(heads, q, k, v, out, e, scratch);
        return;
    }
    for (int head = 0; head < q->c; head += d) {
        for (int i = 0; i < tokens; i++) {
            float top = -INFINITY, sum = 0.0f;
            for (int j = 0; j < tokens; j++) {
                scratch[j] = 0.0f;
                for (int c = head; c < head + d; c += CHANNELS) {
                    for (int l = 0; l < CHANNELS; l++) {
                        a[l] = token(q, i, c + l);
                        b[l] = token(k, j, c + l);
                    }
                    scratch[j] = add_products(scratch[j], CHANNELS, a, b);
                }
                top = scratch[j] > top ? scratch[j] : top;
            }
            for (int j = 0; j < tokens; j++)
                scratch[j] = dn_bf16_to_float(
                    dn_bf16_of_float(dn_exp2f_bf16((scratch[j] - top) * to_exponent)));
            for (int c = head - 1; c < head + d; c++) { /* first the numerators' sum */
                float r = 0.0f;
                for (int first = 0; first < tokens; first += TOKENS) {
                    int n = tokens - first < TOKENS ? tokens - first : TOKENS;
                    for (int l = 0; l < n; l++)
                        b[l] = c < head ? 1.0f : token(v, first + l, c);
                    r = add_products(r, n, scratch + first, b);
                }
                if (c < head)
                    sum = 1.0f / r;
                else
                    finish(e, r * sum, out, i / q->w, i % q->w, c);
            }
        }
    }
}
