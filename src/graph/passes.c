/*
 * The driver of the passes, and what they share. Order and reasons:
 *
 *   identity  drops nodes that change nothing, so that neighbours see each other
 *   pattern   puts together what exporters take apart (x * sigmoid(x), mean over the plane, ...)
 *   affine    folds scales and shifts per channel into the weights before or after them
 *   fuse      lets a convolution or matrix product do the addition and the activation behind it
 *   siblings  makes one convolution of several small ones that read the same input
 *   batch     frees reshapes from the batch size that the exporter happened to use
 *
 * Before them, once, `quant` turns the quantised forms of other tools into QConv.
 *
 * They run until nothing changes; each rewrite takes something away that no other
 * brings back (a node, a freedom, a small convolution), so that ends. Dead
 * nodes and values are swept after each round.
 */
#include "graph/pass.h"

/* ---- tables ---- */

static uf_status grow_tables(ufi_pass *p, uint32_t count)
{
    if (count <= p->table_cap)
        return UF_OK;
    uint32_t cap = count + count / 2 + 64;
    uint32_t *uses = ufi_realloc(p->uses, cap, sizeof *uses);
    if (uses)
        p->uses = uses;
    uint32_t *producer = ufi_realloc(p->producer, cap, sizeof *producer);
    if (producer)
        p->producer = producer;
    bool *is_output = ufi_realloc(p->is_output, cap, sizeof *is_output);
    if (is_output)
        p->is_output = is_output;
    if (!uses || !producer || !is_output)
        return ufi_fail(p->err, UF_E_NOMEM, "no memory for graph passes");
    for (uint32_t i = p->table_cap; i < cap; i++) {
        uses[i] = 0;
        producer[i] = UFI_NONE;
        is_output[i] = false;
    }
    p->table_cap = cap;
    return UF_OK;
}

uf_status ufi_pass_init(ufi_pass *p, ufi_graph *g, uf_error *err)
{
    *p = (ufi_pass){.g = g, .err = err};
    uf_status st = grow_tables(p, g->value_count + 1);
    if (st)
        return st;
    for (uint32_t i = 0; i < g->node_count; i++) {
        const ufi_node *n = &g->nodes[i];
        for (uint32_t k = 0; k < n->in_count; k++)
            if (n->in[k] != UFI_NONE)
                p->uses[n->in[k]]++;
        for (uint32_t k = 0; k < n->out_count; k++)
            if (n->out[k] != UFI_NONE)
                p->producer[n->out[k]] = i;
    }
    for (uint32_t i = 0; i < g->output_count; i++) {
        p->uses[g->outputs[i]]++;
        p->is_output[g->outputs[i]] = true;
    }
    return UF_OK;
}

void ufi_pass_free(ufi_pass *p)
{
    ufi_free(p->uses);
    ufi_free(p->producer);
    ufi_free(p->is_output);
    *p = (ufi_pass){0};
}

uf_status ufi_pass_grow(ufi_pass *p)
{
    return grow_tables(p, p->g->value_count);
}

ufi_node *ufi_pass_producer(const ufi_pass *p, uint32_t v, ufi_op op)
{
    if (v == UFI_NONE || p->producer[v] == UFI_NONE || p->g->values[v].data)
        return NULL;
    ufi_node *n = &p->g->nodes[p->producer[v]];
    return op == UFI_OP_COUNT || n->op == op ? n : NULL;
}

ufi_node *ufi_pass_sole_producer(const ufi_pass *p, uint32_t v, ufi_op op)
{
    return v != UFI_NONE && p->uses[v] == 1 && !p->is_output[v] ? ufi_pass_producer(p, v, op)
                                                                : NULL;
}

const float *ufi_pass_floats(const ufi_pass *p, uint32_t v, int64_t *count)
{
    if (v == UFI_NONE)
        return NULL;
    const ufi_value *value = &p->g->values[v];
    if (!value->data || value->dtype != UF_F32)
        return NULL;
    *count = ufi_shape_count(&value->shape);
    return *count > 0 ? value->data : NULL;
}

bool ufi_pass_scalar(const ufi_pass *p, uint32_t v, float *out)
{
    int64_t count;
    const float *f = ufi_pass_floats(p, v, &count);
    if (!f)
        return false;
    for (int64_t i = 1; i < count; i++)
        if (memcmp(&f[i], &f[0], sizeof *f) != 0)
            return false;
    *out = f[0];
    return true;
}

uf_status ufi_pass_constant(ufi_pass *p, const char *name, const ufi_shape *shape,
                            const float *data, uint32_t *id, float **floats)
{
    float *to;
    uf_status st = ufi_graph_add_floats(p->g, name, shape, &to, id, p->err);
    if (st)
        return st;
    if (data)
        memcpy(to, data, (size_t)ufi_shape_count(shape) * sizeof *to);
    if (floats)
        *floats = to;
    return grow_tables(p, p->g->value_count);
}

