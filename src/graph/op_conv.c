/*
 * Convolutions. One loop nest serves float and quantised types: sums are kept in double, which is
 * exact for products of 8-bit integers and better than FP32 for floats. A strip of output columns
 * is accumulated at a time, so that the inner loop runs along a row of the input.
 */
#include "graph/op.h"

#define STRIP 128

/* Reads and checks group, ranks and channels; see op.h. */
uf_status ufi_op_conv_job(const ufi_op_call *c, uint32_t xi, uint32_t wi, ufi_conv_job *job,
                          ufi_shape *out, uf_error *err)
{
    const ufi_shape *x = &c->in[xi].shape, *w = &c->in[wi].shape;
    memset(job, 0, sizeof *job);
    if (x->rank < 3 || x->rank > 5)
        return ufi_op_fail(c, err, x->rank < 3 ? UF_E_FORMAT : UF_E_UNSUPPORTED,
                           "input of rank %u, expected 3 to 5", x->rank);
    if (w->rank != x->rank)
        return ufi_op_fail(c, err, UF_E_FORMAT, "weights of rank %u for an input of rank %u",
                           w->rank, x->rank);
    int64_t group = ufi_node_int(c->node, UFI_ATTR_GROUP, 1);
    if (group < 1 || group > UFI_MAX_DIM)
        return ufi_op_fail(c, err, UF_E_FORMAT, "group is %lld", (long long)group);
    int64_t filters = w->dims[0], channels = x->dims[1];
    if (filters == 0 || channels == 0 || w->dims[1] == 0)
        return ufi_op_fail(c, err, UF_E_FORMAT, "%lld channels, %lld filters of %lld channels",
                           (long long)channels, (long long)filters, (long long)w->dims[1]);
    if (filters >= 0 && filters % group)
        return ufi_op_fail(c, err, UF_E_FORMAT, "%lld groups do not divide %lld filters",
                           (long long)group, (long long)filters);
    if (channels >= 0 && w->dims[1] >= 0 && channels != w->dims[1] * group)
        return ufi_op_fail(c, err, UF_E_FORMAT,
                           "input has %lld channels, weights expect %lld in each of %lld groups",
                           (long long)channels, (long long)w->dims[1], (long long)group);
    int64_t kernel[3], named[3];
    uint32_t count, n = x->rank - 2;
    uf_status st = ufi_op_ints(c, UFI_ATTR_KERNEL_SHAPE, named, 3, &count, err);
    if (st)
        return st;
    if (count && count != n)
        return ufi_op_fail(c, err, UF_E_FORMAT, "kernel_shape has %u items for %u dimensions",
                           count, n);
    *out = (ufi_shape){.rank = x->rank, .dims = {x->dims[0], filters, -1, -1, -1}};
    bool known = true;
    for (uint32_t i = 0; i < n; i++) {
        kernel[i] = w->dims[2 + i] < 0 && count ? named[i] : w->dims[2 + i];
        if (count && named[i] != kernel[i])
            return ufi_op_fail(c, err, UF_E_FORMAT, "kernel_shape is %lld, the weights have %lld",
                               (long long)named[i], (long long)kernel[i]);
        known &= kernel[i] >= 0;
    }
    if (!known)
        return UF_OK;
    st = ufi_op_window(c, x, kernel, &job->win, err);
    for (uint32_t i = 0; !st && i < n; i++)
        out->dims[2 + i] = job->win.out[3 - n + i];
    *job = (ufi_conv_job){job->win,   &c->in[xi], &c->in[wi], NULL, NULL,
                          x->dims[0], channels,   filters,    group};
    return st;
}

/* First and last + 1 output column of a strip for which column `at + ow * stride` is inside. */
static void valid_range(int64_t at, int64_t stride, int64_t in, int64_t n, int64_t *lo, int64_t *hi)
{
    *lo = at >= 0 ? 0 : (-at + stride - 1) / stride;
    *hi = at >= in ? 0 : ufi_min64(n, (in - 1 - at) / stride + 1);
}

