/*
 * Operators that find their elements by index. Indices are data: each is checked, negative ones
 * count from the end.
 */
#include "graph/op.h"

static uf_status need_indices(const ufi_op_call *c, uint32_t i, uf_error *err)
{
    if (c->in[i].dtype != UF_I64 && c->in[i].dtype != UF_I32)
        return ufi_op_fail(c, err, UF_E_FORMAT, "indices, input %u, are %s, not int64 or int32", i,
                           ufi_dtype_name(c->in[i].dtype));
    return UF_OK;
}

/* Index `k` of input `i`, brought to 0..n-1. */
static uf_status read_index(const ufi_op_call *c, uint32_t i, int64_t k, int64_t n, int64_t *out,
                            uf_error *err)
{
    int64_t v = ufi_get_int(&c->in[i], k);
    *out = v < 0 ? v + n : v;
    if (*out < 0 || *out >= n)
        return ufi_op_fail(c, err, UF_E_FORMAT, "index %lld is outside of %lld elements",
                           (long long)v, (long long)n);
    return UF_OK;
}

static void copy_elements(const ufi_tensor *to, int64_t at, const ufi_tensor *from, int64_t from_at,
                          int64_t count)
{
    size_t size = ufi_dtype_bytes(from->dtype);
    memcpy((char *)to->data + (size_t)at * size, (const char *)from->data + (size_t)from_at * size,
           (size_t)count * size);
}

/* ---- Gather ---- */

uf_status ufi_infer_gather(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape, *ind = &c->in[1].shape;
    uint32_t axis;
    ufi_shape s = {0};
    uf_status st = need_indices(c, 1, err);
    if (!st)
        st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), x->rank, &axis, err);
    if (st)
        return st;
    if (x->rank - 1 + ind->rank > UF_MAX_DIMS)
        return ufi_op_fail(c, err, UF_E_LIMIT, "output of rank %u", x->rank - 1 + ind->rank);
    for (uint32_t d = 0; d < axis; d++)
        s.dims[s.rank++] = x->dims[d];
    for (uint32_t d = 0; d < ind->rank; d++)
        s.dims[s.rank++] = ind->dims[d];
    for (uint32_t d = axis + 1; d < x->rank; d++)
        s.dims[s.rank++] = x->dims[d];
    return ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

uf_status ufi_eval_gather(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    uint32_t axis;
    uf_status st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), x->rank, &axis, err);
    if (st)
        return st;
    int64_t outer = ufi_product(x->dims, 0, axis), inner = ufi_product(x->dims, axis + 1, x->rank);
    int64_t n = x->dims[axis], count = ufi_shape_count(&c->in[1].shape), from;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < count; k++) {
            st = read_index(c, 1, k, n, &from, err);
            if (st)
                return st;
            copy_elements(&c->out[0], (o * count + k) * inner, &c->in[0], (o * n + from) * inner,
                          inner);
        }
    return UF_OK;
}

/* ---- GatherElements, ScatterElements ---- */

uf_status ufi_infer_gather_elements(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    const ufi_shape *x = &c->in[0].shape, *ind = &c->in[1].shape;
    uf_status st = need_indices(c, 1, err);
    if (!st)
        st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), x->rank, &axis, err);
    if (!st)
        st = ufi_op_need_rank(c, 1, x->rank, x->rank, err);
    for (uint32_t d = 0; !st && d < x->rank; d++)
        if (d != axis && x->dims[d] >= 0 && ind->dims[d] > x->dims[d])
            return ufi_op_fail(c, err, UF_E_FORMAT, "indices reach beyond axis %u", d);
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, ind, err);
}

/* The element of a tensor of shape x that index k of `ind` (shape s) names along `axis`. */
static uf_status element_at(const ufi_op_call *c, const ufi_shape *x, const ufi_shape *s,
                            uint32_t axis, int64_t k, int64_t *at, uf_error *err)
{
    int64_t rest = k, stride = 1, index;
    uf_status st = read_index(c, 1, k, x->dims[axis], &index, err);
    *at = 0;
    for (uint32_t d = s->rank; d-- > 0;) {
        *at += (d == axis ? index : rest % s->dims[d]) * stride;
        rest /= s->dims[d];
        stride *= x->dims[d];
    }
    return st;
}

