/* server/scheduling/fair_queue: whose steps are taken first, counted in evaluations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/scheduling/fair_queue.h"
#include "server/scheduling/worker.h"

/* What one batch may have beyond its turn: one row, for as many steps as it is held at most. */
#define TURN WORKER_MAX_STEPS

/* A queue whose one worker takes one row at a time. */
struct fixture {
    struct fair_clock clock;
    struct fair_queue queue;
    struct worker worker;
    struct batch_row row;
    uint64_t now_ns;
    uint64_t done; /* evaluations */
};

static void open_fixture(struct fixture *f)
{
    *f = (struct fixture){.done = 0};
    f->worker.batch = &f->row;
    fair_clock_init(&f->clock);
    fair_queue_init(&f->queue, &f->clock);
    f->queue.evaluation_s = 1;
}

static void add(struct fixture *f, struct job *job, struct fair_share *share,
                enum priority priority, uint32_t n_rows, uint32_t steps)
{
    *job = (struct job){.n_rows = n_rows,
                        .steps = steps,
                        .evaluations = (uint64_t)n_rows * steps,
                        .share = share,
                        .priority = priority,
                        .submitted_ns = ++f->now_ns};
    assert_int_equal(fair_queue_enter(&f->queue, job), 0);
    fair_queue_put(&f->queue, job);
}

static uint64_t left_of(const struct job *job)
{
    return job->evaluations - job->evaluations_done;
}

/* Give the job that is to go first its steps, as many as the batch is held. Returns it. */
static struct job *step(struct fixture *f, uint32_t n_steps)
{
    struct job *owed = fair_queue_owed(&f->queue);
    struct job *job = owed ? owed : fair_queue_first(&f->queue);
    if (!job) {
        return NULL;
    }
    n_steps = n_steps < left_of(job) ? n_steps : (uint32_t)left_of(job);
    fair_queue_hand_out(&f->queue, job, 1);
    fair_queue_take(&f->queue, job);
    job->state = JOB_RUNNING;
    f->row = (struct batch_row){.job = job, .evaluations = 1};
    f->worker.n_batch = 1;
    f->worker.n_steps = n_steps;
    fair_queue_settle(&f->queue, &f->worker);
    job->evaluations_done += n_steps;
    f->done += n_steps;
    fair_queue_shrink(&f->queue, job, n_steps);
    if (left_of(job) > 0) {
        fair_queue_put(&f->queue, job);
    } else {
        fair_queue_leave(&f->queue, job);
    }
    return job;
}

static void run_until_done(struct fixture *f, const struct job *job, uint32_t n_steps)
{
    while (left_of(job) > 0) {
        assert_non_null(step(f, n_steps));
    }
}

static void close_fixture(struct fixture *f)
{
    while (step(f, TURN)) {
    }
    assert_false(fair_queue_waits(&f->queue));
    for (int p = 0; p < PRIORITIES; p++) {
        assert_int_equal(f->queue.bands[p].left, 0);
        assert_int_equal(f->clock.n_waiting[p], 0);
    }
    fair_queue_deinit(&f->queue);
}

static void drop(void *arg, struct job *job)
{
    struct fixture *f = arg;
    fair_queue_drop(&f->queue, job);
    fair_queue_leave(&f->queue, job);
}

static uint64_t sum_done(const struct job *jobs, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += jobs[i].evaluations_done;
    }
    return sum;
}

/* However many requests one has, small ones even: the other's single one does not feel it. */
static void test_the_number_of_requests_does_not_count(void **state)
{
    (void)state;
    static struct job heavy[4000];
    const size_t counts[] = {10, 400, 4000};
    uint64_t waited[3];
    for (size_t k = 0; k < 3; k++) {
        struct fixture f;
        struct fair_share one = {.lanes = NULL}, other = {.lanes = NULL};
        struct job light;
        open_fixture(&f);
        for (size_t i = 0; i < counts[k]; i++) {
            add(&f, &heavy[i], &one, PRIORITY_NORMAL, 1, 100);
        }
        for (int i = 0; i < 8; i++) {
            step(&f, TURN);
        }
        uint64_t before = f.done;
        add(&f, &light, &other, PRIORITY_NORMAL, 3, 100);
        run_until_done(&f, &light, TURN);
        waited[k] = f.done - before;
        fair_queue_each(&f.queue, drop, &f);
        close_fixture(&f);
    }
    assert_in_range(waited[0], 300, 2 * 300 + 2 * TURN);
    assert_int_equal(waited[0], waited[1]);
    assert_int_equal(waited[0], waited[2]);
}

