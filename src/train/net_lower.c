/*
 * From nodes to steps: a row per operator. What a node fuses becomes steps of its own (product,
 * sum, activation); an activation behind a scale per channel becomes part of that one's step, which
 * saves a pass over memory each way.
 */
#include <stdio.h>

#include "train/net_impl.h"

/* ---- the operators ---- */

static const struct {
    ufi_op op;
    ufi_lower_fn *lower;
} table[] = {
    {UFI_OP_CONV, ufi_lower_conv},
    {UFI_OP_GEMM, ufi_lower_gemm},
    {UFI_OP_MATMUL, ufi_lower_matmul},
    {UFI_OP_AFFINE, ufi_lower_affine},
    {UFI_OP_PRELU, ufi_lower_unary},
    {UFI_OP_RELU, ufi_lower_unary},
    {UFI_OP_CLIP, ufi_lower_unary},
    {UFI_OP_LEAKY_RELU, ufi_lower_unary},
    {UFI_OP_SIGMOID, ufi_lower_unary},
    {UFI_OP_HARD_SIGMOID, ufi_lower_unary},
    {UFI_OP_HARD_SWISH, ufi_lower_unary},
    {UFI_OP_SILU, ufi_lower_unary},
    {UFI_OP_TANH, ufi_lower_unary},
    {UFI_OP_ADD, ufi_lower_binary},
    {UFI_OP_SUB, ufi_lower_binary},
    {UFI_OP_MUL, ufi_lower_binary},
    {UFI_OP_DIV, ufi_lower_binary},
    {UFI_OP_MAX_POOL, ufi_lower_pool},
    {UFI_OP_AVERAGE_POOL, ufi_lower_pool},
    {UFI_OP_GLOBAL_AVERAGE_POOL, ufi_lower_global_pool},
    {UFI_OP_REDUCE_MEAN, ufi_lower_reduce_mean},
    {UFI_OP_RESIZE, ufi_lower_resize},
    {UFI_OP_SOFTMAX, ufi_lower_softmax},
    {UFI_OP_LP_NORM, ufi_lower_lp_norm},
    {UFI_OP_IDENTITY, ufi_lower_reshape},
    {UFI_OP_RESHAPE, ufi_lower_reshape},
    {UFI_OP_FLATTEN, ufi_lower_reshape},
    {UFI_OP_SQUEEZE, ufi_lower_reshape},
    {UFI_OP_UNSQUEEZE, ufi_lower_reshape},
    {UFI_OP_TRANSPOSE, ufi_lower_transpose},
    {UFI_OP_CONCAT, ufi_lower_concat},
    {UFI_OP_SPLIT, ufi_lower_split},
    {UFI_OP_SLICE, ufi_lower_slice},
    {UFI_OP_PAD, ufi_lower_pad},
    {UFI_OP_QUANTIZE_LINEAR, ufi_lower_quantize},
    {UFI_OP_DEQUANTIZE_LINEAR, ufi_lower_dequantize},
    {UFI_OP_QCONV, ufi_lower_qconv},
    {UFI_OP_QLINEAR_ADD, ufi_lower_qlinear_add},
};

static ufi_lower_fn *find(uint16_t op)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].op == op)
            return table[i].lower;
    return NULL;
}

bool ufi_net_has_gradient(ufi_op op)
{
    return find((uint16_t)op) != NULL;
}

/* ---- blobs and steps ---- */

static void set_strides(ufi_blob *b, bool plain)
{
    const uint32_t rank = b->shape.rank;
    static const uint32_t channels_last[4] = {1, 3, 2, 0}; /* from the innermost on */
    int64_t stride = 1;
    for (uint32_t i = 0; i < rank; i++) {
        uint32_t d = rank == 4 && !plain ? channels_last[i] : rank - 1 - i;
        b->strides[d] = stride;
        stride *= b->shape.dims[d];
    }
    b->count = (size_t)stride;
}

void ufi_net_plain_strides(const ufi_shape *s, int64_t *strides)
{
    int64_t stride = 1;
    for (uint32_t d = s->rank; d-- > 0;) {
        strides[d] = stride;
        stride *= s->dims[d];
    }
}

