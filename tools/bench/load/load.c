/*
 * An open-loop load generator for a running daemon.
 *
 *     load --port P --rate R --seconds S --request 'NAME:WEIGHT:BODY' [--request ...]
 *          [--arrivals poisson|constant] [--accept TYPE] [--connections N] [--drain S] [--seed N]
 *
 * Requests arrive at a fixed rate, whatever the answers do, and latency is counted from the moment
 * a request was due, not from when it could be sent: a server that stalls is charged for everything
 * that came meanwhile (no "coordinated omission"). Each arrival is one of the --request classes, by
 * weight. A request is due at its time even when all connections are busy; it then waits here.
 *
 * Of refusals it says what Retry-After told: when the queue that the last one met was worked off is
 * seconds_to_last_answer.
 *
 * Writes one JSON object on standard output. Exit status: 0; 1 when something could not be done;
 * 2 for arguments not understood.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tools/bench/load/client.h"

#define MAX_CLASSES 8
#define MAX_STATUSES 16
#define NS_PER_S 1000000000

/* One kind of request. */
struct class
{
    char name[32];
    double weight;
    char *request;
    size_t request_bytes;
    uint64_t n_sent, n_ok, n_errors;
    struct {
        int status;
        uint64_t count;
    } refused[MAX_STATUSES]; /* answers other than 200 */
    double *latencies_ms;    /* [n_ok], from when they were due */
    /* Of the 429 and 503: [n_told] what Retry-After said; when the last came, and those without. */
    double *retry_after_s;
    uint64_t n_told, n_untold;
    double last_told_at_s;
};

/* A request that is due or on its way. */
struct arrival {
    uint64_t due_ns;
    struct class *class;
};

struct load {
    uv_loop_t loop;
    uint16_t port;
    double rate, seconds, drain_s;
    bool is_poisson;
    const char *accept;
    struct class classes[MAX_CLASSES];
    size_t n_classes;
    uint64_t random;
    struct sockaddr_in address;

    struct arrival *arrivals; /* [n_arrivals], all of them, in order of time */
    size_t n_arrivals, n_due, n_taken, n_answered;
    double *lags_ms; /* [n_taken], from when a request was due to when it was sent */
    struct client *clients;
    struct arrival *at_work; /* [n_clients], what each client is doing */
    struct client **idle;    /* stack */
    size_t n_clients, n_idle;
    int timer_fd;
    uv_poll_t timer;
    uv_timer_t drain;
    uint64_t began_ns, ended_ns;
};

/* ---- arguments ------------------------------------------------------------------------------ */

static int fail_usage(const char *what, const char *value)
{
    fprintf(stderr, "load: %s: %s\n", what, value);
    return 2;
}

static int parse_number(double *out, const char *name, const char *text, double min, double max)
{
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    if (end == text || *end || errno || !(*out >= min && *out <= max)) {
        fprintf(stderr, "load: %s: %g..%g expected, not %s\n", name, min, max, text);
        return 2;
    }
    return 0;
}

static int parse_request(struct load *load, const char *text)
{
    const char *weight = strchr(text, ':'), *body = weight ? strchr(weight + 1, ':') : NULL;
    struct class *class = &load->classes[load->n_classes];
    if (!body || load->n_classes == MAX_CLASSES || (size_t)(weight - text) >= sizeof class->name ||
        strcspn(text, "\"\\") < (size_t)(weight - text)) {
        return fail_usage("--request", text);
    }
    char *end;
    memcpy(class->name, text, (size_t)(weight - text));
    class->weight = strtod(weight + 1, &end);
    if (end != body || !(class->weight > 0 && class->weight <= 1e6)) {
        return fail_usage("--request, weight", text);
    }
    class->request = strdup(body + 1); /* becomes a whole request when all arguments are known */
    load->n_classes++;
    return class->request ? 0 : 1;
}

