/*
 * Quantisation of ONNX: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, and the integer
 * convolution and product with sums in int32. A scale or zero point has one element, or one along
 * `axis`.
 */
#include "graph/op.h"

static bool is_byte(uf_dtype t)
{
    return t == UF_U8 || t == UF_I8;
}

/* The number of elements that a scale of several must have, and how index i finds its own:
 * i / inner % count. */
static uf_status quant_axis(const ufi_op_call *c, int64_t *count, int64_t *inner, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape, *s = &c->in[1].shape;
    uint32_t axis;
    *count = *inner = 1;
    if (s->rank == 0 || (s->rank == 1 && s->dims[0] == 1))
        return UF_OK;
    if (s->rank != 1)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "a scale of rank %u", s->rank);
    uf_status st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 1), x->rank, &axis, err);
    if (st)
        return st;
    *count = x->dims[axis];
    *inner = ufi_product(x->dims, axis + 1, x->rank);
    return UF_OK;
}

uf_status ufi_infer_quantize_linear(const ufi_op_call *c, uf_error *err)
{
    int64_t count, inner;
    uf_dtype to = ufi_op_has(c, 2) ? c->in[2].dtype : UF_U8;
    uf_status st = ufi_op_need_float(c, 0, err);
    if (!st)
        st = quant_axis(c, &count, &inner, err);
    if (!st)
        st = ufi_op_need_scale(c, 1, count, err);
    if (!st && !is_byte(to) && to != UF_I16 && to != UF_U16)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "quantisation to %s", ufi_dtype_name(to));
    if (!st)
        st = ufi_op_need_zero(c, 2, to, count, err);
    return st ? st : ufi_op_set_out(c, 0, to, &c->in[0].shape, err);
}

uf_status ufi_eval_quantize_linear(const ufi_op_call *c, uf_error *err)
{
    int64_t count, inner, n = ufi_shape_count(&c->in[0].shape);
    uf_status st = quant_axis(c, &count, &inner, err);
    for (int64_t i = 0; !st && i < n; i++) {
        int64_t k = i / inner % count;
        double zero = ufi_op_has(c, 2) ? ufi_get(&c->in[2], count == 1 ? 0 : k) : 0;
        float x = (float)ufi_get(&c->in[0], i) / (float)ufi_get(&c->in[1], count == 1 ? 0 : k);
        ufi_put_saturated(&c->out[0], i, rint((double)x) + zero);
    }
    return st;
}

uf_status ufi_infer_dequantize_linear(const ufi_op_call *c, uf_error *err)
{
    int64_t count, inner;
    if (!ufi_dtype_is_int(c->in[0].dtype))
        return ufi_op_fail(c, err, UF_E_FORMAT, "the input is %s", ufi_dtype_name(c->in[0].dtype));
    uf_status st = quant_axis(c, &count, &inner, err);
    if (!st)
        st = ufi_op_need_scale(c, 1, count, err);
    if (!st)
        st = ufi_op_need_zero(c, 2, c->in[0].dtype, count, err);
    return st ? st : ufi_op_set_out(c, 0, UF_F32, &c->in[0].shape, err);
}

uf_status ufi_eval_dequantize_linear(const ufi_op_call *c, uf_error *err)
{
    int64_t count, inner, n = ufi_shape_count(&c->in[0].shape);
    uf_status st = quant_axis(c, &count, &inner, err);
    for (int64_t i = 0; !st && i < n; i++) {
        int64_t k = count == 1 ? 0 : i / inner % count;
        double zero = ufi_op_has(c, 2) ? ufi_get(&c->in[2], k) : 0;
        ufi_put(&c->out[0], i, (ufi_get(&c->in[0], i) - zero) * ufi_get(&c->in[1], k));
    }
    return st;
}

/* ---- DynamicQuantizeLinear ---- */

