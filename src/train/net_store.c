/* From a network under training back to a graph. */
#include <math.h>
#include <stdio.h>

#include "train/net_impl.h"

static const float *numbers(const ufi_net *net, const float *const *data, uint32_t variable)
{
    return data ? data[variable] : net->variables[variable].data;
}

/* The running statistic of a node, by its name. */
static const float *statistic(const ufi_net *net, const float *const *data, const ufi_node *n,
                              const char *what)
{
    char name[UFI_MAX_NAME_BYTES + 16];
    snprintf(name, sizeof name, "%s.%s", n->name, what);
    for (uint32_t i = 0; i < net->variable_count; i++)
        if (net->variables[i].value == UFI_NONE && !strcmp(net->variables[i].name, name))
            return numbers(net, data, i);
    return NULL;
}

static void drop_attribute(ufi_node *n, ufi_attr_key key)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n->attr_count; i++)
        if (n->attrs[i].key != key)
            n->attrs[kept++] = n->attrs[i];
    n->attr_count = kept;
}

/* y = (x - mean) / sqrt(variance + epsilon) * scale + shift, as one scale and one shift. */
static uf_status settle_norm(const ufi_net *net, const float *const *data, ufi_graph *g,
                             ufi_node *n, uf_error *err)
{
    const double epsilon = (double)ufi_node_float(n, UFI_ATTR_EPSILON, 1e-5f);
    const int64_t channels = ufi_shape_count(&g->values[n->in[1]].shape);
    const float *mean = statistic(net, data, n, "mean");
    const float *variance = statistic(net, data, n, "variance");
    float *scale, *shift;
    uf_status st = ufi_graph_own_input(g, n, 1, &scale, err);
    if (!st)
        st = ufi_graph_own_input(g, n, 2, &shift, err);
    if (st || !mean || !variance)
        return st ? st
                  : ufi_fail(err, UF_E_STATE, "normalisation \"%s\" has no statistics", n->name);
    for (int64_t c = 0; c < channels; c++) {
        const double by = (double)scale[c] / sqrt((double)variance[c] + epsilon);
        shift[c] = (float)((double)shift[c] - (double)mean[c] * by);
        scale[c] = (float)by;
    }
    drop_attribute(n, UFI_ATTR_EPSILON);
    return UF_OK;
}

uf_status ufi_net_store(const ufi_net *net, const float *const *data, ufi_graph *out, uf_error *err)
{
    uf_status st = ufi_graph_clone(out, net->given, err);
    for (uint32_t i = 0; !st && i < out->value_count; i++)
        if (out->values[i].data) /* the given graph need not outlive this one */
            st = ufi_graph_own_value(out, i, err);
    for (uint32_t i = 0; !st && i < net->variable_count; i++) {
        const ufi_variable *v = &net->variables[i];
        if (v->value != UFI_NONE)
            memcpy((void *)(uintptr_t)out->values[v->value].data, numbers(net, data, i),
                   v->count * sizeof(float));
    }
    for (uint32_t i = 0; !st && i < out->node_count; i++)
        if (out->nodes[i].op == UFI_OP_AFFINE && ufi_node_attr(&out->nodes[i], UFI_ATTR_EPSILON))
            st = settle_norm(net, data, out, &out->nodes[i], err);
    if (st)
        ufi_graph_free(out);
    return st;
}
