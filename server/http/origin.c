#include "server/http/origin.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "api/framing.h"
#include "server/http/connection.h"
#include "server/http/cors.h"

/* ---- hosts ---------------------------------------------------------------------------------- */

bool allowed_hosts_are_valid(const char *list)
{
    for (const char *s = list;; s++) {
        size_t bytes = strcspn(s, ","), skipped = 0;
        if (bytes == 1 && *s == '*') {
            skipped = 1;
        } else if (bytes > 2 && strncmp(s, "*.", 2) == 0) {
            skipped = 2;
        }
        const char *host = s + skipped;
        size_t host_bytes = bytes - skipped;
        bool has_port = host_bytes && *host != '[' && memchr(host, ':', host_bytes);
        if (bytes == 0 || has_port || memchr(host, '*', host_bytes) ||
            (host_bytes && *host == '[' && host[host_bytes - 1] != ']') ||
            !framing_host_is_valid(host, host_bytes)) {
            return false;
        }
        s += bytes;
        if (!*s) {
            return true;
        }
    }
}

/* The bytes of a host without its port, and without the dot that a full name may end with. */
static size_t name_bytes(const char *host)
{
    if (*host == '[') {
        return strcspn(host, "]") + 1;
    }
    size_t bytes = strcspn(host, ":");
    return bytes > 0 && host[bytes - 1] == '.' ? bytes - 1 : bytes;
}

static bool is_name(const char *host, size_t bytes, const char *name)
{
    return bytes == strlen(name) && strncasecmp(host, name, bytes) == 0;
}

static bool list_has(const char *list, const char *host, size_t bytes)
{
    for (const char *s = list; *s; s += *s == ',') {
        size_t length = strcspn(s, ",");
        bool is_any = length == 1 && *s == '*';
        bool is_below = *s == '*' && bytes > length - 1 &&
                        strncasecmp(host + bytes - (length - 1), s + 1, length - 1) == 0;
        if (is_any || (length > 1 && is_below) ||
            (length == bytes && strncasecmp(s, host, length) == 0)) {
            return true;
        }
        s += length;
    }
    return false;
}

/* The address that the client connected to is no name that somebody else could have given it. */
static bool is_own_address(const struct request *r, const char *host, size_t bytes)
{
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    char address[80], text[84];
    if (getsockname(r->connection->fd, (struct sockaddr *)&own, &length) != 0 ||
        own.ss_family == AF_UNIX ||
        getnameinfo((const struct sockaddr *)&own, length, address, sizeof address, NULL, 0,
                    NI_NUMERICHOST) != 0) {
        return false;
    }
    bool has_colon = strchr(address, ':') != NULL;
    snprintf(text, sizeof text, "%s%s%s", has_colon ? "[" : "", address, has_colon ? "]" : "");
    return is_name(host, bytes, text);
}

static bool is_listening_name(const struct request *r, const char *host, size_t bytes)
{
    const char *listen =
        r->is_admin ? r->context->options->admin_listen : r->context->options->listen;
    const char *colon = listen && strncmp(listen, "unix:", 5) != 0 ? strrchr(listen, ':') : NULL;
    return colon && bytes > 0 && (size_t)(colon - listen) == bytes &&
           strncasecmp(listen, host, bytes) == 0;
}

/* The host that the request is for: a target's own goes before the header (RFC 9112, 3.2.2). */
static const char *host_of(const struct request *r)
{
    return r->authority ? r->authority : request_header(r, MHD_HTTP_HEADER_HOST);
}

static bool is_tcp(const struct request *r)
{
    return r->connection->origin != 0;
}

int origin_check_host(const struct request *r, struct problem *problem)
{
    const char *list = r->context->options->allowed_hosts, *host = host_of(r);
    bool is_local = is_tcp(r) && (r->is_admin || r->context->is_loopback);
    if ((!list && !is_local) || !host) { /* HTTP/1.0 may have none, and no browser speaks it */
        return 0;
    }
    size_t bytes = name_bytes(host);
    if (is_name(host, bytes, "localhost") || is_name(host, bytes, "127.0.0.1") ||
        is_name(host, bytes, "[::1]") || is_listening_name(r, host, bytes) ||
        (list && list_has(list, host, bytes)) || is_own_address(r, host, bytes)) {
        return 0;
    }
    problem_set(problem, PROBLEM_MISDIRECTED,
                "The request is for the host '%.128s', which is none of this server's: "
                "--allowed-hosts names more.",
                host);
    return -1;
}

/* ---- pages ---------------------------------------------------------------------------------- */

/* Is the Origin that of the request's own host? A Host without a port fits any: a proxy in front
 * may have left it out. */
static bool is_same_origin(const struct request *r, const char *origin)
{
    const char *host = host_of(r), *colons = strstr(origin, "://");
    if (!host || !colons) {
        return false;
    }
    const char *page = colons + 3;
    size_t bytes = name_bytes(host);
    bool has_port = host[bytes + (host[bytes] == '.')] == ':';
    return has_port ? strcasecmp(page, host) == 0
                    : name_bytes(page) == bytes && strncasecmp(page, host, bytes) == 0;
}

int origin_check_page(const struct request *r, struct problem *problem)
{
    const char *origin = request_header(r, MHD_HTTP_HEADER_ORIGIN);
    const char *site = request_header(r, "Sec-Fetch-Site");
    bool reads = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0 ||
                 strcmp(r->method, "OPTIONS") == 0;
    bool is_own_page = site && (strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0);
    if (reads || (!origin && !site) || is_own_page || cors_allows(r)) {
        return 0;
    }
    /* Older browsers, and all of them where there is no TLS, say the origin alone. What that is to
     * be compared with, a proxy may have changed; at a loopback port it is the client's own. */
    bool is_trusted = !site && (!r->context->is_loopback || is_same_origin(r, origin));
    if (is_trusted) {
        return 0;
    }
    problem_set(problem, PROBLEM_FOREIGN_ORIGIN,
                "A page of another origin sent this request, and there are no API keys: "
                "--cors-origin names pages that may.");
    return -1;
}
