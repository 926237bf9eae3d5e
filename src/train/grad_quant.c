/*
 * Quantisation under training: the nodes of an INT8 graph as steps, so that what is trained is the
 * graph that runs. FakeQuant is split where the runtime splits it: "quantise" rounds to whole
 * numbers, convolutions add products of whole numbers (exact in FP32 below 2^24, which is what
 * networks have), "rescale" brings sums back to real units. What is left to differ from the runtime
 * is the FP32 arithmetic behind a sum, which kernels fold otherwise: a number that lies within some
 * 1e-6 of the middle between two steps may fall to the other side.
 *
 * A byte's blob holds byte - zero point. Ranges are learned (LSQ: Esser et al., ICLR 2020), as
 * logarithms of their scales, so that one learning rate suits them all (Jain et al., MLSys 2020);
 * zero points stay. With q = x / s and gradient g of x' = s * round(q), inside the range
 *     dx = g,  d ln s = g * (x' - x);  outside  dx = 0,  d ln s = g * x',
 * of which the step that rounds gives the part with x and every reader the part with x'. Weights
 * are kept as shares of the greatest byte, 127 steps of the scale they began with.
 */
#include <math.h>

#include "train/net_impl.h"

#define MOST_WEIGHT 127.0f

/* What is known of a value in bytes. */
struct ufi_byte_range {
    bool known;
    float scale, zero; /* to begin with */
    uint32_t blob;     /* of the variable ln(scale / that to begin with) */
};

/* A QConv's own. */
struct ufi_quant_layer {
    uint32_t weights, logs, bias; /* blobs of variables; UFI_NONE: no bias */
    float *scales;                /* to begin with, [filters] */
    size_t filters, per_filter;
    bool short_scales, short_bias; /* stored as BF16, as FP16, and rounded so on the way there */
};

/* y = a * (s_a * s_w[c]) + bias[c] + r * s_r */
typedef struct rescale_plan {
    const ufi_quant_layer *layer; /* NULL: no s_w, no bias */
    float a, r;                   /* scales to begin with */
} rescale_plan;

enum { A, A_LOG, W_LOG, BIAS, R, R_LOG, RESCALE_INPUTS };
enum { X, X_LOG, QUANTISE_INPUTS };

typedef struct rescale_state {
    size_t channels, rows;
    float *factor, *bias; /* [channels] */
    double *sums;         /* [threads][2 * channels + 1] */
} rescale_state;

static float variable_at(const ufi_net *net, const ufi_step *s, uint32_t input, size_t i)
{
    const ufi_variable *v = ufi_step_variable(net, s, input);
    return v ? v->data[i] : 0;
}

static void add_grad(const ufi_net *net, const ufi_step *s, uint32_t input, size_t i, double sum)
{
    ufi_variable *v = ufi_step_variable(net, s, input);
    v->grad[i] = (float)sum + (ufi_variable_shared(net, v) ? v->grad[i] : 0);
}

static float scale_now(float first, float log)
{
    return first * expf(log);
}

static float layer_scale(const ufi_quant_layer *q, size_t f, float log)
{
    const float s = scale_now(q->scales[f], log);
    return q->short_scales ? ufi_bf16_to_f32(ufi_f32_to_bf16(s)) : s;
}

static float layer_bias(const ufi_quant_layer *q, float b)
{
    return q->short_bias && fabsf(b) < 65000 ? ufi_f16_to_f32(ufi_f32_to_f16(b)) : b;
}

/* ---- rescale ---- */

static uf_status create_rescale(ufi_net *net, ufi_step *s, uf_error *err)
{
    const ufi_blob *a = ufi_blob_in(net, s, A);
    const size_t c = ufi_blob_channels(a), threads = net->options.threads;
    rescale_state *q = ufi_net_alloc(net, 1, sizeof *q, err);
    float *floats = q ? ufi_net_alloc(net, 2 * c, sizeof *floats, err) : NULL;
    double *sums = floats ? ufi_net_alloc(net, threads * (2 * c + 1), sizeof *sums, err) : NULL;
    if (!sums)
        return UF_E_NOMEM;
    *q = (rescale_state){c, a->count / c, floats, floats + c, sums};
    s->state = q;
    s->keeps[A] = true;
    s->keeps[R] = true;
    return UF_OK;
}

