/*
 * Pooling, means over the plane, and enlarging by whole factors: what goes from windows of pixels
 * to pixels or back. Pictures are dealt out to threads; sums are FP32 whatever is kept.
 */
#include <math.h>

#include "train/net_impl.h"

typedef struct pool_plan {
    enum { POOL_MAX, POOL_MEAN, ENLARGE } what;
    ufi_net_window win; /* of ENLARGE: kernel and stride are the factors */
    bool count_pads;
} pool_plan;

typedef struct pool_state {
    int64_t pictures, channels, in[2], out[2];
    float *rows;   /* 3 * channels for each thread */
    uint32_t sums; /* temporary: a picture's gradient in FP32 for each thread */
} pool_state;

static uf_status create(ufi_net *net, ufi_step *s, uf_error *err)
{
    const ufi_blob *x = ufi_blob_in(net, s, 0), *y = ufi_blob_out(net, s, 0);
    const pool_plan *p = s->plan;
    pool_state *q = ufi_net_alloc(net, 1, sizeof *q, err);
    if (!q)
        return UF_E_NOMEM;
    q->pictures = x->shape.dims[0];
    q->channels = x->shape.dims[1];
    for (int d = 0; d < 2; d++) {
        q->in[d] = x->shape.dims[2 + d];
        q->out[d] = y->shape.rank == 4 ? y->shape.dims[2 + d] : 1;
    }
    q->rows =
        ufi_net_alloc(net, 3 * (size_t)q->channels * net->options.threads, sizeof(float), err);
    if (!q->rows)
        return UF_E_NOMEM;
    s->state = q;
    s->keeps[0] = p->what == POOL_MAX;
    const size_t picture = (size_t)(q->channels * q->in[0] * q->in[1]);
    return ufi_step_temp(s, true, picture * sizeof(float) * net->options.threads, &q->sums, err);
}

/* The pixels lo..hi-1 of the input that output pixel `o` looks at, in one dimension. */
typedef struct span {
    int64_t lo, hi, step, padded;
} span;

static span look(const pool_plan *p, const pool_state *q, int d, int64_t o)
{
    const ufi_net_window *w = &p->win;
    span s = {o * w->stride[d] - w->pad[d], 0, w->dilation[d], 0};
    s.hi = s.lo + (w->kernel[d] - 1) * s.step + 1;
    int64_t end = q->in[d] + w->pad_end[d] < s.hi ? q->in[d] + w->pad_end[d] : s.hi;
    s.padded = (end - s.lo - 1) / s.step + 1;
    while (s.lo < 0)
        s.lo += s.step;
    if (s.hi > q->in[d])
        s.hi = q->in[d];
    return s;
}

static int64_t span_count(const span *s)
{
    return s->hi > s->lo ? (s->hi - s->lo - 1) / s->step + 1 : 0;
}

typedef struct pool_job {
    ufi_net *net;
    ufi_step *s;
} pool_job;

/* One over how many pixels a mean is of. */
static float mean_factor(const pool_plan *p, const span *a, const span *b)
{
    int64_t n = p->count_pads ? a->padded * b->padded : span_count(a) * span_count(b);
    return p->what == POOL_MEAN ? 1.0f / (float)(n > 0 ? n : 1) : 1;
}

static void forward_pixel(const pool_job *j, const span *a, const span *b, size_t picture,
                          size_t to, float *row, float *tmp)
{
    const pool_plan *p = j->s->plan;
    const pool_state *q = j->s->state;
    const ufi_blob *x = ufi_blob_in(j->net, j->s, 0), *y = ufi_blob_out(j->net, j->s, 0);
    const size_t n = (size_t)q->channels;
    const bool bf16 = ufi_blob_bf16(j->net, x), max = p->what == POOL_MAX;
    const float factor = max ? 1 : mean_factor(p, a, b);
    for (size_t c = 0; c < n; c++)
        row[c] = max ? -INFINITY : 0;
    for (int64_t h = a->lo; h < a->hi; h += a->step)
        for (int64_t w = b->lo; w < b->hi; w += b->step) {
            const size_t at = picture + (size_t)(h * q->in[1] + w) * n;
            const float *v = ufi_net_load(j->net, bf16, x->data, at, n, tmp);
            for (size_t c = 0; max && c < n; c++)
                row[c] = v[c] > row[c] ? v[c] : row[c];
            for (size_t c = 0; !max && c < n; c++)
                row[c] += v[c];
        }
    for (size_t c = 0; c < n; c++)
        row[c] *= factor;
    ufi_net_store_row(j->net, bf16, y->data, to, n, row, false);
}

