#include "server/system/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024
#define FIRST_PASSED_FD 3 /* sd_listen_fds(3) */
#define ADMIN_NAME "admin"
#define SOCKET_FLAGS (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)

/* Does somebody accept connections at this Unix address? */
static bool unix_is_served(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCKET_FLAGS, 0);
    if (fd < 0) {
        return true; /* not known: keep away from it */
    }
    int rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
    bool served = rc == 0 || errno != ECONNREFUSED;
    close(fd);
    return served;
}

static int listen_unix(struct listener *l, const char *path, char *error, size_t error_bytes)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!*path || strlen(path) >= sizeof address.sun_path) {
        snprintf(error, error_bytes, "a Unix socket's path has 1 to %zu bytes",
                 sizeof address.sun_path - 1);
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && !unix_is_served(&address)) {
        unlink(path);
    }
    l->fd = socket(AF_UNIX, SOCKET_FLAGS, 0);
    if (l->fd < 0 || bind(l->fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        snprintf(error, error_bytes, "%s", strerror(errno));
        return -1;
    }
    memcpy(l->unix_path, path, strlen(path) + 1);
    if (lstat(path, &st) == 0) {
        l->unix_device = (uint64_t)st.st_dev;
        l->unix_inode = (uint64_t)st.st_ino;
    }
    if (listen(l->fd, BACKLOG) != 0) {
        snprintf(error, error_bytes, "%s", strerror(errno));
        return -1;
    }
    l->is_local = true;
    snprintf(l->url, sizeof l->url, "unix:%s", path);
    return 0;
}

/* Split HOST:PORT into `host` (brackets removed) and the port's text. */
static const char *split_host_port(const char *address, char *host, size_t host_bytes)
{
    const char *colon = strrchr(address, ':');
    if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        strlen(colon + 1) > 5) {
        return NULL;
    }
    size_t bytes = (size_t)(colon - address);
    if (bytes >= 2 && address[0] == '[' && address[bytes - 1] == ']') {
        address++;
        bytes -= 2;
    } else if (memchr(address, ':', bytes)) {
        return NULL; /* an IPv6 address goes in brackets */
    }
    if (bytes >= host_bytes) {
        return NULL;
    }
    memcpy(host, address, bytes);
    host[bytes] = '\0';
    return colon + 1;
}

static bool is_loopback(const struct sockaddr_storage *bound)
{
    if (bound->ss_family == AF_INET6) {
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)bound)->sin6_addr);
    }
    return ntohl(((const struct sockaddr_in *)bound)->sin_addr.s_addr) >> 24 == 127;
}

/* Of `bytes` bytes, "unix:PATH", or "unix:@NAME" of one without a file. */
static void write_unix_url(struct listener *l, const struct sockaddr_un *bound, size_t bytes)
{
    size_t path_bytes = bytes - offsetof(struct sockaddr_un, sun_path);
    const char *path = bound->sun_path;
    bool is_abstract = path_bytes > 0 && !*path;
    snprintf(l->url, sizeof l->url, "unix:%s%.*s", is_abstract ? "@" : "",
             (int)path_bytes - is_abstract, path + is_abstract);
    l->is_local = true;
}

