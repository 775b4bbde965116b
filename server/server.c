#include "server/server.h"

#include <assert.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/routes/handlers.h"
#include "server/system/sandbox.h"

#define LAST_ANSWERS_MS 1000  /* for the answers to what was canceled to leave */
#define LATE_REQUESTS_MS 1000 /* for a request that is on its way to a connection */
#define HTTP_FAILED "the HTTP library did not start"

static void server_finish(struct server *server)
{
    if (!server->finished) {
        server->finished = true;
        uv_stop(&server->loop);
    }
}

static bool workers_are_idle(const struct server *server)
{
    return scheduler_is_idle(server->service.serving.scheduler) &&
           renderings_are_idle(&server->service.renderings);
}

static bool server_is_idle(const struct server *server)
{
    bool may_ask = server->late_requests.is_set && server->service.metrics.connections > 0;
    size_t n_requests = http_requests(server->http) + http_requests(server->admin_http);
    return workers_are_idle(server) && n_requests == 0 && !may_ask;
}

/* After the loop has looked at its sockets, and before it does so again: the run of the HTTP
 * library in which the last request ended may have begun another one since. */
static void on_turned(uv_check_t *ended)
{
    struct server *server = ended->data;
    uv_idle_stop(&server->ending);
    uv_check_stop(&server->ended);
    if (server_is_idle(server)) {
        server_finish(server);
    }
}

static void on_ending(uv_idle_t *ending)
{
    (void)ending; /* it is there so that the loop does not sleep */
}

static void server_check_idle(struct server *server)
{
    if (server->service.life.state < LIFE_DRAINING || !server->service.serving.scheduler) {
        return; /* a load in progress comes by here when it ends */
    }
    if (server_is_idle(server)) {
        uv_idle_start(&server->ending, on_ending);
        uv_check_start(&server->ended, on_turned);
    }
}

static void on_ended(struct life *life)
{
    server_check_idle(
        (struct server *)(void *)((char *)life - offsetof(struct server, service.life)));
}

static void server_enter(struct server *server, enum life_state state)
{
    server->service.life.state = state;
    supervisor_changed(&server->supervisor);
}

/* ---- going down ----------------------------------------------------------------------------- */

static void on_last_answers_timeout(uv_timer_t *timer)
{
    struct server *server = timer->data;
    if (workers_are_idle(server)) {
        server_finish(server);
    } else { /* requests are suspended as long as a worker holds their rows */
        uv_timer_start(timer, on_last_answers_timeout, LAST_ANSWERS_MS / 10, 0);
    }
}

static void server_stop_now(struct server *server, const char *why)
{
    server_enter(server, LIFE_STOPPING);
    model_loads_stop(&server->service.loads); /* of one that did not come to drain */
    if (!server->service.serving.scheduler) {
        return; /* on_loaded() goes on from here */
    }
    log_event(&server->service.log, LOG_WARN, "stopping", LOG_S("reason", why),
              LOG_I("jobs_canceled", scheduler_jobs(server->service.serving.scheduler)));
    scheduler_cancel_all(server->service.serving.scheduler, REASON_SHUTDOWN);
    renderings_stop(&server->service.renderings);
    uv_timer_start(&server->stop_timer, on_last_answers_timeout, LAST_ANSWERS_MS, 0);
    server_check_idle(server);
}

static void on_drain_timeout(uv_timer_t *timer)
{
    server_stop_now(timer->data, "the drain's time is up");
}

static void on_late_requests(struct alarm *alarm)
{
    server_check_idle(
        (struct server *)(void *)((char *)alarm - offsetof(struct server, late_requests)));
}

static void server_drain(struct server *server)
{
    server_enter(server, LIFE_DRAINING);
    model_loads_stop(&server->service.loads);
    uv_timer_start(&server->stop_timer, on_drain_timeout,
                   (uint64_t)server->service.options->drain_timeout_s * 1000, 0);
    if (server->admin_listener.is_passed) {
        http_stop_accepting(server->admin_http);
    }
    if (server->listener.is_passed) {
        http_stop_accepting(server->http);
        alarm_set(&server->service.alarms, &server->late_requests, LATE_REQUESTS_MS,
                  on_late_requests);
    }
    server_check_idle(server);
}

