#include "server/http/precondition.h"

#include "api/accept.h"

enum precondition precondition_check(struct request *r, const char *etag)
{
    const char *tag = etag ? etag : "";
    const char *wanted = request_list(r, MHD_HTTP_HEADER_IF_MATCH);
    const char *known = request_list(r, MHD_HTTP_HEADER_IF_NONE_MATCH);
    if (wanted && !accept_etag_is(wanted, tag)) {
        return PRECONDITION_FAILED;
    }
    return *tag && accept_etag_matches(known, tag) ? PRECONDITION_NOT_MODIFIED : PRECONDITION_GO;
}

void precondition_reply(struct request *r)
{
    struct problem problem;
    problem_set(&problem, PROBLEM_PRECONDITION_FAILED,
                "If-Match names another state of this resource than it has.");
    request_reply_problem(r, &problem);
}