uf_status ufi_eval_gather_elements(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    const ufi_shape *x = &c->in[0].shape, *ind = &c->in[1].shape;
    uf_status st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), x->rank, &axis, err);
    int64_t count = ufi_shape_count(ind), at;
    for (int64_t k = 0; !st && k < count; k++) {
        st = element_at(c, x, ind, axis, k, &at, err);
        if (!st)
            copy_elements(&c->out[0], k, &c->in[0], at, 1);
    }
    return st;
}

static uf_status only_plain_scatter(const ufi_op_call *c, uf_error *err)
{
    const char *mode = ufi_node_string(c->node, UFI_ATTR_MODE, "none");
    if (strcmp(mode, "none") != 0)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "reduction \"%.40s\"", mode);
    return UF_OK;
}

uf_status ufi_infer_scatter_elements(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    const ufi_shape *x = &c->in[0].shape, *ind = &c->in[1].shape;
    uf_status st = need_indices(c, 1, err);
    if (!st)
        st = only_plain_scatter(c, err);
    if (!st)
        st = ufi_op_same_dtype(c, 2, 0, err);
    if (!st)
        st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), x->rank, &axis, err);
    if (!st && (ind->rank != x->rank || (ufi_shape_known(ind) && ufi_shape_known(&c->in[2].shape) &&
                                         !ufi_shape_equal(ind, &c->in[2].shape))))
        return ufi_op_fail(c, err, UF_E_FORMAT, "data, indices and updates do not fit together");
    for (uint32_t d = 0; !st && d < x->rank; d++)
        if (d != axis && x->dims[d] >= 0 && ind->dims[d] > x->dims[d])
            return ufi_op_fail(c, err, UF_E_FORMAT, "indices reach beyond axis %u", d);
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, x, err);
}

uf_status ufi_eval_scatter_elements(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    const ufi_shape *x = &c->in[0].shape, *ind = &c->in[1].shape;
    uf_status st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), x->rank, &axis, err);
    int64_t count = ufi_shape_count(ind), at;
    if (!st)
        copy_elements(&c->out[0], 0, &c->in[0], 0, ufi_shape_count(x));
    for (int64_t k = 0; !st && k < count; k++) {
        st = element_at(c, x, ind, axis, k, &at, err);
        if (!st)
            copy_elements(&c->out[0], at, &c->in[2], k, 1);
    }
    return st;
}

/* ---- GatherND, ScatterND ---- */

/* Length of the index tuples: the last dimension of input 1. */
static uf_status tuple_length(const ufi_op_call *c, int64_t most, int64_t *length, uf_error *err)
{
    const ufi_shape *ind = &c->in[1].shape;
    uf_status st = need_indices(c, 1, err);
    if (!st)
        st = ufi_op_need_rank(c, 1, 1, UF_MAX_DIMS, err);
    if (st)
        return st;
    *length = ind->dims[ind->rank - 1];
    if (*length > most || *length == 0)
        return ufi_op_fail(c, err, UF_E_FORMAT, "index tuples of %lld for %lld dimensions",
                           (long long)*length, (long long)most);
    return UF_OK;
}

