/*
 * Puts together what exporters take apart: gates written as products, means over the whole plane,
 * padding before a convolution, a transposition after another.
 */
#include "graph/pass.h"

static bool near(float a, float b)
{
    return fabsf(a - b) <= 1e-6f * fabsf(b);
}

/* n = x * y with a producer of `op` among the factors that has the other factor as its input. */
static bool is_gate(const ufi_pass *p, const ufi_node *n, ufi_op op, ufi_node **gate, uint32_t *x)
{
    for (int i = 0; i < 2; i++) {
        *gate = ufi_pass_producer(p, n->in[i], op);
        if (*gate && (*gate)->in[0] == n->in[1 - i]) {
            *x = n->in[1 - i];
            return true;
        }
    }
    return false;
}

static bool is_sixth_gate(const ufi_node *n)
{
    return near(ufi_node_float(n, UFI_ATTR_ALPHA, 0.2f), 1.0f / 6) &&
           near(ufi_node_float(n, UFI_ATTR_BETA, 0.5f), 0.5f);
}

/* The x of clip(x + 3, 0, 6), or UFI_NONE. */
static uint32_t relu6_of_x_plus_3(const ufi_pass *p, uint32_t v)
{
    const ufi_node *clip = ufi_pass_producer(p, v, UFI_OP_CLIP);
    float lo, hi, three;
    if (!clip || !ufi_node_has(clip, 1) || !ufi_node_has(clip, 2) ||
        !ufi_pass_scalar(p, clip->in[1], &lo) || !ufi_pass_scalar(p, clip->in[2], &hi) ||
        lo != 0.0f || hi != 6.0f)
        return UFI_NONE;
    const ufi_node *add = ufi_pass_producer(p, clip->in[0], UFI_OP_ADD);
    for (int i = 0; add && i < 2; i++)
        if (ufi_pass_scalar(p, add->in[1 - i], &three) && three == 3.0f &&
            !ufi_pass_value(p, add->in[i])->data)
            return add->in[i];
    return UFI_NONE;
}

/* n = v / 6, written as a division or a product. */
static bool is_sixth(const ufi_pass *p, const ufi_node *n, uint32_t *v)
{
    float c;
    if (n->op == UFI_OP_DIV && ufi_pass_scalar(p, n->in[1], &c) && c == 6.0f) {
        *v = n->in[0];
        return true;
    }
    for (int i = 0; n->op == UFI_OP_MUL && i < 2; i++)
        if (ufi_pass_scalar(p, n->in[1 - i], &c) && near(c, 1.0f / 6)) {
            *v = n->in[i];
            return true;
        }
    return false;
}

static uf_status become_unary(ufi_pass *p, ufi_node *n, ufi_op op, uint32_t x)
{
    n->op = (uint16_t)op;
    n->attr_count = 0;
    return ufi_pass_set_inputs(p, n, &x, 1);
}

static uf_status gates(ufi_pass *p, ufi_node *n)
{
    ufi_node *gate;
    uint32_t x, v;
    if (n->op == UFI_OP_MUL && is_gate(p, n, UFI_OP_SIGMOID, &gate, &x))
        return become_unary(p, n, UFI_OP_SILU, x);
    if (n->op == UFI_OP_MUL && is_gate(p, n, UFI_OP_HARD_SIGMOID, &gate, &x) && is_sixth_gate(gate))
        return become_unary(p, n, UFI_OP_HARD_SWISH, x);
    if (!is_sixth(p, n, &v))
        return UF_OK;
    if ((x = relu6_of_x_plus_3(p, v)) != UFI_NONE) {
        const float alpha = 1.0f / 6, beta = 0.5f;
        uf_status st = become_unary(p, n, UFI_OP_HARD_SIGMOID, x);
        if (!st)
            st = ufi_node_set_floats(p->g, n, UFI_ATTR_ALPHA, &alpha, 1, p->err);
        return st ? st : ufi_node_set_floats(p->g, n, UFI_ATTR_BETA, &beta, 1, p->err);
    }
    const ufi_node *product = ufi_pass_producer(p, v, UFI_OP_MUL);
    for (int i = 0; product && i < 2; i++)
        if ((x = relu6_of_x_plus_3(p, product->in[i])) != UFI_NONE && x == product->in[1 - i])
            return become_unary(p, n, UFI_OP_HARD_SWISH, x);
    return UF_OK;
}

