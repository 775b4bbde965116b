#include "server/cli/sample_run.h"

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "server/cli/progress.h"

/* What the threads share, under `lock`. */
struct shared {
    const struct sample_run *run;
    pthread_mutex_t lock;
    pthread_cond_t ended; /* a thread has ended */
    size_t next_idx;      /* the first image that no thread has taken */
    uint64_t steps_done;
    int threads_running;
    int code;
    struct dn_error err;
};

/* One thread's own. */
struct drawer {
    struct dn_workspace *workspace;
    struct dn_row **rows; /* [capacity], the first n_rows in work */
    size_t *image_idx;    /* [capacity] */
    size_t n_rows, capacity;
    uint8_t *pixels;
};

int sample_error(struct dn_error *err, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err->text, sizeof err->text, format, arguments);
    va_end(arguments);
    err->code = code;
    return code;
}

static void drawer_deinit(struct drawer *d)
{
    for (size_t i = 0; i < d->n_rows; i++)
        dn_row_free(d->rows[i]);
    free(d->rows);
    free(d->image_idx);
    free(d->pixels);
    dn_workspace_free(d->workspace);
}

static int drawer_init(struct drawer *d, const struct sample_run *run, struct dn_error *err)
{
    const struct dn_model *model = run->params->model;
    const struct dn_model_info *info = dn_model_info(model);
    size_t image_bytes = (size_t)info->height * (size_t)info->width * (size_t)info->channels;
    *d = (struct drawer){.capacity = run->max_evaluations};
    d->rows = malloc(d->capacity * sizeof(struct dn_row *));
    d->image_idx = malloc(d->capacity * sizeof *d->image_idx);
    d->pixels = malloc(image_bytes);
    if (d->rows == NULL || d->image_idx == NULL || d->pixels == NULL)
        return sample_error(err, DN_ENOMEM, "%s", dn_strerror(DN_ENOMEM));
    return dn_workspace_new(&d->workspace, model, run->max_evaluations, err);
}

/* Of the rows, how many can take their next step together. */
static size_t drawer_room(const struct drawer *d, uint32_t *n_evaluations)
{
    size_t n = 0;
    *n_evaluations = 0;
    while (n < d->n_rows && *n_evaluations + dn_row_next_evaluations(d->rows[n]) <= d->capacity)
        *n_evaluations += dn_row_next_evaluations(d->rows[n++]);
    return n;
}

/* Make rows while there are images to draw and evaluations to spare. */
static int drawer_fill(struct drawer *d, struct shared *s, struct dn_error *err)
{
    const struct sample_params *params = s->run->params;
    uint32_t n_evaluations;
    while (drawer_room(d, &n_evaluations) == d->n_rows) {
        struct dn_row_params first = params_row(params, 0);
        if (n_evaluations + dn_model_step_evaluations(params->model, &first, 0) > d->capacity)
            return 0;
        pthread_mutex_lock(&s->lock);
        size_t i = s->next_idx;
        bool is_over = s->code < 0 || i == params->n_rows;
        s->next_idx += !is_over;
        pthread_mutex_unlock(&s->lock);
        if (is_over)
            return 0;
        struct dn_row_params row_params = params_row(params, i);
        int code = dn_row_new(&d->rows[d->n_rows], params->model, &row_params, err);
        if (code < 0)
            return code;
        d->image_idx[d->n_rows++] = i;
    }
    return 0;
}

/* One step of as many rows as there is room for, which is all unless some that began unguided have
 * become guided; the finished ones are handed out and freed. */
static int drawer_step(struct drawer *d, struct shared *s, struct dn_error *err)
{
    uint32_t n_evaluations;
    size_t n = drawer_room(d, &n_evaluations);
    int code = dn_step(d->workspace, d->rows, n);
    if (code < 0)
        return sample_error(err, code, "step: %s", dn_strerror(code));
    pthread_mutex_lock(&s->lock);
    s->steps_done += n;
    pthread_mutex_unlock(&s->lock);
    for (size_t i = n; i-- > 0;) {
        if (!dn_row_done(d->rows[i]))
            continue;
        dn_row_pixels(d->rows[i], d->pixels);
        code = s->run->on_image(s->run->context, d->image_idx[i], d->pixels, err);
        if (code < 0)
            return code;
        dn_row_free(d->rows[i]);
        d->n_rows--;
        d->rows[i] = d->rows[d->n_rows];
        d->image_idx[i] = d->image_idx[d->n_rows];
    }
    return 0;
}

static void *draw(void *argument)
{
    struct shared *s = argument;
    struct drawer d;
    struct dn_error err = {.code = DN_OK};
    int code = drawer_init(&d, s->run, &err);
    while (code == 0) {
        code = drawer_fill(&d, s, &err);
        if (code < 0 || d.n_rows == 0)
            break;
        code = drawer_step(&d, s, &err);
    }
    drawer_deinit(&d);
    pthread_mutex_lock(&s->lock);
    if (code < 0 && s->code == 0) {
        s->code = code;
        s->err = err;
    }
    s->threads_running--;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Wait for the threads and draw the bar. */
static void watch(struct shared *s)
{
    const struct sample_params *params = s->run->params;
    struct progress progress;
    progress_begin(&progress);
    pthread_mutex_lock(&s->lock);
    while (s->threads_running > 0) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += PROGRESS_INTERVAL_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_clockwait(&s->ended, &s->lock, CLOCK_MONOTONIC, &until);
        uint64_t steps_done = s->steps_done;
        pthread_mutex_unlock(&s->lock);
        progress_show(&progress, steps_done, (uint64_t)params->n_rows * params->steps,
                      params->steps);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    progress_end(&progress);
}

int sample_run(const struct sample_run *run, struct dn_error *err)
{
    assert(run->n_threads >= 1 && run->max_evaluations >= 2);
    struct shared s = {
        .run = run, .lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
    size_t n_threads = (size_t)run->n_threads;
    if (n_threads > run->params->n_rows)
        n_threads = run->params->n_rows;
    pthread_t *threads = malloc(n_threads * sizeof *threads);
    if (threads == NULL)
        return sample_error(err, DN_ENOMEM, "%s", dn_strerror(DN_ENOMEM));
    size_t n_started = 0;
    pthread_mutex_lock(&s.lock);
    while (n_started < n_threads && pthread_create(&threads[n_started], NULL, draw, &s) == 0)
        n_started++;
    s.threads_running = (int)n_started;
    if (n_started < n_threads)
        s.code = sample_error(&s.err, DN_ENOMEM, "cannot start thread %zu of %zu", n_started + 1,
                              n_threads);
    pthread_mutex_unlock(&s.lock);
    watch(&s);
    for (size_t i = 0; i < n_started; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    if (s.code < 0)
        *err = s.err;
    return s.code;
}
