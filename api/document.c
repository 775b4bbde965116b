#include "api/document.h"

#include <string.h>

#include "api/document_parts.h"
#include "api/routes.h"
#include "api/text.h"

/* What a picture says of itself; without a digest, what is known before it is drawn. */
static char *document_provenance(const struct sample_params *p, const char *digest)
{
    struct text t = TEXT_INIT;
    text_printf(&t, "{\"version\":%d,", PROVENANCE_VERSION);
    document_put_making(&t, p);
    if (digest) {
        text_puts(&t, ",");
        document_put_string(&t, "digest", digest);
    }
    text_puts(&t, "}");
    return text_take(&t, NULL);
}

char *document_image_text(const struct sample_params *p, size_t i, const char *digest)
{
    struct dn_row_params row = params_row(p, i);
    struct sample_params alone = *p;
    alone.is_list = false;
    alone.labels = &row.label;
    alone.n_labels = alone.n = 1;
    alone.n_rows = 1;
    alone.index = row.index;
    alone.layout = LAYOUT_LIST;
    alone.columns = 0;
    return document_provenance(&alone, digest);
}

char *document_sheet_text(const struct sample_params *p, const char *digest)
{
    return document_provenance(p, digest);
}

char *document_samples(const struct sample_params *p, const char *id, int64_t created,
                       const struct image *images, const struct image *sheet,
                       const struct sample_timings *timings, size_t *bytes)
{
    struct text t = TEXT_INIT;
    text_puts(&t, "{");
    document_put_string(&t, "id", id);
    text_printf(&t, ",\"object\":\"sample_list\",\"created\":%lld,", (long long)created);
    document_put_making(&t, p);
    text_puts(&t, ",\"images\":[");
    for (size_t i = 0; i < p->n_rows; i++) {
        text_puts(&t, i ? ",{" : "{");
        document_put_row(&t, p, i);
        text_puts(&t, ",");
        document_put_picture(&t, &images[i]);
        text_puts(&t, "}");
    }
    text_puts(&t, "],");
    if (p->layout == LAYOUT_GRID) {
        text_puts(&t, "\"sheet\":{");
        document_put_sheet(&t, p);
        text_puts(&t, ",");
        document_put_picture(&t, sheet);
        text_puts(&t, "},");
    }
    document_put_timings(&t, timings);
    text_puts(&t, "}\n");
    return text_take(&t, bytes);
}

char *document_generation(const struct sample_params *p, int64_t created,
                          const struct image *images, size_t *bytes)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    struct text t = TEXT_INIT;
    text_printf(&t, "{\"created\":%lld,\"background\":\"opaque\",\"output_format\":\"png\",",
                (long long)created);
    text_printf(&t, "\"size\":\"%ux%u\",\"data\":[", (uint32_t)info->width * p->scale,
                (uint32_t)info->height * p->scale);
    for (size_t i = 0; i < p->n_rows; i++) {
        struct dn_row_params row = params_row(p, i);
        text_puts(&t, i ? ",{" : "{");
        document_put_string(&t, "revised_prompt", info->class_names[row.label]);
        text_printf(&t, ",\"index\":%u,", row.index);
        document_put_string(&t, "digest", images[i].digest);
        text_puts(&t, ",\"b64_json\":\"");
        text_base64(&t, images[i].png, images[i].png_bytes);
        text_puts(&t, "\"}");
    }
    /* There are no tokens, but clients may read their number. */
    text_puts(&t, "],\"usage\":{\"total_tokens\":0,\"input_tokens\":0,\"output_tokens\":0,"
                  "\"input_tokens_details\":{\"text_tokens\":0,\"image_tokens\":0}},");
    document_put_making(&t, p);
    text_puts(&t, "}\n");
    return text_take(&t, bytes);
}

static void put_defaults(struct text *t, const struct dn_model_info *info)
{
    text_puts(t, "\"defaults\":{");
    document_put_string(t, "sampler", dn_sampler_info(info->default_sampler)->name);
    text_printf(t, ",\"steps\":%d,", info->default_steps);
    document_put_number(t, "guidance_scale", info->default_guidance_scale);
    text_puts(t, ",");
    document_put_interval(t, "guidance_interval", info->default_guidance_interval);
    text_puts(t, "}");
}

