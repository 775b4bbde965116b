/*
 * The command line and its environment twins: one table (option_table.h) says every flag's name,
 * range, default and help line. Flag beats environment beats default. Used once, by main().
 */
#ifndef SERVER_CLI_COMMAND_LINE_H
#define SERVER_CLI_COMMAND_LINE_H

#include "server/base/options.h"

/* Parse argv and the environment into *o. On an error, prints one line that names the flag or the
 * variable to stderr and returns 2; returns -1 when --help or --version was answered; 0 to go on.
 * `o` is kept where it is: models may point into it. */
int options_parse(struct options *o, int argc, char **argv);

#endif
