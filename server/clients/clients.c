#include "server/clients/clients.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "server/base/random.h"

#define MAX_FILE_BYTES (8 << 20)

/* ---- one client ----------------------------------------------------------------------------- */

struct client *client_hold(struct client *client)
{
    if (client) {
        client->references++;
    }
    return client;
}

void client_drop(struct client *client)
{
    if (client && --client->references == 0) {
        free(client);
    }
}

struct fair_share *client_share(struct client *client)
{
    return client ? &client->share : NULL;
}

static void client_set_limits(struct client *client, const struct key_limits *limits)
{
    bool had_rate = client->limits.rows_per_minute > 0;
    client->limits = *limits;
    if (limits->burst_rows == 0) {
        client->limits.burst_rows = limits->rows_per_minute;
    }
    if (!had_rate || client->tokens > client->limits.burst_rows) {
        client->tokens = client->limits.burst_rows;
    }
}

static void client_refill(struct client *client)
{
    uint64_t now_ns = uv_hrtime();
    double rows = 1e-9 * (double)(now_ns - client->refilled_ns) * client->limits.rows_per_minute;
    client->tokens = fmin(client->limits.burst_rows, client->tokens + rows / 60);
    client->refilled_ns = now_ns;
}

/* Seconds until there are so many tokens. */
static uint32_t seconds_until(const struct client *client, double tokens)
{
    double seconds = ceil((tokens - client->tokens) * 60 / client->limits.rows_per_minute);
    return seconds <= 0 ? 0 : seconds > 1e9 ? 1000000000 : (uint32_t)seconds;
}

int client_take(struct client *client, uint32_t rows, struct problem *problem,
                uint32_t *retry_after_s)
{
    *retry_after_s = 0;
    if (!client) {
        return 0;
    }
    const struct key_limits *limits = &client->limits;
    if (limits->rows_in_flight && rows > limits->rows_in_flight) {
        problem_set(problem, PROBLEM_INVALID_REQUEST, "The request is not valid; see errors.");
        problem_add(problem, "/n", "this key allows at most %u images at a time",
                    limits->rows_in_flight);
        return -1;
    }
    if (limits->rows_in_flight &&
        (uint64_t)client->rows_in_flight + rows > limits->rows_in_flight) {
        problem_set(problem, PROBLEM_QUOTA_EXCEEDED,
                    "This key allows %u images at a time, and %u are waiting or being drawn.",
                    limits->rows_in_flight, client->rows_in_flight);
        return -1;
    }
    if (limits->rows_per_minute) {
        client_refill(client);
        /* A request for more than a burst needs a whole one, and then a longer pause. */
        double needed = fmin(rows, limits->burst_rows);
        if (client->tokens < needed) {
            *retry_after_s = seconds_until(client, needed);
            problem_set(problem, PROBLEM_QUOTA_EXCEEDED,
                        "This key allows %u images a minute, %u at once.", limits->rows_per_minute,
                        limits->burst_rows);
            return -1;
        }
        client->tokens -= rows;
    }
    client->rows_in_flight += rows;
    return 0;
}

void client_give_back(struct client *client, uint32_t rows, bool unused)
{
    if (!client) {
        return;
    }
    assert(client->rows_in_flight >= rows);
    client->rows_in_flight -= rows;
    if (unused && client->limits.rows_per_minute) {
        client->tokens = fmin(client->limits.burst_rows, client->tokens + rows);
    }
}

/* q a quota, w its window in seconds, r what remains, t the seconds until all of it is there again.
 */
void client_describe_limits(struct client *client, char policy[CLIENT_LIMITS_BYTES],
                            char state[CLIENT_LIMITS_BYTES])
{
    const size_t max = CLIENT_LIMITS_BYTES;
    const struct key_limits *limits = &client->limits;
    policy[0] = state[0] = '\0';
    if (limits->rows_per_minute) {
        client_refill(client);
        double window_s = ceil(60.0 * limits->burst_rows / limits->rows_per_minute);
        snprintf(policy, max, "\"rows\";q=%u;w=%.0f", limits->burst_rows, window_s);
        snprintf(state, max, "\"rows\";r=%.0f;t=%u", floor(fmax(client->tokens, 0)),
                 seconds_until(client, limits->burst_rows));
    }
    if (limits->rows_in_flight) {
        const char *comma = *policy ? ", " : "";
        size_t used = strlen(policy);
        snprintf(policy + used, max - used, "%s\"rows-in-flight\";q=%u", comma,
                 limits->rows_in_flight);
        used = strlen(state);
        uint32_t left = limits->rows_in_flight > client->rows_in_flight
                            ? limits->rows_in_flight - client->rows_in_flight
                            : 0;
        snprintf(state + used, max - used, "%s\"rows-in-flight\";r=%u", comma, left);
    }
}

