#include "server/cli/option_table.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "api/keyring.h"
#include "api/params.h"

#define SERVE (1u << COMMAND_SERVE)
#define SAMPLE (1u << COMMAND_SAMPLE)
#define BENCH (1u << COMMAND_BENCH)
#define INFO (1u << COMMAND_INFO)
#define HEALTH (1u << COMMAND_HEALTH)
#define FIELD(name) offsetof(struct options, name)

static int log_format_by_name(const char *name)
{
    if (strcmp(name, "text") == 0)
        return LOG_TEXT;
    return strcmp(name, "json") == 0 ? LOG_JSON : -1;
}

static int log_access_by_name(const char *name)
{
    if (strcmp(name, "no-probes") == 0)
        return LOG_ACCESS_NO_PROBES;
    if (strcmp(name, "on") == 0)
        return LOG_ACCESS_ON;
    return strcmp(name, "off") == 0 ? LOG_ACCESS_OFF : -1;
}

static int seccomp_by_name(const char *name)
{
    static const char *const names[] = {
        [SECCOMP_OFF] = "off", [SECCOMP_ON] = "on", [SECCOMP_KILL] = "kill"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    }
    return -1;
}

/* clang-format off */
const struct option_row option_table[] = {
    /* name, letter, type, commands, field, min, max, preset, value, by_name, help */
    {"model", 0, OPTION_MODELS, SERVE | INFO, FIELD(models), 1, OPTIONS_MAX_MODELS, NULL, "FILE", NULL,
     "a model; repeat for more, the first is the default one\n"
     "(default: the models that come with denoised, mnist and mnist-fast)"},
    {"model", 0, OPTION_MODELS, SAMPLE | BENCH, FIELD(models), 1, 1, NULL, "FILE", NULL,
     "the model (default: the mnist model that comes with denoised, for sample also mnist-fast\n"
     "where that has the preset)"},
    {"model-alias", 0, OPTION_ALIASES, SERVE, FIELD(model_aliases), 0, 0, NULL, "NAME=MODEL[,NAME=MODEL...]", NULL,
     "other names of models, for clients that insist on one, like dall-e-3=mnist (default: none)"},
    {"isa", 0, OPTION_NAME, SERVE | SAMPLE | BENCH | INFO, FIELD(isa), 0, 0, "auto",
     "auto|scalar|openblas|avx2|avx512|amx|neon", dn_isa_by_name, "kernels to compute with"},
    {"precision", 0, OPTION_NAME, SERVE | SAMPLE | BENCH | INFO, FIELD(precision), 0, 0, "auto",
     "auto|fp32|bf16", dn_precision_by_name, "precision to compute in"},

    {"listen", 0, OPTION_LISTEN, SERVE, FIELD(listen), 0, 0, "127.0.0.1:8080", "HOST:PORT|unix:PATH", NULL,
     "where to listen; port 0 picks a free one"},
    {"admin-listen", 0, OPTION_LISTEN, SERVE, FIELD(admin_listen), 0, 0, NULL, "HOST:PORT|unix:PATH", NULL,
     "where to listen for who loads and unloads models; only this machine's own addresses\n"
     "(default: nowhere)"},
    {"listen", 0, OPTION_LISTEN, HEALTH, FIELD(listen), 0, 0, "127.0.0.1:8080", "HOST:PORT|unix:PATH", NULL,
     "where the daemon listens"},
    {"timeout-s", 0, OPTION_INT, HEALTH, FIELD(timeout_s), 1, 3600, "2", "SECONDS", NULL,
     "it must have answered by then"},
    {"workers", 0, OPTION_INT, SERVE, FIELD(workers), 0, 256, "0", "N", NULL,
     "threads that compute; 0: one for each processor, or as many as a container's quota allows"},
    {"max-batch", 0, OPTION_INT, SERVE | SAMPLE, FIELD(max_batch), 2, 1024, "8", "N", NULL,
     "network evaluations at most in one step of one thread (a guided image takes two);\n"
     "serve measures at start which size pays"},
    {"max-queue-rows", 0, OPTION_INT, SERVE, FIELD(max_queue_rows), 1, 1000000, "4096", "N", NULL,
     "images in work or waiting; beyond it requests get 503"},
    {"max-rows-per-request", 0, OPTION_INT, SERVE, FIELD(max_rows_per_request), 1, 65000, "256", "N", NULL,
     "images that one request may ask for"},
    {"max-frames-bytes", 0, OPTION_INT, SERVE, FIELD(max_frames_bytes), PARAMS_MAX_PIXEL_BYTES, 2147483647, "268435456", "BYTES", NULL,
     "frames of the films that are being drawn; beyond it requests for films get 503"},
    {"max-body-bytes", 0, OPTION_INT, SERVE, FIELD(max_body_bytes), 256, 16777216, "65536", "BYTES", NULL,
     "largest request body"},
    {"max-connections", 0, OPTION_INT, SERVE, FIELD(max_connections), 1, 65536, "1024", "N", NULL,
     "connections held at once"},
    {"max-connections-per-address", 0, OPTION_INT, SERVE, FIELD(max_connections_per_address), 0, 65536, "0", "N", NULL,
     "of one client's address, or IPv6 network of 64 bits; 0: no limit"},
    {"cache-bytes", 0, OPTION_INT, SERVE, FIELD(cache_bytes), 0, 2147483647, "16777216", "BYTES", NULL,
     "pictures of GET /v1/samples kept for whom asks again; 0: none"},
    {"max-answers-bytes", 0, OPTION_INT, SERVE, FIELD(max_answers_bytes), 1048576, 2147483647, "134217728", "BYTES", NULL,
     "answers that clients have not read yet; one client has at most a quarter, 503 beyond"},
    {"request-timeout-s", 0, OPTION_INT, SERVE, FIELD(request_timeout_s), 1, 3600, "10", "SECONDS", NULL,
     "a client must have sent its whole request by then"},
    {"keepalive-timeout-s", 0, OPTION_INT, SERVE, FIELD(keepalive_timeout_s), 1, 3600, "75", "SECONDS", NULL,
     "an idle connection is closed after this"},
    {"half-close", 0, OPTION_ON_OFF, SERVE, FIELD(half_close), 0, 0, "off", "on|off", NULL,
     "a client that closes its sending half after a request gets its answer; off: it has hung up,\n"
     "and its work is canceled"},
    {"sse-ping-s", 0, OPTION_INT, SERVE, FIELD(sse_ping_s), 1, 3600, "15", "SECONDS", NULL,
     "a stream of events without news has a comment so often"},
    {"max-jobs", 0, OPTION_INT, SERVE, FIELD(max_jobs), 1, 1000000, "1000", "N", NULL,
     "jobs stored at once; the finished ones that are oldest make room"},
    {"max-jobs-bytes", 0, OPTION_INT, SERVE, FIELD(max_jobs_bytes), 65536, 2147483647, "268435456", "BYTES", NULL,
     "images of stored jobs; the finished ones that are oldest make room"},
    {"job-ttl-s", 0, OPTION_INT, SERVE, FIELD(job_ttl_s), 1, 604800, "600", "SECONDS", NULL,
     "a finished job is kept this long, and as long again known as expired"},
    {"drain-delay-s", 0, OPTION_INT, SERVE, FIELD(drain_delay_s), 0, 3600, "0", "SECONDS", NULL,
     "after SIGTERM, serve on for so long while /readyz says no"},
    {"drain-timeout-s", 0, OPTION_INT, SERVE, FIELD(drain_timeout_s), 0, 3600, "25", "SECONDS", NULL,
     "after that, finish what runs within this"},
    {"seccomp", 0, OPTION_NAME, SERVE, FIELD(seccomp), 0, 0, "on", "on|off|kill", seccomp_by_name,
     "give up the system calls that serving does not need: one of them fails, or with kill\n"
     "ends the daemon at once"},
    {"api-keys-file", 0, OPTION_TEXT, SERVE, FIELD(api_keys_file), 0, 0, NULL, "FILE", NULL,
     "clients that may ask, a line each: NAME KEY or NAME sha256:HEX, then limits;\n"
     "read again on SIGHUP (default: everybody may)"},
    {"rows-per-minute", 0, OPTION_INT, SERVE, FIELD(rows_per_minute), 0, KEYRING_LIMIT_MAX, "0", "N", NULL,
     "images that one key may ask for in a minute; 0: no limit"},
    {"burst-rows", 0, OPTION_INT, SERVE, FIELD(burst_rows), 0, KEYRING_LIMIT_MAX, "0", "N", NULL,
     "of them at once, after a pause; 0: all"},
    {"max-rows-in-flight", 0, OPTION_INT, SERVE, FIELD(max_rows_in_flight), 0, KEYRING_LIMIT_MAX, "0", "N", NULL,
     "images of one key in work or waiting; 0: no limit"},
    {"metrics-need-key", 0, OPTION_ON_OFF, SERVE, FIELD(metrics_need_key), 0, 0, "off", "on|off", NULL,
     "/metrics is for clients with a key only"},
    {"idempotency-ttl-s", 0, OPTION_INT, SERVE, FIELD(idempotency_ttl_s), 1, 86400, "600", "SECONDS", NULL,
     "how long the answer to a request with an Idempotency-Key is kept"},
    {"idempotency-max-bytes", 0, OPTION_INT, SERVE, FIELD(idempotency_max_bytes), 65536, 1073741824, "33554432", "BYTES", NULL,
     "memory for those answers; one that would take more than a quarter of it is not kept"},
    {"provenance-xmp", 0, OPTION_ON_OFF, SERVE | SAMPLE, FIELD(xmp), 0, 0, "on", "on|off", NULL,
     "pictures carry the IPTC's mark of generated media, 700 bytes of XMP"},
    {"cors-origin", 0, OPTION_ORIGINS, SERVE, FIELD(cors_origin), 0, 0, NULL, "*|ORIGIN[,ORIGIN...]", NULL,
     "origins, like https://example.org, whose pages may read answers (default: none)"},
    {"allowed-hosts", 0, OPTION_HOSTS, SERVE, FIELD(allowed_hosts), 0, 0, NULL, "*|HOST[,*.SUFFIX...]", NULL,
     "what a request's Host may be, besides localhost, 127.0.0.1, [::1] and the listener's own;\n"
     "others get 421 (default: any, but at a port of loopback none)"},
    {"trusted-proxies", 0, OPTION_PROXIES, SERVE, FIELD(trusted_proxies), 0, 0, NULL, "ADDRESS[/BITS]|unix[,...]", NULL,
     "whose X-Forwarded-For says who a client is (default: nobody's)"},
    {"log-format", 0, OPTION_NAME, SERVE, FIELD(log_format), 0, 0, "text", "text|json", log_format_by_name,
     "form of the log on standard error"},
    {"log-access", 0, OPTION_NAME, SERVE, FIELD(log_access), 0, 0, "on", "on|off|no-probes", log_access_by_name,
     "one line for each request; no-probes: but for /livez, /readyz and /metrics that did not fail"},

    {"label", 0, OPTION_TEXT, SAMPLE, FIELD(labels), 0, 0, NULL, "LABEL[,LABEL...]|all", NULL,
     "what to draw: numbers or class names of the model (required)"},
    {"n", 'n', OPTION_INT, SAMPLE, FIELD(n), 1, 1000000, "1", "N", NULL,
     "images of each label"},
    {"seed", 0, OPTION_SEED, SAMPLE, 0, 0, (double)DN_SEED_MAX, NULL, "SEED", NULL,
     "seed of the noise (default: drawn, and printed)"},
    {"preset", 0, OPTION_TEXT, SAMPLE, FIELD(preset), 0, 0, NULL, "NAME", NULL,
     "a setting that the model gives this name, instead of the next four; info lists them"},
    {"sampler", 0, OPTION_SAMPLER, SAMPLE, FIELD(sampler), 0, 0, NULL, "NAME", NULL,
     "reverse process (default: the model's)"},
    {"steps", 0, OPTION_INT, SAMPLE, FIELD(steps), 1, 100000, NULL, "N", NULL,
     "steps of it, up to the model's T (default: the model's)"},
    {"guidance-scale", 0, OPTION_NUMBER, SAMPLE, FIELD(guidance_scale), 0, DN_GUIDANCE_MAX, NULL, "S", NULL,
     "classifier-free guidance; 1 is off (default: the model's)"},
    {"guidance-interval", 0, OPTION_INTERVAL, SAMPLE, FIELD(guidance_interval), 0, 0, NULL, "START,END", NULL,
     "the part of the steps that is guided, 0 being the noise and 1 the image; the others take\n"
     "one evaluation (default: the model's)"},
    {"eta", 0, OPTION_NUMBER, SAMPLE, FIELD(eta), 0, 1, NULL, "ETA", NULL,
     "share of fresh noise, for samplers that have it (default: 0)"},
    {"output", 'o', OPTION_TEXT, SAMPLE, FIELD(output), 0, 0, NULL, "FILE", NULL,
     "FILE.png: the image, or a grid of several; a name with %d in it,\n"
     "like out-%d.png: a file for each; FILE.npy: a NumPy array; -: the PNG to standard output\n"
     "(required)"},
    {"scale", 0, OPTION_INT, SAMPLE, FIELD(scale), 1, 32, "1", "N", NULL,
     "each pixel becomes N x N in a PNG"},
    {"threads", 0, OPTION_INT, SAMPLE, FIELD(threads), 0, 256, "0", "N", NULL,
     "threads that compute; 0: one for each processor, or as many as a container's quota allows"},
    {"threads", 0, OPTION_INT, BENCH, FIELD(threads), 1, 256, "1", "N", NULL,
     "threads that compute"},

    {"batch", 0, OPTION_INT, BENCH, FIELD(batch), 1, 1024, "1", "B", NULL,
     "images in one step of one thread"},
    {"seconds", 0, OPTION_NUMBER, BENCH, FIELD(seconds), 0.1, 3600, "3", "S", NULL,
     "how long to measure, after the warm-up"},
    {"profile", 0, OPTION_ON_OFF, BENCH, FIELD(profile), 0, 0, "off", "on|off", NULL,
     "time each operation of the network by itself"},
    {"json", 0, OPTION_ON_OFF, BENCH | INFO, FIELD(json), 0, 0, "off", "on|off", NULL,
     "one JSON object on standard output"},
};
/* clang-format on */

