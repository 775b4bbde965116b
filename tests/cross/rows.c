/* The real network, schedule and samplers, on a model made without model.c and its libraries. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/error.h"
#include "core/base/memory.h"
#include "core/base/rng.h"
#include "core/model_private.h"
#include "core/nets/nets.h"
#include "tests/cross/digests.h"

/* ---- weights --------------------------------------------------------------------------------- */

/* Drawn by name: the same on every machine. */
struct drawn {
    float *data[256];
    int n;
};

static const float *draw(void *context, const char *name, const int64_t *shape, int rank,
                         struct dn_error *err)
{
    struct drawn *d = context;
    size_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= (size_t)shape[i];
    float *w = dn_alloc(n * sizeof *w);
    if (!w || d->n == sizeof d->data / sizeof *d->data)
        die("out of memory for weights");
    d->data[d->n++] = w;
    (void)err;
    dn_noise(w, n, digest_add(DIGEST_START, name, strlen(name)), 0, 0);
    /* Sums of about unit size: matrices over their inputs, vectors around one, frequencies wide. */
    float inputs = (float)n / (float)shape[0];
    bool is_frequency = strcmp(name, "time_embed.W") == 0;
    for (size_t i = 0; i < n; i++)
        w[i] = is_frequency ? 30.0f * w[i] : rank == 1 ? 1.0f + 0.25f * w[i] : w[i] / sqrtf(inputs);
    return w;
}

/* The tensors of a safetensors file that this project wrote: good for nothing else. */
struct file {
    char *header;
    const uint8_t *data;
};

static const float *find(void *context, const char *name, const int64_t *shape, int rank,
                         struct dn_error *err)
{
    const struct file *f = context;
    char key[256];
    size_t begin, end, n = sizeof(float);
    for (int i = 0; i < rank; i++)
        n *= (size_t)shape[i];
    snprintf(key, sizeof key, "\"%s\":{", name);
    const char *entry = strstr(f->header, key);
    const char *offsets = entry ? strstr(entry, "\"data_offsets\":[") : NULL;
    if (!offsets || sscanf(offsets, "\"data_offsets\":[%zu,%zu]", &begin, &end) != 2 ||
        end - begin != n) {
        dn_fail(err, DN_EFORMAT, "tensor %s: not found", name);
        return NULL;
    }
    return (const float *)(const void *)(f->data + begin);
}

/* ---- the model ------------------------------------------------------------------------------- */

/* What model.c makes of a file and its config. */
static void model_init(struct dn_model *m, const struct dn_kernels *kernels,
                       const struct dn_config *config, const struct arch *arch,
                       const struct dn_weight_source *source)
{
    struct dn_error err = {0};
    struct dn_graph *graph;
    struct dn_config c = *config;

    *m = (struct dn_model){.kernels = kernels};
    m->info.channels = c.channels;
    m->info.height = c.height;
    m->info.width = c.width;
    m->info.n_classes = c.n_classes;
    m->info.timesteps = c.timesteps;
    m->info.samplers = (UINT32_C(1) << DN_SAMPLER_COUNT) - 1;
    m->info.can_guide = true;
    m->size = (size_t)(c.channels * c.height * c.width);
    /* Read by the stand-ins alone. */
    c.arch = (struct cJSON *)(uintptr_t)arch;
    if (dn_schedule_init(&m->schedule, c.timesteps, c.beta_schedule, c.beta_start, c.beta_end,
                         c.prediction, &err) ||
        dn_graph_new(&graph, source, &err) || dn_net_by_type("unet_st")->record(graph, &c, &err) ||
        dn_plan_new(&m->plan, graph, m->kernels, false, &err))
        die(err.text);
    dn_graph_free(graph);
    m->schedule.clip = c.clip_sample;
    m->schedule.lo = -1;
    m->schedule.hi = 1;
}

static void model_deinit(struct dn_model *m)
{
    dn_plan_free(m->plan);
    dn_schedule_deinit(&m->schedule);
}

/* Advance the rows together until all are done. */
static void run(const struct dn_model *model, struct dn_row *const rows[], size_t n)
{
    struct dn_error err = {0};
    struct dn_workspace *workspace;
    if (dn_workspace_new(&workspace, model, (uint32_t)(2 * n), &err))
        die(err.text);
    for (;;) {
        struct dn_row *running[DN_SAMPLER_COUNT];
        size_t left = 0;
        for (size_t i = 0; i < n; i++)
            if (!dn_row_done(rows[i]))
                running[left++] = rows[i];
        if (left == 0)
            break;
        if (dn_step(workspace, running, left))
            die("dn_step");
    }
    dn_workspace_free(workspace);
}