typedef struct rescale_job {
    const rescale_state *q;
    float by; /* what a residual is multiplied by */
    const float *a, *r, *dy;
    float *y, *da, *dr;
    bool adds_a, adds_r;
} rescale_job;

static void rescale_rows(void *arg, size_t from, size_t to, unsigned part)
{
    const rescale_job *j = arg;
    const size_t n = j->q->channels;
    (void)part;
    for (size_t i = from; i < to; i++) {
        const float *a = j->a + i * n, *r = j->r ? j->r + i * n : NULL;
        float *y = j->y + i * n;
        for (size_t c = 0; c < n; c++)
            y[c] = a[c] * j->q->factor[c] + j->q->bias[c];
        for (size_t c = 0; r && c < n; c++)
            y[c] += r[c] * j->by;
    }
}

/* The numbers of now; returns the residual's. */
static float read_factors(const ufi_net *net, const ufi_step *s)
{
    const rescale_plan *p = s->plan;
    const rescale_state *q = s->state;
    const float a = scale_now(p->a, variable_at(net, s, A_LOG, 0));
    for (size_t c = 0; c < q->channels; c++) {
        q->factor[c] = p->layer ? a * layer_scale(p->layer, c, variable_at(net, s, W_LOG, c)) : a;
        q->bias[c] = p->layer ? layer_bias(p->layer, variable_at(net, s, BIAS, c)) : 0;
    }
    return scale_now(p->r, variable_at(net, s, R_LOG, 0));
}

static uf_status forward_rescale(ufi_net *net, ufi_step *s, uf_error *err)
{
    const ufi_blob *r = ufi_blob_in(net, s, R);
    rescale_job j = {.q = s->state,
                     .by = read_factors(net, s),
                     .a = ufi_blob_in(net, s, A)->data,
                     .r = r ? r->data : NULL,
                     .y = ufi_blob_out(net, s, 0)->data};
    (void)err;
    ufi_net_parallel(net, rescale_rows, &j, j.q->rows);
    return UF_OK;
}

/* Sums: what d ln s_w and d bias get of each channel, and d ln s_r. */
static void rescale_back(void *arg, size_t from, size_t to, unsigned part)
{
    const rescale_job *j = arg;
    const size_t n = j->q->channels;
    double *sums = j->q->sums + part * (2 * n + 1), by_residual = 0;
    for (size_t i = from; i < to; i++) {
        const float *a = j->a + i * n, *r = j->r ? j->r + i * n : NULL, *dy = j->dy + i * n;
        float *da = j->da ? j->da + i * n : NULL, *dr = j->dr ? j->dr + i * n : NULL;
        for (size_t c = 0; c < n; c++) {
            sums[c] += (double)(dy[c] * a[c]) * (double)j->q->factor[c];
            sums[n + c] += (double)dy[c];
        }
        for (size_t c = 0; da && c < n; c++)
            da[c] = dy[c] * j->q->factor[c] + (j->adds_a ? da[c] : 0);
        for (size_t c = 0; r && c < n; c++)
            by_residual += (double)(dy[c] * r[c]);
        for (size_t c = 0; dr && c < n; c++)
            dr[c] = dy[c] * j->by + (j->adds_r ? dr[c] : 0);
    }
    sums[2 * n] += by_residual * (double)j->by;
}

static uf_status backward_rescale(ufi_net *net, ufi_step *s, uf_error *err)
{
    const rescale_state *q = s->state;
    const ufi_blob *a = ufi_blob_in(net, s, A), *r = ufi_blob_in(net, s, R);
    const size_t n = q->channels, each = 2 * n + 1;
    const rescale_job j = {.q = q,
                           .by = read_factors(net, s),
                           .a = a->data,
                           .r = r ? r->data : NULL,
                           .dy = ufi_blob_out(net, s, 0)->grad,
                           .da = a->grad,
                           .dr = r ? r->grad : NULL,
                           .adds_a = s->adds[A],
                           .adds_r = s->adds[R]};
    double all = 0;
    (void)err;
    memset(q->sums, 0, net->options.threads * each * sizeof *q->sums);
    ufi_net_parallel(net, rescale_back, (void *)(uintptr_t)&j, q->rows);
    for (unsigned part = 1; part < net->options.threads; part++)
        for (size_t i = 0; i < each; i++)
            q->sums[i] += q->sums[part * each + i];
    for (size_t c = 0; c < n; c++) {
        all += q->sums[c];
        if (ufi_step_variable(net, s, W_LOG))
            add_grad(net, s, W_LOG, c, q->sums[c]);
        if (ufi_step_variable(net, s, BIAS))
            add_grad(net, s, BIAS, c, q->sums[n + c]);
    }
    add_grad(net, s, A_LOG, 0, all);
    if (r)
        add_grad(net, s, R_LOG, 0, q->sums[2 * n]);
    return UF_OK;
}

