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
 * sum[0..C) of in + pre, or of (in + pre - mean)^2 where mean is given: row by row, then over the
 * rows. Four rows are summed side by side, because one sum waits for its own last addition.
 */
static inline __attribute__((always_inline)) void channel_sums(const struct dn_map *in,
                                                               enum dn_type type, const float *pre,
                                                               const float *mean, float *sum)
{
    enum { ROWS = 4 };
    int c = 0;
    for (; c + DN_LANES <= in->c; c += DN_LANES) {
        lanes shift, middle = {0}, total = {0};
        memcpy(&shift, pre + c, sizeof shift);
        if (mean)
            memcpy(&middle, mean + c, sizeof middle);
        for (int y = 0; y < in->h; y += ROWS) {
            int n = in->h - y < ROWS ? in->h - y : ROWS;
            const char *p[ROWS];
            lanes row[ROWS] = {{0}};
            for (int i = 0; i < ROWS; i++)
                p[i] = dn_pixel(in, y + (i < n ? i : n - 1), 0);
            for (int x = 0; x < in->w; x++) {
#pragma GCC unroll 4
                for (int i = 0; i < ROWS; i++) {
                    lanes v = load_lanes(p[i], type, x * in->ld + c) + shift;
                    lanes d = v - middle;
                    row[i] = row[i] + (mean ? d * d : v);
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
                float v = dn_load(p, type, x * in->ld + c) + pre[c];
                float d = mean ? v - mean[c] : v;
                row = row + (mean ? d * d : d);
            }
            total = total + row;
        }
        sum[c] = total;
    }
}

static void sums_of(const struct dn_map *in, const float *pre, const float *mean, float *sum)
{
    if (in->type == DN_BF16)
        mean ? channel_sums(in, DN_BF16, pre, mean, sum)
             : channel_sums(in, DN_BF16, pre, NULL, sum);
    else
        mean ? channel_sums(in, DN_FP32, pre, mean, sum)
             : channel_sums(in, DN_FP32, pre, NULL, sum);
}

/* act(in * scale + shift) + residual + channel -> out for all pixels; scale NULL is 1. After
 * inlining the types, the activation and whether there is a scale and a residual are constants. */
static inline __attribute__((always_inline)) void
scale_map(const struct dn_map *in, enum dn_type in_type, const float *scale, const float *shift,
          const struct dn_map *out, enum dn_type out_type, enum dn_act act,
          const struct dn_map *residual, enum dn_type residual_type, const float *channel)
{
    for (int y = 0; y < out->h; y++) {
        for (int x = 0; x < out->w; x++) {
            const void *p = dn_pixel(in, y, x);
            const void *q = residual ? dn_pixel(residual, y, x) : NULL;
            void *to = dn_pixel(out, y, x);
#pragma GCC ivdep
            for (int c = 0; c < out->c; c++) {
                float v = dn_load(p, in_type, c);
                v = dn_activate(act, out_type, scale ? v * scale[c] + shift[c] : v);
                if (residual)
                    v = v + dn_load(q, residual_type, c);
                if (channel)
                    v = v + channel[c];
                dn_store(to, out_type, c, v);
            }
        }
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
    if (out->type == DN_BF16 && e->act == DN_ACT_SILU)
        scale_act(in, scale, shift, out, DN_BF16, DN_ACT_SILU, e);
    else if (e->act == DN_ACT_SILU)
        scale_act(in, scale, shift, out, DN_FP32, DN_ACT_SILU, e);
    else if (out->type == DN_BF16)
        scale_act(in, scale, shift, out, DN_BF16, e->act, e);
    else
        scale_act(in, scale, shift, out, DN_FP32, e->act, e);
}

void ISA(dn_group_norm)(const struct dn_group_norm *norm, const struct dn_map *in, const float *pre,
                        const struct dn_map *out, const struct dn_epilogue *epilogue)
{
    int width = in->c / norm->groups;
    float n = (float)(in->h * in->w * width);
    float sum[DN_MAX_CHANNELS], bias[DN_MAX_CHANNELS];
    float mean[DN_MAX_CHANNELS], scale[DN_MAX_CHANNELS], shift[DN_MAX_CHANNELS];

    for (int c = 0; c < in->c; c++)
        bias[c] = pre ? pre[c] : 0.0f;
    sums_of(in, bias, NULL, sum);
    for (int g = 0; g < norm->groups; g++) {
        float total = 0.0f;
        for (int c = g * width; c < (g + 1) * width; c++)
            total = total + sum[c];
        for (int c = g * width; c < (g + 1) * width; c++)
            mean[c] = total / n;
    }
    sums_of(in, bias, mean, sum);
    for (int g = 0; g < norm->groups; g++) {
        float total = 0.0f;
        for (int c = g * width; c < (g + 1) * width; c++)
            total = total + sum[c];
        float rstd = 1.0f / sqrtf(total / n + norm->eps);
        for (int c = g * width; c < (g + 1) * width; c++) {
            scale[c] = rstd * norm->weight[c];
            shift[c] = (bias[c] - mean[c]) * scale[c] + norm->bias[c];
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
