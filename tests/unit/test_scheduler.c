/* server/scheduling/scheduler on a loop of its own, with the shipped model: several steps at a
 * time, coming back when asked, sharing. No test depends on how fast a step is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/room.h"
#include "server/scheduling/scheduler.h"

#define MODEL "models/mnist.safetensors"
#define HOLD_S 0.02 /* the scheduler's HOLD_NS */

/* One scheduler; uv_run() returns when nothing is at work any more. */
struct fixture {
    uv_loop_t loop;
    struct options options;
    struct served_model *model;
    struct metrics metrics;
    struct scheduler *scheduler;
    bool is_ready;
};

struct test_job {
    struct job job; /* first: the scheduler hands back a struct job * */
    struct fixture *fixture;
    struct dn_row_params params;
    uint32_t n_encoded, n_stepped, n_done;
    bool is_finished;
    void (*on_done)(struct test_job *job);
    void *context;
};

static uv_rwlock_t gate; /* who has it for writing keeps workers from beginning rows */

static struct dn_row_params test_row_params(const struct job *job, size_t i)
{
    uv_rwlock_rdlock(&gate);
    uv_rwlock_rdunlock(&gate);
    struct dn_row_params params = ((const struct test_job *)job)->params;
    params.index = (uint32_t)i;
    return params;
}

static int test_encode(struct job *job, size_t i, const struct dn_row *row)
{
    (void)i;
    assert_true(dn_row_done(row));
    __atomic_add_fetch(&((struct test_job *)job)->n_encoded, 1, __ATOMIC_RELAXED);
    return 0;
}

static int test_finish(struct job *job)
{
    ((struct test_job *)job)->is_finished = true;
    return 0;
}

static void test_stepped(struct job *job, size_t i, const struct dn_row *row)
{
    struct test_job *t = (struct test_job *)job;
    (void)i;
    t->n_stepped++;
    if (row) {
        assert_int_equal(dn_row_steps_done(row), t->n_stepped);
    } else {
        assert_int_equal(t->n_stepped, job->steps);
        assert_int_equal(t->n_encoded, 1);
    }
}

static void test_done(struct job *job)
{
    struct test_job *t = (struct test_job *)job;
    t->n_done++;
    if (t->on_done) {
        t->on_done(t);
    }
}

static const struct job_ops ops = {
    .row_params = test_row_params, .encode = test_encode, .finish = test_finish, .done = test_done};
static const struct job_ops followed_ops = {.row_params = test_row_params,
                                            .encode = test_encode,
                                            .finish = test_finish,
                                            .stepped = test_stepped,
                                            .done = test_done};

static void on_ready(void *arg, int rc)
{
    assert_int_equal(rc, 0);
    ((struct fixture *)arg)->is_ready = true;
}

static void open_fixture(struct fixture *f, uint32_t n_workers, int max_batch)
{
    struct dn_error err;
    *f = (struct fixture){.options = {.max_batch = max_batch, .max_queue_rows = 4096}};
    assert_int_equal(uv_loop_init(&f->loop), 0);
    metrics_init(&f->metrics);
    assert_int_equal(served_model_open(&f->model, MODEL, &f->options, n_workers, &err), 0);
    assert_int_equal(scheduler_open(&f->scheduler, &f->options, n_workers, &f->metrics), 0);
    scheduler_add_model(f->scheduler, f->model);
    scheduler_warm(f->scheduler, &f->loop, on_ready, f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->is_ready);
    assert_in_range(f->model->batch_limit, 2, (uint32_t)max_batch);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    uv_close(handle, NULL);
}

