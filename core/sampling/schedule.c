#include "core/sampling/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"

/* cos x for 0 <= x <= pi / 2 by its Taylor series: the same bits on every machine, unlike libm's.
 */
static double exact_cos(double x)
{
    double z = x * x, p = 0.0;
    for (int k = 12; k >= 1; k--)
        p = (1.0 - p) * z / ((2.0 * k) * (2.0 * k - 1.0));
    return 1.0 - p;
}

/* Nichol & Dhariwal 2021, eq. 17: f(t) = cos^2((t + 0.008) / 1.008 * pi / 2), t in [0, 1]. */
static double cosine_f(double t)
{
    double c = exact_cos((t + 0.008) / 1.008 * 1.5707963267948966);
    return c * c;
}

int dn_schedule_init(struct dn_schedule *schedule, int timesteps, const char *betas,
                     double beta_start, double beta_end, const char *prediction,
                     struct dn_error *err)
{
    bool cosine = strcmp(betas, "cosine") == 0;

    *schedule = (struct dn_schedule){.timesteps = timesteps, .lo = -1.0f, .hi = 1.0f};
    if (!cosine && strcmp(betas, "linear") != 0)
        return dn_fail(err, DN_EFORMAT,
                       "config: diffusion.beta_schedule: linear or cosine expected");
    if (!cosine && !(beta_start > 0 && beta_start <= beta_end && beta_end < 1))
        return dn_fail(err, DN_EFORMAT,
                       "config: diffusion.beta_start: 0 < beta_start <= beta_end < 1 expected");
    if (strcmp(prediction, "epsilon") == 0)
        schedule->prediction = DN_PREDICT_EPSILON;
    else if (strcmp(prediction, "sample") == 0)
        schedule->prediction = DN_PREDICT_SAMPLE;
    else if (strcmp(prediction, "v_prediction") == 0)
        schedule->prediction = DN_PREDICT_V;
    else
        return dn_fail(err, DN_EFORMAT,
                       "config: diffusion.prediction: epsilon, sample or v_prediction expected");

    schedule->alpha_bar = malloc((size_t)timesteps * sizeof *schedule->alpha_bar);
    if (!schedule->alpha_bar)
        return dn_fail(err, DN_ENOMEM, "out of memory");
    double product = 1.0;
    for (int k = 0; k < timesteps; k++) {
        double beta;
        if (cosine) {
            beta = 1.0 - cosine_f((k + 1.0) / timesteps) / cosine_f((double)k / timesteps);
            beta = beta < 0.999 ? beta : 0.999;
        } else {
            beta = timesteps == 1 ? beta_start
                                  : beta_start + (beta_end - beta_start) * k / (timesteps - 1.0);
        }
        product *= 1.0 - beta;
        schedule->alpha_bar[k] = product;
    }
    return 0;
}

void dn_schedule_deinit(struct dn_schedule *schedule)
{
    free(schedule->alpha_bar);
    schedule->alpha_bar = NULL;
}

void dn_schedule_trailing(int timesteps, int n, int *ks)
{
    for (int i = 0; i < n; i++) {
        int product = timesteps * (n - i);
        int whole = product / n, twice = 2 * (product % n);
        if (twice > n || (twice == n && whole % 2 == 1))
            whole++;
        ks[i] = whole - 1;
    }
}
