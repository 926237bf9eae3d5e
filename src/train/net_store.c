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

uf_status ufi_net_store(const ufi_net *net, const float *const *data, ufi_graph *out, uf_error *err)
{
    uf_status st = ufi_graph_clone(out, net->given, err);
    if (st)
        return st;
    for (uint32_t i = 0; !st && i < net->variable_count; i++) {
        const ufi_variable *v = &net->variables[i];
        if (v->value == UFI_NONE)
            continue;
        float *copy = ufi_arena_alloc(&out->arena, v->count, sizeof *copy);
        if (!copy)
            st = ufi_fail(err, UF_E_NOMEM, "no memory for trained weights");
        else
            memcpy(copy, numbers(net, data, i), v->count * sizeof *copy);
        out->values[v->value].data = copy;
    }
    for (uint32_t i = 0; !st && i < out->node_count; i++)
        if (net->norms[i] != UFI_NONE)
            st = store_norm(net, data, out, i, net->norms[i], err);
    if (!st)
        st = ufi_net_store_bytes(net, data, out, err);
    for (uint32_t i = 0; !st && i < out->value_count; i++)
        if (out->values[i].data &&
            (i >= net->given->value_count || out->values[i].data == net->given->values[i].data))
            st = ufi_graph_own_value(out, i, err);
    if (st)
        ufi_graph_free(out);
    return st;
}
