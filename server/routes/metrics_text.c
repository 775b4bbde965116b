#include "server/routes/metrics_text.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "api/text.h"

static const char *const outcome_names[] = {[OUTCOME_SUCCEEDED] = "succeeded",
                                            [OUTCOME_FAILED] = "failed",
                                            [OUTCOME_CANCELED] = "canceled",
                                            [OUTCOME_REJECTED] = "rejected"};
static const char *const reason_names[REASON_COUNT] = {
    [REASON_NONE] = "none",         [REASON_DISCONNECT] = "disconnect",
    [REASON_SHUTDOWN] = "shutdown", [REASON_OUT_OF_MEMORY] = "out_of_memory",
    [REASON_INTERNAL] = "internal", [REASON_QUEUE_FULL] = "queue_full",
    [REASON_DRAINING] = "draining", [REASON_DEADLINE] = "deadline",
    [REASON_QUOTA] = "quota",       [REASON_JOBS_FULL] = "jobs_full",
    [REASON_CANCEL] = "cancel",     [REASON_PRIORITY] = "priority"};

static void put_head(struct text *t, const char *name, const char *type, const char *help)
{
    text_printf(t, "# HELP denoised_%s %s\n# TYPE denoised_%s %s\n", name, help, name, type);
}

static void put_integer(struct text *t, const char *name, const char *type, uint64_t value,
                        const char *help)
{
    put_head(t, name, type, help);
    text_printf(t, "denoised_%s %llu\n", name, (unsigned long long)value);
}

static void put_real(struct text *t, const char *name, const char *type, double value,
                     const char *help)
{
    put_head(t, name, type, help);
    text_printf(t, "denoised_%s ", name);
    text_json_number(t, value);
    text_puts(t, "\n");
}

/* A label's value; the exposition format's escapes are JSON's for what can occur here. */
static void put_label(struct text *t, const char *key, const char *value)
{
    text_printf(t, "%s=", key);
    text_json_string(t, value);
}

/* The series of one histogram; `label` is "" or `route="...",`. */
static void put_histogram(struct text *t, const char *name, const char *label,
                          const struct histogram *h)
{
    uint64_t total = 0;
    for (size_t i = 0; i < h->n_bounds; i++) {
        total += h->counts[i];
        text_printf(t, "denoised_%s_bucket{%sle=\"%g\"} %llu\n", name, label, h->bounds[i],
                    (unsigned long long)total);
    }
    total += h->counts[h->n_bounds];
    int label_length = 0; /* without its trailing comma */
    while (label[label_length] && label[label_length + 1]) {
        label_length++;
    }
    const char *open = label_length ? "{" : "", *close = label_length ? "}" : "";
    text_printf(t, "denoised_%s_bucket{%sle=\"+Inf\"} %llu\n", name, label,
                (unsigned long long)total);
    text_printf(t, "denoised_%s_sum%s%.*s%s ", name, open, label_length, label, close);
    text_json_number(t, h->sum);
    text_printf(t, "\ndenoised_%s_count%s%.*s%s %llu\n", name, open, label_length, label, close,
                (unsigned long long)total);
}