/* What each sets, and the network evaluations that an image then takes. */
static void put_presets(struct text *t, const struct dn_model *model)
{
    const struct dn_model_info *info = dn_model_info(model);
    text_puts(t, "\"presets\":[");
    for (size_t i = 0; i < info->n_presets; i++) {
        const struct dn_preset *preset = &info->presets[i];
        text_puts(t, i ? ",{" : "{");
        document_put_string(t, "name", preset->name);
        text_puts(t, ",");
        document_put_string(t, "sampler", dn_sampler_info(preset->sampler)->name);
        text_printf(t, ",\"steps\":%u,", preset->steps);
        document_put_number(t, "guidance_scale", preset->guidance_scale);
        if (preset->has_guidance_interval) {
            text_puts(t, ",");
            document_put_interval(t, "guidance_interval", preset->guidance_interval);
        }
        if (preset->has_eta) {
            text_puts(t, ",");
            document_put_number(t, "eta", preset->eta);
        }
        const struct dn_row_params row = {
            .steps = preset->steps,
            .sampler = preset->sampler,
            .guidance_scale = preset->guidance_scale,
            .guidance_interval = preset->has_guidance_interval ? preset->guidance_interval
                                                               : info->default_guidance_interval};
        text_printf(t, ",\"evaluations\":%u}", dn_model_row_evaluations(model, &row));
    }
    text_puts(t, "]");
}

/* Null where any number up to T will do. */
static void put_step_counts(struct text *t, const struct dn_model_info *info)
{
    if (info->n_step_lists == 0) {
        text_puts(t, "null");
        return;
    }
    for (size_t i = 0; i < info->n_step_lists; i++) {
        text_printf(t, "%s%u", i ? "," : "[", info->step_lists[i].steps);
    }
    text_puts(t, "]");
}

static void put_model(struct text *t, const struct api_context *context, size_t model_idx)
{
    const struct dn_model_info *info = dn_model_info(context->models[model_idx]);
    text_puts(t, "{");
    document_put_string(t, "id", info->name);
    text_printf(t, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"denoised\"",
                (long long)context->created[model_idx]);
    text_puts(t, ",");
    document_put_aliases(t, context, (int)model_idx);
    text_puts(t, ",");
    document_put_string(t, "digest", info->digest);
    text_printf(t, ",\"default\":%s,", model_idx == 0 ? "true" : "false");
    document_put_string(t, "architecture", info->arch);
    text_printf(t, ",\"parameters\":%zu,\"file_bytes\":%zu,", info->n_parameters, info->file_bytes);
    document_put_number(t, "multiply_adds", info->macs);
    text_printf(t, ",\"image\":{\"height\":%d,\"width\":%d,\"channels\":%d},\"classes\":[",
                info->height, info->width, info->channels);
    for (int i = 0; i < info->n_classes; i++) {
        text_puts(t, i ? "," : "");
        text_json_string(t, info->class_names[i]);
    }
    text_printf(t, "],\"timesteps\":%d,\"step_counts\":", info->timesteps);
    put_step_counts(t, info);
    text_puts(t, ",");
    document_put_string(t, "prediction", info->prediction);
    text_printf(t,
                ",\"guidance\":%s,\"fixed_guidance_scale\":", info->can_guide ? "true" : "false");
    if (info->has_fixed_guidance) {
        text_json_number(t, info->default_guidance_scale);
    } else {
        text_puts(t, "null");
    }
    text_puts(t, ",\"samplers\":[");
    for (int i = 0, n = 0; i < DN_SAMPLER_COUNT; i++) {
        if (info->samplers & UINT32_C(1) << i) {
            text_puts(t, n++ ? "," : "");
            text_json_string(t, dn_sampler_info((enum dn_sampler)i)->name);
        }
    }
    text_puts(t, "],");
    put_defaults(t, info);
    text_puts(t, ",");
    put_presets(t, context->models[model_idx]);
    text_puts(t, ",");
    document_put_determinism(t, info);
    text_puts(t, "}");
}

char *document_models(const struct api_context *context, size_t *bytes)
{
    struct text t = TEXT_INIT;
    text_puts(&t, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < context->n_models; i++) {
        text_puts(&t, i ? "," : "");
        put_model(&t, context, i);
    }
    text_puts(&t, "]}\n");
    return text_take(&t, bytes);
}

