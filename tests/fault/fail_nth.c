/*
 * A library for LD_PRELOAD that makes the Nth call of some kinds fail, and the wall clock jump.
 *
 * What it does is said in a file that FAULT_CONTROL names and that it maps: control.py writes there
 * which kinds of calls count, which of them fail and how far the clock is off, at any time, and
 * reads how many there were, how many blocks of memory are allocated, and who made the last call
 * that failed. Without the variable every call goes through.
 *
 * Only what can happen is made to fail: no epoll_ctl() but one that adds a descriptor, no read() or
 * write() but of files and the standard streams (an eventfd's or a pipe's never fails for want of
 * anything, and libuv ends the program if it does).
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The order of control.py's KINDS. */
enum kind { ALLOC, MMAP, THREAD, OPEN, READ, WRITE, SOCKET, ACCEPT, EPOLL, RECEIVE, SEND, RANDOM };

#define CALLERS_BYTES 4032
#define CALLERS_MAX 40

/* The order of control.py's FIELDS, then the callers. */
struct control {
    _Atomic uint64_t kinds;      /* bits of those that count */
    _Atomic uint64_t fail_first; /* the first call that fails, from 1; 0: none */
    _Atomic uint64_t fail_last;
    _Atomic uint64_t calls, failed; /* counted so far, and made to fail */
    _Atomic int64_t live;           /* blocks of memory that are allocated */
    _Atomic int64_t wall_offset_s;
    _Atomic uint64_t has_callers;
    char callers[CALLERS_BYTES]; /* of the last call that failed: "module+offset ..." */
};

static struct control closed; /* where no file is named: nothing counts */
static struct control *_Atomic shared;

static struct control *control_get(void)
{
    struct control *c = atomic_load(&shared);
    if (c) {
        return c;
    }
    const char *path = getenv("FAULT_CONTROL");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    c = &closed;
    if (fd >= 0) {
        long at =
            syscall(SYS_mmap, NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)0);
        c = at == -1 ? &closed : (struct control *)at;
        syscall(SYS_close, fd);
    }
    atomic_store(&shared, c);
    return c;
}

/* The function itself, behind this library. */
static void *real(const char *name, void *_Atomic *cache)
{
    void *found = atomic_load(cache);
    if (!found) {
        found = dlsym(RTLD_NEXT, name);
        atomic_store(cache, found);
    }
    return found;
}
#define REAL(name)                                                                                 \
    static void *_Atomic name##_cache;                                                             \
    __typeof__(&name) real_##name = (__typeof__(&name))(uintptr_t)real(#name, &name##_cache)

static _Thread_local bool is_telling;

static void tell_callers(struct control *c)
{
    void *frames[CALLERS_MAX];
    size_t at = 0;
    is_telling = true;
    atomic_store(&c->has_callers, 0);
    int n = backtrace(frames, CALLERS_MAX);
    for (int i = 2; i < n && at + 160 < sizeof c->callers; i++) {
        Dl_info info;
        if (dladdr(frames[i], &info) == 0 || !info.dli_fname) {
            continue;
        }
        const char *slash = strrchr(info.dli_fname, '/');
        at += (size_t)snprintf(c->callers + at, 128, "%.60s+0x%lx ",
                               slash ? slash + 1 : info.dli_fname,
                               (unsigned long)((uintptr_t)frames[i] - (uintptr_t)info.dli_fbase));
    }
    c->callers[at] = '\0';
    atomic_store(&c->has_callers, 1);
    is_telling = false;
}

/* Count a call. Returns whether it is one that fails, with errno set. */
static bool fails(enum kind kind, int error)
{
    struct control *c = control_get();
    if (is_telling || !(atomic_load(&c->kinds) >> kind & 1)) {
        return false;
    }
    uint64_t n = atomic_fetch_add(&c->calls, 1) + 1, first = atomic_load(&c->fail_first);
    if (!first || n < first || n > atomic_load(&c->fail_last)) {
        return false;
    }
    atomic_fetch_add(&c->failed, 1);
    if (n == first) {
        tell_callers(c);
    }
    errno = error;
    return true;
}

