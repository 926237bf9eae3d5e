/* Elementwise operators of one input, Clip and Cast. */
#include "graph/op.h"

uf_status ufi_infer_same(const ufi_op_call *c, uf_error *err)
{
    return ufi_op_set_out(c, 0, c->in[0].dtype, &c->in[0].shape, err);
}

uf_status ufi_infer_unary(const ufi_op_call *c, uf_error *err)
{
    uf_dtype t = c->in[0].dtype;
    switch (c->node->op) {
    case UFI_OP_NOT:
        if (t != UF_BOOL)
            return ufi_op_fail(c, err, UF_E_FORMAT, "the input is %s, not bool", ufi_dtype_name(t));
        break;
    case UFI_OP_RELU:
    case UFI_OP_ABS:
    case UFI_OP_NEG:
    case UFI_OP_SIGN:
        if (t == UF_BOOL)
            return ufi_op_fail(c, err, UF_E_FORMAT, "the input is bool");
        break;
    default:
        if (!ufi_dtype_is_float(t))
            return ufi_op_need_float(c, 0, err);
    }
    return ufi_infer_same(c, err);
}

/* The numbers an operator takes from its attributes. */
typedef struct unary_params {
    double alpha, beta, gamma;
    bool tanh_gelu;
} unary_params;

static double number(const ufi_op_call *c, ufi_attr_key key, float fallback)
{
    return (double)ufi_node_float(c->node, key, fallback);
}

static unary_params read_params(const ufi_op_call *c)
{
    float alpha = 1, beta = 0.5f;
    switch (c->node->op) {
    case UFI_OP_LEAKY_RELU:
        alpha = 0.01f;
        break;
    case UFI_OP_SELU:
        alpha = 1.67326319217681884765625f;
        break;
    case UFI_OP_HARD_SIGMOID:
        alpha = 0.2f;
        break;
    default:
        break;
    }
    return (unary_params){number(c, UFI_ATTR_ALPHA, alpha), number(c, UFI_ATTR_BETA, beta),
                          number(c, UFI_ATTR_GAMMA, 1.05070102214813232421875f),
                          !strcmp(ufi_node_string(c->node, UFI_ATTR_APPROXIMATE, "none"), "tanh")};
}

static double softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double activation_op(ufi_op op, const unary_params *p, double x)
{
    switch (op) {
    case UFI_OP_RELU:
        return x < 0 ? 0 : x;
    case UFI_OP_LEAKY_RELU:
        return x < 0 ? p->alpha * x : x;
    case UFI_OP_THRESHOLDED_RELU:
        return x > p->alpha ? x : 0;
    case UFI_OP_ELU:
        return x < 0 ? p->alpha * expm1(x) : x;
    case UFI_OP_SELU:
        return p->gamma * (x < 0 ? p->alpha * expm1(x) : x);
    case UFI_OP_CELU:
        return x < 0 ? p->alpha * expm1(x / p->alpha) : x;
    case UFI_OP_SIGMOID:
        return 1 / (1 + exp(-x));
    case UFI_OP_HARD_SIGMOID:
        return isnan(x) ? x : fmin(fmax(p->alpha * x + p->beta, 0), 1);
    case UFI_OP_HARD_SWISH:
        return isnan(x) ? x : x * fmin(fmax(x / 6 + 0.5, 0), 1);
    case UFI_OP_SILU:
        return x / (1 + exp(-p->alpha * x));
    case UFI_OP_MISH:
        return x * tanh(softplus(x));
    case UFI_OP_GELU:
        return p->tanh_gelu
                   ? 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)))
                   : 0.5 * x * (1 + erf(x * 0.70710678118654752440));
    case UFI_OP_SOFTPLUS:
        return softplus(x);
    default:
        return x / (1 + fabs(x)); /* UFI_OP_SOFTSIGN */
    }
}

static double math_op(ufi_op op, const unary_params *p, double x)
{
    switch (op) {
    case UFI_OP_TANH:
        return tanh(x);
    case UFI_OP_EXP:
        return exp(x);
    case UFI_OP_LOG:
        return log(x);
    case UFI_OP_SQRT:
        return sqrt(x);
    case UFI_OP_RECIPROCAL:
        return 1 / x;
    case UFI_OP_ABS:
        return fabs(x);
    case UFI_OP_NEG:
        return -x;
    case UFI_OP_SIGN:
        return isnan(x) ? x : (x > 0) - (x < 0);
    case UFI_OP_FLOOR:
        return floor(x);
    case UFI_OP_CEIL:
        return ceil(x);
    case UFI_OP_ROUND:
        return rint(x); /* halves to even in the default rounding mode */
    case UFI_OP_ERF:
        return erf(x);
    case UFI_OP_SIN:
        return sin(x);
    case UFI_OP_COS:
        return cos(x);
    case UFI_OP_TAN:
        return tan(x);
    case UFI_OP_ATAN:
        return atan(x);
    case UFI_OP_ACOS:
        return acos(x);
    case UFI_OP_ASIN:
        return asin(x);
    default:
        return activation_op(op, p, x);
    }
}

