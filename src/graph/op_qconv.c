/*
 * QConv: a convolution on bytes with everything that follows it, the form into which quantised
 * graphs of all kinds are brought. Inputs:
 *
 *   0 x (u8)  1 w (i8)  2 x_scale  3 x_zero (u8)  4 w_scale [M] or one  5 bias (f32 [M])
 *   6 slope  7 residual (u8)  8 residual_scale  9 residual_zero (u8)  10 y_scale  11 y_zero (u8)
 *
 * or INT16: x, w, residual, y and zero points are i16, all zero points are 0, and the absolute
 * weights of each filter, which are constants, add up to UFI_WORDS_MOST at most (sums stay within
 * 32 bits).
 *
 * 5 to 11 may be absent; without y_scale the output is FP32. Attributes are those of Conv. Bias,
 * activation bounds and slopes are in real units:
 *   y = act(x_scale * w_scale * sum((x - x_zero) * w) + bias + residual_scale * (r -
 * residual_zero)) and then y / y_scale, rounded half to even, plus y_zero, saturated.
 */
#include "graph/op.h"

static uf_status need_type(const ufi_op_call *c, uint32_t i, uf_dtype type, uf_error *err)
{
    if (!ufi_op_has(c, i) || c->in[i].dtype == type)
        return UF_OK;
    return ufi_op_fail(c, err, UF_E_FORMAT, "input %u is %s, not %s", i,
                       ufi_dtype_name(c->in[i].dtype), ufi_dtype_name(type));
}

static bool in_words(const ufi_op_call *c)
{
    return c->in[0].dtype == UF_I16;
}

static uf_status check_types(const ufi_op_call *c, uf_error *err)
{
    static const uf_dtype types[2][12] = {
        {UF_U8, UF_I8, UF_F32, UF_U8, UF_F32, UF_F32, UF_F32, UF_U8, UF_F32, UF_U8, UF_F32, UF_U8},
        {UF_I16, UF_I16, UF_F32, UF_I16, UF_F32, UF_F32, UF_F32, UF_I16, UF_F32, UF_I16, UF_F32,
         UF_I16}};
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < c->in_count && i < 12; i++)
        st = need_type(c, i, types[in_words(c)][i], err);
    return st;
}

/* The zero point, input i, which words do not have. */
static uf_status need_zero(const ufi_op_call *c, uint32_t i, uf_error *err)
{
    uf_status st = ufi_op_need_zero(c, i, in_words(c) ? UF_I16 : UF_U8, 1, err);
    if (st || !in_words(c) || !ufi_op_has(c, i))
        return st;
    if (!c->in[i].data || ufi_get(&c->in[i], 0) != 0)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "input %u, a zero point of INT16, is not 0",
                           i);
    return UF_OK;
}

/* Sums of products with words must stay within 32 bits. */
static uf_status check_weights(const ufi_op_call *c, uf_error *err)
{
    const ufi_tensor *w = &c->in[1];
    if (!in_words(c))
        return UF_OK;
    if (!w->data)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "INT16 weights are no constant");
    const size_t filters = (size_t)w->shape.dims[0];
    const size_t count = (size_t)ufi_shape_count(&w->shape),
                 per_filter = filters ? count / filters : 0;
    for (size_t f = 0; f < filters; f++) {
        const int64_t sum = ufi_words_sum((const int16_t *)w->data + f * per_filter, per_filter);
        if (sum > UFI_WORDS_MOST)
            return ufi_op_fail(c, err, UF_E_FORMAT,
                               "the weights of filter %zu add up to %lld, more than %d", f,
                               (long long)sum, UFI_WORDS_MOST);
    }
    return UF_OK;
}

static uf_status check_residual(const ufi_op_call *c, const ufi_shape *out, uf_error *err)
{
    if (!ufi_op_has(c, 7))
        return UF_OK;
    const ufi_shape *r = &c->in[7].shape;
    if (r->rank != out->rank ||
        (ufi_shape_known(out) && ufi_shape_known(r) && !ufi_shape_equal(out, r)))
        return ufi_op_fail(c, err, UF_E_FORMAT, "the residual has not the output's shape");
    if (!ufi_op_has(c, 8))
        return ufi_op_fail(c, err, UF_E_FORMAT, "a residual without a scale");
    uf_status st = ufi_op_need_scale(c, 8, 1, err);
    return st ? st : need_zero(c, 9, err);
}