uf_status ufi_infer_dynamic_quantize_linear(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape scalar = {.rank = 0};
    if (c->in[0].dtype != UF_F32)
        return ufi_op_fail(c, err, UF_E_FORMAT, "the input is %s", ufi_dtype_name(c->in[0].dtype));
    uf_status st = ufi_op_set_out(c, 0, UF_U8, &c->in[0].shape, err);
    if (!st)
        st = ufi_op_set_out(c, 1, UF_F32, &scalar, err);
    return st ? st : ufi_op_set_out(c, 2, UF_U8, &scalar, err);
}

/* The range always holds 0, so that 0 is exact; arithmetic in float as the standard gives it. */
uf_status ufi_eval_dynamic_quantize_linear(const ufi_op_call *c, uf_error *err)
{
    const float *x = c->in[0].data;
    int64_t n = ufi_shape_count(&c->in[0].shape);
    float lo = 0, hi = 0;
    for (int64_t i = 0; i < n; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    float scale;
    uint8_t zero;
    ufi_range_to_u8(lo, hi, &scale, &zero);
    if (c->out[1].data)
        *(float *)c->out[1].data = scale;
    if (c->out[2].data)
        *(uint8_t *)c->out[2].data = zero;
    for (int64_t i = 0; c->out[0].data && i < n; i++)
        ufi_put_saturated(&c->out[0], i, (double)(rintf(x[i] / scale) + (float)zero));
    return UF_OK;
}

/* ---- integer convolution and product ---- */

static uf_status need_bytes(const ufi_op_call *c, uf_error *err)
{
    for (uint32_t i = 0; i < 2; i++)
        if (!is_byte(c->in[i].dtype))
            return ufi_op_fail(c, err, UF_E_FORMAT, "input %u is %s, not 8-bit", i,
                               ufi_dtype_name(c->in[i].dtype));
    return UF_OK;
}

static void emit_conv(void *arg, int64_t f, int64_t i, double acc)
{
    ufi_put(arg, i, acc);
}

static void emit_matmul(void *arg, int64_t row, int64_t col, int64_t i, double acc)
{
    ufi_put(arg, i, acc);
}

uf_status ufi_infer_conv_integer(const ufi_op_call *c, uf_error *err)
{
    ufi_conv_job job;
    ufi_shape out;
    uf_status st = need_bytes(c, err);
    if (!st)
        st = ufi_op_conv_job(c, 0, 1, &job, &out, err);
    if (!st)
        st = ufi_op_need_zero(c, 2, c->in[0].dtype, 1, err);
    if (!st)
        st = ufi_op_need_zero(c, 3, c->in[1].dtype, out.dims[1], err);
    return st ? st : ufi_op_set_out(c, 0, UF_I32, &out, err);
}

uf_status ufi_eval_conv_integer(const ufi_op_call *c, uf_error *err)
{
    ufi_conv_job job;
    ufi_shape out;
    uf_status st = ufi_op_conv_job(c, 0, 1, &job, &out, err);
    if (st)
        return st;
    job.x_zero = ufi_op_optional(c, 2);
    job.w_zero = ufi_op_optional(c, 3);
    ufi_conv_run(&job, emit_conv, &c->out[0]);
    return UF_OK;
}

uf_status ufi_infer_matmul_integer(const ufi_op_call *c, uf_error *err)
{
    ufi_matmul_job job;
    ufi_shape out;
    uf_status st = need_bytes(c, err);
    if (!st)
        st = ufi_op_matmul_job(c, 0, 1, &job, &out, err);
    if (!st)
        st = ufi_op_need_zero(c, 2, c->in[0].dtype, job.m, err);
    if (!st)
        st = ufi_op_need_zero(c, 3, c->in[1].dtype, job.n, err);
    return st ? st : ufi_op_set_out(c, 0, UF_I32, &out, err);
}

uf_status ufi_eval_matmul_integer(const ufi_op_call *c, uf_error *err)
{
    ufi_matmul_job job;
    ufi_shape out;
    uf_status st = ufi_op_matmul_job(c, 0, 1, &job, &out, err);
    if (st)
        return st;
    job.a_zero = ufi_op_optional(c, 2);
    job.b_zero = ufi_op_optional(c, 3);
    ufi_matmul_run(&job, emit_matmul, &c->out[0]);
    return UF_OK;
}
