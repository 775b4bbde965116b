#include "core/graph/plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/error.h"
#include "core/base/memory.h"
#include "core/graph/instruction.h"
#include "core/kernels/bf16.h"

/* Keep only the tables that instructions read. */
static void drop_tables(struct dn_plan *plan)
{
    for (int i = 0; i < plan->n_tables; i++) {
        bool used = false;
        for (size_t j = 0; j < plan->n_instructions; j++)
            used |= plan->instructions[j].channel == &plan->tables[i] ||
                    plan->instructions[j].pre == &plan->tables[i];
        if (!used) {
            free(plan->tables[i].data);
            plan->tables[i].data = NULL;
        }
    }
}

int dn_plan_new(struct dn_plan **out, struct dn_graph *g, const struct dn_kernels *kernels,
                bool keep_all, struct dn_error *err)
{
    struct dn_memory_plan memory = {0};
    struct dn_plan *plan = calloc(1, sizeof *plan);
    size_t n = (size_t)g->n_nodes;
    int rc;

    assert(g->rc == 0 && g->output >= 0 && g->nodes[g->output].domain == DN_PER_IMAGE);
    if (plan) {
        plan->kernels = kernels;
        plan->n_tables = g->n_nodes;
        plan->tables = calloc(n, sizeof *plan->tables);
        plan->named = calloc(n, sizeof *plan->named);
        /* A transposed convolution becomes four instructions, everything else at most two. */
        plan->instructions = calloc(4 * n, sizeof *plan->instructions);
        plan->ops = calloc(4 * n, sizeof *plan->ops);
    }
    if (!plan || !plan->tables || !plan->named || !plan->instructions || !plan->ops) {
        rc = dn_fail(err, DN_ENOMEM, "out of memory");
        goto out;
    }
    dn_graph_fuse(g);
    if ((rc = dn_memory_plan_init(&memory, g, kernels, keep_all, err)) ||
        (rc = dn_tables_compute(plan->tables, g, err)) || (rc = dn_lower(plan, g, &memory, err)))
        goto out;
    drop_tables(plan);
    plan->output = memory.views[g->output];
    plan->local_bytes = memory.local_bytes; /* whole DN_ALIGN, like all of these */
    plan->image_bytes = memory.image_bytes;
    plan->slack_bytes = memory.slack_bytes;
out:
    dn_memory_plan_deinit(&memory);
    if (rc) {
        dn_plan_free(plan);
        plan = NULL;
    }
    *out = plan;
    return rc;
}

void dn_plan_free(struct dn_plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; i < plan->n_instructions; i++) {
        free(plan->instructions[i].owned[0]);
        free(plan->instructions[i].owned[1]);
        free((char *)plan->ops[i].name);
    }
    for (int i = 0; plan->tables && i < plan->n_tables; i++)
        free(plan->tables[i].data);
    for (size_t i = 0; i < plan->n_named; i++)
        free(plan->named[i].name);
    free(plan->instructions);
    free(plan->ops);
    free(plan->tables);
    free(plan->named);
    free(plan);
}

/* ---- running ------------------------------------------------------------------------------------
 */

/* The arena: scratch of one kernel call, what the images of a group share, the images. Borders of
 * zeros in them stay where they are, whatever n is. */
size_t dn_plan_arena_bytes(const struct dn_plan *plan, size_t n)
{
    return plan->scratch_bytes + plan->local_bytes + n * plan->image_bytes + plan->slack_bytes;
}

size_t dn_plan_ops(const struct dn_plan *plan, const struct dn_op_info **ops)
{
    *ops = plan->ops;
    return plan->n_instructions;
}

/* Where the maps of one evaluation are. */
struct places {
    char *at[3]; /* by enum dn_place */
};

static struct places places_of(const struct dn_plan *plan, void *arena, size_t image, size_t first)
{
    char *local = (char *)arena + plan->scratch_bytes, *images = local + plan->local_bytes;
    return (struct places){{[DN_PLACE_IMAGE] = images + image * plan->image_bytes,
                            [DN_PLACE_SHARED] = images + first * plan->image_bytes,
                            [DN_PLACE_LOCAL] = local}};
}

static struct dn_map map_of(const struct dn_view *v, const struct places *p)
{
    return (struct dn_map){p->at[v->place] + v->offset, v->type, v->h, v->w, v->c, v->ld, v->pitch};
}