static int parse_argument(struct load *load, const char *name, const char *value)
{
    double number;
    int rc = 0;
    if (strcmp(name, "--port") == 0) {
        rc = parse_number(&number, name, value, 1, 65535);
        load->port = rc == 0 ? (uint16_t)number : 0;
    } else if (strcmp(name, "--rate") == 0) {
        rc = parse_number(&load->rate, name, value, 1e-3, 1e6);
    } else if (strcmp(name, "--seconds") == 0) {
        rc = parse_number(&load->seconds, name, value, 1e-3, 1e5);
    } else if (strcmp(name, "--drain") == 0) {
        rc = parse_number(&load->drain_s, name, value, 0, 1e5);
    } else if (strcmp(name, "--connections") == 0) {
        rc = parse_number(&number, name, value, 1, 65536);
        load->n_clients = rc == 0 ? (size_t)number : 0;
    } else if (strcmp(name, "--seed") == 0) {
        rc = parse_number(&number, name, value, 0, 1e15);
        load->random = rc == 0 ? (uint64_t)number : 0;
    } else if (strcmp(name, "--arrivals") == 0) {
        load->is_poisson = strcmp(value, "poisson") == 0;
        rc = load->is_poisson || strcmp(value, "constant") == 0 ? 0 : fail_usage(name, value);
    } else if (strcmp(name, "--accept") == 0) {
        load->accept = value;
    } else if (strcmp(name, "--request") == 0) {
        rc = parse_request(load, value);
    } else {
        rc = fail_usage("unknown argument", name);
    }
    return rc;
}

static int parse_arguments(struct load *load, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        int rc = i + 1 < argc ? parse_argument(load, argv[i], argv[i + 1])
                              : fail_usage("no value", argv[i]);
        if (rc != 0) {
            return rc;
        }
    }
    if (!load->port || !(load->rate > 0) || !(load->seconds > 0) || load->n_classes == 0) {
        return fail_usage("needed", "--port, --rate, --seconds and --request");
    }
    return 0;
}

/* ---- what will be sent, and when ------------------------------------------------------------ */

