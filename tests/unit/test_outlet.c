/* server/base/outlet: lines to a reader that is slow, stuck, or has no room. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/outlet.h"

#define RING_BYTES 8192
#define PIPE_BYTES 4096 /* the smallest that there is */
#define LINE_BYTES 100

static size_t format_notice(const void *context, uint64_t n_lost, char line[OUTLET_NOTICE_BYTES])
{
    assert_string_equal(context, "context");
    return (size_t)snprintf(line, OUTLET_NOTICE_BYTES, "lost %llu\n", (unsigned long long)n_lost);
}

/* Line `i` is its number and dots. */
static void put(struct outlet *o, int i)
{
    char line[LINE_BYTES + 1];
    int used = snprintf(line, sizeof line, "%d", i);
    memset(line + used, '.', LINE_BYTES - 1 - (size_t)used);
    line[LINE_BYTES - 1] = '\n';
    outlet_put(o, line, LINE_BYTES);
}

/* Read lines until `n` are accounted for: seen in their order, or told to be lost where they are
 * missing. Returns how many were lost. */
static int read_lines(FILE *in, int n)
{
    char line[LINE_BYTES + 8];
    int next = 0, n_lost = 0;
    while (next < n) {
        unsigned long long lost;
        assert_non_null(fgets(line, sizeof line, in));
        if (sscanf(line, "lost %llu", &lost) == 1) {
            next += (int)lost;
            n_lost += (int)lost;
        } else {
            assert_int_equal(strlen(line), LINE_BYTES);
            assert_int_equal(strtol(line, NULL, 10), next);
            next++;
        }
    }
    assert_int_equal(next, n);
    return n_lost;
}

struct fixture {
    int pipe[2];
    FILE *in;
    struct outlet *outlet;
};

static int set_up(void **state)
{
    static struct fixture f;
    assert_int_equal(pipe(f.pipe), 0);
    assert_true(fcntl(f.pipe[1], F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES);
    f.in = fdopen(f.pipe[0], "r");
    assert_int_equal(outlet_open(&f.outlet, f.pipe[1], RING_BYTES, format_notice, "context"), 0);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    outlet_close(f->outlet);
    fclose(f->in);
    close(f->pipe[1]);
    return 0;
}

static void test_nothing_is_lost_when_it_closes(void **state)
{
    struct fixture *f = *state;
    int n = (PIPE_BYTES + RING_BYTES) / LINE_BYTES / 2;
    for (int i = 0; i < n; i++) {
        put(f->outlet, i);
    }
    assert_int_equal(outlet_dropped(f->outlet), 0);
    assert_int_equal(read_lines(f->in, n), 0);
    outlet_close(f->outlet);
    f->outlet = NULL;
}

/* Nobody reads: put() returns all the same. Then lines flow, and the gap is told where it is. */
static void test_a_stuck_reader(void **state)
{
    struct fixture *f = *state;
    int n = 10 * RING_BYTES / LINE_BYTES;
    for (int i = 0; i < n; i++) {
        put(f->outlet, i);
    }
    int n_dropped = (int)outlet_dropped(f->outlet);
    assert_true(n_dropped >= n - (PIPE_BYTES + RING_BYTES) / LINE_BYTES - 1 && n_dropped < n);
    assert_int_equal(read_lines(f->in, n), n_dropped);
    for (int i = 0; i < 3; i++) {
        put(f->outlet, i);
    }
    assert_int_equal(read_lines(f->in, 3), 0);
    assert_int_equal(outlet_dropped(f->outlet), n_dropped);
}

static void test_closing_does_not_wait_for_a_stuck_reader(void **state)
{
    (void)state;
    int ends[2]; /* never closed: the outlet's thread hangs on */
    struct outlet *o;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(outlet_open(&o, ends[1], RING_BYTES, format_notice, "context"), 0);
    for (int i = 0; i < 100 * RING_BYTES / LINE_BYTES; i++) {
        put(o, i);
    }
    outlet_close(o);
}

/* Somebody else has made the descriptor non-blocking, as a terminal's other users may. */
static void test_a_reader_that_blocks_nobody(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fcntl(f->pipe[1], F_SETFL, O_NONBLOCK), 0);
    int n = (PIPE_BYTES + RING_BYTES) / LINE_BYTES / 2;
    for (int i = 0; i < n; i++) {
        put(f->outlet, i);
    }
    assert_int_equal(read_lines(f->in, n), 0);
}

static void test_a_line_longer_than_all(void **state)
{
    struct fixture *f = *state;
    char line[RING_BYTES + 1];
    memset(line, 'x', sizeof line);
    line[RING_BYTES] = '\n';
    outlet_put(f->outlet, line, sizeof line);
    put(f->outlet, 1);
    assert_int_equal(read_lines(f->in, 2), 1);
}

/* A file that may not grow keeps whole lines but for the torn one, and has room again when it is
 * cut. */
static void test_a_full_file(void **state)
{
    (void)state;
    char path[] = "/tmp/test_outlet_XXXXXX", text[4 * LINE_BYTES];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
    struct rlimit before, limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = LINE_BYTES + LINE_BYTES / 2;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct outlet *o;
    assert_int_equal(outlet_open(&o, fd, RING_BYTES, format_notice, "context"), 0);
    for (int i = 0; i < 3; i++) {
        put(o, i);
    }
    while (outlet_dropped(o) < 2) {
        sched_yield();
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    put(o, 3);
    outlet_close(o);
    ssize_t bytes = pread(fd, text, sizeof text - 1, 0);
    assert_true(bytes > 0);
    text[bytes] = '\0';
    char *rest = text + LINE_BYTES;
    assert_int_equal(text[0], '0');
    assert_memory_equal(rest, "1...", 4);
    rest = strchr(rest, '\n') + 1;
    assert_int_equal(rest - text, LINE_BYTES + LINE_BYTES / 2 + 1);
    assert_memory_equal(rest, "lost 2\n", 7);
    assert_int_equal(rest[7], '3');
    assert_int_equal(strlen(rest + 7), LINE_BYTES);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_is_lost_when_it_closes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_stuck_reader, set_up, tear_down),
        cmocka_unit_test(test_closing_does_not_wait_for_a_stuck_reader),
        cmocka_unit_test_setup_teardown(test_a_reader_that_blocks_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_line_longer_than_all, set_up, tear_down),
        cmocka_unit_test(test_a_full_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
