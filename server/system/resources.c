#include "server/system/resources.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Beside those of connections: the standard ones, the loop's and the library's, the admin
 * listener's, models and keys while they are read. */
#define OWN_DESCRIPTORS 48
#define FEWEST_CONNECTIONS 4

int resources_take_descriptors(uint32_t *max_connections, char *error, size_t error_bytes)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0; /* not known: the library stops accepting where they end */
    }
    if (limit.rlim_cur < limit.rlim_max) { /* often 1024, less than our connections need */
        struct rlimit most = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        limit.rlim_cur = setrlimit(RLIMIT_NOFILE, &most) == 0 ? limit.rlim_max : limit.rlim_cur;
    }
    if (limit.rlim_cur < OWN_DESCRIPTORS + FEWEST_CONNECTIONS) {
        snprintf(error, error_bytes, "%llu descriptors are allowed, at least %d are needed",
                 (unsigned long long)limit.rlim_cur, OWN_DESCRIPTORS + FEWEST_CONNECTIONS);
        return -1;
    }
    if (*max_connections > limit.rlim_cur - OWN_DESCRIPTORS) {
        *max_connections = (uint32_t)(limit.rlim_cur - OWN_DESCRIPTORS);
    }
    return 0;
}

static void *wait_for_end(void *arg)
{
    pthread_mutex_t *running = arg;
    pthread_mutex_lock(running);
    pthread_mutex_unlock(running);
    return NULL;
}

int resources_check_threads(uint32_t n, char *error, size_t error_bytes)
{
    pthread_mutex_t running = PTHREAD_MUTEX_INITIALIZER;
    pthread_t *threads = calloc(n, sizeof *threads);
    if (!threads) {
        snprintf(error, error_bytes, "out of memory");
        return -1;
    }
    uint32_t n_threads = 0;
    int rc = 0;
    pthread_mutex_lock(&running);
    while (n_threads < n && rc == 0) {
        rc = pthread_create(&threads[n_threads], NULL, wait_for_end, &running);
        n_threads += rc == 0;
    }
    pthread_mutex_unlock(&running);
    for (uint32_t i = 0; i < n_threads; i++) {
        pthread_join(threads[i], NULL);
    }
    free(threads);
    if (rc != 0) {
        snprintf(error, error_bytes, "%u threads of %u: %s", n_threads, n, strerror(rc));
    }
    return rc == 0 ? 0 : -1;
}