/* 0 <= u < 1; splitmix64, Steele et al. 2014. */
static double draw_uniform(struct load *load)
{
    uint64_t z = (load->random += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static struct class *draw_class(struct load *load)
{
    double total = 0;
    for (size_t i = 0; i < load->n_classes; i++) {
        total += load->classes[i].weight;
    }
    double at = draw_uniform(load) * total;
    for (size_t i = 0; i + 1 < load->n_classes; i++) {
        at -= load->classes[i].weight;
        if (at < 0) {
            return &load->classes[i];
        }
    }
    return &load->classes[load->n_classes - 1];
}

/* Every arrival is drawn beforehand, so that a seed fixes the whole load. */
static int plan_arrivals(struct load *load)
{
    size_t capacity = 16;
    double at_s = 0;
    load->arrivals = malloc(capacity * sizeof *load->arrivals);
    while (load->arrivals) {
        at_s += load->is_poisson ? -log(1 - draw_uniform(load)) / load->rate : 1 / load->rate;
        if (at_s >= load->seconds) {
            break;
        }
        if (load->n_arrivals == capacity) {
            capacity *= 2;
            struct arrival *more = realloc(load->arrivals, capacity * sizeof *load->arrivals);
            if (!more) {
                return -1;
            }
            load->arrivals = more;
        }
        load->arrivals[load->n_arrivals++] =
            (struct arrival){.due_ns = (uint64_t)(at_s * NS_PER_S), .class = draw_class(load)};
    }
    return load->arrivals ? 0 : -1;
}

static int plan_requests(struct load *load)
{
    for (size_t i = 0; i < load->n_classes; i++) {
        struct class *class = &load->classes[i];
        char *body = class->request;
        int n = asprintf(&class->request,
                         "POST /v1/samples HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: %s\r\n"
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                         load->accept, strlen(body), body);
        free(body);
        class->latencies_ms = calloc(load->n_arrivals + 1, sizeof(double));
        class->retry_after_s = calloc(load->n_arrivals + 1, sizeof(double));
        if (n < 0 || !class->latencies_ms || !class->retry_after_s) {
            class->request = n < 0 ? NULL : class->request;
            return -1;
        }
        class->request_bytes = (size_t)n;
    }
    return 0;
}

/* ---- sending -------------------------------------------------------------------------------- */

static void load_stop(struct load *load)
{
    load->ended_ns = uv_hrtime();
    uv_stop(&load->loop);
}

static void on_drain_timeout(uv_timer_t *timer)
{
    load_stop(timer->data);
}

/* Send what is due, as long as a connection is free, and set the timer for what is due next. */
static void load_pump(struct load *load)
{
    uint64_t now_ns = uv_hrtime() - load->began_ns;
    while (load->n_due < load->n_arrivals && load->arrivals[load->n_due].due_ns <= now_ns) {
        load->n_due++;
    }
    while (load->n_taken < load->n_due && load->n_idle > 0) {
        struct arrival *arrival = &load->arrivals[load->n_taken];
        struct client *client = load->idle[--load->n_idle];
        load->lags_ms[load->n_taken++] = 1e-6 * (double)(now_ns - arrival->due_ns);
        load->at_work[client - load->clients] = *arrival;
        arrival->class->n_sent++;
        client_send(client, arrival->class->request, arrival->class->request_bytes);
    }
    if (load->n_due < load->n_arrivals) {
        uint64_t due_ns = load->began_ns + load->arrivals[load->n_due].due_ns;
        struct itimerspec at = {.it_value = {.tv_sec = (time_t)(due_ns / NS_PER_S),
                                             .tv_nsec = (long)(due_ns % NS_PER_S)}};
        timerfd_settime(load->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
    } else if (load->n_answered == load->n_arrivals) {
        load_stop(load);
    } else if (!uv_is_active((uv_handle_t *)&load->drain)) {
        uv_timer_start(&load->drain, on_drain_timeout, (uint64_t)(1e3 * load->drain_s), 0);
    }
}

static void count_answer(struct class *class, int status, double latency_ms)
{
    if (status == 200) {
        class->latencies_ms[class->n_ok++] = latency_ms;
        return;
    }
    if (status == CLIENT_ERROR) {
        class->n_errors++;
        return;
    }
    size_t i = 0;
    while (i + 1 < MAX_STATUSES && class->refused[i].count && class->refused[i].status != status) {
        i++;
    }
    class->refused[i].status = status;
    class->refused[i].count++;
}

static void count_retry_after(struct class *class, uint32_t retry_after_s, double at_s)
{
    if (retry_after_s == 0) {
        class->n_untold++;
        return;
    }
    class->retry_after_s[class->n_told++] = retry_after_s;
    class->last_told_at_s = at_s;
}

static void on_done(struct client *client, int status)
{
    struct load *load = client->owner;
    const struct arrival *arrival = &load->at_work[client - load->clients];
    uint64_t now_ns = uv_hrtime(), due_ns = load->began_ns + arrival->due_ns;
    count_answer(arrival->class, status, 1e-6 * (double)(now_ns - due_ns));
    if (status == 429 || status == 503) {
        count_retry_after(arrival->class, client->retry_after_s,
                          1e-9 * (double)(now_ns - load->began_ns));
    }
    load->n_answered++;
    load->idle[load->n_idle++] = client;
    load_pump(load);
}

static void on_due(uv_poll_t *poll, int status, int events)
{
    struct load *load = poll->data;
    uint64_t expirations;
    (void)status, (void)events;
    if (read(load->timer_fd, &expirations, sizeof expirations) == sizeof expirations) {
        load_pump(load);
    }
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static int load_run(struct load *load)
{
    load->clients = calloc(load->n_clients, sizeof *load->clients);
    load->at_work = calloc(load->n_clients, sizeof *load->at_work);
    load->idle = calloc(load->n_clients, sizeof *load->idle);
    load->lags_ms = calloc(load->n_arrivals + 1, sizeof *load->lags_ms);
    load->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!load->clients || !load->at_work || !load->idle || !load->lags_ms || load->timer_fd < 0 ||
        uv_loop_init(&load->loop) != 0) {
        return -1;
    }
    uv_ip4_addr("127.0.0.1", load->port, &load->address);
    for (size_t i = 0; i < load->n_clients; i++) {
        client_init(&load->clients[i], &load->loop, &load->address, on_done, load);
        load->idle[load->n_clients - 1 - i] = &load->clients[i];
    }
    load->n_idle = load->n_clients;
    uv_timer_init(&load->loop, &load->drain);
    load->drain.data = load;
    uv_poll_init(&load->loop, &load->timer, load->timer_fd);
    load->timer.data = load;
    uv_poll_start(&load->timer, UV_READABLE, on_due);
    load->began_ns = uv_hrtime();
    load_pump(load);
    uv_run(&load->loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < load->n_clients; i++) {
        client_close(&load->clients[i]);
    }
    uv_walk(&load->loop, close_handle, NULL);
    uv_run(&load->loop, UV_RUN_DEFAULT);
    uv_loop_close(&load->loop);
    close(load->timer_fd);
    return 0;
}

/* ---- the result ----------------------------------------------------------------------------- */

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* "mean", percentiles by nearest rank, "max"; null where there are no numbers. Sorts them. */
static void print_distribution(double *numbers, size_t n)
{
    static const struct {
        const char *name;
        double share;
    } ranks[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999}, {"max", 1}};
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += numbers[i];
    }
    if (n == 0) {
        printf("null");
        return;
    }
    qsort(numbers, n, sizeof *numbers, compare_numbers);
    printf("{\"mean\": %.4f", sum / (double)n);
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        size_t rank = (size_t)ceil(ranks[i].share * (double)n);
        printf(", \"%s\": %.4f", ranks[i].name, numbers[rank > 0 ? rank - 1 : 0]);
    }
    printf("}");
}

