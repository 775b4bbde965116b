#include "api/classes.h"

#include <stdlib.h>
#include <string.h>

#define INDEX_DIGITS_MAX 9

static bool is_numeral(const char *text)
{
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

bool classes_have_numerals(const struct dn_model_info *info)
{
    for (int i = 0; i < info->n_classes; i++) {
        if (is_numeral(info->class_names[i])) {
            return true;
        }
    }
    return false;
}

int classes_find(const struct dn_model *model, const char *text)
{
    const struct dn_model_info *info = dn_model_info(model);
    int class = dn_model_class_by_name(model, text);
    if (class >= 0) {
        return class;
    }
    size_t digits = strlen(text);
    if (!is_numeral(text) || digits > INDEX_DIGITS_MAX || (digits > 1 && text[0] == '0') ||
        classes_have_numerals(info)) {
        return -1;
    }
    long index = strtol(text, NULL, 10);
    return index < info->n_classes ? (int)index : -1;
}
