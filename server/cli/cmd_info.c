/*
 * `denoised info`: what this program is, runs on and computes with, for a person or as JSON.
 */
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "api/libraries.h"
#include "api/text.h"
#include "server/cli/commands.h"
#include "server/cli/shown.h"
#include "server/system/processors.h"

static const enum dn_isa isas[] = {DN_ISA_SCALAR, DN_ISA_OPENBLAS, DN_ISA_AVX2,
                                   DN_ISA_AVX512, DN_ISA_AMX,      DN_ISA_NEON};
#define N_ISAS (sizeof isas / sizeof isas[0])

/* The version in OpenBLAS's configuration line, "OpenBLAS 0.3.21 NO_LAPACKE ...". */
static void blas_version(char *version, size_t bytes)
{
    const char *config = dn_blas_config(), *start = config + strcspn(config, "0123456789");
    snprintf(version, bytes, "%.*s", (int)strcspn(start, " "), start);
}

/* The config on one line. It was parsed when it was opened, so lines end between its strings alone,
 * and what is escaped stands in them. */
static void put_config(struct text *t, const char *config)
{
    char *line = strdup(config);
    for (char *at = line; at != NULL && (at = strpbrk(at, "\t\r\n")) != NULL;)
        *at = ' ';
    if (line != NULL)
        text_shown(t, line);
    else
        t->failed = true;
    free(line);
}

/* ---- for a person --------------------------------------------------------------------------- */

static void print_program(const struct options *o)
{
    char features[512], version[32];
    struct api_libraries libraries;
    struct processors processors;
    processors_read(&processors);
    dn_cpu_features(features, sizeof features);
    blas_version(version, sizeof version);
    api_libraries(&libraries);
    printf("denoised    %s (%s)\n", DENOISED_VERSION, DENOISED_REVISION);
    printf("processors  %d", processors.allowed);
    if (processors.quota > 0)
        printf(" and time for %.4g of them", processors.quota);
    printf(", %s\n", features);
    printf("isa        ");
    for (size_t i = 0; i < N_ISAS; i++)
        if (dn_isa_available(isas[i]))
            printf(" %s", dn_isa_name(isas[i]));
    printf("\nBLAS        %s, core type %s", dn_blas_config(), dn_blas_core());
    if (o->blas_core_was != NULL)
        printf(" (corrected: OpenBLAS chose %s)", o->blas_core_was);
    else if (dn_blas_better_core() != NULL)
        printf(" (%s would be faster)", dn_blas_better_core());
    printf("\nlibraries   libmicrohttpd %s, libuv %s, cJSON %s, libpng %s, zlib %s, nettle %s, "
           "OpenBLAS %s\n",
           MHD_get_version(), uv_version_string(), libraries.cjson, libraries.libpng,
           libraries.zlib, libraries.nettle, version);
}

static void print_presets(const struct dn_model_info *info)
{
    for (size_t i = 0; i < info->n_presets; i++) {
        const struct dn_preset *preset = &info->presets[i];
        printf("%s %s: %s, %u step%s, guidance %g", i == 0 ? "presets    " : ";", preset->name,
               dn_sampler_info(preset->sampler)->name, preset->steps, preset->steps == 1 ? "" : "s",
               preset->guidance_scale);
        if (preset->has_guidance_interval)
            printf(" in %g..%g", preset->guidance_interval.start, preset->guidance_interval.end);
        if (preset->has_eta)
            printf(", eta %g", preset->eta);
    }
    printf("%s", info->n_presets > 0 ? "\n" : "");
}