static void put_requests(struct text *t, const struct metrics *m)
{
    put_head(t, "http_requests_total", "counter", "Requests answered.");
    for (int r = 0; r <= ROUTE_COUNT; r++) {
        const char *route = r < ROUTE_COUNT ? routes[r].pattern : "none";
        for (int k = 0; k <= METRICS_METHODS; k++) {
            for (int c = 0; metrics_codes[c]; c++) {
                if (m->requests[r][k][c]) {
                    text_printf(t,
                                "denoised_http_requests_total{route=\"%s\",method=\"%s\","
                                "code=\"%d\"} %llu\n",
                                route, metrics_methods[k], metrics_codes[c],
                                (unsigned long long)m->requests[r][k][c]);
                }
            }
        }
    }
    put_head(t, "http_request_duration_seconds", "histogram",
             "From the request line to the last byte of the answer.");
    for (int r = 0; r <= ROUTE_COUNT; r++) {
        if (r < ROUTE_COUNT && route_first(r) != r) {
            continue;
        }
        char label[80];
        snprintf(label, sizeof label, "route=\"%s\",",
                 r < ROUTE_COUNT ? routes[r].pattern : "none");
        put_histogram(t, "http_request_duration_seconds", label, &m->request_seconds[r]);
    }
    put_integer(t, "http_not_modified_total", "counter", m->not_modified,
                "Conditional requests answered without drawing.");
    put_integer(t, "http_connections_total", "counter", m->connections_total,
                "Connections accepted.");
    put_integer(t, "http_connections_refused_total", "counter", m->connections_refused,
                "Connections refused, of addresses that held as many as they may.");
    put_integer(t, "http_connections", "gauge", m->connections, "Connections open.");
    put_integer(t, "http_connections_limit", "gauge", m->connections_limit,
                "Connections held at once, at most.");
}

static void put_cache(struct text *t, const struct metrics *m)
{
    static const char *const results[CACHE_RESULTS] = {[CACHE_HIT] = "hit",
                                                       [CACHE_COLLAPSED] = "collapsed",
                                                       [CACHE_MISS] = "miss",
                                                       [CACHE_BYPASS] = "bypass"};
    put_head(t, "cache_requests_total", "counter", "Pictures sent, by how they came about.");
    for (int i = 0; i < CACHE_RESULTS; i++) {
        text_printf(t, "denoised_cache_requests_total{result=\"%s\"} %llu\n", results[i],
                    (unsigned long long)m->cache_requests[i]);
    }
    put_integer(t, "cache_evictions_total", "counter", m->cache_evictions,
                "Pictures that made room for others.");
    put_integer(t, "cache_bytes", "gauge", m->cache_bytes, "Memory of the pictures kept.");
    put_integer(t, "cache_entries", "gauge", m->cache_entries, "Pictures kept.");
}

/* Shown at 0 too: of a series that begins with its first event, a rate does not see that one. */
static bool is_always_shown(int outcome, int reason)
{
    switch (outcome) {
    case OUTCOME_SUCCEEDED:
        return reason == REASON_NONE;
    case OUTCOME_FAILED:
        return reason == REASON_INTERNAL || reason == REASON_OUT_OF_MEMORY;
    case OUTCOME_CANCELED:
        return reason == REASON_DISCONNECT || reason == REASON_DEADLINE || reason == REASON_CANCEL;
    default:
        return reason == REASON_QUEUE_FULL || reason == REASON_JOBS_FULL ||
               reason == REASON_DEADLINE || reason == REASON_OUT_OF_MEMORY;
    }
}

static void put_jobs(struct text *t, const struct metrics *m)
{
    put_head(t, "jobs_total", "counter", "Sampling requests by their one outcome.");
    for (int o = 0; o < 4; o++) {
        for (int r = 0; r < REASON_COUNT; r++) {
            if (m->jobs[o][r] || is_always_shown(o, r)) {
                text_printf(t, "denoised_jobs_total{outcome=\"%s\",reason=\"%s\"} %llu\n",
                            outcome_names[o], reason_names[r], (unsigned long long)m->jobs[o][r]);
            }
        }
    }
    put_integer(t, "queue_jobs", "gauge", m->queue_jobs, "Sampling requests not yet answered.");
    put_integer(t, "queue_rows", "gauge", m->queue_rows, "Images admitted and not yet drawn.");
    put_integer(t, "queue_rows_limit", "gauge", m->queue_rows_limit,
                "Images admitted at most; beyond it requests are refused.");
    put_head(t, "queue_priority_rows", "gauge", "Images admitted and not yet drawn, by priority.");
    for (int p = 0; p < PRIORITIES; p++) {
        text_printf(t, "denoised_queue_priority_rows{priority=\"%s\"} %llu\n", priority_names[p],
                    (unsigned long long)m->priority_rows[p]);
    }
    put_integer(t, "queue_evaluations", "gauge", m->queue_evaluations,
                "Network evaluations that the admitted images still need.");
    put_head(t, "queue_wait_seconds", "histogram", "From a request to its first step.");
    put_histogram(t, "queue_wait_seconds", "", &m->queue_wait_seconds);
}

