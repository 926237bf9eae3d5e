/*
 * Convolutions of few outputs that look at the same input in the same way (the heads of a detector:
 * score, box, points) become one, with a Split behind it. Alone, each would fill a fraction of a
 * vector and read the input again.
 */
#include "graph/pass.h"

/* A convolution with so many outputs fills the vectors by itself. */
enum { ENOUGH_OUTPUTS = 32, MAX_SIBLINGS = 16 };

static bool is_candidate(const ufi_pass *p, const ufi_node *n)
{
    int64_t count;
    if (n->op != UFI_OP_CONV || n->out_count != 1 || n->out[0] == UFI_NONE || ufi_node_has(n, 3) ||
        ufi_node_has(n, 4) || ufi_node_int(n, UFI_ATTR_GROUP, 1) != 1 ||
        ufi_node_int(n, UFI_ATTR_ACT, 0) == UFI_ACT_PRELU || !ufi_pass_floats(p, n->in[1], &count))
        return false;
    const ufi_value *w = ufi_pass_value(p, n->in[1]), *y = ufi_pass_value(p, n->out[0]);
    if (w->shape.rank != 4 || w->shape.dims[0] >= ENOUGH_OUTPUTS || !y->has_shape ||
        y->dtype != UF_F32)
        return false;
    return !ufi_node_has(n, 2) ||
           (ufi_pass_floats(p, n->in[2], &count) && count == w->shape.dims[0]);
}

static bool same_attr(const ufi_node *a, const ufi_node *b, ufi_attr_key key)
{
    const ufi_attr *x = ufi_node_attr(a, key), *y = ufi_node_attr(b, key);
    if (!x || !y)
        return x == y;
    size_t size = x->type == UFI_ATTR_INTS ? 8 : x->type == UFI_ATTR_FLOATS ? 4 : 1;
    return x->type == y->type && x->count == y->count &&
           memcmp(x->u.string, y->u.string, x->count * size) == 0;
}

static bool same_form(const ufi_pass *p, const ufi_node *a, const ufi_node *b)
{
    static const ufi_attr_key keys[] = {UFI_ATTR_STRIDES,  UFI_ATTR_DILATIONS, UFI_ATTR_PADS,
                                        UFI_ATTR_AUTO_PAD, UFI_ATTR_ACT,       UFI_ATTR_ACT_LO,
                                        UFI_ATTR_ACT_HI,   UFI_ATTR_ACT_ALPHA};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!same_attr(a, b, keys[i]))
            return false;
    const int64_t *x = ufi_pass_value(p, a->in[1])->shape.dims;
    const int64_t *y = ufi_pass_value(p, b->in[1])->shape.dims;
    return x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

typedef struct family {
    uint32_t nodes[MAX_SIBLINGS], count;
    int64_t outputs, lengths[MAX_SIBLINGS];
} family;

/* Weights and biases one after the other: inputs 1 and 2 of the joint convolution. */
static uf_status join_weights(ufi_pass *p, const family *f, uint32_t in[3])
{
    const ufi_node *first = &p->g->nodes[f->nodes[0]];
    ufi_shape shape = ufi_pass_value(p, first->in[1])->shape;
    ufi_shape bias_shape = {.rank = 1, .dims = {f->outputs}};
    float *w, *b;
    shape.dims[0] = f->outputs;
    in[0] = first->in[0];
    uf_status st = ufi_pass_constant(p, first->name, &shape, NULL, &in[1], &w);
    if (!st)
        st = ufi_pass_constant(p, first->name, &bias_shape, NULL, &in[2], &b);
    for (uint32_t i = 0; !st && i < f->count; i++) {
        const ufi_node *n = &p->g->nodes[f->nodes[i]];
        int64_t count;
        const float *from = ufi_pass_floats(p, n->in[1], &count);
        memcpy(w, from, (size_t)count * sizeof *w);
        w += count;
        if (ufi_node_has(n, 2))
            memcpy(b, ufi_pass_floats(p, n->in[2], &count), (size_t)f->lengths[i] * sizeof *b);
        b += f->lengths[i];
    }
    return st;
}

