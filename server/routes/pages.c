#include "server/routes/pages.h"

#include <string.h>

#include "api/accept.h"
#include "server/http/precondition.h"
#include "server/routes/service.h"
#include "server/routes/web_assets.h"

/* Nothing from elsewhere, no inline script or style, no plugin, no frame around us. Pictures are
 * data: URLs in the playground and blob: URLs where the API reference tries an operation out. */
static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; "
                             "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; "
                             "form-action 'none'; frame-ancestors 'none'";

static const struct web_asset *asset_find(const char *name, size_t bytes)
{
    for (size_t i = 0; i < n_web_assets; i++) {
        if (strlen(web_assets[i].name) == bytes && memcmp(web_assets[i].name, name, bytes) == 0) {
            return &web_assets[i];
        }
    }
    return NULL;
}

/* Large files are kept compressed only: every browser takes them so, and who does not say what it
 * takes, takes all (RFC 9110, 12.5.3). */
static bool coding_is_accepted(struct request *r)
{
    const char *accepted = request_list(r, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    return !accepted || accept_takes_gzip(accepted);
}

static void reply_asset(struct request *r, const struct web_asset *asset)
{
    if (asset->gzip && !coding_is_accepted(r)) {
        struct problem problem;
        problem_set(&problem, PROBLEM_NOT_ACCEPTABLE, "This file is sent with gzip alone.");
        request_reply_problem(r, &problem);
        return;
    }
    enum precondition verdict = precondition_check(r, asset->etag);
    if (verdict == PRECONDITION_FAILED) {
        precondition_reply(r);
        return;
    }
    if (verdict == PRECONDITION_NOT_MODIFIED) {
        request_reply_static(r, 304, NULL, "", 0);
        service_of(r)->metrics.not_modified++;
    } else {
        request_reply_stored(r, 200, asset->type, asset->gzip ? "gzip" : NULL, asset->bytes,
                             asset->size);
    }
    if (asset->gzip) {
        request_add_header(r, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    }
    request_add_header(r, MHD_HTTP_HEADER_ETAG, asset->etag);
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    request_add_header(r, "Content-Security-Policy", policy);
    request_add_header(r, "Referrer-Policy", "no-referrer");
}

void pages_playground(struct request *r)
{
    static const char name[] = "playground.html";
    reply_asset(r, asset_find(name, sizeof name - 1));
    request_add_header(r, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT);
}

void pages_docs(struct request *r)
{
    static const char name[] = "docs.html";
    reply_asset(r, asset_find(name, sizeof name - 1));
}

void pages_asset(struct request *r)
{
    const struct route_segment *name = &r->route.segments[0];
    const struct web_asset *asset = asset_find(name->text, name->bytes);
    if (!asset) {
        struct problem problem;
        problem_set(&problem, PROBLEM_NOT_FOUND, "There is no such file here.");
        request_reply_problem(r, &problem);
        return;
    }
    reply_asset(r, asset);
}
