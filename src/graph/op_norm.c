/* Normalisations: statistics in double, per instance, group, layer, vector or channel window. */
#include "graph/op.h"

/* AFFINE, INSTANCE_NORM, GROUP_NORM: x [n][c][...] with two parameters per channel. */
uf_status ufi_infer_channel_norm(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    uf_status st = ufi_op_need_float(c, 0, err);
    if (!st)
        st = ufi_op_need_rank(c, 0, 2, UF_MAX_DIMS, err);
    for (uint32_t i = 1; !st && i < 3; i++) {
        st = ufi_op_same_dtype(c, i, 0, err);
        if (!st)
            st = ufi_op_need_rank(c, i, 1, 1, err);
        if (!st)
            st = ufi_op_need_count(c, i, x->dims[1], false, err);
    }
    if (!st && c->node->op == UFI_OP_GROUP_NORM) {
        int64_t groups = ufi_node_int(c->node, UFI_ATTR_NUM_GROUPS, 0);
        if (groups < 1 || (x->dims[1] >= 0 && x->dims[1] % groups))
            return ufi_op_fail(c, err, UF_E_FORMAT, "%lld groups do not divide %lld channels",
                               (long long)groups, (long long)x->dims[1]);
    }
    return st ? st : ufi_infer_same(c, err);
}

uf_status ufi_eval_affine(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    int64_t inner = ufi_product(x->dims, 2, x->rank), n = ufi_shape_count(x);
    for (int64_t i = 0; i < n; i++) {
        int64_t ch = i / inner % x->dims[1];
        ufi_put(&c->out[0], i,
                ufi_get(&c->in[0], i) * ufi_get(&c->in[1], ch) + ufi_get(&c->in[2], ch));
    }
    return UF_OK;
}

/* Mean and 1 / sqrt(variance + epsilon) of n elements. */
static void moments(const ufi_tensor *t, int64_t at, int64_t n, double epsilon, double *mean,
                    double *inverse)
{
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++)
        sum += ufi_get(t, at + i);
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) {
        double d = ufi_get(t, at + i) - *mean;
        square += d * d;
    }
    *inverse = 1 / sqrt(square / (double)n + epsilon);
}

/* Instance norm is a group norm with a group per channel. */
uf_status ufi_eval_group_norm(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    int64_t channels = x->dims[1], inner = ufi_product(x->dims, 2, x->rank);
    int64_t groups =
        c->node->op == UFI_OP_GROUP_NORM ? ufi_node_int(c->node, UFI_ATTR_NUM_GROUPS, 1) : channels;
    double epsilon = (double)ufi_node_float(c->node, UFI_ATTR_EPSILON, 1e-5f), mean, inverse;
    if (ufi_shape_count(x) == 0)
        return UF_OK;
    int64_t size = channels / groups * inner;
    for (int64_t g = 0; g < x->dims[0] * groups; g++) {
        moments(&c->in[0], g * size, size, epsilon, &mean, &inverse);
        for (int64_t i = g * size; i < (g + 1) * size; i++) {
            int64_t ch = i / inner % channels;
            double v = (ufi_get(&c->in[0], i) - mean) * inverse;
            ufi_put(&c->out[0], i, v * ufi_get(&c->in[1], ch) + ufi_get(&c->in[2], ch));
        }
    }
    return UF_OK;
}

uf_status ufi_eval_instance_norm(const ufi_op_call *c, uf_error *err)
{
    return ufi_eval_group_norm(c, err);
}

uf_status ufi_infer_layer_norm(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    uint32_t axis;
    uf_status st = ufi_op_need_float(c, 0, err);
    if (!st)
        st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, -1), x->rank, &axis, err);
    for (uint32_t i = 1; !st && i < 3; i++) {
        st = ufi_op_same_dtype(c, i, 0, err);
        if (!st)
            st = ufi_op_need_count(c, i, ufi_product(x->dims, axis, x->rank), true, err);
    }
    return st ? st : ufi_infer_same(c, err);
}

