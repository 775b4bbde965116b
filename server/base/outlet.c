#include "server/base/outlet.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <uv.h>

#define STACK_BYTES ((size_t)256 << 10)
#define PATIENCE_NS UINT64_C(1000000000)     /* when closing, with a reader that takes nothing */
#define PATIENCE_ALL_NS UINT64_C(5000000000) /* with one that takes little */

struct outlet {
    int fd;
    outlet_notice_fn *notice;
    const void *context;
    uv_thread_t thread;
    uv_mutex_t lock;     /* of all below but is_torn, which is the thread's */
    uv_cond_t more;      /* the thread has something to do */
    uv_cond_t less;      /* it has done something */
    uint64_t head, tail; /* bytes put and bytes done with, in all */
    uint64_t n_dropped;
    uint64_t n_told; /* of them, in notices */
    uint64_t gap;    /* where lines are missing that nobody was told of */
    bool has_gap;
    bool is_failing; /* the last write did not work */
    bool is_torn;    /* the last byte written did not end a line */
    bool is_closing, has_ended;
    size_t ring_bytes; /* a power of two */
    char ring[];
};

static size_t place(const struct outlet *o, uint64_t position)
{
    return (size_t)position & (o->ring_bytes - 1);
}

/* Lines are missing behind what was put, or done with, so far. */
static void note_loss(struct outlet *o, uint64_t n_lines, uint64_t position)
{
    o->n_dropped += n_lines;
    if (!o->has_gap) {
        o->has_gap = true;
        o->gap = position;
    }
}

/* ---- the thread ----------------------------------------------------------------------------- */

/* Where the lines end that the next call writes: as many as a pipe takes without mixing them with
 * another writer's, and at least one. */
static uint64_t chunk_end(const struct outlet *o, uint64_t from, uint64_t limit)
{
    uint64_t end = from;
    for (uint64_t i = from; i < limit && (end == from || i - from < PIPE_BUF); i++) {
        if (o->ring[place(o, i)] == '\n') {
            end = i + 1;
        }
    }
    return end;
}