/* Kernels choose what a slope multiplies by the sign alone; -0 must stay a zero. */
static uf_status check_slopes(const ufi_op_call *c, const ufi_activation *act, int64_t channels,
                              uf_error *err)
{
    uf_status st = ufi_op_need_count(c, 6, channels, true, err);
    if (st)
        return st;
    if (act->act == UFI_ACT_LEAKY && !isfinite(act->alpha))
        return ufi_op_fail(c, err, UF_E_FORMAT, "the slope is %g; it must be finite", act->alpha);
    if (act->act != UFI_ACT_PRELU)
        return UF_OK;
    if (!ufi_op_has(c, 6))
        return ufi_op_fail(c, err, UF_E_FORMAT, "a PReLU activation without slopes");
    if (!c->in[6].data || !ufi_shape_known(&c->in[6].shape))
        return UF_OK;
    const int64_t count = ufi_shape_count(&c->in[6].shape);
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(ufi_get(&c->in[6], i)))
            return ufi_op_fail(c, err, UF_E_FORMAT, "slope %lld is %g; it must be finite",
                               (long long)i, ufi_get(&c->in[6], i));
    return UF_OK;
}

uf_status ufi_infer_qconv(const ufi_op_call *c, uf_error *err)
{
    ufi_conv_job job;
    ufi_shape out;
    ufi_activation act = {.act = UFI_ACT_NONE};
    uf_status st = check_types(c, err);
    if (!st)
        st = ufi_op_conv_job(c, 0, 1, &job, &out, err);
    if (!st)
        st = check_weights(c, err);
    if (!st)
        st = ufi_op_activation(c, &act, err);
    if (!st)
        st = ufi_op_need_scale(c, 2, 1, err);
    if (!st)
        st = need_zero(c, 3, err);
    if (!st)
        st = ufi_op_need_scale(c, 4, out.dims[1], err);
    if (!st)
        st = ufi_op_need_count(c, 5, out.dims[1], false, err);
    if (!st)
        st = check_slopes(c, &act, out.dims[1], err);
    if (!st)
        st = check_residual(c, &out, err);
    if (!st && ufi_op_has(c, 10)) {
        st = ufi_op_need_scale(c, 10, 1, err);
        if (!st)
            st = need_zero(c, 11, err);
    }
    if (st)
        return st;
    return ufi_op_set_out(c, 0, ufi_op_has(c, 10) ? c->in[0].dtype : UF_F32, &out, err);
}

typedef struct qconv_sink {
    const ufi_op_call *call;
    ufi_activation act;
} qconv_sink;

static void emit(void *arg, int64_t f, int64_t i, double acc)
{
    const qconv_sink *s = arg;
    const ufi_op_call *c = s->call;
    double v = acc * ufi_op_element(c, 2, 0) * ufi_op_element(c, 4, f) + ufi_op_element(c, 5, f);
    if (ufi_op_has(c, 7))
        v += (ufi_get(&c->in[7], i) - ufi_op_element(c, 9, 0)) * ufi_op_element(c, 8, 0);
    v = ufi_activate(&s->act, v, ufi_op_element(c, 6, f));
    if (ufi_op_has(c, 10))
        ufi_put_saturated(&c->out[0], i,
                          rint(v / ufi_op_element(c, 10, 0)) + ufi_op_element(c, 11, 0));
    else
        ufi_put(&c->out[0], i, v);
}

uf_status ufi_eval_qconv(const ufi_op_call *c, uf_error *err)
{
    ufi_conv_job job;
    ufi_shape out;
    qconv_sink sink = {.call = c};
    uf_status st = ufi_op_conv_job(c, 0, 1, &job, &out, err);
    if (!st)
        st = ufi_op_activation(c, &sink.act, err);
    if (st)
        return st;
    job.x_zero = ufi_op_has(c, 3) ? &c->in[3] : NULL;
    ufi_conv_run(&job, emit, &sink);
    return UF_OK;
}
