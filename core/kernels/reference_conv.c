/* Convolutions in plain C, in each of the forms of conv_form.h. */
#include <math.h>
#include <string.h>

#include "core/kernels/conv_form.h"
#include "core/kernels/reference.h"

static const float a = DN_WINOGRAD_A, b = DN_WINOGRAD_B;

/* Transformed weights are [(M+2)^2][I][O]. */
size_t dn_reference_conv_packed(const struct dn_conv *cv)
{
    int m = dn_winograd_tile(dn_conv_form(cv)), n = m ? (m + 2) * (m + 2) : cv->n_taps;
    return sizeof(float) * (size_t)(n * cv->in_c) * (size_t)cv->out_c;
}

void dn_reference_conv_pack(void *packed, const struct dn_conv *cv, const float *weights)
{
    int m = dn_winograd_tile(dn_conv_form(cv)), n = (m + 2) * (m + 2);
    size_t all = (size_t)cv->in_c * (size_t)cv->out_c;
    float transformed[DN_WINOGRAD_MAX * DN_WINOGRAD_MAX], *to = packed;

    if (m == 0) {
        memcpy(packed, weights, dn_reference_conv_packed(cv));
        return;
    }
    for (size_t io = 0; io < all; io++) {
        dn_winograd_weight(transformed, m, weights + io, all);
        for (int f = 0; f < n; f++)
            to[(size_t)f * all + io] = transformed[f];
    }
}

/* One transformed input tile, [(M+2)^2][I]. */
size_t dn_reference_conv_scratch(const struct dn_conv *cv)
{
    int m = dn_winograd_tile(dn_conv_form(cv));
    return m ? (size_t)((m + 2) * (m + 2) * cv->in_c) : 0;
}

static void direct(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                   const struct dn_epilogue *epilogue)
{
    const float *weights = cv->weights;
    for (int y = 0; y < out->h; y++) {
        for (int x = 0; x < out->w; x++) {
            for (int o = 0; o < cv->out_c; o++) {
                float sum = cv->bias ? cv->bias[o] : 0.0f;
                for (int n = 0; n < cv->n_taps; n++) {
                    const float *p =
                        pixel(in, y * cv->stride + cv->dy[n], x * cv->stride + cv->dx[n]);
                    for (int i = 0; i < cv->in_c; i++)
                        sum = fmaf(p[i], weights[(n * cv->in_c + i) * cv->out_c + o], sum);
                }
                finish(epilogue, sum, out, y, x, o);
            }
        }
    }
}

static void in_lanes(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                     const struct dn_epilogue *epilogue)
{
    const float *weights = cv->weights;
    for (int y = 0; y < out->h; y++) {
        for (int x = 0; x < out->w; x++) {
            for (int o = 0; o < cv->out_c; o++) {
                float sum[DN_LANES] = {0};
                for (int n = 0; n < cv->n_taps; n++) {
                    const float *p =
                        pixel(in, y * cv->stride + cv->dy[n], x * cv->stride + cv->dx[n]);
                    for (int i = 0; i < cv->in_c; i++)
                        sum[i % DN_LANES] = fmaf(p[i], weights[(n * cv->in_c + i) * cv->out_c + o],
                                                 sum[i % DN_LANES]);
                }
                float r = add_lanes(sum) + (cv->bias ? cv->bias[o] : 0.0f);
                finish(epilogue, r, out, y, x, o);
            }
        }
    }
}

