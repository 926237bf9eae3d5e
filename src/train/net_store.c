/* What was learned goes back into a graph that can be run. */
#include <math.h>

#include "train/net_impl.h"

static const float *numbers(const ufi_net *net, const float *const *data, uint32_t i)
{
    return data && data[i] ? data[i] : net->variables[i].data;
}

/* The batch normalisation of `n` (of the copy) as the scale and shift that its running statistics
 * make it. */
static uf_status store_norm(const ufi_net *net, const float *const *data, ufi_graph *out,
                            uint32_t node, uint32_t mean_id, uf_error *err)
{
    ufi_node *n = &out->nodes[node];
    const double epsilon = (double)ufi_node_float(n, UFI_ATTR_EPSILON, 1e-5f);
    const float *mean = numbers(net, data, mean_id), *variance = numbers(net, data, mean_id + 1);
    float *scale, *shift;
    uf_status st = ufi_graph_own_input(out, n, 1, &scale, err);
    if (!st)
        st = ufi_graph_own_input(out, n, 2, &shift, err);
    for (size_t c = 0; !st && c < net->variables[mean_id].count; c++) {
        const double by = (double)scale[c] / sqrt((double)variance[c] + epsilon);
        scale[c] = (float)by;
        shift[c] = (float)((double)shift[c] - (double)mean[c] * by);
    }
    for (uint32_t i = 0; !st && i < n->attr_count; i++)
        if (n->attrs[i].key == UFI_ATTR_EPSILON) {
            n->attrs[i] = n->attrs[--n->attr_count];
            break;
        }
    return st;
}

/* The constant of 16 bits that a Cast widens to `value`, or UFI_NONE. */
static uint32_t stored_short(const ufi_graph *g, uint32_t value)
{
    for (uint32_t i = 0; i < g->node_count; i++) {
        const ufi_node *n = &g->nodes[i];
        if (n->op != UFI_OP_CAST || n->out[0] != value)
            continue;
        const ufi_value *from = &g->values[n->in[0]];
        return from->data && (from->dtype == UF_F16 || from->dtype == UF_BF16) ? n->in[0]
                                                                               : UFI_NONE;
    }
    return UFI_NONE;
}

/* What FP16 cannot hold becomes the largest that it can. */
static void narrow(uint16_t *to, const float *x, size_t count, uf_dtype dtype)
{
    const float most = 65504;
    for (size_t i = 0; i < count; i++)
        to[i] = dtype == UF_BF16 ? ufi_f32_to_bf16(x[i])
                                 : ufi_f32_to_f16(x[i] > most    ? most
                                                  : x[i] < -most ? -most
                                                                 : x[i]);
}

static uf_status store_variable(const ufi_net *net, const float *const *data, ufi_graph *out,
                                uint32_t i, uf_error *err)
{
    const ufi_variable *v = &net->variables[i];
    float *copy = ufi_arena_alloc(&out->arena, v->count, sizeof *copy);
    if (!copy)
        return ufi_fail(err, UF_E_NOMEM, "no memory for trained weights");
    memcpy(copy, numbers(net, data, i), v->count * sizeof *copy);
    /* The given graph need not know the shape of what a Cast writes. */
    out->values[v->value].shape = net->graph.values[v->value].shape;
    out->values[v->value].has_shape = true;
    out->values[v->value].data = copy;
    return UF_OK;
}

/* An INT8 model keeps the weights of layers in FP32 in 16 bits, behind a Cast: they stay so. Last,
 * because what is computed from variables reads them as floats. */
static uf_status shorten_variable(const ufi_net *net, ufi_graph *out, uint32_t i, uf_error *err)
{
    const ufi_variable *v = &net->variables[i];
    const uint32_t from = stored_short(out, v->value);
    if (from == UFI_NONE)
        return UF_OK;
    uint16_t *copy = ufi_arena_alloc(&out->arena, v->count, sizeof *copy);
    if (!copy)
        return ufi_fail(err, UF_E_NOMEM, "no memory for trained weights");
    narrow(copy, out->values[v->value].data, v->count, out->values[from].dtype);
    out->values[from].data = copy;
    out->values[v->value].data = NULL;
    return UF_OK;
}

uf_status ufi_net_store(const ufi_net *net, const float *const *data, ufi_graph *out, uf_error *err)
{
    uf_status st = ufi_graph_clone(out, net->given, err);
    if (st)
        return st;
    for (uint32_t i = 0; !st && i < net->variable_count; i++)
        if (net->variables[i].value != UFI_NONE)
            st = store_variable(net, data, out, i, err);
    for (uint32_t i = 0; !st && i < out->node_count; i++)
        if (net->norms[i] != UFI_NONE)
            st = store_norm(net, data, out, i, net->norms[i], err);
    if (!st)
        st = ufi_net_store_bytes(net, data, out, err);
    for (uint32_t i = 0; !st && i < net->variable_count; i++)
        if (net->variables[i].value != UFI_NONE)
            st = shorten_variable(net, out, i, err);
    for (uint32_t i = 0; !st && i < out->value_count; i++)
        if (out->values[i].data &&
            (i >= net->given->value_count || out->values[i].data == net->given->values[i].data))
            st = ufi_graph_own_value(out, i, err);
    if (st)
        ufi_graph_free(out);
    return st;
}