static const ufi_step_kind rescale_kind = {"rescale",       create_rescale,   NULL,
                                           forward_rescale, backward_rescale, NULL};

/* ---- quantise: activations ---- */

typedef struct quantise_job {
    float scale, zero;
    const float *x, *dy;
    float *y, *dx;
    bool adds;
    double *sums; /* [threads] */
} quantise_job;

static uf_status create_quantise(ufi_net *net, ufi_step *s, uf_error *err)
{
    s->keeps[X] = true;
    s->state = ufi_net_alloc(net, net->options.threads, sizeof(double), err);
    return s->state ? UF_OK : UF_E_NOMEM;
}

static void quantise_part(void *arg, size_t from, size_t to, unsigned part)
{
    const quantise_job *j = arg;
    const float low = -j->zero, high = 255 - j->zero;
    (void)part;
    for (size_t i = from; i < to; i++) {
        const float q = rintf(j->x[i] / j->scale);
        j->y[i] = q < low ? low : q > high ? high : q;
    }
}

static void quantise_back(void *arg, size_t from, size_t to, unsigned part)
{
    const quantise_job *j = arg;
    const float low = -j->zero, high = 255 - j->zero, inverse = 1 / j->scale;
    double sum = 0;
    for (size_t i = from; i < to; i++) {
        const float at = j->x[i] / j->scale, q = rintf(at);
        const float g = q < low || q > high ? 0 : j->dy[i];
        sum -= (double)(g * at);
        if (j->dx)
            j->dx[i] = g * inverse + (j->adds ? j->dx[i] : 0);
    }
    j->sums[part] = sum;
}

static quantise_job read_quantise(const ufi_net *net, const ufi_step *s)
{
    const ufi_byte_range *range = s->plan;
    const ufi_blob *x = ufi_blob_in(net, s, X), *y = ufi_blob_out(net, s, 0);
    return (quantise_job){.scale = scale_now(range->scale, variable_at(net, s, X_LOG, 0)),
                          .zero = range->zero,
                          .x = x->data,
                          .dy = y->grad,
                          .y = y->data,
                          .dx = x->grad,
                          .adds = s->adds[X],
                          .sums = s->state};
}

static uf_status forward_quantise(ufi_net *net, ufi_step *s, uf_error *err)
{
    quantise_job j = read_quantise(net, s);
    (void)err;
    ufi_net_parallel(net, quantise_part, &j, ufi_blob_in(net, s, X)->count);
    return UF_OK;
}

static uf_status backward_quantise(ufi_net *net, ufi_step *s, uf_error *err)
{
    quantise_job j = read_quantise(net, s);
    double sum = 0;
    (void)err;
    memset(j.sums, 0, net->options.threads * sizeof *j.sums);
    ufi_net_parallel(net, quantise_back, &j, ufi_blob_in(net, s, X)->count);
    for (unsigned part = 0; part < net->options.threads; part++)
        sum += j.sums[part];
    add_grad(net, s, X_LOG, 0, sum);
    return UF_OK;
}

static const ufi_step_kind quantise_kind = {"quantise",       create_quantise,   NULL,
                                            forward_quantise, backward_quantise, NULL};

/* ---- quantise: weights ---- */

static uf_status create_weights(ufi_net *net, ufi_step *s, uf_error *err)
{
    (void)net;
    (void)s;
    (void)err;
    return UF_OK;
}

/* Weight `i` in steps of the scale of now. */
static float in_steps(const ufi_quant_layer *q, float share, float scale, size_t filter)
{
    return share * MOST_WEIGHT * (q->scales[filter] / scale);
}

static float to_byte(float steps)
{
    const float w = rintf(steps);
    return w < -MOST_WEIGHT ? -MOST_WEIGHT : w > MOST_WEIGHT ? MOST_WEIGHT : w;
}

