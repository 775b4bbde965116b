#include "core/graph/memory_plan.h"

#include <stdlib.h>

#include "core/base/error.h"
#include "core/base/memory.h"
#include "core/kernels/bf16.h"

/* A quarter of the second-level cache of the smaller server cores, so that weights leave room for
 * maps. */
enum { GROUP_WEIGHT_BYTES = 512 << 10 };

struct geometry {
    int h, w, ld;
    enum dn_type type;
    bool border;
    enum dn_place place;
    bool needs_label;
};

struct slot {
    struct geometry geometry;
    size_t offset;
    int free_after; /* node index of the last reader of what lies in it */
};

/* What the planner knows of one map. */
struct life {
    int home;                     /* the node whose slot holds it: itself, or a concatenation */
    int channel;                  /* where in the home's pixels it begins */
    int last_use;                 /* node index of its last reader */
    bool border;                  /* a reader looks beyond its edge */
    bool for_bf16, for_fp32_only; /* what its readers are */
    enum dn_place place;          /* of a home */
    int slot;                     /* of a home, once placed */
};

struct visitor {
    struct life *lives;
    int reader;
    bool beyond_edge, in_bf16, fp32_only;
};

static void note_use(void *context, int *value)
{
    struct visitor *v = context;
    struct life *life = &v->lives[*value];
    life->last_use = v->reader;
    life->border |= v->beyond_edge;
    life->for_bf16 |= v->in_bf16;
    life->for_fp32_only |= v->fp32_only;
}

static int in_channels(const struct dn_graph *g, const struct dn_node *n)
{
    return g->nodes[n->in[0]].c;
}

static void find_uses(struct life *lives, const struct dn_graph *g,
                      const struct dn_kernels *kernels)
{
    for (int i = 0; i < g->n_nodes; i++) {
        lives[i] = (struct life){.home = i, .last_use = i, .slot = -1};
        struct dn_node *n = &g->nodes[i];
        if (!dn_node_is_map(n))
            continue;
        bool conv = n->op == DN_OP_CONV || n->op == DN_OP_CONV_TRANSPOSE;
        bool attention = n->op == DN_OP_ATTENTION;
        bool half_attention =
            attention && kernels->attention_in_bf16 && n->c / n->heads % DN_BF16_HEAD == 0;
        struct visitor v = {
            .lives = lives,
            .reader = i,
            .beyond_edge = conv && (n->op == DN_OP_CONV_TRANSPOSE || n->kernel > 1),
            .in_bf16 = half_attention || (conv && in_channels(g, n) % DN_BF16_CHANNELS == 0),
            .fp32_only = attention && !half_attention,
        };
        /* What an epilogue adds is no input of the operation. */
        for (int j = 0; j < DN_NODE_INPUTS; j++)
            if (n->in[j] >= 0)
                note_use(&v, &n->in[j]);
        v.beyond_edge = v.in_bf16 = v.fp32_only = false;
        dn_node_visit(n, note_use, &v);
    }
    lives[g->output].last_use = g->n_nodes;
    lives[g->output].for_fp32_only = true;
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
        home->for_bf16 |= lives[i].for_bf16;
        home->for_fp32_only |= lives[i].for_fp32_only;
        if (lives[i].last_use > home->last_use)
            home->last_use = lives[i].last_use;
    }
}

static void cut_into_groups(struct dn_memory_plan *m, const struct dn_graph *g, size_t weight_bytes)
{
    size_t bytes = 0;
    int group = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const struct dn_node *n = &g->nodes[i];
        size_t own = 0;
        if (dn_node_is_map(n) && (n->op == DN_OP_CONV || n->op == DN_OP_CONV_TRANSPOSE)) {
            int k = n->op == DN_OP_CONV_TRANSPOSE ? 3 : n->kernel;
            own = weight_bytes * (size_t)(k * k) * (size_t)in_channels(g, n) * (size_t)n->c;
        }
        if (bytes > 0 && bytes + own > GROUP_WEIGHT_BYTES) {
            group++;
            bytes = 0;
        }
        bytes += own;
        m->groups[i] = group;
    }
}

static void choose_places(const struct dn_memory_plan *m, const struct dn_graph *g,
                          struct life *lives, bool keep_all)
{
    for (int i = 0; i < g->n_nodes; i++)
        lives[i].place = keep_all                  ? DN_PLACE_IMAGE
                         : g->nodes[i].needs_label ? DN_PLACE_IMAGE
                                                   : DN_PLACE_SHARED;
    for (int i = 0; i < g->n_nodes && !keep_all; i++) {
        bool local = dn_node_is_map(&g->nodes[i]) && lives[i].home == i &&
                     lives[i].last_use < g->n_nodes && m->groups[lives[i].last_use] == m->groups[i];
        for (int j = 0; j < i && local; j++)
            local = lives[j].home != i || (m->groups[j] == m->groups[i] &&
                                           g->nodes[j].needs_label == g->nodes[i].needs_label);
        if (local)
            lives[i].place = DN_PLACE_LOCAL;
    }
}