uf_status ufi_infer_gather_nd(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape, *ind = &c->in[1].shape;
    int64_t batch = ufi_node_int(c->node, UFI_ATTR_BATCH_DIMS, 0), length;
    if (batch < 0 || batch >= (int64_t)x->rank || batch >= (int64_t)ind->rank)
        return ufi_op_fail(c, err, UF_E_FORMAT, "batch_dims %lld", (long long)batch);
    uf_status st = tuple_length(c, (int64_t)x->rank - batch, &length, err);
    if (st)
        return st;
    if (length < 0) {
        c->out[0] = (ufi_tensor){.dtype = c->in[0].dtype, .shape = {.rank = UFI_RANK_UNKNOWN}};
        return UF_OK;
    }
    uint32_t first = (uint32_t)(batch + length), rank = ind->rank - 1 + x->rank - first;
    if (rank > UF_MAX_DIMS)
        return ufi_op_fail(c, err, UF_E_LIMIT, "output of rank %u", rank);
    ufi_shape s = {0};
    for (uint32_t d = 0; d + 1 < ind->rank; d++)
        s.dims[s.rank++] = ind->dims[d];
    for (int64_t d = 0; d < batch; d++)
        if (ind->dims[d] >= 0 && x->dims[d] >= 0 && ind->dims[d] != x->dims[d])
            return ufi_op_fail(c, err, UF_E_FORMAT, "batch dimension %lld differs", (long long)d);
    for (uint32_t d = first; d < x->rank; d++)
        s.dims[s.rank++] = x->dims[d];
    return ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

/* Element offset of index tuple `k` into dims[from..from + length) of x, `inner` elements each. */
static uf_status tuple_offset(const ufi_op_call *c, const ufi_shape *x, uint32_t from,
                              int64_t length, int64_t k, int64_t *at, uf_error *err)
{
    *at = 0;
    for (int64_t i = 0; i < length; i++) {
        int64_t index;
        uf_status st = read_index(c, 1, k * length + i, x->dims[from + i], &index, err);
        if (st)
            return st;
        *at = *at * x->dims[from + i] + index;
    }
    return UF_OK;
}

uf_status ufi_eval_gather_nd(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape, *ind = &c->in[1].shape;
    uint32_t batch = (uint32_t)ufi_node_int(c->node, UFI_ATTR_BATCH_DIMS, 0);
    int64_t length = ind->dims[ind->rank - 1], at;
    uint32_t first = batch + (uint32_t)length;
    int64_t inner = ufi_product(x->dims, first, x->rank), tuples = ufi_shape_count(ind) / length;
    int64_t batches = ufi_product(x->dims, 0, batch), span = ufi_product(x->dims, batch, first);
    uf_status st = UF_OK;
    for (int64_t k = 0; !st && k < tuples; k++) {
        st = tuple_offset(c, x, batch, length, k, &at, err);
        if (!st)
            copy_elements(&c->out[0], k * inner, &c->in[0],
                          (k / (tuples / batches) * span + at) * inner, inner);
    }
    return st;
}

uf_status ufi_infer_scatter_nd(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape, *ind = &c->in[1].shape, *u = &c->in[2].shape;
    int64_t length;
    uf_status st = tuple_length(c, x->rank, &length, err);
    if (!st)
        st = only_plain_scatter(c, err);
    if (!st)
        st = ufi_op_same_dtype(c, 2, 0, err);
    if (!st && ufi_shape_known(x) && ufi_shape_known(ind) && ufi_shape_known(u)) {
        int64_t inner = ufi_product(x->dims, (uint32_t)length, x->rank);
        if (ufi_shape_count(ind) / length * inner != ufi_shape_count(u))
            return ufi_op_fail(c, err, UF_E_FORMAT, "updates do not fit the indices");
    }
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, x, err);
}

uf_status ufi_eval_scatter_nd(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape, *ind = &c->in[1].shape;
    int64_t length = ind->dims[ind->rank - 1], at;
    int64_t inner = ufi_product(x->dims, (uint32_t)length, x->rank);
    int64_t tuples = ufi_shape_count(ind) / length;
    uf_status st = UF_OK;
    copy_elements(&c->out[0], 0, &c->in[0], 0, ufi_shape_count(x));
    for (int64_t k = 0; !st && k < tuples; k++) {
        st = tuple_offset(c, x, 0, length, k, &at, err);
        if (!st)
            copy_elements(&c->out[0], at * inner, &c->in[2], k * inner, inner);
    }
    return st;
}

/* ---- OneHot, NonZero ---- */

