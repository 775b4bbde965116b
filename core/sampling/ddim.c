/*
 * DDIM: Song, Meng, Ermon 2021 (arXiv 2010.02502), eq. 12 with sigma of eq. 16. eta = 0 is
 * deterministic, eta = 1 is DDPM's posterior. The direction uses the network's own eps, also where
 * x0 was clipped.
 */
#include <math.h>

#include "core/base/rng.h"
#include "core/sampling/sampler.h"

static void advance(struct dn_sampling *s, const struct dn_levels *levels)
{
    double variance = s->eta * s->eta * (1.0 - levels->to) / (1.0 - levels->from) *
                      (1.0 - levels->from / levels->to);
    double direction = 1.0 - levels->to - variance;

    if (variance > 0)
        dn_noise(s->noise, s->size, s->seed, s->index, (uint32_t)s->step + 1);
    dn_sampling_combine(s->x, s->size, sqrt(levels->to), s->x0, sqrt(direction > 0 ? direction : 0),
                        s->eps, sqrt(variance), variance > 0 ? s->noise : NULL);
}

const struct dn_sampler_ops dn_sampler_ddim = {
    .info = {.name = "ddim",
             .title = "DDIM",
             .source = "Song et al. 2021, arXiv 2010.02502",
             .has_eta = true,
             .order = 1},
    .advance = advance,
};
