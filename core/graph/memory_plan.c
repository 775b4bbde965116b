#include "core/graph/memory_plan.h"

#include <stdlib.h>

#include "core/base/error.h"
#include "core/base/memory.h"

struct geometry {
    int h, w, ld;
    bool border;
};

struct slot {
    struct geometry geometry;
    size_t offset;
    int free_after; /* node index of the last reader of what lies in it */
};

/* What the planner knows of one map. */
struct life {
    int home;     /* the node whose slot holds it: itself, or a concatenation */
    int channel;  /* where in the home's pixels it begins */
    int last_use; /* node index of its last reader */
    bool border;  /* a reader looks beyond its edge */
    int slot;     /* of a home, once placed */
};

struct visitor {
    struct life *lives;
    int reader;
    bool beyond_edge;
};

static void note_use(void *context, int *value)
{
    struct visitor *v = context;
    v->lives[*value].last_use = v->reader;
    v->lives[*value].border |= v->beyond_edge;
}

static bool is_map(const struct dn_node *n)
{
    return n->domain == DN_PER_IMAGE && n->op != DN_OP_FUSED_AWAY;
}

static bool same_geometry(const struct geometry *a, const struct geometry *b)
{
    return a->h == b->h && a->w == b->w && a->ld == b->ld && a->border == b->border;
}

/* Inputs of concatenations move into the concatenation, unless they live in another already. */
static void settle_concats(struct dn_memory_plan *m, const struct dn_graph *g, struct life *lives)
{
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op != DN_OP_CONCAT)
            continue;
        int channel = 0;
        for (int j = 0; j < 2; j++) {
            int in = g->nodes[i].in[j];
            if (lives[in].home == in && g->nodes[in].op != DN_OP_CONCAT) {
                lives[in].home = i;
                lives[in].channel = channel;
            } else {
                m->is_copied_in[2 * i + j] = true;
            }
            channel += g->nodes[in].c;
        }
    }
    for (int i = 0; i < g->n_nodes; i++) {
        struct life *home = &lives[lives[i].home];
        home->border |= lives[i].border;
        if (lives[i].last_use > home->last_use)
            home->last_use = lives[i].last_use;
    }
}

/* A slot for `home` at the time node `now` is computed. */
static int place(struct slot *slots, int *n_slots, size_t *floats, const struct dn_node *node,
                 const struct life *life, int now, bool keep_all)
{
    struct geometry want = {node->h, node->w, node->c, life->border};
    for (int s = 0; s < *n_slots && !keep_all; s++) {
        if (slots[s].free_after < now && same_geometry(&slots[s].geometry, &want)) {
            slots[s].free_after = life->last_use;
            return s;
        }
    }
    int edge = want.border ? 2 : 0;
    size_t bytes =
        sizeof(float) * (size_t)(want.h + edge) * (size_t)(want.w + edge) * (size_t)want.ld;
    slots[*n_slots] = (struct slot){want, *floats, life->last_use};
    *floats += dn_align_up(bytes) / sizeof(float);
    return (*n_slots)++;
}

int dn_memory_plan_init(struct dn_memory_plan *m, struct dn_graph *g, bool keep_all,
                        struct dn_error *err)
{
    size_t n = (size_t)g->n_nodes;
    struct life *lives = calloc(n + 1, sizeof *lives);
    struct slot *slots = calloc(n + 1, sizeof *slots);
    int n_slots = 0, rc = 0;

    *m = (struct dn_memory_plan){.views = calloc(n + 1, sizeof *m->views),
                                 .is_copied_in = calloc(2 * n + 1, sizeof *m->is_copied_in)};
    if (!lives || !slots || !m->views || !m->is_copied_in) {
        rc = dn_fail(err, DN_ENOMEM, "out of memory");
        goto out;
    }
    for (int i = 0; i < g->n_nodes; i++) {
        lives[i] = (struct life){.home = i, .last_use = i, .slot = -1};
        struct dn_node *node = &g->nodes[i];
        if (!is_map(node))
            continue;
        struct visitor v = {lives, i,
                            node->op == DN_OP_CONV_TRANSPOSE ||
                                (node->op == DN_OP_CONV && node->kernel > 1)};
        dn_node_visit(node, note_use, &v);
    }
    lives[g->output].last_use = g->n_nodes;
    settle_concats(m, g, lives);

    for (int i = 0; i < g->n_nodes; i++) {
        if (!is_map(&g->nodes[i]))
            continue;
        int home = lives[i].home;
        const struct dn_node *node = &g->nodes[i], *owner = &g->nodes[home];
        if (lives[home].slot < 0)
            lives[home].slot =
                place(slots, &n_slots, &m->arena_floats, owner, &lives[home], i, keep_all);
        const struct slot *slot = &slots[lives[home].slot];
        int edge = slot->geometry.border ? 1 : 0;
        int pitch = (owner->w + 2 * edge) * owner->c;
        m->views[i] =
            (struct dn_view){.offset = slot->offset + (size_t)(edge * pitch) +
                                       (size_t)(edge * owner->c) + (size_t)lives[i].channel,
                             .h = node->h,
                             .w = node->w,
                             .c = node->c,
                             .ld = owner->c,
                             .pitch = pitch};
    }
out:
    free(lives);
    free(slots);
    if (rc)
        dn_memory_plan_deinit(m);
    return rc;
}

void dn_memory_plan_deinit(struct dn_memory_plan *m)
{
    free(m->views);
    free(m->is_copied_in);
    *m = (struct dn_memory_plan){0};
}
