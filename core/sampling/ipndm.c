/*
 * Improved PNDM: Liu, Ren, Lin, Zhao 2022 (arXiv 2202.09778) without its Runge-Kutta start, as
 * Zhang & Chen 2023 (arXiv 2204.13902, iPNDM) have it: in x / a against s / a, DDIM is Euler's
 * method and eps is the slope. This is the Adams-Bashforth method of order up to 4 with the
 * coefficients of equal steps. eps is the one that goes with the clipped x0. The last step, to the
 * clean image, is first order: x0.
 */
#include <math.h>
#include <string.h>

#include "core/sampling/sampler.h"

enum { ORDER = 4 };

static void advance(struct dn_sampling *s, const struct dn_levels *levels)
{
    /* What is added to the slope: sum of coefficient times eps of this step and those before. */
    static const double more[ORDER][ORDER] = {
        {0},
        {1.0 / 2, -1.0 / 2},
        {11.0 / 12, -16.0 / 12, 5.0 / 12},
        {31.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24},
    };
    double a = sqrt(levels->from), sigma = sqrt(1.0 - levels->from);
    double a_to = sqrt(levels->to), sigma_to = sqrt(1.0 - levels->to);
    double stride = sigma_to - a_to * sigma / a;
    int order = s->step < ORDER ? s->step : ORDER - 1;
    size_t bytes = s->size * sizeof *s->x;
    float *before = s->history;

    dn_sampling_combine(s->noise, s->size, 1.0 / sigma, s->x, -a / sigma, s->x0, 0, NULL);
    if (levels->to < 1.0)
        dn_sampling_combine(s->x, s->size, a_to, s->x0, sigma_to + stride * more[order][0],
                            s->noise, 0, NULL);
    else
        memcpy(s->x, s->x0, bytes);
    for (int i = 1; i <= order && levels->to < 1.0; i++)
        dn_sampling_combine(s->x, s->size, 1.0, s->x, stride * more[order][i],
                            before + (size_t)(i - 1) * s->size, 0, NULL);
    memmove(before + s->size, before, (ORDER - 2) * bytes);
    memcpy(before, s->noise, bytes);
}

const struct dn_sampler_ops dn_sampler_ipndm = {
    .info = {.name = "ipndm",
             .title = "iPNDM-4",
             .source = "Zhang & Chen 2023, arXiv 2204.13902",
             .order = 2},
    .n_history = ORDER - 1,
    .advance = advance,
};