static int64_t int_op(ufi_op op, int64_t x)
{
    switch (op) {
    case UFI_OP_RELU:
        return x < 0 ? 0 : x;
    case UFI_OP_ABS:
        return x < 0 ? (int64_t)(0 - (uint64_t)x) : x;
    case UFI_OP_NEG:
        return (int64_t)(0 - (uint64_t)x);
    case UFI_OP_NOT:
        return !x;
    default:
        return (x > 0) - (x < 0); /* UFI_OP_SIGN */
    }
}

uf_status ufi_eval_unary(const ufi_op_call *c, uf_error *err)
{
    const ufi_tensor *x = &c->in[0], *y = &c->out[0];
    ufi_op op = (ufi_op)c->node->op;
    unary_params p = read_params(c);
    int64_t n = ufi_shape_count(&x->shape);
    bool floats = ufi_dtype_is_float(x->dtype);
    for (int64_t i = 0; i < n; i++)
        if (floats)
            ufi_put(y, i, math_op(op, &p, ufi_get(x, i)));
        else
            ufi_put_int(y, i, int_op(op, ufi_get_int(x, i)));
    return UF_OK;
}

uf_status ufi_eval_identity(const ufi_op_call *c, uf_error *err)
{
    size_t bytes = ufi_tensor_bytes(&c->in[0]);
    if (bytes)
        memcpy(c->out[0].data, c->in[0].data, bytes);
    return UF_OK;
}

uf_status ufi_eval_copy(const ufi_op_call *c, uf_error *err)
{
    return ufi_eval_identity(c, err);
}

uf_status ufi_infer_clip(const ufi_op_call *c, uf_error *err)
{
    uf_status st = UF_OK;
    if (c->in[0].dtype == UF_BOOL)
        return ufi_op_fail(c, err, UF_E_FORMAT, "the input is bool");
    for (uint32_t i = 1; !st && i < 3; i++) {
        st = ufi_op_same_dtype(c, i, 0, err);
        if (!st)
            st = ufi_op_need_count(c, i, 1, false, err);
    }
    return st ? st : ufi_infer_same(c, err);
}

uf_status ufi_eval_clip(const ufi_op_call *c, uf_error *err)
{
    const ufi_tensor *x = &c->in[0], *y = &c->out[0];
    int64_t n = ufi_shape_count(&x->shape);
    bool has_lo = ufi_op_has(c, 1), has_hi = ufi_op_has(c, 2);
    if (ufi_dtype_is_float(x->dtype)) {
        double lo = has_lo ? ufi_get(&c->in[1], 0) : -INFINITY;
        double hi = has_hi ? ufi_get(&c->in[2], 0) : INFINITY;
        for (int64_t i = 0; i < n; i++) {
            double v = ufi_get(x, i);
            v = v < lo ? lo : v;
            ufi_put(y, i, v > hi ? hi : v);
        }
    } else {
        int64_t lo = has_lo ? ufi_get_int(&c->in[1], 0) : INT64_MIN;
        int64_t hi = has_hi ? ufi_get_int(&c->in[2], 0) : INT64_MAX;
        for (int64_t i = 0; i < n; i++)
            ufi_put_int(y, i, ufi_min64(ufi_max64(ufi_get_int(x, i), lo), hi));
    }
    return UF_OK;
}

uf_status ufi_infer_is_nan(const ufi_op_call *c, uf_error *err)
{
    uf_status st = ufi_op_need_float(c, 0, err);
    return st ? st : ufi_op_set_out(c, 0, UF_BOOL, &c->in[0].shape, err);
}

uf_status ufi_eval_is_nan(const ufi_op_call *c, uf_error *err)
{
    uint8_t *out = c->out[0].data;
    int64_t n = ufi_shape_count(&c->in[0].shape);
    for (int64_t i = 0; i < n; i++) {
        double v = ufi_get(&c->in[0], i);
        out[i] = c->node->op == UFI_OP_IS_NAN ? isnan(v) : isinf(v);
    }
    return UF_OK;
}

uf_status ufi_infer_cast(const ufi_op_call *c, uf_error *err)
{
    int64_t to = ufi_node_int(c->node, UFI_ATTR_TO, 0);
    if (to <= UF_DTYPE_NONE || to > UF_BOOL)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "cast to type %lld", (long long)to);
    return ufi_op_set_out(c, 0, (uf_dtype)to, &c->in[0].shape, err);
}

uf_status ufi_eval_cast(const ufi_op_call *c, uf_error *err)
{
    const ufi_tensor *x = &c->in[0], *y = &c->out[0];
    int64_t n = ufi_shape_count(&x->shape);
    bool exact = !ufi_dtype_is_float(x->dtype) && !ufi_dtype_is_float(y->dtype);
    for (int64_t i = 0; i < n; i++)
        if (exact)
            ufi_put_int(y, i, ufi_get_int(x, i));
        else
            ufi_put(y, i, ufi_get(x, i));
    return UF_OK;
}
