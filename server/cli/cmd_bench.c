/*
 * `denoised bench`: how long a step takes. Each thread advances a batch of unguided rows of its
 * own, a new one for each that is done, so one evaluation is one image-step.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "server/cli/bench_report.h"
#include "server/cli/commands.h"
#include "server/cli/progress.h"
#include "server/cli/shown.h"

#define WARM_UP_STEPS 3
#define WARM_UP_SHARE 0.15 /* of --seconds, at least */

/* Where threads wait for one another: a barrier that opens for good when a thread is missing. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    size_t n_threads, n_waiting;
    unsigned n_openings;
    bool is_given_up;
};

struct bench_thread {
    const struct dn_model *model;
    const struct options *options;
    struct gate *gate;
    struct dn_workspace *workspace;
    struct dn_row **rows; /* [batch] */
    size_t n_rows;
    uint32_t n_made;
    double *step_ms; /* [n_steps] */
    size_t n_steps, steps_capacity;
    double *op_seconds; /* [n_ops] with --profile, else NULL */
    size_t n_ops;
    uint64_t began_ns, ended_ns;
    struct dn_error err;
};

/* False when the gate was given up. */
static bool gate_wait(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    unsigned n_openings = g->n_openings;
    if (++g->n_waiting == g->n_threads) {
        g->n_waiting = 0;
        g->n_openings++;
        pthread_cond_broadcast(&g->opened);
    }
    while (g->n_openings == n_openings && !g->is_given_up)
        pthread_cond_wait(&g->opened, &g->lock);
    bool is_open = !g->is_given_up;
    pthread_mutex_unlock(&g->lock);
    return is_open;
}

static void gate_give_up(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->is_given_up = true;
    pthread_cond_broadcast(&g->opened);
    pthread_mutex_unlock(&g->lock);
}

static int bench_error(struct bench_thread *t, int code)
{
    t->err.code = code;
    snprintf(t->err.text, sizeof t->err.text, "%s", dn_strerror(code));
    return code;
}

/* Rows of all labels, each a step longer than the one before, so that their timesteps mix. */
static int row_make(struct bench_thread *t, struct dn_row **row)
{
    const struct dn_model_info *info = dn_model_info(t->model);
    uint32_t i = t->n_made++;
    const struct dn_row_params params = {
        .seed = 1,
        .index = i,
        .label = i % (uint32_t)info->n_classes,
        .steps = dn_model_nearest_steps(t->model, (uint32_t)info->default_steps + i % 8),
        .sampler = info->default_sampler,
        .guidance_scale = dn_model_unguided_scale(t->model),
        .guidance_interval = {0, 1}};
    return dn_row_new(row, t->model, &params, &t->err);
}

static int bench_step(struct bench_thread *t)
{
    uint64_t before_ns = clock_now_ns();
    int code = t->op_seconds != NULL
                   ? dn_step_profiled(t->workspace, t->rows, t->n_rows, t->op_seconds)
                   : dn_step(t->workspace, t->rows, t->n_rows);
    uint64_t after_ns = clock_now_ns();
    if (code < 0)
        return bench_error(t, code);
    if (t->n_steps == t->steps_capacity) {
        size_t capacity = 2 * t->steps_capacity + 1024;
        double *grown = realloc(t->step_ms, capacity * sizeof *grown);
        if (grown == NULL)
            return bench_error(t, DN_ENOMEM);
        t->step_ms = grown;
        t->steps_capacity = capacity;
    }
    t->step_ms[t->n_steps++] = (double)(after_ns - before_ns) * 1e-6;
    for (size_t i = 0; i < t->n_rows; i++) {
        if (!dn_row_done(t->rows[i]))
            continue;
        dn_row_free(t->rows[i]);
        t->rows[i] = NULL;
        code = row_make(t, &t->rows[i]);
        if (code < 0)
            return code;
    }
    return 0;
}

static int bench_init(struct bench_thread *t)
{
    size_t batch = (size_t)t->options->batch;
    t->rows = calloc(batch, sizeof(struct dn_row *));
    if (t->rows == NULL)
        return bench_error(t, DN_ENOMEM);
    if (t->options->profile) {
        const struct dn_op_info *ops;
        t->n_ops = dn_model_ops(t->model, &ops);
        t->op_seconds = calloc(t->n_ops, sizeof *t->op_seconds);
        if (t->op_seconds == NULL)
            return bench_error(t, DN_ENOMEM);
    }
    for (; t->n_rows < batch; t->n_rows++) {
        int code = row_make(t, &t->rows[t->n_rows]);
        if (code < 0)
            return code;
    }
    return dn_workspace_new(&t->workspace, t->model, (uint32_t)batch, &t->err);
}

static void bench_deinit(struct bench_thread *t)
{
    for (size_t i = 0; i < t->n_rows; i++)
        dn_row_free(t->rows[i]);
    free(t->rows);
    free(t->step_ms);
    free(t->op_seconds);
    dn_workspace_free(t->workspace);
}