uf_status ufi_net_add_blob(ufi_net *net, const ufi_shape *shape, uint32_t *id, uf_error *err)
{
    if (net->blob_count == net->blob_cap) {
        uint32_t cap = net->blob_cap * 2 + 64;
        ufi_blob *more = ufi_realloc(net->blobs, cap, sizeof *more);
        if (!more)
            return ufi_fail(err, UF_E_NOMEM, "no memory for a network under training");
        net->blobs = more;
        net->blob_cap = cap;
    }
    *id = net->blob_count++;
    ufi_blob *b = &net->blobs[*id];
    *b = (ufi_blob){.shape = *shape,
                    .variable = UFI_NONE,
                    .producer = UFI_NONE,
                    .data_buffer = UFI_NONE,
                    .grad_buffer = UFI_NONE};
    set_strides(b, false);
    return UF_OK;
}

uf_status ufi_net_add_like(ufi_net *net, uint32_t as, uint32_t *id, uf_error *err)
{
    const ufi_shape shape = net->blobs[as].shape; /* blobs move when there are more */
    return ufi_net_add_blob(net, &shape, id, err);
}

static uf_status grow_steps(ufi_net *net, uf_error *err)
{
    if (net->step_count < net->step_cap)
        return UF_OK;
    uint32_t cap = net->step_cap * 2 + 64;
    ufi_step *more = ufi_realloc(net->steps, cap, sizeof *more);
    if (!more)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a network under training");
    net->steps = more;
    net->step_cap = cap;
    return UF_OK;
}

uf_status ufi_net_add_step(ufi_net *net, const ufi_step_kind *kind, const ufi_node *n,
                           const uint32_t *in, uint32_t in_count, const uint32_t *out,
                           uint32_t out_count, ufi_step **step, uf_error *err)
{
    uf_status st = grow_steps(net, err);
    uint32_t *ids = st ? NULL : ufi_net_alloc(net, in_count + out_count, sizeof *ids, err);
    bool *flags = ids ? ufi_net_alloc(net, 3 * (size_t)in_count, sizeof *flags, err) : NULL;
    if (!flags)
        return UF_E_NOMEM;
    memcpy(ids, in, in_count * sizeof *ids);
    memcpy(ids + in_count, out, out_count * sizeof *ids);
    ufi_step *s = &net->steps[net->step_count];
    *s = (ufi_step){.kind = kind,
                    .node = n,
                    .in_count = in_count,
                    .out_count = out_count,
                    .in = ids,
                    .out = ids + in_count,
                    .adds = flags,
                    .shares = flags + in_count,
                    .keeps = flags + 2 * (size_t)in_count};
    bool wants = false;
    for (uint32_t k = 0; k < in_count; k++) {
        const ufi_blob *b = ufi_blob_in(net, s, k);
        wants |= b && (b->wants_grad || b->variable != UFI_NONE);
        if (b && b->variable != UFI_NONE)
            net->shared[b->variable]++;
    }
    for (uint32_t k = 0; k < out_count; k++)
        if (s->out[k] != UFI_NONE) {
            net->blobs[s->out[k]].wants_grad = wants;
            net->blobs[s->out[k]].producer = net->step_count;
        }
    net->step_count++;
    *step = s;
    return UF_OK;
}

/* ---- variables ---- */

static uf_status add_variable(ufi_net *net, const char *name, uint32_t value,
                              const ufi_shape *shape, bool learned, uint32_t *id, uf_error *err)
{
    if (net->variable_count == net->variable_cap) {
        uint32_t cap = net->variable_cap * 2 + 64;
        ufi_variable *more = ufi_realloc(net->variables, cap, sizeof *more);
        uint32_t *shared = ufi_net_alloc(net, cap, sizeof *shared, err);
        if (more)
            net->variables = more;
        if (!more || !shared)
            return ufi_fail(err, UF_E_NOMEM, "no memory for variables");
        if (net->shared)
            memcpy(shared, net->shared, net->variable_count * sizeof *shared);
        net->shared = shared;
        net->variable_cap = cap;
    }
    ufi_variable *v = &net->variables[net->variable_count];
    *v = (ufi_variable){.name = name, .value = value, .shape = *shape};
    v->count = (size_t)ufi_shape_count(shape);
    v->data = ufi_aligned_calloc(v->count * sizeof(float) + UFI_ALIGN);
    v->grad = learned ? ufi_aligned_calloc(v->count * sizeof(float) + UFI_ALIGN) : NULL;
    *id = net->variable_count++;
    if (!v->data || (learned && !v->grad))
        return ufi_fail(err, UF_E_NOMEM, "no memory for variables");
    return UF_OK;
}

