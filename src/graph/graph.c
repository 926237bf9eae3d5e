/*
 * Building, copying and checking graphs. Everything a graph owns is in its arena; the two tables
 * that grow (values, nodes) are plain arrays.
 */
#include "graph/graph.h"

#include <string.h>

#include "base/mem.h"

static const char *const op_names[] = {
#define UFI_OP(name, text, min_in, max_in, min_out, max_out, infer, eval) text,
#include "graph/ops.def"
#undef UFI_OP
};

static const struct {
    uint16_t min_in, max_in, min_out, max_out;
} op_arity[] = {
#define UFI_OP(name, text, min_in, max_in, min_out, max_out, infer, eval) \
    {min_in, max_in, min_out, max_out},
#include "graph/ops.def"
#undef UFI_OP
};

static const char *const attr_names[] = {
#define UFI_ATTR(name, text) text,
#include "graph/attrs.def"
#undef UFI_ATTR
};

const char *ufi_op_name(ufi_op op)
{
    return (unsigned)op < UFI_OP_COUNT ? op_names[op] : "?";
}

const char *ufi_attr_name(ufi_attr_key key)
{
    return (unsigned)key < UFI_ATTR_COUNT ? attr_names[key] : "?";
}

void ufi_graph_init(ufi_graph *g)
{
    *g = (ufi_graph){0};
    ufi_arena_init(&g->arena, 0);
}

void ufi_graph_free(ufi_graph *g)
{
    ufi_free(g->values);
    ufi_free(g->nodes);
    ufi_arena_free(&g->arena);
    *g = (ufi_graph){0};
}

static uf_status no_memory(uf_error *err)
{
    return ufi_fail(err, UF_E_NOMEM, "no memory for a graph");
}

static void *arena_copy(ufi_graph *g, const void *from, size_t count, size_t size)
{
    void *to = ufi_arena_alloc(&g->arena, count ? count : 1, size);
    if (to && count)
        memcpy(to, from, count * size);
    return to;
}

/* ---- values ---- */

static uf_status new_value(ufi_graph *g, const char *name, uint32_t *id, uf_error *err)
{
    if (g->value_count >= UFI_MAX_VALUES)
        return ufi_fail(err, UF_E_LIMIT, "the graph has more than %u values", UFI_MAX_VALUES);
    size_t length = name ? strlen(name) : 0;
    if (length > UFI_MAX_NAME_BYTES)
        return ufi_fail(err, UF_E_LIMIT, "a name of %zu bytes; the limit is %u", length,
                        UFI_MAX_NAME_BYTES);
    if (g->value_count == g->value_cap) {
        uint32_t cap = g->value_cap ? g->value_cap * 2 : 64;
        ufi_value *values = ufi_realloc(g->values, cap, sizeof *values);
        if (!values)
            return no_memory(err);
        g->values = values;
        g->value_cap = cap;
    }
    const char *copy = ufi_arena_strndup(&g->arena, name ? name : "", length);
    if (!copy)
        return no_memory(err);
    *id = g->value_count++;
    g->values[*id] = (ufi_value){.name = copy};
    return UF_OK;
}

uf_status ufi_graph_add_value(ufi_graph *g, const char *name, uf_dtype dtype,
                              const ufi_shape *shape, uint32_t *id, uf_error *err)
{
    uf_status st = new_value(g, name, id, err);
    if (st)
        return st;
    ufi_value *v = &g->values[*id];
    v->dtype = dtype;
    if (shape) {
        v->shape = *shape;
        v->has_shape = true;
    }
    return UF_OK;
}

uf_status ufi_graph_add_constant(ufi_graph *g, const char *name, const ufi_tensor *t, bool copy,
                                 uint32_t *id, uf_error *err)
{
    if (ufi_shape_count(&t->shape) < 0 || ufi_dtype_bytes(t->dtype) == 0)
        return ufi_fail(err, UF_E_FORMAT, "constant \"%s\" has no size", name ? name : "");
    const void *data = t->data;
    if (copy)
        data = arena_copy(g, t->data, ufi_tensor_bytes(t), 1);
    if (!data)
        return no_memory(err);
    uf_status st = ufi_graph_add_value(g, name, t->dtype, &t->shape, id, err);
    if (!st)
        g->values[*id].data = data;
    return st;
}

/* ---- nodes ---- */