static void forward_part(void *arg, size_t from, size_t to, unsigned part)
{
    const pool_job *j = arg;
    const pool_plan *p = j->s->plan;
    const pool_state *q = j->s->state;
    const size_t n = (size_t)q->channels, in = n * (size_t)(q->in[0] * q->in[1]);
    const size_t out = n * (size_t)(q->out[0] * q->out[1]);
    float *row = q->rows + 3 * n * part;
    for (size_t i = from; i < to; i++)
        for (int64_t h = 0; h < q->out[0]; h++)
            for (int64_t w = 0; w < q->out[1]; w++) {
                const size_t at = i * out + (size_t)(h * q->out[1] + w) * n;
                span a = look(p, q, 0, h), b = look(p, q, 1, w);
                if (p->what == ENLARGE) {
                    a = (span){h / p->win.stride[0], h / p->win.stride[0] + 1, 1, 1};
                    b = (span){w / p->win.stride[1], w / p->win.stride[1] + 1, 1, 1};
                }
                forward_pixel(j, &a, &b, i * in, at, row, row + n);
            }
}

static uf_status forward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const pool_state *q = s->state;
    pool_job j = {net, s};
    (void)err;
    ufi_net_parallel(net, forward_part, &j, (size_t)q->pictures);
    return UF_OK;
}

/* To each channel's first pixel that has the maximum goes what comes from above. */
static void back_max(const pool_job *j, const span *a, const span *b, size_t picture,
                     const float *dy, float *sums, float *best)
{
    const pool_state *q = j->s->state;
    const ufi_blob *x = ufi_blob_in(j->net, j->s, 0);
    const size_t n = (size_t)q->channels;
    const bool bf16 = ufi_blob_bf16(j->net, x);
    for (size_t c = 0; c < n; c++) {
        size_t most = 0;
        *best = -INFINITY;
        for (int64_t h = a->lo; h < a->hi; h += a->step)
            for (int64_t w = b->lo; w < b->hi; w += b->step) {
                const size_t at = (size_t)(h * q->in[1] + w) * n + c;
                float tmp;
                const float v = *ufi_net_load(j->net, bf16, x->data, picture + at, 1, &tmp);
                if (v > *best) {
                    *best = v;
                    most = at;
                }
            }
        sums[most] += dy[c];
    }
}

static void back_mean(const pool_state *q, const span *a, const span *b, float factor,
                      const float *dy, float *sums)
{
    const size_t n = (size_t)q->channels;
    for (int64_t h = a->lo; h < a->hi; h += a->step)
        for (int64_t w = b->lo; w < b->hi; w += b->step) {
            float *row = sums + (size_t)(h * q->in[1] + w) * n;
            for (size_t c = 0; c < n; c++)
                row[c] += dy[c] * factor;
        }
}

static void back_part(void *arg, size_t from, size_t to, unsigned part)
{
    const pool_job *j = arg;
    const pool_plan *p = j->s->plan;
    const pool_state *q = j->s->state;
    const ufi_blob *x = ufi_blob_in(j->net, j->s, 0), *y = ufi_blob_out(j->net, j->s, 0);
    const size_t n = (size_t)q->channels, in = n * (size_t)(q->in[0] * q->in[1]);
    const size_t out = n * (size_t)(q->out[0] * q->out[1]);
    const bool bf16 = ufi_blob_bf16(j->net, x);
    float *row = q->rows + 3 * n * part, *sums = (float *)j->s->temps[q->sums].data + in * part;
    for (size_t i = from; i < to; i++) {
        memset(sums, 0, in * sizeof *sums);
        for (int64_t h = 0; h < q->out[0]; h++)
            for (int64_t w = 0; w < q->out[1]; w++) {
                const size_t at = i * out + (size_t)(h * q->out[1] + w) * n;
                const float *dy = ufi_net_load(j->net, bf16, y->grad, at, n, row);
                span a = look(p, q, 0, h), b = look(p, q, 1, w);
                if (p->what == ENLARGE) {
                    a = (span){h / p->win.stride[0], h / p->win.stride[0] + 1, 1, 1};
                    b = (span){w / p->win.stride[1], w / p->win.stride[1] + 1, 1, 1};
                }
                if (p->what == POOL_MAX)
                    back_max(j, &a, &b, i * in, dy, sums, row + n);
                else
                    back_mean(q, &a, &b, mean_factor(p, &a, &b), dy, sums);
            }
        ufi_net_store_row(j->net, bf16, x->grad, i * in, in, sums, j->s->adds[0]);
    }
}

