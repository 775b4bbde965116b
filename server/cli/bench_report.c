#include "server/cli/bench_report.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/text.h"

/* Of an operation, an image-step's part. The steps are summed, so these are means. */
struct op_figures {
    double ms, gflops, share;
};

static double ops_total_s(const struct bench_result *r)
{
    double total_s = 0;
    for (size_t i = 0; i < r->n_ops; i++)
        total_s += r->op_seconds[i];
    return total_s;
}

static struct op_figures op_figures(const struct bench_result *r, size_t i, int batch,
                                    double total_s)
{
    double s = r->op_seconds[i] / ((double)r->n_steps * batch);
    return (struct op_figures){.ms = s * 1e3,
                               .gflops = s > 0 ? 2e-9 * r->ops[i].macs / s : 0,
                               .share = total_s > 0 ? r->op_seconds[i] / total_s : 0};
}

static void put_ops(struct text *t, const struct bench_result *r, int batch)
{
    double total_s = ops_total_s(r);
    text_puts(t, ",\"ops\":[");
    for (size_t i = 0; i < r->n_ops; i++) {
        struct op_figures f = op_figures(r, i, batch, total_s);
        text_puts(t, i > 0 ? ",{\"name\":" : "{\"name\":");
        text_json_string(t, r->ops[i].name);
        text_puts(t, ",\"kind\":");
        text_json_string(t, r->ops[i].kind);
        text_printf(t,
                    ",\"ms\":%.6g,\"gflops\":%.4g,\"share\":%.4g,\"macs\":%.0f,"
                    "\"weight_bytes\":%.0f,\"map_bytes\":%.0f}",
                    f.ms, f.gflops, f.share, r->ops[i].macs, r->ops[i].weight_bytes,
                    r->ops[i].map_bytes);
    }
    text_puts(t, "]");
}

static int print_json(const struct bench_result *r, const struct options *o,
                      const struct dn_model_info *info)
{
    struct text t = TEXT_INIT;
    text_puts(&t, "{\"model\":");
    text_json_string(&t, info->name);
    text_puts(&t, ",\"digest\":");
    text_json_string(&t, info->digest);
    text_printf(&t, ",\"isa\":\"%s\",\"precision\":\"%s\",\"kernels\":", dn_isa_name(info->isa),
                dn_precision_name(info->precision));
    text_json_string(&t, info->kernels);
    text_puts(&t, ",\"blas_core\":");
    text_json_string(&t, dn_blas_core());
    text_printf(&t, ",\"batch\":%d,\"threads\":%d,\"seconds\":%g,\"steps\":%zu,", o->batch,
                o->threads, o->seconds, r->n_steps);
    text_printf(&t,
                "\"ms_per_image_step\":%.6g,\"ms_per_image_step_p10\":%.6g,"
                "\"ms_per_image_step_p90\":%.6g,\"image_steps_per_s\":%.6g,"
                "\"macs_per_image_step\":%.0f,\"gflops\":%.4g",
                r->median_ms, r->p10_ms, r->p90_ms, r->image_steps_per_s, info->macs,
                2e-9 * info->macs * r->image_steps_per_s);
    if (r->n_ops > 0)
        put_ops(&t, r, o->batch);
    text_puts(&t, "}");
    char *json = text_take(&t, NULL);
    if (json == NULL)
        return DN_ENOMEM;
    puts(json);
    free(json);
    return 0;
}

static void print_ops(const struct bench_result *r, int batch)
{
    double total_s = ops_total_s(r);
    printf("\n  us an image  share  GFLOP/s  operation\n");
    for (size_t i = 0; i < r->n_ops; i++) {
        struct op_figures f = op_figures(r, i, batch, total_s);
        printf("%13.2f %5.1f%% %8.1f  %s %s\n", f.ms * 1e3, f.share * 100, f.gflops, r->ops[i].kind,
               r->ops[i].name);
    }
    printf("%13.2f         all of them; the rest of a step is the sampler's\n",
           total_s * 1e6 / ((double)r->n_steps * batch));
}

int bench_report(const struct bench_result *r, const struct options *o,
                 const struct dn_model_info *info)
{
    if (o->json)
        return print_json(r, o, info);
    printf("%s, %s, batch %d, %d thread%s, %zu steps in %g s\n", info->name, info->kernels,
           o->batch, o->threads, o->threads == 1 ? "" : "s", r->n_steps, o->seconds);
    printf("%10.4g ms per image-step, median (p10 %.4g, p90 %.4g)\n", r->median_ms, r->p10_ms,
           r->p90_ms);
    printf("%10.4g image-steps/s, all threads together\n", r->image_steps_per_s);
    printf("%10.4g GFLOP/s (%.4g M multiply-adds an image-step)\n",
           2e-9 * info->macs * r->image_steps_per_s, info->macs * 1e-6);
    if (r->n_ops > 0)
        print_ops(r, o->batch);
    return 0;
}