static void put_wasted(struct text *t, const char *name, const char *help,
                       const uint64_t counts[REASON_COUNT])
{
    put_head(t, name, "counter", help);
    for (int r = REASON_DISCONNECT; r <= REASON_INTERNAL; r++) {
        text_printf(t, "denoised_%s{reason=\"%s\"} %llu\n", name, reason_names[r],
                    (unsigned long long)counts[r]);
    }
}

static void put_sampling(struct text *t, const struct metrics *m)
{
    put_integer(t, "steps_total", "counter", m->steps, "Steps of images (images x steps).");
    put_integer(t, "evaluations_total", "counter", m->evaluations,
                "Network evaluations; a guided step takes two.");
    put_wasted(t, "wasted_steps_total", "Steps of images that nobody got.", m->wasted_steps);
    put_wasted(t, "wasted_evaluations_total", "Evaluations for images that nobody got.",
               m->wasted_evaluations);
    put_head(t, "cancel_latency_seconds", "histogram",
             "From a lost client to the last of its rows leaving the workers.");
    put_histogram(t, "cancel_latency_seconds", "", &m->cancel_seconds);
    put_head(t, "batch_rows", "histogram", "Images in one batch of one worker.");
    put_histogram(t, "batch_rows", "", &m->batch_rows);
    put_head(t, "batch_evaluations", "histogram", "Network evaluations in one batch.");
    put_histogram(t, "batch_evaluations", "", &m->batch_evaluations);
    put_head(t, "step_duration_seconds", "histogram", "One step of one batch.");
    put_histogram(t, "step_duration_seconds", "", &m->step_seconds);
    put_integer(t, "step_items_total", "counter", m->step_items,
                "Batches handed to a worker, each for one or several steps.");
    put_real(t, "handover_seconds_total", "counter", m->handover_seconds,
             "Time of workers between two pieces of work while there was work.");
    put_head(t, "images_total", "counter", "Images drawn.");
    for (int s = 0; s < DN_SAMPLER_COUNT; s++) {
        text_printf(t, "denoised_images_total{sampler=\"%s\"} %llu\n",
                    dn_sampler_info((enum dn_sampler)s)->name, (unsigned long long)m->images[s]);
    }
    put_integer(t, "workers", "gauge", m->workers, "Workers.");
    put_integer(t, "workers_busy", "gauge", m->workers_busy, "Workers at work now.");
    put_real(t, "last_step_timestamp_seconds", "gauge", m->last_step_timestamp_s,
             "When the last step ended, in Unix time.");
    put_integer(t, "ready", "gauge", (uint64_t)m->ready, "1 while /readyz says so.");
}

static void put_info(struct text *t)
{
    put_head(t, "build_info", "gauge", "What is running.");
    text_puts(t, "denoised_build_info{");
    put_label(t, "version", DENOISED_VERSION);
    text_puts(t, ",");
    put_label(t, "revision", DENOISED_REVISION);
    text_puts(t, ",");
    put_label(t, "blas", dn_blas_config());
    text_puts(t, ",");
    put_label(t, "blas_core", dn_blas_core());
    text_puts(t, "} 1\n");
}

static uint64_t batch_limit_of(const struct served_model *m)
{
    return m->batch_limit;
}

static uint64_t images_of(const struct served_model *m)
{
    return m->n_images;
}

static uint64_t rows_of(const struct served_model *m)
{
    return m->n_rows;
}

static uint64_t reload_failed_of(const struct served_model *m)
{
    return *m->reload_error != '\0';
}

