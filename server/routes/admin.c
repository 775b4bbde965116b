#include "server/routes/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/admin.h"
#include "api/document.h"
#include "api/unicode.h"
#include "server/http/request.h"
#include "server/routes/service.h"

#define JSON "application/json"

static void reply_problem(struct request *r, const struct problem *problem)
{
    request_reply_problem(r, problem);
    if (problem->kind == PROBLEM_QUEUE_FULL || problem->kind == PROBLEM_DRAINING) {
        request_add_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    }
}

/* ---- what is there -------------------------------------------------------------------------- */

static void reply_document(struct request *r, unsigned status, char *body, size_t bytes)
{
    request_reply(r, status, JSON, body, bytes);
    request_add_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
}

void admin_discover(struct request *r)
{
    size_t bytes;
    char *body = document_discovery(true, &bytes);
    reply_document(r, 200, body, bytes);
}

static struct admin_model view_of(const struct service *service, const struct served_model *m)
{
    struct admin_model view = {
        .info = served_model_info(m),
        .path = unicode_valid(m->path, strlen(m->path)) ? m->path : "(not UTF-8)",
        .state = m->let_go ? ADMIN_RETIRING : ADMIN_SERVING,
        .place = -1,
        .loaded_s = m->loaded_s,
        .reloaded_s = m->reloaded_s,
        .reload_error = m->reload_error,
        .evaluations = m->batch_limit,
        .workspace_bytes = m->n_workers * (uint64_t)dn_workspace_bytes(m->workspaces[0]),
        .rows = m->n_rows,
        .images = m->n_images,
    };
    for (size_t i = 0; i < service->serving.models.n_served; i++) {
        if (service->serving.models.served[i] == m) {
            view.place = (int)i;
        }
    }
    return view;
}

void admin_list_models(struct request *r)
{
    struct service *service = service_of(r);
    const struct model_set *set = &service->serving.models;
    const struct served_model *m;
    const struct model_load *load;
    size_t n = 0, n_loading = 0, bytes = 0;
    size_t max = set->n_served + service->metrics.models_retiring;
    struct admin_model *views = calloc(max, sizeof *views);
    const char **loading = calloc(service->loads.n_queued + 1, sizeof *loading);
    char *body = NULL;
    if (!views || !loading) {
        goto out;
    }
    while (n < set->n_served) { /* in their order, the default first */
        views[n] = view_of(service, set->served[n]);
        n++;
    }
    TAILQ_FOREACH(m, scheduler_models(service->serving.scheduler), link)
    {
        if (m->let_go) {
            views[n++] = view_of(service, m);
        }
    }
    TAILQ_FOREACH(load, &service->loads.queue, link)
    {
        loading[n_loading++] = load->path;
    }
    body = admin_document_models(views, n, loading, n_loading, OPTIONS_MAX_MODELS,
                                 &service->serving.api, &bytes);
out:
    reply_document(r, 200, body, bytes);
    free(views);
    free(loading);
}

/* ---- loading -------------------------------------------------------------------------------- */

static void on_load_ended(struct model_load *load, void *arg)
{
    struct request *r = arg;
    if (load->result == MODEL_REFUSED) {
        reply_problem(r, &load->problem);
    } else {
        struct admin_model view = view_of(service_of(r), load->served);
        size_t bytes;
        char *body = admin_document_load(model_load_results[load->result], &view,
                                         &service_of(r)->serving.api, &bytes);
        reply_document(r, load->result == MODEL_LOADED ? 201 : 200, body, bytes);
    }
    r->holder = NULL;
    request_resume(r);
}

/* The file is read all the same. */
static void on_gone(struct request *r)
{
    struct model_load *load = r->holder;
    load->ended = NULL;
    r->gone = true;
    r->holder = NULL;
    request_resume(r);
}

void admin_load_model(struct request *r)
{
    struct admin_load wanted;
    struct problem problem;
    problem_set(&problem, PROBLEM_OUT_OF_MEMORY, "There was no memory for the request.");
    if (r->out_of_memory || request_watch(r, on_gone) != 0) {
        reply_problem(r, &problem);
        return;
    }
    struct model_load *load = NULL;
    if (admin_load_read(&wanted, r->body ? r->body : "", r->body_bytes, &problem) == 0) {
        load = model_loads_add(&service_of(r)->loads, wanted.path, wanted.make_default,
                               on_load_ended, r, &problem);
    }
    if (!load) {
        request_unwatch(r);
        reply_problem(r, &problem);
        return;
    }
    r->holder = load;
    request_suspend(r);
}

/* ---- one model ------------------------------------------------------------------------------ */

/* The place of the model that the path names; or -1, with the problem as the reply. */
static int find_place(struct request *r)
{
    char id[128];
    bool is_read = request_segment(r, 0, id, sizeof id) == 0;
    int place = is_read ? api_model_find(&service_of(r)->serving.api, id) : -1;
    if (place < 0) {
        struct problem problem;
        api_model_missing(&service_of(r)->serving.api, is_read ? id : "", "/id", &problem);
        reply_problem(r, &problem);
    }
    return place;
}

void admin_activate_model(struct request *r)
{
    int place = find_place(r);
    if (place < 0) {
        return;
    }
    model_loads_activate(&service_of(r)->loads, (size_t)place);
    struct admin_model view = view_of(service_of(r), service_of(r)->serving.models.served[0]);
    size_t bytes;
    char *body = admin_document_model(&view, &service_of(r)->serving.api, &bytes);
    reply_document(r, 200, body, bytes);
}

void admin_unload_model(struct request *r)
{
    struct problem problem;
    int place = find_place(r);
    if (place < 0) {
        return;
    }
    /* Written before it leaves, for without work it is gone at once. */
    struct admin_model view = view_of(service_of(r), service_of(r)->serving.models.served[place]);
    view.state = view.rows > 0 ? ADMIN_RETIRING : ADMIN_GONE;
    view.place = -1;
    size_t bytes;
    char *body = admin_document_model(&view, &service_of(r)->serving.api, &bytes);
    if (model_loads_unload(&service_of(r)->loads, (size_t)place, &problem) != 0) {
        free(body);
        reply_problem(r, &problem);
        return;
    }
    reply_document(r, 200, body, bytes);
}