/* t = B' d for one line of M + 2 values, `step` apart in both. */
static void line_in(int m, const float *d, float *t, int step)
{
    const float d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
    if (m == 2) {
        t[0] = d2 - d0;
        t[step] = d1 + d2;
        t[2 * step] = d2 - d1;
        t[3 * step] = d3 - d1;
        return;
    }
    const float d4 = d[4 * step], d5 = d[5 * step];
    float even_a = fmaf(-b * b, d2, d4), odd_a = fmaf(-b * b, d1, d3);
    float even_b = fmaf(-a * a, d2, d4), odd_b = fmaf(-a * a, d1, d3);
    t[0] = fmaf(a * a * b * b, d0, fmaf(-(a * a + b * b), d2, d4));
    t[step] = fmaf(a, odd_a, even_a);
    t[2 * step] = fmaf(-a, odd_a, even_a);
    t[3 * step] = fmaf(b, odd_b, even_b);
    t[4 * step] = fmaf(-b, odd_b, even_b);
    t[5 * step] = fmaf(a * a * b * b, d1, fmaf(-(a * a + b * b), d3, d5));
}

/* y = A' v for one line of M + 2 values, `step` apart in both. */
static void line_out(int m, const float *v, float *y, int step)
{
    float p = v[step] + v[2 * step], q = v[step] - v[2 * step];
    if (m == 2) {
        y[0] = v[0] + p;
        y[step] = q + v[3 * step];
        return;
    }
    float r = v[3 * step] + v[4 * step], s = v[3 * step] - v[4 * step];
    y[0] = (v[0] + p) + r;
    y[step] = fmaf(b, s, a * q);
    y[2 * step] = fmaf(b * b, r, a * a * p);
    y[3 * step] = fmaf(b * b * b, s, fmaf(a * a * a, q, v[5 * step]));
}

static void winograd(int m, const struct dn_conv *cv, const struct dn_map *in,
                     const struct dn_map *out, const struct dn_epilogue *epilogue, float *scratch)
{
    enum { MAX = DN_WINOGRAD_MAX };
    const float *weights = cv->weights;
    int n = m + 2;
    float d[MAX * MAX] = {0}, t[MAX * MAX] = {0}, v[MAX * MAX] = {0};

    for (int y0 = 0; y0 < out->h; y0 += m) {
        for (int x0 = 0; x0 < out->w; x0 += m) {
            for (int i = 0; i < cv->in_c; i++) {
                /* Beyond the border there are zeros, like on it. */
                for (int k = 0; k < n; k++)
                    for (int j = 0; j < n; j++)
                        d[k * n + j] = pixel(in, y0 - 1 + k < in->h ? y0 - 1 + k : in->h,
                                             x0 - 1 + j < in->w ? x0 - 1 + j : in->w)[i];
                for (int j = 0; j < n; j++)
                    line_in(m, d + j, t + j, n);
                for (int k = 0; k < n; k++)
                    line_in(m, t + k * n, d + k * n, 1);
                for (int f = 0; f < n * n; f++)
                    scratch[f * cv->in_c + i] = d[f];
            }
            for (int o = 0; o < cv->out_c; o++) {
                for (int f = 0; f < n * n; f++) {
                    v[f] = 0.0f;
                    for (int i = 0; i < cv->in_c; i++)
                        v[f] = fmaf(scratch[f * cv->in_c + i],
                                    weights[(f * cv->in_c + i) * cv->out_c + o], v[f]);
                }
                for (int j = 0; j < n; j++)
                    line_out(m, v + j, t + j, n);
                for (int k = 0; k < m; k++)
                    line_out(m, t + k * n, v + k * n, 1);
                for (int y = y0; y < y0 + m && y < out->h; y++)
                    for (int x = x0; x < x0 + m && x < out->w; x++)
                        finish(epilogue, v[(y - y0) * n + x - x0] + (cv->bias ? cv->bias[o] : 0.0f),
                               out, y, x, o);
            }
        }
    }
}

void dn_reference_conv(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                       const struct dn_epilogue *epilogue, float *scratch)
{
    enum dn_conv_form form = dn_conv_form(cv);
    if (form == DN_CONV_DIRECT)
        direct(cv, in, out, epilogue);
    else if (form == DN_CONV_LANES)
        in_lanes(cv, in, out, epilogue);
    else
        winograd(dn_winograd_tile(form), cv, in, out, epilogue, scratch);
}