uf_status ufi_graph_add_node(ufi_graph *g, ufi_op op, const char *name, const uint32_t *in,
                             uint32_t in_count, const uint32_t *out, uint32_t out_count,
                             uint32_t *node_index, uf_error *err)
{
    if (g->node_count >= UFI_MAX_NODES)
        return ufi_fail(err, UF_E_LIMIT, "the graph has more than %u nodes", UFI_MAX_NODES);
    if (in_count > UFI_MAX_NODE_IO || out_count > UFI_MAX_NODE_IO)
        return ufi_fail(err, UF_E_LIMIT, "node \"%s\" has more than %u inputs or outputs",
                        name ? name : "", UFI_MAX_NODE_IO);
    if (g->node_count == g->node_cap) {
        uint32_t cap = g->node_cap ? g->node_cap * 2 : 64;
        ufi_node *nodes = ufi_realloc(g->nodes, cap, sizeof *nodes);
        if (!nodes)
            return no_memory(err);
        g->nodes = nodes;
        g->node_cap = cap;
    }
    ufi_node n = {.op = (uint16_t)op, .in_count = in_count, .out_count = out_count};
    n.name = ufi_arena_strndup(&g->arena, name ? name : "", name ? strlen(name) : 0);
    n.in = arena_copy(g, in, in_count, sizeof *in);
    n.out = arena_copy(g, out, out_count, sizeof *out);
    if (!n.name || !n.in || !n.out)
        return no_memory(err);
    if (node_index)
        *node_index = g->node_count;
    g->nodes[g->node_count++] = n;
    return UF_OK;
}

uf_status ufi_graph_set_io(ufi_graph *g, const uint32_t *inputs, uint32_t input_count,
                           const uint32_t *outputs, uint32_t output_count, uf_error *err)
{
    uint32_t *in = arena_copy(g, inputs, input_count, sizeof *inputs);
    uint32_t *out = arena_copy(g, outputs, output_count, sizeof *outputs);
    if (!in || !out)
        return no_memory(err);
    g->inputs = in;
    g->outputs = out;
    g->input_count = input_count;
    g->output_count = output_count;
    return UF_OK;
}

/* ---- attributes ---- */

const ufi_attr *ufi_node_attr(const ufi_node *n, ufi_attr_key key)
{
    for (uint32_t i = 0; i < n->attr_count; i++)
        if (n->attrs[i].key == key)
            return &n->attrs[i];
    return NULL;
}

/* The old list stays in the arena: attributes are set a few times while a graph is made. */
static uf_status set_attr(ufi_graph *g, ufi_node *n, ufi_attr attr, uf_error *err)
{
    if (attr.count > UFI_MAX_ATTR_ITEMS)
        return ufi_fail(err, UF_E_LIMIT, "node \"%s\": attribute %s has %u items", n->name,
                        ufi_attr_name((ufi_attr_key)attr.key), attr.count);
    for (uint32_t i = 0; i < n->attr_count; i++)
        if (n->attrs[i].key == attr.key) {
            n->attrs[i] = attr;
            return UF_OK;
        }
    ufi_attr *attrs = ufi_arena_alloc(&g->arena, n->attr_count + 1, sizeof *attrs);
    if (!attrs)
        return no_memory(err);
    if (n->attr_count)
        memcpy(attrs, n->attrs, n->attr_count * sizeof *attrs);
    attrs[n->attr_count++] = attr;
    n->attrs = attrs;
    return UF_OK;
}

uf_status ufi_node_set_ints(ufi_graph *g, ufi_node *n, ufi_attr_key key, const int64_t *v,
                            uint32_t count, uf_error *err)
{
    ufi_attr a = {.key = (uint16_t)key, .type = UFI_ATTR_INTS, .count = count};
    a.u.ints = arena_copy(g, v, count, sizeof *v);
    return a.u.ints ? set_attr(g, n, a, err) : no_memory(err);
}

uf_status ufi_node_set_floats(ufi_graph *g, ufi_node *n, ufi_attr_key key, const float *v,
                              uint32_t count, uf_error *err)
{
    ufi_attr a = {.key = (uint16_t)key, .type = UFI_ATTR_FLOATS, .count = count};
    a.u.floats = arena_copy(g, v, count, sizeof *v);
    return a.u.floats ? set_attr(g, n, a, err) : no_memory(err);
}

