/*
 * Fusing: an activation or an addition that is the only reader of an operation becomes its
 * epilogue.
 *
 *     act(op(..))                       -> op with act
 *     x + op(..), x a map               -> op with residual x
 *     op(..) + v, v a vector            -> op with channel v
 *     group_norm(x + v), v a vector     -> group_norm with pre v
 *
 * The fused operation takes the place of the later node, so everything it reads is ready by then.
 * (Nodes fused away keep what they had, but nothing reads them.)
 */
#include <stdlib.h>

#include "core/graph/node.h"

void dn_node_visit(struct dn_node *node, void (*visit)(void *context, int *value), void *context)
{
    for (int i = 0; i < DN_NODE_INPUTS; i++)
        if (node->in[i] >= 0)
            visit(context, &node->in[i]);
    if (node->residual >= 0)
        visit(context, &node->residual);
    if (node->channel >= 0)
        visit(context, &node->channel);
    if (node->pre >= 0)
        visit(context, &node->pre);
}

static void count_user(void *context, int *value)
{
    struct dn_node *nodes = context;
    nodes[*value].users++;
}

struct label_search {
    const struct dn_graph *g;
    bool found;
};

static void find_label(void *context, int *value)
{
    struct label_search *s = context;
    const struct dn_node *n = &s->g->nodes[*value];
    s->found |= n->domain == DN_PER_LABEL || n->needs_label;
}

/* May `value` be absorbed by its only reader as an operation with an epilogue? */
static bool can_absorb(const struct dn_graph *g, int value)
{
    const struct dn_node *n = &g->nodes[value];
    return n->domain == DN_PER_IMAGE && n->users == 1 && !n->name && value != g->output &&
           (n->op == DN_OP_CONV || n->op == DN_OP_GROUP_NORM || n->op == DN_OP_ATTENTION);
}

/* Node n becomes its input m; what n added is for the caller to put in. m is no more. */
static void absorb(struct dn_node *n, struct dn_node *m)
{
    int users = n->users;
    char *name = n->name, *weights = n->weights;
    *n = *m;
    n->users = users;
    n->name = name;
    m->weights = weights; /* each text keeps one owner */
    m->op = DN_OP_FUSED_AWAY;
}

static void fuse_add(struct dn_graph *g, struct dn_node *n)
{
    int a = n->in[0], b = n->in[1];
    if (g->nodes[b].is_vector) {
        if (can_absorb(g, a) && g->nodes[a].channel < 0) {
            absorb(n, &g->nodes[a]);
            n->channel = b;
        }
        return;
    }
    for (int side = 0; side < 2; side++) {
        int op = side ? a : b, other = side ? b : a;
        if (can_absorb(g, op) && g->nodes[op].residual < 0 && g->nodes[op].channel < 0) {
            absorb(n, &g->nodes[op]);
            n->residual = other;
            return;
        }
    }
}

void dn_graph_fuse(struct dn_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        dn_node_visit(&g->nodes[i], count_user, g->nodes);

    for (int i = 0; i < g->n_nodes; i++) {
        struct dn_node *n = &g->nodes[i];
        if (n->domain != DN_PER_IMAGE)
            continue;
        if (n->op == DN_OP_GROUP_NORM) {
            struct dn_node *m = &g->nodes[n->in[0]];
            if (m->op == DN_OP_ADD && m->users == 1 && !m->name && g->nodes[m->in[1]].is_vector) {
                n->pre = m->in[1];
                n->in[0] = m->in[0];
                m->op = DN_OP_FUSED_AWAY;
            }
        } else if (n->op == DN_OP_ACT && can_absorb(g, n->in[0])) {
            struct dn_node *m = &g->nodes[n->in[0]];
            if (m->act == DN_ACT_NONE && m->residual < 0 && m->channel < 0) {
                enum dn_act act = n->act;
                absorb(n, m);
                n->act = act;
            }
        } else if (n->op == DN_OP_ADD) {
            fuse_add(g, n);
        }
    }
    for (int i = 0; i < g->n_nodes; i++) {
        struct label_search search = {g, false};
        dn_node_visit(&g->nodes[i], find_label, &search);
        g->nodes[i].needs_label = search.found;
    }
}
