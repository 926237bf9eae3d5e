/*
 * Convolutions and matrix products take over what follows them element by element: first the
 * addition of a tensor of the same shape (a residual), then an activation. The results stay in
 * registers instead of making a trip through memory.
 */
#include "graph/pass.h"

static bool has_activation(const ufi_node *n)
{
    return ufi_node_int(n, UFI_ATTR_ACT, UFI_ACT_NONE) != UFI_ACT_NONE;
}

/* The convolution or product that makes `v` for this reader alone and has no activation yet. */
static ufi_node *open_producer(const ufi_pass *p, uint32_t v, bool conv_only)
{
    ufi_node *n = ufi_pass_sole_producer(p, v, UFI_OP_COUNT);
    if (!n || (n->op != UFI_OP_CONV && (conv_only || n->op != UFI_OP_GEMM)) || has_activation(n) ||
        ufi_pass_value(p, v)->dtype != UF_F32)
        return NULL;
    return n;
}

/* ---- activations ---- */

static bool read_clip(const ufi_pass *p, const ufi_node *n, ufi_pass_act *a)
{
    a->act = UFI_ACT_CLAMP;
    a->lo = -INFINITY;
    a->hi = INFINITY;
    if (ufi_node_has(n, 1) && !ufi_pass_scalar(p, n->in[1], &a->lo))
        return false;
    return !ufi_node_has(n, 2) || ufi_pass_scalar(p, n->in[2], &a->hi);
}

/* A slope per channel: one element, or `channels` of them in a shape [C,1,1] or [1,C,1,1]. */
static bool read_prelu(const ufi_pass *p, const ufi_node *n, const ufi_node *conv, ufi_pass_act *a)
{
    int64_t count;
    const ufi_value *y = ufi_pass_value(p, n->out[0]), *s = ufi_pass_value(p, n->in[1]);
    if (conv->op == UFI_OP_GEMM || !ufi_pass_floats(p, n->in[1], &count) || !y->has_shape ||
        y->shape.rank < 2)
        return false;
    if (count != 1) {
        uint32_t axis = s->shape.rank + 1 - y->shape.rank; /* of the channels, seen from the end */
        if (s->shape.rank + 1 < y->shape.rank || count != y->shape.dims[1] ||
            s->shape.dims[axis] != count)
            return false;
    }
    a->act = UFI_ACT_PRELU;
    a->slope = n->in[1];
    return true;
}

bool ufi_pass_read_act(const ufi_pass *p, const ufi_node *n, const ufi_node *from, ufi_pass_act *a)
{
    *a = (ufi_pass_act){.slope = UFI_NONE};
    switch (n->op) {
    case UFI_OP_RELU:
        a->act = UFI_ACT_RELU;
        return true;
    case UFI_OP_CLIP:
        return read_clip(p, n, a);
    case UFI_OP_PRELU:
        return read_prelu(p, n, from, a);
    case UFI_OP_LEAKY_RELU:
        a->act = UFI_ACT_LEAKY;
        a->alpha = ufi_node_float(n, UFI_ATTR_ALPHA, 0.01f);
        return true;
    case UFI_OP_HARD_SWISH:
        a->act = UFI_ACT_HARD_SWISH;
        return true;
    case UFI_OP_SILU:
        a->act = UFI_ACT_SILU;
        return ufi_node_float(n, UFI_ATTR_ALPHA, 1.0f) == 1.0f;
    case UFI_OP_SIGMOID:
        a->act = UFI_ACT_SIGMOID;
        return true;
    default:
        return false;
    }
}

uf_status ufi_pass_set_act(ufi_pass *p, ufi_node *n, const ufi_pass_act *a, uint32_t slope_input)
{
    int64_t act = a->act;
    uf_status st = ufi_node_set_ints(p->g, n, UFI_ATTR_ACT, &act, 1, p->err);
    if (!st && a->act == UFI_ACT_CLAMP) {
        st = ufi_node_set_floats(p->g, n, UFI_ATTR_ACT_LO, &a->lo, 1, p->err);
        if (!st)
            st = ufi_node_set_floats(p->g, n, UFI_ATTR_ACT_HI, &a->hi, 1, p->err);
    }
    if (!st && a->act == UFI_ACT_LEAKY)
        st = ufi_node_set_floats(p->g, n, UFI_ATTR_ACT_ALPHA, &a->alpha, 1, p->err);
    if (st || a->slope == UFI_NONE)
        return st;
    uint32_t in[UFI_MAX_NODE_IO];
    for (uint32_t i = 0; i < UFI_MAX_NODE_IO; i++)
        in[i] = i < n->in_count ? n->in[i] : UFI_NONE;
    in[slope_input] = a->slope;
    return ufi_pass_set_inputs(p, n, in, n->in_count > slope_input ? n->in_count : slope_input + 1);
}

