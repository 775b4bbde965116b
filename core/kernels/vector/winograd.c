/*
 * Winograd convolutions (see conv_form.h). The image goes by in strips of whole rows of tiles, so
 * that what is transformed stays in the caches: the strip's input tiles, [tile][(M+2)^2][I]; then,
 * for each block of output channels, the product with the weights for each of the (M+2)^2 places of
 * a tile, [tile][(M+2)^2][BLOCK]; then back.
 */
#include "core/kernels/vector/conv.h"

#if defined(CORE_KERNELS_SIMD_NATIVE)

enum {
    STRIP = 16, /* tiles a strip, where a row has no more */
    PAD = 16,   /* floats between two tiles, against a common cache set */
};

struct plan {
    int across, down; /* tiles */
    int rows;         /* of tiles, a strip */
    /* Scratch: the lines of transform_in(), then the two above. */
    int in_at, product_at, floats;
    int in_ld, product_ld; /* from one tile to the next */
};

static struct plan plan_of(const struct dn_conv *cv)
{
    int m = dn_winograd_tile(dn_conv_form(cv)), n = m + 2;
    struct plan p = {.across = (cv->w + m - 1) / m, .down = (cv->h + m - 1) / m};

    p.rows = p.across >= STRIP ? 1 : STRIP / p.across;
    if (p.rows > p.down)
        p.rows = p.down;
    p.in_ld = n * n * cv->in_c + PAD;
    p.product_ld = n * n * BLOCK + PAD;
    p.in_at = 2 * m * n * cv->in_c;
    p.product_at = p.in_at + p.rows * p.across * p.in_ld;
    p.floats = p.product_at + p.rows * p.across * p.product_ld;
    return p;
}

size_t ISA(dn_winograd_scratch)(const struct dn_conv *cv)
{
    return (size_t)plan_of(cv).floats;
}

static inline __attribute__((always_inline)) void line_in(int m, const vfloat *d, vfloat *t)
{
    const float a = DN_WINOGRAD_A, b = DN_WINOGRAD_B;
    if (m == 2) {
        t[0] = d[2] - d[0];
        t[1] = d[1] + d[2];
        t[2] = d[2] - d[1];
        t[3] = d[3] - d[1];
        return;
    }
    vfloat even_a = v_fma(v_set(-b * b), d[2], d[4]), odd_a = v_fma(v_set(-b * b), d[1], d[3]);
    vfloat even_b = v_fma(v_set(-a * a), d[2], d[4]), odd_b = v_fma(v_set(-a * a), d[1], d[3]);
    vfloat both = v_set(a * a * b * b), sum = v_set(-(a * a + b * b));
    t[0] = v_fma(both, d[0], v_fma(sum, d[2], d[4]));
    t[1] = v_fma(v_set(a), odd_a, even_a);
    t[2] = v_fma(v_set(-a), odd_a, even_a);
    t[3] = v_fma(v_set(b), odd_b, even_b);
    t[4] = v_fma(v_set(-b), odd_b, even_b);
    t[5] = v_fma(both, d[1], v_fma(sum, d[3], d[5]));
}

static inline __attribute__((always_inline)) void line_out(int m, const vfloat *v, vfloat *y)
{
    const float a = DN_WINOGRAD_A, b = DN_WINOGRAD_B;
    vfloat p = v[1] + v[2], q = v[1] - v[2];
    if (m == 2) {
        y[0] = v[0] + p;
        y[1] = q + v[3];
        return;
    }
    vfloat r = v[3] + v[4], s = v[3] - v[4];
    y[0] = (v[0] + p) + r;
    y[1] = v_fma(v_set(b), s, v_set(a) * q);
    y[2] = v_fma(v_set(b * b), r, v_set(a * a) * p);
    y[3] = v_fma(v_set(b * b * b), s, v_fma(v_set(a * a * a), q, v[5]));
}

/* One row of tiles; `to` is the place of its first. Neighbours share the transforms of two columns:
 * `lines` is a ring of the last 2 M columns, [2 M][M+2][I]. */
static inline __attribute__((always_inline)) void transform_in(int m, const struct plan *plan,
                                                               const struct dn_map *in,
                                                               int tile_row, float *lines,
                                                               float *to)
{
    enum { MAX = DN_WINOGRAD_MAX };
    const int n = m + 2, in_c = in->c;
    const float *row[MAX];
    vfloat d[MAX], t[MAX];

    /* Beyond the border there are zeros, like on it. */
    for (int k = 0; k < n; k++) {
        int y = tile_row * m - 1 + k;
        row[k] = pixel(in, y < in->h ? y : in->h, 0);
    }
    for (int tile = 0; tile < plan->across; tile++, to += plan->in_ld) {
        for (int x = tile * m + (tile == 0 ? 0 : 2); x < tile * m + n; x++) {
            float *line = lines + x % (2 * m) * n * in_c;
            ptrdiff_t at = (ptrdiff_t)(x - 1 < in->w ? x - 1 : in->w) * in->ld;
            for (int c = 0; c < in_c; c += V_LANES) {
#pragma GCC unroll 6
                for (int k = 0; k < n; k++)
                    d[k] = v_load(row[k] + at + c);
                line_in(m, d, t);
#pragma GCC unroll 6
                for (int k = 0; k < n; k++)
                    v_store(line + k * in_c + c, t[k]);
            }
        }
        const float *from[MAX];
        for (int j = 0; j < n; j++)
            from[j] = lines + (tile * m + j) % (2 * m) * n * in_c;
        for (int k = 0; k < n; k++) {
            float *place = to + k * n * in_c;
            for (int c = 0; c < in_c; c += V_LANES) {
#pragma GCC unroll 6
                for (int j = 0; j < n; j++)
                    d[j] = v_load(from[j] + k * in_c + c);
                line_in(m, d, t);
#pragma GCC unroll 6
                for (int j = 0; j < n; j++)
                    v_store(place + j * in_c + c, t[j]);
            }
        }
    }
}

