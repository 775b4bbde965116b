/*
 * The values of options: what each type takes, and the errors that say what was expected.
 *
 * Errors go to standard error, one line each; the functions then return 2, the exit status.
 */
#ifndef SERVER_CLI_OPTION_VALUES_H
#define SERVER_CLI_OPTION_VALUES_H

#include "server/base/options.h"
#include "server/cli/option_table.h"
#include "server/cli/suggest.h"

/* Give the row's field in `o` the value that `text` says. `source` is what an error names:
 * "--steps" or "DENOISED_STEPS". Returns 0 or 2. */
int option_set(struct options *o, const char *source, const struct option_row *row,
               const char *text);

/* Print "denoised: SOURCE: ..." and return 2. */
__attribute__((format(printf, 2, 3))) int option_refuse(const char *source, const char *format,
                                                        ...);

/* "; did you mean X?", of what is near or of the words in "a|b|c"; "" when nothing is. */
#define OPTION_HINT_BYTES 128
const char *option_hint(char text[OPTION_HINT_BYTES], const struct suggestion *s);
const char *option_hint_of_list(char text[OPTION_HINT_BYTES], const char *typed, const char *list);

#endif
