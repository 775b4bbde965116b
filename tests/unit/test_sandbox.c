/* The seccomp filter: what a daemon needs goes through, what an intruder would want does not. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "server/system/sandbox.h"

#define BUILT_WITHOUT 100 /* the child's exit status */

static void *answer(void *arg)
{
    return arg;
}

/* 0 for as it should be, else what was not. Runs in a child: there is no way out of the filter. */
static int check_allowed(void)
{
    pthread_t thread;
    void *result = NULL;
    if (pthread_create(&thread, NULL, answer, &result) != 0 || pthread_join(thread, &result) != 0 ||
        result != &result)
        return 1;
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    char byte;
    if (fd < 0 || read(fd, &byte, 1) != 1 || close(fd) != 0)
        return 2;
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file || fgetc(file) == EOF || fclose(file) != 0)
        return 3;
    void *big = malloc((size_t)64 << 20);
    if (!big)
        return 4;
    free(big);
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) != 0)
        return 5;
    return raise(0) == 0 ? 0 : 6; /* as abort() does */
}

static int refused(long rc)
{
    return rc == -1 && errno == EPERM;
}

/* A pointer whose lower half is that of NULL. */
static int can_set_a_limit(void)
{
    struct rlimit *limit =
        mmap((void *)(uintptr_t)(UINT64_C(7) << 32), 4096, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (limit == MAP_FAILED || getrlimit(RLIMIT_CORE, limit) != 0)
        return 1;
    return !refused(syscall(SYS_prlimit64, 0, RLIMIT_CORE, limit, NULL));
}

static int check_forbidden(void)
{
    char *const arguments[] = {(char[]){"true"}, NULL};
    const struct sockaddr somewhere = {.sa_family = AF_INET};
    if (!refused(execve("/bin/true", arguments, arguments)))
        return 10;
    if (!refused(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)))
        return 11;
    if (!refused(open("/dev/null", O_WRONLY | O_CLOEXEC)) ||
        !refused(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) ||
        !refused(open("/dev/null", O_RDONLY | O_CREAT | O_CLOEXEC, 0600)))
        return 12;
    if (!refused(socket(AF_INET, SOCK_STREAM, 0)) || !refused(socket(AF_UNIX, SOCK_STREAM, 0)) ||
        !refused(connect(0, &somewhere, sizeof somewhere)))
        return 13;
    if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ||
        errno != EPERM)
        return 14;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || !refused(mprotect(page, 4096, PROT_READ | PROT_EXEC)))
        return 15;
    if (!refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL)) || !refused(kill(getppid(), 0)) ||
        !refused(syscall(SYS_tgkill, getpid() + 1, getpid() + 1, 0)))
        return 16;
    if (syscall(SYS_clone3, NULL, 0) != -1 || errno != ENOSYS)
        return 17;
    if (syscall(100000) != -1 || errno != ENOSYS) /* of some later kernel */
        return 18;
    if (can_set_a_limit())
        return 19;
    return 0;
}

static int run_in_child(bool may_unlink, int (*check)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int rc = sandbox_enter(may_unlink, false);
        _exit(rc == -ENOSYS ? BUILT_WITHOUT : rc != 0 ? 101 : check());
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == BUILT_WITHOUT)
        skip();
    return WEXITSTATUS(status);
}

static void test_what_is_needed_goes_through(void **state)
{
    (void)state;
    assert_int_equal(run_in_child(false, check_allowed), 0);
}

static void test_the_rest_does_not(void **state)
{
    (void)state;
    assert_int_equal(run_in_child(false, check_forbidden), 0);
    assert_int_equal(run_in_child(true, check_forbidden), 0);
}

static int check_no_unlink(void)
{
    return refused(unlink("/nonexistent/socket")) ? 0 : 20;
}

static int check_unlink(void)
{
    return unlink("/nonexistent/socket") == -1 && errno == ENOENT ? 0 : 21;
}

static void test_files_are_removed_only_for_a_unix_socket(void **state)
{
    (void)state;
    assert_int_equal(run_in_child(false, check_no_unlink), 0);
    assert_int_equal(run_in_child(true, check_unlink), 0);
}

static void test_a_call_can_end_the_process(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int rc = sandbox_enter(false, true);
        if (rc == 0)
            socket(AF_INET, SOCK_STREAM, 0);
        _exit(rc == -ENOSYS ? BUILT_WITHOUT : 22);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == BUILT_WITHOUT)
        skip();
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* What libuv does for a loop: where it gets no ring it must go on, and work under the filter. */
static void on_timer(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static int run_a_loop(void)
{
    uv_loop_t loop;
    uv_timer_t timer;
    uv_async_t async;
    bool fired = false;
    if (sandbox_refuse_rings() != 0 || syscall(SYS_io_uring_setup, 1, NULL) != -1 ||
        errno != ENOSYS)
        return 30;
    if (uv_loop_init(&loop) != 0 || sandbox_enter(false, true) != 0)
        return 31;
    uv_timer_init(&loop, &timer);
    timer.data = &fired;
    uv_async_init(&loop, &async, NULL); /* a descriptor for the loop to watch */
    uv_unref((uv_handle_t *)&async);
    uv_timer_start(&timer, on_timer, 1, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    return fired ? 0 : 32;
}

static void test_a_loop_runs_without_rings(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(sandbox_refuse_rings() == -ENOSYS ? BUILT_WITHOUT : run_a_loop());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == BUILT_WITHOUT)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_needed_goes_through),
        cmocka_unit_test(test_the_rest_does_not),
        cmocka_unit_test(test_files_are_removed_only_for_a_unix_socket),
        cmocka_unit_test(test_a_call_can_end_the_process),
        cmocka_unit_test(test_a_loop_runs_without_rings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