/* Clients that always have work share alike, whatever the shape of it. */
static void test_shares_are_equal(void **state)
{
    (void)state;
    static struct job large[3], small[1000], guided;
    struct fixture f;
    struct fair_share a = {.lanes = NULL}, b = {.lanes = NULL}, c = {.lanes = NULL};
    open_fixture(&f);
    for (size_t i = 0; i < 1000; i++) {
        add(&f, &small[i], &a, PRIORITY_NORMAL, 1, 20);
    }
    for (size_t i = 0; i < 3; i++) {
        add(&f, &large[i], &b, PRIORITY_NORMAL, 256, 1000);
    }
    add(&f, &guided, &c, PRIORITY_NORMAL, 64, 1000);
    for (int i = 0; i < 3000; i++) {
        step(&f, 1 + (uint32_t)i % TURN);
        uint64_t done[3] = {sum_done(small, 1000), sum_done(large, 3), guided.evaluations_done};
        for (int k = 0; k < 3 && done[0] < 20000; k++) {
            assert_true(done[k] + TURN >= f.done / 3 && done[k] <= f.done / 3 + TURN);
        }
    }
    fair_queue_each(&f.queue, drop, &f);
    close_fixture(&f);
}

/* One that was idle catches up on its credit and no more. */
static void test_nothing_is_saved_up(void **state)
{
    (void)state;
    struct fixture f;
    struct fair_share busy = {.lanes = NULL}, idle = {.lanes = NULL};
    struct job one, other;
    open_fixture(&f);
    add(&f, &one, &busy, PRIORITY_NORMAL, 100, 1000);
    while (f.done < 50000) {
        step(&f, TURN);
    }
    add(&f, &other, &idle, PRIORITY_NORMAL, 100, 1000);
    uint64_t before = f.done;
    while (one.evaluations_done == before) {
        step(&f, TURN);
    }
    assert_in_range(other.evaluations_done, FAIR_CREDIT - TURN, FAIR_CREDIT + TURN);
    while (f.done < 80000) {
        step(&f, TURN);
    }
    uint64_t more = 80000 - before;
    assert_in_range(other.evaluations_done, more / 2 + FAIR_CREDIT / 2 - TURN,
                    more / 2 + FAIR_CREDIT / 2 + TURN);
    fair_queue_each(&f.queue, drop, &f);
    close_fixture(&f);
}

/* A client that goes away after each burst and comes back does not get more by it. */
static void test_coming_and_going_does_not_pay(void **state)
{
    (void)state;
    struct fixture f;
    struct fair_share steady = {.lanes = NULL}, sly = {.lanes = NULL};
    struct job one, burst = {.n_rows = 0};
    open_fixture(&f);
    add(&f, &one, &steady, PRIORITY_NORMAL, 100, 1000);
    step(&f, TURN);
    uint64_t sly_done = 0;
    while (f.done < 60000) {
        if (left_of(&burst) == 0) {
            sly_done += burst.evaluations_done;
            add(&f, &burst, &sly, PRIORITY_NORMAL, 1, 100);
        }
        step(&f, TURN);
    }
    assert_true(sly_done <= f.done / 2 + FAIR_CREDIT);
    fair_queue_each(&f.queue, drop, &f);
    close_fixture(&f);
}

/* The higher priority goes first; what is lower gets its eighth all the same. */
static void test_priorities(void **state)
{
    (void)state;
    static struct job high[1000];
    struct fixture f;
    struct fair_share share = {.lanes = NULL};
    struct job normal, low;
    open_fixture(&f);
    add(&f, &low, &share, PRIORITY_LOW, 1, 100);
    add(&f, &normal, &share, PRIORITY_NORMAL, 1, 200);
    for (size_t i = 0; i < 1000; i++) {
        add(&f, &high[i], &share, PRIORITY_HIGH, 1, 20);
    }
    assert_ptr_equal(step(&f, 1), &high[0]);
    assert_true(fair_queue_displaces(&high[1], &normal));
    assert_true(fair_queue_displaces(&normal, &low));
    assert_false(fair_queue_displaces(&low, &normal));
    run_until_done(&f, &low, 1);
    assert_in_range(f.done, 100 * FAIR_PRIORITY_SHARE, 100 * FAIR_PRIORITY_SHARE + 4 * TURN);
    run_until_done(&f, &normal, 1);
    assert_in_range(f.done, 200 * FAIR_PRIORITY_SHARE, 200 * FAIR_PRIORITY_SHARE + 4 * TURN);
    fair_queue_each(&f.queue, drop, &f);
    close_fixture(&f);
}

