/* Normalisations and what goes by element. */
#include "core/kernels/vector/vector.h"

/* Sixteen floats in whatever registers there are; only arithmetic is asked of it. */
typedef float lanes __attribute__((vector_size(DN_LANES * sizeof(float))));

static inline lanes load_lanes(const void *pixel, enum dn_type type, int c)
{
    float v[DN_LANES];
    lanes r;
    for (int l = 0; l < DN_LANES; l++)
        v[l] = dn_load(pixel, type, c + l);
    memcpy(&r, v, sizeof r);
    return r;
}

/*
 * sum[0..C) of a map, or of the squares of its distances from middle[0..C) where that is given: row
 * by row, then over the rows. Four rows are summed side by side, because one sum waits for its own
 * last addition.
 */
static inline __attribute__((always_inline)) void
channel_sums(const struct dn_map *in, enum dn_type type, const float *middle, float *sum)
{
    enum { ROWS = 4 };
    int c = 0;
    for (; c + DN_LANES <= in->c; c += DN_LANES) {
        lanes center = {0}, total = {0};
        if (middle)
            memcpy(&center, middle + c, sizeof center);
        for (int y = 0; y < in->h; y += ROWS) {
            int n = in->h - y < ROWS ? in->h - y : ROWS;
            const char *p[ROWS];
            lanes row[ROWS] = {{0}};
            for (int i = 0; i < ROWS; i++)
                p[i] = dn_pixel(in, y + (i < n ? i : n - 1), 0);
            for (int x = 0; x < in->w; x++) {
#pragma GCC unroll 4
                for (int i = 0; i < ROWS; i++) {
                    lanes v = load_lanes(p[i], type, x * in->ld + c);
                    lanes d = v - center;
                    row[i] = row[i] + (middle ? d * d : v);
                }
            }
            for (int i = 0; i < n; i++)
                total = total + row[i];
        }
        memcpy(sum + c, &total, sizeof total);
    }
    for (; c < in->c; c++) {
        float total = 0.0f;
        for (int y = 0; y < in->h; y++) {
            const void *p = dn_pixel(in, y, 0);
            float row = 0.0f;
            for (int x = 0; x < in->w; x++) {
                float v = dn_load(p, type, x * in->ld + c);
                float d = middle ? v - middle[c] : v;
                row = row + (middle ? d * d : v);
            }
            total = total + row;
        }
        sum[c] = total;
    }
}

static void sums_of(const struct dn_map *in, const float *middle, float *sum)
{
    if (in->type == DN_BF16)
        middle ? channel_sums(in, DN_BF16, middle, sum) : channel_sums(in, DN_BF16, NULL, sum);
    else
        middle ? channel_sums(in, DN_FP32, middle, sum) : channel_sums(in, DN_FP32, NULL, sum);
}

enum { BLOCK = 32 }; /* channels at a time: whole registers of bf16 too */

/* Channels c .. c + n of a row of pixels; `n` is a constant after inlining. */
static inline __attribute__((always_inline)) void
scale_row(int n, int c, int y, const struct dn_map *in, enum dn_type in_type, const float *scale,
          const float *shift, const struct dn_map *out, enum dn_type out_type, enum dn_act act,
          const struct dn_map *residual, enum dn_type residual_type, const float *channel)
{
    float a[BLOCK], b[BLOCK], add[BLOCK];
    for (int l = 0; l < n; l++) {
        a[l] = scale ? scale[c + l] : 1.0f;
        b[l] = scale ? shift[c + l] : 0.0f;
        add[l] = channel ? channel[c + l] : 0.0f;
    }
    for (int x = 0; x < out->w; x++) {
        const void *p = dn_pixel(in, y, x);
        const void *q = residual ? dn_pixel(residual, y, x) : NULL;
        void *to = dn_pixel(out, y, x);
#if !defined(__clang__)
#pragma GCC ivdep
#endif
        for (int l = 0; l < n; l++) {
            float v = dn_load(p, in_type, c + l);
            v = dn_activate(act, scale ? v * a[l] + b[l] : v);
            if (residual)
                v = v + dn_load(q, residual_type, c + l);
            if (channel)
                v = v + add[l];
            dn_store(to, out_type, c + l, v);
        }
    }
}

/* act(in * scale + shift) + residual + channel -> out for all pixels; scale NULL is 1. After
 * inlining the types, the activation and whether there is a scale and a residual are constants. */
static inline __attribute__((always_inline)) void
scale_map(const struct dn_map *in, enum dn_type in_type, const float *scale, const float *shift,
          const struct dn_map *out, enum dn_type out_type, enum dn_act act,
          const struct dn_map *residual, enum dn_type residual_type, const float *channel)
{
    for (int y = 0; y < out->h; y++) {
        int c = 0;
        for (; c + BLOCK <= out->c; c += BLOCK)
            scale_row(BLOCK, c, y, in, in_type, scale, shift, out, out_type, act, residual,
                      residual_type, channel);
        for (; c < out->c; c++)
            scale_row(1, c, y, in, in_type, scale, shift, out, out_type, act, residual,
                      residual_type, channel);
    }
}

