/*
 * Operators on quantised tensors: QLinearConv and QLinearMatMul of ONNX, and those that ONNX
 * Runtime adds (com.microsoft). Each dequantises exactly (in double), computes, and quantises once.
 */
#include "graph/op.h"

/* ---- a quantised tensor: data, scale, zero point ---- */

/* Additions take words too. */
static bool is_quantised(const ufi_op_call *c, uf_dtype t)
{
    return t == UF_U8 || t == UF_I8 || (t == UF_I16 && c->node->op == UFI_OP_QLINEAR_ADD);
}

static uf_status need_quantised(const ufi_op_call *c, uint32_t x, uint32_t scale, uint32_t zero,
                                int64_t count, uf_error *err)
{
    uf_dtype t = c->in[x].dtype;
    if (!is_quantised(c, t))
        return ufi_op_fail(c, err, UF_E_FORMAT, "input %u is %s, not 8-bit", x, ufi_dtype_name(t));
    uf_status st = ufi_op_need_scale(c, scale, count, err);
    return st ? st : ufi_op_need_zero(c, zero, t, count, err);
}

/* Scale and zero point of the output; its type is the zero point's, or that of input 0. */
static uf_status need_output(const ufi_op_call *c, uint32_t scale, uint32_t zero, uf_dtype *type,
                             uf_error *err)
{
    *type = ufi_op_has(c, zero) ? c->in[zero].dtype : c->in[0].dtype;
    if (!is_quantised(c, *type))
        return ufi_op_fail(c, err, UF_E_FORMAT, "the output is %s, not 8-bit",
                           ufi_dtype_name(*type));
    uf_status st = ufi_op_need_scale(c, scale, 1, err);
    return st ? st : ufi_op_need_zero(c, zero, *type, 1, err);
}

static double dequantised(const ufi_op_call *c, uint32_t x, int64_t i, uint32_t scale,
                          uint32_t zero)
{
    return (ufi_get(&c->in[x], i) - ufi_op_element(c, zero, 0)) * ufi_op_element(c, scale, 0);
}

static void put_quantised(const ufi_op_call *c, int64_t i, double v, uint32_t scale, uint32_t zero)
{
    ufi_put_saturated(&c->out[0], i,
                      rint(v / ufi_op_element(c, scale, 0)) + ufi_op_element(c, zero, 0));
}

/* ---- QLinearConv: x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero[, bias] ---- */

uf_status ufi_infer_qlinear_conv(const ufi_op_call *c, uf_error *err)
{
    ufi_conv_job job;
    ufi_shape out;
    uf_dtype type;
    uf_status st = ufi_op_conv_job(c, 0, 3, &job, &out, err);
    if (!st)
        st = need_quantised(c, 0, 1, 2, 1, err);
    if (!st)
        st = need_quantised(c, 3, 4, 5, out.dims[1], err);
    if (!st)
        st = need_output(c, 6, 7, &type, err);
    if (!st && ufi_op_has(c, 8) && c->in[8].dtype != UF_I32)
        return ufi_op_fail(c, err, UF_E_FORMAT, "the bias is %s, not i32",
                           ufi_dtype_name(c->in[8].dtype));
    if (!st)
        st = ufi_op_need_count(c, 8, out.dims[1], false, err);
    return st ? st : ufi_op_set_out(c, 0, type, &out, err);
}

static void emit_conv(void *arg, int64_t f, int64_t i, double acc)
{
    const ufi_op_call *c = arg;
    double scale = ufi_op_element(c, 1, 0) * ufi_op_element(c, 4, f);
    put_quantised(c, i, (acc + ufi_op_element(c, 8, f)) * scale, 6, 7);
}

uf_status ufi_eval_qlinear_conv(const ufi_op_call *c, uf_error *err)
{
    ufi_conv_job job;
    ufi_shape out;
    ufi_op_call call = *c;
    uf_status st = ufi_op_conv_job(c, 0, 3, &job, &out, err);
    if (st)
        return st;
    job.x_zero = ufi_op_optional(c, 2);
    job.w_zero = ufi_op_optional(c, 5);
    ufi_conv_run(&job, emit_conv, &call);
    return UF_OK;
}

/* ---- QLinearMatMul: a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero ---- */

uf_status ufi_infer_qlinear_matmul(const ufi_op_call *c, uf_error *err)
{
    ufi_matmul_job job;
    ufi_shape out;
    uf_dtype type;
    uf_status st = ufi_op_matmul_job(c, 0, 3, &job, &out, err);
    if (!st)
        st = need_quantised(c, 0, 1, 2, job.m, err);
    if (!st)
        st = need_quantised(c, 3, 4, 5, job.n, err);
    if (!st)
        st = need_output(c, 6, 7, &type, err);
    return st ? st : ufi_op_set_out(c, 0, type, &out, err);
}

static void emit_matmul(void *arg, int64_t row, int64_t col, int64_t i, double acc)
{
    const ufi_op_call *c = arg;
    put_quantised(c, i, acc * ufi_op_element(c, 1, row) * ufi_op_element(c, 4, col), 6, 7);
}

