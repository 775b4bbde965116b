#include "server/http/late_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "api/openai.h"
#include "api/problem.h"
#include "api/routes.h"
#include "server/base/random.h"
#include "server/http/connection.h"
#include "server/http/request.h"

/* The answer in the form of its route; malloc'd, or NULL. */
static char *make_body(const struct problem *why, const struct request *r, const char *id,
                       const char **type, size_t *bytes)
{
    struct route_match match = {.id = -1};
    if (r) { /* as long as its headers are not in, it has no route yet */
        route_find(&match, r->method, r->path, r->is_admin);
    }
    *type = match.has_openai_errors ? "application/json" : PROBLEM_MEDIA_TYPE;
    return match.has_openai_errors ? openai_error(why, bytes) : problem_json(why, id, bytes);
}

void late_reply_send(const struct connection *c, const struct problem *why)
{
    char id[REQUEST_ID_BYTES], head[512], date[40];
    const char *type;
    size_t bytes;
    if (c->request) {
        memcpy(id, c->request->id, sizeof id);
    } else if (random_id(id, sizeof id, "req_") != 0) {
        return;
    }
    char *body = make_body(why, c->request, id, &type, &bytes);
    if (!body) {
        return;
    }
    time_t now = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &utc));
    int head_bytes =
        snprintf(head, sizeof head,
                 "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\n"
                 "Content-Length: %zu\r\nX-Request-Id: %s\r\n"
                 "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
                 "Connection: close\r\n\r\n",
                 problem_status(why->kind),
                 why->kind == PROBLEM_REQUEST_TIMEOUT ? "Request Timeout" : "Bad Request", date,
                 type, bytes, id);
    struct iovec parts[] = {{head, (size_t)head_bytes}, {body, bytes}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    /* Best effort: a client this slow may not read either. */
    ssize_t sent = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent;
    free(body);
}