/* One call that writes something, or false. */
static bool write_some(int fd, const struct iovec *parts, int n_parts, size_t *written)
{
    ssize_t n;
    while ((n = writev(fd, parts, n_parts)) < 0 && (errno == EINTR || errno == EAGAIN)) {
        if (errno == EAGAIN) { /* somebody else has made it non-blocking */
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            poll(&writable, 1, -1);
        }
    }
    *written = n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* What follows half a line begins a new one. */
static bool mend_tear(struct outlet *o)
{
    char end[] = "\n";
    const struct iovec part = {.iov_base = end, .iov_len = 1};
    size_t written;
    if (o->is_torn && write_some(o->fd, &part, 1, &written)) {
        o->is_torn = false;
    }
    return !o->is_torn;
}

static bool write_notice(struct outlet *o, uint64_t n_lost)
{
    char line[OUTLET_NOTICE_BYTES];
    size_t bytes = o->notice(o->context, n_lost, line), written;
    bool is_fine = mend_tear(o);
    for (size_t at = 0; is_fine && at < bytes; at += written) {
        const struct iovec part = {.iov_base = line + at, .iov_len = bytes - at};
        is_fine = write_some(o->fd, &part, 1, &written);
        o->is_torn = at + written > 0 && at + written < bytes;
    }
    return is_fine;
}

/* Say how many lines are missing here. */
static void tell_gap(struct outlet *o)
{
    uint64_t n_dropped = o->n_dropped;
    bool is_fine = true;
    o->has_gap = false;
    if (o->notice) {
        uv_mutex_unlock(&o->lock);
        is_fine = write_notice(o, n_dropped - o->n_told);
        uv_mutex_lock(&o->lock);
    }
    o->is_failing = !is_fine;
    if (is_fine) {
        o->n_told = n_dropped;
    } else {
        note_loss(o, 0, o->tail);
    }
}

/* Write the next lines, or drop what is left of them. */
static void write_chunk(struct outlet *o)
{
    uint64_t limit = o->has_gap && o->gap > o->tail ? o->gap : o->head, n_lost = 0;
    uv_mutex_unlock(&o->lock); /* nobody else touches what lies in the ring */
    uint64_t end = chunk_end(o, o->tail, limit), at = o->tail;
    bool is_fine = mend_tear(o);
    while (is_fine && at < end) {
        size_t start = place(o, at), bytes = (size_t)(end - at), written;
        size_t first = bytes < o->ring_bytes - start ? bytes : o->ring_bytes - start;
        const struct iovec parts[] = {{.iov_base = o->ring + start, .iov_len = first},
                                      {.iov_base = o->ring, .iov_len = bytes - first}};
        is_fine = write_some(o->fd, parts, first < bytes ? 2 : 1, &written);
        at += written;
        o->is_torn = written > 0 ? o->ring[place(o, at - 1)] != '\n' : o->is_torn;
    }
    for (; at < end; at++) {
        n_lost += o->ring[place(o, at)] == '\n';
    }
    uv_mutex_lock(&o->lock);
    o->tail = end;
    o->is_failing = !is_fine;
    if (!is_fine) {
        note_loss(o, n_lost, end);
    }
    uv_cond_signal(&o->less);
}

static void run(void *arg)
{
    struct outlet *o = arg;
    prctl(PR_SET_NAME, "outlet");
    uv_mutex_lock(&o->lock);
    for (;;) {
        /* While writes fail, a gap waits for the next line. */
        if (o->has_gap && o->gap <= o->tail && (o->head > o->tail || !o->is_failing)) {
            tell_gap(o);
        }
        if (o->head > o->tail) {
            write_chunk(o);
        } else if (o->is_closing) {
            break;
        } else if (!o->has_gap || o->is_failing) {
            uv_cond_wait(&o->more, &o->lock);
        }
    }
    o->has_ended = true;
    uv_cond_signal(&o->less);
    uv_mutex_unlock(&o->lock);
}

/* ---- for everybody -------------------------------------------------------------------------- */

static int start_thread(struct outlet *o)
{
    const uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                         .stack_size = STACK_BYTES};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = uv_thread_create_ex(&o->thread, &options, run, o);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int outlet_open(struct outlet **out, int fd, size_t ring_bytes, outlet_notice_fn *notice,
                const void *context)
{
    assert((ring_bytes & (ring_bytes - 1)) == 0);
    struct outlet *o = malloc(sizeof *o + ring_bytes);
    *out = NULL;
    if (!o) {
        return -1;
    }
    *o = (struct outlet){.fd = fd, .notice = notice, .context = context, .ring_bytes = ring_bytes};
    if (uv_mutex_init(&o->lock) != 0) {
        goto fail_memory;
    }
    if (uv_cond_init(&o->more) != 0) {
        goto fail_lock;
    }
    if (uv_cond_init(&o->less) != 0) {
        goto fail_more;
    }
    if (start_thread(o) != 0) {
        goto fail_less;
    }
    *out = o;
    return 0;

fail_less:
    uv_cond_destroy(&o->less);
fail_more:
    uv_cond_destroy(&o->more);
fail_lock:
    uv_mutex_destroy(&o->lock);
fail_memory:
    free(o);
    return -1;
}

void outlet_put(struct outlet *o, const char *line, size_t bytes)
{
    uv_mutex_lock(&o->lock);
    if (bytes > o->ring_bytes - (size_t)(o->head - o->tail)) {
        note_loss(o, 1, o->head);
    } else {
        size_t start = place(o, o->head);
        size_t first = bytes < o->ring_bytes - start ? bytes : o->ring_bytes - start;
        memcpy(o->ring + start, line, first);
        memcpy(o->ring, line + first, bytes - first);
        o->head += bytes;
    }
    uv_cond_signal(&o->more);
    uv_mutex_unlock(&o->lock);
}

uint64_t outlet_dropped(struct outlet *o)
{
    uv_mutex_lock(&o->lock);
    uint64_t n_dropped = o->n_dropped;
    uv_mutex_unlock(&o->lock);
    return n_dropped;
}

void outlet_close(struct outlet *o)
{
    if (!o) {
        return;
    }
    uv_mutex_lock(&o->lock);
    o->is_closing = true;
    uv_cond_signal(&o->more);
    uint64_t began = uv_hrtime(), moved = began, tail = o->tail;
    while (!o->has_ended) {
        uint64_t now = uv_hrtime();
        moved = o->tail != tail ? now : moved;
        tail = o->tail;
        uint64_t end = moved + PATIENCE_NS;
        end = end < began + PATIENCE_ALL_NS ? end : began + PATIENCE_ALL_NS;
        if (now >= end) {
            break;
        }
        uv_cond_timedwait(&o->less, &o->lock, end - now);
    }
    bool has_ended = o->has_ended;
    uv_mutex_unlock(&o->lock);
    if (!has_ended) {
        return; /* its thread hangs in a write, and has the memory */
    }
    uv_thread_join(&o->thread);
    uv_cond_destroy(&o->less);
    uv_cond_destroy(&o->more);
    uv_mutex_destroy(&o->lock);
    free(o);
}
