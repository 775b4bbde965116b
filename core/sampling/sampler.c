#include "core/sampling/sampler.h"

#include <math.h>
#include <string.h>

static const struct dn_sampler_ops *const table[DN_SAMPLER_COUNT] = {
    [DN_SAMPLER_DDPM] = &dn_sampler_ddpm,
    [DN_SAMPLER_DDIM] = &dn_sampler_ddim,
    [DN_SAMPLER_DPMPP_2M] = &dn_sampler_dpmpp_2m,
    [DN_SAMPLER_CONSISTENCY] = &dn_sampler_consistency,
    [DN_SAMPLER_UNIPC] = &dn_sampler_unipc,
    [DN_SAMPLER_IPNDM] = &dn_sampler_ipndm,
    [DN_SAMPLER_HEUN] = &dn_sampler_heun,
};

const struct dn_sampler_ops *dn_sampler_ops(enum dn_sampler sampler)
{
    return table[sampler];
}

const struct dn_sampler_info *dn_sampler_info(enum dn_sampler sampler)
{
    return &table[sampler]->info;
}

int dn_sampler_by_name(const char *name)
{
    for (int i = 0; i < DN_SAMPLER_COUNT; i++)
        if (strcmp(table[i]->info.name, name) == 0)
            return i;
    return -1;
}

double dn_sampling_alpha_bar(const struct dn_sampling *s, int i)
{
    return i < s->n_steps ? s->schedule->alpha_bar[s->ks[i]] : s->final_alpha_bar;
}

void dn_sampling_combine(float *x, size_t size, double a, const float *u, double b, const float *v,
                         double c, const float *w)
{
    float fa = (float)a, fb = (float)b, fc = (float)c;
    if (w)
        for (size_t i = 0; i < size; i++)
            x[i] = fa * u[i] + fb * v[i] + fc * w[i];
    else
        for (size_t i = 0; i < size; i++)
            x[i] = fa * u[i] + fb * v[i];
}

void dn_sampling_step(struct dn_sampling *s, const struct dn_sampler_ops *ops, const float *output)
{
    struct dn_levels levels = {dn_sampling_alpha_bar(s, s->step),
                               dn_sampling_alpha_bar(s, s->step + 1)};
    double alpha = sqrt(levels.from), sigma = sqrt(1.0 - levels.from);

    switch (s->schedule->prediction) {
    case DN_PREDICT_EPSILON:
        dn_sampling_combine(s->x0, s->size, 1.0 / alpha, s->x, -sigma / alpha, output, 0, NULL);
        memcpy(s->eps, output, s->size * sizeof *s->eps);
        break;
    case DN_PREDICT_SAMPLE:
        memcpy(s->x0, output, s->size * sizeof *s->x0);
        dn_sampling_combine(s->eps, s->size, 1.0 / sigma, s->x, -alpha / sigma, output, 0, NULL);
        break;
    case DN_PREDICT_V:
        dn_sampling_combine(s->x0, s->size, alpha, s->x, -sigma, output, 0, NULL);
        dn_sampling_combine(s->eps, s->size, alpha, output, sigma, s->x, 0, NULL);
        break;
    }
    if (s->schedule->clip) {
        float lo = s->schedule->lo, hi = s->schedule->hi;
        for (size_t i = 0; i < s->size; i++) {
            float v = s->x0[i] < lo ? lo : s->x0[i];
            s->x0[i] = v > hi ? hi : v;
        }
    }
    ops->advance(s, &levels);
    s->step++;
}