static bool same_geometry(const struct geometry *a, const struct geometry *b)
{
    return a->h == b->h && a->w == b->w && a->ld == b->ld && a->type == b->type &&
           a->border == b->border && a->place == b->place && a->needs_label == b->needs_label;
}

/* A slot for `home` at the time node `now` is computed. */
static int place(struct dn_memory_plan *m, struct slot *slots, int *n_slots,
                 const struct geometry *want, const struct life *life, int now, bool keep_all)
{
    for (int s = 0; s < *n_slots && !keep_all; s++) {
        /* A twin reads what does not depend on the label when the group has run once. */
        bool free = want->needs_label ? slots[s].free_after < now
                                      : slots[s].free_after < now &&
                                            m->groups[slots[s].free_after] < m->groups[now];
        if (free && same_geometry(&slots[s].geometry, want)) {
            slots[s].free_after = life->last_use;
            return s;
        }
    }
    int edge = want->border ? 2 : 0;
    size_t bytes = dn_type_bytes(want->type) * (size_t)(want->h + edge) * (size_t)(want->w + edge) *
                   (size_t)want->ld;
    size_t *used = want->place == DN_PLACE_LOCAL ? &m->local_bytes : &m->image_bytes;
    slots[*n_slots] = (struct slot){*want, *used, life->last_use};
    *used += dn_align_up(bytes);
    return (*n_slots)++;
}

static void place_maps(struct dn_memory_plan *m, const struct dn_graph *g, struct life *lives,
                       struct slot *slots, bool bf16, bool keep_all)
{
    int n_slots = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const struct dn_node *n = &g->nodes[i];
        if (!dn_node_is_map(n))
            continue;
        struct life *home = &lives[lives[i].home];
        const struct dn_node *owner = &g->nodes[lives[i].home];
        if (home->slot < 0) {
            bool half = bf16 && home->for_bf16 && !home->for_fp32_only;
            struct geometry want = {
                owner->h,     owner->w,    owner->c,          half ? DN_BF16 : DN_FP32,
                home->border, home->place, owner->needs_label};
            home->slot = place(m, slots, &n_slots, &want, home, i, keep_all);
        }
        const struct geometry *at = &slots[home->slot].geometry;
        size_t size = dn_type_bytes(at->type);
        int edge = at->border ? 1 : 0;
        int pitch = (at->w + 2 * edge) * at->ld;
        m->views[i] = (struct dn_view){
            .place = at->place,
            .offset = slots[home->slot].offset +
                      size * (size_t)(edge * (pitch + at->ld) + lives[i].channel),
            .type = at->type,
            .h = n->h,
            .w = n->w,
            .c = n->c,
            .ld = at->ld,
            .pitch = pitch,
        };
        size_t slack = size * dn_map_slack(at->ld, pitch);
        if (m->slack_bytes < slack)
            m->slack_bytes = slack;
    }
    m->slack_bytes = dn_align_up(m->slack_bytes);
}

int dn_memory_plan_init(struct dn_memory_plan *m, struct dn_graph *g,
                        const struct dn_kernels *kernels, bool keep_all, struct dn_error *err)
{
    size_t n = (size_t)g->n_nodes;
    bool bf16 = kernels->precision == DN_PRECISION_BF16;
    struct life *lives = calloc(n + 1, sizeof *lives);
    struct slot *slots = calloc(n + 1, sizeof *slots);
    int rc = 0;

    *m = (struct dn_memory_plan){.views = calloc(n + 1, sizeof *m->views),
                                 .is_copied_in = calloc(2 * n + 1, sizeof *m->is_copied_in),
                                 .groups = calloc(n + 1, sizeof *m->groups)};
    if (!lives || !slots || !m->views || !m->is_copied_in || !m->groups) {
        rc = dn_fail(err, DN_ENOMEM, "out of memory");
        goto out;
    }
    find_uses(lives, g, kernels);
    settle_concats(m, g, lives);
    cut_into_groups(m, g, dn_type_bytes(bf16 ? DN_BF16 : DN_FP32));
    choose_places(m, g, lives, keep_all);
    place_maps(m, g, lives, slots, bf16, keep_all);
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
    free(m->groups);
    *m = (struct dn_memory_plan){0};
}