static uf_status forward_weights(ufi_net *net, ufi_step *s, uf_error *err)
{
    const ufi_quant_layer *q = s->plan;
    const float *w = ufi_step_variable(net, s, X)->data;
    float *y = ufi_blob_out(net, s, 0)->data;
    (void)err;
    for (size_t f = 0; f < q->filters; f++) {
        const float scale = layer_scale(q, f, variable_at(net, s, X_LOG, f));
        for (size_t i = f * q->per_filter; i < (f + 1) * q->per_filter; i++)
            y[i] = to_byte(in_steps(q, w[i], scale, f));
    }
    return UF_OK;
}

static uf_status backward_weights(ufi_net *net, ufi_step *s, uf_error *err)
{
    const ufi_quant_layer *q = s->plan;
    const ufi_variable *w = ufi_step_variable(net, s, X);
    const float *dy = ufi_blob_out(net, s, 0)->grad;
    (void)err;
    for (size_t f = 0; f < q->filters; f++) {
        const float scale = layer_scale(q, f, variable_at(net, s, X_LOG, f));
        double sum = 0;
        for (size_t i = f * q->per_filter; i < (f + 1) * q->per_filter; i++) {
            const float steps = in_steps(q, w->data[i], scale, f);
            const float g = fabsf(rintf(steps)) > MOST_WEIGHT ? 0 : dy[i];
            w->grad[i] = g * in_steps(q, 1, scale, f);
            sum -= (double)(g * steps);
        }
        add_grad(net, s, X_LOG, f, sum);
    }
    return UF_OK;
}

static const ufi_step_kind weights_kind = {"quantise weights", create_weights,   NULL,
                                           forward_weights,    backward_weights, NULL};

/* ---- lowering ---- */

static const float *floats_at(const ufi_net *net, const ufi_node *n, uint32_t i, size_t *count)
{
    const ufi_value *v = ufi_node_has(n, i) ? &net->graph.values[n->in[i]] : NULL;
    *count = v && v->data && v->dtype == UF_F32 ? (size_t)ufi_shape_count(&v->shape) : 0;
    return *count ? v->data : NULL;
}

/* Scale and zero point at inputs `scale` and `zero` of `n`. */
static uf_status read_range(const ufi_net *net, const ufi_node *n, uint32_t scale, uint32_t zero,
                            ufi_byte_range *out, uf_error *err)
{
    size_t count;
    const float *s = floats_at(net, n, scale, &count);
    const ufi_value *z = ufi_node_has(n, zero) ? &net->graph.values[n->in[zero]] : NULL;
    if (count != 1 || !(*s > 0) || !isfinite(*s) ||
        (z && (!z->data || z->dtype != UF_U8 || ufi_shape_count(&z->shape) != 1)))
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED,
                             "only bytes of one constant scale and zero point can be trained");
    *out = (ufi_byte_range){true, *s, z ? (float)*(const uint8_t *)z->data : 0, UFI_NONE};
    return UF_OK;
}

/* The range of what `n` writes becomes one that is learned. */
static uf_status make_range(ufi_net *net, const ufi_node *n, uint32_t scale, uint32_t zero,
                            uf_error *err)
{
    ufi_byte_range *r = &net->ranges[n->out[0]];
    const ufi_shape one = {1, {1}};
    uf_status st = read_range(net, n, scale, zero, r, err);
    return st ? st : ufi_net_add_learned(net, n->name, &one, false, &r->blob, err);
}

/* The range of input `x` of `n`, which must say the same of it as whoever wrote it. */
static uf_status find_range(const ufi_net *net, const ufi_node *n, uint32_t x, uint32_t scale,
                            uint32_t zero, ufi_byte_range *out, uf_error *err)
{
    ufi_byte_range said;
    *out = net->ranges[n->in[x]];
    if (!out->known)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "its bytes come from no step of training");
    uf_status st = read_range(net, n, scale, zero, &said, err);
    if (!st && (memcmp(&said.scale, &out->scale, sizeof said.scale) != 0 ||
                (int)said.zero != (int)out->zero))
        st = ufi_step_fail(n, err, UF_E_UNSUPPORTED,
                           "it reads bytes by another scale than they were written by");
    return st;
}

static uf_status add_quantise(ufi_net *net, const ufi_node *n, uint32_t from, uf_error *err)
{
    const ufi_byte_range *r = &net->ranges[n->out[0]];
    const uint32_t in[QUANTISE_INPUTS] = {from, r->blob};
    ufi_step *s;
    uf_status st =
        ufi_net_add_step(net, &quantise_kind, n, in, QUANTISE_INPUTS, n->out, 1, &s, err);
    if (!st)
        s->plan = r;
    return st;
}