bool ufi_net_is_constant(const ufi_net *net, const ufi_node *n, uint32_t i)
{
    return ufi_node_has(n, i) && net->graph.values[n->in[i]].data;
}

uf_status ufi_net_learn(ufi_net *net, const ufi_node *n, uint32_t i, bool decay, uf_error *err)
{
    if (!ufi_node_has(n, i))
        return UF_OK;
    ufi_blob *b = &net->blobs[n->in[i]];
    if (!b->constant)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED,
                             "input %u is no f32 constant; only constants can be trained", i);
    if (b->variable != UFI_NONE)
        return UF_OK;
    uf_status st = add_variable(net, net->graph.values[n->in[i]].name, n->in[i], &b->shape, true,
                                &b->variable, err);
    if (st)
        return st;
    ufi_variable *v = &net->variables[b->variable];
    v->decay = decay;
    memcpy(v->data, b->constant, v->count * sizeof(float));
    b->constant = v->data;
    return UF_OK;
}

uf_status ufi_net_add_learned(ufi_net *net, const char *name, const ufi_shape *shape, bool decay,
                              uint32_t *blob, uf_error *err)
{
    uint32_t variable = 0;
    uf_status st = add_variable(net, name, UFI_NONE, shape, true, &variable, err);
    if (!st)
        st = ufi_net_add_blob(net, shape, blob, err);
    if (st)
        return st;
    net->variables[variable].decay = decay;
    net->blobs[*blob].variable = variable;
    net->blobs[*blob].constant = net->variables[variable].data;
    return UF_OK;
}

uf_status ufi_net_keep(ufi_net *net, const ufi_node *n, const char *what, size_t count, float value,
                       uint32_t *variable, uf_error *err)
{
    const size_t size = strlen(n->name) + strlen(what) + 2;
    char *name = ufi_net_alloc(net, size, 1, err);
    const ufi_shape shape = {1, {(int64_t)count}};
    if (!name)
        return UF_E_NOMEM;
    snprintf(name, size, "%s.%s", n->name, what);
    uf_status st = add_variable(net, name, UFI_NONE, &shape, false, variable, err);
    for (size_t i = 0; !st && i < count; i++)
        net->variables[*variable].data[i] = value;
    return st;
}

/* ---- the walk ---- */

/* Counts readers, and marks the nodes that no output depends on. */
static void find_uses(ufi_net *net)
{
    const ufi_graph *g = &net->graph;
    for (uint32_t i = 0; i < g->output_count; i++)
        net->uses[g->outputs[i]]++;
    for (uint32_t i = g->node_count; i-- > 0;) {
        const ufi_node *n = &g->nodes[i];
        bool needed = false;
        for (uint32_t k = 0; k < n->out_count; k++)
            needed |= n->out[k] != UFI_NONE && net->uses[n->out[k]] && !g->values[n->out[k]].data;
        net->skip[i] = !needed;
        net->norms[i] = UFI_NONE;
        for (uint32_t k = 0; needed && k < n->in_count; k++)
            if (n->in[k] != UFI_NONE) {
                net->uses[n->in[k]]++;
                net->reader[n->in[k]] = i;
            }
    }
}

static uf_status make_blobs(ufi_net *net, uf_error *err)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < net->graph.value_count; i++) {
        const ufi_value *v = &net->graph.values[i];
        uint32_t id;
        const ufi_shape none = {0};
        bool known = v->has_shape && ufi_shape_count(&v->shape) > 0;
        if (!known && net->uses[i] && !v->data)
            return ufi_fail(err, UF_E_UNSUPPORTED,
                            "the size of value \"%.80s\" is not known or nothing", v->name);
        st = ufi_net_add_blob(net, known ? &v->shape : &none, &id, err);
        if (!st && v->data && v->dtype == UF_F32 && known)
            net->blobs[id].constant = v->data;
    }
    return st;
}

