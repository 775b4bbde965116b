#include "core/nets/nets.h"

#include <string.h>

static const struct dn_net *const table[] = {
    &dn_net_unet_st,
};

const struct dn_net *dn_net_by_type(const char *type)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i]->type, type) == 0)
            return table[i];
    return NULL;
}