static void *bench_run(void *argument)
{
    struct bench_thread *t = argument;
    uint64_t measure_ns = (uint64_t)(t->options->seconds * 1e9);
    uint64_t warm_ns = (uint64_t)(t->options->seconds * WARM_UP_SHARE * 1e9);
    if (!gate_wait(t->gate))
        return NULL;
    int code = 0;
    uint64_t began_ns = clock_now_ns();
    while (code == 0 && (t->n_steps < WARM_UP_STEPS || clock_now_ns() - began_ns < warm_ns))
        code = bench_step(t);
    t->n_steps = 0;
    for (size_t i = 0; i < t->n_ops; i++)
        t->op_seconds[i] = 0;
    /* All threads measure while all others are at work. */
    gate_wait(t->gate);
    t->began_ns = clock_now_ns();
    while (code == 0 && (t->n_steps == 0 || clock_now_ns() - t->began_ns < measure_ns))
        code = bench_step(t);
    t->ended_ns = clock_now_ns();
    return NULL;
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of n sorted values, linear between neighbours, as NumPy's percentile(). */
static double quantile(const double *values, size_t n, double share)
{
    double at = share * (double)(n - 1);
    size_t below = (size_t)at, above = below + 1 < n ? below + 1 : below;
    return values[below] + (at - (double)below) * (values[above] - values[below]);
}

/* All threads' steps together, their operations in the first one's. Returns 0 or DN_ENOMEM. */
static int bench_summarise(struct bench_result *r, struct bench_thread *threads, size_t n_threads,
                           int batch)
{
    *r = (struct bench_result){.op_seconds = threads[0].op_seconds};
    if (r->op_seconds != NULL)
        r->n_ops = dn_model_ops(threads[0].model, &r->ops);
    for (size_t i = 1; i < n_threads; i++)
        for (size_t op = 0; op < r->n_ops; op++)
            r->op_seconds[op] += threads[i].op_seconds[op];
    for (size_t i = 0; i < n_threads; i++) {
        const struct bench_thread *t = &threads[i];
        r->n_steps += t->n_steps;
        r->image_steps_per_s +=
            (double)t->n_steps * batch / ((double)(t->ended_ns - t->began_ns) * 1e-9);
    }
    double *ms = malloc(r->n_steps * sizeof *ms);
    if (ms == NULL)
        return DN_ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < n_threads; i++)
        for (size_t step = 0; step < threads[i].n_steps; step++)
            ms[n++] = threads[i].step_ms[step] / batch;
    qsort(ms, n, sizeof *ms, compare_numbers);
    r->p10_ms = quantile(ms, n, 0.1);
    r->median_ms = quantile(ms, n, 0.5);
    r->p90_ms = quantile(ms, n, 0.9);
    free(ms);
    return 0;
}

static void watch(const struct options *o)
{
    struct progress progress;
    double total_s = o->seconds * (1 + WARM_UP_SHARE);
    const struct timespec interval = {.tv_nsec = PROGRESS_INTERVAL_MS * 1000000L};
    progress_begin(&progress);
    while (progress.is_shown && (double)(clock_now_ns() - progress.began_ns) * 1e-9 < total_s) {
        progress_show_time(&progress, total_s);
        nanosleep(&interval, NULL);
    }
    progress_end(&progress);
}

/* Run the threads, all made ready before any starts. Returns 0 or a negative dn_code. */
static int measure(struct bench_thread *threads, size_t n_threads, const struct options *o,
                   struct dn_error *err)
{
    struct gate gate = {.lock = PTHREAD_MUTEX_INITIALIZER,
                        .opened = PTHREAD_COND_INITIALIZER,
                        .n_threads = n_threads};
    pthread_t *ids = malloc(n_threads * sizeof *ids);
    if (ids == NULL) {
        snprintf(err->text, sizeof err->text, "%s", dn_strerror(DN_ENOMEM));
        return DN_ENOMEM;
    }
    int code = 0;
    size_t n_started = 0;
    for (; n_started < n_threads; n_started++) {
        threads[n_started].gate = &gate;
        if (pthread_create(&ids[n_started], NULL, bench_run, &threads[n_started]) != 0)
            break;
    }
    if (n_started < n_threads) {
        gate_give_up(&gate);
        snprintf(err->text, sizeof err->text, "cannot start thread %zu of %zu", n_started + 1,
                 n_threads);
        code = DN_ENOMEM;
    } else {
        watch(o);
    }
    for (size_t i = 0; i < n_started; i++)
        pthread_join(ids[i], NULL);
    for (size_t i = 0; i < n_started && code == 0; i++) {
        code = threads[i].err.code;
        *err = threads[i].err;
    }
    free(ids);
    return code;
}

/* Measure on an open model. Returns 0 or a negative dn_code with *err filled. */
static int bench_model(const struct dn_model *model, const struct options *o, struct dn_error *err)
{
    size_t n_threads = (size_t)o->threads, n_ready = 0;
    struct bench_thread *threads = calloc(n_threads, sizeof *threads);
    int code = threads == NULL ? DN_ENOMEM : 0;
    for (; code == 0 && n_ready < n_threads; n_ready++) {
        struct bench_thread *t = &threads[n_ready];
        *t = (struct bench_thread){.model = model, .options = o};
        code = bench_init(t);
        if (code < 0)
            *err = t->err;
    }
    if (code == 0)
        code = measure(threads, n_threads, o, err);
    struct bench_result result;
    if (code == 0)
        code = bench_summarise(&result, threads, n_threads, o->batch);
    if (code == 0)
        code = bench_report(&result, o, dn_model_info(model));
    for (size_t i = 0; i < n_ready; i++)
        bench_deinit(&threads[i]);
    free(threads);
    return code;
}

int cmd_bench(const struct options *o)
{
    struct dn_error err = {.code = DN_OK};
    struct dn_model *model;
    const struct dn_model_options model_options = {.isa = o->isa, .precision = o->precision};
    int code = dn_model_open(&model, o->models[0], &model_options, &err);
    if (code == 0) {
        code = bench_model(model, o, &err);
        dn_model_free(model);
    }
    if (code < 0)
        complain("%s", err.text[0] != '\0' ? err.text : dn_strerror(code));
    return code < 0 ? 1 : 0;
}