/* Of one client's own jobs the large one that came first gets its quarter. */
static void test_the_oldest_of_a_client(void **state)
{
    (void)state;
    static struct job small[1000];
    struct fixture f;
    struct fair_share share = {.lanes = NULL};
    struct job large;
    open_fixture(&f);
    add(&f, &large, &share, PRIORITY_NORMAL, 1, 500);
    for (size_t i = 0; i < 1000; i++) {
        add(&f, &small[i], &share, PRIORITY_NORMAL, 1, 20);
    }
    run_until_done(&f, &large, 1);
    assert_in_range(f.done, 500 * FAIR_OLDEST_SHARE - 64 * FAIR_OLDEST_SHARE,
                    500 * FAIR_OLDEST_SHARE + 4 * TURN);
    fair_queue_each(&f.queue, drop, &f);
    close_fixture(&f);
}

/* As many clients as there may be: the heap keeps its order, whoever leaves. */
static void test_many_clients(void **state)
{
    (void)state;
    enum { N = 500 };
    static struct fair_share shares[N];
    static struct job jobs[N];
    struct fixture f;
    memset(shares, 0, sizeof shares);
    open_fixture(&f);
    for (size_t i = 0; i < N; i++) {
        add(&f, &jobs[i], &shares[i], PRIORITY_NORMAL, 1 + (uint32_t)(i * 7919 % 5), 40);
    }
    for (size_t i = 0; i < N; i += 3) {
        drop(&f, &jobs[i]);
        jobs[i].n_rows = 0;
    }
    for (uint64_t round = 1; round <= 40; round++) { /* a step of each before the next of any */
        for (size_t i = 0; i < N - (N + 2) / 3; i++) {
            step(&f, 1);
        }
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(jobs[i].evaluations_done, jobs[i].n_rows ? round : 0);
        }
    }
    close_fixture(&f);
}

/* What is told of the evaluations before a job is what comes true. */
static void test_what_goes_before(void **state)
{
    (void)state;
    struct fixture f;
    struct fair_share a = {.lanes = NULL}, b = {.lanes = NULL}, c = {.lanes = NULL};
    struct job urgent, own, mine, theirs, few, low;
    open_fixture(&f);
    assert_int_equal(fair_clock_ahead_s(&f.clock, &a, PRIORITY_NORMAL, 100), 0);
    add(&f, &urgent, &b, PRIORITY_HIGH, 1, 150);
    add(&f, &own, &a, PRIORITY_NORMAL, 1, 200);
    add(&f, &theirs, &b, PRIORITY_NORMAL, 8, 1000);
    add(&f, &few, &c, PRIORITY_NORMAL, 1, 60);
    add(&f, &low, &c, PRIORITY_LOW, 1, 1000);
    /* 150 of high priority, 200 of its own, as many of one client's as it will have had itself, 60
     * of the other's; and an eighth of all for the low one. */
    uint64_t ahead = (uint64_t)fair_clock_ahead_s(&f.clock, &a, PRIORITY_NORMAL, 300);
    uint64_t without_low = 150 + 200 + (200 + 300) + 60;
    assert_int_equal(ahead, without_low + (without_low + 300) / (FAIR_PRIORITY_SHARE - 1));
    add(&f, &mine, &a, PRIORITY_NORMAL, 1, 300);
    run_until_done(&f, &mine, 1);
    assert_in_range(f.done, ahead + 300 - TURN, ahead + 300 + TURN);
    /* A high one waits for nothing but its own eighths to the others. */
    ahead = (uint64_t)fair_clock_ahead_s(&f.clock, &c, PRIORITY_HIGH, 70);
    assert_int_equal(ahead, 10);
    fair_queue_each(&f.queue, drop, &f);
    close_fixture(&f);
}

static uint64_t before(const struct fixture *f, const struct job *job)
{
    return (uint64_t)fair_clock_before_s(&f->clock, job, job->share, job->priority);
}