/* ---- all of them ---------------------------------------------------------------------------- */

bool clients_are_known(const struct clients *c)
{
    return c->ring.n_keys > 0;
}

struct client *clients_find(const struct clients *c, const char *key, size_t bytes)
{
    int key_idx = keyring_find(&c->ring, key, bytes);
    return key_idx < 0 ? NULL : c->table[key_idx];
}

/* ---- the file ------------------------------------------------------------------------------- */

/* It has keys in it. */
static void text_free(char *text, size_t bytes)
{
    explicit_bzero(text, bytes);
    free(text);
}

/* The whole file, and its permissions. Returns 0, the caller frees; or -1 with a message. */
static int read_file(const char *path, char **text, size_t *bytes, mode_t *mode, char *error)
{
    int rc = -1;
    struct stat st;
    *text = NULL;
    *bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        snprintf(error, CLIENTS_ERROR_BYTES, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > MAX_FILE_BYTES) {
        snprintf(error, CLIENTS_ERROR_BYTES, "%s: not a file of at most %d bytes", path,
                 MAX_FILE_BYTES);
        goto out;
    }
    *text = malloc((size_t)st.st_size + 1);
    if (!*text) {
        snprintf(error, CLIENTS_ERROR_BYTES, "%s: out of memory", path);
        goto out;
    }
    for (ssize_t n = 1; n > 0 && *bytes < (size_t)st.st_size; *bytes += (size_t)n) {
        n = read(fd, *text + *bytes, (size_t)st.st_size - *bytes);
        if (n < 0) {
            snprintf(error, CLIENTS_ERROR_BYTES, "%s: %s", path, strerror(errno));
            text_free(*text, (size_t)st.st_size);
            goto out;
        }
    }
    *mode = st.st_mode & 07777;
    rc = 0;
out:
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static void table_free(struct client **table, size_t n)
{
    for (size_t i = 0; table && i < n; i++) {
        client_drop(table[i]);
    }
    free(table);
}

/* A client for each key of the ring: the one that there is, or a new one. NULL without memory. */
static struct client **table_new(const struct clients *old, const struct keyring *ring)
{
    struct client **table = calloc(ring->n_keys, sizeof(struct client *));
    for (size_t i = 0; table && i < ring->n_keys; i++) {
        const char *name = ring->keys[i].name;
        int old_idx = keyring_find_name(&old->ring, name);
        struct client *client = old_idx < 0 ? calloc(1, sizeof *client) : old->table[old_idx];
        if (!client) {
            table_free(table, i);
            return NULL;
        }
        memcpy(client->name, name, sizeof client->name);
        table[i] = client_hold(client);
    }
    return table;
}

int clients_load(struct clients *c, const struct options *options, char error[CLIENTS_ERROR_BYTES])
{
    c->options = options;
    if (!options->api_keys_file) {
        return 0;
    }
    char *text = NULL, fault[KEYRING_ERROR_BYTES] = "";
    size_t bytes;
    mode_t mode;
    if (read_file(options->api_keys_file, &text, &bytes, &mode, error) != 0) {
        return -1;
    }
    struct keyring ring = {.n_keys = 0};
    struct client **table = NULL;
    struct key_limits defaults = {.rows_per_minute = (uint32_t)options->rows_per_minute,
                                  .burst_rows = (uint32_t)options->burst_rows,
                                  .rows_in_flight = (uint32_t)options->max_rows_in_flight,
                                  .priority = PRIORITY_NORMAL};
    uint8_t salt[KEYRING_SALT_BYTES];
    int rc = -1;
    if (random_bytes(salt, sizeof salt) != 0) {
        snprintf(fault, sizeof fault, "the system has no random numbers to give");
        goto out;
    }
    if (keyring_parse(&ring, text, bytes, &defaults, salt, fault) != 0) {
        goto out;
    }
    table = table_new(c, &ring);
    if (!table) {
        snprintf(fault, sizeof fault, "out of memory");
        keyring_free(&ring);
        goto out;
    }
    for (size_t i = 0; i < ring.n_keys; i++) {
        client_set_limits(table[i], &ring.keys[i].limits);
    }
    clients_free(c);
    c->ring = ring;
    c->table = table;
    c->file_mode = mode;
    rc = 0;
out:
    if (rc != 0) {
        snprintf(error, CLIENTS_ERROR_BYTES, "%.256s: %s", options->api_keys_file, fault);
    }
    text_free(text, bytes);
    return rc;
}

void clients_free(struct clients *c)
{
    table_free(c->table, c->ring.n_keys);
    keyring_free(&c->ring);
    c->table = NULL;
}
