/*
 * denoise: the sampling engine. This is its whole public surface.
 *
 * A *model* is a trained class-conditional diffusion network, immutable once open and free to be
 * shared by threads. A *row* is one image being denoised: label, seed, its place in its own
 * timestep list, its sampler's history. A *workspace* is the memory of one worker. dn_step()
 * advances any set of rows of one model by one step, whatever their labels, timesteps, samplers and
 * guidance.
 *
 * Determinism: a row's pixels are a function of (model digest, dn_row_params, determinism domain)
 * alone. They do not depend on the other rows of a call, the place in it, the workspace or the
 * thread.
 *
 * Threads: a model may be used by many threads at once; a row and a workspace by one at a time.
 * The library has no mutable global state of its own, writes no log and never exits. (Opening a
 * model for the OpenBLAS kernels sets OpenBLAS to one thread a call, which is the whole process's
 * setting.)
 *
 * Shapes: H W C are an image's height, width and channels; images are [H,W,C], row-major.
 */
#ifndef DENOISE_H
#define DENOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- errors ---------------------------------------------------------------------------------- */

#define DN_CODES(X)                                                                                \
    X(0, DN_OK, "success")                                                                         \
    X(-1, DN_ENOMEM, "out of memory")                                                              \
    X(-2, DN_EINVAL, "invalid argument")                                                           \
    X(-3, DN_EIO, "input/output error")                                                            \
    X(-4, DN_EFORMAT, "malformed model file")                                                      \
    X(-5, DN_EUNSUPPORTED, "not supported here")

enum dn_code {
#define DN_CODE(number, name, text) name = (number),
    DN_CODES(DN_CODE)
#undef DN_CODE
};

/* What went wrong, for a person. Filled by the functions that take one when they return < 0. */
struct dn_error {
    int code;
    char text[512];
};

/* The fixed text of a code; never NULL. */
const char *dn_strerror(int code);

/* ---- processor and kernels ------------------------------------------------------------------- */

enum dn_isa {
    DN_ISA_AUTO,
    DN_ISA_SCALAR,
    DN_ISA_OPENBLAS,
    DN_ISA_AVX2,
    DN_ISA_AVX512,
    DN_ISA_AMX,
    DN_ISA_NEON,
};

enum dn_precision { DN_PRECISION_AUTO, DN_PRECISION_FP32, DN_PRECISION_BF16 };

/* Names as on the command line ("avx512", "fp32"); -1 when there is no such name. */
int dn_isa_by_name(const char *name);
const char *dn_isa_name(enum dn_isa isa);
int dn_precision_by_name(const char *name);
const char *dn_precision_name(enum dn_precision precision);
/* Why precision AUTO is with `isa` on this processor what it is, for a person. */
const char *dn_precision_reason(enum dn_isa isa);

/* Can this processor and build run `isa`? */
bool dn_isa_available(enum dn_isa isa);

/* Space-separated features of this processor that matter here, e.g. "avx2 fma avx512f amx-bf16".
 * Writes at most `bytes`, always terminated. */
void dn_cpu_features(char *text, size_t bytes);

/* OpenBLAS as loaded: its version and configuration, the core type it runs on ("SkylakeX"), and
 * the core type it ought to run on, or NULL where the choice is right. OpenBLAS reads
 * OPENBLAS_CORETYPE before main(), so a wrong choice is mended by setting it and executing again.
 */
const char *dn_blas_config(void);
const char *dn_blas_core(void);
const char *dn_blas_better_core(void);

/* ---- samplers -------------------------------------------------------------------------------- */

enum dn_sampler {
    DN_SAMPLER_DDPM,
    DN_SAMPLER_DDIM,
    DN_SAMPLER_DPMPP_2M,
    DN_SAMPLER_CONSISTENCY,
    DN_SAMPLER_UNIPC,
    DN_SAMPLER_IPNDM,
    DN_SAMPLER_HEUN,
    DN_SAMPLER_COUNT
};

struct dn_sampler_info {
    const char *name;   /* as in the API: "dpmpp_2m" */
    const char *title;  /* "DPM-Solver++(2M)" */
    const char *source; /* the paper */
    bool has_eta;       /* takes eta in 0..1 */
    bool stochastic;    /* draws noise at every step (with eta > 0 where it has one) */
    int order;          /* of convergence */
};

