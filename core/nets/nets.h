/*
 * The network architectures, one file each. A network file records its forward pass on a graph; it
 * reads its own parameters from the config and knows no kernel and no I/O.
 */
#ifndef CORE_NETS_NETS_H
#define CORE_NETS_NETS_H

#include "core/graph/graph.h"
#include "core/model/config.h"

struct dn_net {
    const char *type; /* architecture.type in the model file */
    /* Errors: EFORMAT (a parameter, or the graph's own). */
    int (*record)(struct dn_graph *g, struct dn_config *config, struct dn_error *err);
};

extern const struct dn_net dn_net_unet_st;

/* NULL where there is none of that type. */
const struct dn_net *dn_net_by_type(const char *type);

#endif
