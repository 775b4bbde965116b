/*
 * The table of every flag: its name, type, range, default, the commands it belongs to and its line
 * of help. Parser, environment twins and --help all read this one table.
 *
 * Constant; any thread.
 */
#ifndef SERVER_CLI_OPTION_TABLE_H
#define SERVER_CLI_OPTION_TABLE_H

#include <stddef.h>

#include "server/base/options.h"

enum option_type {
    OPTION_TEXT,     /* const char * */
    OPTION_LISTEN,   /* const char *: HOST:PORT or unix:PATH */
    OPTION_ORIGINS,  /* const char *: "*", or origins with commas between */
    OPTION_HOSTS,    /* const char *: hosts, *.SUFFIX and * with commas between */
    OPTION_ALIASES,  /* const char *: NAME=MODEL with commas between */
    OPTION_PROXIES,  /* const char *: addresses, networks and "unix" with commas between */
    OPTION_MODELS,   /* options.models; may be repeated up to `max` times */
    OPTION_INT,      /* int, min..max */
    OPTION_SEED,     /* options.seed and has_seed, min..max */
    OPTION_NUMBER,   /* double, min..max */
    OPTION_INTERVAL, /* struct dn_interval */
    OPTION_NAME,     /* int or enum, by `by_name` */
    OPTION_SAMPLER,
    OPTION_ON_OFF, /* bool */
};

struct option_row {
    const char *name; /* "max-batch": the flag --max-batch, the variable DENOISED_MAX_BATCH */
    char letter;      /* 'n' for -n, or 0 */
    enum option_type type;
    unsigned commands; /* bit (1 << enum command) */
    size_t offset;     /* of the field in struct options */
    double min, max;
    const char *preset;               /* the default as text; NULL: none, or said in `help` */
    const char *value;                /* how --help writes the value */
    int (*by_name)(const char *name); /* OPTION_NAME: negative when there is no such name */
    const char *help;
};

extern const struct option_row option_table[];
extern const size_t option_table_rows;

/* The environment twin's name, e.g. DENOISED_MAX_BATCH. */
#define OPTION_VARIABLE_BYTES 64
void option_variable(char variable[OPTION_VARIABLE_BYTES], const struct option_row *row);

/* "serve", "sample", ...; never NULL. */
const char *option_command_name(enum command command);

/* Print to standard output, of one command or (command < 0) of all: what -h says, examples first
 * and a line for each flag; what --help says; the version. */
void option_print_short_help(int command);
void option_print_help(int command);
void option_print_version(void);

#endif