/* The blob the caller fills: the graph's input itself, or an FP32 copy of it. */
static uf_status make_input(ufi_net *net, uf_error *err)
{
    uint32_t x = net->graph.inputs[0], from = x;
    uf_status st = UF_OK;
    if (net->options.bf16)
        st = ufi_net_add_like(net, x, &from, err);
    if (st)
        return st;
    ufi_blob *b = &net->blobs[from];
    net->input_data = ufi_aligned_calloc(b->count * sizeof(float) + UFI_ALIGN);
    if (!net->input_data)
        return ufi_fail(err, UF_E_NOMEM, "no memory for the input");
    b->f32 = true;
    b->given = net->input_data;
    return from == x ? UF_OK : ufi_lower_copy(net, from, x, err);
}

static uf_status make_output(ufi_net *net, uint32_t i, uf_error *err)
{
    uint32_t from = net->graph.outputs[i], to;
    if (net->blobs[from].constant || net->graph.values[from].dtype != UF_F32)
        return ufi_fail(err, UF_E_UNSUPPORTED, "output %u of the graph is a constant or no f32", i);
    uf_status st = ufi_net_add_like(net, from, &to, err);
    if (st)
        return st;
    ufi_blob *b = &net->blobs[to];
    set_strides(b, true);
    b->f32 = true;
    b->given = net->output_data[i] = ufi_aligned_calloc(b->count * sizeof(float) + UFI_ALIGN);
    b->given_grad = net->output_grad[i] = ufi_aligned_calloc(b->count * sizeof(float) + UFI_ALIGN);
    if (!b->given || !b->given_grad)
        return ufi_fail(err, UF_E_NOMEM, "no memory for an output");
    return ufi_lower_copy(net, from, to, err);
}

static bool works_on_bytes(const ufi_node *n)
{
    return n->op == UFI_OP_QUANTIZE_LINEAR || n->op == UFI_OP_QCONV ||
           n->op == UFI_OP_QLINEAR_ADD || n->op == UFI_OP_MAX_POOL || n->op == UFI_OP_RESIZE;
}

static uf_status lower_nodes(ufi_net *net, uf_error *err)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < net->graph.node_count; i++) {
        const ufi_node *n = &net->graph.nodes[i];
        if (net->skip[i])
            continue;
        ufi_lower_fn *lower = find(n->op);
        if (!lower)
            return ufi_step_fail(n, err, UF_E_UNSUPPORTED,
                                 "this operator has no gradient here; it cannot be trained "
                                 "through");
        const uf_dtype type = net->graph.values[n->out[0] == UFI_NONE ? n->in[0] : n->out[0]].dtype;
        if (type != UF_F32 && !(type == UF_U8 && works_on_bytes(n)))
            return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "its numbers are not f32");
        if (net->blobs[n->in[0]].constant && lower != ufi_lower_binary)
            return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "its input is a constant");
        st = lower(net, n, err);
        if (!st && type == UF_U8)
            ufi_net_same_range(net, n->in[0], n->out[0]);
    }
    return st;
}

uf_status ufi_net_lower(ufi_net *net, uf_error *err)
{
    const ufi_graph *g = &net->graph;
    net->uses = ufi_net_alloc(net, g->value_count, sizeof *net->uses, err);
    net->reader = ufi_net_alloc(net, g->value_count, sizeof *net->reader, err);
    net->norms = ufi_net_alloc(net, g->node_count, sizeof *net->norms, err);
    net->skip = ufi_net_alloc(net, g->node_count, sizeof *net->skip, err);
    net->output_data = ufi_net_alloc(net, g->output_count, sizeof *net->output_data, err);
    net->output_grad = ufi_net_alloc(net, g->output_count, sizeof *net->output_grad, err);
    if (!net->uses || !net->reader || !net->skip || !net->norms || !net->output_data ||
        !net->output_grad)
        return UF_E_NOMEM;
    find_uses(net);
    uf_status st = make_blobs(net, err);
    if (!st)
        st = ufi_net_open_bytes(net, err);
    if (!st)
        st = make_input(net, err);
    if (!st)
        st = lower_nodes(net, err);
    for (uint32_t i = 0; !st && i < g->output_count; i++)
        st = make_output(net, i, err);
    return st;
}
