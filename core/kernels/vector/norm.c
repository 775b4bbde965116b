/* Normalisations and what goes by element. */
#include "core/kernels/vector/vector.h"

void ISA(dn_group_norm)(const struct dn_group_norm *norm, const struct dn_map *in, const float *pre,
                        const struct dn_map *out, const struct dn_epilogue *epilogue)
{
    int width = in->c / norm->groups;
    float n = (float)(in->h * in->w * width);
    int c_all = in->c;
    float sum[DN_MAX_CHANNELS], row[DN_MAX_CHANNELS], bias[DN_MAX_CHANNELS];
    float mean[DN_MAX_CHANNELS], scale[DN_MAX_CHANNELS];

    for (int c = 0; c < c_all; c++) {
        bias[c] = pre ? pre[c] : 0.0f;
        sum[c] = 0.0f;
    }
    for (int y = 0; y < in->h; y++) {
        for (int c = 0; c < c_all; c++)
            row[c] = 0.0f;
        for (int x = 0; x < in->w; x++) {
            const float *restrict p = pixel(in, y, x);
            for (int c = 0; c < c_all; c++)
                row[c] = row[c] + (p[c] + bias[c]);
        }
        for (int c = 0; c < c_all; c++)
            sum[c] = sum[c] + row[c];
    }
    for (int g = 0; g < norm->groups; g++) {
        float total = 0.0f;
        for (int c = g * width; c < (g + 1) * width; c++)
            total = total + sum[c];
        for (int c = g * width; c < (g + 1) * width; c++) {
            mean[c] = total / n;
            sum[c] = 0.0f;
        }
    }
    for (int y = 0; y < in->h; y++) {
        for (int c = 0; c < c_all; c++)
            row[c] = 0.0f;
        for (int x = 0; x < in->w; x++) {
            const float *restrict p = pixel(in, y, x);
            for (int c = 0; c < c_all; c++) {
                float d = (p[c] + bias[c]) - mean[c];
                row[c] = row[c] + d * d;
            }
        }
        for (int c = 0; c < c_all; c++)
            sum[c] = sum[c] + row[c];
    }
    for (int g = 0; g < norm->groups; g++) {
        float total = 0.0f;
        for (int c = g * width; c < (g + 1) * width; c++)
            total = total + sum[c];
        float rstd = 1.0f / sqrtf(total / n + norm->eps);
        for (int c = g * width; c < (g + 1) * width; c++)
            scale[c] = rstd * norm->weight[c];
    }
    for (int y = 0; y < in->h; y++) {
        for (int x = 0; x < in->w; x++) {
            const float *restrict p = pixel(in, y, x);
            for (int c = 0; c < c_all; c++)
                row[c] = ((p[c] + bias[c]) - mean[c]) * scale[c] + norm->bias[c];
            finish(epilogue, row, pixel(out, y, x), y, x, 0, c_all);
        }
    }
}

void ISA(dn_layer_norm)(const struct dn_layer_norm *norm, const struct dn_map *in,
                        const struct dn_map *out)
{
    int whole = in->c / DN_LANES * DN_LANES;
    for (int y = 0; y < in->h; y++) {
        for (int x = 0; x < in->w; x++) {
            const float *restrict p = pixel(in, y, x);
            float *restrict r = pixel(out, y, x);
            float sum[DN_LANES] = {0}, square[DN_LANES] = {0};
            for (int c = 0; c < whole; c += DN_LANES)
                for (int l = 0; l < DN_LANES; l++)
                    sum[l] = sum[l] + p[c + l];
            for (int l = 0; l < in->c - whole; l++)
                sum[l] = sum[l] + p[whole + l];
            float mean = add_lanes(sum) / (float)in->c;
            for (int c = 0; c < whole; c += DN_LANES)
                for (int l = 0; l < DN_LANES; l++)
                    square[l] = square[l] + (p[c + l] - mean) * (p[c + l] - mean);
            for (int l = 0; l < in->c - whole; l++)
                square[l] = square[l] + (p[whole + l] - mean) * (p[whole + l] - mean);
            float rstd = 1.0f / sqrtf(add_lanes(square) / (float)in->c + norm->eps);
            for (int c = 0; c < in->c; c++)
                r[c] = (p[c] - mean) * rstd * norm->weight[c] + norm->bias[c];
        }
    }
}

void ISA(dn_pointwise)(const struct dn_map *in, const struct dn_map *out,
                       const struct dn_epilogue *epilogue)
{
    for (int y = 0; y < out->h; y++)
        for (int x = 0; x < out->w; x++)
            finish(epilogue, pixel(in, y, x), pixel(out, y, x), y, x, 0, out->c);
}