uf_status ufi_eval_qlinear_matmul(const ufi_op_call *c, uf_error *err)
{
    ufi_matmul_job job;
    ufi_shape out;
    ufi_op_call call = *c;
    uf_status st = ufi_op_matmul_job(c, 0, 3, &job, &out, err);
    if (st)
        return st;
    job.a_zero = ufi_op_optional(c, 2);
    job.b_zero = ufi_op_optional(c, 5);
    ufi_matmul_run(&job, emit_matmul, &call);
    return UF_OK;
}

/* ---- QGemm: a, a_scale, a_zero, b, b_scale, b_zero[, c[, y_scale[, y_zero]]] ---- */

uf_status ufi_infer_qgemm(const ufi_op_call *c, uf_error *err)
{
    ufi_matmul_job job;
    ufi_shape out;
    uf_dtype type = UF_F32;
    uf_status st = ufi_op_gemm_job(c, 0, 3, &job, &out, err);
    if (!st)
        st = need_quantised(c, 0, 1, 2, 1, err);
    if (!st)
        st = need_quantised(c, 3, 4, 5, job.n, err);
    if (!st && ufi_op_has(c, 6) && c->in[6].dtype != UF_I32)
        return ufi_op_fail(c, err, UF_E_FORMAT, "the addend is %s, not i32",
                           ufi_dtype_name(c->in[6].dtype));
    if (!st)
        st = ufi_op_need_count(c, 6, job.n, true, err);
    if (!st && ufi_op_has(c, 7))
        st = need_output(c, 7, 8, &type, err);
    return st ? st : ufi_op_set_out(c, 0, type, &out, err);
}

static void emit_qgemm(void *arg, int64_t row, int64_t col, int64_t i, double acc)
{
    const ufi_op_call *c = arg;
    double alpha = (double)ufi_node_float(c->node, UFI_ATTR_ALPHA, 1);
    double v = (acc + ufi_op_element(c, 6, col)) * alpha * ufi_op_element(c, 1, 0) *
               ufi_op_element(c, 4, col);
    if (ufi_op_has(c, 7))
        put_quantised(c, i, v, 7, 8);
    else
        ufi_put(&c->out[0], i, v);
}

uf_status ufi_eval_qgemm(const ufi_op_call *c, uf_error *err)
{
    ufi_matmul_job job;
    ufi_shape out;
    ufi_op_call call = *c;
    uf_status st = ufi_op_gemm_job(c, 0, 3, &job, &out, err);
    if (st)
        return st;
    job.a_zero = ufi_op_optional(c, 2);
    job.b_zero = ufi_op_optional(c, 5);
    ufi_matmul_run(&job, emit_qgemm, &call);
    return UF_OK;
}

/* ---- QLinearAdd, QLinearMul ---- */

uf_status ufi_infer_qlinear_binary(const ufi_op_call *c, uf_error *err)
{
    ufi_shape out = c->in[0].shape;
    uf_dtype type;
    uf_status st = need_quantised(c, 0, 1, 2, 1, err);
    if (!st)
        st = need_quantised(c, 3, 4, 5, 1, err);
    if (!st)
        st = need_output(c, 6, 7, &type, err);
    if (!st && !ufi_broadcast(&out, &c->in[3].shape))
        return ufi_op_fail(c, err, UF_E_FORMAT, "the operands do not broadcast");
    return st ? st : ufi_op_set_out(c, 0, type, &out, err);
}

uf_status ufi_eval_qlinear_binary(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *out = &c->out[0].shape;
    int64_t a[UF_MAX_DIMS], b[UF_MAX_DIMS], index = 0;
    const int64_t *const strides[2] = {a, b};
    bool add = c->node->op == UFI_OP_QLINEAR_ADD;
    ufi_walk w;
    ufi_broadcast_strides(&c->in[0].shape, out, a);
    ufi_broadcast_strides(&c->in[3].shape, out, b);
    for (bool more = ufi_walk_init(&w, out->rank, out->dims, 2, strides); more;
         more = ufi_walk_next(&w))
        for (int64_t i = 0; i < w.length; i++) {
            double x = dequantised(c, 0, w.at[0] + i * w.step[0], 1, 2);
            double y = dequantised(c, 3, w.at[1] + i * w.step[1], 4, 5);
            put_quantised(c, index++, add ? x + y : x * y, 6, 7);
        }
    return UF_OK;
}

/* ---- x, x_scale, x_zero, y_scale[, y_zero] ---- */

static uf_status infer_unary(const ufi_op_call *c, const ufi_shape *out, uf_error *err)
{
    uf_dtype type;
    uf_status st = need_quantised(c, 0, 1, 2, 1, err);
    if (!st)
        st = need_output(c, 3, 4, &type, err);
    return st ? st : ufi_op_set_out(c, 0, type, out, err);
}

static bool channels_last(const ufi_op_call *c)
{
    return ufi_node_int(c->node, UFI_ATTR_CHANNELS_LAST, 0) != 0;
}