/* backtrace() loads a library at its first call, which must not be the one from within malloc(). */
__attribute__((constructor)) static void on_load(void)
{
    void *frame;
    is_telling = true;
    backtrace(&frame, 1);
    is_telling = false;
}

/* ---- memory --------------------------------------------------------------------------------- */

/* dlsym() may need memory before it has found any; this is never given back. */
static _Alignas(64) uint8_t first_bytes[65536];
static _Atomic size_t first_used;
static _Thread_local bool is_finding;

static bool is_first(const void *p)
{
    return (const uint8_t *)p >= first_bytes &&
           (const uint8_t *)p < first_bytes + sizeof first_bytes;
}

static void *first_take(size_t bytes)
{
    size_t at = atomic_fetch_add(&first_used, (bytes + 63) & ~(size_t)63);
    return at + bytes <= sizeof first_bytes ? first_bytes + at : NULL;
}

#define REAL_ALLOCATOR(name)                                                                       \
    is_finding = true;                                                                             \
    REAL(name);                                                                                    \
    is_finding = false

static void *count_live(void *p)
{
    if (p) {
        atomic_fetch_add(&control_get()->live, 1);
    }
    return p;
}

void *malloc(size_t bytes)
{
    if (is_finding) {
        return first_take(bytes);
    }
    REAL_ALLOCATOR(malloc);
    if (!real_malloc) { /* called for by the search itself, or by a sanitizer that begins */
        return first_take(bytes);
    }
    return fails(ALLOC, ENOMEM) ? NULL : count_live(real_malloc(bytes));
}

void *calloc(size_t n, size_t bytes)
{
    if (is_finding) { /* never used before: zero */
        return first_take(n * bytes);
    }
    REAL_ALLOCATOR(calloc);
    if (!real_calloc) {
        return first_take(n * bytes);
    }
    return fails(ALLOC, ENOMEM) ? NULL : count_live(real_calloc(n, bytes));
}

void *realloc(void *p, size_t bytes)
{
    REAL_ALLOCATOR(realloc);
    if (is_first(p)) {
        void *moved = malloc(bytes);
        return moved ? memcpy(moved, p, bytes) : NULL;
    }
    if (bytes > 0 && fails(ALLOC, ENOMEM)) {
        return NULL;
    }
    void *moved = real_realloc(p, bytes);
    if (!p && moved) {
        count_live(moved);
    } else if (p && bytes == 0) {
        atomic_fetch_sub(&control_get()->live, 1);
    }
    return moved;
}

void free(void *p)
{
    REAL_ALLOCATOR(free);
    if (p && !is_first(p)) {
        atomic_fetch_sub(&control_get()->live, 1);
        real_free(p);
    }
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    REAL_ALLOCATOR(posix_memalign);
    int was = errno;
    if (fails(ALLOC, was)) {
        return ENOMEM;
    }
    int rc = real_posix_memalign(out, alignment, bytes);
    if (rc == 0) {
        count_live(*out);
    }
    return rc;
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    REAL_ALLOCATOR(aligned_alloc);
    return fails(ALLOC, ENOMEM) ? NULL : count_live(real_aligned_alloc(alignment, bytes));
}

void *memalign(size_t alignment, size_t bytes)
{
    REAL_ALLOCATOR(memalign);
    return fails(ALLOC, ENOMEM) ? NULL : count_live(real_memalign(alignment, bytes));
}

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    REAL(mmap);
    return fails(MMAP, ENOMEM) ? MAP_FAILED : real_mmap(at, bytes, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return mmap(at, bytes, protection, flags, fd, offset);
}

