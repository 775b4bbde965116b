/*
 * How long oneDNN takes for a network's convolutions alone: no activation, no norm, no attention,
 * and every layout as oneDNN likes it best, so it is a bound that a whole network cannot reach.
 *
 *     onednn_convs f32|bf16 BATCH SECONDS < layers
 *
 * Standard input has a line for each layer: "conv|deconv NAME IN_C OUT_C IN_H KERNEL STRIDE PAD
 * OUT_PAD BIAS", square maps. Prints JSON: the median milliseconds of each layer for the batch. The
 * layers run in turn, as in a network, so that each finds the caches as its neighbours left them.
 */
#include <dnnl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_LAYERS 64
#define MAX_SAMPLES 100000
#define WARM_UP_ROUNDS 5

struct layer {
    char name[128], implementation[64];
    bool is_deconv, has_bias;
    int in_c, out_c, in_h, out_h, kernel, stride, pad, out_pad;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[4];
    int n_args;
    double *ms; /* [MAX_SAMPLES] */
};

/* The first call that failed is named, and everything after it fails too. */
static int check(dnnl_status_t status, const char *call)
{
    if (status == dnnl_success)
        return 0;
    fprintf(stderr, "onednn_convs: %s: status %d\n", call, (int)status);
    return -1;
}
#define CHECK(call)                                                                                \
    do {                                                                                           \
        if (check(call, #call) < 0)                                                                \
            return -1;                                                                             \
    } while (0)

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The layers of standard input; the number of them or -1. */
static int layers_read(struct layer layers[MAX_LAYERS])
{
    char line[512], kind[16];
    int n = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        struct layer *l = &layers[n];
        int bias;
        if (n == MAX_LAYERS ||
            sscanf(line, "%15s %127s %d %d %d %d %d %d %d %d", kind, l->name, &l->in_c, &l->out_c,
                   &l->in_h, &l->kernel, &l->stride, &l->pad, &l->out_pad, &bias) != 10 ||
            (strcmp(kind, "conv") != 0 && strcmp(kind, "deconv") != 0)) {
            fprintf(stderr, "onednn_convs: line %d is not a layer: %s", n + 1, line);
            return -1;
        }
        l->is_deconv = kind[0] == 'd';
        l->has_bias = bias != 0;
        l->out_h = l->is_deconv ? (l->in_h - 1) * l->stride - 2 * l->pad + l->kernel + l->out_pad
                                : (l->in_h + 2 * l->pad + l->out_pad - l->kernel) / l->stride + 1;
        n++;
    }
    return n;
}

/* Memory of a tensor in the layout that the primitive chose, filled with ones of its type. */
static int add_memory(struct layer *l, dnnl_engine_t engine, const_dnnl_primitive_desc_t pd,
                      dnnl_query_t what, int index, int argument)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, what, index);
    dnnl_memory_t memory;
    void *data;
    CHECK(dnnl_memory_create(&memory, md, engine, DNNL_MEMORY_ALLOCATE));
    CHECK(dnnl_memory_get_data_handle(memory, &data));
    size_t bytes = dnnl_memory_desc_get_size(md);
    if (md->data_type == dnnl_bf16)
        for (size_t i = 0; i < bytes / 2; i++)
            ((unsigned short *)data)[i] = 0x3f80;
    else
        for (size_t i = 0; i < bytes / sizeof(float); i++)
            ((float *)data)[i] = 1;
    l->args[l->n_args].arg = argument;
    l->args[l->n_args++].memory = memory;
    return 0;
}