static void close_fixture(struct fixture *f)
{
    assert_true(scheduler_is_idle(f->scheduler));
    assert_int_equal(f->metrics.queue_rows, 0);
    assert_int_equal(f->metrics.queue_evaluations, 0);
    assert_int_equal(f->model->queue.waiting_evaluations, 0);
    assert_int_equal(f->model->queue.running_evaluations, 0);
    uv_walk(&f->loop, close_handle, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    scheduler_close(f->scheduler);
    served_model_free(f->model);
}

static void prepare(struct fixture *f, struct test_job *t, const struct job_ops *job_ops,
                    uint32_t n_rows, uint32_t steps, double guidance_scale,
                    struct dn_interval interval)
{
    const struct dn_model *model = f->model->model;
    t->fixture = f;
    t->params = (struct dn_row_params){.seed = 1,
                                       .steps = steps,
                                       .sampler = DN_SAMPLER_DDIM,
                                       .guidance_scale = guidance_scale,
                                       .guidance_interval = interval};
    t->job =
        (struct job){.ops = job_ops,
                     .model = f->model,
                     .n_rows = n_rows,
                     .steps = steps,
                     .first_evaluations = dn_model_step_evaluations(model, &t->params, 0),
                     .evaluations = (uint64_t)n_rows * dn_model_row_evaluations(model, &t->params)};
}

static void submit_within(struct fixture *f, struct test_job *t, const struct job_ops *job_ops,
                          uint32_t n_rows, uint32_t steps, double guidance_scale,
                          struct dn_interval interval)
{
    prepare(f, t, job_ops, n_rows, steps, guidance_scale, interval);
    assert_int_equal(scheduler_submit(f->scheduler, &t->job), SCHEDULER_ADMITTED);
}

/* Half of what the others leave, whatever the order; the first may have all. */
static void test_room_for_part(void **state)
{
    (void)state;
    assert_true(room_for_part(64, 0, 0, 64));
    assert_false(room_for_part(64, 0, 0, 65));
    assert_false(room_for_part(64, 60, 0, 5));
    assert_true(room_for_part(64, 60, 0, 4));
    assert_true(room_for_part(64, 31, 31, 1));
    assert_false(room_for_part(64, 32, 32, 1));
    assert_true(room_for_part(64, 32 + 15, 15, 1));
    assert_false(room_for_part(64, 32 + 16, 16, 1));
    assert_false(room_for_part(64, 64, 64, 1));
    assert_true(room_for_part(UINT64_MAX, 1, 1, UINT64_MAX / 4));
    assert_false(room_for_part(10, 11, 0, 1));
}

static void submit(struct fixture *f, struct test_job *t, const struct job_ops *job_ops,
                   uint32_t n_rows, uint32_t steps, double guidance_scale)
{
    submit_within(f, t, job_ops, n_rows, steps, guidance_scale, (struct dn_interval){0, 1});
}

static void check_succeeded(const struct test_job *t)
{
    assert_int_equal(t->n_done, 1);
    assert_int_equal(t->job.state, JOB_SUCCEEDED);
    assert_int_equal(t->n_encoded, t->job.n_rows);
    assert_true(t->is_finished);
    assert_int_equal(t->job.steps_done, (uint64_t)t->job.n_rows * t->job.steps);
}

/* After uv_rwlock_wrlock(&gate), so that a test can do several things "at once". */
static void gate_open_and_run(struct fixture *f)
{
    uv_rwlock_wrunlock(&gate);
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

static uint64_t count_of(const struct histogram *h)
{
    uint64_t total = 0;
    for (size_t i = 0; i <= h->n_bounds; i++) {
        total += h->counts[i];
    }
    return total;
}

static void test_a_batch_is_kept_for_several_steps(void **state)
{
    (void)state;
    struct fixture f;
    struct test_job t = {.n_done = 0};
    open_fixture(&f, 1, 4);
    submit(&f, &t, &ops, 1, 30, 1.5);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    check_succeeded(&t);
    assert_int_equal(f.metrics.steps, 30);
    assert_int_equal(f.metrics.evaluations, 60);
    assert_int_equal(count_of(&f.metrics.step_seconds), 30);
    assert_int_equal(count_of(&f.metrics.batch_rows), 30);
    assert_float_equal(f.metrics.batch_rows.sum, 30, 0);
    assert_float_equal(f.metrics.batch_evaluations.sum, 60, 0);
    assert_in_range(f.metrics.step_items, 1, 30);
    if (f.metrics.step_seconds.sum <
        30 * HOLD_S / 2) { /* else each step is as long as a batch is kept */
        assert_in_range(f.metrics.step_items, 1, 29);
    }
    close_fixture(&f);
}

static void test_a_followed_row_comes_back_after_each_step(void **state)
{
    (void)state;
    struct fixture f;
    struct test_job t = {.n_done = 0};
    open_fixture(&f, 1, 2);
    submit(&f, &t, &followed_ops, 1, 12, 1);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    check_succeeded(&t);
    assert_int_equal(t.n_stepped, 12);
    assert_int_equal(f.metrics.step_items, 12);
    close_fixture(&f);
}

static void test_a_canceled_batch_comes_back_after_its_step(void **state)
{
    (void)state;
    struct fixture f;
    struct test_job t = {.n_done = 0};
    open_fixture(&f, 1, 2);
    uv_rwlock_wrlock(&gate);
    submit(&f, &t, &ops, 3, 1000, 1);
    scheduler_cancel(f.scheduler, &t.job, REASON_DISCONNECT);
    assert_int_equal(t.n_done, 0); /* a worker has its rows */
    gate_open_and_run(&f);
    assert_int_equal(t.n_done, 1);
    assert_int_equal(t.job.state, JOB_CANCELED);
    assert_int_equal(t.n_encoded, 0);
    assert_int_equal(f.metrics.step_items, 1);
    assert_int_equal(count_of(&f.metrics.step_seconds), 1);
    assert_int_equal(f.metrics.wasted_steps[REASON_DISCONNECT], 2); /* of two rows */
    close_fixture(&f);
}

/* What the large job had got when the small one was done. */
static void note_steps_of_other(struct test_job *t)
{
    struct test_job *other = t->context;
    assert_int_equal(other->n_done, 0);
    other->n_stepped = (uint32_t)other->job.steps_done;
}

/* A batch of one row takes a second one in; a full one gives a place up; and both come back to let
 * a far smaller job pass alone. The first job is at no time far smaller than the second, so that it
 * makes no difference how often a slow batch comes back in between. */
static void test_a_small_job_joins_at_the_next_step(void **state)
{
    (void)state;
    const struct {
        uint32_t n_rows, steps, steps_beside;
    } cases[] = {{1, 8, 1 + 3}, {6, 2, 2 + 2}, {1, 40, 1}, {6, 40, 2}};
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        struct test_job large = {.n_done = 0};
        struct test_job small = {.on_done = note_steps_of_other, .context = &large};
        open_fixture(&f, 1, 2);
        uv_rwlock_wrlock(&gate);
        submit(&f, &large, &ops, cases[i].n_rows, cases[i].steps, 1);
        submit(&f, &small, &ops, 1, 3, 1);
        gate_open_and_run(&f);
        check_succeeded(&large);
        check_succeeded(&small);
        assert_int_equal(large.n_stepped, cases[i].steps_beside);
        close_fixture(&f);
    }
}

/* Three guided rows for two workers: one takes two, and shares them when the other is done. */
static void test_rows_are_spread_and_shared(void **state)
{
    (void)state;
    struct fixture f;
    struct test_job t = {.n_done = 0};
    open_fixture(&f, 2, 8);
    submit(&f, &t, &ops, 3, 20, 1.5);
    assert_int_equal(f.metrics.workers_busy, 2);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    check_succeeded(&t);
    assert_int_equal(f.metrics.evaluations, 3 * 20 * 2);
    close_fixture(&f);
}

/* Rows whose steps cost one evaluation, then two, then one: as many go together as there is room
 * for, whatever stage the others are at, and a batch never outgrows its workspace. */
static void test_rows_become_guided(void **state)
{
    (void)state;
    for (uint32_t n_workers = 1; n_workers <= 2; n_workers++) {
        struct fixture f;
        struct test_job jobs[3] = {{.n_done = 0}};
        open_fixture(&f, n_workers, 3);
        submit_within(&f, &jobs[0], &ops, 5, 10, 2, (struct dn_interval){0.3, 0.7});
        submit_within(&f, &jobs[1], &ops, 3, 7, 2, (struct dn_interval){0, 0.5});
        submit_within(&f, &jobs[2], &followed_ops, 1, 8, 2, (struct dn_interval){0.5, 1});
        uv_run(&f.loop, UV_RUN_DEFAULT);
        uint64_t evaluations = 0;
        for (int i = 0; i < 3; i++) {
            check_succeeded(&jobs[i]);
            assert_int_equal(jobs[i].job.evaluations_done, jobs[i].job.evaluations);
            evaluations += jobs[i].job.evaluations;
        }
        assert_int_equal(evaluations, 5 * (10 + 4) + 3 * (7 + 4) + 1 * (8 + 4));
        assert_int_equal(f.metrics.evaluations, evaluations);
        close_fixture(&f);
    }
}

/* Batches that come back soon have more rows than pay for the network alone. */
static void test_a_brief_batch_is_larger(void **state)
{
    (void)state;
    const struct {
        double evaluation_s;
        uint32_t steps, items;
    } cases[] = {{1e-9, 1, 1}, {5e-4, 1, 2}, {5e-4, 2, 4}, {1, 1, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct test_job t = {.n_done = 0};
        open_fixture(&f, 1, 8);
        f.model->batch_limit = 2;
        f.model->evaluation_s = cases[i].evaluation_s;
        submit(&f, &t, &ops, 8, cases[i].steps, 1);
        uv_run(&f.loop, UV_RUN_DEFAULT);
        check_succeeded(&t);
        /* A batch of several steps may come back in between on a slow machine. */
        uint64_t most = (uint64_t)cases[i].items * cases[i].steps;
        assert_in_range(f.metrics.step_items, cases[i].items, most);
        assert_int_equal(f.metrics.evaluations, 8 * cases[i].steps);
        assert_int_equal(count_of(&f.metrics.batch_evaluations), most);
        close_fixture(&f);
    }
}

/* Canceled with a row at work, one that waits for a dearer step, and some that have not begun. */
static void test_a_partly_guided_job_is_canceled(void **state)
{
    (void)state;
    struct fixture f;
    struct test_job t = {.n_done = 0};
    open_fixture(&f, 1, 2);
    submit_within(&f, &t, &ops, 6, 1000, 2, (struct dn_interval){0.001, 0.9});
    while (t.job.evaluations_done < 2 + 2) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    assert_int_equal(t.job.n_busy, 1);
    assert_int_equal(t.job.n_started, 1);
    assert_int_equal(t.job.next_row, 2);
    scheduler_cancel(f.scheduler, &t.job, REASON_DISCONNECT);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    assert_int_equal(t.job.state, JOB_CANCELED);
    assert_in_range(t.job.evaluations_done, 4, t.job.evaluations - 1);
    close_fixture(&f);
}

/* Another model's steps say nothing of this one's. */
static void test_each_model_has_its_own_estimate(void **state)
{
    (void)state;
    struct fixture f;
    struct dn_error err;
    struct served_model *slow;
    struct test_job t = {.n_done = 0}, u = {.n_done = 0};
    open_fixture(&f, 1, 4);
    f.model->queue.jobs.evaluation_s = 1;
    assert_int_equal(served_model_open(&slow, MODEL, &f.options, 1, &err), 0);
    slow->evaluation_s = 1000;
    scheduler_add_model(f.scheduler, slow);
    submit(&f, &t, &ops, 1, 5, 1);
    assert_int_equal(scheduler_eta_s(f.scheduler), 5);
    struct served_model *fast = f.model;
    f.model = slow;
    submit(&f, &u, &ops, 1, 7, 1);
    f.model = fast;
    assert_int_equal(scheduler_eta_s(f.scheduler), 5 + 7000);
    scheduler_cancel(f.scheduler, &u.job, REASON_DISCONNECT);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    check_succeeded(&t);
    assert_true(f.model->queue.jobs.evaluation_s < 1); /* it follows */
    assert_float_equal(slow->queue.jobs.evaluation_s, 1000, 0);
    close_fixture(&f);
    served_model_free(slow);
}

#define CROWD 6

struct crowd {
    struct test_job jobs[CROWD];
    const struct test_job *large;
    uint64_t n_done;
};

/* A small job that is done is followed by another, as long as the large one is not (or it starves).
 */
static void submit_again(struct test_job *t)
{
    struct crowd *crowd = t->context;
    crowd->n_done++;
    if (crowd->large->n_done == 0 && crowd->n_done < 1000) {
        *t = (struct test_job){.on_done = submit_again, .context = crowd};
        submit(crowd->large->fixture, t, &ops, 1, 2, 1);
    }
}

static void test_small_jobs_do_not_starve_a_large_one(void **state)
{
    (void)state;
    struct fixture f;
    struct test_job large = {.n_done = 0};
    struct crowd crowd = {.large = &large};
    open_fixture(&f, 1, 2);
    uv_rwlock_wrlock(&gate);
    submit(&f, &large, &ops, 1, 16, 1);
    for (size_t i = 0; i < CROWD; i++) {
        crowd.jobs[i] = (struct test_job){.on_done = submit_again, .context = &crowd};
        submit(&f, &crowd.jobs[i], &ops, 1, 2, 1);
    }
    gate_open_and_run(&f);
    check_succeeded(&large);
    assert_true(crowd.n_done > CROWD); /* there was a stream of them */
    /* It got its share, a quarter; all but the crowd's last jobs ran beside it. */
    assert_true(f.metrics.evaluations <= 16 * 4 + 16 + 2 * (2 * CROWD));
    close_fixture(&f);
}

/* Of two clients who take all they can: what one was promised is counted until it is drawn or
 * canceled. */
static void test_parts_of_the_queue(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, 1, 8);
    struct fair_share ada = {.n_rows = 0};
    struct test_job jobs[3];
    for (int i = 0; i < 3; i++) {
        jobs[i] = (struct test_job){.fixture = NULL};
        prepare(&f, &jobs[i], &ops, 1500, 2, 1, (struct dn_interval){0, 1});
        jobs[i].job.share = i < 2 ? &ada : NULL;
    }
    assert_int_equal(scheduler_submit(f.scheduler, &jobs[0].job), SCHEDULER_ADMITTED);
    assert_int_equal(scheduler_submit(f.scheduler, &jobs[1].job), SCHEDULER_OVER_PART);
    assert_int_equal(scheduler_submit(f.scheduler, &jobs[2].job), SCHEDULER_ADMITTED);
    jobs[1].job.share = NULL;
    assert_int_equal(scheduler_submit(f.scheduler, &jobs[1].job), SCHEDULER_FULL);
    assert_int_equal(ada.n_rows, 1500);
    scheduler_cancel_all(f.scheduler, REASON_CANCEL);
    assert_int_equal(ada.n_rows, 0);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_room_for_part),
        cmocka_unit_test(test_parts_of_the_queue),
        cmocka_unit_test(test_a_batch_is_kept_for_several_steps),
        cmocka_unit_test(test_a_followed_row_comes_back_after_each_step),
        cmocka_unit_test(test_a_canceled_batch_comes_back_after_its_step),
        cmocka_unit_test(test_a_small_job_joins_at_the_next_step),
        cmocka_unit_test(test_rows_are_spread_and_shared),
        cmocka_unit_test(test_rows_become_guided),
        cmocka_unit_test(test_a_partly_guided_job_is_canceled),
        cmocka_unit_test(test_a_brief_batch_is_larger),
        cmocka_unit_test(test_each_model_has_its_own_estimate),
        cmocka_unit_test(test_small_jobs_do_not_starve_a_large_one),
    };
    if (uv_rwlock_init(&gate) != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