/* ---- threads, files ------------------------------------------------------------------------- */

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *arg)
{
    REAL(pthread_create);
    int was = errno;
    return fails(THREAD, was) ? EAGAIN : real_pthread_create(thread, attributes, run, arg);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    REAL(open);
    return fails(OPEN, EMFILE) ? -1 : real_open(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open(path, flags, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    REAL(fopen);
    return fails(OPEN, EMFILE) ? NULL : real_fopen(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    return fopen(path, mode);
}

static bool is_a_file(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

ssize_t read(int fd, void *out, size_t bytes)
{
    REAL(read);
    return is_a_file(fd) && fails(READ, EIO) ? -1 : real_read(fd, out, bytes);
}

ssize_t pread(int fd, void *out, size_t bytes, off_t offset)
{
    REAL(pread);
    return fails(READ, EIO) ? -1 : real_pread(fd, out, bytes, offset);
}

ssize_t pread64(int fd, void *out, size_t bytes, off_t offset)
{
    return pread(fd, out, bytes, offset);
}

size_t fread(void *out, size_t bytes, size_t n, FILE *file)
{
    REAL(fread);
    return fails(READ, EIO) ? 0 : real_fread(out, bytes, n, file);
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    REAL(write);
    bool counts = fd == STDOUT_FILENO || fd == STDERR_FILENO || is_a_file(fd);
    return counts && fails(WRITE, ENOSPC) ? -1 : real_write(fd, data, bytes);
}

/* ---- sockets -------------------------------------------------------------------------------- */

int socket(int domain, int type, int protocol)
{
    REAL(socket);
    return fails(SOCKET, EMFILE) ? -1 : real_socket(domain, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t bytes)
{
    REAL(bind);
    return fails(SOCKET, EADDRINUSE) ? -1 : real_bind(fd, address, bytes);
}

int listen(int fd, int backlog)
{
    REAL(listen);
    return fails(SOCKET, EADDRINUSE) ? -1 : real_listen(fd, backlog);
}

int eventfd(unsigned value, int flags)
{
    REAL(eventfd);
    return fails(SOCKET, EMFILE) ? -1 : real_eventfd(value, flags);
}

int pipe2(int fds[2], int flags)
{
    REAL(pipe2);
    return fails(SOCKET, EMFILE) ? -1 : real_pipe2(fds, flags);
}

int epoll_create1(int flags)
{
    REAL(epoll_create1);
    return fails(SOCKET, EMFILE) ? -1 : real_epoll_create1(flags);
}

int accept4(int fd, struct sockaddr *address, socklen_t *bytes, int flags)
{
    REAL(accept4);
    return fails(ACCEPT, EMFILE) ? -1 : real_accept4(fd, address, bytes, flags);
}

int epoll_ctl(int epoll_fd, int what, int fd, struct epoll_event *event)
{
    REAL(epoll_ctl);
    return what == EPOLL_CTL_ADD && fails(EPOLL, ENOSPC)
               ? -1
               : real_epoll_ctl(epoll_fd, what, fd, event);
}

/* By which the daemon receives for its HTTP library. */
ssize_t recvfrom(int fd, void *out, size_t bytes, int flags, struct sockaddr *address,
                 socklen_t *address_bytes)
{
    REAL(recvfrom);
    return fails(RECEIVE, ECONNRESET)
               ? -1
               : real_recvfrom(fd, out, bytes, flags, address, address_bytes);
}

ssize_t send(int fd, const void *data, size_t bytes, int flags)
{
    REAL(send);
    return fails(SEND, EPIPE) ? -1 : real_send(fd, data, bytes, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(sendmsg);
    return fails(SEND, EPIPE) ? -1 : real_sendmsg(fd, message, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    REAL(writev);
    bool fail = fd == STDERR_FILENO   ? fails(WRITE, ENOSPC)
                : fd == STDOUT_FILENO ? false /* the tests wait for its line */
                                      : fails(SEND, EPIPE);
    return fail ? -1 : real_writev(fd, parts, n);
}

ssize_t getrandom(void *out, size_t bytes, unsigned flags)
{
    REAL(getrandom);
    return fails(RANDOM, EAGAIN) ? -1 : real_getrandom(out, bytes, flags);
}

/* ---- the wall clock -------------------------------------------------------------------------- */

int clock_gettime(clockid_t clock, struct timespec *out)
{
    REAL(clock_gettime);
    int rc = real_clock_gettime(clock, out);
    if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        out->tv_sec += (time_t)atomic_load(&control_get()->wall_offset_s);
    }
    return rc;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    REAL(gettimeofday);
    int rc = real_gettimeofday(out, zone);
    if (rc == 0) {
        out->tv_sec += (time_t)atomic_load(&control_get()->wall_offset_s);
    }
    return rc;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}
