/*
 * Heun's method: Karras, Aittala, Aila, Laine 2022 (arXiv 2206.00364), algorithm 1, in x / a
 * against s / a, where Euler's method is DDIM and eps is the slope. A step to the next level is
 * Euler's, and then done again with the mean of the slopes at its two ends.
 *
 * The slope at the far end is a further evaluation, so here it is a further step: the list has each
 * level but the first and the last twice, and a step to the level where it is corrects the one that
 * led there. So steps are evaluations, as they are with every other sampler. The last step, to the
 * clean image, is x0; of an even number, the one before is not corrected. eps is the one that goes
 * with the clipped x0.
 */
#include <math.h>
#include <string.h>

#include "core/sampling/sampler.h"

/* k0, k1, k1, k2, k2, ... of the trailing list of half as many. */
static void list_timesteps(int timesteps, int n, int *ks)
{
    dn_schedule_trailing(timesteps, n / 2 + 1, ks);
    for (int i = n - 1; i > 0; i--)
        ks[i] = ks[(i + 1) / 2];
}

static void advance(struct dn_sampling *s, const struct dn_levels *levels)
{
    double a = sqrt(levels->from), sigma = sqrt(1.0 - levels->from);
    double a_to = sqrt(levels->to), sigma_to = sqrt(1.0 - levels->to);
    float *begin = s->history, *slope = s->history + s->size;

    dn_sampling_combine(s->noise, s->size, 1.0 / sigma, s->x, -a / sigma, s->x0, 0, NULL);
    if (levels->to == 1.0) {
        memcpy(s->x, s->x0, s->size * sizeof *s->x);
    } else if (levels->to != levels->from) {
        memcpy(begin, s->x, s->size * sizeof *s->x);
        memcpy(slope, s->noise, s->size * sizeof *s->x);
        dn_sampling_combine(s->x, s->size, a_to / a, begin, sigma_to - a_to * sigma / a, slope, 0,
                            NULL);
    } else {
        double before = dn_sampling_alpha_bar(s, s->step - 1), a_before = sqrt(before);
        double half = (sigma - a * sqrt(1.0 - before) / a_before) / 2.0;
        dn_sampling_combine(s->x, s->size, a / a_before, begin, half, slope, half, s->noise);
    }
}

const struct dn_sampler_ops dn_sampler_heun = {
    .info = {.name = "heun",
             .title = "Heun",
             .source = "Karras et al. 2022, arXiv 2206.00364",
             .order = 2},
    .n_history = 2,
    .list_timesteps = list_timesteps,
    .advance = advance,
};