/* Adds to acc[0..n) what channel ch of the input contributes through filter f in the output row at
 * (od, oh), from column ow on. */
static void add_channel(const ufi_conv_job *job, int64_t x_at, int64_t w_at, double x_zero,
                        double w_zero, const int64_t o[3], int64_t n, double *acc)
{
    const ufi_window *v = &job->win;
    double row[STRIP];
    for (int64_t kd = 0; kd < v->kernel[0]; kd++) {
        int64_t z = o[0] * v->stride[0] - v->pad[0] + kd * v->dilation[0];
        if (z < 0 || z >= v->in[0])
            continue;
        for (int64_t kh = 0; kh < v->kernel[1]; kh++) {
            int64_t y = o[1] * v->stride[1] - v->pad[1] + kh * v->dilation[1];
            if (y < 0 || y >= v->in[1])
                continue;
            for (int64_t kw = 0; kw < v->kernel[2]; kw++) {
                int64_t at = o[2] * v->stride[2] - v->pad[2] + kw * v->dilation[2], lo, hi;
                valid_range(at, v->stride[2], v->in[2], n, &lo, &hi);
                if (lo >= hi)
                    continue;
                ufi_get_row(job->x, x_at + (z * v->in[1] + y) * v->in[2] + at + lo * v->stride[2],
                            v->stride[2], hi - lo, row);
                double k = ufi_get(job->w, w_at + (kd * v->kernel[1] + kh) * v->kernel[2] + kw);
                k -= w_zero;
                for (int64_t i = lo; i < hi; i++)
                    acc[i] += (row[i - lo] - x_zero) * k;
            }
        }
    }
}

/* A 1x1 convolution without padding sees its image as one long row. */
static void flatten_pointwise(ufi_window *v)
{
    for (int d = 0; d < 3; d++)
        if (v->kernel[d] != 1 || v->stride[d] != 1 || v->pad[d] || v->pad_end[d])
            return;
    v->in[2] = v->out[2] = v->in[0] * v->in[1] * v->in[2];
    v->in[0] = v->in[1] = v->out[0] = v->out[1] = 1;
}

void ufi_conv_run(const ufi_conv_job *given, ufi_conv_emit *emit, void *arg)
{
    ufi_conv_job job = *given;
    flatten_pointwise(&job.win);
    const ufi_window *v = &job.win;
    int64_t per_group = job.channels / job.group, filters = job.filters / job.group;
    int64_t image = v->in[0] * v->in[1] * v->in[2], index = 0;
    int64_t taps = v->kernel[0] * v->kernel[1] * v->kernel[2], rows = v->out[0] * v->out[1];
    double x_zero = job.x_zero ? ufi_get(job.x_zero, 0) : 0, acc[STRIP];
    bool many_zeros = job.w_zero && ufi_shape_count(&job.w_zero->shape) > 1;
    for (int64_t nf = 0; nf < job.batch * job.filters; nf++) {
        int64_t b = nf / job.filters, f = nf % job.filters;
        double w_zero = job.w_zero ? ufi_get(job.w_zero, many_zeros ? f : 0) : 0;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t ow = 0; ow < v->out[2]; ow += STRIP) {
                int64_t n = ufi_min64(STRIP, v->out[2] - ow);
                const int64_t o[3] = {r / v->out[1], r % v->out[1], ow};
                memset(acc, 0, sizeof acc);
                for (int64_t ch = 0; ch < per_group; ch++)
                    add_channel(&job, (b * job.channels + f / filters * per_group + ch) * image,
                                (f * per_group + ch) * taps, x_zero, w_zero, o, n, acc);
                for (int64_t i = 0; i < n; i++)
                    emit(arg, f, index++, acc[i]);
            }
    }
}

/* ---- Conv ---- */

