#include "api/event_document.h"

#include <stdlib.h>
#include <string.h>

#include "api/document_parts.h"

static void begin(struct text *t, const char *name, uint64_t version)
{
    text_printf(t, "event: %s\n", name);
    if (version) {
        text_printf(t, "id: %llu\n", (unsigned long long)version);
    }
    text_puts(t, "data: ");
}

static char *end(struct text *t, size_t *bytes)
{
    text_puts(t, "\n\n");
    return text_take(t, bytes);
}

char *event_started(const struct sample_params *p, const char *id, int64_t created,
                    uint64_t version, size_t *bytes)
{
    struct text t = TEXT_INIT;
    begin(&t, "started", version);
    text_puts(&t, "{");
    document_put_string(&t, "id", id);
    text_printf(&t, ",\"created\":%lld,", (long long)created);
    document_put_making(&t, p);
    text_puts(&t, "}");
    return end(&t, bytes);
}

char *event_progress(const struct job_progress *progress, uint64_t version, size_t *bytes)
{
    struct text t = TEXT_INIT;
    begin(&t, "progress", version);
    job_document_put_progress(&t, progress);
    return end(&t, bytes);
}

char *event_preview(const struct sample_params *p, uint32_t i, uint32_t step, const uint8_t *pixels,
                    uint64_t version, size_t *bytes)
{
    struct image image = {.png = NULL};
    if (image_encode_preview(&image, p, pixels) != 0) {
        return NULL;
    }
    struct text t = TEXT_INIT;
    begin(&t, "preview", version);
    text_puts(&t, "{");
    document_put_row(&t, p, i);
    text_printf(&t, ",\"step\":%u,\"steps\":%u,\"mime\":\"image/png\",\"b64\":\"", step, p->steps);
    text_base64(&t, image.png, image.png_bytes);
    text_puts(&t, "\"}");
    image_free(&image);
    return end(&t, bytes);
}

char *event_image(const struct sample_params *p, uint32_t i, const struct image *image,
                  uint64_t version, size_t *bytes)
{
    struct text t = TEXT_INIT;
    begin(&t, "image", version);
    text_puts(&t, "{");
    document_put_row(&t, p, i);
    text_puts(&t, ",");
    document_put_picture(&t, image);
    text_puts(&t, "}");
    return end(&t, bytes);
}

char *event_completed(const struct sample_params *p, const char *id, const struct image *sheet,
                      bool is_link, const struct sample_timings *timings, uint64_t version,
                      size_t *bytes)
{
    struct text t = TEXT_INIT;
    begin(&t, "completed", version);
    text_puts(&t, "{");
    document_put_string(&t, "id", id);
    text_printf(&t, ",\"images\":%zu", p->n_rows);
    if (p->layout == LAYOUT_GRID) {
        text_puts(&t, ",\"sheet\":{");
        document_put_sheet(&t, p);
        text_puts(&t, ",");
        if (is_link) {
            text_printf(&t, "\"digest\":\"%s\",\"mime\":\"%s\",\"url\":\"/v1/jobs/%s/grid.png\"",
                        sheet->digest, sheet->mime, id);
        } else {
            document_put_picture(&t, sheet);
        }
        text_puts(&t, "}");
    }
    text_puts(&t, ",");
    document_put_timings(&t, timings);
    text_puts(&t, "}");
    return end(&t, bytes);
}

char *event_error(const struct problem *problem, const char *request_id, uint64_t version,
                  size_t *bytes)
{
    size_t json_bytes;
    char *json = problem_json(problem, request_id, &json_bytes);
    if (!json) {
        return NULL;
    }
    struct text t = TEXT_INIT;
    begin(&t, "error", version);
    text_append(&t, json, strcspn(json, "\n"));
    free(json);
    return end(&t, bytes);
}