uf_status ufi_eval_layer_norm(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    double epsilon = (double)ufi_node_float(c->node, UFI_ATTR_EPSILON, 1e-5f), mean, inverse;
    uint32_t axis;
    uf_status st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, -1), x->rank, &axis, err);
    if (st || ufi_shape_count(x) == 0)
        return st;
    int64_t size = ufi_product(x->dims, axis, x->rank), rows = ufi_product(x->dims, 0, axis);
    int64_t scale_step = ufi_shape_count(&c->in[1].shape) > 1;
    int64_t bias_step = ufi_op_has(c, 2) && ufi_shape_count(&c->in[2].shape) > 1;
    for (int64_t r = 0; r < rows; r++) {
        moments(&c->in[0], r * size, size, epsilon, &mean, &inverse);
        for (int64_t i = 0; i < size; i++) {
            double v = (ufi_get(&c->in[0], r * size + i) - mean) * inverse;
            v *= ufi_get(&c->in[1], i * scale_step);
            v += ufi_op_has(c, 2) ? ufi_get(&c->in[2], i * bias_step) : 0;
            ufi_put(&c->out[0], r * size + i, v);
        }
    }
    return UF_OK;
}

uf_status ufi_infer_lp_norm(const ufi_op_call *c, uf_error *err)
{
    int64_t p = ufi_node_int(c->node, UFI_ATTR_P, 2);
    uint32_t axis;
    uf_status st = ufi_op_need_float(c, 0, err);
    if (!st)
        st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, -1), c->in[0].shape.rank, &axis,
                         err);
    if (!st && p != 1 && p != 2)
        return ufi_op_fail(c, err, UF_E_FORMAT, "p is %lld, not 1 or 2", (long long)p);
    return st ? st : ufi_infer_same(c, err);
}

uf_status ufi_eval_lp_norm(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    bool l1 = ufi_node_int(c->node, UFI_ATTR_P, 2) == 1;
    uint32_t axis;
    uf_status st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, -1), x->rank, &axis, err);
    if (st || ufi_shape_count(x) == 0)
        return st;
    int64_t len = x->dims[axis], inner = ufi_product(x->dims, axis + 1, x->rank);
    int64_t lanes = ufi_product(x->dims, 0, axis) * inner;
    for (int64_t k = 0; k < lanes; k++) {
        int64_t at = k / inner * len * inner + k % inner;
        double sum = 0;
        for (int64_t i = 0; i < len; i++) {
            double v = ufi_get(&c->in[0], at + i * inner);
            sum += l1 ? fabs(v) : v * v;
        }
        double norm = l1 ? sum : sqrt(sum);
        for (int64_t i = 0; i < len; i++) /* a vector of zeros stays one */
            ufi_put(&c->out[0], at + i * inner,
                    norm == 0 ? 0 : ufi_get(&c->in[0], at + i * inner) / norm);
    }
    return UF_OK;
}

uf_status ufi_infer_lrn(const ufi_op_call *c, uf_error *err)
{
    int64_t size = ufi_node_int(c->node, UFI_ATTR_SIZE, 0);
    uf_status st = ufi_op_need_float(c, 0, err);
    if (!st)
        st = ufi_op_need_rank(c, 0, 2, UF_MAX_DIMS, err);
    if (!st && (size < 1 || size > UFI_MAX_DIM))
        return ufi_op_fail(c, err, UF_E_FORMAT, "size is %lld", (long long)size);
    return st ? st : ufi_infer_same(c, err);
}

uf_status ufi_eval_lrn(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    int64_t size = ufi_node_int(c->node, UFI_ATTR_SIZE, 1), channels = x->dims[1];
    double alpha = (double)ufi_node_float(c->node, UFI_ATTR_ALPHA, 1e-4f);
    double beta = (double)ufi_node_float(c->node, UFI_ATTR_BETA, 0.75f);
    double bias = (double)ufi_node_float(c->node, UFI_ATTR_BIAS, 1);
    int64_t inner = ufi_product(x->dims, 2, x->rank), n = ufi_shape_count(x);
    for (int64_t i = 0; i < n; i++) {
        int64_t ch = i / inner % channels, base = i - ch * inner;
        int64_t lo = ufi_max64(0, ch - (size - 1) / 2), hi = ufi_min64(channels - 1, ch + size / 2);
        double sum = 0;
        for (int64_t k = lo; k <= hi; k++) {
            double v = ufi_get(&c->in[0], base + k * inner);
            sum += v * v;
        }
        ufi_put(&c->out[0], i,
                ufi_get(&c->in[0], i) / pow(bias + alpha / (double)size * sum, beta));
    }
    return UF_OK;
}
