#include "api/job_document.h"

#include "api/document_parts.h"

static void put_time(struct text *t, const char *key, int64_t time_s)
{
    if (time_s) {
        text_printf(t, ",\"%s\":%lld", key, (long long)time_s);
    } else {
        text_printf(t, ",\"%s\":null", key);
    }
}

void job_document_put_progress(struct text *t, const struct job_progress *progress)
{
    text_printf(t, "{\"step\":%u,\"steps\":%u,\"images_done\":%u,\"images\":%u,\"eta_ms\":%.3f}",
                progress->step, progress->steps, progress->images_done, progress->images,
                progress->eta_ms);
}

static void put_links(struct text *t, const struct job_view *job)
{
    static const struct {
        const char *name, *path;
        bool needs_images;
    } links[] = {{"self", "", false},
                 {"events", "/events", false},
                 {"cancel", "/cancel", false},
                 {"result", "/result", true},
                 {"grid", "/grid.png", true}};
    text_puts(t, ",\"links\":{");
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        if (!links[i].needs_images || job->images) {
            text_printf(t, "%s\"%s\":\"/v1/jobs/%s%s\"", i ? "," : "", links[i].name, job->id,
                        links[i].path);
        }
    }
    text_puts(t, "}");
}

static void put_images(struct text *t, const struct job_view *job)
{
    text_puts(t, ",\"images\":[");
    for (size_t i = 0; i < job->params->n_rows; i++) {
        text_puts(t, i ? ",{" : "{");
        document_put_row(t, job->params, i);
        text_puts(t, ",");
        document_put_string(t, "digest", job->images[i].digest);
        text_printf(t, ",\"url\":\"/v1/jobs/%s/images/%zu.png\"}", job->id, i);
    }
    text_puts(t, "]");
}

static void put_error(struct text *t, const struct problem *problem)
{
    text_puts(t, ",\"error\":{");
    document_put_string(t, "type", problem_type(problem->kind));
    text_puts(t, ",");
    document_put_string(t, "detail", problem->detail);
    text_puts(t, "}");
}

void job_document_put(struct text *t, const struct job_view *job)
{
    text_puts(t, "{");
    document_put_string(t, "id", job->id);
    text_puts(t, ",\"object\":\"job\",");
    document_put_string(t, "status", job->status);
    text_printf(t, ",\"created\":%lld", (long long)job->created);
    text_puts(t, ",");
    document_put_string(t, "priority", priority_names[job->params->priority]);
    put_time(t, "started", job->started);
    put_time(t, "finished", job->finished);
    put_time(t, "expires", job->expires);
    text_puts(t, ",");
    document_put_making(t, job->params);
    text_puts(t, ",\"progress\":");
    job_document_put_progress(t, &job->progress);
    put_links(t, job);
    if (job->images) {
        put_images(t, job);
    }
    if (job->problem) {
        put_error(t, job->problem);
    }
    text_puts(t, "}");
}

char *job_document(const struct job_view *job, size_t *bytes)
{
    struct text t = TEXT_INIT;
    job_document_put(&t, job);
    text_puts(&t, "\n");
    return text_take(&t, bytes);
}