static struct dn_row *row_new(const struct dn_model *model, const struct dn_row_params *params)
{
    struct dn_error err = {0};
    struct dn_row *row;
    if (dn_row_new(&row, model, params, &err))
        die(err.text);
    return row;
}

/* ---- what is printed ------------------------------------------------------------------------- */

void rows_print_small(const struct dn_kernels *kernels)
{
    /* 32 channels, which bf16 needs, and an odd 36, so that every kernel has a rest. */
    static const struct arch arch = {{32, 36}, 2, 24, 16, 4, 1, 4};
    static const struct dn_config config = {.channels = 1,
                                            .height = 6,
                                            .width = 6,
                                            .n_classes = 3,
                                            .null_label = true,
                                            .prediction = "epsilon",
                                            .beta_schedule = "cosine",
                                            .timesteps = 40,
                                            .time_divisor = 40};
    struct drawn drawn = {0};
    const struct dn_weight_source source = {draw, &drawn};
    struct dn_model model;
    struct dn_row *rows[DN_SAMPLER_COUNT];

    model_init(&model, kernels, &config, &arch, &source);
    for (uint32_t i = 0; i < DN_SAMPLER_COUNT; i++) {
        enum dn_sampler sampler = (enum dn_sampler)i;
        bool has_eta = dn_sampler_info(sampler)->has_eta;
        rows[i] = row_new(&model, &(struct dn_row_params){.seed = 5,
                                                          .index = i,
                                                          .label = i % 3,
                                                          .steps = 3 + i % 2,
                                                          .sampler = sampler,
                                                          .guidance_scale = i % 2 ? 1.0 : 2.5,
                                                          .guidance_interval = {0, 1},
                                                          .eta = has_eta ? 0.5 : 0.0});
    }
    run(&model, rows, DN_SAMPLER_COUNT);
    for (uint32_t i = 0; i < DN_SAMPLER_COUNT; i++) {
        uint64_t hash =
            digest_add(DIGEST_START, dn_row_values(rows[i]), model.size * sizeof(float));
        printf("row-%s %016llx\n", dn_sampler_info((enum dn_sampler)i)->name,
               (unsigned long long)hash);
        dn_row_free(rows[i]);
    }
    model_deinit(&model);
    for (int i = 0; i < drawn.n; i++)
        free(drawn.data[i]);
}

void rows_print_image(const struct dn_kernels *kernels, const char *path)
{
    /* As in the file of the shipped model. */
    static const struct arch arch = {{32, 64, 128}, 3, 256, 32, 8, 1, 32};
    static const struct dn_config config = {.channels = 1,
                                            .height = 28,
                                            .width = 28,
                                            .n_classes = 10,
                                            .null_label = true,
                                            .prediction = "v_prediction",
                                            .beta_schedule = "linear",
                                            .beta_start = 0.0001,
                                            .beta_end = 0.02,
                                            .timesteps = 1000,
                                            .time_divisor = 1000,
                                            .time_offset = 1,
                                            .clip_sample = false};
    FILE *in = fopen(path, "rb");
    long size = in && fseek(in, 0, SEEK_END) == 0 ? ftell(in) : -1;
    uint8_t *bytes = size > 8 ? dn_alloc((size_t)size + 1) : NULL;
    if (!bytes || fseek(in, 0, SEEK_SET) || fread(bytes, 1, (size_t)size, in) != (size_t)size)
        die("cannot read the model");
    fclose(in);
    uint64_t header_bytes;
    memcpy(&header_bytes, bytes, sizeof header_bytes);
    if (header_bytes > (uint64_t)size - 8)
        die("cannot read the model");
    struct file file = {dn_strndup((char *)bytes + 8, header_bytes), bytes + 8 + header_bytes};
    const struct dn_weight_source source = {find, &file};
    struct dn_model model;
    uint8_t pixels[28 * 28];

    if (!file.header)
        die("out of memory");
    model_init(&model, kernels, &config, &arch, &source);
    struct dn_row *row = row_new(&model, &(struct dn_row_params){.seed = 42,
                                                                 .label = 7,
                                                                 .steps = 2,
                                                                 .sampler = DN_SAMPLER_DPMPP_2M,
                                                                 .guidance_scale = 1,
                                                                 .guidance_interval = {0, 1}});
    run(&model, &row, 1);
    dn_row_pixels(row, pixels);
    for (size_t i = 0; i < sizeof pixels; i++)
        printf("%02x", pixels[i]);
    printf("\n");
    dn_row_free(row);
    model_deinit(&model);
    free(file.header);
    free(bytes);
}
