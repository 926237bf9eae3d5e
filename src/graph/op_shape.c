/*
 * Operators about shapes: asking for them, giving data another one. Targets come as integer inputs
 * whose elements may be unknown while the graph's inputs have unknown dimensions (see infer.c).
 */
#include "graph/op.h"

static uf_status set_unknown_rank(const ufi_op_call *c, uf_dtype dtype)
{
    c->out[0] = (ufi_tensor){.dtype = dtype, .shape = {.rank = UFI_RANK_UNKNOWN}};
    return UF_OK;
}

static uf_status set_unknown_dims(const ufi_op_call *c, uf_dtype dtype, uint32_t rank,
                                  uf_error *err)
{
    ufi_shape s = {.rank = rank};
    if (rank > UF_MAX_DIMS)
        return ufi_op_fail(c, err, UF_E_LIMIT, "rank %u; at most %d is supported", rank,
                           UF_MAX_DIMS);
    for (uint32_t i = 0; i < rank; i++)
        s.dims[i] = -1;
    return ufi_op_set_out(c, 0, dtype, &s, err);
}

/* ---- Shape, Size ---- */

static void shape_range(const ufi_op_call *c, int64_t *start, int64_t *end)
{
    int64_t rank = c->in[0].shape.rank;
    *start = ufi_node_int(c->node, UFI_ATTR_START, 0);
    *end = ufi_node_int(c->node, UFI_ATTR_END, rank);
    *start = ufi_min64(ufi_max64(*start < 0 ? *start + rank : *start, 0), rank);
    *end = ufi_min64(ufi_max64(*end < 0 ? *end + rank : *end, *start), rank);
}

uf_status ufi_infer_shape(const ufi_op_call *c, uf_error *err)
{
    int64_t start, end;
    shape_range(c, &start, &end);
    ufi_shape s = {.rank = 1, .dims = {end - start}};
    return ufi_op_set_out(c, 0, UF_I64, &s, err);
}

uf_status ufi_eval_shape(const ufi_op_call *c, uf_error *err)
{
    int64_t start, end;
    shape_range(c, &start, &end);
    for (int64_t i = start; i < end; i++)
        ((int64_t *)c->out[0].data)[i - start] = c->in[0].shape.dims[i];
    return UF_OK;
}

uf_status ufi_infer_size(const ufi_op_call *c, uf_error *err)
{
    ufi_shape s = {.rank = 0};
    return ufi_op_set_out(c, 0, UF_I64, &s, err);
}

uf_status ufi_eval_size(const ufi_op_call *c, uf_error *err)
{
    *(int64_t *)c->out[0].data = ufi_shape_count(&c->in[0].shape);
    return UF_OK;
}

/* ---- a shape given as an input ---- */

/* Reads input `i` as dims, -1 where unknown. `dims` get *rank entries. False in *known when not
 * even the rank is known; *open when only that is. */
static uf_status read_dims(const ufi_op_call *c, uint32_t i, ufi_shape *out, bool *rank_known,
                           bool *known, uf_error *err)
{
    uint32_t count;
    int64_t v[UFI_MAX_INTS];
    uf_status st = ufi_op_int_input(c, i, v, UF_MAX_DIMS, &count, known, err);
    *rank_known = !st && count != UFI_NONE;
    if (st || !*rank_known)
        return st;
    out->rank = count;
    for (uint32_t d = 0; d < count; d++) {
        if (!*known) {
            out->dims[d] = UFI_INT_UNKNOWN;
            continue;
        }
        out->dims[d] = v[d];
        if (v[d] != UFI_INT_UNKNOWN && (v[d] < -1 || v[d] > UFI_MAX_DIM))
            return ufi_op_fail(c, err, UF_E_FORMAT, "dimension %u is %lld", d, (long long)v[d]);
    }
    return UF_OK;
}

static uf_status needs_no_minus_one(const ufi_op_call *c, ufi_shape *s, uf_error *err)
{
    for (uint32_t d = 0; d < s->rank; d++) {
        if (s->dims[d] == -1)
            return ufi_op_fail(c, err, UF_E_FORMAT, "dimension %u is -1", d);
        if (s->dims[d] == UFI_INT_UNKNOWN)
            s->dims[d] = -1;
    }
    return UF_OK;
}

uf_status ufi_infer_constant_of_shape(const ufi_op_call *c, uf_error *err)
{
    const ufi_attr *value = ufi_node_attr(c->node, UFI_ATTR_VALUE);
    uf_dtype dtype = (uf_dtype)ufi_node_int(
        c->node, UFI_ATTR_TO, value && value->type == UFI_ATTR_INTS ? UF_I64 : UF_F32);
    bool rank_known, known;
    ufi_shape s = {0};
    if (ufi_dtype_bytes(dtype) == 0)
        return ufi_op_fail(c, err, UF_E_FORMAT, "unknown type %d", (int)dtype);
    uf_status st = read_dims(c, 0, &s, &rank_known, &known, err);
    if (st)
        return st;
    if (!rank_known)
        return set_unknown_rank(c, dtype);
    st = needs_no_minus_one(c, &s, err);
    return st ? st : ufi_op_set_out(c, 0, dtype, &s, err);
}

