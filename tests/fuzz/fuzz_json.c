/* Fuzz target: the bodies of all routes that take JSON, and the same text in a picture's chunk. */
#include <stdlib.h>
#include <string.h>

#include "api/admin.h"
#include "api/document.h"
#include "api/openai.h"
#include "api/png.h"
#include "api/provenance.h"
#include "tests/fuzz/fuzz.h"

static void judge(int rc, struct sample_params *p, const struct problem *problem)
{
    if (rc == 0) {
        fuzz_check_params(p);
        params_free(p);
    } else {
        fuzz_check_problem(problem);
    }
}

/* The text as a picture of the model's size says it. */
static void read_picture(const uint8_t *data, size_t size)
{
    static const uint8_t pixels[16];
    char *about = fuzz_text(data, size);
    const struct png_text text = {.key = PROVENANCE_KEY, .text = about};
    uint8_t *png;
    size_t bytes;
    fuzz_check(png_encode(&png, &bytes, pixels, 4, 4, 1, 1, &text, 1) == 0, "a PNG can be made");
    struct provenance claim;
    struct problem problem;
    if (provenance_read(&claim, fuzz_context(), png, bytes, &problem) == 0) {
        fuzz_check_params(&claim.params);
        char *verdict = provenance_document(&claim, &claim.params, pixels, &bytes);
        fuzz_check(verdict != NULL, "there is memory");
        free(verdict);
        provenance_free(&claim);
    } else {
        fuzz_check_problem(&problem);
    }
    free(about);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct api_context *context = fuzz_context();
    const char *body = size ? (const char *)data : "";
    struct sample_params p;
    struct problem problem;
    bool is_stream;
    static const enum params_kind kinds[] = {PARAMS_SAMPLE, PARAMS_FILM, PARAMS_JOB};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        judge(params_from_body(&p, context, kinds[i], body, size, &problem), &p, &problem);
    }
    judge(openai_params_from_body(&p, &is_stream, context, body, size, &problem), &p, &problem);
    struct admin_load load;
    if (admin_load_read(&load, body, size, &problem) == 0) {
        fuzz_check(load.path[0] && strlen(load.path) < sizeof load.path, "a path to load");
    } else {
        fuzz_check_problem(&problem);
    }
    read_picture(data, size);
    return 0;
}