/* The places of one tile and register of channels -> [M][M], `to_ld` floats from one pixel to the
 * next and `to_pitch` from one row to the next. */
static inline __attribute__((always_inline)) void
transform_out(int m, const float *place, vfloat bias, float *to, int to_ld, int to_pitch)
{
    enum { MAX = DN_WINOGRAD_MAX };
    const int n = m + 2;
    vfloat v[MAX], columns[MAX][MAX], y[MAX];

#pragma GCC unroll 6
    for (int j = 0; j < n; j++) {
#pragma GCC unroll 6
        for (int k = 0; k < n; k++)
            v[k] = v_load(place + (k * n + j) * BLOCK);
        line_out(m, v, columns[j]);
    }
#pragma GCC unroll 6
    for (int k = 0; k < m; k++) {
#pragma GCC unroll 6
        for (int j = 0; j < n; j++)
            v[j] = columns[j][k];
        line_out(m, v, y);
#pragma GCC unroll 6
        for (int x = 0; x < m; x++)
            v_store(to + k * to_pitch + x * to_ld, y[x] + bias);
    }
}

/* product = in x weights, at each of n places by itself, for some of the strip's tiles at a time.
 */
static void multiply(const struct plan *plan, int n, int tiles, int regs, int in_c, const float *in,
                     const float *weights, float *product)
{
    const struct dn_conv one = {.in_c = in_c, .stride = 1, .n_taps = 1};
    for (int f = 0; f < n; f++, in += in_c, weights += in_c * BLOCK, product += BLOCK) {
        int t = 0;
        for (int parts = (tiles + P_MAX - 1) / P_MAX; parts > 0; parts--) {
            int some = (tiles - t + parts - 1) / parts;
            conv_tile(some, regs, &one, in + t * plan->in_ld, plan->in_ld, 0, weights, NULL,
                      product + t * plan->product_ld, plan->product_ld);
            t += some;
        }
    }
}

/* A block of channels of one tile, [(M+2)^2][BLOCK], to its pixels from (y0,x0). */
static inline __attribute__((always_inline)) void
finish_tile(int m, const float *product, const float *bias, const struct dn_map *out, int y0,
            int x0, int first, int channels, const struct dn_epilogue *epilogue)
{
    enum { MAX = DN_WINOGRAD_MAX - 2 };
    _Alignas(64) float sums[MAX * MAX * BLOCK];
    bool straight = is_plain(out, epilogue) && y0 + m <= out->h && x0 + m <= out->w;
    float *to = straight ? pixel(out, y0, x0) + first : sums;
    int ld = straight ? out->ld : BLOCK, pitch = straight ? out->pitch : m * BLOCK;

    for (int c = 0; c < channels; c += V_LANES)
        transform_out(m, product + c, bias ? v_load(bias + first + c) : v_set(0.0f), to + c, ld,
                      pitch);
    for (int y = y0; y < y0 + m && y < out->h && !straight; y++)
        for (int x = x0; x < x0 + m && x < out->w; x++)
            finish(epilogue, sums + ((y - y0) * m + x - x0) * BLOCK, out, y, x, first, channels);
}

static inline __attribute__((always_inline)) void
run(int m, const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
    const struct dn_epilogue *epilogue, float *scratch)
{
    const int n = (m + 2) * (m + 2);
    const struct plan plan = plan_of(cv);
    float *transformed = scratch + plan.in_at, *product = scratch + plan.product_at;

    for (int top = 0; top < plan.down; top += plan.rows) {
        int rows = plan.down - top < plan.rows ? plan.down - top : plan.rows;
        int tiles = rows * plan.across;
        for (int r = 0; r < rows; r++)
            transform_in(m, &plan, in, top + r, scratch,
                         transformed + r * plan.across * plan.in_ld);
        for (int first = 0; first < cv->out_c; first += BLOCK) {
            int channels = cv->out_c - first < BLOCK ? cv->out_c - first : BLOCK;
            multiply(&plan, n, tiles, channels <= V_LANES ? 1 : V, cv->in_c, transformed,
                     (const float *)cv->weights + first * n * cv->in_c, product);
            for (int t = 0; t < tiles; t++)
                finish_tile(m, product + t * plan.product_ld, cv->bias, out,
                            (top + t / plan.across) * m, t % plan.across * m, first, channels,
                            epilogue);
        }
    }
}

void ISA(dn_winograd)(const struct dn_conv *cv, const struct dn_map *in, const struct dn_map *out,
                      const struct dn_epilogue *epilogue, float *scratch)
{
    if (dn_conv_form(cv) == DN_CONV_WINOGRAD_4)
        run(4, cv, in, out, epilogue, scratch);
    else
        run(2, cv, in, out, epilogue, scratch);
}

#endif