const size_t option_table_rows = sizeof option_table / sizeof option_table[0];

static const struct {
    const char *name, *usage, *help, *examples;
} commands[] = {
    [COMMAND_SERVE] = {"serve", "denoised [serve] [FLAGS]", "serve images over HTTP",
                       "  denoised serve\n"
                       "  denoised serve --listen 0.0.0.0:8080 --api-keys-file keys\n"},
    [COMMAND_SAMPLE] = {"sample", "denoised sample --label LABEL -o FILE [FLAGS]",
                        "draw images into files",
                        "  denoised sample --label 7 -o seven.png\n"
                        "  denoised sample --label all -n8 -o digits.png --scale 2\n"
                        "  denoised sample --label 3 --steps 20 --seed 1 -o - | display\n"},
    [COMMAND_BENCH] = {"bench", "denoised bench [FLAGS]", "measure the speed of a step",
                       "  denoised bench --batch 8 --threads 2\n"},
    [COMMAND_INFO] = {"info", "denoised info [FLAGS]",
                      "say everything about model, processor, kernels and libraries",
                      "  denoised info\n"
                      "  denoised info --json --model other.safetensors\n"},
    [COMMAND_HEALTH] = {"health", "denoised health [FLAGS]",
                        "ask a daemon whether it is ready: exit status 0 or 1",
                        "  denoised health --listen 127.0.0.1:8080\n"},
};
#define N_COMMANDS ((int)(sizeof commands / sizeof commands[0]))