/* ---- mean over the plane ---- */

static bool reduces_plane(const ufi_pass *p, const ufi_node *n)
{
    const ufi_value *x = ufi_pass_value(p, n->in[0]);
    if (n->op != UFI_OP_REDUCE_MEAN || !ufi_node_has(n, 1) || !x->has_shape || x->shape.rank != 4 ||
        x->dtype != UF_F32)
        return false;
    const ufi_value *axes = ufi_pass_value(p, n->in[1]);
    if (!axes->data || axes->dtype != UF_I64 || ufi_shape_count(&axes->shape) != 2)
        return false;
    const int64_t *a = axes->data;
    int64_t first = a[0] < 0 ? a[0] + 4 : a[0], second = a[1] < 0 ? a[1] + 4 : a[1];
    return (first == 2 && second == 3) || (first == 3 && second == 2);
}

/* An average whose window is the whole plane. */
static bool averages_plane(const ufi_pass *p, const ufi_node *n)
{
    const ufi_value *x = ufi_pass_value(p, n->in[0]), *y = ufi_pass_value(p, n->out[0]);
    const ufi_attr *k = ufi_node_attr(n, UFI_ATTR_KERNEL_SHAPE);
    const ufi_attr *pads = ufi_node_attr(n, UFI_ATTR_PADS);
    if (n->op != UFI_OP_AVERAGE_POOL || !k || k->type != UFI_ATTR_INTS || k->count != 2 ||
        ufi_node_attr(n, UFI_ATTR_AUTO_PAD) || !x->has_shape || !y->has_shape || x->shape.rank != 4)
        return false;
    for (uint32_t i = 0; pads && pads->type == UFI_ATTR_INTS && i < pads->count; i++)
        if (pads->u.ints[i])
            return false;
    return k->u.ints[0] == x->shape.dims[2] && k->u.ints[1] == x->shape.dims[3] &&
           y->shape.dims[2] == 1 && y->shape.dims[3] == 1;
}

/* GlobalAveragePool, and a Flatten behind it when the dimensions are not kept. The new node stands
 * at the end until the graph is sorted. */
static uf_status plane_mean(ufi_pass *p, uint32_t index, bool *added)
{
    ufi_node *n = &p->g->nodes[index];
    uint32_t x = n->in[0], pooled;
    if (ufi_node_int(n, UFI_ATTR_KEEPDIMS, 1))
        return become_unary(p, n, UFI_OP_GLOBAL_AVERAGE_POOL, x);
    const ufi_shape *s = &ufi_pass_value(p, x)->shape;
    ufi_shape shape = {.rank = 4, .dims = {s->dims[0], s->dims[1], 1, 1}};
    uf_status st = ufi_graph_add_value(p->g, n->name, UF_F32, &shape, &pooled, p->err);
    if (!st)
        st = ufi_graph_add_node(p->g, UFI_OP_GLOBAL_AVERAGE_POOL, n->name, &x, 1, &pooled, 1, NULL,
                                p->err);
    if (st)
        return st;
    n = &p->g->nodes[index]; /* the table of nodes may have moved */
    n->op = UFI_OP_FLATTEN;
    n->attr_count = 0;
    n->in[0] = pooled;
    n->in_count = 1;
    p->changed = *added = true;
    return UF_OK;
}

/* ---- padding before a convolution ---- */

static bool is_zero_pad(const ufi_pass *p, const ufi_node *n, int64_t pads[8])
{
    float value;
    const ufi_value *x = ufi_pass_value(p, n->in[0]), *list = ufi_pass_value(p, n->in[1]);
    if (strcmp(ufi_node_string(n, UFI_ATTR_MODE, "constant"), "constant") != 0 || !x->has_shape ||
        x->shape.rank != 4 || !list->data || list->dtype != UF_I64 ||
        ufi_shape_count(&list->shape) != 8 || ufi_node_has(n, 3))
        return false;
    if (ufi_node_has(n, 2) && (!ufi_pass_scalar(p, n->in[2], &value) || value != 0.0f))
        return false;
    memcpy(pads, list->data, 8 * sizeof *pads);
    for (int i = 0; i < 8; i++)
        if (pads[i] < 0 || pads[i] > UFI_MAX_DIM || (i % 4 < 2 && pads[i]))
            return false;
    return true;
}