/* And what is told of a job that waits, all the while, though others come after it. */
static void test_what_is_before_a_job_that_waits(void **state)
{
    (void)state;
    enum { N = 6 };
    struct fixture f;
    struct fair_share a = {.lanes = NULL}, b = {.lanes = NULL};
    struct job jobs[N], small, large, theirs;
    open_fixture(&f);
    add(&f, &large, &a, PRIORITY_NORMAL, 1, 1000);
    for (uint64_t i = 0; i < N; i++) { /* of one magnitude; each is told those of before */
        add(&f, &jobs[i], &a, PRIORITY_NORMAL, 1, 65 + (uint32_t)i);
        assert_int_equal(before(&f, &jobs[i]), 65 * i + i * (i - 1) / 2);
    }
    assert_int_equal(before(&f, &large), 6 * 65 + 15);
    add(&f, &small, &a, PRIORITY_NORMAL, 1, 10);
    assert_int_equal(before(&f, &jobs[2]), 10 + 65 + 66);
    run_until_done(&f, &small, 1);
    while (jobs[3].state == JOB_QUEUED) {
        uint64_t left = left_of(&jobs[0]) + left_of(&jobs[1]) + left_of(&jobs[2]);
        assert_int_equal(before(&f, &jobs[3]), left);
        step(&f, 1);
    }
    /* One that goes before its turn was before those behind it alone. */
    assert_int_equal(before(&f, &jobs[5]), left_of(&jobs[3]) + left_of(&jobs[4]));
    drop(&f, &jobs[4]);
    assert_int_equal(before(&f, &jobs[5]), left_of(&jobs[3]));
    add(&f, &small, &a, PRIORITY_NORMAL, 1, 64);
    drop(&f, &small);
    assert_int_equal(before(&f, &jobs[5]), left_of(&jobs[3]));
    /* Another client had less, and is served until it had as much as this job's end. */
    add(&f, &theirs, &b, PRIORITY_NORMAL, 10, 1000);
    uint64_t end = a.had[PRIORITY_NORMAL] + left_of(&jobs[3]) + left_of(&jobs[5]);
    assert_int_equal(before(&f, &jobs[5]), left_of(&jobs[3]) + end - b.had[PRIORITY_NORMAL]);
    fair_queue_each(&f.queue, drop, &f);
    close_fixture(&f);
}

/* A job that others wait for as well goes to the share of one of them: what is told of its place
 * there holds, and those that it leaves and finds are told right. */
static void test_a_job_that_moves(void **state)
{
    (void)state;
    struct fixture f;
    struct fair_share a = {.lanes = NULL}, b = {.lanes = NULL}, c = {.lanes = NULL};
    struct job first, job, last, theirs, others;
    open_fixture(&f);
    add(&f, &first, &a, PRIORITY_NORMAL, 1, 100);
    add(&f, &job, &a, PRIORITY_NORMAL, 1, 101);
    add(&f, &last, &a, PRIORITY_NORMAL, 1, 102);
    add(&f, &theirs, &b, PRIORITY_HIGH, 1, 70);
    add(&f, &others, &c, PRIORITY_NORMAL, 1, 90);
    assert_int_equal(before(&f, &last), 70 + 100 + 101 + 90);
    /* Another client that has nothing to do; one in a lower priority has all of these first. */
    struct fair_share idle = {.lanes = NULL};
    assert_int_equal(fair_clock_before_s(&f.clock, &job, &idle, PRIORITY_NORMAL),
                     70 + 101 + 90); /* `a` goes first until it had as much */
    assert_int_equal(fair_clock_before_s(&f.clock, &job, &idle, PRIORITY_LOW), 70 + 202 + 90);
    assert_int_equal(fair_clock_before_s(&f.clock, &job, &b, PRIORITY_HIGH),
                     70 + (70 + 101) / (FAIR_PRIORITY_SHARE - 1));
    assert_int_equal(fair_queue_move(&f.queue, &job, &b, PRIORITY_HIGH), 0);
    assert_ptr_equal(job.share, &b);
    assert_int_equal(before(&f, &job), 70 + (70 + 101) / (FAIR_PRIORITY_SHARE - 1));
    assert_int_equal(f.queue.bands[PRIORITY_NORMAL].left, 100 + 102 + 90);
    assert_int_equal(f.queue.bands[PRIORITY_HIGH].left, 70 + 101);
    drop(&f, &theirs);
    while (job.evaluations_done < 41) {
        step(&f, 1);
    }
    assert_true(left_of(&first) > 80);
    /* It has begun, so it goes before those of its magnitude that have not, wherever it goes. */
    uint64_t had = left_of(&job);
    assert_int_equal(fair_queue_move(&f.queue, &job, &c, PRIORITY_NORMAL), 0);
    assert_int_equal(f.queue.bands[PRIORITY_HIGH].left, 0);
    add(&f, &theirs, &c, PRIORITY_NORMAL, 1, 80);
    drop(&f, &first);
    drop(&f, &last);
    assert_int_equal(before(&f, &theirs), had + left_of(&others));
    run_until_done(&f, &job, 1);
    assert_int_equal(before(&f, &theirs), left_of(&others));
    fair_queue_each(&f.queue, drop, &f);
    close_fixture(&f);
}

