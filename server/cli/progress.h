/*
 * A progress bar with rate and time to go, on standard error if that is a terminal, else nothing.
 *
 * Used by one thread; no allocation.
 */
#ifndef SERVER_CLI_PROGRESS_H
#define SERVER_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool is_shown;
    uint64_t began_ns;
};

#define PROGRESS_INTERVAL_MS 200

void progress_begin(struct progress *p);

/* Draw: `done` of `total` units of work, of which `per_image` make one image. Rate in images. */
void progress_show(struct progress *p, uint64_t done, uint64_t total, uint64_t per_image);

/* Draw how much of a time of `total_s` is over. */
void progress_show_time(struct progress *p, double total_s);

/* Wipe the line. */
void progress_end(struct progress *p);

/* The monotonic clock. */
uint64_t clock_now_ns(void);

#endif
