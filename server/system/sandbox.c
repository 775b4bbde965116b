#include "server/system/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* Sanitizers trace their own process, map shadow memory and write reports where they like. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef ARCH
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef ARCH
#endif
#endif

#ifndef ARCH

int sandbox_refuse_rings(void)
{
    return -ENOSYS;
}

int sandbox_enter(bool may_unlink, bool may_kill)
{
    (void)may_unlink;
    (void)may_kill;
    return -ENOSYS;
}

#else

/* A call goes through if (argument & mask) == value; with mask 0, always. Of an argument only the
 * lower half counts, as for the kernel, but for a pointer, whose upper half must be 0. */
struct rule {
    int call;
    uint32_t argument, mask, value;
    bool is_pointer;
};

#define ALLOW(name)                                                                                \
    {                                                                                              \
        .call = SYS_##name                                                                         \
    }
#define ALLOW_IF(name, i, m, v)                                                                    \
    {                                                                                              \
        .call = SYS_##name, .argument = (i), .mask = (m), .value = (v)                             \
    }
#define ALLOW_IF_NULL(name, i)                                                                     \
    {                                                                                              \
        .call = SYS_##name, .argument = (i), .mask = WHOLE, .is_pointer = true                     \
    }
#define WHOLE UINT32_MAX
#define WRITING (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))
#define XCOMP_PERM 0x1023 /* ARCH_REQ_XCOMP_PERM: AMX */

static const struct rule rules[] = {
    /* what the loop and its workers do all the time, first */
    ALLOW(futex),
    ALLOW(epoll_ctl),
    ALLOW(epoll_pwait),
    ALLOW(read),
    ALLOW(write),
    ALLOW(recvfrom),
    ALLOW(sendto),
    ALLOW(sendmsg),
    ALLOW(accept4),
    ALLOW(getrandom),
    ALLOW(clock_gettime),
    ALLOW(shutdown),
    ALLOW(close),
    ALLOW(setsockopt),
    ALLOW(getpeername),
    ALLOW(fcntl),

    /* descriptors */
    ALLOW(readv),
    ALLOW(writev),
    ALLOW(pread64),
    ALLOW(lseek),
    ALLOW(recvmsg),
    ALLOW(sendfile),
    ALLOW(getsockopt),
    ALLOW(getsockname),
    ALLOW(epoll_create1),
    ALLOW(eventfd2),
    ALLOW(pipe2),
    ALLOW(ppoll),
    ALLOW(fstat),
    ALLOW(newfstatat),
    ALLOW(statx),
    ALLOW(getdents64),
    ALLOW(readlinkat),
    ALLOW_IF(ioctl, 1, WHOLE, FIONBIO),
    ALLOW_IF(ioctl, 1, WHOLE, FIOCLEX),
    ALLOW_IF(openat, 2, WRITING, 0), /* models and keys again, /proc */

    /* memory */
    ALLOW(brk),
    ALLOW(munmap),
    ALLOW(mremap),
    ALLOW(madvise),
    ALLOW_IF(mmap, 2, PROT_EXEC, 0),
    ALLOW_IF(mprotect, 2, PROT_EXEC, 0),

    /* threads; clone3() keeps its flags in memory, where they cannot be looked at */
    ALLOW_IF(clone, 0, CLONE_THREAD, CLONE_THREAD),
    ALLOW(set_robust_list),
    ALLOW(rseq),
    ALLOW(sched_yield),
    ALLOW(sched_getaffinity),
    ALLOW_IF(prctl, 0, WHOLE, PR_SET_NAME),
    ALLOW(membarrier),
    ALLOW(getcpu),
    ALLOW(gettid),
    ALLOW(getpid),
    ALLOW(exit),
    ALLOW(exit_group),
    ALLOW(restart_syscall),

    /* signals, time, what is known of the process */
    ALLOW(rt_sigaction),
    ALLOW(rt_sigprocmask),
    ALLOW(rt_sigreturn),
    ALLOW(sigaltstack),
    ALLOW(gettimeofday),
    ALLOW(clock_getres),
    ALLOW(clock_nanosleep),
    ALLOW(getrusage),
    ALLOW(sysinfo),
    ALLOW(uname),
    ALLOW(getuid),
    ALLOW(geteuid),
    ALLOW(getgid),
    ALLOW(getegid),
    ALLOW_IF_NULL(prlimit64, 2), /* to read a limit */

#ifdef __x86_64__ /* calls that newer processors never had */
    ALLOW(epoll_wait),
    ALLOW(poll),
    ALLOW(accept),
    ALLOW(stat),
    ALLOW(readlink),
    ALLOW(time),
    ALLOW_IF(open, 1, WRITING, 0),
    ALLOW_IF(arch_prctl, 0, WHOLE, XCOMP_PERM),
#endif
};
#define N_RULES (sizeof rules / sizeof *rules)
#define NEWEST 450 /* set_mempolicy_home_node of Linux 5.17; the same number on every processor */
#define MAX_INSTRUCTIONS (8 + 8 * (N_RULES + 3))