static inline __attribute__((always_inline)) void
scale_act(const struct dn_map *in, const float *scale, const float *shift, const struct dn_map *out,
          enum dn_type out_type, enum dn_act act, const struct dn_epilogue *e)
{
    if (scale && in->type == DN_FP32 && !e->channel && !e->residual)
        scale_map(in, DN_FP32, scale, shift, out, out_type, act, NULL, DN_FP32, NULL);
    else if (scale && in->type == DN_FP32 && !e->channel && e->residual->type == DN_FP32)
        scale_map(in, DN_FP32, scale, shift, out, out_type, act, e->residual, DN_FP32, NULL);
    else
        scale_map(in, in->type, scale, shift, out, out_type, act, e->residual,
                  e->residual ? e->residual->type : DN_FP32, e->channel);
}

static void scale_any(const struct dn_map *in, const float *scale, const float *shift,
                      const struct dn_map *out, const struct dn_epilogue *e)
{
    if (out->type == DN_FP32 && e->act == DN_ACT_SILU)
        scale_act(in, scale, shift, out, DN_FP32, DN_ACT_SILU, e);
    else if (out->type == DN_BF16 && e->act == DN_ACT_SILU_BF16)
        scale_act(in, scale, shift, out, DN_BF16, DN_ACT_SILU_BF16, e);
    else if (out->type == DN_BF16)
        scale_act(in, scale, shift, out, DN_BF16, e->act, e);
    else
        scale_act(in, scale, shift, out, DN_FP32, e->act, e);
}

void ISA(dn_group_norm)(const struct dn_group_norm *norm, const struct dn_map *in, const float *pre,
                        const struct dn_map *out, const struct dn_epilogue *epilogue)
{
    int width = in->c / norm->groups;
    float pixels = (float)(in->h * in->w), n = (float)(in->h * in->w * width);
    float sum[DN_MAX_CHANNELS], middle[DN_MAX_CHANNELS];
    float scale[DN_MAX_CHANNELS], shift[DN_MAX_CHANNELS];

    memset(middle, 0, (size_t)in->c * sizeof *middle);
    sums_of(in, NULL, sum);
    for (int g = 0; g < norm->groups; g++) {
        float total = 0.0f;
        for (int c = g * width; c < (g + 1) * width; c++)
            total = total + (sum[c] + pixels * (pre ? pre[c] : 0.0f));
        for (int c = g * width; c < (g + 1) * width; c++)
            middle[c] = total / n - (pre ? pre[c] : 0.0f);
    }
    sums_of(in, middle, sum);
    for (int g = 0; g < norm->groups; g++) {
        float total = 0.0f;
        for (int c = g * width; c < (g + 1) * width; c++)
            total = total + sum[c];
        float rstd = 1.0f / sqrtf(total / n + norm->eps);
        for (int c = g * width; c < (g + 1) * width; c++) {
            scale[c] = rstd * norm->weight[c];
            shift[c] = norm->bias[c] - middle[c] * scale[c];
        }
    }
    scale_any(in, scale, shift, out, epilogue);
}

void ISA(dn_layer_norm)(const struct dn_layer_norm *norm, const struct dn_map *in,
                        const struct dn_map *out)
{
    int whole = in->c / DN_LANES * DN_LANES;
    float p[DN_MAX_CHANNELS];
    for (int y = 0; y < in->h; y++) {
        for (int x = 0; x < in->w; x++) {
            const void *from = dn_pixel(in, y, x);
            void *to = dn_pixel(out, y, x);
            for (int c = 0; c < in->c; c++)
                p[c] = dn_load(from, in->type, c);
            float sum[DN_LANES] = {0}, square[DN_LANES] = {0};
            for (int c = 0; c < whole; c += DN_LANES)
                for (int l = 0; l < DN_LANES; l++)
                    sum[l] = sum[l] + p[c + l];
            for (int l = 0; l < in->c - whole; l++)
                sum[l] = sum[l] + p[whole + l];
            float mean = add_lanes(sum) / (float)in->c;
            for (int c = 0; c < whole; c += DN_LANES)
                for (int l = 0; l < DN_LANES; l++)
                    square[l] = square[l] + (p[c + l] - mean) * (p[c + l] - mean);
            for (int l = 0; l < in->c - whole; l++)
                square[l] = square[l] + (p[whole + l] - mean) * (p[whole + l] - mean);
            float rstd = 1.0f / sqrtf(add_lanes(square) / (float)in->c + norm->eps);
            if (out->type == DN_BF16)
                for (int c = 0; c < in->c; c++)
                    dn_store(to, DN_BF16, c,
                             (p[c] - mean) * rstd * norm->weight[c] + norm->bias[c]);
            else
                for (int c = 0; c < in->c; c++)
                    dn_store(to, DN_FP32, c,
                             (p[c] - mean) * rstd * norm->weight[c] + norm->bias[c]);
        }
    }
}

void ISA(dn_pointwise)(const struct dn_map *in, const struct dn_map *out,
                       const struct dn_epilogue *epilogue)
{
    scale_any(in, NULL, NULL, out, epilogue);
}
