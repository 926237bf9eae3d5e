/* What the two files of pruning share. Private to them. */
#ifndef UFI_OPTIMIZE_PRUNE_IMPL_H
#define UFI_OPTIMIZE_PRUNE_IMPL_H

#include "optimize/conv.h"
#include "optimize/prune.h"

/* A convolution whose weights can be cut. */
static inline bool ufi_prune_is_conv(const ufi_graph *g, const ufi_node *n)
{
    return ufi_is_plain_conv(g, n) && (!ufi_node_has(n, 3) || g->values[n->in[3]].data);
}

static inline bool ufi_prune_is_dense(const ufi_graph *g, const ufi_node *n)
{
    return ufi_prune_is_conv(g, n) && !ufi_is_depthwise(g, n);
}

/* The group of value `v`; NULL when that keeps its channels. */
static inline ufi_prune_group *ufi_prune_group_at(const ufi_prune_plan *p, uint32_t v)
{
    return p->group_of[v] ? &p->groups[p->group_of[v] - 1] : NULL;
}

/* Every constant's data is copied into the graph's own memory. */
uf_status ufi_prune_own_constants(ufi_graph *g, uf_error *err);

#endif