uf_status ufi_op_activation(const ufi_op_call *c, ufi_activation *a, uf_error *err)
{
    int64_t act = ufi_node_int(c->node, UFI_ATTR_ACT, UFI_ACT_NONE);
    if (act < UFI_ACT_NONE || act > UFI_ACT_SIGMOID)
        return ufi_op_fail(c, err, UF_E_FORMAT, "unknown activation %lld", (long long)act);
    a->act = (ufi_act)act;
    a->lo = (double)ufi_node_float(c->node, UFI_ATTR_ACT_LO, -INFINITY);
    a->hi = (double)ufi_node_float(c->node, UFI_ATTR_ACT_HI, INFINITY);
    a->alpha = (double)ufi_node_float(c->node, UFI_ATTR_ACT_ALPHA, 0.01f);
    return UF_OK;
}

double ufi_activate(const ufi_activation *a, double x, double slope)
{
    switch (a->act) {
    case UFI_ACT_RELU:
        return x < 0 ? 0 : x;
    case UFI_ACT_CLAMP:
        return x < a->lo ? a->lo : x > a->hi ? a->hi : x;
    case UFI_ACT_PRELU:
        return x < 0 ? x * slope : x;
    case UFI_ACT_LEAKY:
        return x < 0 ? x * a->alpha : x;
    case UFI_ACT_HARD_SWISH:
        return x * fmin(fmax(x / 6 + 0.5, 0), 1);
    case UFI_ACT_SILU:
        return x / (1 + exp(-x));
    case UFI_ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    default:
        return x;
    }
}

uf_status ufi_infer_conv(const ufi_op_call *c, uf_error *err)
{
    ufi_conv_job job;
    ufi_shape out;
    ufi_activation act = {.act = UFI_ACT_NONE};
    uf_status st = ufi_op_conv_job(c, 0, 1, &job, &out, err);
    if (!st)
        st = ufi_op_activation(c, &act, err);
    for (uint32_t i = 0; !st && i < c->in_count; i++)
        if (ufi_op_has(c, i)) {
            st = ufi_op_need_float(c, i, err);
            if (!st)
                st = ufi_op_same_dtype(c, i, 0, err);
        }
    if (!st)
        st = ufi_op_need_count(c, 2, out.dims[1], false, err);
    if (!st)
        st = ufi_op_need_count(c, 3, out.dims[1], true, err);
    if (!st && act.act == UFI_ACT_PRELU && !ufi_op_has(c, 3))
        return ufi_op_fail(c, err, UF_E_FORMAT, "a PReLU activation without slopes");
    if (!st && ufi_op_has(c, 4)) {
        ufi_shape both = out;
        if (c->in[4].shape.rank != out.rank || !ufi_broadcast(&both, &c->in[4].shape) ||
            (ufi_shape_known(&out) && ufi_shape_known(&c->in[4].shape) &&
             !ufi_shape_equal(&out, &c->in[4].shape)))
            return ufi_op_fail(c, err, UF_E_FORMAT, "the residual has not the output's shape");
    }
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &out, err);
}

typedef struct conv_sink {
    const ufi_tensor *out, *bias, *slope, *residual;
    bool one_slope;
    ufi_activation act;
} conv_sink;

static void emit_conv(void *arg, int64_t f, int64_t i, double acc)
{
    const conv_sink *s = arg;
    acc += s->bias ? ufi_get(s->bias, f) : 0;
    acc += s->residual ? ufi_get(s->residual, i) : 0;
    double slope = s->slope ? ufi_get(s->slope, s->one_slope ? 0 : f) : 0;
    ufi_put(s->out, i, ufi_activate(&s->act, acc, slope));
}

uf_status ufi_eval_conv(const ufi_op_call *c, uf_error *err)
{
    ufi_conv_job job;
    ufi_shape out;
    conv_sink sink = {
        &c->out[0], ufi_op_optional(c, 2), ufi_op_optional(c, 3), ufi_op_optional(c, 4), false,
        {0}};
    sink.one_slope = sink.slope && ufi_shape_count(&sink.slope->shape) == 1;
    uf_status st = ufi_op_conv_job(c, 0, 1, &job, &out, err);
    if (!st)
        st = ufi_op_activation(c, &sink.act, err);
    if (!st)
        ufi_conv_run(&job, emit_conv, &sink);
    return st;
}

/* ---- ConvTranspose ---- */

