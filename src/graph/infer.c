/*
 * Shapes and constants of a whole graph: one walk in topological order that asks each node's rule,
 * and folds what depends on nothing but constants and shapes.
 *
 * Networks with dynamic inputs compute shapes at run time (Shape, Gather, Concat, Reshape). With
 * inputs of known size that arithmetic folds away. With unknown ones it is followed as *partial*
 * vectors: int64 vectors some of whose elements are UFI_INT_UNKNOWN, so that a Reshape to
 * [batch?, 128] still gets rank 2 and its second dimension.
 */
#include "graph/op.h"

/* A partial vector is at most as long as a Pad of a tensor of the highest rank needs. */
#define MAX_PARTIAL UFI_MAX_INTS
/* Constants made by folding, all together; and the work one fold may cost. */
#define MAX_FOLDED_TOTAL ((size_t)1 << 30)
#define MAX_FOLD_MACS ((int64_t)1 << 28)

typedef uf_status rule_fn(const ufi_op_call *c, uf_error *err);

static const struct {
    rule_fn *infer, *eval;
} rules[UFI_OP_COUNT] = {
#define UFI_OP(name, text, min_in, max_in, min_out, max_out, infer, eval) \
    {ufi_infer_##infer, ufi_eval_##eval},
#include "graph/ops.def"
#undef UFI_OP
};

uf_status ufi_op_infer(const ufi_op_call *call, uf_error *err)
{
    return rules[call->node->op].infer(call, err);
}

/* ---- the reference ---- */

static bool dims_fit(const ufi_shape *given, const ufi_shape *rule)
{
    if (rule->rank == UFI_RANK_UNKNOWN)
        return true;
    if (given->rank != rule->rank)
        return false;
    for (uint32_t d = 0; d < rule->rank; d++)
        if (rule->dims[d] >= 0 && rule->dims[d] != given->dims[d])
            return false;
    return true;
}

uf_status ufi_op_eval(const ufi_op_call *call, uf_error *err)
{
    ufi_tensor expected[UFI_MAX_NODE_IO] = {{0}};
    ufi_op_call check = *call;
    check.out = expected;
    for (uint32_t i = 0; i < call->in_count; i++)
        if (ufi_op_has(call, i) && (!call->in[i].data || call->in[i].layout != UFI_PLAIN) &&
            ufi_shape_count(&call->in[i].shape) != 0)
            return ufi_op_fail(call, err, UF_E_ARG, "input %u has no plain data", i);
    uf_status st = ufi_op_infer(&check, err);
    for (uint32_t i = 0; !st && i < call->out_count; i++) {
        const ufi_tensor *o = &call->out[i];
        if (o->data && (o->dtype != expected[i].dtype || !ufi_shape_known(&o->shape) ||
                        !dims_fit(&o->shape, &expected[i].shape)))
            st = ufi_op_fail(call, err, UF_E_MISMATCH,
                             "output %u is not of the type and shape the rule gives", i);
    }
    return st ? st : rules[call->node->op].eval(call, err);
}

/* ---- the walk ---- */

typedef struct inference {
    ufi_graph *g;
    int64_t (*partial)[MAX_PARTIAL]; /* per value; used where has_partial */
    bool *has_partial;
    size_t max_fold_bytes, folded_bytes;
    uf_error *err;
} inference;

/* Tensors of one node's inputs and outputs. */
typedef struct node_tensors {
    ufi_tensor in[UFI_MAX_NODE_IO], out[UFI_MAX_NODE_IO];
    bool shapes_known; /* every input present has a shape and a type */
    bool all_constant, any_partial;
} node_tensors;

static void *drop_const(const void *p)
{
    return (void *)(uintptr_t)p; /* inputs are read only; one tensor type serves both ways */
}

static void gather_inputs(const inference *f, const ufi_node *n, node_tensors *t)
{
    t->shapes_known = t->all_constant = true;
    t->any_partial = false;
    for (uint32_t i = 0; i < n->in_count; i++) {
        t->in[i] = (ufi_tensor){0};
        if (n->in[i] == UFI_NONE)
            continue;
        const ufi_value *v = &f->g->values[n->in[i]];
        if (!v->has_shape || v->dtype == UF_DTYPE_NONE)
            t->shapes_known = false;
        t->in[i] = (ufi_tensor){v->dtype, UFI_PLAIN, v->shape, drop_const(v->data)};
        if (v->data)
            continue;
        t->all_constant = false;
        if (f->has_partial[n->in[i]]) {
            t->in[i].data = f->partial[n->in[i]];
            t->any_partial = true;
        }
    }
}

static void store_outputs(inference *f, const ufi_node *n, const node_tensors *t, bool known)
{
    for (uint32_t i = 0; i < n->out_count; i++) {
        if (n->out[i] == UFI_NONE)
            continue;
        ufi_value *v = &f->g->values[n->out[i]];
        v->has_shape = known && t->out[i].shape.rank <= UF_MAX_DIMS;
        v->dtype = known ? t->out[i].dtype : UF_DTYPE_NONE;
        if (v->has_shape)
            v->shape = t->out[i].shape;
    }
}

/* ---- partial vectors ---- */

static bool is_small_vector(const ufi_tensor *t)
{
    if (t->dtype != UF_I64 || t->shape.rank > 1 || !ufi_shape_known(&t->shape))
        return false;
    return ufi_shape_count(&t->shape) <= MAX_PARTIAL;
}

static int64_t partial_arithmetic(ufi_op op, int64_t a, int64_t b)
{
    int64_t r;
    if (a == UFI_INT_UNKNOWN || b == UFI_INT_UNKNOWN)
        return UFI_INT_UNKNOWN;
    switch (op) {
    case UFI_OP_ADD:
        return __builtin_add_overflow(a, b, &r) ? UFI_INT_UNKNOWN : r;
    case UFI_OP_SUB:
        return __builtin_sub_overflow(a, b, &r) ? UFI_INT_UNKNOWN : r;
    case UFI_OP_MUL:
        return __builtin_mul_overflow(a, b, &r) ? UFI_INT_UNKNOWN : r;
    default:
        return b == 0 || b == -1 ? UFI_INT_UNKNOWN : a / b;
    }
}

static bool partial_binary(ufi_op op, const node_tensors *t, int64_t *out)
{
    const ufi_tensor *a = &t->in[0], *b = &t->in[1];
    if (!is_small_vector(a) || !is_small_vector(b) || !a->data || !b->data)
        return false;
    int64_t na = ufi_shape_count(&a->shape), nb = ufi_shape_count(&b->shape);
    int64_t n = ufi_shape_count(&t->out[0].shape);
    for (int64_t i = 0; i < n; i++)
        out[i] = partial_arithmetic(op, ((const int64_t *)a->data)[na == 1 ? 0 : i],
                                    ((const int64_t *)b->data)[nb == 1 ? 0 : i]);
    return true;
}

/* Moves carry unknown elements along like any number, provided that they are not told where to go
 * by one: input 0 (of Concat: all) may be partial, the others must be known. */
static bool partial_move(const ufi_op_call *call, const inference *f, node_tensors *t, int64_t *out)
{
    const ufi_node *n = call->node;
    for (uint32_t i = 0; i < n->in_count; i++) {
        if (n->in[i] == UFI_NONE)
            continue;
        if (!t->in[i].data)
            return false;
        if (i > 0 && n->op != UFI_OP_CONCAT && f->has_partial[n->in[i]])
            return false;
    }
    t->out[0].data = out;
    bool ok = rules[n->op].eval(call, NULL) == UF_OK;
    t->out[0].data = NULL;
    return ok;
}

static bool partial_shape(const ufi_op_call *call, node_tensors *t, int64_t *out)
{
    t->out[0].data = out;
    bool ok = rules[UFI_OP_SHAPE].eval(call, NULL) == UF_OK;
    t->out[0].data = NULL;
    int64_t n = ufi_shape_count(&t->out[0].shape);
    for (int64_t i = 0; i < n; i++)
        if (out[i] < 0)
            out[i] = UFI_INT_UNKNOWN;
    return ok;
}

static void follow_partial(inference *f, const ufi_op_call *call, node_tensors *t)
{
    const ufi_node *n = call->node;
    if (n->out_count != 1 || n->out[0] == UFI_NONE || !is_small_vector(&t->out[0]))
        return;
    uint32_t v = n->out[0];
    int64_t *out = f->partial[v];
    switch (n->op) {
    case UFI_OP_SHAPE:
        f->has_partial[v] = partial_shape(call, t, out);
        break;
    case UFI_OP_ADD:
    case UFI_OP_SUB:
    case UFI_OP_MUL:
    case UFI_OP_DIV:
        f->has_partial[v] = t->any_partial && partial_binary((ufi_op)n->op, t, out);
        break;
    case UFI_OP_GATHER:
    case UFI_OP_SLICE:
    case UFI_OP_CONCAT:
    case UFI_OP_SQUEEZE:
    case UFI_OP_UNSQUEEZE:
    case UFI_OP_RESHAPE:
    case UFI_OP_IDENTITY:
    case UFI_OP_CAST:
        f->has_partial[v] =
            t->any_partial && is_small_vector(&t->in[0]) && partial_move(call, f, t, out);
        break;
    default:
        break;
    }
}

/* ---- folding ---- */

/* Whether the node's outputs are constants: all inputs are, or only their shapes matter. */
static bool can_fold(const inference *f, const ufi_node *n, const node_tensors *t)
{
    bool shape_only = n->op == UFI_OP_SHAPE || n->op == UFI_OP_SIZE;
    if (shape_only ? !ufi_shape_known(&t->in[0].shape) : !t->all_constant)
        return false;
    size_t total = 0;
    for (uint32_t i = 0; i < n->out_count; i++) {
        const ufi_tensor *o = &t->out[i];
        if (o->shape.rank > UF_MAX_DIMS || ufi_shape_count(&o->shape) < 0)
            return false;
        total += ufi_tensor_bytes(o);
    }
    if (f->max_fold_bytes && total > f->max_fold_bytes)
        return false;
    return total <= MAX_FOLDED_TOTAL - f->folded_bytes && ufi_node_macs(f->g, n) <= MAX_FOLD_MACS;
}

static uf_status fold(inference *f, const ufi_op_call *call, node_tensors *t)
{
    const ufi_node *n = call->node;
    for (uint32_t i = 0; i < n->out_count; i++) {
        size_t bytes = ufi_tensor_bytes(&t->out[i]);
        t->out[i].data = ufi_arena_alloc(&f->g->arena, bytes ? bytes : 1, 1);
        if (!t->out[i].data)
            return ufi_fail(f->err, UF_E_NOMEM, "no memory for constants");
        f->folded_bytes += bytes;
    }
    uf_status st = rules[n->op].eval(call, f->err);
    for (uint32_t i = 0; !st && i < n->out_count; i++)
        if (n->out[i] != UFI_NONE)
            f->g->values[n->out[i]].data = t->out[i].data;
    return st;
}

static bool is_folded(const ufi_graph *g, const ufi_node *n)
{
    for (uint32_t i = 0; i < n->out_count; i++)
        if (n->out[i] != UFI_NONE && !g->values[n->out[i]].data)
            return false;
    return true;
}

static uf_status infer_node(inference *f, const ufi_node *n, node_tensors *t)
{
    if (is_folded(f->g, n))
        return UF_OK;
    gather_inputs(f, n, t);
    memset(t->out, 0, n->out_count * sizeof *t->out);
    ufi_op_call call = {n, t->in, n->in_count, t->out, n->out_count};
    uf_status st = t->shapes_known ? ufi_op_infer(&call, f->err) : UF_OK;
    if (st)
        return st;
    store_outputs(f, n, t, t->shapes_known);
    if (!t->shapes_known)
        return UF_OK;
    if (can_fold(f, n, t))
        return fold(f, &call, t);
    follow_partial(f, &call, t);
    return UF_OK;
}

uf_status ufi_graph_infer(ufi_graph *g, size_t max_fold_bytes, uf_error *err)
{
    uint32_t count = g->value_count ? g->value_count : 1;
    inference f = {.g = g, .max_fold_bytes = max_fold_bytes, .err = err};
    f.partial = ufi_malloc(count, sizeof *f.partial);
    f.has_partial = ufi_calloc(count, sizeof *f.has_partial);
    node_tensors *t = ufi_malloc(1, sizeof *t);
    uf_status st = UF_OK;
    if (!f.partial || !f.has_partial || !t)
        st = ufi_fail(err, UF_E_NOMEM, "no memory for shape inference");
    for (uint32_t i = 0; !st && i < g->node_count; i++)
        st = infer_node(&f, &g->nodes[i], t);
    ufi_free(f.partial);
    ufi_free(f.has_partial);
    ufi_free(t);
    return st;
}

/* ---- cost ---- */

int64_t ufi_node_macs(const ufi_graph *g, const ufi_node *n)
{
    const ufi_op op = (ufi_op)n->op;
    bool is_conv = op == UFI_OP_CONV || op == UFI_OP_CONV_INTEGER || op == UFI_OP_QLINEAR_CONV ||
                   op == UFI_OP_CONV_TRANSPOSE || op == UFI_OP_QCONV;
    bool is_product = op == UFI_OP_GEMM || op == UFI_OP_MATMUL || op == UFI_OP_MATMUL_INTEGER ||
                      op == UFI_OP_QLINEAR_MATMUL || op == UFI_OP_QGEMM;
    if ((!is_conv && !is_product) || n->out[0] == UFI_NONE)
        return 0;
    bool scaled = op == UFI_OP_QLINEAR_CONV || op == UFI_OP_QLINEAR_MATMUL || op == UFI_OP_QGEMM;
    const ufi_value *x = &g->values[n->in[0]], *w = &g->values[n->in[scaled ? 3 : 1]];
    const ufi_value *y = &g->values[n->out[0]];
    if (!x->has_shape || !w->has_shape || !y->has_shape || !ufi_shape_known(&x->shape) ||
        !ufi_shape_known(&w->shape) || !ufi_shape_known(&y->shape))
        return 0;
    /* Each output takes one multiplication per input it sees; of a transposed convolution, each
     * input contributes to kernel x filters outputs. */
    const ufi_value *units = op == UFI_OP_CONV_TRANSPOSE ? x : y;
    int64_t per_unit = 1;
    if (is_conv)
        per_unit = ufi_product(w->shape.dims, 1, w->shape.rank);
    else if (x->shape.rank) {
        bool trans = op != UFI_OP_MATMUL && ufi_node_int(n, UFI_ATTR_TRANS_A, 0) != 0;
        per_unit = x->shape.dims[trans ? 0 : x->shape.rank - 1];
    }
    int64_t count = ufi_shape_count(&units->shape), macs;
    if (count < 0 || per_unit < 0 || __builtin_mul_overflow(count, per_unit, &macs))
        return INT64_MAX;
    return macs;
}