uf_status ufi_eval_constant_of_shape(const ufi_op_call *c, uf_error *err)
{
    const ufi_attr *a = ufi_node_attr(c->node, UFI_ATTR_VALUE);
    int64_t n = ufi_shape_count(&c->out[0].shape);
    bool is_int = a && a->type == UFI_ATTR_INTS && a->count;
    double real = a && a->type == UFI_ATTR_FLOATS && a->count ? (double)a->u.floats[0] : 0;
    for (int64_t i = 0; i < n; i++) {
        if (is_int)
            ufi_put_int(&c->out[0], i, a->u.ints[0]);
        else
            ufi_put(&c->out[0], i, real);
    }
    return UF_OK;
}

/* ---- Range ---- */

static uf_status range_count(const ufi_op_call *c, int64_t *count, uf_error *err)
{
    double start = ufi_get(&c->in[0], 0), limit = ufi_get(&c->in[1], 0),
           delta = ufi_get(&c->in[2], 0);
    double n = ceil((limit - start) / delta);
    if (delta == 0 || !isfinite(n))
        return ufi_op_fail(c, err, UF_E_FORMAT, "range %g to %g by %g", start, limit, delta);
    if (n > (double)UFI_MAX_DIM)
        return ufi_op_fail(c, err, UF_E_LIMIT, "a range of %g elements", n);
    *count = n > 0 ? (int64_t)n : 0;
    return UF_OK;
}

uf_status ufi_infer_range(const ufi_op_call *c, uf_error *err)
{
    ufi_shape s = {.rank = 1, .dims = {-1}};
    bool known = true;
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < 3; i++) {
        st = ufi_op_need_count(c, i, 1, false, err);
        if (!st)
            st = ufi_op_same_dtype(c, i, 0, err);
        known &= c->in[i].data != NULL;
        if (!st && known && c->in[i].dtype == UF_I64 &&
            *(const int64_t *)c->in[i].data == UFI_INT_UNKNOWN)
            known = false;
    }
    if (!st && known)
        st = range_count(c, &s.dims[0], err);
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

uf_status ufi_eval_range(const ufi_op_call *c, uf_error *err)
{
    int64_t n = c->out[0].shape.dims[0];
    bool is_float = ufi_dtype_is_float(c->in[0].dtype);
    for (int64_t i = 0; i < n; i++) {
        if (is_float)
            ufi_put(&c->out[0], i, ufi_get(&c->in[0], 0) + (double)i * ufi_get(&c->in[2], 0));
        else
            ufi_put_int(&c->out[0], i,
                        (int64_t)((uint64_t)ufi_get_int(&c->in[0], 0) +
                                  (uint64_t)i * (uint64_t)ufi_get_int(&c->in[2], 0)));
    }
    return UF_OK;
}

/* ---- Reshape, Flatten, Squeeze, Unsqueeze ---- */

/* Replaces 0 by the input's dimension and -1 by what is left over. */
static uf_status resolve_reshape(const ufi_op_call *c, ufi_shape *s, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    bool allow_zero = ufi_node_int(c->node, UFI_ATTR_ALLOWZERO, 0) != 0;
    bool unknown = false;
    int64_t rest = 1;
    uint32_t open = UFI_NONE;
    for (uint32_t d = 0; d < s->rank; d++) {
        if (s->dims[d] == 0 && !allow_zero) {
            if (d >= x->rank)
                return ufi_op_fail(c, err, UF_E_FORMAT,
                                   "dimension %u is to be copied from an input of rank %u", d,
                                   x->rank);
            s->dims[d] = x->dims[d] < 0 ? UFI_INT_UNKNOWN : x->dims[d];
        }
        if (s->dims[d] == -1) {
            if (open != UFI_NONE)
                return ufi_op_fail(c, err, UF_E_FORMAT, "two dimensions are -1");
            open = d;
        } else if (s->dims[d] == UFI_INT_UNKNOWN) {
            unknown = true;
            s->dims[d] = -1;
        } else if (s->dims[d] && rest > UFI_MAX_ELEMENTS / s->dims[d]) {
            return ufi_op_fail(c, err, UF_E_LIMIT, "the new shape has too many elements");
        } else {
            rest *= s->dims[d];
        }
    }
    if (unknown || !ufi_shape_known(x))
        return UF_OK; /* an open dimension stays -1: unknown */
    int64_t count = ufi_shape_count(x);
    if (open != UFI_NONE && rest > 0 && count % rest == 0) {
        s->dims[open] = count / rest;
        rest = count;
    }
    if (rest == count && (open == UFI_NONE || s->dims[open] >= 0))
        return UF_OK;
    char from[120], to[120];
    ufi_shape_text(x, from, sizeof from);
    ufi_shape_text(s, to, sizeof to);
    return ufi_op_fail(c, err, UF_E_FORMAT, "%s cannot be reshaped to %s", from, to);
}