typedef struct transpose_job {
    ufi_window win; /* in: the input; out: the output */
    int64_t group, filters;
} transpose_job;

/* Output size and pads: (in - 1) * stride + output_padding + effective kernel - pads. */
static uf_status transpose_size(const ufi_op_call *c, ufi_window *v, uint32_t d, int64_t extra,
                                int64_t wanted, const char *auto_pad, uf_error *err)
{
    int64_t eff = (v->kernel[d] - 1) * v->dilation[d] + 1, in = v->in[d];
    bool same = !strncmp(auto_pad, "SAME_", 5);
    if (in < 0) {
        v->out[d] = wanted > 0 ? wanted : -1;
        return UF_OK;
    }
    int64_t full = (in - 1) * v->stride[d] + extra + eff;
    if (in == 0 || full > ((int64_t)1 << 40))
        return ufi_op_fail(c, err, UF_E_LIMIT, "an input dimension of %lld gives no output",
                           (long long)in);
    if (same || wanted > 0) {
        int64_t out = wanted > 0 ? wanted : in * v->stride[d], total = full - out;
        if (total < 0)
            total = 0;
        v->pad[d] = !strcmp(auto_pad, "SAME_UPPER") ? total / 2 : total - total / 2;
        v->pad_end[d] = total - v->pad[d];
        v->out[d] = out;
    } else {
        v->out[d] = full - v->pad[d] - v->pad_end[d];
    }
    if (v->out[d] < 1)
        return ufi_op_fail(c, err, UF_E_FORMAT, "the pads leave nothing of the output");
    return UF_OK;
}

static uf_status transpose_geometry(const ufi_op_call *c, transpose_job *job, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape, *w = &c->in[1].shape;
    uint32_t n = x->rank - 2, count;
    int64_t kernel[3], extra[3] = {0}, shape[3] = {0};
    for (uint32_t i = 0; i < n; i++)
        kernel[i] = w->dims[2 + i];
    /* The window of an input as large as can be: only its lists are wanted. */
    ufi_shape any = {.rank = x->rank, .dims = {1, 1, -1, -1, -1}};
    uf_status st = ufi_op_window(c, &any, kernel, &job->win, err);
    if (!st)
        st = ufi_op_ints(c, UFI_ATTR_OUTPUT_PADDING, extra, 3, &count, err);
    if (!st && count && count != n)
        return ufi_op_fail(c, err, UF_E_FORMAT, "output_padding has %u items", count);
    if (!st)
        st = ufi_op_ints(c, UFI_ATTR_OUTPUT_SHAPE, shape, 3, &count, err);
    if (!st && count && count != n)
        return ufi_op_fail(c, err, UF_E_FORMAT, "output_shape has %u items", count);
    const char *auto_pad = ufi_node_string(c->node, UFI_ATTR_AUTO_PAD, "NOTSET");
    for (uint32_t i = 0; !st && i < n; i++) {
        uint32_t d = 3 - n + i;
        job->win.in[d] = x->dims[2 + i];
        if (extra[i] < 0 || extra[i] > UFI_MAX_DIM || shape[i] < 0 || shape[i] > UFI_MAX_DIM)
            return ufi_op_fail(c, err, UF_E_FORMAT, "output_padding or output_shape out of range");
        st = transpose_size(c, &job->win, d, extra[i], shape[i], auto_pad, err);
    }
    return st;
}