static uf_status fuse_activation(ufi_pass *p, ufi_node *n)
{
    ufi_pass_act a;
    ufi_node *conv = n->in_count ? open_producer(p, n->in[0], false) : NULL;
    if (!conv || n->out_count != 1 || n->out[0] == UFI_NONE || !ufi_pass_read_act(p, n, conv, &a))
        return UF_OK;
    uf_status st = ufi_pass_merge(p, n, conv);
    return st ? st : ufi_pass_set_act(p, n, &a, 3);
}

/* ---- residuals ---- */

/* How many dimensions the graph's inputs leave open. */
static uint32_t open_dims(const ufi_graph *g)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->input_count; i++) {
        const ufi_value *v = &g->values[g->inputs[i]];
        for (uint32_t d = 0; v->has_shape && d < v->shape.rank; d++)
            count += v->shape.dims[d] < 0;
        count += v->has_shape ? 0 : UF_MAX_DIMS;
    }
    return count;
}

/* Two open batches are the same one where the inputs leave nothing else open. */
static bool same_shape(const ufi_pass *p, const ufi_value *a, const ufi_value *b)
{
    if (!a->has_shape || !b->has_shape || a->shape.rank != 4 || a->dtype != b->dtype ||
        !ufi_shape_equal(&a->shape, &b->shape))
        return false;
    for (uint32_t d = 1; d < 4; d++)
        if (a->shape.dims[d] < 0)
            return false;
    return a->shape.dims[0] >= 0 || open_dims(p->g) == 1;
}

/* The input of the addition that is made by a convolution which can take the other one in. */
static int residual_side(const ufi_pass *p, const ufi_node *n)
{
    int side = -1;
    uint32_t latest = 0;
    for (int i = 0; i < 2; i++) {
        const ufi_node *conv = open_producer(p, n->in[i], true);
        if (!conv || ufi_node_has(conv, 4) || ufi_pass_value(p, n->in[1 - i])->data)
            continue;
        /* Of two convolutions the later one adds: the other's result is there by then. */
        uint32_t at = p->producer[n->in[i]];
        if (side < 0 || at > latest) {
            side = i;
            latest = at;
        }
    }
    return side;
}

static uf_status fuse_residual(ufi_pass *p, ufi_node *n)
{
    if (n->op != UFI_OP_ADD || n->in[0] == n->in[1] || n->out[0] == UFI_NONE ||
        !same_shape(p, ufi_pass_value(p, n->in[0]), ufi_pass_value(p, n->in[1])))
        return UF_OK;
    int side = residual_side(p, n);
    if (side < 0)
        return UF_OK;
    ufi_node *conv = ufi_pass_producer(p, n->in[side], UFI_OP_CONV);
    uint32_t in[5] = {UFI_NONE, UFI_NONE, UFI_NONE, UFI_NONE, UFI_NONE};
    memcpy(in, conv->in, conv->in_count * sizeof *in);
    in[4] = n->in[1 - side];
    uf_status st = ufi_pass_merge(p, n, conv);
    return st ? st : ufi_pass_set_inputs(p, n, in, 5);
}

/* ---- bias of a product ---- */

/* MatMul of a matrix with constant weights, and the addition of a row: one Gemm. */
static uf_status fuse_matmul_bias(ufi_pass *p, ufi_node *n)
{
    if (n->op != UFI_OP_ADD || n->out[0] == UFI_NONE)
        return UF_OK;
    for (int i = 0; i < 2; i++) {
        ufi_node *m = ufi_pass_sole_producer(p, n->in[i], UFI_OP_MATMUL);
        uint32_t c = n->in[1 - i];
        int64_t count, weights;
        if (!m || !ufi_pass_floats(p, c, &count) || !ufi_pass_floats(p, m->in[1], &weights))
            continue;
        const ufi_value *a = ufi_pass_value(p, m->in[0]), *b = ufi_pass_value(p, m->in[1]);
        const ufi_shape *cs = &ufi_pass_value(p, c)->shape;
        if (!a->has_shape || a->shape.rank != 2 || b->shape.rank != 2 || cs->rank > 2 ||
            cs->rank < 1 || cs->dims[cs->rank - 1] != b->shape.dims[1] || count != b->shape.dims[1])
            continue;
        uint32_t in[3] = {m->in[0], m->in[1], c};
        uf_status st = ufi_pass_merge(p, n, m);
        n->op = UFI_OP_GEMM;
        return st ? st : ufi_pass_set_inputs(p, n, in, 3);
    }
    return UF_OK;
}

uf_status ufi_pass_fuse(ufi_pass *p)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < p->g->node_count; i++) {
        ufi_node *n = &p->g->nodes[i];
        if (n->out_count != 1 || n->out[0] == UFI_NONE)
            continue;
        if (n->op == UFI_OP_ADD) {
            st = fuse_matmul_bias(p, n);
            if (!st && n->op == UFI_OP_ADD)
                st = fuse_residual(p, n);
        } else {
            st = fuse_activation(p, n);
        }
    }
    return st;
}
