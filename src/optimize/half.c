/* Half-precision storage of weights. */
#include "optimize/half.h"

#include <math.h>
#include <string.h>

enum { LEAST_ELEMENTS = 64 };

/* Largest finite FP16 and what rounds to it. */
#define F16_MOST 65519.0f

/* The weights that one output sums up: `count` of these filters, each of `length` weights. */
typedef struct filters {
    size_t count, length;
    size_t next, step; /* from a filter to the next, from a weight to the next */
} filters;

/* How the first node that multiplies by constant `v` uses it; each number by itself where none
 * does. */
static filters find_filters(const ufi_graph *g, uint32_t v)
{
    const ufi_shape *s = &g->values[v].shape;
    const size_t all = (size_t)ufi_shape_count(s);
    for (uint32_t i = 0; i < g->node_count && s->rank >= 2; i++) {
        const ufi_node *n = &g->nodes[i];
        if (!ufi_node_has(n, 1) || n->in[1] != v)
            continue;
        if (n->op == UFI_OP_CONV ||
            (n->op == UFI_OP_GEMM && ufi_node_int(n, UFI_ATTR_TRANS_B, 0))) {
            const size_t count = (size_t)s->dims[0];
            return (filters){count, all / count, all / count, 1};
        }
        if (s->rank == 2 && (n->op == UFI_OP_GEMM || n->op == UFI_OP_MATMUL)) {
            const size_t count = (size_t)s->dims[1];
            return (filters){count, all / count, 1, count};
        }
    }
    return (filters){all, 1, 1, 1};
}

static float widen(uint16_t x, uf_dtype dtype)
{
    return dtype == UF_F16 ? ufi_f16_to_f32(x) : ufi_bf16_to_f32(x);
}

static uint16_t narrow(float x, uf_dtype dtype)
{
    return dtype == UF_F16 ? ufi_f32_to_f16(x) : ufi_f32_to_bf16(x);
}

/* What rounding takes from one weight is added to the next of its filter, so that their sum stays:
 * inputs are mostly positive and alike, and what nearest rounding loses then adds up. */
static void round_filter(uint16_t *out, const float *in, const filters *f, uf_dtype dtype)
{
    float owed = 0;
    for (size_t i = 0; i < f->length; i++) {
        if (in[i * f->step] == 0) { /* what was pruned stays pruned */
            out[i * f->step] = 0;
            continue;
        }
        const float wanted = in[i * f->step] + owed;
        const bool fits = dtype != UF_F16 || fabsf(wanted) <= F16_MOST;
        out[i * f->step] = narrow(fits ? wanted : in[i * f->step], dtype);
        owed = wanted - widen(out[i * f->step], dtype);
        if (!fits || !isfinite(owed))
            owed = 0;
    }
}

static uf_status to_half(uint16_t *out, const ufi_graph *g, uint32_t v, uf_dtype dtype,
                         uf_error *err)
{
    const ufi_value *value = &g->values[v];
    const float *in = value->data;
    const filters f = find_filters(g, v);
    for (size_t i = 0; dtype == UF_F16 && i < f.count * f.length; i++)
        if (fabsf(in[i]) > F16_MOST)
            return ufi_fail(err, UF_E_UNSUPPORTED,
                            "weight \"%s\" has the value %g, which FP16 cannot hold: try bf16",
                            value->name, (double)in[i]);
    for (size_t i = 0; i < f.count; i++)
        round_filter(out + i * f.next, in + i * f.next, &f, dtype);
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
    uf_status st = to_half(half, g, v, dtype, err);
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
