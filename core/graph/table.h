/* Values that depend on the timestep alone, or on the label alone: computed once for all of them.
 */
#ifndef CORE_GRAPH_TABLE_H
#define CORE_GRAPH_TABLE_H

#include "core/graph/node.h"

struct dn_table {
    enum dn_domain domain;
    int rows, c;
    float
        *data; /* [rows][c]: row k is the value at timestep k, or at label k. NULL: not tabulated */
};

/* Fill tables[n_nodes] (zeroed) for every node that is not per image. Errors: ENOMEM. */
int dn_tables_compute(struct dn_table *tables, const struct dn_graph *g, struct dn_error *err);

#endif
