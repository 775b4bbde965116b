/*
 * Which class of a model a text names, with one meaning in a body's string, a URL, a prompt and on
 * the command line. Any thread.
 */
#ifndef API_CLASSES_H
#define API_CLASSES_H

#include <stdbool.h>

#include "core/denoise.h"

/* Is a class named by a numeral? Then a numeral in a text is a name, never an index. */
bool classes_have_numerals(const struct dn_model_info *info);

/* The class of that name, or of that index in decimal without leading zeros where no class is named
 * by a numeral; or -1. */
int classes_find(const struct dn_model *model, const char *text);

#endif