const struct dn_sampler_info *dn_sampler_info(enum dn_sampler sampler);
/* -1 when there is no such name. */
int dn_sampler_by_name(const char *name);

/* ---- model ----------------------------------------------------------------------------------- */

struct dn_model_options {
    enum dn_isa isa;
    enum dn_precision precision;
};

/* Part of a reverse process, 0 being the noise and 1 the image: of n steps those i = 0..n-1 with
 * start <= i / n < end. */
struct dn_interval {
    double start, end; /* 0 <= start < end <= 1 */
};

/* The timesteps of a sample in `steps` steps. */
struct dn_step_list {
    uint32_t steps;
    const int *timesteps; /* [steps], falling */
};

#define DN_PRESET_NAME_BYTES 33

/* A setting that a model gives a name, for requests to choose by it. */
struct dn_preset {
    char name[DN_PRESET_NAME_BYTES]; /* of a-z 0-9 - */
    enum dn_sampler sampler;
    uint32_t steps;
    double guidance_scale;
    bool has_guidance_interval, has_eta; /* else requests may set them */
    struct dn_interval guidance_interval;
    double eta;
};

/* Everything there is to know of an open model. Strings and arrays live as long as the model. */
struct dn_model_info {
    char name[64];      /* the file's stem: "mnist" */
    char digest[72];    /* "sha256:<64 hex>" of the whole file */
    const char *arch;   /* "unet_st" */
    const char *config; /* the file's config, JSON text */
    size_t file_bytes;
    size_t n_parameters;
    int channels, height, width;
    int n_classes;
    const char *const *class_names;        /* [n_classes], UTF-8 */
    int timesteps;                         /* T: steps may be 1..T, unless there are lists */
    size_t n_step_lists;                   /* 0, or steps must be one of theirs */
    const struct dn_step_list *step_lists; /* [n_step_lists], steps rising */
    const char *prediction;                /* "v_prediction" */
    uint32_t samplers;                     /* bit (1 << enum dn_sampler) for each allowed one */
    enum dn_sampler default_sampler;
    int default_steps;
    double default_guidance_scale;
    struct dn_interval default_guidance_interval;
    size_t n_presets;
    const struct dn_preset *presets; /* [n_presets], in the file's order */
    bool can_guide;                  /* the network has a null label, and guidance is not fixed */
    bool has_fixed_guidance;     /* the weights were trained to: guidance_scale is the default's */
    enum dn_isa isa;             /* resolved, never AUTO */
    enum dn_precision precision; /* resolved, never AUTO */
    const char *kernels; /* the determinism domain of the kernels, e.g. "fp32-openblas-SkylakeX" */
    double macs;         /* multiply-adds of one evaluation */
};

struct dn_model;

/* What a model may be called, by its file or otherwise: names stand in URLs, logs and on terminals.
 */
#define DN_MODEL_NAME_RULE "1 to 63 letters, digits and . _ - : expected, but not . or .. alone"

bool dn_model_name_is_valid(const char *name, size_t bytes);

/* Open a model file. Nothing in it is trusted; `err` names the tensor or the config field at fault.
 * Errors: EIO, EFORMAT, EUNSUPPORTED (isa or precision not to be had), ENOMEM. */
int dn_model_open(struct dn_model **out, const char *path, const struct dn_model_options *options,
                  struct dn_error *err);
/* One owner more: each owner calls dn_model_free() once, the last one's call frees. Returns model.
 */
struct dn_model *dn_model_share(struct dn_model *model);
void dn_model_free(struct dn_model *model); /* NULL allowed */
/* Give the weights back before the last owner leaves: what dn_model_info() says is left, and
 * nothing else may be called. No row, workspace or list of operations of it may be in use. */
void dn_model_strip(struct dn_model *model);
const struct dn_model_info *dn_model_info(const struct dn_model *model);
/* May a row of this model have so many steps, this guidance scale, or this guidance interval? 0, or
 * EINVAL with err saying what is expected ("1, 2 or 4 expected"). */
int dn_model_check_steps(const struct dn_model *model, uint64_t steps, struct dn_error *err);
int dn_model_check_guidance(const struct dn_model *model, double guidance_scale,
                            struct dn_error *err);
int dn_model_check_guidance_interval(const struct dn_model *model, struct dn_interval interval,
                                     struct dn_error *err);
