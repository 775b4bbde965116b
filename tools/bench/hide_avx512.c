/*
 * Hold a program that asks CPUID for itself to AVX2: a library for LD_PRELOAD, Linux on x86-64.
 *
 * The kernel can make CPUID trap (arch_prctl(ARCH_SET_CPUID, 0), where /proc/cpuinfo says
 * cpuid_fault). The handler runs the instruction, clears the bits of AVX-512 and AMX and goes on
 * behind it, so that the program sees a processor that ends at AVX2. The setting is a thread's, is
 * inherited by those that it starts and ends with exec(). Cost: only where CPUID is executed.
 *
 * Programs that want SIGSEGV for themselves do not get it: sigaction() is overlaid.
 */
#include <cpuid.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define SET_CPUID 0x1012 /* ARCH_SET_CPUID of asm/prctl.h */

/* What is cleared; another choice makes another processor (tests/cross/test_cross.py).
 * Leaf 7, subleaf 0: Intel SDM volume 2A, table 3-8. */
#if !defined(EBX_CLEARED)
#define EBX_CLEARED                                                                                \
    (1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31)
#define ECX_CLEARED (1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14)
#define EDX_CLEARED (1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25)
/* Leaf 7, subleaf 1: AVX512_BF16, AMX-FP16. */
#define EAX_CLEARED (1u << 5 | 1u << 21)
#endif

typedef int sigaction_fn(int, const struct sigaction *, struct sigaction *);

static long set_cpuid(unsigned long is_allowed)
{
    return syscall(SYS_arch_prctl, SET_CPUID, is_allowed);
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)r[REG_RIP];
    (void)info;
    if (code[0] != 0x0f || code[1] != 0xa2) {
        /* A fault of the program's own: let it have it. */
        struct sigaction plain = {.sa_handler = SIG_DFL};
        sigaction_fn *next = (sigaction_fn *)dlsym(RTLD_NEXT, "sigaction");
        next(signal, &plain, NULL);
        return;
    }
    unsigned leaf = (unsigned)r[REG_RAX], subleaf = (unsigned)r[REG_RCX], a, b, c, d;
    set_cpuid(1);
    __cpuid_count(leaf, subleaf, a, b, c, d);
    set_cpuid(0);
    if (leaf == 7 && subleaf == 0) {
        b &= ~EBX_CLEARED;
        c &= ~ECX_CLEARED;
        d &= ~EDX_CLEARED;
    } else if (leaf == 7 && subleaf == 1) {
        a &= ~EAX_CLEARED;
    }
    r[REG_RAX] = a;
    r[REG_RBX] = b;
    r[REG_RCX] = c;
    r[REG_RDX] = d;
    r[REG_RIP] += 2;
}

int sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
    static sigaction_fn *next; /* set before main(), in this library's constructor */
    if (next == NULL)
        next = (sigaction_fn *)dlsym(RTLD_NEXT, "sigaction");
    if (signal != SIGSEGV || (action != NULL && action->sa_sigaction == on_fault))
        return next(signal, action, old);
    if (old != NULL)
        memset(old, 0, sizeof *old);
    return 0;
}

__attribute__((constructor)) static void hide(void)
{
    struct sigaction trap = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (sigaction(SIGSEGV, &trap, NULL) < 0 || set_cpuid(0) < 0) {
        fprintf(stderr, "hide_avx512: this processor or kernel cannot trap CPUID\n");
        _exit(3);
    }
}
