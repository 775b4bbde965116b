#include "server/scheduling/served_model.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MEASURE_PASSES 5
#define CHECK_STEPS 2
#define CHECK_ROWS 2
#define KNEE 1.03 /* of the cheapest evaluation: a larger batch is not worth the wait for it */

/* ---- a row that is known to be right -------------------------------------------------------- */

static int refuse(struct dn_error *err, const char *path, int code, const char *why)
{
    err->code = code;
    snprintf(err->text, sizeof err->text, "load %.200s: %s", path, why);
    return code;
}

/* Row `i` of the check: other labels and seeds beside the first. */
static int check_row_new(struct dn_row **row, const struct served_model *m, uint32_t i,
                         struct dn_error *err)
{
    const struct dn_model_info *info = served_model_info(m);
    const struct dn_row_params params = {
        .seed = i,
        .label = i % (uint32_t)info->n_classes,
        .steps = dn_model_nearest_steps(m->model, CHECK_STEPS),
        .sampler = info->default_sampler,
        .guidance_scale = dn_model_unguided_scale(m->model),
        .guidance_interval = {0, 1},
    };
    return dn_row_new(row, m->model, &params, err);
}

/* The first of `n` rows that are drawn together. */
static int check_draw(const struct served_model *m, uint32_t n, float *values, size_t bytes,
                      struct dn_error *err)
{
    struct dn_row *rows[CHECK_ROWS] = {NULL};
    int rc = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        rc = check_row_new(&rows[i], m, i, err);
    }
    while (rc == 0 && !dn_row_done(rows[0])) {
        rc = dn_step(m->workspaces[0], rows, n);
        if (rc != 0) {
            refuse(err, m->path, rc, "a step fails");
        }
    }
    if (rc == 0) {
        memcpy(values, dn_row_values(rows[0]), bytes);
    }
    for (uint32_t i = 0; i < n; i++) {
        dn_row_free(rows[i]);
    }
    return rc;
}

/* A file can be well-formed and its network useless, or a kernel be wrong for a shape that nobody
 * has tried: a row drawn alone and the same in company must be equal, and numbers. */
static int check_network(const struct served_model *m, struct dn_error *err)
{
    const struct dn_model_info *info = served_model_info(m);
    size_t n = (size_t)info->height * (size_t)info->width * (size_t)info->channels;
    float *alone = malloc(2 * n * sizeof *alone), *among = alone ? alone + n : NULL;
    if (!alone) {
        return refuse(err, m->path, DN_ENOMEM, "no memory for a check");
    }
    int rc = check_draw(m, 1, alone, n * sizeof *alone, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (!isfinite(alone[i])) {
            rc = refuse(err, m->path, DN_EFORMAT, "the network's images are no numbers");
        }
    }
    rc = rc == 0 ? check_draw(m, CHECK_ROWS, among, n * sizeof *among, err) : rc;
    if (rc == 0 && memcmp(alone, among, n * sizeof *alone) != 0) {
        rc = refuse(err, m->path, DN_EUNSUPPORTED, "the network draws otherwise in company");
    }
    free(alone);
    return rc;
}

/* ---- how large a batch pays ----------------------------------------------------------------- */

/* The sizes that are measured: 1, 2, 4, ... and at last max_batch; 0 where there are fewer. */
static uint32_t batch_size(uint32_t max_batch, size_t number)
{
    uint32_t size = number < SERVED_MODEL_MAX_SIZES ? UINT32_C(1) << number : UINT32_MAX;
    return size <= max_batch ? size : size / 2 < max_batch ? max_batch : 0;
}

/* This thread's time on a processor: on a machine that is busy with something else a long step is
 * interrupted more often, which by the clock makes a large batch look worse. */
static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Make the first `n` rows where there is none yet or one that is done. */
static int measure_make_rows(const struct served_model *m, struct dn_row **rows, uint32_t *n_rows,
                             uint32_t n)
{
    const struct dn_row_params params = {
        .steps = dn_model_nearest_steps(m->model, UINT32_MAX),
        .sampler = served_model_info(m)->default_sampler,
        .guidance_scale = dn_model_unguided_scale(m->model),
        .guidance_interval = {0, 1},
    };
    int rc = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        struct dn_error err;
        if (i == *n_rows) {
            ++*n_rows;
        } else if (dn_row_done(rows[i])) {
            dn_row_free(rows[i]);
        } else {
            continue;
        }
        rc = dn_row_new(&rows[i], m->model, &params, &err); /* NULL where it fails */
    }
    return rc;
}

/* Time a step of each size of batch, the shortest of a few. The first step of all touches the
 * memory and is not counted; a size that would take too long is left out. */