uf_status ufi_node_set_string(ufi_graph *g, ufi_node *n, ufi_attr_key key, const char *v,
                              uint32_t count, uf_error *err)
{
    /* It ends at a NUL, and so does its count: `count` bytes of it are read elsewhere. */
    ufi_attr a = {.key = (uint16_t)key, .type = UFI_ATTR_STRING};
    a.count = count ? (uint32_t)strnlen(v, count) : 0;
    a.u.string = ufi_arena_strndup(&g->arena, v, count);
    return a.u.string ? set_attr(g, n, a, err) : no_memory(err);
}

int64_t ufi_node_int(const ufi_node *n, ufi_attr_key key, int64_t fallback)
{
    const ufi_attr *a = ufi_node_attr(n, key);
    return a && a->type == UFI_ATTR_INTS && a->count ? a->u.ints[0] : fallback;
}

float ufi_node_float(const ufi_node *n, ufi_attr_key key, float fallback)
{
    const ufi_attr *a = ufi_node_attr(n, key);
    return a && a->type == UFI_ATTR_FLOATS && a->count ? a->u.floats[0] : fallback;
}

const char *ufi_node_string(const ufi_node *n, ufi_attr_key key, const char *fallback)
{
    const ufi_attr *a = ufi_node_attr(n, key);
    return a && a->type == UFI_ATTR_STRING ? a->u.string : fallback;
}

/* ---- copies ---- */

static uf_status clone_attrs(ufi_graph *out, ufi_node *n, const ufi_node *from, uf_error *err)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < from->attr_count; i++) {
        const ufi_attr *a = &from->attrs[i];
        ufi_attr_key key = (ufi_attr_key)a->key;
        if (a->type == UFI_ATTR_INTS)
            st = ufi_node_set_ints(out, n, key, a->u.ints, a->count, err);
        else if (a->type == UFI_ATTR_FLOATS)
            st = ufi_node_set_floats(out, n, key, a->u.floats, a->count, err);
        else
            st = ufi_node_set_string(out, n, key, a->u.string, a->count, err);
    }
    return st;
}

uf_status ufi_graph_clone(ufi_graph *out, const ufi_graph *src, uf_error *err)
{
    uf_status st = UF_OK;
    uint32_t id, index;
    ufi_graph_init(out);
    for (uint32_t i = 0; !st && i < src->value_count; i++) {
        const ufi_value *v = &src->values[i];
        st = ufi_graph_add_value(out, v->name, v->dtype, v->has_shape ? &v->shape : NULL, &id, err);
        if (!st)
            out->values[id].data = v->data;
    }
    for (uint32_t i = 0; !st && i < src->node_count; i++) {
        const ufi_node *n = &src->nodes[i];
        st = ufi_graph_add_node(out, (ufi_op)n->op, n->name, n->in, n->in_count, n->out,
                                n->out_count, &index, err);
        if (!st)
            st = clone_attrs(out, &out->nodes[index], n, err);
    }
    if (!st)
        st = ufi_graph_set_io(out, src->inputs, src->input_count, src->outputs, src->output_count,
                              err);
    if (st)
        ufi_graph_free(out);
    return st;
}

/* ---- checks ---- */

/* Bits of the table that says which values exist when a node is reached. */
enum { PRODUCED = 1, IS_INPUT = 2 };

static uf_status check_io_ids(const ufi_graph *g, uint8_t *state, uf_error *err)
{
    for (uint32_t i = 0; i < g->input_count; i++) {
        uint32_t v = g->inputs[i];
        if (v >= g->value_count || g->values[v].data || (state[v] & IS_INPUT))
            return ufi_fail(err, UF_E_FORMAT, "graph input %u is no value of its own", i);
        state[v] |= PRODUCED | IS_INPUT;
    }
    for (uint32_t i = 0; i < g->value_count; i++)
        if (g->values[i].data)
            state[i] |= PRODUCED;
    return UF_OK;
}

