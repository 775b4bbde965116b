#include "core/graph/table.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "core/base/error.h"
#include "core/base/exact_math.h"

static float activate(enum dn_act act, float x)
{
    return act == DN_ACT_RELU ? (x > 0.0f ? x : 0.0f) : act == DN_ACT_SILU ? dn_siluf(x) : x;
}

/* Row r of node n's value. */
static void compute_row(float *out, int r, const struct dn_node *n, const struct dn_table *tables)
{
    const struct dn_table *in = n->in[0] >= 0 ? &tables[n->in[0]] : NULL;
    const float *x = in ? in->data + (size_t)r * (size_t)in->c : NULL;

    switch (n->op) {
    case DN_OP_TIMESTEP:
        out[0] = (float)((r + n->time.offset) / n->time.divisor);
        break;
    case DN_OP_LABEL:
        out[0] = (float)r;
        break;
    case DN_OP_EMBEDDING:
        for (int c = 0; c < n->c; c++)
            out[c] = n->weight[r * n->c + c];
        break;
    case DN_OP_FOURIER:
        for (int i = 0; i < n->c / 2; i++) {
            /* Whole turns are taken off in double precision, where t W is exact. */
            double turns = (double)x[0] * (double)n->weight[i];
            dn_sincos_turnsf((float)(turns - rint(turns)), &out[i], &out[n->c / 2 + i]);
        }
        break;
    case DN_OP_CONV:
        for (int o = 0; o < n->c; o++) {
            float sum = n->bias ? n->bias[o] : 0.0f;
            for (int i = 0; i < in->c; i++)
                sum = fmaf(x[i], n->weight[o * in->c + i], sum);
            out[o] = sum;
        }
        break;
    case DN_OP_ADD:
        for (int c = 0; c < n->c; c++)
            out[c] = x[c] + tables[n->in[1]].data[r * n->c + c];
        break;
    case DN_OP_ACT:
        for (int c = 0; c < n->c; c++)
            out[c] = activate(n->act, x[c]);
        break;
    default:
        assert(false && "an operation on maps has a vector's domain");
    }
}

int dn_tables_compute(struct dn_table *tables, const struct dn_graph *g, struct dn_error *err)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const struct dn_node *n = &g->nodes[i];
        struct dn_table *t = &tables[i];
        if (n->domain == DN_PER_IMAGE || n->op == DN_OP_FUSED_AWAY)
            continue;
        t->domain = n->domain;
        t->c = n->c;
        t->rows = n->op == DN_OP_TIMESTEP ? n->time.timesteps
                  : n->op == DN_OP_LABEL  ? n->kernel
                                          : tables[n->in[0]].rows;
        t->data = malloc((size_t)t->rows * (size_t)t->c * sizeof *t->data);
        if (!t->data)
            return dn_fail(err, DN_ENOMEM, "out of memory");
        for (int r = 0; r < t->rows; r++)
            compute_row(t->data + (size_t)r * (size_t)t->c, r, n, tables);
    }
    return 0;
}
