/* server/system/processors: quotas of control groups, in trees of files that are made like /proc
 * and /sys.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/system/processors.h"

#define MOUNT_V2 "29 23 0:26 %s /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define MOUNT_V1                                                                                   \
    "30 23 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"                            \
    "31 23 0:28 %s /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"

struct tree {
    char root[64];
};

static int make_tree(void **state)
{
    struct tree *t = calloc(1, sizeof *t);
    assert_non_null(t);
    strcpy(t->root, "/tmp/denoised-processors-XXXXXX");
    assert_non_null(mkdtemp(t->root));
    *state = t;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int remove_tree(void **state)
{
    struct tree *t = *state;
    int rc = nftw(t->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(t);
    return rc;
}

/* Write the tree's file `path`, in folders that are made for it. */
__attribute__((format(printf, 3, 4))) static void put(const struct tree *t, const char *path,
                                                      const char *format, ...)
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s%s", t->root, path);
    for (char *slash = name + strlen(t->root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(name, 0700);
        *slash = '/';
    }
    FILE *file = fopen(name, "we");
    assert_non_null(file);
    va_list arguments;
    va_start(arguments, format);
    assert_true(vfprintf(file, format, arguments) >= 0);
    va_end(arguments);
    assert_int_equal(fclose(file), 0);
}

static void test_nothing_to_read(void **state)
{
    struct tree *t = *state;
    assert_float_equal(processors_quota(t->root), 0, 0);
    put(t, "/proc/self/cgroup", "%s", "nonsense\n0:\n::\n0::/a\n");
    put(t, "/proc/self/mountinfo", "%s", "nonsense\n1 2 3 - cgroup2\n1 - cgroup2 x y\n - \n");
    assert_float_equal(processors_quota(t->root), 0, 0);
}

/* A container with a namespace of its own: its group is "/" and the limit lies at the mount's top.
 */
static void test_v2_container(void **state)
{
    struct tree *t = *state;
    put(t, "/proc/self/cgroup", "0::/\n");
    put(t, "/proc/self/mountinfo", MOUNT_V2, "/");
    assert_float_equal(processors_quota(t->root), 0, 0);
    const struct {
        const char *text;
        double quota;
    } cases[] = {{"max 100000\n", 0},
                 {"150000 100000\n", 1.5},
                 {"50000 100000\n", 0.5},
                 {"400000 100000", 4},
                 {"", 0},
                 {"100000", 0},
                 {"100000 0\n", 0},
                 {"-5 100000\n", 0},
                 {"1e5x 100000\n", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put(t, "/sys/fs/cgroup/cpu.max", "%s", cases[i].text);
        assert_float_equal(processors_quota(t->root), cases[i].quota, 1e-9);
    }
}

/* A unit in a slice: the least of all groups on the way up counts. */
static void test_v2_nested(void **state)
{
    struct tree *t = *state;
    put(t, "/proc/self/cgroup", "0::/system.slice/a b.service\n");
    put(t, "/proc/self/mountinfo", MOUNT_V2, "/");
    put(t, "/sys/fs/cgroup/system.slice/a b.service/cpu.max", "300000 100000\n");
    assert_float_equal(processors_quota(t->root), 3, 1e-9);
    put(t, "/sys/fs/cgroup/system.slice/cpu.max", "200000 100000\n");
    assert_float_equal(processors_quota(t->root), 2, 1e-9);
    put(t, "/sys/fs/cgroup/system.slice/a b.service/cpu.max", "max 100000\n");
    assert_float_equal(processors_quota(t->root), 2, 1e-9);
    put(t, "/sys/fs/cgroup/system.slice/c.service/cpu.max", "10000 100000\n");
    assert_float_equal(processors_quota(t->root), 2, 1e-9);
}

/* A container without a namespace is told the whole name of what the mount shows as its top. */
static void test_shown_group(void **state)
{
    struct tree *t = *state;
    put(t, "/proc/self/mountinfo", MOUNT_V2, "/pods/pod\\0401");
    put(t, "/proc/self/cgroup", "0::/pods/pod 1/inner\n");
    put(t, "/sys/fs/cgroup/inner/cpu.max", "250000 100000\n");
    assert_float_equal(processors_quota(t->root), 2.5, 1e-9);
    put(t, "/sys/fs/cgroup/cpu.max", "100000 100000\n");
    assert_float_equal(processors_quota(t->root), 1, 1e-9);
    /* Another group of which the name begins alike, and one outside of the namespace. */
    put(t, "/proc/self/cgroup", "0::/pods/pod 12/inner\n");
    assert_float_equal(processors_quota(t->root), 1, 1e-9);
    put(t, "/proc/self/cgroup", "0::/../other\n");
    assert_float_equal(processors_quota(t->root), 1, 1e-9);
}

static void test_v1(void **state)
{
    struct tree *t = *state;
    put(t, "/proc/self/cgroup", "4:cpuset:/wrong\n3:cpu,cpuacct:/docker/1\n0::/\n");
    put(t, "/proc/self/mountinfo", MOUNT_V1, "/");
    const char *quota = "/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us";
    put(t, "/sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us", "50000\n");
    put(t, quota, "-1\n");
    assert_float_equal(processors_quota(t->root), 0, 0);
    put(t, quota, "75000\n");
    assert_float_equal(processors_quota(t->root), 1.5, 1e-9);
    /* Both versions at once, as systemd's hybrid mode has them. */
    put(t, "/proc/self/mountinfo", MOUNT_V1 MOUNT_V2, "/", "/");
    put(t, "/sys/fs/cgroup/cpu.max", "100000 100000\n");
    assert_float_equal(processors_quota(t->root), 1, 1e-9);
}

static void test_usable(void **state)
{
    (void)state;
    const struct {
        int allowed;
        double quota;
        int usable;
    } cases[] = {{8, 0, 8},   {8, 8, 8},    {8, 100, 8},    {8, 0.1, 1}, {8, 1, 1},
                 {8, 1.5, 2}, {8, 1.01, 1}, {8, 2.0001, 2}, {1, 1.5, 1}, {8, 7.9, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(processors_usable(cases[i].allowed, cases[i].quota), cases[i].usable);
    }
}

static void test_this_process(void **state)
{
    (void)state;
    cpu_set_t before, one;
    struct processors p;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    size_t first = 0;
    while (!CPU_ISSET(first, &before)) {
        first++;
    }
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    processors_read(&p);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(p.allowed, 1);
    assert_int_equal(p.usable, 1);
    processors_read(&p);
    assert_int_equal(p.allowed, CPU_COUNT(&before));
    assert_int_equal(p.usable, processors_usable(p.allowed, p.quota));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_to_read, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_v2_container, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_v2_nested, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_shown_group, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_v1, make_tree, remove_tree),
        cmocka_unit_test(test_usable),
        cmocka_unit_test(test_this_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
