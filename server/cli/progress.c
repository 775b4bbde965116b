#include "server/cli/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define BAR_CELLS 30

uint64_t clock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void progress_begin(struct progress *p)
{
    p->is_shown = isatty(STDERR_FILENO) == 1;
    p->began_ns = clock_now_ns();
}

/* "[####......]" for a share of 0..1 */
static void draw_bar(char bar[BAR_CELLS + 3], double share)
{
    bar[0] = '[';
    for (int i = 0; i < BAR_CELLS; i++)
        bar[i + 1] = i < share * BAR_CELLS ? '#' : '.';
    bar[BAR_CELLS + 1] = ']';
    bar[BAR_CELLS + 2] = '\0';
}

void progress_show(struct progress *p, uint64_t done, uint64_t total, uint64_t per_image)
{
    if (!p->is_shown || done == 0)
        return;
    double seconds = (double)(clock_now_ns() - p->began_ns) * 1e-9;
    double per_second = (double)done / (seconds > 1e-9 ? seconds : 1e-9);
    double share = (double)done / (double)total;
    uint64_t left_s = (uint64_t)((double)(total - done) / per_second + 0.5);
    char bar[BAR_CELLS + 3];
    draw_bar(bar, share);
    fprintf(stderr, "\r%s %3.0f %%  %llu/%llu images  %.4g/s  %llu:%02llu to go\033[K", bar,
            100 * share, (unsigned long long)(done / per_image),
            (unsigned long long)(total / per_image), per_second / (double)per_image,
            (unsigned long long)(left_s / 60), (unsigned long long)(left_s % 60));
    fflush(stderr);
}

void progress_show_time(struct progress *p, double total_s)
{
    if (!p->is_shown)
        return;
    double seconds = (double)(clock_now_ns() - p->began_ns) * 1e-9;
    char bar[BAR_CELLS + 3];
    draw_bar(bar, seconds / total_s);
    fprintf(stderr, "\r%s %.1f/%.1f s\033[K", bar, seconds < total_s ? seconds : total_s, total_s);
    fflush(stderr);
}

void progress_end(struct progress *p)
{
    if (!p->is_shown)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
}
