/* Which convolutions can be rewritten channel by channel. Floor 5. */
#ifndef UFI_OPTIMIZE_CONV_H
#define UFI_OPTIMIZE_CONV_H

#include "graph/graph.h"

static inline bool ufi_is_depthwise(const ufi_graph *g, const ufi_node *n)
{
    const ufi_shape *w = &g->values[n->in[1]].shape;
    return w->dims[1] == 1 && ufi_node_int(n, UFI_ATTR_GROUP, 1) == w->dims[0];
}

/* A convolution in FP32 of constant weights and bias, dense or depthwise. */
static inline bool ufi_is_plain_conv(const ufi_graph *g, const ufi_node *n)
{
    if (n->op != UFI_OP_CONV)
        return false;
    const ufi_value *w = &g->values[n->in[1]];
    return w->data && w->dtype == UF_F32 && w->shape.rank == 4 &&
           (!ufi_node_has(n, 2) || g->values[n->in[2]].data) &&
           (ufi_node_int(n, UFI_ATTR_GROUP, 1) == 1 || ufi_is_depthwise(g, n));
}

#endif
