#include "api/openai_events.h"

#include <stdlib.h>
#include <string.h>

#include "api/document_parts.h"
#include "api/openai.h"

/* What both kinds of images begin with. */
static void begin(struct text *t, const char *type, const struct sample_params *p, uint32_t i,
                  uint32_t scale, int64_t created)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    text_printf(t, "event: %s\ndata: {\"type\":\"%s\",\"created_at\":%lld,", type, type,
                (long long)created);
    text_printf(t, "\"size\":\"%ux%u\",\"background\":\"opaque\",\"output_format\":\"png\",",
                (uint32_t)info->width * scale, (uint32_t)info->height * scale);
    document_put_string(t, "revised_prompt", info->class_names[params_row(p, i).label]);
    text_printf(t, ",\"index\":%u,", params_row(p, i).index);
}

static char *end(struct text *t, const struct image *image, size_t *bytes)
{
    text_puts(t, "\"b64_json\":\"");
    text_base64(t, image->png, image->png_bytes);
    text_puts(t, "\"}\n\n");
    return text_take(t, bytes);
}

char *openai_event_partial(const struct sample_params *p, uint32_t i, uint32_t step,
                           const uint8_t *pixels, int64_t created, size_t *bytes)
{
    struct image image = {.png = NULL};
    if (image_encode_preview(&image, p, pixels) != 0) {
        return NULL;
    }
    struct text t = TEXT_INIT;
    begin(&t, "image_generation.partial_image", p, i, 1, created);
    text_printf(&t, "\"partial_image_index\":%u,", step / p->preview_every - 1);
    char *event = end(&t, &image, bytes);
    image_free(&image);
    return event;
}

char *openai_event_completed(const struct sample_params *p, uint32_t i, const struct image *image,
                             int64_t created, size_t *bytes)
{
    struct text t = TEXT_INIT;
    begin(&t, "image_generation.completed", p, i, p->scale, created);
    document_put_string(&t, "digest", image->digest);
    text_printf(&t, ",\"seed\":%llu,", (unsigned long long)p->seed);
    document_put_model_ref(&t, dn_model_info(p->model));
    text_puts(&t, ",");
    text_puts(&t, "\"usage\":{\"total_tokens\":0,\"input_tokens\":0,\"output_tokens\":0,"
                  "\"input_tokens_details\":{\"text_tokens\":0,\"image_tokens\":0}},");
    return end(&t, image, bytes);
}

char *openai_event_error(const struct problem *problem, size_t *bytes)
{
    char *json = openai_error(problem, NULL);
    struct text t = TEXT_INIT;
    text_puts(&t, "event: error\ndata: ");
    text_append(&t, json ? json : "", json ? strcspn(json, "\n") : 0);
    text_puts(&t, "\n\n");
    char *event = text_take(&t, bytes);
    if (!json) {
        free(event);
        return NULL;
    }
    free(json);
    return event;
}

char *openai_event_done(size_t *bytes)
{
    struct text t = TEXT_INIT;
    text_puts(&t, "data: [DONE]\n\n");
    return text_take(&t, bytes);
}
