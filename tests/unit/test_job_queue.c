/* server/scheduling/job_queue: the order in which jobs take their steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/scheduling/job_queue.h"

static struct job make_job(uint32_t n_rows, uint32_t steps, uint32_t evaluations)
{
    return (struct job){
        .n_rows = n_rows, .steps = steps, .evaluations = (uint64_t)n_rows * steps * evaluations};
}

static void test_classes(void **state)
{
    (void)state;
    const struct {
        uint32_t n_rows, steps, evaluations;
        uint64_t steps_done;
        int class;
    } cases[] = {{1, 1, 1, 0, 0},     {1, 1, 2, 0, 1},           {1, 3, 1, 0, 1},
                 {1, 4, 1, 0, 2},     {1, 20, 2, 0, 5},          {1, 20, 2, 19, 1},
                 {256, 20, 2, 0, 13}, {1, 1000, 2, 1000 - 1, 1}, {1000000, 100000, 2, 0, 37}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct job job = make_job(cases[i].n_rows, cases[i].steps, cases[i].evaluations);
        job.evaluations_done = cases[i].steps_done * cases[i].evaluations;
        assert_int_equal(job_class(&job), cases[i].class);
    }
}

static void test_least_left_goes_first(void **state)
{
    (void)state;
    struct job_queue q = {.classes = 0};
    struct job large = make_job(1, 1000, 2), small = make_job(1, 10, 2),
               many = make_job(256, 20, 2);
    assert_null(job_queue_first(&q));
    assert_null(job_queue_oldest(&q));
    struct job *jobs[] = {&large, &many, &small};
    for (size_t i = 0; i < 3; i++) {
        job_queue_enter(&q, jobs[i]);
        job_queue_put(&q, jobs[i]);
    }
    assert_ptr_equal(job_queue_first(&q), &small);
    assert_ptr_equal(job_queue_oldest(&q), &large);
    job_queue_take(&q, &small);
    assert_ptr_equal(job_queue_first(&q), &large);
    job_queue_take(&q, &small); /* nothing happens */
    job_queue_take(&q, &large);
    assert_ptr_equal(job_queue_first(&q), &many);
    assert_ptr_equal(job_queue_oldest(&q), &many); /* the older ones do not wait */
    job_queue_leave(&q, &large);
    job_queue_take(&q, &many);
    assert_null(job_queue_first(&q));
    job_queue_leave(&q, &many);
    job_queue_leave(&q, &small);
    assert_null(q.oldest);
    assert_null(q.newest);
}

static void test_within_a_class(void **state)
{
    (void)state;
    struct job_queue q = {.classes = 0};
    struct job jobs[4];
    for (size_t i = 0; i < 4; i++) {
        jobs[i] = make_job(1, 20, 1);
        job_queue_enter(&q, &jobs[i]);
        job_queue_put(&q, &jobs[i]);
    }
    job_queue_take(&q, &jobs[0]);
    jobs[0].state = JOB_RUNNING;
    job_queue_put(&q, &jobs[0]); /* has begun, and stays ahead of those that have not */
    for (size_t i = 0; i < 4; i++) {
        assert_ptr_equal(job_queue_first(&q), &jobs[i]);
        job_queue_take(&q, &jobs[i]);
    }
}

static void test_a_job_changes_its_class(void **state)
{
    (void)state;
    struct job_queue q = {.classes = 0};
    struct job one = make_job(8, 20, 1), other = make_job(1, 40, 1);
    struct job *jobs[] = {&one, &other};
    for (size_t i = 0; i < 2; i++) {
        job_queue_enter(&q, jobs[i]);
        job_queue_put(&q, jobs[i]);
    }
    assert_ptr_equal(job_queue_first(&q), &other);
    one.evaluations_done = 150; /* 10 are left, and other rows of it wait */
    job_queue_put(&q, &one);
    assert_ptr_equal(job_queue_first(&q), &one);
    job_queue_take(&q, &one);
    job_queue_take(&q, &other);
    assert_int_equal(q.classes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_least_left_goes_first),
        cmocka_unit_test(test_within_a_class),
        cmocka_unit_test(test_a_job_changes_its_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