static uf_status add_rescale(ufi_net *net, const ufi_node *n, const rescale_plan *plan,
                             const uint32_t in[RESCALE_INPUTS], uint32_t out, uf_error *err)
{
    ufi_step *s;
    rescale_plan *p = ufi_net_alloc(net, 1, sizeof *p, err);
    if (!p)
        return UF_E_NOMEM;
    *p = *plan;
    uf_status st = ufi_net_add_step(net, &rescale_kind, n, in, RESCALE_INPUTS, &out, 1, &s, err);
    if (!st)
        s->plan = p;
    return st;
}

static uf_status check_precision(const ufi_net *net, const ufi_node *n, uf_error *err)
{
    return net->options.bf16
               ? ufi_step_fail(n, err, UF_E_UNSUPPORTED, "INT8 networks are trained in FP32")
               : UF_OK;
}

uf_status ufi_net_open_bytes(ufi_net *net, uf_error *err)
{
    net->ranges = ufi_net_alloc(net, net->graph.value_count, sizeof *net->ranges, err);
    net->layers = ufi_net_alloc(net, net->graph.node_count, sizeof *net->layers, err);
    return net->ranges && net->layers ? UF_OK : UF_E_NOMEM;
}

void ufi_net_same_range(ufi_net *net, uint32_t from, uint32_t to)
{
    if (!net->ranges[to].known)
        net->ranges[to] = net->ranges[from];
}

uf_status ufi_lower_quantize(ufi_net *net, const ufi_node *n, uf_error *err)
{
    uf_status st = check_precision(net, n, err);
    if (!st)
        st = make_range(net, n, 1, 2, err);
    return st ? st : add_quantise(net, n, n->in[0], err);
}

uf_status ufi_lower_dequantize(ufi_net *net, const ufi_node *n, uf_error *err)
{
    ufi_byte_range x;
    uf_status st = find_range(net, n, 0, 1, 2, &x, err);
    const uint32_t in[RESCALE_INPUTS] = {n->in[0], x.blob, UFI_NONE, UFI_NONE, UFI_NONE, UFI_NONE};
    const rescale_plan p = {NULL, x.scale, 0};
    return st ? st : add_rescale(net, n, &p, in, n->out[0], err);
}

uf_status ufi_lower_qlinear_add(ufi_net *net, const ufi_node *n, uf_error *err)
{
    ufi_byte_range a, b;
    uint32_t sum;
    if (!ufi_shape_equal(&net->blobs[n->in[0]].shape, &net->blobs[n->in[3]].shape))
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "it adds tensors of different shapes");
    uf_status st = find_range(net, n, 0, 1, 2, &a, err);
    if (!st)
        st = find_range(net, n, 3, 4, 5, &b, err);
    if (!st)
        st = make_range(net, n, 6, 7, err);
    if (!st)
        st = ufi_net_add_like(net, n->out[0], &sum, err);
    if (st)
        return st;
    const uint32_t in[RESCALE_INPUTS] = {n->in[0], a.blob, UFI_NONE, UFI_NONE, n->in[3], b.blob};
    const rescale_plan p = {NULL, a.scale, b.scale};
    st = add_rescale(net, n, &p, in, sum, err);
    return st ? st : add_quantise(net, n, sum, err);
}

/* ---- QConv ---- */

