/*
 * bf16 in plain C: the convolution with the order of sums of AMX, so that its results have the same
 * bits on any processor. Everything but the convolution is as in reference.c.
 */
#include <float.h>

#include "core/kernels/bf16.h"
#include "core/kernels/kernels.h"

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

/* One output value: in steps of 32 channels, a chain of fused multiply-adds over the even channels
 * and one over the odd (Intel SDM, TDPBF16PS). */
static float dot(const struct dn_conv *cv, const struct dn_map *in, int y, int x, int o)
{
    float sum = 0.0f;
    for (int n = 0; n < cv->n_taps; n++) {
        const uint16_t *p = dn_pixel(in, y * cv->stride + cv->dy[n], x * cv->stride + cv->dx[n]);
        const uint16_t *w =
            (const uint16_t *)cv->weights + (size_t)n * (size_t)(cv->in_c * cv->out_c) + o;
        for (int first = 0; first < cv->in_c; first += 32) {
            float chain[2] = {0.0f, 0.0f};
            for (int i = first; i < first + 32; i++)
                chain[i & 1] = flush(fmaf(flush(dn_bf16_to_float(p[i])),
                                          flush(dn_bf16_to_float(w[i * cv->out_c])), chain[i & 1]));
            sum = flush(sum + flush(chain[0] + chain[1]));
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
                float r = dot(cv, in, y, x, o) + (cv->bias ? cv->bias[o] : 0.0f);
                r = dn_activate(e->act, r);
                if (e->residual)
                    r = r + dn_load(dn_pixel(e->residual, y, x), e->residual->type, o);
                if (e->channel)
                    r = r + e->channel[o];
                dn_store(dn_pixel(out, y, x), out->type, o, r);
            }
        }
    }
}