char *document_model(const struct api_context *context, size_t model_idx, size_t *bytes)
{
    struct text t = TEXT_INIT;
    put_model(&t, context, model_idx);
    text_puts(&t, "\n");
    return text_take(&t, bytes);
}

static void put_sampler(struct text *t, const struct dn_sampler_info *info)
{
    text_puts(t, "{");
    document_put_string(t, "name", info->name);
    text_puts(t, ",");
    document_put_string(t, "title", info->title);
    text_puts(t, ",");
    document_put_string(t, "source", info->source);
    text_printf(t, ",\"has_eta\":%s,\"stochastic\":%s,\"order\":%d}",
                info->has_eta ? "true" : "false", info->stochastic ? "true" : "false", info->order);
}

static void put_batching(struct text *t, const struct api_context *context)
{
    text_printf(t, "\"batching\":{\"workers\":%u,\"max_batch\":%u,\"evaluations\":{",
                context->workers, context->max_batch);
    for (size_t i = 0; i < context->n_models; i++) {
        text_puts(t, i ? "," : "");
        text_json_string(t, dn_model_info(context->models[i])->name);
        text_printf(t, ":%u", context->batch_limits[i]);
    }
    text_puts(t, "}},");
}

char *document_capabilities(const struct api_context *context, size_t *bytes)
{
    const struct dn_model_info *info = dn_model_info(context->models[0]);
    struct text t = TEXT_INIT;
    text_puts(&t, "{\"object\":\"capabilities\",");
    document_put_model_ref(&t, info);
    text_puts(&t, ",\"models\":[");
    for (size_t i = 0; i < context->n_models; i++) {
        text_puts(&t, i ? "," : "");
        text_json_string(&t, dn_model_info(context->models[i])->name);
    }
    text_puts(&t, "],\"samplers\":[");
    for (int i = 0; i < DN_SAMPLER_COUNT; i++) {
        text_puts(&t, i ? "," : "");
        put_sampler(&t, dn_sampler_info((enum dn_sampler)i));
    }
    text_puts(&t,
              "],\"formats\":[\"png\",\"apng\"],\"layouts\":[\"list\",\"grid\"],\"media_types\":[");
    const char *const *types = routes[ROUTE_SAMPLES].types;
    for (int i = 0; i < ROUTE_MAX_TYPES && types[i]; i++) {
        text_printf(&t, "%s\"%s\"", i ? "," : "", types[i]);
    }
    text_puts(&t, "],\"limits\":{");
    text_printf(&t, "\"rows_per_request\":%u,\"queue_rows\":%u,\"body_bytes\":%u,",
                context->max_rows_per_request, context->max_queue_rows, context->max_body_bytes);
    text_printf(&t, "\"pixel_bytes\":%u,\"seed\":%llu,\"steps\":%d,", PARAMS_MAX_PIXEL_BYTES,
                (unsigned long long)DN_SEED_MAX, info->timesteps);
    text_printf(&t, "\"guidance_scale\":%g,\"scale\":%d,\"frames\":%d},", DN_GUIDANCE_MAX,
                PARAMS_SCALE_MAX, PARAMS_FRAMES_MAX);
    put_batching(&t, context);
    put_defaults(&t, info);
    text_puts(&t, ",");
    document_put_determinism(&t, info);
    text_puts(&t, "}\n");
    return text_take(&t, bytes);
}

char *document_discovery(bool is_admin, size_t *bytes)
{
    struct text t = TEXT_INIT;
    text_puts(&t, "{\"name\":\"denoised\",\"description\":\"Draws images from a trained diffusion "
                  "network\",\"openapi\":\"/openapi.json\",\"routes\":[");
    for (int i = 0, n = 0; i < ROUTE_COUNT; i++) {
        if (route_is_admin(i) != is_admin) {
            continue;
        }
        text_puts(&t, n++ ? ",{" : "{");
        document_put_string(&t, "method", routes[i].method);
        text_puts(&t, ",");
        document_put_string(&t, "path", routes[i].pattern);
        text_puts(&t, "}");
    }
    text_puts(&t, "]}\n");
    return text_take(&t, bytes);
}