static uf_status check_node(const ufi_graph *g, const ufi_node *n, uint8_t *state, uf_error *err)
{
    if (n->op >= UFI_OP_COUNT)
        return ufi_fail(err, UF_E_FORMAT, "node \"%s\": operator number %u", n->name, n->op);
    const char *op = ufi_op_name((ufi_op)n->op);
    if (n->in_count < op_arity[n->op].min_in || n->in_count > op_arity[n->op].max_in ||
        n->out_count < op_arity[n->op].min_out || n->out_count > op_arity[n->op].max_out)
        return ufi_fail(err, UF_E_FORMAT, "node \"%s\": %s with %u inputs and %u outputs", n->name,
                        op, n->in_count, n->out_count);
    for (uint32_t i = 0; i < n->in_count; i++) {
        uint32_t v = n->in[i];
        if (v == UFI_NONE && i >= op_arity[n->op].min_in)
            continue;
        if (v >= g->value_count || !(state[v] & PRODUCED))
            return ufi_fail(err, UF_E_FORMAT,
                            "node \"%s\" (%s): input %u is made by no node before", n->name, op, i);
    }
    for (uint32_t i = 0; i < n->out_count; i++) {
        uint32_t v = n->out[i];
        if (v == UFI_NONE)
            continue;
        if (v >= g->value_count || ((state[v] & PRODUCED) && !g->values[v].data) ||
            (state[v] & IS_INPUT))
            return ufi_fail(err, UF_E_FORMAT, "node \"%s\" (%s): output %u is made twice", n->name,
                            op, i);
        state[v] |= PRODUCED;
    }
    for (uint32_t i = 0; i < n->attr_count; i++)
        if (n->attrs[i].key >= UFI_ATTR_COUNT || n->attrs[i].count > UFI_MAX_ATTR_ITEMS)
            return ufi_fail(err, UF_E_FORMAT, "node \"%s\" (%s): attribute %u is unknown", n->name,
                            op, i);
    return UF_OK;
}

uf_status ufi_graph_check(const ufi_graph *g, uf_error *err)
{
    if (g->node_count > UFI_MAX_NODES || g->value_count > UFI_MAX_VALUES)
        return ufi_fail(err, UF_E_LIMIT, "%u nodes and %u values; the limits are %u and %u",
                        g->node_count, g->value_count, UFI_MAX_NODES, UFI_MAX_VALUES);
    uint8_t *state = ufi_calloc(g->value_count ? g->value_count : 1, 1);
    if (!state)
        return no_memory(err);
    uf_status st = check_io_ids(g, state, err);
    for (uint32_t i = 0; !st && i < g->node_count; i++)
        st = check_node(g, &g->nodes[i], state, err);
    for (uint32_t i = 0; !st && i < g->output_count; i++)
        if (g->outputs[i] >= g->value_count || !(state[g->outputs[i]] & PRODUCED))
            st = ufi_fail(err, UF_E_FORMAT, "graph output %u is made by no node", i);
    if (!st && g->output_count == 0)
        st = ufi_fail(err, UF_E_FORMAT, "the graph has no outputs");
    ufi_free(state);
    return st;
}

uf_status ufi_graph_own_value(ufi_graph *g, uint32_t v, uf_error *err)
{
    const ufi_tensor t = {.dtype = g->values[v].dtype, .shape = g->values[v].shape};
    const size_t bytes = ufi_tensor_bytes(&t);
    void *copy = ufi_arena_alloc(&g->arena, bytes + 1, 1);
    if (!copy)
        return ufi_fail(err, UF_E_NOMEM, "no memory for weights");
    memcpy(copy, g->values[v].data, bytes);
    g->values[v].data = copy;
    return UF_OK;
}

uf_status ufi_graph_add_floats(ufi_graph *g, const char *name, const ufi_shape *shape,
                               float **floats, uint32_t *id, uf_error *err)
{
    *floats = ufi_arena_alloc(&g->arena, (size_t)ufi_shape_count(shape) + 1, sizeof **floats);
    if (!*floats)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a constant");
    const ufi_tensor t = {UF_F32, UFI_PLAIN, *shape, *floats};
    return ufi_graph_add_constant(g, name, &t, false, id, err);
}

uf_status ufi_graph_own_input(ufi_graph *g, ufi_node *n, uint32_t i, float **floats, uf_error *err)
{
    const ufi_value from = g->values[n->in[i]];
    uint32_t id;
    uf_status st = ufi_graph_add_floats(g, from.name, &from.shape, floats, &id, err);
    if (st)
        return st;
    memcpy(*floats, from.data, (size_t)ufi_shape_count(&from.shape) * sizeof **floats);
    n->in[i] = id;
    return UF_OK;
}
