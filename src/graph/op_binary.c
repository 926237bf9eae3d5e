/*
 * Elementwise operators of two and more inputs, with numpy's broadcasting. Floats are computed in
 * double and rounded once (which gives the same +, -, *, / as FP32 arithmetic), integers in
 * wrapping int64.
 */
#include "graph/op.h"

static uf_status broadcast_all(const ufi_op_call *c, uint32_t from, ufi_shape *out, uf_error *err)
{
    *out = c->in[from].shape;
    for (uint32_t i = from; i < c->in_count; i++)
        if (!ufi_op_has(c, i)) {
            return ufi_op_fail(c, err, UF_E_FORMAT, "input %u is missing", i);
        } else if (!ufi_broadcast(out, &c->in[i].shape)) {
            char a[120], b[120];
            ufi_shape_text(out, a, sizeof a);
            ufi_shape_text(&c->in[i].shape, b, sizeof b);
            return ufi_op_fail(c, err, UF_E_FORMAT, "shapes %s and %s do not broadcast", a, b);
        }
    return UF_OK;
}

uf_status ufi_infer_broadcast(const ufi_op_call *c, uf_error *err)
{
    ufi_shape out;
    bool pow_op = c->node->op == UFI_OP_POW;
    uf_status st = broadcast_all(c, 0, &out, err);
    for (uint32_t i = 0; !st && i < c->in_count; i++) {
        if (c->in[i].dtype == UF_BOOL)
            return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "input %u is bool", i);
        if (!pow_op)
            st = ufi_op_same_dtype(c, i, 0, err);
    }
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &out, err);
}

uf_status ufi_infer_compare(const ufi_op_call *c, uf_error *err)
{
    ufi_shape out;
    bool logic = c->node->op == UFI_OP_AND || c->node->op == UFI_OP_OR || c->node->op == UFI_OP_XOR;
    uf_status st = broadcast_all(c, 0, &out, err);
    if (!st)
        st = ufi_op_same_dtype(c, 1, 0, err);
    if (!st && logic && c->in[0].dtype != UF_BOOL)
        return ufi_op_fail(c, err, UF_E_FORMAT, "operands are %s, not bool",
                           ufi_dtype_name(c->in[0].dtype));
    return st ? st : ufi_op_set_out(c, 0, UF_BOOL, &out, err);
}

uf_status ufi_infer_where(const ufi_op_call *c, uf_error *err)
{
    ufi_shape out;
    uf_status st = broadcast_all(c, 0, &out, err);
    if (!st)
        st = ufi_op_same_dtype(c, 2, 1, err);
    if (!st && c->in[0].dtype != UF_BOOL)
        return ufi_op_fail(c, err, UF_E_FORMAT, "the condition is %s, not bool",
                           ufi_dtype_name(c->in[0].dtype));
    return st ? st : ufi_op_set_out(c, 0, c->in[1].dtype, &out, err);
}

uf_status ufi_infer_prelu(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape, *s = &c->in[1].shape;
    ufi_shape out;
    uf_status st = broadcast_all(c, 0, &out, err);
    if (!st)
        st = ufi_op_same_dtype(c, 1, 0, err);
    if (!st && c->in[0].dtype == UF_BOOL)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "the input is bool");
    if (!st && (s->rank > x->rank ||
                (ufi_shape_known(x) && ufi_shape_known(&out) && !ufi_shape_equal(x, &out))))
        return ufi_op_fail(c, err, UF_E_FORMAT, "the slopes do not broadcast to the input");
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, x, err);
}

static double float_op(ufi_op op, bool fmod_mode, double a, double b)
{
    switch (op) {
    case UFI_OP_ADD:
    case UFI_OP_SUM:
    case UFI_OP_MEAN:
        return a + b;
    case UFI_OP_SUB:
        return a - b;
    case UFI_OP_MUL:
        return a * b;
    case UFI_OP_DIV:
        return a / b;
    case UFI_OP_POW:
        return pow(a, b);
    case UFI_OP_MIN:
        return isnan(a) || a < b ? a : b;
    case UFI_OP_MAX:
        return isnan(a) || a > b ? a : b;
    case UFI_OP_MOD: {
        double r = fmod(a, b);
        return !fmod_mode && r != 0 && (r < 0) != (b < 0) ? r + b : r;
    }
    case UFI_OP_PRELU:
        return a < 0 ? a * b : a;
    default:
        return 0;
    }
}