static uf_status pad_into_conv(ufi_pass *p, ufi_node *conv)
{
    ufi_node *pad = ufi_pass_sole_producer(p, conv->in[0], UFI_OP_PAD);
    int64_t more[8], pads[4] = {0};
    if (!pad || ufi_node_attr(conv, UFI_ATTR_AUTO_PAD) || !is_zero_pad(p, pad, more))
        return UF_OK;
    const ufi_attr *own = ufi_node_attr(conv, UFI_ATTR_PADS);
    if (own && (own->type != UFI_ATTR_INTS || own->count != 4))
        return UF_OK;
    for (int i = 0; i < 4; i++)
        pads[i] = (own ? own->u.ints[i] : 0) + more[i < 2 ? 2 + i : 4 + i];
    uint32_t in[5];
    memcpy(in, conv->in, conv->in_count * sizeof *in);
    in[0] = pad->in[0];
    uf_status st = ufi_node_set_ints(p->g, conv, UFI_ATTR_PADS, pads, 4, p->err);
    if (!st)
        st = ufi_pass_set_inputs(p, conv, in, conv->in_count);
    if (!st)
        st = ufi_pass_set_inputs(p, pad, NULL, 0);
    p->producer[pad->out[0]] = UFI_NONE;
    pad->out[0] = UFI_NONE;
    return st;
}

/* ---- a transposition after another ---- */

static bool read_perm(const ufi_node *n, uint32_t rank, int64_t perm[UF_MAX_DIMS])
{
    const ufi_attr *a = ufi_node_attr(n, UFI_ATTR_PERM);
    for (uint32_t i = 0; i < rank; i++)
        perm[i] = rank - 1 - i;
    if (!a)
        return true;
    if (a->type != UFI_ATTR_INTS || a->count != rank)
        return false;
    for (uint32_t i = 0; i < rank; i++) {
        perm[i] = a->u.ints[i];
        if (perm[i] < 0 || perm[i] >= rank)
            return false;
    }
    return true;
}

static uf_status join_transposes(ufi_pass *p, ufi_node *n)
{
    const ufi_node *first = ufi_pass_producer(p, n->in[0], UFI_OP_TRANSPOSE);
    const ufi_value *x = ufi_pass_value(p, n->in[0]);
    int64_t a[UF_MAX_DIMS], b[UF_MAX_DIMS], joined[UF_MAX_DIMS];
    if (!first || !x->has_shape || !read_perm(first, x->shape.rank, a) ||
        !read_perm(n, x->shape.rank, b))
        return UF_OK;
    for (uint32_t i = 0; i < x->shape.rank; i++)
        joined[i] = a[b[i]];
    uf_status st = ufi_node_set_ints(p->g, n, UFI_ATTR_PERM, joined, x->shape.rank, p->err);
    return st ? st : ufi_pass_set_inputs(p, n, first->in, 1);
}

uf_status ufi_pass_pattern(ufi_pass *p)
{
    uf_status st = UF_OK;
    bool added = false;
    uint32_t count = p->g->node_count;
    for (uint32_t i = 0; !st && i < count; i++) {
        ufi_node *n = &p->g->nodes[i];
        if (n->out_count != 1 || n->out[0] == UFI_NONE || n->in_count == 0)
            continue;
        if (n->op == UFI_OP_MUL || n->op == UFI_OP_DIV)
            st = gates(p, n);
        else if (n->op == UFI_OP_CONV)
            st = pad_into_conv(p, n);
        else if (n->op == UFI_OP_TRANSPOSE)
            st = join_transposes(p, n);
        else if (averages_plane(p, n))
            st = become_unary(p, n, UFI_OP_GLOBAL_AVERAGE_POOL, n->in[0]);
        else if (reduces_plane(p, n))
            st = plane_mean(p, i, &added);
    }
    return !st && added ? ufi_graph_sort(p->g, p->err) : st;
}
