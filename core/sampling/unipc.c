/*
 * UniPC of order 2, B2(h): Zhao, Bai, Rao, Zhou, Lu 2023 (arXiv 2302.04867), algorithms 5 to 8, in
 * the data prediction. The predictor is that of DPM-Solver++(2M). The x0 found at its result
 * first corrects that result, at no further evaluation; the next step begins there.
 *
 * With l = ln(a / s), h = l' - l, B = e^-h - 1, p1 = B / -h - 1 and p2 = p1 / -h - 1/2, a step from
 * x, with x0 there, x0' at the predictor's result and x0" a step before (r = (l" - l) / h), is
 * corrected to
 *
 *     (s' / s) x - a' B (x0 + c1 (x0" - x0) / r + c2 (x0' - x0))
 *
 * where c1 + c2 = p1 / B and r c1 + c2 = 2 p2 / B; the first step has no x0" and c2 = 1/2. The
 * first prediction and the last, to the clean image, are first order.
 */
#include <math.h>
#include <string.h>

#include "core/base/exact_math.h"
#include "core/sampling/sampler.h"

static double lambda(double alpha_bar)
{
    return 0.5 * dn_log(alpha_bar / (1.0 - alpha_bar));
}

/* s' / s, and what belongs to the image: a' - a s' / s, which is -a' B. */
static double shrink_and_gain(double from, double to, double *gain)
{
    double shrink = sqrt(1.0 - to) / sqrt(1.0 - from);
    *gain = sqrt(to) - sqrt(from) * shrink;
    return shrink;
}

/* x, where the step before ended, with the x0 that was found there. */
static void correct(struct dn_sampling *s, const float *begin, const float *x0_before,
                    const float *x0_two_before)
{
    double from = dn_sampling_alpha_bar(s, s->step - 1), to = dn_sampling_alpha_bar(s, s->step);
    double gain, shrink = shrink_and_gain(from, to, &gain);
    double older = 0, newer = 0.5; /* c1 / r and c2 */

    if (s->step > 1) {
        double h = lambda(to) - lambda(from);
        double r = (lambda(dn_sampling_alpha_bar(s, s->step - 2)) - lambda(from)) / h;
        double b = sqrt(from / to) * shrink - 1.0;
        double p1 = b / -h - 1.0, p2 = p1 / -h - 0.5;
        double c1 = (p1 - 2.0 * p2) / b / (1.0 - r);
        newer = p1 / b - c1;
        older = c1 / r;
    }
    dn_sampling_combine(s->x, s->size, shrink, begin, gain * (1.0 - older - newer), x0_before,
                        gain * newer, s->x0);
    if (older != 0)
        dn_sampling_combine(s->x, s->size, 1.0, s->x, gain * older, x0_two_before, 0, NULL);
}

static void advance(struct dn_sampling *s, const struct dn_levels *levels)
{
    float *begin = s->history, *x0_before = begin + s->size, *x0_two_before = x0_before + s->size;
    size_t bytes = s->size * sizeof *s->x;
    double gain, shrink = shrink_and_gain(levels->from, levels->to, &gain);

    if (s->step > 0)
        correct(s, begin, x0_before, x0_two_before);
    memcpy(begin, s->x, bytes);
    if (s->step > 0 && s->step < s->n_steps - 1) {
        double now = lambda(levels->from);
        double h = lambda(levels->to) - now;
        double h_before = now - lambda(dn_sampling_alpha_bar(s, s->step - 1));
        double slope = h / (2.0 * h_before);
        dn_sampling_combine(s->x, s->size, shrink, s->x, gain * (1.0 + slope), s->x0, -gain * slope,
                            x0_before);
    } else {
        dn_sampling_combine(s->x, s->size, shrink, s->x, gain, s->x0, 0, NULL);
    }
    memcpy(x0_two_before, x0_before, bytes);
    memcpy(x0_before, s->x0, bytes);
}

const struct dn_sampler_ops dn_sampler_unipc = {
    .info = {.name = "unipc",
             .title = "UniPC-2",
             .source = "Zhao et al. 2023, arXiv 2302.04867",
             .order = 2},
    .n_history = 3,
    .advance = advance,
};