/* Clients that come and go, the first and the last of them too, leave the others in place. */
static void test_clients_come_and_go(void **state)
{
    (void)state;
    enum { N = 40 };
    struct fixture f;
    struct fair_share shares[N] = {{.lanes = NULL}};
    struct job jobs[N];
    open_fixture(&f);
    for (uint32_t i = 0; i < N; i++) {
        add(&f, &jobs[i], &shares[i], PRIORITY_NORMAL, 1, 100 + i);
    }
    for (uint32_t gone = 0; gone < N; gone += gone == 0 || gone == 35 ? 4 : 1) {
        drop(&f, &jobs[gone]);
        jobs[gone].evaluations = 0;
        struct fair_share late = {.lanes = NULL};
        const struct job *some = &jobs[37];
        uint64_t all = 0, until_37_has_all = 0;
        for (size_t i = 0; i < N; i++) {
            uint64_t left = left_of(&jobs[i]), most = left_of(some);
            all += left;
            until_37_has_all += i == 37 ? 0 : left < most ? left : most;
        }
        assert_int_equal(fair_clock_ahead_s(&f.clock, &late, PRIORITY_NORMAL, 1000), all);
        if (left_of(some) > 0) {
            assert_int_equal(before(&f, some), until_37_has_all);
        }
    }
    fair_queue_each(&f.queue, drop, &f);
    assert_true(fair_queue_is_empty(&f.queue));
    close_fixture(&f);
}

/* Two models: the order is that of both together. */
static void test_two_models(void **state)
{
    (void)state;
    struct fixture f, g;
    struct fair_share a = {.lanes = NULL}, b = {.lanes = NULL};
    struct job one, two, low;
    open_fixture(&f);
    g = (struct fixture){.now_ns = 1000};
    g.worker.batch = &g.row;
    fair_queue_init(&g.queue, &f.clock);
    g.queue.evaluation_s = 100; /* a slow one */
    add(&f, &one, &a, PRIORITY_NORMAL, 4, 100);
    add(&g, &two, &b, PRIORITY_NORMAL, 4, 100);
    step(&f, 10);
    assert_true(fair_queue_goes_before(&g.queue, &f.queue));
    assert_false(fair_queue_goes_before(&f.queue, &g.queue));
    /* The other client's 10 are done, and it goes on until it had 200 as well. The 400 of its own
     * are more, and wait. */
    assert_int_equal(fair_clock_ahead_s(&f.clock, &b, PRIORITY_NORMAL, 200), 190);
    assert_int_equal(fair_clock_ahead_s(&f.clock, &b, PRIORITY_NORMAL, 500), 390 + 100 * 400);
    assert_int_equal(fair_clock_left_s(&f.clock), 390 + 100 * 400);
    drop(&g, &two);
    add(&g, &low, &a, PRIORITY_LOW, 4, 100);
    assert_false(fair_queue_goes_before(&g.queue, &f.queue));
    while (!fair_queue_goes_before(&g.queue, &f.queue)) { /* it is owed something in the end */
        assert_true(left_of(&one) > 0);
        step(&f, 1);
    }
    fair_queue_each(&g.queue, drop, &g);
    assert_true(fair_queue_is_empty(&g.queue));
    fair_queue_deinit(&g.queue);
    fair_queue_each(&f.queue, drop, &f);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_number_of_requests_does_not_count),
        cmocka_unit_test(test_shares_are_equal),
        cmocka_unit_test(test_nothing_is_saved_up),
        cmocka_unit_test(test_coming_and_going_does_not_pay),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_the_oldest_of_a_client),
        cmocka_unit_test(test_many_clients),
        cmocka_unit_test(test_what_goes_before),
        cmocka_unit_test(test_what_is_before_a_job_that_waits),
        cmocka_unit_test(test_a_job_that_moves),
        cmocka_unit_test(test_clients_come_and_go),
        cmocka_unit_test(test_two_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
