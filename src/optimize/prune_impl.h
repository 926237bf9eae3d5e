/* What the two files of pruning share. Private to them. */
#ifndef UFI_OPTIMIZE_PRUNE_IMPL_H
#define UFI_OPTIMIZE_PRUNE_IMPL_H

#include "optimize/prune.h"

static inline bool ufi_prune_has(const ufi_node *n, uint32_t i)
{
    return i < n->in_count && n->in[i] != UFI_NONE;
}

static inline bool ufi_prune_is_depthwise(const ufi_graph *g, const ufi_node *n)
{
    const ufi_shape *w = &g->values[n->in[1]].shape;
    return w->dims[1] == 1 && ufi_node_int(n, UFI_ATTR_GROUP, 1) == w->dims[0];
}

/* A convolution whose weights can be cut. */
static inline bool ufi_prune_is_conv(const ufi_graph *g, const ufi_node *n)
{
    if (n->op != UFI_OP_CONV)
        return false;
    const ufi_value *w = &g->values[n->in[1]];
    return w->data && w->dtype == UF_F32 && w->shape.rank == 4 &&
           (!ufi_prune_has(n, 2) || g->values[n->in[2]].data) &&
           (!ufi_prune_has(n, 3) || g->values[n->in[3]].data) &&
           (ufi_node_int(n, UFI_ATTR_GROUP, 1) == 1 || ufi_prune_is_depthwise(g, n));
}

static inline bool ufi_prune_is_dense(const ufi_graph *g, const ufi_node *n)
{
    return ufi_prune_is_conv(g, n) && !ufi_prune_is_depthwise(g, n);
}

/* The group of value `v`; NULL when that keeps its channels. */
static inline ufi_prune_group *ufi_prune_group_at(const ufi_prune_plan *p, uint32_t v)
{
    return p->group_of[v] ? &p->groups[p->group_of[v] - 1] : NULL;
}

/* Every constant's data is copied into the graph's own memory. */
uf_status ufi_prune_own_constants(ufi_graph *g, uf_error *err);

#endif