uf_status ufi_infer_conv_transpose(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape, *w = &c->in[1].shape;
    transpose_job job;
    uf_status st = ufi_op_need_rank(c, 0, 3, 5, err);
    if (!st)
        st = ufi_op_need_rank(c, 1, x->rank, x->rank, err);
    for (uint32_t i = 0; !st && i < c->in_count; i++)
        if (ufi_op_has(c, i) && !(st = ufi_op_need_float(c, i, err)))
            st = ufi_op_same_dtype(c, i, 0, err);
    if (st)
        return st;
    job.group = ufi_node_int(c->node, UFI_ATTR_GROUP, 1);
    if (job.group < 1 || (w->dims[0] >= 0 && w->dims[0] % job.group))
        return ufi_op_fail(c, err, UF_E_FORMAT, "%lld groups do not divide %lld channels",
                           (long long)job.group, (long long)w->dims[0]);
    if (x->dims[1] >= 0 && w->dims[0] >= 0 && x->dims[1] != w->dims[0])
        return ufi_op_fail(c, err, UF_E_FORMAT, "input has %lld channels, weights expect %lld",
                           (long long)x->dims[1], (long long)w->dims[0]);
    if (job.group > UFI_MAX_DIM)
        return ufi_op_fail(c, err, UF_E_LIMIT, "group is %lld", (long long)job.group);
    ufi_shape out = {.rank = x->rank, .dims = {x->dims[0], -1, -1, -1, -1}};
    if (w->dims[1] >= 0)
        out.dims[1] = w->dims[1] * job.group;
    if (ufi_shape_known(w)) {
        st = transpose_geometry(c, &job, err);
        for (uint32_t i = 0; !st && i < x->rank - 2; i++)
            out.dims[2 + i] = job.win.out[5 - x->rank + i];
    }
    if (!st)
        st = ufi_op_need_count(c, 2, out.dims[1], false, err);
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &out, err);
}

/* The sum that arrives at output (o[0], o[1], o[2]): input i meets it through kernel tap k where
 * i * stride + k * dilation - pad = o. */
static double gather_output(const ufi_op_call *c, const ufi_window *v, int64_t x_at, int64_t w_at,
                            const int64_t o[3])
{
    double sum = 0;
    for (int64_t kd = 0; kd < v->kernel[0]; kd++)
        for (int64_t kh = 0; kh < v->kernel[1]; kh++)
            for (int64_t kw = 0; kw < v->kernel[2]; kw++) {
                const int64_t k[3] = {kd, kh, kw};
                int64_t i[3];
                bool inside = true;
                for (int d = 0; d < 3; d++) {
                    int64_t p = o[d] + v->pad[d] - k[d] * v->dilation[d];
                    i[d] = p / v->stride[d];
                    inside &= p >= 0 && p % v->stride[d] == 0 && i[d] < v->in[d];
                }
                if (inside)
                    sum += ufi_get(&c->in[0], x_at + (i[0] * v->in[1] + i[1]) * v->in[2] + i[2]) *
                           ufi_get(&c->in[1], w_at + (kd * v->kernel[1] + kh) * v->kernel[2] + kw);
            }
    return sum;
}

uf_status ufi_eval_conv_transpose(const ufi_op_call *c, uf_error *err)
{
    transpose_job job;
    uf_status st = transpose_geometry(c, &job, err);
    if (st)
        return st;
    const ufi_window *v = &job.win;
    int64_t group = ufi_node_int(c->node, UFI_ATTR_GROUP, 1), channels = c->in[0].shape.dims[1];
    int64_t per_group = c->in[1].shape.dims[1], in_group = channels / group;
    int64_t image = v->in[0] * v->in[1] * v->in[2], index = 0;
    int64_t taps = v->kernel[0] * v->kernel[1] * v->kernel[2];
    int64_t pixels = v->out[0] * v->out[1] * v->out[2], filters = per_group * group;
    for (int64_t nf = 0; nf < c->out[0].shape.dims[0] * filters; nf++) {
        int64_t b = nf / filters, f = nf % filters, g = f / per_group;
        double bias = ufi_op_has(c, 2) ? ufi_get(&c->in[2], f) : 0;
        for (int64_t p = 0; p < pixels; p++) {
            const int64_t o[3] = {p / v->out[2] / v->out[1], p / v->out[2] % v->out[1],
                                  p % v->out[2]};
            double sum = bias;
            for (int64_t ch = g * in_group; ch < (g + 1) * in_group; ch++)
                sum += gather_output(c, v, (b * channels + ch) * image,
                                     (ch * per_group + f % per_group) * taps, o);
            ufi_put(&c->out[0], index++, sum);
        }
    }
    return UF_OK;
}