static void print_result(struct load *load)
{
    double seconds = 1e-9 * (double)(load->ended_ns - load->began_ns);
    printf(
        "{\"arrivals\": \"%s\", \"rate\": %g, \"seconds\": %g, \"seconds_to_last_answer\": %.4f, "
        "\"due\": %zu, \"lag_ms\": ",
        load->is_poisson ? "poisson" : "constant", load->rate, load->seconds, seconds,
        load->n_arrivals);
    print_distribution(load->lags_ms, load->n_taken);
    printf(", \"classes\": [");
    for (size_t i = 0; i < load->n_classes; i++) {
        struct class *class = &load->classes[i];
        uint64_t n_refused = 0;
        printf("%s{\"name\": \"%s\", \"sent\": %llu, \"ok\": %llu, \"errors\": %llu, "
               "\"refused\": {",
               i ? ", " : "", class->name, (unsigned long long)class->n_sent,
               (unsigned long long)class->n_ok, (unsigned long long)class->n_errors);
        for (size_t k = 0; k < MAX_STATUSES && class->refused[k].count; k++) {
            printf("%s\"%d\": %llu", k ? ", " : "", class->refused[k].status,
                   (unsigned long long)class->refused[k].count);
            n_refused += class->refused[k].count;
        }
        uint64_t n_answered = class->n_ok + class->n_errors + n_refused;
        printf("}, \"unanswered\": %llu, \"ok_per_s\": %.4f, \"latency_ms\": ",
               (unsigned long long)(class->n_sent - n_answered), (double)class->n_ok / seconds);
        print_distribution(class->latencies_ms, class->n_ok);
        double last_s = class->n_told ? class->retry_after_s[class->n_told - 1] : 0;
        printf(
            ", \"retry_after\": {\"missing\": %llu, \"last_s\": %g, \"last_at_s\": %.4f, \"s\": ",
            (unsigned long long)class->n_untold, last_s, class->last_told_at_s);
        print_distribution(class->retry_after_s, class->n_told);
        printf("}}");
    }
    printf("], \"never_sent\": %zu}\n", load->n_arrivals - load->n_taken);
}

static void load_free(struct load *load)
{
    for (size_t i = 0; i < load->n_classes; i++) {
        free(load->classes[i].request);
        free(load->classes[i].latencies_ms);
        free(load->classes[i].retry_after_s);
    }
    free(load->arrivals);
    free(load->lags_ms);
    free(load->clients);
    free(load->at_work);
    free(load->idle);
}

int main(int argc, char **argv)
{
    struct load load = {.is_poisson = true,
                        .accept = "application/json",
                        .n_clients = 256,
                        .drain_s = 30,
                        .random = 1};
    int rc = parse_arguments(&load, argc, argv);
    if (rc == 0) {
        rc = plan_arrivals(&load) == 0 && plan_requests(&load) == 0 && load_run(&load) == 0 ? 0 : 1;
        if (rc == 0) {
            print_result(&load);
        } else {
            fprintf(stderr, "load: out of memory or descriptors\n");
        }
    }
    load_free(&load);
    return rc;
}