static const struct rule unlink_rules[] = {
#ifdef SYS_unlink
    ALLOW(unlink),
#endif
    ALLOW(unlinkat),
};

struct program {
    struct sock_filter code[MAX_INSTRUCTIONS];
    unsigned short length;
};

static void emit(struct program *p, uint16_t code, uint32_t k, uint8_t if_true, uint8_t if_false)
{
    assert(p->length < MAX_INSTRUCTIONS);
    p->code[p->length++] =
        (struct sock_filter){.code = code, .k = k, .jt = if_true, .jf = if_false};
}

static void emit_load(struct program *p, size_t offset)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* Return `action` when the loaded word is (or, for BPF_JGT, is greater than) `k`. */
static void emit_return_if(struct program *p, uint16_t test, uint32_t k, uint32_t action)
{
    emit(p, BPF_JMP | test | BPF_K, k, 0, 1);
    emit(p, BPF_RET | BPF_K, action, 0, 0);
}

#define CALL_OFFSET offsetof(struct seccomp_data, nr)
#define FAIL_WITH(e) (SECCOMP_RET_ERRNO | (uint32_t)(e))

static void emit_rule(struct program *p, const struct rule *rule)
{
    if (rule->mask == 0) {
        emit_return_if(p, BPF_JEQ, (uint32_t)rule->call, SECCOMP_RET_ALLOW);
        return;
    }
    size_t argument = offsetof(struct seccomp_data, args) + 8 * rule->argument; /* little-endian */
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)rule->call, 0, rule->is_pointer ? 7 : 5);
    if (rule->is_pointer) {
        emit_load(p, argument + 4);
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 4);
    }
    emit_load(p, argument);
    emit(p, BPF_ALU | BPF_AND | BPF_K, rule->mask, 0, 0);
    emit_return_if(p, BPF_JEQ, rule->value, SECCOMP_RET_ALLOW);
    emit_load(p, CALL_OFFSET);
}

static void emit_start(struct program *p)
{
    emit_load(p, offsetof(struct seccomp_data, arch));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    emit(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
    emit_load(p, CALL_OFFSET);
}

static int program_set(struct program *p)
{
    const struct sock_fprog program = {.len = p->length, .filter = p->code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return -errno;
    }
    long rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    /* A positive number is a thread that could not be taken along. */
    return rc == 0 ? 0 : rc < 0 ? -errno : -EBUSY;
}

int sandbox_refuse_rings(void)
{
    struct program p = {.length = 0};
    emit_start(&p);
    emit_return_if(&p, BPF_JEQ, SYS_io_uring_setup, FAIL_WITH(ENOSYS));
    emit(&p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    return program_set(&p);
}

int sandbox_enter(bool may_unlink, bool may_kill)
{
    struct program p = {.length = 0};
    const struct rule own_signals = ALLOW_IF(tgkill, 0, WHOLE, (uint32_t)getpid()); /* abort() */
    emit_start(&p);
    for (size_t i = 0; i < N_RULES; i++) {
        emit_rule(&p, &rules[i]);
    }
    emit_rule(&p, &own_signals);
    for (size_t i = 0; may_unlink && i < sizeof unlink_rules / sizeof *unlink_rules; i++) {
        emit_rule(&p, &unlink_rules[i]);
    }
    emit_return_if(&p, BPF_JEQ, SYS_clone3, FAIL_WITH(ENOSYS)); /* the C library takes clone() */
    emit_return_if(&p, BPF_JGT, NEWEST, FAIL_WITH(ENOSYS));
    emit(&p, BPF_RET | BPF_K, may_kill ? SECCOMP_RET_KILL_PROCESS : FAIL_WITH(EPERM), 0, 0);
    return program_set(&p);
}

#endif