/* Begins with exactly the bytes of the graph. */
static uf_status make_layer(ufi_net *net, const ufi_node *n, ufi_quant_layer **out, uf_error *err)
{
    const ufi_value *w = &net->graph.values[n->in[1]];
    size_t scales, biases;
    const float *scale = floats_at(net, n, 4, &scales), *bias = floats_at(net, n, 5, &biases);
    const size_t count = (size_t)ufi_shape_count(&w->shape), filters = (size_t)w->shape.dims[0];
    const ufi_shape shape = w->shape, row = {1, {(int64_t)filters}};
    if (!w->data || !scale || (ufi_node_has(n, 5) && !bias))
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "its weights, scales or bias are computed");
    ufi_quant_layer *q = ufi_net_alloc(net, 1, sizeof *q, err);
    float *first = q ? ufi_net_alloc(net, filters, sizeof *first, err) : NULL;
    if (!first)
        return UF_E_NOMEM;
    *q = (ufi_quant_layer){UFI_NONE, UFI_NONE, bias ? n->in[5] : UFI_NONE,
                           first,    filters,  count / filters,
                           true,     true};
    for (size_t f = 0; f < filters; f++) {
        first[f] = scale[scales == 1 ? 0 : f];
        const float kept = ufi_bf16_to_f32(ufi_f32_to_bf16(first[f]));
        q->short_scales &= memcmp(&kept, &first[f], sizeof kept) == 0;
    }
    for (size_t f = 0; f < biases; f++)
        q->short_bias &= fabsf(ufi_f16_to_f32(ufi_f32_to_f16(bias[f])) - bias[f]) <= 0;
    uf_status st = ufi_net_add_learned(net, w->name, &shape, true, &q->weights, err);
    if (!st)
        st = ufi_net_add_learned(net, n->name, &row, false, &q->logs, err);
    if (st)
        return st;
    float *share = net->variables[net->blobs[q->weights].variable].data;
    for (size_t i = 0; i < count; i++)
        share[i] = (float)((const int8_t *)w->data)[i] / MOST_WEIGHT;
    *out = net->layers[n - net->graph.nodes] = q;
    return UF_OK;
}

/* Bytes of the weights, sums of products, and what they are in real units, in *sum. */
static uf_status add_products(ufi_net *net, const ufi_node *n, const ufi_byte_range *x,
                              const ufi_byte_range *r, uint32_t sum, uf_error *err)
{
    uint32_t bytes, product;
    ufi_step *s;
    ufi_quant_layer *q = NULL;
    uf_status st = make_layer(net, n, &q, err);
    if (!st)
        st = ufi_net_learn(net, n, 5, false, err);
    if (!st)
        st = ufi_net_add_like(net, q->weights, &bytes, err);
    if (!st)
        st = ufi_net_add_like(net, n->out[0], &product, err);
    if (st)
        return st;
    const uint32_t of_weights[QUANTISE_INPUTS] = {q->weights, q->logs};
    st = ufi_net_add_step(net, &weights_kind, n, of_weights, QUANTISE_INPUTS, &bytes, 1, &s, err);
    if (st)
        return st;
    s->plan = q;
    st = ufi_net_add_conv(net, n, n->in[0], bytes, product, err);
    const uint32_t in[RESCALE_INPUTS] = {product,
                                         x->blob,
                                         q->logs,
                                         q->bias,
                                         r->known ? n->in[7] : UFI_NONE,
                                         r->known ? r->blob : UFI_NONE};
    const rescale_plan p = {q, x->scale, r->scale};
    return st ? st : add_rescale(net, n, &p, in, sum, err);
}

uf_status ufi_lower_qconv(ufi_net *net, const ufi_node *n, uf_error *err)
{
    ufi_byte_range x, r = {.known = false};
    ufi_curve curve;
    const bool bytes = ufi_node_has(n, 10);
    uint32_t real = n->out[0], sum;
    uf_status st = check_precision(net, n, err);
    if (!st)
        st = find_range(net, n, 0, 2, 3, &x, err);
    if (!st && ufi_node_has(n, 7))
        st = find_range(net, n, 7, 8, 9, &r, err);
    if (!st && bytes)
        st = make_range(net, n, 10, 11, err);
    if (!st)
        st = ufi_net_fused(n, &curve, err);
    if (!st)
        st = ufi_net_learn(net, n, 6, false, err);
    if (!st && bytes)
        st = ufi_net_add_like(net, n->out[0], &real, err);
    sum = real;
    if (!st && curve.kind != UFI_CURVE_NONE)
        st = ufi_net_add_like(net, n->out[0], &sum, err);
    if (!st)
        st = add_products(net, n, &x, &r, sum, err);
    const uint32_t slope = curve.kind == UFI_CURVE_PRELU ? n->in[6] : UFI_NONE;
    if (!st && curve.kind != UFI_CURVE_NONE)
        st = ufi_lower_curve(net, n, curve, slope, sum, real, err);
    return st || !bytes ? st : add_quantise(net, n, real, err);
}

/* ---- what was learned, as bytes ---- */

typedef struct storing {
    const ufi_net *net;
    const float *const *data;
    ufi_graph *out;
    uint32_t *scales; /* per variable: the constant of the scale it stands for, or UFI_NONE */
    uf_error *err;
} storing;