/* The most steps up to `steps` that a row may have; the fewest of all if they are more. */
uint32_t dn_model_nearest_steps(const struct dn_model *model, uint32_t steps);
/* A guidance scale with which every step costs one evaluation. */
double dn_model_unguided_scale(const struct dn_model *model);
/* The model's preset of that name, or NULL. */
const struct dn_preset *dn_model_preset(const struct dn_model *model, const char *name);
/* The class of that name, or -1. */
int dn_model_class_by_name(const struct dn_model *model, const char *name);

/* ---- rows ------------------------------------------------------------------------------------ */

#define DN_SEED_MAX ((UINT64_C(1) << 53) - 1)
#define DN_GUIDANCE_MAX 20.0

struct dn_row_params {
    uint64_t seed;  /* 0..DN_SEED_MAX */
    uint32_t index; /* which image of the seed */
    uint32_t label; /* 0..n_classes-1 */
    uint32_t steps; /* 1..timesteps, or those of a step list */
    enum dn_sampler sampler;
    double guidance_scale; /* 0..DN_GUIDANCE_MAX; 1 is off: one evaluation a step instead of two */
    struct dn_interval guidance_interval; /* the steps that are guided, for a scale other than 1 */
    double eta;                           /* 0..1, only where the sampler has one, else 0 */
};

/* Network evaluations that a row with these parameters, which may be had, needs: of step 0..steps-1
 * (2 where it is guided, else 1), and of all its steps. */
uint32_t dn_model_step_evaluations(const struct dn_model *model, const struct dn_row_params *params,
                                   uint32_t step);
uint32_t dn_model_row_evaluations(const struct dn_model *model, const struct dn_row_params *params);

struct dn_row;

/* A new row at pure noise. It borrows `model`, which must outlive it.
 * Errors: EINVAL (err names the parameter), ENOMEM. */
int dn_row_new(struct dn_row **out, const struct dn_model *model,
               const struct dn_row_params *params, struct dn_error *err);
void dn_row_free(struct dn_row *row); /* NULL allowed */

const struct dn_row_params *dn_row_params(const struct dn_row *row);
uint32_t dn_row_steps_done(const struct dn_row *row);
bool dn_row_done(const struct dn_row *row);
/* Network evaluations of the row's next step; 0 when it is done. */
uint32_t dn_row_next_evaluations(const struct dn_row *row);

/* The image as of now, 8 bits a sample, [H,W,C]: the result once the row is done, before that the
 * estimate of it (x0) after the last step (the noise itself before the first step). */
void dn_row_pixels(const struct dn_row *row, uint8_t *pixels);
/* The same in the model's own value range, fp32 [H,W,C]. */
const float *dn_row_values(const struct dn_row *row);

/* ---- stepping -------------------------------------------------------------------------------- */

struct dn_workspace;

/* Memory for steps of up to `max_evaluations` network evaluations (a guided step of a row
 * takes two).
 * All memory is taken here; dn_step() allocates nothing (OpenBLAS may, inside). Borrows `model`.
 * Errors: ENOMEM, EINVAL. */
int dn_workspace_new(struct dn_workspace **out, const struct dn_model *model,
                     uint32_t max_evaluations, struct dn_error *err);
void dn_workspace_free(struct dn_workspace *workspace); /* NULL allowed */
size_t dn_workspace_bytes(const struct dn_workspace *workspace);

/* One operation of the network as planned. */
struct dn_op_info {
    const char *name;               /* of its weights in the model file, or what it is */
    const char *kind;               /* "conv3x3", "group_norm", ... */
    double macs;                    /* multiply-adds of one evaluation */
    double weight_bytes, map_bytes; /* that it reads and writes */
    bool needs_label; /* false: computed once for the two evaluations of a guided row */
};

/* The operations in the order in which they run; they live as long as the model. */
size_t dn_model_ops(const struct dn_model *model, const struct dn_op_info **ops);

/* Advance each of `n` distinct unfinished rows of the workspace's model by one step. Errors: EINVAL
 * when a row is done, belongs to another model or the evaluations exceed the workspace's; no row
 * has moved then. */
int dn_step(struct dn_workspace *workspace, struct dn_row *const rows[], size_t n);
/* The same, and adds the time of each operation to seconds[dn_model_ops()]. */
int dn_step_profiled(struct dn_workspace *workspace, struct dn_row *const rows[], size_t n,
                     double *seconds);

#endif
