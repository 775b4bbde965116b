/*
 * The commands of the program. Each runs to its end and returns the exit status.
 */
#ifndef SERVER_CLI_COMMANDS_H
#define SERVER_CLI_COMMANDS_H

#include "server/base/options.h"

int cmd_serve(const struct options *options);
int cmd_sample(const struct options *options);
int cmd_bench(const struct options *options);
int cmd_info(const struct options *options);
int cmd_health(const struct options *options);

#endif