static void on_drain_delay(uv_timer_t *timer)
{
    server_drain(timer->data);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct server *server = handle->data;
    if (server->service.life.state == LIFE_STOPPING) {
        return;
    }
    if (server->service.life.state >= LIFE_LEAVING) {
        server_stop_now(server, "a second signal");
        return;
    }
    log_event(&server->service.log, LOG_INFO, "draining",
              LOG_S("signal", signum == SIGTERM ? "SIGTERM" : "SIGINT"),
              LOG_I("jobs", server->service.metrics.queue_jobs),
              LOG_I("rows", server->service.metrics.queue_rows));
    if (server->service.life.state == LIFE_READY && server->service.options->drain_delay_s > 0) {
        server_enter(server, LIFE_LEAVING);
        uv_timer_start(&server->stop_timer, on_drain_delay,
                       (uint64_t)server->service.options->drain_delay_s * 1000, 0);
    } else {
        server_drain(server);
    }
}

/* ---- what SIGHUP reads again ---------------------------------------------------------------- */

/* Whoever writes the file lets himself in; whoever reads it may have found keys. */
static void log_exposed_keys(const struct server *server)
{
    mode_t mode = server->service.clients.file_mode;
    const char *who = mode & (S_IWGRP | S_IWOTH) ? "others than its owner may write it"
                      : mode & S_IROTH           ? "everybody on this machine may read it"
                                                 : NULL;
    if (who) {
        char octal[8];
        snprintf(octal, sizeof octal, "%04o", (unsigned)mode & 07777U);
        log_event(&server->service.log, LOG_WARN, "api_keys_exposed",
                  LOG_S("file", server->service.options->api_keys_file), LOG_S("mode", octal),
                  LOG_S("reason", who));
    }
}

static void log_keys(const struct server *server)
{
    if (clients_are_known(&server->service.clients)) {
        log_event(&server->service.log, LOG_INFO, "api_keys",
                  LOG_S("file", server->service.options->api_keys_file),
                  LOG_I("keys", server->service.clients.ring.n_keys));
        log_exposed_keys(server);
    } else if (!server->listener.is_local) {
        log_event(&server->service.log, LOG_WARN, "no_api_keys",
                  LOG_S("reason", "other machines can connect, and whoever does may draw: see "
                                  "--api-keys-file"));
    }
}

static void on_reload_ended(struct model_loads *l)
{
    struct server *server =
        (struct server *)(void *)((char *)l - offsetof(struct server, service.loads));
    supervisor_changed(&server->supervisor);
}

static void on_hangup(uv_signal_t *handle, int signum)
{
    struct server *server = handle->data;
    char error[CLIENTS_ERROR_BYTES];
    (void)signum;
    supervisor_reloading(&server->supervisor);
    if (clients_load(&server->service.clients, server->service.options, error) != 0) {
        log_event(&server->service.log, LOG_ERROR, "api_keys_kept", LOG_S("reason", error));
    } else {
        log_keys(server);
    }
    server->reload_when_ready = server->service.life.state == LIFE_LOADING;
    if (server->service.life.state == LIFE_READY) {
        model_loads_reload(&server->service.loads);
    }
    if (server->service.loads.n_reloading ==
        0) { /* else it is told when the last file has been read */
        supervisor_changed(&server->supervisor);
    }
}

/* ---- coming up ------------------------------------------------------------------------------ */

static void server_fail(struct server *server, const char *event, const char *reason)
{
    log_event(&server->service.log, LOG_ERROR, event, LOG_S("reason", reason));
    server->exit_status = 1;
    server_finish(server);
}

static int server_serve_admin(struct server *server)
{
    int rc = http_open(&server->admin_http, &server->http_context, &server->admin_listener, true);
    if (rc == 0) {
        log_event(&server->service.log, LOG_INFO, "admin_listening",
                  LOG_S("url", server->admin_listener.url));
    }
    return rc;
}

