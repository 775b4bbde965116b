/*
 * Reverse processes. A sampler turns the network's output at x_k into x at the next entry of the
 * row's own timestep list (never k - T / n), and to the clean image after the last.
 *
 * Adding one: a file beside this one that defines a struct dn_sampler_ops, its name in enum
 * dn_sampler, one line in the table of sampler.c, a golden test.
 */
#ifndef CORE_SAMPLING_SAMPLER_H
#define CORE_SAMPLING_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "core/denoise.h"
#include "core/sampling/schedule.h"

/* One row's state. All arrays have `size` floats and are owned by whoever made the state. */
struct dn_sampling {
    const struct dn_schedule *schedule;
    size_t size;
    const int *ks; /* [n_steps] the timestep list, never rising */
    int n_steps;
    int step;               /* next entry of ks; n_steps when done */
    double final_alpha_bar; /* of the clean image: 1 */
    double eta;
    uint64_t seed; /* of the noise that stochastic samplers draw */
    uint32_t index;

    float *x;       /* the sample at the present noise level, fp32 in every precision */
    float *x0;      /* the estimate of the clean image of the last step */
    float *eps;     /* the noise estimate that goes with it */
    float *history; /* [n_history * size] what a multistep sampler remembers of steps before */
    float *noise;   /* scratch */
};

/* alpha-bar at a step's own noise level and at the one it goes to. */
struct dn_levels {
    double from, to;
};

struct dn_sampler_ops {
    struct dn_sampler_info info;
    size_t n_history; /* arrays of `size` floats that it remembers */
    /* Its list of n of so many timesteps; NULL: dn_schedule_trailing(). */
    void (*list_timesteps)(int timesteps, int n, int *ks);
    /* From x, x0 and eps to the next x. */
    void (*advance)(struct dn_sampling *s, const struct dn_levels *levels);
};

extern const struct dn_sampler_ops dn_sampler_ddpm, dn_sampler_ddim, dn_sampler_dpmpp_2m,
    dn_sampler_consistency, dn_sampler_unipc, dn_sampler_ipndm, dn_sampler_heun;

const struct dn_sampler_ops *dn_sampler_ops(enum dn_sampler sampler);

/* alpha-bar of step i of the row's list; i = n_steps is the clean image. */
double dn_sampling_alpha_bar(const struct dn_sampling *s, int i);

/* One whole step: x0 and eps from the network's output [size], advance, step + 1. */
void dn_sampling_step(struct dn_sampling *s, const struct dn_sampler_ops *ops, const float *output);

/* x = a * u + b * v, elementwise, and + c * w if w is not NULL. x may be any of them. */
void dn_sampling_combine(float *x, size_t size, double a, const float *u, double b, const float *v,
                         double c, const float *w);

#endif