/* The new nodes stand at the end until the graph is sorted. */
static uf_status join(ufi_pass *p, const family *f)
{
    uint32_t in[3], joint, split_in[2], out[MAX_SIBLINGS], index;
    ufi_graph *g = p->g;
    uf_status st = join_weights(p, f, in);
    const ufi_node first = g->nodes[f->nodes[0]];
    ufi_shape shape = ufi_pass_value(p, first.out[0])->shape;
    shape.dims[1] = f->outputs;
    ufi_tensor lengths = {UF_I64, UFI_PLAIN, {1, {f->count}}, (void *)(uintptr_t)f->lengths};
    if (!st)
        st = ufi_graph_add_value(g, first.name, UF_F32, &shape, &joint, p->err);
    if (!st)
        st = ufi_graph_add_node(g, UFI_OP_CONV, first.name, in, 3, &joint, 1, &index, p->err);
    if (st)
        return st;
    g->nodes[index].attrs = first.attrs;
    g->nodes[index].attr_count = first.attr_count;
    split_in[0] = joint;
    st = ufi_graph_add_constant(g, "", &lengths, true, &split_in[1], p->err);
    for (uint32_t i = 0; i < f->count; i++) {
        ufi_node *n = &g->nodes[f->nodes[i]];
        out[i] = n->out[0];
        n->out[0] = UFI_NONE;
        n->in_count = 0;
    }
    if (!st)
        st = ufi_graph_add_node(g, UFI_OP_SPLIT, first.name, split_in, 2, out, f->count, &index,
                                p->err);
    const int64_t axis = 1;
    return st ? st : ufi_node_set_ints(g, &g->nodes[index], UFI_ATTR_AXIS, &axis, 1, p->err);
}

/* From node i on, along the chain of candidates that read the same value. */
static void gather(const ufi_pass *p, uint32_t i, const uint32_t *next, bool *taken, family *f)
{
    *f = (family){.count = 0};
    for (uint32_t k = i; k != UFI_NONE && f->count < MAX_SIBLINGS; k = next[k]) {
        const ufi_node *n = &p->g->nodes[k];
        if (taken[k] || !same_form(p, &p->g->nodes[i], n))
            continue;
        f->lengths[f->count] = ufi_pass_value(p, n->in[1])->shape.dims[0];
        f->outputs += f->lengths[f->count];
        f->nodes[f->count++] = k;
    }
    for (uint32_t k = 0; f->count > 1 && k < f->count; k++)
        taken[f->nodes[k]] = true;
}

static uf_status join_all(ufi_pass *p, uint32_t *last, uint32_t *next, bool *taken)
{
    uint32_t count = p->g->node_count;
    uf_status st = UF_OK;
    for (uint32_t v = 0; v < p->g->value_count; v++)
        last[v] = UFI_NONE;
    for (uint32_t i = count; i-- > 0;) { /* chains in the order of the nodes */
        const ufi_node *n = &p->g->nodes[i];
        next[i] = UFI_NONE;
        taken[i] = !is_candidate(p, n);
        if (taken[i])
            continue;
        next[i] = last[n->in[0]];
        last[n->in[0]] = i;
    }
    for (uint32_t i = 0; !st && i < count; i++) {
        family f;
        if (taken[i])
            continue;
        gather(p, i, next, taken, &f);
        if (f.count < 2)
            continue;
        st = join(p, &f);
        p->changed = true;
    }
    return !st && p->changed ? ufi_graph_sort(p->g, p->err) : st;
}

uf_status ufi_pass_siblings(ufi_pass *p)
{
    uint32_t *last = ufi_malloc(p->g->value_count + 1, sizeof *last);
    uint32_t *next = ufi_malloc(p->g->node_count + 1, sizeof *next);
    bool *taken = ufi_calloc(p->g->node_count + 1, sizeof *taken);
    uf_status st = last && next && taken
                       ? join_all(p, last, next, taken)
                       : ufi_fail(p->err, UF_E_NOMEM, "no memory for graph passes");
    ufi_free(last);
    ufi_free(next);
    ufi_free(taken);
    return st;
}