uf_status ufi_infer_qlinear_unary(const ufi_op_call *c, uf_error *err)
{
    ufi_shape out = c->in[0].shape;
    if (c->node->op == UFI_OP_QLINEAR_GLOBAL_AVERAGE_POOL) {
        uf_status st = ufi_op_need_rank(c, 0, 3, UF_MAX_DIMS, err);
        if (st)
            return st;
        if (channels_last(c))
            return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "channels_last");
        for (uint32_t d = 2; d < out.rank; d++)
            out.dims[d] = 1;
    }
    return infer_unary(c, &out, err);
}

uf_status ufi_eval_qlinear_global_average_pool(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    int64_t outputs = ufi_shape_count(&c->out[0].shape), plane = ufi_product(x->dims, 2, x->rank);
    for (int64_t o = 0; o < outputs; o++) {
        double sum = 0;
        for (int64_t i = 0; i < plane; i++)
            sum += dequantised(c, 0, o * plane + i, 1, 2);
        put_quantised(c, o, sum / (double)plane, 3, 4);
    }
    return UF_OK;
}

uf_status ufi_eval_qlinear_unary(const ufi_op_call *c, uf_error *err)
{
    int64_t n = ufi_shape_count(&c->in[0].shape);
    double alpha = (double)ufi_node_float(c->node, UFI_ATTR_ALPHA, 0.01f);
    bool leaky = c->node->op == UFI_OP_QLINEAR_LEAKY_RELU;
    for (int64_t i = 0; i < n; i++) {
        double x = dequantised(c, 0, i, 1, 2);
        put_quantised(c, i, leaky ? (x < 0 ? x * alpha : x) : 1 / (1 + exp(-x)), 3, 4);
    }
    return UF_OK;
}

uf_status ufi_infer_qlinear_average_pool(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    ufi_window w;
    if (channels_last(c) || ufi_node_int(c->node, UFI_ATTR_COUNT_INCLUDE_PAD, 0))
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "channels_last or count_include_pad");
    uf_status st = ufi_op_pool_window(c, x, &w, err);
    if (st)
        return st;
    ufi_shape out = *x;
    for (uint32_t i = 2; i < x->rank; i++)
        out.dims[i] = w.out[3 - x->rank + i];
    return infer_unary(c, &out, err);
}

/* The pool runs on integers; the zero point is taken off the mean. */
static void emit_pool(void *arg, int64_t i, double max, double sum, int64_t count)
{
    const ufi_op_call *c = arg;
    put_quantised(c, i, (sum / (double)count - ufi_op_element(c, 2, 0)) * ufi_op_element(c, 1, 0),
                  3, 4);
}

uf_status ufi_eval_qlinear_average_pool(const ufi_op_call *c, uf_error *err)
{
    ufi_window w;
    ufi_op_call call = *c;
    uf_status st = ufi_op_pool_window(c, &c->in[0].shape, &w, err);
    if (!st)
        ufi_pooling_run(c, &w, emit_pool, &call);
    return st;
}

/* ---- QLinearConcat: y_scale, y_zero, then x, x_scale, x_zero of each part ---- */

uf_status ufi_infer_qlinear_concat(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    if (c->in_count < 5 || (c->in_count - 2) % 3)
        return ufi_op_fail(c, err, UF_E_FORMAT, "%u inputs", c->in_count);
    ufi_shape s = c->in[2].shape;
    uf_dtype type = c->in[1].dtype;
    uf_status st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), s.rank, &axis, err);
    if (!st)
        st = ufi_op_need_scale(c, 0, 1, err);
    if (!st)
        st = ufi_op_need_zero(c, 1, type, 1, err);
    for (uint32_t i = 2; !st && i < c->in_count; i += 3) {
        const ufi_shape *x = &c->in[i].shape;
        st = need_quantised(c, i, i + 1, i + 2, 1, err);
        if (!st && x->rank != s.rank)
            return ufi_op_fail(c, err, UF_E_FORMAT, "input %u is of another rank", i);
        for (uint32_t d = 0; !st && i > 2 && d < s.rank; d++) {
            if (d == axis)
                s.dims[d] = s.dims[d] < 0 || x->dims[d] < 0 ? -1 : s.dims[d] + x->dims[d];
            else if (s.dims[d] >= 0 && x->dims[d] >= 0 && s.dims[d] != x->dims[d])
                return ufi_op_fail(c, err, UF_E_FORMAT, "dimension %u of input %u differs", d, i);
        }
    }
    return st ? st : ufi_op_set_out(c, 0, type, &s, err);
}

uf_status ufi_eval_qlinear_concat(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *out = &c->out[0].shape;
    uint32_t axis;
    int64_t at = 0;
    uf_status st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), out->rank, &axis, err);
    int64_t inner = st ? 0 : ufi_product(out->dims, axis + 1, out->rank);
    for (uint32_t k = 2; !st && k < c->in_count; k += 3) {
        int64_t n = c->in[k].shape.dims[axis], row = n * inner;
        int64_t count = ufi_shape_count(&c->in[k].shape);
        for (int64_t i = 0; i < count; i++)
            put_quantised(c, (i / row * out->dims[axis] + at) * inner + i % row,
                          dequantised(c, k, i, k + 1, k + 2), 0, 1);
        at += n;
    }
    return st;
}
