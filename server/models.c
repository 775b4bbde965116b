#include "server/models.h"

#include <stdio.h>
#include <string.h>

static int model_set_check_name(const struct model_set *set, const struct dn_model_info *info,
                                struct dn_error *err)
{
    for (size_t i = 0; i < set->n_models; i++) {
        if (strcmp(dn_model_info(set->models[i])->name, info->name) == 0) {
            err->code = DN_EINVAL;
            snprintf(err->text, sizeof err->text, "two models are named %s", info->name);
            return DN_EINVAL;
        }
    }
    return 0;
}

int model_set_open(struct model_set *set, const struct options *options, struct dn_error *err)
{
    const struct dn_model_options model_options = {.isa = options->isa,
                                                   .precision = options->precision};
    set->n_models = 0;
    for (int i = 0; i < options->n_models; i++) {
        struct dn_model *model;
        int rc = dn_model_open(&model, options->models[i], &model_options, err);
        if (rc == 0) {
            rc = model_set_check_name(set, dn_model_info(model), err);
            if (rc != 0) {
                dn_model_free(model);
            }
        }
        if (rc != 0) {
            model_set_close(set);
            return rc;
        }
        set->models[set->n_models++] = model;
    }
    return 0;
}

void model_set_close(struct model_set *set)
{
    while (set->n_models > 0) {
        dn_model_free(set->models[--set->n_models]);
    }
}