static void print_model(const char *path, const struct dn_model_info *info, const struct options *o)
{
    printf("\nmodel       %s, ", info->name);
    print_shown(stdout, path);
    printf("\n");
    printf("digest      %s, %zu bytes\n", info->digest, info->file_bytes);
    printf("network     %s, %zu parameters, %.4g M multiply-adds an evaluation\n", info->arch,
           info->n_parameters, info->macs * 1e-6);
    printf("image       %d x %d, %d channel%s\n", info->width, info->height, info->channels,
           info->channels == 1 ? "" : "s");
    printf("classes    ");
    for (int i = 0; i < info->n_classes; i++) {
        printf(" %d=", i);
        print_shown(stdout, info->class_names[i]);
    }
    printf("\nsamplers   ");
    for (int i = 0; i < DN_SAMPLER_COUNT; i++)
        if ((info->samplers & (1u << i)) != 0)
            printf(" %s", dn_sampler_info((enum dn_sampler)i)->name);
    printf("\nsampling    %s, ", info->prediction);
    for (size_t i = 0; i < info->n_step_lists; i++)
        printf("%s%u", i ? " or " : "", info->step_lists[i].steps);
    if (info->n_step_lists == 0)
        printf("up to %d", info->timesteps);
    printf(" steps; default %s, %d steps, guidance %g%s",
           dn_sampler_info(info->default_sampler)->name, info->default_steps,
           info->default_guidance_scale, info->has_fixed_guidance ? " (fixed)" : "");
    if (info->default_guidance_interval.start > 0 || info->default_guidance_interval.end < 1)
        printf(" in %g..%g", info->default_guidance_interval.start,
               info->default_guidance_interval.end);
    printf("\n");
    print_presets(info);
    printf("kernels     %s (isa %s, precision %s", info->kernels, dn_isa_name(info->isa),
           dn_precision_name(info->precision));
    printf(o->precision == DN_PRECISION_AUTO ? ": %s)\n" : ")\n", dn_precision_reason(o->isa));
    struct text config = TEXT_INIT;
    put_config(&config, info->config);
    char *line = text_take(&config, NULL);
    printf("config      %s\n", line != NULL ? line : dn_strerror(DN_ENOMEM));
    free(line);
}

/* ---- as JSON -------------------------------------------------------------------------------- */

static void put_string(struct text *t, const char *key, const char *value)
{
    text_printf(t, "\"%s\":", key);
    if (value != NULL)
        text_json_string(t, value);
    else
        text_puts(t, "null");
}

static void put_strings(struct text *t, const char *key, const char *const *values, size_t n)
{
    text_printf(t, "\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        text_puts(t, i > 0 ? "," : "");
        text_json_string(t, values[i]);
    }
    text_puts(t, "]");
}

static void put_program(struct text *t, const struct options *o)
{
    char features[512], version[32];
    const char *words[64], *isa_names[N_ISAS];
    size_t n_words = 0, n_isas = 0;
    struct processors processors;
    processors_read(&processors);
    dn_cpu_features(features, sizeof features);
    for (char *rest = features, *word; (word = strsep(&rest, " ")) != NULL && n_words < 64;)
        if (word[0] != '\0')
            words[n_words++] = word;
    for (size_t i = 0; i < N_ISAS; i++)
        if (dn_isa_available(isas[i]))
            isa_names[n_isas++] = dn_isa_name(isas[i]);
    put_string(t, "version", DENOISED_VERSION);
    text_puts(t, ",");
    put_string(t, "revision", DENOISED_REVISION);
    text_printf(t, ",\"processors\":%d,\"cpu_quota\":", processors.allowed);
    if (processors.quota > 0)
        text_json_number(t, processors.quota);
    else
        text_puts(t, "null");
    text_printf(t, ",\"usable_processors\":%d,", processors.usable);
    put_strings(t, "cpu_features", words, n_words);
    text_puts(t, ",");
    put_strings(t, "isas", isa_names, n_isas);
    text_puts(t, ",\"blas\":{");
    put_string(t, "config", dn_blas_config());
    text_puts(t, ",");
    put_string(t, "core", dn_blas_core());
    text_puts(t, ",");
    put_string(t, "corrected_from", o->blas_core_was);
    text_puts(t, ",");
    put_string(t, "better_core", dn_blas_better_core());

    struct api_libraries libraries;
    api_libraries(&libraries);
    blas_version(version, sizeof version);
    const struct {
        const char *name, *version;
    } all[] = {{"libmicrohttpd", MHD_get_version()},
               {"libuv", uv_version_string()},
               {"cjson", libraries.cjson},
               {"libpng", libraries.libpng},
               {"zlib", libraries.zlib},
               {"nettle", libraries.nettle},
               {"openblas", version}};
    text_puts(t, "},\"libraries\":{");
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        text_puts(t, i > 0 ? "," : "");
        put_string(t, all[i].name, all[i].version);
    }
    text_puts(t, "}");
}

