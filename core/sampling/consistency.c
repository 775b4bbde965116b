/*
 * Multistep consistency sampling: Song, Dhariwal, Chen, Sutskever 2023 (arXiv 2303.01469),
 * algorithm 1, on the variance-preserving process: the network's own estimate of the clean image is
 * noised again, with fresh noise, to the next level. For networks trained to map every level to the
 * image in one evaluation; one step is x0 itself.
 */
#include <math.h>

#include "core/base/rng.h"
#include "core/sampling/sampler.h"

static void advance(struct dn_sampling *s, const struct dn_levels *levels)
{
    double variance = 1.0 - levels->to;

    if (variance > 0)
        dn_noise(s->noise, s->size, s->seed, s->index, (uint32_t)s->step + 1);
    dn_sampling_combine(s->x, s->size, sqrt(levels->to), s->x0, sqrt(variance),
                        variance > 0 ? s->noise : s->x0, 0, NULL);
}

const struct dn_sampler_ops dn_sampler_consistency = {
    .info = {.name = "consistency",
             .title = "Multistep consistency",
             .source = "Song et al. 2023, arXiv 2303.01469",
             .stochastic = true,
             .order = 1},
    .advance = advance,
};
