#include "server/system/supervisor.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS 5000
#define EXTENSION_US (3 * TICK_MS * 1000)
#define LOADING_MOST_MS 600000 /* a load that hangs is not excused for ever */

/* ---- sending -------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void tell(const struct supervisor *s,
                                                       const char *format, ...)
{
    char text[512];
    if (s->fd < 0) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (bytes < 0 || (size_t)bytes >= sizeof text) {
        bytes = (int)strlen(text);
    }
    /* Best effort: a manager that does not read is not ours to wait for. */
    ssize_t sent = sendto(s->fd, text, (size_t)bytes, MSG_DONTWAIT | MSG_NOSIGNAL,
                          (const struct sockaddr *)&s->address, s->address_bytes);
    (void)sent;
}

static void tell_draining(const struct supervisor *s)
{
    const struct metrics *m = s->metrics;
    tell(s, "EXTEND_TIMEOUT_USEC=%d\nSTATUS=Draining: %llu images are not drawn yet.", EXTENSION_US,
         (unsigned long long)m->queue_rows);
}

void supervisor_changed(struct supervisor *s)
{
    switch (s->life->state) {
    case LIFE_LOADING:
        tell(s, "EXTEND_TIMEOUT_USEC=%d\nSTATUS=Loading.", EXTENSION_US);
        break;
    case LIFE_READY:
        tell(s, "READY=1\nSTATUS=Serving %s.", s->url);
        break;
    case LIFE_LEAVING:
        tell(s, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%d\nSTATUS=Leaving: serves on, but is not ready.",
             EXTENSION_US);
        break;
    case LIFE_DRAINING:
        tell(s, "STOPPING=1");
        tell_draining(s);
        break;
    case LIFE_STOPPING:
        tell(s, "STOPPING=1\nSTATUS=Stopping.");
        break;
    }
}

void supervisor_reloading(struct supervisor *s)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    tell(s, "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=Reloading.",
         (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

/* ---- the watchdog --------------------------------------------------------------------------- */

static void feed_watchdog(struct supervisor *s)
{
    const struct metrics *m = s->metrics;
    bool changed = stall_look(&s->stall, m->steps, m->queue_rows);
    if (!s->stall.is_stalled) {
        tell(s, "WATCHDOG=1");
    }
    if (changed && s->stall.is_stalled) {
        log_event(s->log, LOG_ERROR, "stalled", LOG_I("rows", m->queue_rows),
                  LOG_I("workers_busy", m->workers_busy), LOG_I("watchdog_ms", s->watchdog_ms));
    } else if (changed) {
        log_event(s->log, LOG_INFO, "advancing", LOG_I("rows", m->queue_rows));
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct supervisor *s = timer->data;
    if (s->watchdog_ms) {
        feed_watchdog(s);
    }
    if (s->life->state == LIFE_LOADING && uv_now(s->loop) - s->opened_ms < LOADING_MOST_MS) {
        supervisor_changed(s);
    } else if (s->life->state == LIFE_LEAVING || s->life->state == LIFE_DRAINING) {
        tell_draining(s);
    }
}

/* ---- the environment ------------------------------------------------------------------------ */

/* "/path" or "@abstract". Returns 0 or -1. */
static int read_address(struct supervisor *s, const char *text)
{
    size_t bytes = strlen(text);
    if ((text[0] != '/' && text[0] != '@') || bytes < 2 || bytes >= sizeof s->address.sun_path) {
        return -1;
    }
    s->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(s->address.sun_path, text, bytes);
    s->address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
    if (text[0] == '@') {
        s->address.sun_path[0] = '\0'; /* its length ends an abstract name */
    } else {
        s->address_bytes++;
    }
    return 0;
}

/* A positive decimal number, or 0. */
static uint64_t read_number(const char *text)
{
    if (!text || !*text || strlen(text) > 18 || strspn(text, "0123456789") != strlen(text)) {
        return 0;
    }
    return strtoull(text, NULL, 10);
}

/* The interval that was asked for, if it was asked of this process. */
static uint64_t read_watchdog_ms(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    if (pid && read_number(pid) != (uint64_t)getpid()) {
        return 0;
    }
    uint64_t us = read_number(getenv("WATCHDOG_USEC"));
    return us > 0 && us < 2000 ? 1 : us / 1000;
}

void supervisor_open(struct supervisor *s)
{
    s->fd = -1;
    uv_timer_init(s->loop, &s->timer);
    s->timer.data = s;
    s->opened_ms = uv_now(s->loop);
    const char *text = getenv("NOTIFY_SOCKET");
    if (!text) {
        return;
    }
    if (read_address(s, text) != 0) {
        log_event(s->log, LOG_WARN, "notify_failed", LOG_S("address", text),
                  LOG_S("reason", "/PATH or @NAME expected in NOTIFY_SOCKET"));
        return;
    }
    s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0) {
        log_event(s->log, LOG_WARN, "notify_failed", LOG_S("address", text),
                  LOG_S("reason", strerror(errno)));
        return;
    }
    s->watchdog_ms = read_watchdog_ms();
    uint64_t tick_ms = TICK_MS;
    if (s->watchdog_ms && s->watchdog_ms / 2 < tick_ms) {
        tick_ms = s->watchdog_ms > 1 ? s->watchdog_ms / 2 : 1;
    }
    uv_timer_start(&s->timer, on_tick, tick_ms, tick_ms);
    supervisor_changed(s);
}

void supervisor_close(struct supervisor *s)
{
    if (s->loop && s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }
}
