/*
 * denoised health: ask a running daemon whether it is ready, for container engines and scripts. It
 * needs no model, no loop and no curl.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/commands.h"
#include "server/progress.h"

static const char question[] = "GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n";

/* Wait for `events` until `end_ns`. Returns 0, or an errno. */
static int await(int fd, short events, uint64_t end_ns)
{
    struct pollfd p = {.fd = fd, .events = events};
    for (;;) {
        uint64_t now_ns = clock_now_ns();
        int ready = now_ns < end_ns ? poll(&p, 1, (int)((end_ns - now_ns + 999999) / 1000000)) : 0;
        if (ready > 0)
            return 0;
        if (ready == 0)
            return ETIMEDOUT;
        if (errno != EINTR)
            return errno;
    }
}

/* Connect, ask and read the status of the answer. Returns 0, or an errno. */
static int ask(const struct sockaddr *address, socklen_t bytes, uint64_t end_ns, int *status)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    int code = connect(fd, address, bytes) == 0 ? 0 : errno;
    if (code == EINPROGRESS) {
        socklen_t length = sizeof code;
        code = await(fd, POLLOUT, end_ns);
        if (code == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) != 0)
            code = errno;
    }
    /* The question fits into any socket's buffer. */
    if (code == 0 && send(fd, question, sizeof question - 1, MSG_NOSIGNAL) < 0)
        code = errno;
    char line[13] = ""; /* "HTTP/1.1 200" */
    size_t got = 0;
    while (code == 0 && got < sizeof line - 1) {
        ssize_t n = recv(fd, line + got, sizeof line - 1 - got, 0);
        if (n > 0)
            got += (size_t)n;
        else if (n == 0)
            code = EPROTO;
        else if (errno == EAGAIN || errno == EINTR)
            code = await(fd, POLLIN, end_ns);
        else
            code = errno;
    }
    if (code == 0 && (strncmp(line, "HTTP/1.", 7) != 0 || strspn(line + 9, "0123456789") != 3))
        code = EPROTO;
    *status = code == 0 ? atoi(line + 9) : 0;
    close(fd);
    return code;
}

static int ask_unix(const char *path, uint64_t end_ns, int *status)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return ask((const struct sockaddr *)&address, sizeof address, end_ns, status);
}

/* A daemon that listens on every address is asked on the loopback one. */
static int ask_tcp(const char *listen, uint64_t end_ns, int *status)
{
    char host[256];
    const char *colon = strrchr(listen, ':');
    bool has_brackets = listen[0] == '[';
    snprintf(host, sizeof host, "%.*s", (int)(colon - listen) - 2 * has_brackets,
             listen + has_brackets);
    bool any = strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    int rc = getaddrinfo(any                       ? "127.0.0.1"
                         : strcmp(host, "::") == 0 ? "::1"
                                                   : host,
                         colon + 1, &hints, &found);
    if (rc != 0)
        return rc == EAI_SYSTEM ? errno : EADDRNOTAVAIL;
    int code = EADDRNOTAVAIL;
    for (struct addrinfo *a = found; a && code != 0; a = a->ai_next)
        code = ask(a->ai_addr, a->ai_addrlen, end_ns, status);
    freeaddrinfo(found);
    return code;
}

int cmd_health(const struct options *o)
{
    uint64_t end_ns = clock_now_ns() + (uint64_t)o->timeout_s * UINT64_C(1000000000);
    int status = 0;
    int code = strncmp(o->listen, "unix:", 5) == 0 ? ask_unix(o->listen + 5, end_ns, &status)
                                                   : ask_tcp(o->listen, end_ns, &status);
    if (code == EPROTO)
        fprintf(stderr, "denoised: %s: no HTTP is spoken there\n", o->listen);
    else if (code != 0)
        fprintf(stderr, "denoised: %s: %s\n", o->listen, strerror(code));
    else if (status != 200)
        fprintf(stderr, "denoised: %s: not ready, /readyz says %d\n", o->listen, status);
    else
        printf("ready\n");
    return code == 0 && status == 200 ? 0 : 1;
}
