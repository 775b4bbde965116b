/* server/stall: what is a stall, look by look. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/system/stall.h"

/* A machine whose looks are at times of the test's choice. */
struct fixture {
    struct stall stall;
    uint64_t steps, rows;
};

static void look(struct fixture *f, bool is_stalled)
{
    bool was_stalled = f->stall.is_stalled;
    bool changed = stall_look(&f->stall, f->steps, f->rows);
    assert_int_equal(f->stall.is_stalled, is_stalled);
    assert_int_equal(changed, is_stalled != was_stalled);
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    struct fixture f = {.rows = 0};
    for (int i = 0; i < 5; i++) {
        look(&f, false);
    }
}

static void test_rows_that_have_just_come(void **state)
{
    (void)state;
    struct fixture f = {.rows = 0};
    look(&f, false);
    f.rows = 4; /* after this look, and not stepped at the next one */
    look(&f, false);
    f.steps = 1;
    look(&f, false);
    /* The same after work that ended and an idle time. */
    f.rows = 0;
    f.steps = 20;
    look(&f, false);
    look(&f, false);
    f.rows = 1;
    look(&f, false);
    f.rows = 0; /* gone without a step: canceled */
    look(&f, false);
    f.rows = 1;
    look(&f, false);
    f.steps++;
    look(&f, false);
}

static void test_a_stall_and_its_end(void **state)
{
    (void)state;
    struct fixture f = {.rows = 2, .steps = 7};
    look(&f, false);
    look(&f, true);
    f.rows = 5; /* more come: it still hangs */
    look(&f, true);
    f.steps++;
    look(&f, false);
    look(&f, true);
    f.rows = 0; /* its clients have left, and there is nothing that could advance */
    look(&f, false);
    f.rows = 1;
    look(&f, false);
    look(&f, true);
}

/* The first look of all, at rows that a daemon has from its start on. */
static void test_the_first_look(void **state)
{
    (void)state;
    struct fixture f = {.rows = 1};
    look(&f, false);
    look(&f, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_rows_that_have_just_come),
        cmocka_unit_test(test_a_stall_and_its_end),
        cmocka_unit_test(test_the_first_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