static void on_warm(void *arg, int rc)
{
    struct server *server = arg;
    if (rc != 0) {
        server_fail(server, "warming_failed", dn_strerror(rc));
        return;
    }
    if (server->service.life.state >= LIFE_DRAINING) {
        server_check_idle(server);
        return;
    }
    server->service.life.state = LIFE_READY;
    /* Not before: workers that warm up go through the models. */
    model_set_publish(&server->service.serving.models, server->service.options,
                      &server->service.serving.api);
    /* At a socket that is others' as well nobody is told that a model is being loaded: another
     * daemon may serve, and if none does, clients wait in the socket's queue. */
    if ((server->listener.is_passed &&
         http_open(&server->http, &server->http_context, &server->listener, false) != 0) ||
        (server->admin_listener.is_passed && server_serve_admin(server) != 0)) {
        server_fail(server, "http_failed", HTTP_FAILED);
        return;
    }
    supervisor_changed(&server->supervisor);
    for (size_t i = 0; i < server->service.serving.models.n_served; i++) {
        const struct served_model *m = server->service.serving.models.served[i];
        log_event(&server->service.log, LOG_INFO, "batch",
                  LOG_S("model", served_model_info(m)->name), LOG_I("evaluations", m->batch_limit),
                  LOG_I("max_batch", m->max_batch));
    }
    log_event(&server->service.log, LOG_INFO, "ready", LOG_S("listening", server->listener.url),
              LOG_I("workers", server->service.serving.n_workers));
    char line[sizeof server->listener.url + 32];
    int bytes = snprintf(line, sizeof line, "denoised: listening on %s\n", server->listener.url);
    outlet_put(server->out, line, (size_t)bytes);
    if (server->reload_when_ready) { /* which file was read before the signal is not known */
        model_loads_reload(&server->service.loads);
    }
}

static void log_models(const struct server *server)
{
    char features[256];
    dn_cpu_features(features, sizeof features);
    log_event(&server->service.log, LOG_INFO, "blas", LOG_S("config", dn_blas_config()),
              LOG_S("core", dn_blas_core()), LOG_S("cpu", features));
    if (dn_blas_better_core()) {
        log_event(&server->service.log, LOG_WARN, "blas_core_wrong", LOG_S("core", dn_blas_core()),
                  LOG_S("better", dn_blas_better_core()));
    }
    for (size_t i = 0; i < server->service.serving.models.n_served; i++) {
        const struct dn_model_info *info =
            served_model_info(server->service.serving.models.served[i]);
        log_event(&server->service.log, LOG_INFO, "model", LOG_S("model", info->name),
                  LOG_S("digest", info->digest), LOG_S("kernels", info->kernels),
                  LOG_S("isa", dn_isa_name(info->isa)),
                  LOG_S("precision", dn_precision_name(info->precision)),
                  LOG_I("parameters", info->n_parameters));
    }
}

/* A worker thread: files are read and memory is taken while the loop already answers probes. */
static void load_work(uv_work_t *work)
{
    struct server *server = work->data;
    server->load_rc = model_set_open(&server->service.serving.models, server->service.options,
                                     server->service.serving.n_workers, &server->load_error);
}

static void on_loaded(uv_work_t *work, int status)
{
    struct server *server = work->data;
    (void)status;
    if (server->load_rc != 0) {
        server_fail(server, "loading_failed", server->load_error.text);
        return;
    }
    const struct options *options = server->service.options;
    if (scheduler_open(&server->service.serving.scheduler, options,
                       server->service.serving.n_workers, &server->service.metrics) != 0) {
        server_fail(server, "loading_failed", "no memory for the workers");
        return;
    }
    server->service.serving.api = (struct api_context){
        .xmp_version = options->xmp ? DENOISED_VERSION : NULL,
        .max_rows_per_request = (uint32_t)options->max_rows_per_request,
        .max_queue_rows = (uint32_t)options->max_queue_rows,
        .max_body_bytes = (uint32_t)options->max_body_bytes,
        .workers = server->service.serving.n_workers,
        .max_batch = (uint32_t)options->max_batch,
    };
    for (size_t i = 0; i < server->service.serving.models.n_served; i++) {
        scheduler_add_model(server->service.serving.scheduler,
                            server->service.serving.models.served[i]);
    }
    log_models(server);
    if (server->service.life.state >= LIFE_DRAINING) {
        server_check_idle(server);
        return;
    }
    scheduler_warm(server->service.serving.scheduler, &server->loop, on_warm, server);
}

static void server_enter_sandbox(struct server *server)
{
    bool has_unix = *server->listener.unix_path || *server->admin_listener.unix_path;
    enum seccomp mode = server->service.options->seccomp;
    int rc = mode != SECCOMP_OFF ? sandbox_enter(has_unix, mode == SECCOMP_KILL) : 0;
    if (rc != 0) {
        log_event(&server->service.log, LOG_WARN, "seccomp_failed", LOG_S("reason", strerror(-rc)));
    }
}

/* To the pool's threads, which begin while they are held back, signals never go; workers block
 * them. */
