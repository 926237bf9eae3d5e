/*
 * Exporters write the batch they traced with (nearly always 1) into Reshape targets. Where the
 * target's first dimension equals the input's, "copy it" (0) says the same and holds for any batch.
 */
#include "graph/pass.h"

static bool names_its_batch(const ufi_pass *p, const ufi_node *n)
{
    if (n->op != UFI_OP_RESHAPE || ufi_node_int(n, UFI_ATTR_ALLOWZERO, 0))
        return false;
    const ufi_value *x = ufi_pass_value(p, n->in[0]), *shape = ufi_pass_value(p, n->in[1]);
    if (!shape->data || shape->dtype != UF_I64 || shape->shape.rank != 1 ||
        shape->shape.dims[0] < 1 || shape->shape.dims[0] > UF_MAX_DIMS)
        return false;
    return x->has_shape && x->shape.rank > 0 && x->shape.dims[0] > 0 &&
           ((const int64_t *)shape->data)[0] == x->shape.dims[0];
}

uf_status ufi_pass_batch(ufi_pass *p)
{
    for (uint32_t i = 0; i < p->g->node_count; i++) {
        ufi_node *n = &p->g->nodes[i];
        if (!names_its_batch(p, n))
            continue;
        const ufi_value *shape = ufi_pass_value(p, n->in[1]);
        int64_t target[UF_MAX_DIMS];
        memcpy(target, shape->data, (size_t)shape->shape.dims[0] * sizeof *target);
        target[0] = 0;
        ufi_tensor t = {UF_I64, UFI_PLAIN, shape->shape, target};
        uint32_t id;
        uf_status st = ufi_graph_add_constant(p->g, "", &t, true, &id, p->err);
        if (st)
            return st;
        n->in[1] = id; /* the last pass: nobody reads the tables any more */
        p->changed = true;
    }
    return UF_OK;
}
