#include "core/kernels/conv_form.h"

/* Is it a 3x3 convolution of stride 1, taps row by row? */
static bool is_3x3(const struct dn_conv *cv)
{
    if (cv->n_taps != 9 || cv->stride != 1)
        return false;
    for (int n = 0; n < 9; n++)
        if (cv->dy[n] != n / 3 - 1 || cv->dx[n] != n % 3 - 1)
            return false;
    return true;
}

enum dn_conv_form dn_conv_form(const struct dn_conv *cv)
{
    if (cv->out_c <= 4 && cv->in_c % DN_LANES == 0)
        return DN_CONV_LANES;
    if (is_3x3(cv) && cv->in_c % DN_LANES == 0 && cv->out_c % DN_LANES == 0 && cv->in_c >= 32) {
        if (cv->h >= 12 && cv->w >= 12)
            return DN_CONV_WINOGRAD_4;
        if (cv->h >= 6 && cv->w >= 6)
            return DN_CONV_WINOGRAD_2;
    }
    return DN_CONV_DIRECT;
}

int dn_winograd_tile(enum dn_conv_form form)
{
    return form == DN_CONV_WINOGRAD_4 ? 4 : form == DN_CONV_WINOGRAD_2 ? 2 : 0;
}

static const double a = DN_WINOGRAD_A, b = DN_WINOGRAD_B;

/* Row i of G for point p_i: (1, p_i, p_i^2) / product over j of (p_i - p_j); the last (0, 0, 1). */
static void fill_g(double g[DN_WINOGRAD_MAX][3], int m)
{
    const double points4[] = {0, a, -a, b, -b}, points2[] = {0, 1, -1};
    const double *points = m == 4 ? points4 : points2;
    int n = m + 1;
    for (int i = 0; i < n; i++) {
        double product = 1;
        for (int j = 0; j < n; j++)
            product *= j == i ? 1 : points[i] - points[j];
        g[i][0] = 1 / product;
        g[i][1] = points[i] / product;
        g[i][2] = points[i] * points[i] / product;
    }
    g[n][0] = g[n][1] = 0;
    g[n][2] = 1;
}

void dn_winograd_weight(float *transformed, int m, const float *g, size_t step)
{
    double matrix[DN_WINOGRAD_MAX][3], half[DN_WINOGRAD_MAX][3];
    int n = m + 2;

    fill_g(matrix, m);
    for (int i = 0; i < n; i++)
        for (int x = 0; x < 3; x++)
            half[i][x] = matrix[i][0] * (double)g[(size_t)x * step] +
                         matrix[i][1] * (double)g[(size_t)(3 + x) * step] +
                         matrix[i][2] * (double)g[(size_t)(6 + x) * step];
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            transformed[i * n + j] = (float)(half[i][0] * matrix[j][0] + half[i][1] * matrix[j][1] +
                                             half[i][2] * matrix[j][2]);
}
