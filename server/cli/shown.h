/*
 * What the commands print for people. Text of files, peers and arguments is escaped where it has
 * control characters, which a terminal would obey. Any thread.
 */
#ifndef SERVER_CLI_SHOWN_H
#define SERVER_CLI_SHOWN_H

#include <stdio.h>

/* Print `s`, escaped. */
void print_shown(FILE *out, const char *s);

/* Print "denoised: ", the formatted text, escaped, and the end of the line on standard error. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);

#endif
