/* Pooling: every output looks at its window of the input. */
#include "graph/op.h"

uf_status ufi_infer_pool(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    ufi_window w;
    uf_status st = ufi_op_pool_window(c, x, &w, err);
    if (st)
        return st;
    if (c->in[0].dtype == UF_BOOL ||
        (c->node->op == UFI_OP_AVERAGE_POOL && !ufi_dtype_is_float(c->in[0].dtype)))
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "pooling of %s",
                           ufi_dtype_name(c->in[0].dtype));
    ufi_shape out = *x;
    for (uint32_t i = 2; i < x->rank; i++)
        out.dims[i] = w.out[3 - x->rank + i];
    return ufi_op_set_out(c, 0, c->in[0].dtype, &out, err);
}

/* One output's view of the input: the taps lo..hi-1 that lie inside, per dimension. */
typedef struct pool_view {
    int64_t start[3], lo[3], hi[3];
    int64_t padded; /* taps inside of the input with its pads */
} pool_view;

static void look(const ufi_window *w, const int64_t o[3], pool_view *p)
{
    p->padded = 1;
    for (int d = 0; d < 3; d++) {
        int64_t s = o[d] * w->stride[d] - w->pad[d], dil = w->dilation[d];
        p->start[d] = s;
        p->lo[d] = s >= 0 ? 0 : (-s + dil - 1) / dil;
        p->hi[d] = s >= w->in[d] ? 0 : ufi_min64(w->kernel[d], (w->in[d] - 1 - s) / dil + 1);
        int64_t room = w->in[d] + w->pad_end[d] - s; /* > 0 by the size rule */
        p->padded *= ufi_min64(w->kernel[d], (room - 1) / dil + 1);
    }
}

typedef struct pool_sum {
    double max, sum;
    int64_t count;
} pool_sum;

static pool_sum pool_window(const ufi_tensor *x, const ufi_window *w, const pool_view *p,
                            int64_t at)
{
    pool_sum r = {-INFINITY, 0, 0};
    for (int64_t a = p->lo[0]; a < p->hi[0]; a++)
        for (int64_t b = p->lo[1]; b < p->hi[1]; b++)
            for (int64_t d = p->lo[2]; d < p->hi[2]; d++) {
                int64_t z = p->start[0] + a * w->dilation[0], y = p->start[1] + b * w->dilation[1];
                int64_t i = p->start[2] + d * w->dilation[2];
                double v = ufi_get(x, at + (z * w->in[1] + y) * w->in[2] + i);
                r.max = v > r.max || isnan(v) ? v : r.max;
                r.sum += v;
                r.count++;
            }
    return r;
}

void ufi_pooling_run(const ufi_op_call *c, const ufi_window *w, ufi_pooling_emit *emit, void *arg)
{
    const ufi_shape *x = &c->in[0].shape;
    bool all = ufi_node_int(c->node, UFI_ATTR_COUNT_INCLUDE_PAD, 0) != 0;
    int64_t image = w->in[0] * w->in[1] * w->in[2], index = 0;
    int64_t pixels = w->out[0] * w->out[1] * w->out[2];
    for (int64_t nc = 0; nc < x->dims[0] * x->dims[1]; nc++)
        for (int64_t p = 0; p < pixels; p++) {
            const int64_t o[3] = {p / w->out[2] / w->out[1], p / w->out[2] % w->out[1],
                                  p % w->out[2]};
            pool_view view;
            look(w, o, &view);
            pool_sum r = pool_window(&c->in[0], w, &view, nc * image);
            int64_t count = all ? view.padded : r.count;
            emit(arg, index++, r.max, r.sum, count > 0 ? count : 1);
        }
}

static void emit_max(void *arg, int64_t i, double max, double sum, int64_t count)
{
    (void)sum, (void)count;
    ufi_put(arg, i, max);
}

static void emit_mean(void *arg, int64_t i, double max, double sum, int64_t count)
{
    (void)max;
    ufi_put(arg, i, sum / (double)count);
}

uf_status ufi_eval_max_pool(const ufi_op_call *c, uf_error *err)
{
    ufi_window w;
    uf_status st = ufi_op_pool_window(c, &c->in[0].shape, &w, err);
    if (!st)
        ufi_pooling_run(c, &w, emit_max, &c->out[0]);
    return st;
}

uf_status ufi_eval_average_pool(const ufi_op_call *c, uf_error *err)
{
    ufi_window w;
    uf_status st = ufi_op_pool_window(c, &c->in[0].shape, &w, err);
    if (!st)
        ufi_pooling_run(c, &w, emit_mean, &c->out[0]);
    return st;
}

uf_status ufi_infer_global_pool(const ufi_op_call *c, uf_error *err)
{
    ufi_shape out = c->in[0].shape;
    uf_status st = ufi_op_need_rank(c, 0, 2, UF_MAX_DIMS, err);
    if (!st)
        st = ufi_op_need_float(c, 0, err);
    for (uint32_t i = 2; i < out.rank; i++)
        out.dims[i] = 1;
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &out, err);
}

static uf_status global_pool(const ufi_op_call *c, bool mean)
{
    const ufi_shape *x = &c->in[0].shape;
    int64_t size = ufi_product(x->dims, 2, x->rank);
    for (int64_t nc = 0; nc < x->dims[0] * x->dims[1]; nc++) {
        double sum = 0, max = -INFINITY;
        for (int64_t i = 0; i < size; i++) {
            double v = ufi_get(&c->in[0], nc * size + i);
            sum += v;
            max = v > max || isnan(v) ? v : max;
        }
        ufi_put(&c->out[0], nc, mean ? sum / (double)size : max);
    }
    return UF_OK;
}

uf_status ufi_eval_global_average_pool(const ufi_op_call *c, uf_error *err)
{
    return global_pool(c, true);
}

uf_status ufi_eval_global_max_pool(const ufi_op_call *c, uf_error *err)
{
    return global_pool(c, false);
}