static void put_model(struct text *t, const char *path, const struct dn_model_info *info,
                      const struct options *o)
{
    const char *samplers[DN_SAMPLER_COUNT];
    size_t n_samplers = 0;
    for (int i = 0; i < DN_SAMPLER_COUNT; i++)
        if ((info->samplers & (1u << i)) != 0)
            samplers[n_samplers++] = dn_sampler_info((enum dn_sampler)i)->name;
    text_puts(t, "{");
    put_string(t, "id", info->name);
    text_puts(t, ",");
    put_string(t, "file", path);
    text_puts(t, ",");
    put_string(t, "digest", info->digest);
    text_puts(t, ",");
    put_string(t, "architecture", info->arch);
    text_printf(t, ",\"file_bytes\":%zu,\"parameters\":%zu,\"macs\":%.0f,", info->file_bytes,
                info->n_parameters, info->macs);
    text_printf(t, "\"image\":{\"channels\":%d,\"height\":%d,\"width\":%d},", info->channels,
                info->height, info->width);
    put_strings(t, "classes", info->class_names, (size_t)info->n_classes);
    text_puts(t, ",");
    put_strings(t, "samplers", samplers, n_samplers);
    text_puts(t, ",");
    put_string(t, "prediction", info->prediction);
    text_printf(t, ",\"timesteps\":%d,\"default\":{", info->timesteps);
    put_string(t, "sampler", dn_sampler_info(info->default_sampler)->name);
    text_printf(t, ",\"steps\":%d,\"guidance_scale\":", info->default_steps);
    text_json_number(t, info->default_guidance_scale);
    text_puts(t, ",\"guidance_interval\":[");
    text_json_number(t, info->default_guidance_interval.start);
    text_puts(t, ",");
    text_json_number(t, info->default_guidance_interval.end);
    text_puts(t, "]");
    text_puts(t, "},");
    put_string(t, "isa", dn_isa_name(info->isa));
    text_puts(t, ",");
    put_string(t, "precision", dn_precision_name(info->precision));
    text_puts(t, ",");
    put_string(t, "precision_reason",
               o->precision == DN_PRECISION_AUTO ? dn_precision_reason(o->isa) : NULL);
    text_puts(t, ",");
    put_string(t, "kernels", info->kernels);
    text_puts(t, ",\"config\":");
    put_config(t, info->config);
    text_puts(t, "}");
}

int cmd_info(const struct options *o)
{
    struct text json = TEXT_INIT;
    if (o->json) {
        text_puts(&json, "{");
        put_program(&json, o);
        text_puts(&json, ",\"models\":[");
    } else {
        print_program(o);
    }
    int status = 0;
    for (int i = 0; status == 0 && i < o->n_models; i++) {
        struct dn_error err = {.code = DN_OK};
        struct dn_model *model;
        const struct dn_model_options model_options = {.isa = o->isa, .precision = o->precision};
        if (dn_model_open(&model, o->models[i], &model_options, &err) < 0) {
            complain("%s", err.text);
            status = 1;
            break;
        }
        text_puts(&json, i > 0 && o->json ? "," : "");
        if (o->json)
            put_model(&json, o->models[i], dn_model_info(model), o);
        else
            print_model(o->models[i], dn_model_info(model), o);
        dn_model_free(model);
    }
    if (o->n_models == 0 && !o->json)
        printf("\nmodel       none: those that come with denoised are not there\n");
    if (!o->json || status != 0) {
        text_free(&json);
        return status;
    }
    text_puts(&json, "]}");
    char *text = text_take(&json, NULL);
    if (text == NULL) {
        complain("%s", dn_strerror(DN_ENOMEM));
        return 1;
    }
    puts(text);
    free(text);
    return 0;
}
