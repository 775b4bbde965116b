/*
 * Noise schedules of the variance-preserving forward process x_k = a_k x0 + s_k eps, with
 * a_k = sqrt(alpha-bar_k) and s_k = sqrt(1 - alpha-bar_k), and what a network's output means in it.
 */
#ifndef CORE_SAMPLING_SCHEDULE_H
#define CORE_SAMPLING_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/denoise.h"

enum dn_prediction {
    DN_PREDICT_EPSILON, /* the noise (Ho et al. 2020) */
    DN_PREDICT_SAMPLE,  /* x0 itself */
    DN_PREDICT_V,       /* v = a eps - s x0 (Salimans & Ho 2022, appendix D) */
};

struct dn_schedule {
    int timesteps;     /* T */
    double *alpha_bar; /* [T], owned */
    enum dn_prediction prediction;
    bool clip; /* clip the x0 estimate to lo..hi */
    float lo, hi;
};

/* `betas`: "linear" (Ho et al. 2020: beta_start..beta_end) or "cosine" (Nichol & Dhariwal 2021, eq.
 * 17, beta at most 0.999; beta_start and beta_end are not used). `prediction`: "epsilon", "sample"
 * or "v_prediction". Errors: EFORMAT for an unknown name or betas outside (0, 1), ENOMEM. */
int dn_schedule_init(struct dn_schedule *schedule, int timesteps, const char *betas,
                     double beta_start, double beta_end, const char *prediction,
                     struct dn_error *err);
void dn_schedule_deinit(struct dn_schedule *schedule);

/* The trailing spacing of Lin et al. 2023 (arXiv 2305.08891): k_i = round(T (n - i) / n) - 1 for
 * i = 0..n-1, ties to even; begins at T - 1. 1 <= n <= T. */
void dn_schedule_trailing(int timesteps, int n, int *ks);

#endif
