/*
 * The UNet's elementwise work on a CPU for training, in one pass: y = [c +] SiLU(GroupNorm(c + t)).
 *
 * PyTorch takes five passes over memory and two conversions for it, half of a training step. One
 * group of channels of one image lies together in NCHW and fits the L1 cache, so each is read once.
 * Maps are bfloat16 as raw bits, everything else and all arithmetic fp32. fused.py compiles and
 * calls this; all memory is the caller's. Any thread may call; `threads` OpenMP threads work on it.
 *
 * Shapes: c, y, dy, dc [N,C,S], time and dtime [N,C] or NULL, weight and bias [C], dweight and
 * dbias [N,C]: the caller sums over N. A group has C / groups * S values, at most
 * FUSED_MOST_VALUES.
 */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { FUSED_MOST_VALUES = 4096 };

struct fused_shape {
    int32_t images, channels, pixels, groups, threads;
    int32_t residual; /* bool: add c */
    float eps;
};

static inline float from_bf16(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

static inline uint16_t to_bf16(float value) /* to nearest, ties to even */
{
    uint32_t wide;
    memcpy(&wide, &value, sizeof wide);
    return (uint16_t)((wide + 0x7fffU + ((wide >> 16) & 1U)) >> 16);
}

/* c + t into x, then normalised; returns 1 / standard deviation. */
static float normalise(const struct fused_shape *s, const uint16_t *c, const float *time, float *x)
{
    const int n = s->channels / s->groups * s->pixels;
    float sum = 0, squares = 0;
    for (int i = 0; i < n; i++)
        x[i] = from_bf16(c[i]);
    if (time != NULL)
        for (int ch = 0; ch < s->channels / s->groups; ch++)
            for (int i = 0; i < s->pixels; i++)
                x[ch * s->pixels + i] += time[ch];
    for (int i = 0; i < n; i++)
        sum += x[i];
    const float mean = sum / (float)n;
    for (int i = 0; i < n; i++) {
        x[i] -= mean;
        squares += x[i] * x[i];
    }
    const float scale = 1.0F / sqrtf(squares / (float)n + s->eps);
    for (int i = 0; i < n; i++)
        x[i] *= scale;
    return scale;
}

void fused_forward(const struct fused_shape *s, const uint16_t *c, const float *time,
                   const float *weight, const float *bias, uint16_t *y)
{
    const int each = s->channels / s->groups;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int at = 0; at < s->images * s->groups; at++) {
        float x[FUSED_MOST_VALUES];
        const ptrdiff_t first = (ptrdiff_t)at * each; /* of the group's channels in [N,C] */
        const uint16_t *in = c + first * s->pixels;
        uint16_t *out = y + first * s->pixels;
        normalise(s, in, time == NULL ? NULL : time + first, x);
        for (int ch = 0; ch < each; ch++) {
            const float w = weight[at % s->groups * each + ch];
            const float b = bias[at % s->groups * each + ch];
            for (int i = ch * s->pixels; i < (ch + 1) * s->pixels; i++) {
                const float z = x[i] * w + b;
                const float kept = s->residual ? from_bf16(in[i]) : 0.0F;
                out[i] = to_bf16(kept + z / (1.0F + expf(-z)));
            }
        }
    }
}

void fused_backward(const struct fused_shape *s, const uint16_t *c, const float *time,
                    const float *weight, const float *bias, const uint16_t *dy, uint16_t *dc,
                    float *dtime, float *dweight, float *dbias)
{
    const int each = s->channels / s->groups;
    const float inverse = 1.0F / (float)(each * s->pixels);
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int at = 0; at < s->images * s->groups; at++) {
        float x[FUSED_MOST_VALUES], dx[FUSED_MOST_VALUES];
        const ptrdiff_t first = (ptrdiff_t)at * each;
        const uint16_t *din = dy + first * s->pixels;
        uint16_t *out = dc + first * s->pixels;
        const float scale =
            normalise(s, c + first * s->pixels, time == NULL ? NULL : time + first, x);
        float sum = 0, along = 0;
        for (int ch = 0; ch < each; ch++) {
            const float w = weight[at % s->groups * each + ch];
            const float b = bias[at % s->groups * each + ch];
            float dw = 0, db = 0;
            for (int i = ch * s->pixels; i < (ch + 1) * s->pixels; i++) {
                const float z = x[i] * w + b;
                const float sigmoid = 1.0F / (1.0F + expf(-z));
                const float dz = from_bf16(din[i]) * sigmoid * (1.0F + z * (1.0F - sigmoid));
                dw += dz * x[i];
                db += dz;
                dx[i] = dz * w;
            }
            dweight[first + ch] = dw;
            dbias[first + ch] = db;
            sum += db * w;
            along += dw * w;
        }
        sum *= inverse;
        along *= inverse;
        for (int ch = 0; ch < each; ch++) {
            float total = 0;
            for (int i = ch * s->pixels; i < (ch + 1) * s->pixels; i++) {
                const float d = scale * (dx[i] - sum - x[i] * along);
                total += d;
                out[i] = to_bf16(d + (s->residual ? from_bf16(din[i]) : 0.0F));
            }
            if (dtime != NULL)
                dtime[first + ch] = total;
        }
    }
}