static const float *numbers(const storing *s, uint32_t blob)
{
    const uint32_t v = s->net->blobs[blob].variable;
    return s->data && s->data[v] ? s->data[v] : s->net->variables[v].data;
}

/* Input `i` of node `n` becomes the scale of `value`. */
static uf_status store_range(const storing *s, ufi_node *n, uint32_t i, uint32_t value)
{
    const ufi_byte_range *r = &s->net->ranges[value];
    const ufi_shape scalar = {0, {0}};
    float *scale;
    if (!r->known)
        return UF_OK;
    uint32_t *id = &s->scales[s->net->blobs[r->blob].variable];
    if (*id == UFI_NONE) {
        uf_status st = ufi_graph_add_floats(s->out, "scale", &scalar, &scale, id, s->err);
        if (st)
            return st;
        *scale = scale_now(r->scale, *numbers(s, r->blob));
    }
    n->in[i] = *id;
    return UF_OK;
}

static uf_status store_layer(const storing *s, ufi_node *n, const ufi_quant_layer *q)
{
    const ufi_value *was = &s->out->values[n->in[1]];
    const char *name = was->name;
    const ufi_shape shape = was->shape, row = {1, {(int64_t)q->filters}};
    const float *w = numbers(s, q->weights), *logs = numbers(s, q->logs);
    int8_t *bytes = ufi_arena_alloc(&s->out->arena, q->filters * q->per_filter, 1);
    float *scales, *bias;
    if (!bytes)
        return ufi_fail(s->err, UF_E_NOMEM, "no memory for trained weights");
    uf_status st = ufi_graph_add_floats(s->out, name, &row, &scales, &n->in[4], s->err);
    for (size_t f = 0; !st && f < q->filters; f++) {
        scales[f] = layer_scale(q, f, logs[f]);
        for (size_t i = f * q->per_filter; i < (f + 1) * q->per_filter; i++)
            bytes[i] = (int8_t)to_byte(in_steps(q, w[i], scales[f], f));
    }
    const ufi_tensor t = {UF_I8, UFI_PLAIN, shape, bytes};
    if (!st)
        st = ufi_graph_add_constant(s->out, name, &t, false, &n->in[1], s->err);
    if (!st && q->bias != UFI_NONE)
        st = ufi_graph_own_input(s->out, n, 5, &bias, s->err);
    for (size_t f = 0; !st && q->bias != UFI_NONE && f < q->filters; f++)
        bias[f] = layer_bias(q, bias[f]);
    return st;
}

static uf_status store_node(const storing *s, uint32_t i)
{
    static const struct {
        ufi_op op;
        uint32_t scale;
        int tensor; /* input, or -1: output 0 */
    } slots[] = {{UFI_OP_QUANTIZE_LINEAR, 1, -1},
                 {UFI_OP_DEQUANTIZE_LINEAR, 1, 0},
                 {UFI_OP_QLINEAR_ADD, 1, 0},
                 {UFI_OP_QLINEAR_ADD, 4, 3},
                 {UFI_OP_QLINEAR_ADD, 6, -1},
                 {UFI_OP_QCONV, 2, 0},
                 {UFI_OP_QCONV, 8, 7},
                 {UFI_OP_QCONV, 10, -1}};
    ufi_node *n = &s->out->nodes[i];
    uf_status st = UF_OK;
    for (size_t k = 0; !st && k < sizeof slots / sizeof *slots; k++)
        if (slots[k].op == n->op && ufi_node_has(n, slots[k].scale))
            st = store_range(s, n, slots[k].scale,
                             slots[k].tensor < 0 ? n->out[0] : n->in[slots[k].tensor]);
    return st || !s->net->layers[i] ? st : store_layer(s, n, s->net->layers[i]);
}

uf_status ufi_net_store_bytes(const ufi_net *net, const float *const *data, ufi_graph *out,
                              uf_error *err)
{
    storing s = {net, data, out, ufi_malloc(net->variable_count + 1, sizeof *s.scales), err};
    uf_status st = s.scales ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for trained weights");
    for (uint32_t i = 0; !st && i < net->variable_count; i++)
        s.scales[i] = UFI_NONE;
    for (uint32_t i = 0; !st && i < net->given->node_count; i++)
        st = store_node(&s, i);
    ufi_free(s.scales);
    return st;
}
