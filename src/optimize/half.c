/* Half-precision storage of weights. */
#include "optimize/half.h"

#include <math.h>
#include <string.h>

enum { LEAST_ELEMENTS = 64 };

/* Largest finite FP16 and what rounds to it. */
#define F16_MOST 65519.0f

static uf_status to_half(uint16_t *out, const ufi_value *v, uf_dtype dtype, uf_error *err)
{
    const float *in = v->data;
    const size_t count = (size_t)ufi_shape_count(&v->shape);
    for (size_t i = 0; i < count; i++) {
        if (dtype == UF_F16 && fabsf(in[i]) > F16_MOST)
            return ufi_fail(err, UF_E_UNSUPPORTED,
                            "weight \"%s\" has the value %g, which FP16 cannot hold: try bf16",
                            v->name, (double)in[i]);
        out[i] = dtype == UF_F16 ? ufi_f32_to_f16(in[i]) : ufi_f32_to_bf16(in[i]);
    }
    return UF_OK;
}

/* Value `v` of `g` becomes the output of a Cast of a new constant. */
static uf_status store_value(ufi_graph *g, uint32_t v, uf_dtype dtype, uf_error *err)
{
    const ufi_shape shape = g->values[v].shape;
    const size_t count = (size_t)ufi_shape_count(&shape);
    uint16_t *half = ufi_arena_alloc(&g->arena, count, sizeof *half);
    uint32_t stored, index;
    if (!half)
        return ufi_fail(err, UF_E_NOMEM, "no memory for half-precision weights");
    uf_status st = to_half(half, &g->values[v], dtype, err);
    const ufi_tensor t = {dtype, UFI_PLAIN, shape, half};
    if (!st)
        st = ufi_graph_add_constant(g, g->values[v].name, &t, false, &stored, err);
    if (!st)
        st = ufi_graph_add_node(g, UFI_OP_CAST, g->values[v].name, &stored, 1, &v, 1, &index, err);
    const int64_t to = UF_F32;
    if (!st)
        st = ufi_node_set_ints(g, &g->nodes[index], UFI_ATTR_TO, &to, 1, err);
    if (!st)
        g->values[v].data = NULL;
    return st;
}

uf_status ufi_store_half(ufi_graph *out, const ufi_graph *g, uf_dtype dtype, uf_error *err)
{
    uint32_t stored = 0;
    uf_status st = ufi_graph_clone(out, g, err);
    const uint32_t count = out->value_count;
    for (uint32_t v = 0; !st && v < count; v++) {
        const ufi_value *value = &out->values[v];
        if (!value->data)
            continue;
        if (value->dtype == UF_F32 && ufi_shape_count(&value->shape) >= LEAST_ELEMENTS) {
            st = store_value(out, v, dtype, err);
            stored++;
        } else {
            st = ufi_graph_own_value(out, v, err);
        }
    }
    if (!st && !stored)
        st = ufi_fail(err, UF_E_UNSUPPORTED, "the network has no FP32 weights to store smaller");
    if (!st)
        st = ufi_graph_sort(out, err);
    if (!st)
        st = ufi_graph_check(out, err);
    if (st)
        ufi_graph_free(out);
    return st;
}

/* FP32 weights that are worth it and fit. */
static bool can_be_half(const ufi_value *v)
{
    const int64_t count = v->data && v->dtype == UF_F32 ? ufi_shape_count(&v->shape) : 0;
    const float *x = v->data;
    for (int64_t i = 0; i < count; i++)
        if (!(fabsf(x[i]) <= F16_MOST))
            return false;
    return count >= LEAST_ELEMENTS;
}

uf_status ufi_store_weights_half(ufi_graph *g, uf_error *err)
{
    uf_status st = UF_OK;
    const uint32_t count = g->node_count;
    for (uint32_t i = 0; !st && i < count; i++) {
        const ufi_op op = (ufi_op)g->nodes[i].op;
        if ((op == UFI_OP_CONV || op == UFI_OP_GEMM) && can_be_half(&g->values[g->nodes[i].in[1]]))
            st = store_value(g, g->nodes[i].in[1], UF_F16, err);
    }
    if (!st)
        st = ufi_graph_sort(g, err);
    return st ? st : ufi_graph_check(g, err);
}