static void hold_signals(int how)
{
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGHUP);
    pthread_sigmask(how, &watched, NULL);
}

static int server_open_signals(struct server *server)
{
    struct {
        uv_signal_t *handle;
        int signum;
        uv_signal_cb run;
    } signals[] = {{&server->sigterm, SIGTERM, on_signal},
                   {&server->sigint, SIGINT, on_signal},
                   {&server->sighup, SIGHUP, on_hangup}};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        uv_signal_init(&server->loop, signals[i].handle);
        signals[i].handle->data = server;
        if (uv_signal_start(signals[i].handle, signals[i].run, signals[i].signum) != 0) {
            return -1;
        }
    }
    return 0;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/* ---- the whole life ------------------------------------------------------------------------- */

/* The socket that was passed, or else one of our own. Returns 0, or -1 and it is logged. */
static int server_listen(struct server *server)
{
    char error[256];
    int rc = listen_take_passed(&server->listener, false, error, sizeof error);
    if (rc > 0) {
        log_event(&server->service.log, LOG_INFO, "socket_passed",
                  LOG_S("address", server->listener.url));
        return 0;
    }
    if (rc < 0) {
        log_event(&server->service.log, LOG_ERROR, "listen_failed", LOG_S("reason", error));
        return -1;
    }
    rc = listen_open(&server->listener, server->service.options->listen, error, sizeof error);
    if (rc != 0) {
        log_event(&server->service.log, LOG_ERROR, "listen_failed",
                  LOG_S("address", server->service.options->listen), LOG_S("reason", error));
    }
    return rc;
}

/* Open where models are loaded and unloaded, if that is wanted. Its address is its protection: a
 * Unix socket belongs to the daemon's user alone, and a port is one of loopback. Returns 0, or -1
 * with a message. */
static int server_open_admin(struct server *server, char *error, size_t error_bytes)
{
    const char *address = server->service.options->admin_listen;
    struct listener *l = &server->admin_listener;
    int rc = listen_take_passed(l, true, error, error_bytes);
    if (rc == 0 && !address) {
        return 0;
    }
    if (rc == 0) {
        /* A Unix socket is nobody else's from its first moment on. No other thread makes files yet.
         */
        mode_t mask = umask(S_IRWXG | S_IRWXO);
        rc = listen_open(l, address, error, error_bytes);
        umask(mask);
    }
    if (rc < 0) {
        return -1;
    }
    if (!l->is_local) {
        snprintf(error, error_bytes, "other machines could connect to %s", l->url);
        return -1;
    }
    /* A passed one is served once there are models, for it is others' as well. */
    if (!l->is_passed && server_serve_admin(server) != 0) {
        snprintf(error, error_bytes, HTTP_FAILED);
        return -1;
    }
    return 0;
}

/* Each part is told of the others that it uses. */
static void server_join_parts(struct server *server)
{
    struct service *s = &server->service;
    s->life.ended = on_ended;
    s->life.works_while_draining = server->listener.is_passed;
    s->serving.options = s->options;
    s->serving.metrics = &s->metrics;
    s->studio = (struct studio){.serving = &s->serving, .life = &s->life, .alarms = &s->alarms};
    s->loads = (struct model_loads){.serving = &s->serving,
                                    .loop = &server->loop,
                                    .life = &s->life,
                                    .log = &s->log,
                                    .reload_ended = on_reload_ended};
    server->supervisor = (struct supervisor){.loop = &server->loop,
                                             .life = &s->life,
                                             .log = &s->log,
                                             .metrics = &s->metrics,
                                             .url = server->listener.url,
                                             .fd = -1};
    server->http_context = (struct http_context){
        .loop = &server->loop,
        .life = &s->life,
        .log = &s->log,
        .metrics = &s->metrics,
        .options = s->options,
        .proxies = &server->proxies,
        .answers = &s->answers,
        .max_connections = server->http_context.max_connections,
        .is_loopback = server->listener.is_local && strncmp(server->listener.url, "unix:", 5) != 0,
        .handlers = &route_handlers,
        .service = s,
    };
}