static int64_t int_pow(int64_t a, int64_t b)
{
    uint64_t r = 1, x = (uint64_t)a;
    if (b < 0)
        return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
    for (; b; b >>= 1, x *= x)
        if (b & 1)
            r *= x;
    return (int64_t)r;
}

static int64_t int_mod(int64_t a, int64_t b, bool fmod_mode)
{
    int64_t r = b == -1 ? 0 : a % b;
    return !fmod_mode && r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

/* Wrapping arithmetic; b is not 0 for DIV and MOD. */
static int64_t int_op(ufi_op op, bool fmod_mode, int64_t a, int64_t b)
{
    uint64_t ua = (uint64_t)a, ub = (uint64_t)b;
    switch (op) {
    case UFI_OP_ADD:
    case UFI_OP_SUM:
    case UFI_OP_MEAN:
        return (int64_t)(ua + ub);
    case UFI_OP_SUB:
        return (int64_t)(ua - ub);
    case UFI_OP_MUL:
        return (int64_t)(ua * ub);
    case UFI_OP_DIV:
        return b == -1 ? (int64_t)(0 - ua) : a / b;
    case UFI_OP_POW:
        return int_pow(a, b);
    case UFI_OP_MIN:
        return a < b ? a : b;
    case UFI_OP_MAX:
        return a > b ? a : b;
    case UFI_OP_MOD:
        return int_mod(a, b, fmod_mode);
    case UFI_OP_PRELU:
        return a < 0 ? (int64_t)(ua * ub) : a;
    default:
        return 0;
    }
}

/* dst = op(x, y) where all three may alias element for element. */
static uf_status apply(const ufi_op_call *c, const ufi_tensor *x, const ufi_tensor *y,
                       const ufi_tensor *dst, uf_error *err)
{
    ufi_op op = (ufi_op)c->node->op;
    bool fmod_mode = ufi_node_int(c->node, UFI_ATTR_FMOD, 0) != 0;
    bool divides = op == UFI_OP_DIV || op == UFI_OP_MOD;
    bool floats = ufi_dtype_is_float(x->dtype) || ufi_dtype_is_float(y->dtype);
    int64_t sx[UF_MAX_DIMS], sy[UF_MAX_DIMS], sd[UF_MAX_DIMS];
    ufi_broadcast_strides(&x->shape, &dst->shape, sx);
    ufi_broadcast_strides(&y->shape, &dst->shape, sy);
    ufi_strides(&dst->shape, sd);
    ufi_walk w;
    const int64_t *const strides[3] = {sd, sx, sy};
    for (bool more = ufi_walk_init(&w, dst->shape.rank, dst->shape.dims, 3, strides); more;
         more = ufi_walk_next(&w))
        for (int64_t i = 0; i < w.length; i++) {
            int64_t at = w.at[0] + i * w.step[0];
            int64_t xi = w.at[1] + i * w.step[1], yi = w.at[2] + i * w.step[2];
            if (floats) {
                ufi_put(dst, at, float_op(op, fmod_mode, ufi_get(x, xi), ufi_get(y, yi)));
                continue;
            }
            int64_t b = ufi_get_int(y, yi);
            if (divides && b == 0)
                return ufi_op_fail(c, err, UF_E_FORMAT, "integer division by zero");
            ufi_put_int(dst, at, int_op(op, fmod_mode, ufi_get_int(x, xi), b));
        }
    return UF_OK;
}

uf_status ufi_eval_binary(const ufi_op_call *c, uf_error *err)
{
    return apply(c, &c->in[0], &c->in[1], &c->out[0], err);
}

uf_status ufi_eval_variadic(const ufi_op_call *c, uf_error *err)
{
    const ufi_tensor *out = &c->out[0];
    int64_t sx[UF_MAX_DIMS], sd[UF_MAX_DIMS], n = ufi_shape_count(&out->shape);
    ufi_broadcast_strides(&c->in[0].shape, &out->shape, sx);
    ufi_strides(&out->shape, sd);
    ufi_copy_strided(ufi_dtype_bytes(out->dtype), out->shape.rank, out->shape.dims, out->data, sd,
                     c->in[0].data, sx);
    for (uint32_t k = 1; k < c->in_count; k++) {
        uf_status st = apply(c, out, &c->in[k], out, err);
        if (st)
            return st;
    }
    if (c->node->op == UFI_OP_MEAN)
        for (int64_t i = 0; i < n; i++)
            ufi_put(out, i, ufi_get(out, i) / c->in_count);
    return UF_OK;
}

#define COMPARE(op, a, b)                                     \
    ((op) == UFI_OP_EQUAL              ? (a) == (b)           \
     : (op) == UFI_OP_LESS             ? (a) < (b)            \
     : (op) == UFI_OP_LESS_OR_EQUAL    ? (a) <= (b)           \
     : (op) == UFI_OP_GREATER          ? (a) > (b)            \
     : (op) == UFI_OP_GREATER_OR_EQUAL ? (a) >= (b)           \
     : (op) == UFI_OP_AND              ? (a) != 0 && (b) != 0 \
     : (op) == UFI_OP_OR               ? (a) != 0 || (b) != 0 \
                                       : ((a) != 0) != ((b) != 0))

uf_status ufi_eval_compare(const ufi_op_call *c, uf_error *err)
{
    const ufi_tensor *x = &c->in[0], *y = &c->in[1], *dst = &c->out[0];
    ufi_op op = (ufi_op)c->node->op;
    bool floats = ufi_dtype_is_float(x->dtype);
    uint8_t *out = dst->data;
    int64_t sx[UF_MAX_DIMS], sy[UF_MAX_DIMS], sd[UF_MAX_DIMS];
    ufi_broadcast_strides(&x->shape, &dst->shape, sx);
    ufi_broadcast_strides(&y->shape, &dst->shape, sy);
    ufi_strides(&dst->shape, sd);
    ufi_walk w;
    const int64_t *const strides[3] = {sd, sx, sy};
    for (bool more = ufi_walk_init(&w, dst->shape.rank, dst->shape.dims, 3, strides); more;
         more = ufi_walk_next(&w))
        for (int64_t i = 0; i < w.length; i++) {
            int64_t xi = w.at[1] + i * w.step[1], yi = w.at[2] + i * w.step[2];
            if (floats) {
                double a = ufi_get(x, xi), b = ufi_get(y, yi);
                out[w.at[0] + i * w.step[0]] = COMPARE(op, a, b);
            } else {
                int64_t a = ufi_get_int(x, xi), b = ufi_get_int(y, yi);
                out[w.at[0] + i * w.step[0]] = COMPARE(op, a, b);
            }
        }
    return UF_OK;
}

uf_status ufi_eval_where(const ufi_op_call *c, uf_error *err)
{
    const ufi_tensor *dst = &c->out[0];
    size_t size = ufi_dtype_bytes(dst->dtype);
    int64_t s[4][UF_MAX_DIMS];
    for (uint32_t k = 0; k < 3; k++)
        ufi_broadcast_strides(&c->in[k].shape, &dst->shape, s[k]);
    ufi_strides(&dst->shape, s[3]);
    ufi_walk w;
    const int64_t *const strides[4] = {s[0], s[1], s[2], s[3]};
    for (bool more = ufi_walk_init(&w, dst->shape.rank, dst->shape.dims, 4, strides); more;
         more = ufi_walk_next(&w))
        for (int64_t i = 0; i < w.length; i++) {
            uint32_t k = ufi_get_int(&c->in[0], w.at[0] + i * w.step[0]) ? 1 : 2;
            memcpy((char *)dst->data + (size_t)(w.at[3] + i * w.step[3]) * size,
                   (const char *)c->in[k].data + (size_t)(w.at[k] + i * w.step[k]) * size, size);
        }
    return UF_OK;
}
