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

#include "server/cli/commands.h"
#include "server/cli/progress.h"
#include "server/cli/shown.h"

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

struct answer {
    int status;
    char text[4096]; /* as much as fits: status line, headers, body */
};

/* Read to the end of the answer, so that the daemon does not see its client vanish. An answer that
 * has said its status is one. Returns 0, or an errno. */
static int read_answer(int fd, uint64_t end_ns, struct answer *answer)
{
    size_t got = 0, room = sizeof answer->text - 1;
    int code = 0;
    bool is_at_end = false;
    while (code == 0 && !is_at_end && got < room) {
        ssize_t n = recv(fd, answer->text + got, room - got, 0);
        is_at_end = n == 0;
        if (n > 0)
            got += (size_t)n;
        else if (n < 0)
            code = errno == EAGAIN || errno == EINTR ? await(fd, POLLIN, end_ns) : errno;
    }
    answer->text[got] = '\0';
    if (got < 12) /* "HTTP/1.1 200" */
        return code != 0 ? code : EPROTO;
    if (strncmp(answer->text, "HTTP/1.", 7) != 0 || strspn(answer->text + 9, "0123456789") != 3)
        return EPROTO;
    answer->status = atoi(answer->text + 9);
    return 0;
}

/* Connect and ask. Returns 0, or an errno. */
static int ask(const struct sockaddr *address, socklen_t bytes, uint64_t end_ns,
               struct answer *answer)
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
    if (code == 0)
        code = read_answer(fd, end_ns, answer);
    close(fd);
    return code;
}

static int ask_unix(const char *path, uint64_t end_ns, struct answer *answer)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return ask((const struct sockaddr *)&address, sizeof address, end_ns, answer);
}

/* A daemon that listens on every address is asked on the loopback one. */
static int ask_tcp(const char *listen, uint64_t end_ns, struct answer *answer)
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
        code = ask(a->ai_addr, a->ai_addrlen, end_ns, answer);
    freeaddrinfo(found);
    return code;
}

/* The body of an answer, which says why; of a stranger's no more than it shows. */
static const char *find_reason(struct answer *answer)
{
    char *body = strstr(answer->text, "\r\n\r\n");
    if (body == NULL)
        return "";
    body += 4;
    for (char *c = body; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            *c = ' ';
    return body;
}

int cmd_health(const struct options *o)
{
    uint64_t end_ns = clock_now_ns() + (uint64_t)o->timeout_s * UINT64_C(1000000000);
    struct answer answer = {.status = 0};
    int code = strncmp(o->listen, "unix:", 5) == 0 ? ask_unix(o->listen + 5, end_ns, &answer)
                                                   : ask_tcp(o->listen, end_ns, &answer);
    if (code == EPROTO)
        complain("%s: no HTTP is spoken there", o->listen);
    else if (code != 0)
        complain("%s: %s", o->listen, strerror(code));
    else if (answer.status != 200)
        complain("%s: not ready, /readyz says %d %s", o->listen, answer.status,
                 find_reason(&answer));
    else
        printf("ready\n");
    return code == 0 && answer.status == 200 ? 0 : 1;
}