static const float *row_of(const struct dn_table *t, const struct dn_evaluation *e)
{
    if (!t)
        return NULL;
    int row = t->domain == DN_PER_TIMESTEP ? e->timestep : e->label;
    return t->data + (size_t)row * (size_t)t->c;
}

static void load_input(const struct dn_map *map, const float *input)
{
    for (int y = 0; y < map->h; y++) {
        for (int x = 0; x < map->w; x++, input += map->c)
            for (int c = 0; c < map->c; c++)
                dn_store(dn_pixel(map, y, x), map->type, c, input[c]);
    }
}

static void store_output(float *output, const struct dn_map *map)
{
    for (int y = 0; y < map->h; y++)
        for (int x = 0; x < map->w; x++, output += map->c)
            memcpy(output, dn_pixel(map, y, x), (size_t)map->c * sizeof *output);
}

static void execute(const struct dn_plan *plan, const struct dn_instruction *in,
                    const struct places *p, float *scratch, const struct dn_evaluation *e)
{
    const struct dn_kernels *k = plan->kernels;
    struct dn_map x = map_of(&in->in[0], p), out = map_of(&in->out, p), b, c;
    struct dn_map residual = map_of(&in->residual, p);
    struct dn_epilogue epilogue = {in->act, in->has_residual ? &residual : NULL,
                                   row_of(in->channel, e)};

    switch (in->kind) {
    case DN_KIND_LOAD:
        load_input(&out, e->input);
        break;
    case DN_KIND_CONV:
        k->conv(&in->conv, &x, &out, &epilogue, scratch);
        break;
    case DN_KIND_GROUP_NORM:
        k->group_norm(&in->group_norm, &x, row_of(in->pre, e), &out, &epilogue);
        break;
    case DN_KIND_LAYER_NORM:
        k->layer_norm(&in->layer_norm, &x, &out);
        break;
    case DN_KIND_ATTENTION:
        b = map_of(&in->in[1], p);
        c = map_of(&in->in[2], p);
        k->attention(in->heads, &x, &b, &c, &out, &epilogue, scratch);
        break;
    case DN_KIND_POINTWISE:
        k->pointwise(&x, &out, &epilogue);
        break;
    }
}

/* What does not depend on the label is the first twin's; the second gets a copy where it needs its
 * own. */
static void execute_twin(const struct dn_instruction *in, const struct places *first,
                         const struct places *own)
{
    if (in->out.place != DN_PLACE_IMAGE)
        return;
    struct dn_map from = map_of(&in->out, first), to = map_of(&in->out, own);
    for (int y = 0; y < to.h; y++)
        for (int x = 0; x < to.w; x++)
            memcpy(dn_pixel(&to, y, x), dn_pixel(&from, y, x),
                   (size_t)to.c * dn_type_bytes(to.type));
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void dn_plan_run(const struct dn_plan *plan, void *arena, const struct dn_evaluation *evaluations,
                 size_t n, double *seconds)
{
    float *scratch = arena;

    for (size_t begin = 0, end; begin < plan->n_instructions; begin = end) {
        for (end = begin; end < plan->n_instructions &&
                          plan->instructions[end].group == plan->instructions[begin].group;)
            end++;
        for (size_t j = 0; j < n; j++) {
            const struct dn_evaluation *e = &evaluations[j];
            size_t first = e->is_twin ? j - 1 : j;
            struct places own = places_of(plan, arena, j, first);
            struct places of_first = places_of(plan, arena, first, first);
            double before = seconds ? now_s() : 0;
            for (size_t i = begin; i < end; i++) {
                const struct dn_instruction *in = &plan->instructions[i];
                if (e->is_twin && !in->needs_label)
                    execute_twin(in, &of_first, &own);
                else
                    execute(plan, in, &own, scratch, e);
                if (seconds) {
                    double after = now_s();
                    seconds[i] += after - before;
                    before = after;
                }
            }
        }
    }
    for (size_t j = 0; j < n; j++) {
        size_t first = evaluations[j].is_twin ? j - 1 : j;
        struct places own = places_of(plan, arena, j, first);
        struct dn_map out = map_of(&plan->output, &own);
        store_output(evaluations[j].output, &out);
    }
}

int dn_plan_value(const struct dn_plan *plan, void *arena, size_t i, const char *name,
                  struct dn_map *map)
{
    struct places own = places_of(plan, arena, i, i);
    for (size_t j = 0; j < plan->n_named; j++) {
        if (strcmp(plan->named[j].name, name) == 0) {
            *map = map_of(&plan->named[j].view, &own);
            return 0;
        }
    }
    return -1;
}