/* Parts that need no more than memory of their own. */
static void server_init_parts(struct server *server)
{
    struct service *s = &server->service;
    int proxies_rc = proxies_parse(&server->proxies, s->options->trusted_proxies);
    assert(proxies_rc == 0); /* the option was checked */
    (void)proxies_rc;
    metrics_init(&s->metrics);
    s->metrics.queue_rows_limit = (uint64_t)s->options->max_queue_rows;
    s->metrics.connections_limit = server->http_context.max_connections;
    server_join_parts(server);
    model_loads_init(&s->loads);
    renderings_init(&s->renderings, &server->loop, &s->life);
    uv_idle_init(&server->loop, &server->ending);
    uv_check_init(&server->loop, &server->ended);
    server->ended.data = server;
    uv_timer_init(&server->loop, &server->stop_timer);
    server->stop_timer.data = server;
    s->answers = (struct answers){.max_bytes = (uint64_t)s->options->max_answers_bytes};
    idempotency_init(&s->idempotency, (uint64_t)s->options->idempotency_ttl_s,
                     (uint64_t)s->options->idempotency_max_bytes);
    alarm_list_init(&s->alarms, &server->loop);
}

/* Open what may fail, and begin to load the models. Returns 0, or -1 and the server has failed. */
static int server_start(struct server *server)
{
    char error[256];
    struct service *s = &server->service;
    if (jobs_open(&s->jobs, &s->studio) != 0) {
        server_fail(server, "jobs_failed", "no memory for jobs");
    } else if (cache_open(&s->cache, (size_t)s->options->cache_bytes, &s->metrics) != 0) {
        server_fail(server, "cache_failed", "no memory for the cache");
    } else if (!server->listener.is_passed &&
               http_open(&server->http, &server->http_context, &server->listener, false) != 0) {
        server_fail(server, "http_failed", HTTP_FAILED);
    } else if (server_open_admin(server, error, sizeof error) != 0) {
        server_fail(server, "admin_listen_failed", error);
    } else if (server_open_signals(server) != 0) {
        server_fail(server, "signals_failed", "signals cannot be watched");
    } else {
        supervisor_open(&server->supervisor);
        server_enter_sandbox(server); /* before it reads what others wrote */
        server->load.data = server;
        uv_queue_work(&server->loop, &server->load, load_work, on_loaded);
        hold_signals(SIG_UNBLOCK); /* that cmd_serve() held back, or who started us */
        return 0;
    }
    return -1;
}

/* Close everything that is open, and the loop. */
static void server_end(struct server *server)
{
    struct service *s = &server->service;
    server->finished = true;
    /* A Unix socket's name goes before the socket: another daemon may take it as soon as nobody
     * listens, and would lose its own. */
    listen_close(&server->listener);
    listen_close(&server->admin_listener);
    http_close(server->http);
    http_close(server->admin_http);
    jobs_close(s->jobs);
    cache_close(s->cache);
    supervisor_close(&server->supervisor);
    hold_signals(SIG_BLOCK); /* without their handlers they would end the process */
    uv_walk(&server->loop, close_handle, NULL);
    while (uv_run(&server->loop, UV_RUN_DEFAULT) != 0) {
        /* what failed before the loop ran has stopped it already, which ends its first run */
    }
    int rc = uv_loop_close(&server->loop);
    http_free(server->http);
    http_free(server->admin_http);
    scheduler_close(s->serving.scheduler);
    model_set_close(&s->serving.models);
    clients_free(&s->clients);
    idempotency_free(&s->idempotency);
    log_event(&s->log, LOG_INFO, "stopped", LOG_I("exit_status", server->exit_status),
              LOG_S("loop", rc == 0 ? NULL : "busy"));
}

int server_run(struct server *server)
{
    struct service *s = &server->service;
    char error[CLIENTS_ERROR_BYTES];
    if (server_listen(server) != 0) {
        return 1;
    }
    server->admin_listener.fd = -1;
    if (clients_load(&s->clients, s->options, error) != 0) {
        listen_close(&server->listener);
        log_event(&s->log, LOG_ERROR, "api_keys_failed", LOG_S("reason", error));
        return 1;
    }
    log_keys(server);
    if (s->options->seccomp != SECCOMP_OFF) {
        (void)sandbox_refuse_rings(); /* where this fails, the rest will, and is logged */
    }
    if (uv_loop_init(&server->loop) != 0) {
        clients_free(&s->clients);
        listen_close(&server->listener);
        log_event(&s->log, LOG_ERROR, "loop_failed", LOG_S("reason", "no event loop"));
        return 1;
    }
    server_init_parts(server);
    if (server_start(server) == 0) {
        uv_run(&server->loop, UV_RUN_DEFAULT);
    }
    server_end(server);
    return server->exit_status;
}
