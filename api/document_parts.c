#include "api/document_parts.h"

void document_put_string(struct text *t, const char *key, const char *value)
{
    text_printf(t, "\"%s\":", key);
    text_json_string(t, value);
}

void document_put_number(struct text *t, const char *key, double value)
{
    text_printf(t, "\"%s\":", key);
    text_json_number(t, value);
}

void document_put_interval(struct text *t, const char *key, struct dn_interval interval)
{
    text_printf(t, "\"%s\":[", key);
    text_json_number(t, interval.start);
    text_puts(t, ",");
    text_json_number(t, interval.end);
    text_puts(t, "]");
}

static void put_ms(struct text *t, const char *key, double ms)
{
    text_printf(t, "\"%s\":%.3f", key, ms);
}

void document_put_timings(struct text *t, const struct sample_timings *timings)
{
    text_puts(t, "\"timings\":{");
    put_ms(t, "queue_ms", timings->queue_ms);
    text_puts(t, ",");
    put_ms(t, "sample_ms", timings->sample_ms);
    text_puts(t, ",");
    put_ms(t, "encode_ms", timings->encode_ms);
    text_puts(t, "}");
}

void document_put_model_ref(struct text *t, const struct dn_model_info *info)
{
    text_puts(t, "\"model\":{");
    document_put_string(t, "id", info->name);
    text_puts(t, ",");
    document_put_string(t, "digest", info->digest);
    text_puts(t, "}");
}

void document_put_determinism(struct text *t, const struct dn_model_info *info)
{
    text_puts(t, "\"determinism\":{");
    document_put_string(t, "model_digest", info->digest);
    text_puts(t, ",");
    document_put_string(t, "precision", dn_precision_name(info->precision));
    text_puts(t, ",");
    document_put_string(t, "kernels", info->kernels);
    text_puts(t, "}");
}

/* steps, sampler, guidance_scale, of guided images guidance_interval, and eta where the sampler has
 * one. */
static void put_sampling(struct text *t, const struct sample_params *p)
{
    const struct dn_sampler_info *sampler = dn_sampler_info(p->sampler);
    text_printf(t, "\"steps\":%u,", p->steps);
    document_put_string(t, "sampler", sampler->name);
    text_puts(t, ",");
    document_put_number(t, "guidance_scale", p->guidance_scale);
    if (dn_model_info(p->model)->can_guide && p->guidance_scale != 1) {
        text_puts(t, ",");
        document_put_interval(t, "guidance_interval", p->guidance_interval);
    }
    if (sampler->has_eta) {
        text_puts(t, ",");
        document_put_number(t, "eta", p->eta);
    }
}

/* label or labels, and n. */
static void put_labels(struct text *t, const struct sample_params *p)
{
    if (!p->is_list) {
        text_printf(t, "\"label\":%u", p->labels[0]);
    } else {
        text_puts(t, "\"labels\":[");
        for (size_t i = 0; i < p->n_labels; i++) {
            text_printf(t, "%s%u", i ? "," : "", p->labels[i]);
        }
        text_puts(t, "]");
    }
    text_printf(t, ",\"n\":%u", p->n);
}

static void put_params(struct text *t, const struct sample_params *p)
{
    text_puts(t, "\"params\":{");
    put_labels(t, p);
    text_printf(t, ",\"seed\":%llu,\"index\":%u,", (unsigned long long)p->seed, p->index);
    put_sampling(t, p);
    if (p->format == FORMAT_APNG) {
        text_printf(t, ",\"format\":\"apng\",\"frames\":%u,\"frame_ms\":%u", p->frames,
                    p->frame_ms);
    } else {
        text_puts(t, ",\"format\":\"png\"");
    }
    text_printf(t, ",\"layout\":\"%s\",\"scale\":%u", p->layout == LAYOUT_GRID ? "grid" : "list",
                p->scale);
    if (p->layout == LAYOUT_GRID) {
        text_printf(t, ",\"columns\":%u", p->columns);
    }
    text_puts(t, "}");
}

void document_put_making(struct text *t, const struct sample_params *p)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    document_put_model_ref(t, info);
    text_puts(t, ",");
    put_params(t, p);
    text_puts(t, ",");
    document_put_determinism(t, info);
}

void document_put_row(struct text *t, const struct sample_params *p, size_t i)
{
    struct dn_row_params row = params_row(p, i);
    text_printf(t, "\"index\":%u,\"label\":%u,\"seed\":%llu", row.index, row.label,
                (unsigned long long)row.seed);
}

void document_put_picture(struct text *t, const struct image *image)
{
    document_put_string(t, "digest", image->digest);
    if (image->png) {
        text_printf(t, ",\"mime\":\"%s\",\"b64\":\"", image->mime);
        text_base64(t, image->png, image->png_bytes);
        text_puts(t, "\"");
    }
}

void document_put_sheet(struct text *t, const struct sample_params *p)
{
    const struct dn_model_info *info = dn_model_info(p->model);
    text_printf(t, "\"rows\":%u,\"columns\":%u,\"height\":%u,\"width\":%u", params_grid_rows(p),
                p->columns, params_grid_rows(p) * (uint32_t)info->height * p->scale,
                p->columns * (uint32_t)info->width * p->scale);
}

void document_put_aliases(struct text *t, const struct api_context *context, int model_idx)
{
    text_puts(t, "\"aliases\":[");
    for (size_t i = 0, n = 0; i < context->n_aliases; i++) {
        if ((int)context->aliases[i].model_idx == model_idx) {
            text_puts(t, n++ ? "," : "");
            text_json_string(t, context->aliases[i].name);
        }
    }
    text_puts(t, "]");
}