static uf_status one_hot_axis(const ufi_op_call *c, uint32_t *axis, uf_error *err)
{
    return ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, -1), c->in[0].shape.rank + 1, axis,
                       err);
}

uf_status ufi_infer_one_hot(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    uint32_t axis;
    int64_t depth = -1;
    ufi_shape s = {.rank = x->rank + 1};
    if (s.rank > UF_MAX_DIMS)
        return ufi_op_fail(c, err, UF_E_LIMIT, "output of rank %u", s.rank);
    uf_status st = one_hot_axis(c, &axis, err);
    if (!st)
        st = ufi_op_need_count(c, 1, 1, false, err);
    if (!st)
        st = ufi_op_need_count(c, 2, 2, false, err);
    if (st)
        return st;
    if (c->in[1].data &&
        !(c->in[1].dtype == UF_I64 && ufi_get_int(&c->in[1], 0) == UFI_INT_UNKNOWN))
        depth = (int64_t)ufi_get(&c->in[1], 0);
    if (depth < -1 || depth > UFI_MAX_DIM)
        return ufi_op_fail(c, err, UF_E_FORMAT, "depth %lld", (long long)depth);
    for (uint32_t d = 0, from = 0; d < s.rank; d++)
        s.dims[d] = d == axis ? depth : x->dims[from++];
    return ufi_op_set_out(c, 0, c->in[2].dtype, &s, err);
}

uf_status ufi_eval_one_hot(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    uf_status st = one_hot_axis(c, &axis, err);
    if (st)
        return st;
    const ufi_shape *s = &c->out[0].shape;
    int64_t depth = s->dims[axis], inner = ufi_product(s->dims, axis + 1, s->rank);
    int64_t n = ufi_shape_count(s);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i / (depth * inner) * inner + i % inner;
        double index = ufi_get(&c->in[0], at);
        if (index < 0)
            index += (double)depth;
        bool on = index == (double)(i / inner % depth);
        copy_elements(&c->out[0], i, &c->in[2], on ? 1 : 0, 1);
    }
    return UF_OK;
}

static int64_t count_nonzero(const ufi_tensor *t)
{
    int64_t n = ufi_shape_count(&t->shape), found = 0;
    for (int64_t i = 0; i < n; i++)
        found += ufi_get(t, i) != 0;
    return found;
}

uf_status ufi_infer_non_zero(const ufi_op_call *c, uf_error *err)
{
    ufi_shape s = {.rank = 2, .dims = {c->in[0].shape.rank ? c->in[0].shape.rank : 1, -1}};
    /* A small integer vector may be known in part only: then it says nothing yet. */
    bool partial = c->in[0].dtype == UF_I64 && c->in[0].shape.rank <= 1;
    if (c->in[0].data && ufi_shape_known(&c->in[0].shape)) {
        for (int64_t i = 0; partial && i < ufi_shape_count(&c->in[0].shape); i++)
            if (ufi_get_int(&c->in[0], i) == UFI_INT_UNKNOWN)
                return ufi_op_set_out(c, 0, UF_I64, &s, err);
        s.dims[1] = count_nonzero(&c->in[0]);
    }
    return ufi_op_set_out(c, 0, UF_I64, &s, err);
}

uf_status ufi_eval_non_zero(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    int64_t n = ufi_shape_count(x), room = c->out[0].shape.dims[1], found = 0;
    if (count_nonzero(&c->in[0]) != room)
        return ufi_op_fail(c, err, UF_E_MISMATCH, "the output has room for %lld", (long long)room);
    for (int64_t i = 0; i < n; i++) {
        if (ufi_get(&c->in[0], i) == 0)
            continue;
        int64_t rest = i;
        for (uint32_t d = x->rank; d-- > 0;) {
            ((int64_t *)c->out[0].data)[d * room + found] = rest % x->dims[d];
            rest /= x->dims[d];
        }
        if (x->rank == 0)
            ((int64_t *)c->out[0].data)[0] = 0;
        found++;
    }
    return UF_OK;
}