uf_status ufi_infer_reshape(const ufi_op_call *c, uf_error *err)
{
    bool rank_known, known;
    ufi_shape s = {0};
    uf_status st = read_dims(c, 1, &s, &rank_known, &known, err);
    if (st)
        return st;
    if (!rank_known)
        return set_unknown_rank(c, c->in[0].dtype);
    st = resolve_reshape(c, &s, err);
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

uf_status ufi_infer_flatten(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    int64_t axis = ufi_node_int(c->node, UFI_ATTR_AXIS, 1);
    if (axis < -(int64_t)x->rank || axis > (int64_t)x->rank)
        return ufi_op_fail(c, err, UF_E_FORMAT, "axis %lld is outside of rank %u", (long long)axis,
                           x->rank);
    uint32_t a = (uint32_t)(axis < 0 ? axis + x->rank : axis);
    ufi_shape s = {.rank = 2,
                   .dims = {ufi_product(x->dims, 0, a), ufi_product(x->dims, a, x->rank)}};
    return ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

/* Axes from input 1 as a mask over `rank`. *known is false when they are not known yet. */
static uf_status read_axes(const ufi_op_call *c, uint32_t rank_extra, uint32_t *mask,
                           uint32_t *count, bool *known, uf_error *err)
{
    int64_t axes[UFI_MAX_INTS];
    *mask = 0;
    uf_status st = ufi_op_int_input(c, 1, axes, UF_MAX_DIMS, count, known, err);
    if (st || !*known)
        return st;
    for (uint32_t i = 0; i < *count; i++)
        if (axes[i] == UFI_INT_UNKNOWN) {
            *known = false;
            return UF_OK;
        }
    uint32_t rank = c->in[0].shape.rank + (rank_extra ? *count : 0);
    if (rank > UF_MAX_DIMS)
        return ufi_op_fail(c, err, UF_E_LIMIT, "rank %u; at most %d is supported", rank,
                           UF_MAX_DIMS);
    return ufi_op_axes(c, axes, *count, rank, mask, err);
}

uf_status ufi_infer_squeeze(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    uint32_t mask, count;
    bool known;
    ufi_shape s = {0};
    uf_status st = read_axes(c, 0, &mask, &count, &known, err);
    if (st)
        return st;
    if (!known)
        return count == UFI_NONE || count > x->rank
                   ? set_unknown_rank(c, c->in[0].dtype)
                   : set_unknown_dims(c, c->in[0].dtype, x->rank - count, err);
    bool all_ones = !ufi_op_has(c, 1);
    if (all_ones && !ufi_shape_known(x))
        return set_unknown_rank(c, c->in[0].dtype);
    for (uint32_t d = 0; d < x->rank; d++) {
        bool drop = all_ones ? x->dims[d] == 1 : mask >> d & 1;
        if (!drop)
            s.dims[s.rank++] = x->dims[d];
        else if (x->dims[d] > 1 || x->dims[d] == 0)
            return ufi_op_fail(c, err, UF_E_FORMAT, "dimension %u is %lld and cannot be dropped", d,
                               (long long)x->dims[d]);
    }
    return ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

uf_status ufi_infer_unsqueeze(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    uint32_t mask, count;
    bool known;
    uf_status st = read_axes(c, 1, &mask, &count, &known, err);
    if (st)
        return st;
    if (!known)
        return count == UFI_NONE ? set_unknown_rank(c, c->in[0].dtype)
                                 : set_unknown_dims(c, c->in[0].dtype, x->rank + count, err);
    ufi_shape s = {.rank = x->rank + count};
    for (uint32_t d = 0, from = 0; d < s.rank; d++)
        s.dims[d] = mask >> d & 1 ? 1 : x->dims[from++];
    return ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

/* ---- Expand ---- */

uf_status ufi_infer_expand(const ufi_op_call *c, uf_error *err)
{
    bool rank_known, known;
    ufi_shape s = {0}, out = c->in[0].shape;
    uf_status st = read_dims(c, 1, &s, &rank_known, &known, err);
    if (st)
        return st;
    if (!rank_known)
        return set_unknown_rank(c, c->in[0].dtype);
    st = needs_no_minus_one(c, &s, err);
    if (st)
        return st;
    if (!ufi_broadcast(&out, &s))
        return ufi_op_fail(c, err, UF_E_FORMAT, "the input does not broadcast to the shape asked");
    for (uint32_t d = 0; d < s.rank; d++) /* broadcasting guesses; what is unknown stays so */
        if (s.dims[d] < 0)
            out.dims[out.rank - s.rank + d] = -1;
    return ufi_op_set_out(c, 0, c->in[0].dtype, &out, err);
}

uf_status ufi_eval_expand(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *out = &c->out[0].shape;
    int64_t from[UF_MAX_DIMS], to[UF_MAX_DIMS];
    ufi_broadcast_strides(&c->in[0].shape, out, from);
    ufi_strides(out, to);
    ufi_copy_strided(ufi_dtype_bytes(c->in[0].dtype), out->rank, out->dims, c->out[0].data, to,
                     c->in[0].data, from);
    return UF_OK;
}
