/*
 * DDPM ancestral sampling: Ho, Jain, Abbeel 2020 (arXiv 2006.11239), algorithm 2, with the
 * posterior mean of eq. 7 and the posterior variance (sigma^2 = beta-tilde, "fixed_small"). On a
 * list of fewer than T steps the posterior is that of the thinned chain, with beta = 1 - alpha-bar
 * / alpha-bar'.
 */
#include <math.h>

#include "core/base/rng.h"
#include "core/sampling/sampler.h"

static void advance(struct dn_sampling *s, const struct dn_levels *levels)
{
    double alpha = levels->from / levels->to, beta = 1.0 - alpha;
    double posterior = (1.0 - levels->to) / (1.0 - levels->from);
    double variance = posterior * beta;

    if (variance > 0)
        dn_noise(s->noise, s->size, s->seed, s->index, (uint32_t)s->step + 1);
    dn_sampling_combine(s->x, s->size, sqrt(levels->to) * beta / (1.0 - levels->from), s->x0,
                        sqrt(alpha) * posterior, s->x, sqrt(variance),
                        variance > 0 ? s->noise : NULL);
}

const struct dn_sampler_ops dn_sampler_ddpm = {
    .info = {.name = "ddpm",
             .title = "DDPM ancestral",
             .source = "Ho et al. 2020, arXiv 2006.11239",
             .stochastic = true,
             .order = 1},
    .advance = advance,
};
