/*
 * What the command line and its environment twins have set (server/cli/command_line.h).
 *
 * Strings borrow from argv and the environment. Filled once in main(), const from then on.
 */
#ifndef SERVER_BASE_OPTIONS_H
#define SERVER_BASE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/denoise.h"

#define OPTIONS_MAX_MODELS 16

enum command { COMMAND_SERVE, COMMAND_SAMPLE, COMMAND_BENCH, COMMAND_INFO, COMMAND_HEALTH };
enum log_format { LOG_TEXT, LOG_JSON };
enum log_access { LOG_ACCESS_OFF, LOG_ACCESS_ON, LOG_ACCESS_NO_PROBES };
enum seccomp { SECCOMP_OFF, SECCOMP_ON, SECCOMP_KILL };

struct options {
    enum command command;

    /* every command but health */
    const char *models[OPTIONS_MAX_MODELS]; /* the shipped ones where none was named */
    int n_models;
    const char *model_aliases; /* NAME=MODEL with commas between, or NULL; serve only */
    char model_text[4096];     /* what `models` points to when not to argv */
    enum dn_isa isa;
    enum dn_precision precision;

    /* serve */
    const char *listen;       /* HOST:PORT or unix:PATH; health too */
    const char *admin_listen; /* HOST:PORT or unix:PATH; NULL: there is no admin listener */
    int workers;              /* 0: see processors.h */
    int max_batch;            /* network evaluations in one step of one worker */
    int max_queue_rows;
    int max_rows_per_request;
    int max_frames_bytes; /* of films that are being drawn */
    int max_body_bytes;
    int max_connections;
    int max_connections_per_address; /* 0: no limit */
    int cache_bytes;                 /* of finished pictures; 0: none are kept */
    int request_timeout_s;           /* a client must have sent its whole request by then */
    int keepalive_timeout_s;
    bool half_close;    /* who has closed the sending half may wait for an answer */
    int sse_ping_s;     /* a stream without news has a comment so often */
    int max_jobs;       /* stored at once */
    int max_jobs_bytes; /* of their images */
    int job_ttl_s;      /* how long a finished one is kept, and then its id */
    int drain_delay_s;  /* after the signal, until new work is refused */
    int drain_timeout_s;
    enum seccomp seccomp;      /* give up the system calls that are not needed */
    const char *api_keys_file; /* NULL: everybody may ask */
    int rows_per_minute;       /* of a key; 0: no limit */
    int burst_rows;            /* 0: as rows_per_minute */
    int max_rows_in_flight;    /* of a key; 0: no limit */
    bool metrics_need_key;
    int idempotency_ttl_s;
    int idempotency_max_bytes;
    int max_answers_bytes;       /* not sent yet */
    const char *cors_origin;     /* "*", or origins with commas between; NULL: none */
    const char *allowed_hosts;   /* with commas between; NULL: see http/origin.c */
    const char *trusted_proxies; /* networks and "unix" with commas between; NULL: nobody */
    enum log_format log_format;
    bool xmp; /* pictures have XMP that says a model drew them; sample too */
    enum log_access log_access;

    /* sample */
    const char *labels; /* --label: comma-separated labels, numbers or class names */
    int n;              /* images of each label */
    bool has_seed;
    uint64_t seed;
    const char *preset;                   /* NULL: none */
    const char *sampler;                  /* NULL: the model's default */
    int steps;                            /* 0: the model's default */
    double guidance_scale;                /* < 0: the model's default */
    struct dn_interval guidance_interval; /* end 0: the model's default */
    double eta;                           /* < 0: not given */
    const char *output; /* FILE.png, FILE.npy, or a name with %d in it for one PNG an image */
    int scale;
    int threads; /* sample and bench; 0: one a processor (sample), 1 (bench) */

    /* bench */
    int batch;
    double seconds;
    bool profile; /* time each operation of the network */

    /* health */
    int timeout_s;

    bool json;

    /* the core type that OpenBLAS chose, where main() had to correct it; else NULL */
    const char *blas_core_was;
};

#endif