/* One number of each model that is served. Labels are names that the operator gave, and few. */
static void put_of_models(struct text *t, const struct model_set *models, const char *name,
                          const char *type, uint64_t (*of)(const struct served_model *m),
                          const char *help)
{
    put_head(t, name, type, help);
    for (size_t i = 0; models && i < models->n_served; i++) {
        text_printf(t, "denoised_%s{", name);
        put_label(t, "model", served_model_info(models->served[i])->name);
        text_printf(t, "} %llu\n", (unsigned long long)of(models->served[i]));
    }
}

static void put_models(struct text *t, const struct metrics *m, const struct model_set *models)
{
    put_head(t, "model_info", "gauge", "Models served.");
    for (size_t i = 0; models && i < models->n_served; i++) {
        const struct dn_model_info *info = served_model_info(models->served[i]);
        text_puts(t, "denoised_model_info{");
        put_label(t, "model", info->name);
        text_puts(t, ",");
        put_label(t, "digest", info->digest);
        text_puts(t, ",");
        put_label(t, "kernels", info->kernels);
        text_puts(t, ",");
        put_label(t, "precision", dn_precision_name(info->precision));
        text_puts(t, "} 1\n");
    }
    put_of_models(t, models, "batch_limit", "gauge", batch_limit_of,
                  "Network evaluations at most in one batch.");
    put_of_models(t, models, "model_images_total", "counter", images_of,
                  "Images drawn, also before the file changed.");
    put_of_models(t, models, "model_queue_rows", "gauge", rows_of,
                  "Images admitted and not yet drawn.");
    put_of_models(t, models, "model_reload_failed", "gauge", reload_failed_of,
                  "1 where the file was not fit to serve when it was last read again.");
    put_integer(t, "models_retiring", "gauge", m->models_retiring,
                "Models that left and still have images to draw.");
    put_head(t, "model_loads_total", "counter", "Files of models read while serving.");
    for (int i = 0; i < MODEL_LOAD_RESULTS; i++) {
        text_printf(t, "denoised_model_loads_total{result=\"%s\"} %llu\n", model_load_results[i],
                    (unsigned long long)m->model_loads[i]);
    }
}

static uint64_t count_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t n = 0;
    if (!dir) {
        return 0;
    }
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the directory itself */
}

/* The soft limit, as the kernel enforces it. */
static unsigned long long max_fds(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (unsigned long long)limit.rlim_cur : 0;
}

static double cpu_seconds(void)
{
    struct timespec used;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0
               ? (double)used.tv_sec + (double)used.tv_nsec * 1e-9
               : 0;
}

static void put_process(struct text *t, const struct metrics *m)
{
    unsigned long long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm) {
        if (fscanf(statm, "%*u %llu", &pages) != 1) {
            pages = 0;
        }
        fclose(statm);
    }
    text_printf(t,
                "# HELP process_resident_memory_bytes Resident memory.\n"
                "# TYPE process_resident_memory_bytes gauge\n"
                "process_resident_memory_bytes %llu\n"
                "# HELP process_open_fds Open file descriptors.\n"
                "# TYPE process_open_fds gauge\nprocess_open_fds %llu\n"
                "# HELP process_max_fds File descriptors at most.\n"
                "# TYPE process_max_fds gauge\nprocess_max_fds %llu\n"
                "# HELP process_cpu_seconds_total Processor time used.\n"
                "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %.3f\n"
                "# HELP process_start_time_seconds When the process started, in Unix time.\n"
                "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %.3f\n",
                pages * (unsigned long long)sysconf(_SC_PAGESIZE),
                (unsigned long long)count_open_fds(), max_fds(), cpu_seconds(), m->start_time_s);
}

char *metrics_text(const struct metrics *m, const struct model_set *models, size_t *bytes)
{
    struct text t = TEXT_INIT;
    put_info(&t);
    put_models(&t, m, models);
    put_requests(&t, m);
    put_cache(&t, m);
    put_jobs(&t, m);
    put_sampling(&t, m);
    put_integer(&t, "log_lines_dropped_total", "counter", m->log_lines_dropped,
                "Lines of the log that standard error did not take.");
    put_process(&t, m);
    return text_take(&t, bytes);
}