uf_status ufi_pass_set_inputs(ufi_pass *p, ufi_node *n, const uint32_t *in, uint32_t count)
{
    uint32_t *copy = ufi_arena_alloc(&p->g->arena, count ? count : 1, sizeof *copy);
    if (!copy)
        return ufi_fail(p->err, UF_E_NOMEM, "no memory for graph passes");
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = in[i];
        if (in[i] != UFI_NONE)
            p->uses[in[i]]++;
    }
    for (uint32_t i = 0; i < n->in_count; i++)
        if (n->in[i] != UFI_NONE)
            p->uses[n->in[i]]--;
    n->in = copy;
    n->in_count = count;
    p->changed = true;
    return UF_OK;
}

uf_status ufi_pass_merge(ufi_pass *p, ufi_node *into, ufi_node *from)
{
    uf_status st = ufi_pass_set_inputs(p, into, from->in, from->in_count);
    if (st)
        return st;
    st = ufi_pass_set_inputs(p, from, NULL, 0);
    into->op = from->op;
    into->name = from->name;
    into->attrs = from->attrs;
    into->attr_count = from->attr_count;
    p->producer[from->out[0]] = UFI_NONE;
    from->out[0] = UFI_NONE;
    return st;
}

/* ---- sweeping ---- */

/* Marks, walking backwards, the nodes and values that the outputs depend on. */
static void mark_live(const ufi_graph *g, bool *node_live, bool *value_live)
{
    for (uint32_t i = 0; i < g->output_count; i++)
        value_live[g->outputs[i]] = true;
    for (uint32_t i = 0; i < g->input_count; i++)
        value_live[g->inputs[i]] = true;
    for (uint32_t i = g->node_count; i-- > 0;) {
        const ufi_node *n = &g->nodes[i];
        for (uint32_t k = 0; k < n->out_count; k++)
            if (n->out[k] != UFI_NONE && value_live[n->out[k]] && !g->values[n->out[k]].data)
                node_live[i] = true;
        if (!node_live[i])
            continue;
        for (uint32_t k = 0; k < n->in_count; k++)
            if (n->in[k] != UFI_NONE)
                value_live[n->in[k]] = true;
        for (uint32_t k = 0; k < n->out_count; k++)
            if (n->out[k] != UFI_NONE)
                value_live[n->out[k]] = true;
    }
}

static void renumber(uint32_t *ids, uint32_t count, const uint32_t *map)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] != UFI_NONE)
            ids[i] = map[ids[i]];
}

static void compact(ufi_graph *g, const bool *node_live, const bool *value_live, uint32_t *map)
{
    uint32_t values = 0, nodes = 0;
    for (uint32_t i = 0; i < g->value_count; i++)
        if (value_live[i]) {
            map[i] = values;
            g->values[values++] = g->values[i];
        }
    g->value_count = values;
    for (uint32_t i = 0; i < g->node_count; i++)
        if (node_live[i]) {
            ufi_node *n = &g->nodes[nodes++];
            *n = g->nodes[i];
            renumber(n->in, n->in_count, map);
            renumber(n->out, n->out_count, map);
        }
    g->node_count = nodes;
    renumber(g->inputs, g->input_count, map);
    renumber(g->outputs, g->output_count, map);
}

uf_status ufi_pass_sweep(ufi_graph *g, uf_error *err)
{
    bool *node_live = ufi_calloc(g->node_count + 1, sizeof *node_live);
    bool *value_live = ufi_calloc(g->value_count + 1, sizeof *value_live);
    uint32_t *map = ufi_calloc(g->value_count + 1, sizeof *map);
    uf_status st = UF_OK;
    if (node_live && value_live && map) {
        mark_live(g, node_live, value_live);
        compact(g, node_live, value_live, map);
    } else {
        st = ufi_fail(err, UF_E_NOMEM, "no memory for graph passes");
    }
    ufi_free(node_live);
    ufi_free(value_live);
    ufi_free(map);
    return st;
}

/* ---- the driver ---- */

typedef uf_status pass_fn(ufi_pass *p);

static pass_fn *const passes[] = {
    ufi_pass_identity, ufi_pass_pattern,  ufi_pass_affine,
    ufi_pass_fuse,     ufi_pass_siblings, ufi_pass_batch,
};

uf_status ufi_graph_optimize(ufi_graph *g, uf_error *err)
{
    bool changed = true;
    ufi_pass first;
    uf_status st = ufi_pass_init(&first, g, err);
    if (!st)
        st = ufi_pass_quant(&first);
    ufi_pass_free(&first);
    if (!st)
        st = ufi_pass_sweep(g, err);
    while (!st && changed) {
        changed = false;
        for (size_t i = 0; !st && i < sizeof passes / sizeof *passes; i++) {
            ufi_pass p;
            st = ufi_pass_init(&p, g, err);
            if (!st)
                st = passes[i](&p);
            changed |= p.changed;
            ufi_pass_free(&p);
        }
        if (!st)
            st = ufi_pass_sweep(g, err);
    }
    return st;
}
