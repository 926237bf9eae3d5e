/*
 * Drops nodes whose output is their input: Identity, Cast to the same type, Transpose that moves
 * nothing, Reshape to the same shape, Concat and Sum of one.
 */
#include "graph/pass.h"

static bool same_known_shape(const ufi_value *a, const ufi_value *b)
{
    return a->has_shape && b->has_shape && ufi_shape_known(&a->shape) &&
           ufi_shape_equal(&a->shape, &b->shape);
}

static bool is_identity_perm(const ufi_node *n)
{
    const ufi_attr *a = ufi_node_attr(n, UFI_ATTR_PERM);
    if (!a || a->type != UFI_ATTR_INTS)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (a->u.ints[i] != (int64_t)i)
            return false;
    return true;
}

static bool changes_nothing(const ufi_pass *p, const ufi_node *n)
{
    if (n->out_count < 1 || n->in_count < 1 || n->in[0] == UFI_NONE || n->out[0] == UFI_NONE)
        return false;
    const ufi_value *x = ufi_pass_value(p, n->in[0]), *y = ufi_pass_value(p, n->out[0]);
    switch (n->op) {
    case UFI_OP_IDENTITY:
        return true;
    case UFI_OP_CAST:
        return x->dtype == y->dtype && x->dtype != UF_DTYPE_NONE;
    case UFI_OP_TRANSPOSE:
        return is_identity_perm(n);
    case UFI_OP_RESHAPE:
    case UFI_OP_FLATTEN:
    case UFI_OP_SQUEEZE:
    case UFI_OP_UNSQUEEZE:
    case UFI_OP_EXPAND:
        return same_known_shape(x, y);
    case UFI_OP_SLICE: /* a step of -1 keeps the shape too */
        return !ufi_node_has(n, 4) && same_known_shape(x, y);
    case UFI_OP_CONCAT:
    case UFI_OP_SUM:
    case UFI_OP_MEAN:
    case UFI_OP_MIN:
    case UFI_OP_MAX:
        return n->in_count == 1;
    default:
        return false;
    }
}

/* The node's output is a graph output and must keep its name: its input's producer writes it. */
static bool take_over_output(ufi_pass *p, ufi_node *n, uint32_t *map)
{
    uint32_t x = n->in[0], y = n->out[0];
    if (p->is_output[x] || p->g->values[x].data || p->producer[x] == UFI_NONE)
        return false;
    ufi_node *maker = &p->g->nodes[p->producer[x]];
    for (uint32_t i = 0; i < maker->out_count; i++)
        if (maker->out[i] == x)
            maker->out[i] = y;
    p->producer[y] = p->producer[x];
    p->producer[x] = UFI_NONE;
    map[x] = y;
    return true;
}

static void rewrite(ufi_pass *p, uint32_t *map)
{
    for (uint32_t i = 0; i < p->g->node_count; i++) {
        ufi_node *n = &p->g->nodes[i];
        for (uint32_t k = 0; k < n->in_count; k++)
            if (n->in[k] != UFI_NONE)
                n->in[k] = map[n->in[k]];
        if (!changes_nothing(p, n))
            continue;
        if (!p->is_output[n->out[0]])
            map[n->out[0]] = n->in[0];
        else if (!take_over_output(p, n, map))
            continue;
        n->out[0] = UFI_NONE;
        n->in_count = 0;
        p->changed = true;
    }
}

/* Readers of x that stand before the node that took its output over still name x. */
static void rename_readers(ufi_pass *p, const uint32_t *map)
{
    for (uint32_t i = 0; i < p->g->node_count; i++) {
        ufi_node *n = &p->g->nodes[i];
        for (uint32_t k = 0; k < n->in_count; k++)
            while (n->in[k] != UFI_NONE && map[n->in[k]] != n->in[k])
                n->in[k] = map[n->in[k]];
    }
}

uf_status ufi_pass_identity(ufi_pass *p)
{
    uint32_t *map = ufi_malloc(p->g->value_count + 1, sizeof *map);
    if (!map)
        return ufi_fail(p->err, UF_E_NOMEM, "no memory for graph passes");
    for (uint32_t i = 0; i < p->g->value_count; i++)
        map[i] = i;
    rewrite(p, map);
    rename_readers(p, map);
    ufi_free(map);
    return UF_OK;
}