static uf_status backward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const pool_state *q = s->state;
    pool_job j = {net, s};
    (void)err;
    if (ufi_blob_in(net, s, 0)->grad)
        ufi_net_parallel(net, back_part, &j, (size_t)q->pictures);
    return UF_OK;
}

static const ufi_step_kind pool_kind = {"pool", create, NULL, forward, backward, NULL};

/* ---- lowering ---- */

static uf_status add_pool(ufi_net *net, const ufi_node *n, const pool_plan *plan, uf_error *err)
{
    ufi_step *s;
    pool_plan *p = ufi_net_alloc(net, 1, sizeof *p, err);
    if (!p)
        return UF_E_NOMEM;
    *p = *plan;
    if (net->blobs[n->in[0]].shape.rank != 4 || net->blobs[n->in[0]].constant)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "an input of rank %u; 4 is known",
                             net->blobs[n->in[0]].shape.rank);
    uf_status st = ufi_net_add_step(net, &pool_kind, n, n->in, 1, n->out, 1, &s, err);
    if (!st)
        s->plan = p;
    return st;
}

uf_status ufi_lower_pool(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const ufi_attr *kernel = ufi_node_attr(n, UFI_ATTR_KERNEL_SHAPE);
    pool_plan p = {.what = n->op == UFI_OP_MAX_POOL ? POOL_MAX : POOL_MEAN};
    if (!kernel || kernel->count != 2)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "a window of other than two dimensions");
    p.count_pads = ufi_node_int(n, UFI_ATTR_COUNT_INCLUDE_PAD, 0) != 0;
    uf_status st = ufi_net_read_window(n, &net->blobs[n->in[0]].shape, &net->blobs[n->out[0]].shape,
                                       kernel->u.ints, &p.win, err);
    return st ? st : add_pool(net, n, &p, err);
}

/* The mean over the whole plane. */
static uf_status plane_mean(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const int64_t *d = net->blobs[n->in[0]].shape.dims;
    const pool_plan p = {POOL_MEAN, {{d[2], d[3]}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, false};
    return add_pool(net, n, &p, err);
}

uf_status ufi_lower_global_pool(ufi_net *net, const ufi_node *n, uf_error *err)
{
    return plane_mean(net, n, err);
}

uf_status ufi_lower_reduce_mean(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const ufi_shape *x = &net->blobs[n->in[0]].shape;
    const ufi_value *v = ufi_node_has(n, 1) ? &net->graph.values[n->in[1]] : NULL;
    const int64_t *axes = v && v->dtype == UF_I64 ? v->data : NULL;
    uint32_t mask = 0;
    for (int64_t i = 0; axes && i < ufi_shape_count(&v->shape); i++)
        mask |= 1u << (axes[i] < 0 ? axes[i] + (int64_t)x->rank : axes[i]);
    if (x->rank != 4 || mask != 0xc)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED,
                             "only the mean of four dimensions over the last two has a gradient");
    return plane_mean(net, n, err);
}

uf_status ufi_lower_resize(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const int64_t *x = net->blobs[n->in[0]].shape.dims, *y = net->blobs[n->out[0]].shape.dims;
    pool_plan p = {.what = ENLARGE};
    const bool ranks = net->blobs[n->in[0]].shape.rank == 4;
    if (!ranks || x[1] != y[1] || y[2] % x[2] || y[3] % x[3] ||
        strcmp(ufi_node_string(n, UFI_ATTR_MODE, "nearest"), "nearest") != 0)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED,
                             "only \"nearest\" by whole factors has a gradient");
    for (int d = 0; d < 2; d++) {
        p.win.kernel[d] = p.win.stride[d] = y[2 + d] / x[2 + d];
        p.win.dilation[d] = 1;
    }
    return add_pool(net, n, &p, err);
}