static int layer_init(struct layer *l, dnnl_engine_t engine, dnnl_data_type_t type, int batch)
{
    const dnnl_dims_t src = {batch, l->in_c, l->in_h, l->in_h};
    const dnnl_dims_t dst = {batch, l->out_c, l->out_h, l->out_h};
    const dnnl_dims_t weights = {l->out_c, l->in_c, l->kernel, l->kernel}, bias = {l->out_c};
    const dnnl_dims_t strides = {l->stride, l->stride}, begin = {l->pad, l->pad};
    /* What the output needs at the far edge: less for a deconvolution, more for a convolution. */
    int far = l->is_deconv ? l->pad - l->out_pad : l->pad + l->out_pad;
    const dnnl_dims_t end = {far, far};
    dnnl_memory_desc_t src_md, weights_md, bias_md, dst_md;
    CHECK(dnnl_memory_desc_init_by_tag(&src_md, 4, src, type, dnnl_format_tag_any));
    CHECK(dnnl_memory_desc_init_by_tag(&weights_md, 4, weights, type, dnnl_format_tag_any));
    CHECK(dnnl_memory_desc_init_by_tag(&bias_md, 1, bias, dnnl_f32, dnnl_x));
    CHECK(dnnl_memory_desc_init_by_tag(&dst_md, 4, dst, type, dnnl_format_tag_any));
    const dnnl_memory_desc_t *bias_or_none = l->has_bias ? &bias_md : NULL;

    dnnl_primitive_desc_t pd;
    dnnl_convolution_desc_t conv;
    dnnl_deconvolution_desc_t deconv;
    if (l->is_deconv)
        CHECK(dnnl_deconvolution_forward_desc_init(&deconv, dnnl_forward_inference,
                                                   dnnl_deconvolution_direct, &src_md, &weights_md,
                                                   bias_or_none, &dst_md, strides, begin, end));
    else
        CHECK(dnnl_convolution_forward_desc_init(&conv, dnnl_forward_inference,
                                                 dnnl_convolution_auto, &src_md, &weights_md,
                                                 bias_or_none, &dst_md, strides, begin, end));
    const_dnnl_op_desc_t op = l->is_deconv ? (const void *)&deconv : (const void *)&conv;
    CHECK(dnnl_primitive_desc_create(&pd, op, NULL, engine, NULL));
    const char *name;
    CHECK(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&name));
    snprintf(l->implementation, sizeof l->implementation, "%s", name);
    if (add_memory(l, engine, pd, dnnl_query_src_md, 0, DNNL_ARG_SRC) < 0 ||
        add_memory(l, engine, pd, dnnl_query_weights_md, 0, DNNL_ARG_WEIGHTS) < 0 ||
        add_memory(l, engine, pd, dnnl_query_dst_md, 0, DNNL_ARG_DST) < 0)
        return -1;
    if (l->has_bias && add_memory(l, engine, pd, dnnl_query_weights_md, 1, DNNL_ARG_BIAS) < 0)
        return -1;
    CHECK(dnnl_primitive_create(&l->primitive, pd));
    CHECK(dnnl_primitive_desc_destroy(pd));
    l->ms = malloc(MAX_SAMPLES * sizeof *l->ms);
    return l->ms != NULL ? 0 : -1;
}

/* Run all layers in turn for so long; the number of rounds or -1. */
static int layers_run(struct layer *layers, int n, dnnl_stream_t stream, double seconds)
{
    int samples = -WARM_UP_ROUNDS;
    double began_ms = now_ms();
    for (; samples < MAX_SAMPLES; samples++) {
        if (samples == 0)
            began_ms = now_ms();
        if (samples > 0 && now_ms() - began_ms > seconds * 1e3)
            break;
        for (int i = 0; i < n; i++) {
            struct layer *l = &layers[i];
            double before_ms = now_ms();
            CHECK(dnnl_primitive_execute(l->primitive, stream, l->n_args, l->args));
            CHECK(dnnl_stream_wait(stream));
            if (samples >= 0)
                l->ms[samples] = now_ms() - before_ms;
        }
    }
    return samples;
}

static int run(dnnl_data_type_t type, int batch, double seconds)
{
    static struct layer layers[MAX_LAYERS];
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    CHECK(dnnl_engine_create(&engine, dnnl_cpu, 0));
    CHECK(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    int n = layers_read(layers);
    for (int i = 0; i < n; i++)
        if (layer_init(&layers[i], engine, type, batch) < 0)
            return -1;
    int samples = n > 0 ? layers_run(layers, n, stream, seconds) : -1;
    if (samples <= 0)
        return -1;
    const dnnl_version_t *version = dnnl_version();
    printf("{\"version\":\"%d.%d.%d\",\"rounds\":%d,\"layers\":[", version->major, version->minor,
           version->patch, samples);
    for (int i = 0; i < n; i++) {
        struct layer *l = &layers[i];
        qsort(l->ms, (size_t)samples, sizeof *l->ms, compare_numbers);
        printf("%s{\"name\":\"%s\",\"kind\":\"%s\",\"implementation\":\"%s\",\"ms\":%.6g}",
               i > 0 ? "," : "", l->name, l->is_deconv ? "deconv" : "conv", l->implementation,
               l->ms[samples / 2]);
    }
    printf("]}\n");
    return 0;
}

int main(int argc, char **argv)
{
    int batch = argc == 4 ? atoi(argv[2]) : 0;
    double seconds = argc == 4 ? atof(argv[3]) : 0;
    bool is_bf16 = argc == 4 && strcmp(argv[1], "bf16") == 0;
    if (batch < 1 || seconds <= 0 || (!is_bf16 && strcmp(argv[1], "f32") != 0)) {
        fprintf(stderr, "usage: onednn_convs f32|bf16 BATCH SECONDS < layers\n");
        return 2;
    }
    return run(is_bf16 ? dnnl_bf16 : dnnl_f32, batch, seconds) < 0 ? 1 : 0;
}
