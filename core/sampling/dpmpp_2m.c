/*
 * DPM-Solver++(2M): Lu et al. 2022 (arXiv 2211.01095), algorithm 2, in the data prediction. With
 * lambda = ln(a / s), h = lambda' - lambda and r = h_previous / h:
 *
 *     D  = x0 + (x0 - x0_previous) / (2 r)
 *     x' = (s' / s) x + (a' - a s' / s) D
 *
 * which is the paper's form with e^-h written out. The first step has no history, and a last step
 * to the clean image has an infinite h: both are first order, and the last gives exactly x0.
 */
#include <math.h>
#include <string.h>

#include "core/base/exact_math.h"
#include "core/sampling/sampler.h"

static double lambda(double alpha_bar)
{
    return 0.5 * dn_log(alpha_bar / (1.0 - alpha_bar));
}

static void advance(struct dn_sampling *s, const struct dn_levels *levels)
{
    double a = sqrt(levels->from), sigma = sqrt(1.0 - levels->from);
    double a_to = sqrt(levels->to), sigma_to = sqrt(1.0 - levels->to);
    double shrink = sigma_to / sigma, gain = a_to - a * shrink;

    if (s->step > 0 && levels->to < 1.0) {
        double now = lambda(levels->from);
        double h = lambda(levels->to) - now;
        double h_previous = now - lambda(dn_sampling_alpha_bar(s, s->step - 1));
        double slope = h / (2.0 * h_previous); /* 1 / (2 r) */
        dn_sampling_combine(s->x, s->size, shrink, s->x, gain * (1.0 + slope), s->x0, -gain * slope,
                            s->history);
    } else {
        dn_sampling_combine(s->x, s->size, shrink, s->x, gain, s->x0, 0, NULL);
    }
    memcpy(s->history, s->x0, s->size * sizeof *s->history);
}

const struct dn_sampler_ops dn_sampler_dpmpp_2m = {
    .info = {.name = "dpmpp_2m",
             .title = "DPM-Solver++(2M)",
             .source = "Lu et al. 2022, arXiv 2211.01095",
             .order = 2},
    .n_history = 1,
    .advance = advance,
};