static int write_url(struct listener *l)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    char host[80], port[8];
    if (getsockname(l->fd, (struct sockaddr *)&bound, &length) != 0) {
        return -1;
    }
    if (bound.ss_family == AF_UNIX) {
        write_unix_url(l, (const struct sockaddr_un *)&bound, length);
        return 0;
    }
    if (getnameinfo((const struct sockaddr *)&bound, length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return -1;
    }
    l->is_local = is_loopback(&bound);
    bool v6 = bound.ss_family == AF_INET6;
    snprintf(l->url, sizeof l->url, "http://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
    return 0;
}

static int listen_tcp(struct listener *l, const char *address, char *error, size_t error_bytes)
{
    char host[256];
    const char *port = split_host_port(address, host, sizeof host);
    if (!port || strtol(port, NULL, 10) > 65535) {
        snprintf(error, error_bytes, "HOST:PORT, [IPV6]:PORT or unix:PATH is expected");
        return -1;
    }
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    int rc = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, port, &hints, &found);
    if (rc != 0) {
        snprintf(error, error_bytes, "%s", gai_strerror(rc));
        return -1;
    }
    for (struct addrinfo *a = found; a && l->fd < 0; a = a->ai_next) {
        int on = 1;
        l->fd = socket(a->ai_family, SOCKET_FLAGS, 0);
        if (l->fd < 0) {
            snprintf(error, error_bytes, "%s", strerror(errno));
            continue;
        }
        setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(l->fd, a->ai_addr, a->ai_addrlen) != 0 || listen(l->fd, BACKLOG) != 0) {
            snprintf(error, error_bytes, "%s", strerror(errno));
            close(l->fd);
            l->fd = -1;
        }
    }
    freeaddrinfo(found);
    if (l->fd >= 0 && write_url(l) != 0) {
        snprintf(error, error_bytes, "the bound address cannot be read");
        return -1;
    }
    return l->fd >= 0 ? 0 : -1;
}

/* Is it a stream socket that listens? Its file is shared with others, but not its descriptor. */
static bool take_socket(int fd)
{
    int type, listens;
    socklen_t type_bytes = sizeof type, listens_bytes = sizeof listens;
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_bytes) == 0 &&
           type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_bytes) == 0 && listens &&
           fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

/* Which of the `n` sockets is the admin's, or is not: its descriptor, -1 if none is, -2 if more
 * than one is. */
static int find_passed(int n, bool is_admin)
{
    const char *name = getenv("LISTEN_FDNAMES");
    int found = -1;
    for (int i = 0; i < n; i++) {
        size_t bytes = name ? strcspn(name, ":") : 0;
        if ((bytes == strlen(ADMIN_NAME) && memcmp(name, ADMIN_NAME, bytes) == 0) == is_admin) {
            found = found == -1 ? FIRST_PASSED_FD + i : -2;
        }
        name = name && name[bytes] ? name + bytes + 1 : NULL;
    }
    return found;
}

int listen_take_passed(struct listener *l, bool is_admin, char *error, unsigned long error_bytes)
{
    const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
    char own_pid[24];
    snprintf(own_pid, sizeof own_pid, "%ld", (long)getpid());
    *l = (struct listener){.fd = -1};
    if (!count || !pid || strcmp(pid, own_pid) != 0) {
        return 0; /* what is there is meant for another process */
    }
    int n = strcmp(count, "1") == 0 ? 1 : strcmp(count, "2") == 0 ? 2 : 0;
    int fd = find_passed(n, is_admin);
    if (n == 0 || fd == -2) {
        snprintf(error, error_bytes,
                 "LISTEN_FDS is '%.16s': one socket, and one named " ADMIN_NAME ", are expected",
                 count);
        return -1;
    }
    if (fd < 0) {
        return 0;
    }
    l->fd = fd;
    l->is_passed = true;
    if (!take_socket(fd) || write_url(l) != 0) {
        snprintf(error, error_bytes, "descriptor %d is no stream socket that listens", fd);
        l->fd = -1;
        return -1;
    }
    return 1;
}

int listen_open(struct listener *l, const char *address, char *error, unsigned long error_bytes)
{
    *l = (struct listener){.fd = -1};
    int rc = strncmp(address, "unix:", 5) == 0 ? listen_unix(l, address + 5, error, error_bytes)
                                               : listen_tcp(l, address, error, error_bytes);
    if (rc != 0) {
        listen_close(l);
    }
    return rc;
}

void listen_close(struct listener *l)
{
    if (l->unix_path[0]) {
        struct stat st;
        if (lstat(l->unix_path, &st) == 0 && (uint64_t)st.st_dev == l->unix_device &&
            (uint64_t)st.st_ino == l->unix_inode) { /* else it is another daemon's by now */
            unlink(l->unix_path);
        }
        l->unix_path[0] = '\0';
    }
    if (l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
    }
}