const char *option_command_name(enum command command)
{
    assert((int)command < N_COMMANDS);
    return commands[command].name;
}

void option_variable(char variable[OPTION_VARIABLE_BYTES], const struct option_row *row)
{
    int length = snprintf(variable, OPTION_VARIABLE_BYTES, "DENOISED_%s", row->name);
    assert(length > 0 && length < OPTION_VARIABLE_BYTES);
    for (char *c = variable; *c != '\0'; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

static void print_row(const struct option_row *row)
{
    char variable[OPTION_VARIABLE_BYTES], flag[96];
    option_variable(variable, row);
    if (row->letter != 0)
        snprintf(flag, sizeof flag, "-%c, --%s %s", row->letter, row->name, row->value);
    else
        snprintf(flag, sizeof flag, "--%s %s", row->name, row->value != NULL ? row->value : "");
    printf("  %s\n", flag);
    for (const char *line = row->help; line != NULL;) {
        const char *end = strchr(line, '\n');
        printf("        %.*s\n", end != NULL ? (int)(end - line) : (int)strlen(line), line);
        line = end != NULL ? end + 1 : NULL;
    }
    printf("        [%s", variable);
    if (row->type == OPTION_INT || row->type == OPTION_NUMBER || row->type == OPTION_SEED)
        printf("; %.16g..%.16g", row->min, row->max);
    if (row->preset != NULL)
        printf("; default %s", row->preset);
    printf("]\n");
    if (row->type == OPTION_SAMPLER)
        for (int i = 0; i < DN_SAMPLER_COUNT; i++)
            printf("          %-10s %s\n", dn_sampler_info((enum dn_sampler)i)->name,
                   dn_sampler_info((enum dn_sampler)i)->title);
}

static void print_command(int command)
{
    printf("\n%s\n  %s\n\n%s\n", commands[command].usage, commands[command].help,
           commands[command].examples);
    for (size_t i = 0; i < option_table_rows; i++)
        if ((option_table[i].commands & (1u << command)) != 0)
            print_row(&option_table[i]);
}

/* One line: the flag, and its help up to the first pause. */
static void print_row_short(const struct option_row *row)
{
    char flag[96], letter[8] = "    ";
    if (row->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", row->letter);
    snprintf(flag, sizeof flag, "%s--%s %s", letter, row->name, row->value);
    printf("  %-44s %.*s\n", flag, (int)strcspn(row->help, ";:\n("), row->help);
}

void option_print_short_help(int command)
{
    printf("denoised %s: draws images by class-conditional diffusion\n", DENOISED_VERSION);
    if (command >= 0) {
        printf("\n%s\n\n%s\n", commands[command].usage, commands[command].examples);
        for (size_t i = 0; i < option_table_rows; i++)
            if ((option_table[i].commands & (1u << command)) != 0)
                print_row_short(&option_table[i]);
        printf("\ndenoised %s --help says more of each.\n", commands[command].name);
        return;
    }
    printf("\n  denoised serve                          then open http://127.0.0.1:8080\n"
           "  denoised sample --label 7 -o seven.png  draw one image\n"
           "\nCommands:\n");
    for (int i = 0; i < N_COMMANDS; i++)
        printf("  %-7s %s\n", commands[i].name, commands[i].help);
    printf("\ndenoised COMMAND -h      its examples and flags\n"
           "denoised help COMMAND    the same at length, as COMMAND --help\n"
           "denoised --version       version and revision\n");
}

void option_print_help(int command)
{
    printf("denoised %s: draws images by class-conditional diffusion\n", DENOISED_VERSION);
    for (int i = 0; i < N_COMMANDS; i++)
        if (command < 0 || command == i)
            print_command(i);
    printf(
        "\ndenoised [COMMAND] --help     this text, of one command or of all; -h is short\n"
        "denoised --version            version and revision\n"
        "\n"
        "Each flag has an environment twin, in brackets above: the flag beats the variable, the\n"
        "variable the default; an empty variable is none. Where on and off are values, --FLAG\n"
        "alone is on and --no-FLAG is off. DENOISED_MODEL takes several files with a colon\n"
        "between them. A variable of another command is not read; one\n"
        "of no command is an error, but for those that Kubernetes sets for a Service\n"
        "(DENOISED_SERVICE_HOST, DENOISED_PORT, ...) and those of the tools beside the program\n"
        "(DENOISED_CACHE, DENOISED_BINARY, DENOISED_OPENAPI, DENOISED_BROWSER).\n"
        "\n"
        "Exit status: 0 done, 1 failed, 2 not understood.\n");
}

void option_print_version(void)
{
    printf("denoised %s (%s)\n", DENOISED_VERSION, DENOISED_REVISION);
}