int served_model_measure(struct served_model *m, uint32_t worker, double seconds)
{
    struct dn_workspace *workspace = m->workspaces[worker];
    double *best = m->measured[worker].of_size;
    struct dn_row **rows = calloc(m->max_batch, sizeof *rows);
    uint32_t n_rows = 0, size;
    int rc = rows ? measure_make_rows(m, rows, &n_rows, 1) : DN_ENOMEM;
    rc = rc == 0 ? dn_step(workspace, rows, 1) : rc;
    double end_s = processor_seconds() + seconds;
    for (int pass = 0; rc == 0 && pass < MEASURE_PASSES; pass++) {
        for (size_t i = 0; rc == 0 && (size = batch_size(m->max_batch, i)) != 0; i++) {
            double expected_s = best[i] > 0 ? best[i] : i > 0 ? 2 * best[i - 1] : 0;
            bool is_first = pass == 0 && i == 0;
            if (!is_first && (expected_s == 0 || processor_seconds() + expected_s > end_s)) {
                continue;
            }
            rc = measure_make_rows(m, rows, &n_rows, size);
            double before_s = processor_seconds();
            rc = rc == 0 ? dn_step(workspace, rows, size) : rc;
            double step_s = processor_seconds() - before_s;
            best[i] = best[i] > 0 && best[i] < step_s ? best[i] : step_s;
        }
    }
    while (n_rows > 0) {
        dn_row_free(rows[--n_rows]);
    }
    free(rows);
    return rc;
}

/* The smallest batch whose evaluations cost about as little as any's: a larger one only makes rows
 * wait for each other. */
void served_model_set_limit(struct served_model *m, uint32_t n)
{
    double seconds[SERVED_MODEL_MAX_SIZES] = {0}, cheapest = INFINITY;
    uint32_t size;
    for (size_t i = 0; (size = batch_size(m->max_batch, i)) != 0; i++) {
        for (uint32_t w = 0; w < n; w++) {
            double of_worker = m->measured[w].of_size[i];
            if (of_worker == 0) { /* it had no time for this size */
                seconds[i] = 0;
                break;
            }
            seconds[i] += of_worker / n;
        }
        if (seconds[i] == 0) {
            break;
        }
        cheapest = seconds[i] / size < cheapest ? seconds[i] / size : cheapest;
    }
    size_t knee = 0;
    while (seconds[knee] / batch_size(m->max_batch, knee) > KNEE * cheapest) {
        knee++;
    }
    size = batch_size(m->max_batch, knee);
    m->evaluation_s = seconds[knee] / size;
    m->batch_limit = size > ROW_MAX_EVALUATIONS ? size : ROW_MAX_EVALUATIONS;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* A model of that path with nothing in it but room. */
static int open_empty(struct served_model **out, const char *path, uint32_t n_workers,
                      uint32_t max_batch, struct dn_error *err)
{
    struct served_model *m = calloc(1, sizeof *m);
    if (m) {
        m->n_workers = n_workers;
        m->max_batch = m->batch_limit = max_batch;
        m->path = strdup(path);
        m->workspaces = calloc(n_workers, sizeof(struct dn_workspace *));
        m->measured = calloc(n_workers, sizeof *m->measured);
    }
    if (!m || !m->path || !m->workspaces || !m->measured) {
        served_model_free(m);
        return refuse(err, path, DN_ENOMEM, "out of memory");
    }
    *out = m;
    return 0;
}

int served_model_open_changed(struct served_model **out, const char *path,
                              const struct options *options, uint32_t n_workers, const char *digest,
                              struct dn_error *err)
{
    const struct dn_model_options model_options = {.isa = options->isa,
                                                   .precision = options->precision};
    struct served_model *m;
    struct stat file;
    assert(options->max_batch >= ROW_MAX_EVALUATIONS);
    *out = NULL;
    int rc = open_empty(&m, path, n_workers, (uint32_t)options->max_batch, err);
    if (rc != 0) {
        return rc;
    }
    m->created = stat(path, &file) == 0 ? (int64_t)file.st_mtime : 0;
    rc = dn_model_open(&m->model, path, &model_options, err);
    if (rc == 0 && strcmp(served_model_info(m)->digest, digest) == 0) {
        served_model_free(m);
        return 0;
    }
    for (uint32_t i = 0; i < n_workers && rc == 0; i++) {
        rc = dn_workspace_new(&m->workspaces[i], m->model, m->max_batch, err);
    }
    rc = rc == 0 ? check_network(m, err) : rc;
    if (rc != 0) {
        served_model_free(m);
        return rc;
    }
    *out = m;
    return 0;
}

int served_model_open(struct served_model **out, const char *path, const struct options *options,
                      uint32_t n_workers, struct dn_error *err)
{
    return served_model_open_changed(out, path, options, n_workers, "", err);
}

void served_model_free(struct served_model *m)
{
    if (!m) {
        return;
    }
    for (uint32_t i = 0; i < m->n_workers && m->workspaces; i++) {
        dn_workspace_free(m->workspaces[i]);
    }
    if (m->model) {
        dn_model_strip(m->model);
    }
    dn_model_free(m->model);
    free(m->workspaces);
    free(m->measured);
    free(m->path);
    free(m);
}
