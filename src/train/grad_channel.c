/*
 * What goes value by value with numbers per channel: activations, AFFINE, PRELU, and batch
 * normalisation (Ioffe & Szegedy 2015). A scale takes the activation behind it along. One step:
 * y = curve(x * scale[c] + shift[c]), where batch normalisation computes scale and shift of the
 * batch's mean and variance first.
 */
#include <math.h>

#include "train/net_impl.h"

typedef struct channel_plan {
    bool scaled, norm;
    uint32_t mean, variance; /* running, as variables */
    double epsilon;
} channel_plan;

enum { X, SCALE, SHIFT, SLOPE, INPUTS };

typedef struct channel_state {
    size_t channels, rows;
    float *scale, *shift, *slope, *gain, *pull, *offset, *pivot;
    double *mean, *inverse; /* of the batch: 1 / sqrt(variance + epsilon) */
    float *blocks;          /* 3 * channels for each thread */
    double *sums;
} channel_state;

/* The sign of what RELU, CLAMP and the like give out tells where their input was. */
static bool curve_by_output(const ufi_curve *c)
{
    return c->kind == UFI_CURVE_NONE || c->kind == UFI_CURVE_RELU || c->kind == UFI_CURVE_CLAMP ||
           c->kind == UFI_CURVE_LINEAR || (c->kind == UFI_CURVE_LEAKY && c->alpha > 0);
}

static uf_status create(ufi_net *net, ufi_step *s, uf_error *err)
{
    const channel_plan *p = s->plan;
    const ufi_blob *x = ufi_blob_in(net, s, X);
    channel_state *q = ufi_net_alloc(net, 1, sizeof *q, err);
    const size_t c = ufi_blob_channels(x), threads = net->options.threads;
    float *floats = q ? ufi_net_alloc(net, c * (7 + 3 * threads), sizeof *floats, err) : NULL;
    double *doubles =
        floats ? ufi_net_alloc(net, c * (2 + 3 * threads), sizeof *doubles, err) : NULL;
    if (!doubles)
        return UF_E_NOMEM;
    *q = (channel_state){c,
                         x->count / c,
                         floats,
                         floats + c,
                         floats + 2 * c,
                         floats + 3 * c,
                         floats + 4 * c,
                         floats + 5 * c,
                         floats + 6 * c,
                         doubles,
                         doubles + c,
                         floats + 7 * c,
                         doubles + 2 * c};
    s->state = q;
    if (p->scaled || !curve_by_output(&s->curve)) {
        s->keeps[X] = true;
    } else {
        s->keeps_out = true;
        s->overwrites = true;
    }
    return UF_OK;
}

/* ---- running the loops in parts ---- */

typedef void row_fn(const ufi_row_job *j, size_t from, size_t to);

typedef struct part_job {
    ufi_row_job job;
    row_fn *fn;
    channel_state *q;
} part_job;

static void run_part(void *arg, size_t from, size_t to, unsigned part)
{
    const part_job *p = arg;
    ufi_row_job job = p->job;
    job.block = p->q->blocks + 3 * p->q->channels * part;
    job.sums = p->q->sums + 3 * p->q->channels * part;
    p->fn(&job, from, to);
}

static void run_rows(const ufi_net *net, channel_state *q, const ufi_row_job *job, row_fn *fn)
{
    part_job p = {*job, fn, q};
    ufi_net_parallel(net, run_part, &p, q->rows);
}

/* Sums of all parts, in the order of the parts, end up in the first. */
static void run_sums(const ufi_net *net, channel_state *q, const ufi_row_job *job, row_fn *fn)
{
    const size_t n = 3 * q->channels;
    memset(q->sums, 0, n * net->options.threads * sizeof *q->sums);
    run_rows(net, q, job, fn);
    for (unsigned part = 1; part < net->options.threads; part++)
        for (size_t i = 0; i < n; i++)
            q->sums[i] += q->sums[part * n + i];
}

static ufi_row_job row_job(const ufi_net *net, const ufi_step *s, const channel_plan *p)
{
    const channel_state *q = s->state;
    const ufi_blob *x = ufi_blob_in(net, s, X);
    return (ufi_row_job){.bf16 = ufi_blob_bf16(net, x),
                         .channels = q->channels,
                         .curve = s->curve,
                         .x = x->data,
                         .scale = p->scaled ? q->scale : NULL,
                         .shift = q->shift,
                         .slope = q->slope,
                         .gain = q->gain,
                         .pull = q->pull,
                         .offset = q->offset,
                         .pivot = q->pivot};
}

/* ---- forward ---- */

static void batch_moments(ufi_net *net, ufi_step *s, const channel_plan *p, ufi_row_job *job)
{
    channel_state *q = s->state;
    const double n = (double)q->rows, momentum = (double)net->options.momentum;
    /* Sums of the distance to one of the pixels: squares of a large mean would drown the rest. */
    if (job->bf16)
        net->rows->to_f32(q->pivot, job->x, q->channels);
    else
        memcpy(q->pivot, job->x, q->channels * sizeof *q->pivot);
    run_sums(net, q, job, net->rows->moments);
    float *mean = net->variables[p->mean].data, *variance = net->variables[p->variance].data;
    for (size_t c = 0; c < q->channels; c++) {
        double shift = q->sums[c] / n, square = q->sums[q->channels + c] / n - shift * shift;
        square = square > 0 ? square : 0;
        q->mean[c] = (double)q->pivot[c] + shift;
        q->inverse[c] = 1 / sqrt(square + p->epsilon);
        double unbiased = q->rows > 1 ? square * n / (n - 1) : square;
        mean[c] += (float)(momentum * (q->mean[c] - (double)mean[c]));
        variance[c] += (float)(momentum * (unbiased - (double)variance[c]));
    }
}

static void set_scales(ufi_net *net, ufi_step *s, const channel_plan *p)
{
    channel_state *q = s->state;
    const float *scale = ufi_blob_in(net, s, SCALE)->constant;
    const float *shift = ufi_blob_in(net, s, SHIFT)->constant;
    for (size_t c = 0; c < q->channels; c++) {
        double by = p->norm ? (double)scale[c] * q->inverse[c] : (double)scale[c];
        double from = p->norm ? q->mean[c] * by : 0;
        q->scale[c] = (float)by;
        q->shift[c] = (float)((double)shift[c] - from);
    }
}

static void set_slopes(const ufi_net *net, ufi_step *s)
{
    channel_state *q = s->state;
    const ufi_blob *b = ufi_blob_in(net, s, SLOPE);
    for (size_t c = 0; b && c < q->channels; c++)
        q->slope[c] = b->constant[b->count == 1 ? 0 : c];
}

static uf_status forward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const channel_plan *p = s->plan;
    ufi_row_job job = row_job(net, s, p);
    job.y = ufi_blob_out(net, s, 0)->data;
    (void)err;
    if (p->norm)
        batch_moments(net, s, p, &job);
    if (p->scaled)
        set_scales(net, s, p);
    set_slopes(net, s);
    run_rows(net, s->state, &job, net->rows->forward);
    return UF_OK;
}

/* ---- back ---- */

/* Sums per channel times `by` (NULL: 1) go to the gradient of input `i`. */
static void give(const ufi_net *net, const ufi_step *s, uint32_t i, const double *sums,
                 const double *by)
{
    const channel_state *q = s->state;
    ufi_variable *v = ufi_step_variable(net, s, i);
    if (!v)
        return;
    double all = 0;
    for (size_t c = 0; c < q->channels; c++) {
        double one = by ? sums[c] * by[c] : sums[c];
        all += one;
        if (v->count > 1 || q->channels == 1)
            v->grad[c] = (float)one + (ufi_variable_shared(net, v) ? v->grad[c] : 0);
    }
    if (v->count == 1 && q->channels > 1)
        v->grad[0] = (float)all + (ufi_variable_shared(net, v) ? v->grad[0] : 0);
}

/* dx = gain * dz + pull * x + offset; see the derivative of batch normalisation in the paper. */
static void set_gains(channel_state *q, const channel_plan *p)
{
    const double n = (double)q->rows;
    for (size_t c = 0; c < q->channels; c++) {
        double gain = (double)q->scale[c], pull = 0, offset = 0;
        if (p->norm) {
            pull = -gain * q->inverse[c] * q->inverse[c] * q->sums[q->channels + c] / n;
            offset = -gain * q->sums[c] / n - pull * q->mean[c];
        }
        q->gain[c] = (float)gain;
        q->pull[c] = (float)pull;
        q->offset[c] = (float)offset;
    }
}

static uf_status backward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const channel_plan *p = s->plan;
    channel_state *q = s->state;
    const ufi_blob *x = ufi_blob_in(net, s, X), *y = ufi_blob_out(net, s, 0);
    ufi_row_job job = row_job(net, s, p);
    (void)err;
    if (s->keeps_out)
        job.x = y->data;
    job.dy = y->grad;
    job.y = x->grad;
    job.add = s->adds[X];
    if (p->scaled || s->curve.kind == UFI_CURVE_PRELU) {
        for (size_t c = 0; c < q->channels; c++)
            q->pivot[c] = p->norm ? (float)q->mean[c] : 0;
        run_sums(net, q, &job, net->rows->back_sums);
        give(net, s, SCALE, q->sums + q->channels, p->norm ? q->inverse : NULL);
        give(net, s, SHIFT, q->sums, NULL);
        give(net, s, SLOPE, q->sums + 2 * q->channels, NULL);
    }
    if (x->grad && p->scaled)
        set_gains(q, p);
    if (x->grad)
        run_rows(net, q, &job, net->rows->back);
    return UF_OK;
}

static const ufi_step_kind channel_kind = {"scale", create, NULL, forward, backward, NULL};
static const ufi_step_kind norm_kind = {"norm", create, NULL, forward, backward, NULL};
static const ufi_step_kind curve_kind = {"curve", create, NULL, forward, backward, NULL};

/* ---- lowering ---- */

static bool read_bound(const ufi_net *net, const ufi_node *n, uint32_t i, float *out)
{
    if (!ufi_node_has(n, i))
        return true;
    const float *f = net->blobs[n->in[i]].constant;
    if (f)
        *out = *f;
    return f;
}

/* Whether `slopes`, a constant, holds one number or one for each channel (axis 1) of x. */
static bool slopes_per_channel(const ufi_blob *x, const ufi_blob *slopes)
{
    const ufi_shape *a = &x->shape, *b = &slopes->shape;
    if (!slopes->constant)
        return false;
    if (slopes->count == 1)
        return true;
    if ((a->rank != 4 && a->rank != 2) || b->rank > a->rank || b->rank + 1 < a->rank)
        return false;
    const uint32_t axis = 1 - (a->rank - b->rank);
    return slopes->count == (size_t)a->dims[1] && b->dims[axis] == a->dims[1];
}

/* The activation that the node is, if it is one; its slopes' input in *slope. */
static bool node_curve(const ufi_net *net, const ufi_node *n, ufi_curve *c, uint32_t *slope)
{
    *c = (ufi_curve){UFI_CURVE_NONE, -INFINITY, INFINITY, 0, 0};
    *slope = UFI_NONE;
    switch (n->op) {
    case UFI_OP_RELU:
        c->kind = UFI_CURVE_RELU;
        return true;
    case UFI_OP_CLIP:
        c->kind = UFI_CURVE_CLAMP;
        return read_bound(net, n, 1, &c->lo) && read_bound(net, n, 2, &c->hi);
    case UFI_OP_PRELU:
        c->kind = UFI_CURVE_PRELU;
        *slope = n->in[1];
        return slopes_per_channel(&net->blobs[n->in[0]], &net->blobs[n->in[1]]);
    case UFI_OP_LEAKY_RELU:
        c->kind = UFI_CURVE_LEAKY;
        c->alpha = ufi_node_float(n, UFI_ATTR_ALPHA, 0.01f);
        return true;
    case UFI_OP_SIGMOID:
        c->kind = UFI_CURVE_SIGMOID;
        return true;
    case UFI_OP_HARD_SIGMOID:
        c->kind = UFI_CURVE_HARD_SIGMOID;
        c->alpha = ufi_node_float(n, UFI_ATTR_ALPHA, 0.2f);
        c->beta = ufi_node_float(n, UFI_ATTR_BETA, 0.5f);
        return true;
    case UFI_OP_HARD_SWISH:
        c->kind = UFI_CURVE_HARD_SWISH;
        return true;
    case UFI_OP_SILU:
        c->kind = UFI_CURVE_SILU;
        c->alpha = ufi_node_float(n, UFI_ATTR_ALPHA, 1);
        return true;
    case UFI_OP_TANH:
        c->kind = UFI_CURVE_TANH;
        return true;
    default:
        return false;
    }
}

static uf_status add_channel_step(ufi_net *net, const ufi_step_kind *kind, const ufi_node *n,
                                  const channel_plan *plan, ufi_curve curve,
                                  const uint32_t in[INPUTS], uint32_t out, uf_error *err)
{
    ufi_step *s;
    channel_plan *p = ufi_net_alloc(net, 1, sizeof *p, err);
    if (!p)
        return UF_E_NOMEM;
    uf_status st = ufi_net_add_step(net, kind, n, in, INPUTS, &out, 1, &s, err);
    if (st)
        return st;
    *p = *plan;
    s->plan = p;
    s->curve = curve;
    return UF_OK;
}

uf_status ufi_lower_curve(ufi_net *net, const ufi_node *n, ufi_curve curve, uint32_t slope,
                          uint32_t in, uint32_t out, uf_error *err)
{
    const uint32_t ids[INPUTS] = {in, UFI_NONE, UFI_NONE, slope};
    const channel_plan p = {.scaled = false};
    return add_channel_step(net, &curve_kind, n, &p, curve, ids, out, err);
}

uf_status ufi_lower_unary(ufi_net *net, const ufi_node *n, uf_error *err)
{
    ufi_curve curve;
    uint32_t slope;
    if (n->op == UFI_OP_PRELU) {
        uf_status st = ufi_net_learn(net, n, 1, false, err);
        if (st)
            return st;
    }
    if (!node_curve(net, n, &curve, &slope))
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED,
                             "its bounds or slopes are not constants, one or one per channel");
    return ufi_lower_curve(net, n, curve, slope, n->in[0], n->out[0], err);
}

/* The activation node behind value `v` when nobody else reads it. */
static const ufi_node *activation_behind(ufi_net *net, uint32_t v, ufi_curve *curve,
                                         uint32_t *slope)
{
    for (uint32_t i = 0; i < net->graph.output_count; i++)
        if (net->graph.outputs[i] == v)
            return NULL;
    if (net->uses[v] != 1)
        return NULL;
    const uint32_t index = net->reader[v];
    const ufi_node *n = &net->graph.nodes[index];
    if (n->in[0] != v || !node_curve(net, n, curve, slope))
        return NULL;
    net->skip[index] = true;
    return n;
}

uf_status ufi_lower_affine(ufi_net *net, const ufi_node *n, uf_error *err)
{
    uint32_t in[INPUTS] = {n->in[0], n->in[1], n->in[2], UFI_NONE}, out = n->out[0];
    const ufi_shape *x = &net->blobs[in[X]].shape;
    const size_t channels = (size_t)x->dims[1];
    channel_plan p = {.scaled = true, .norm = ufi_node_attr(n, UFI_ATTR_EPSILON) != NULL};
    ufi_curve curve = {.kind = UFI_CURVE_NONE};
    if (x->rank != 4 && x->rank != 2)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "an input of rank %u; 2 and 4 are known",
                             x->rank);
    uf_status st = ufi_net_learn(net, n, 1, false, err);
    if (!st)
        st = ufi_net_learn(net, n, 2, false, err);
    if (!st && p.norm) {
        p.epsilon = (double)ufi_node_float(n, UFI_ATTR_EPSILON, 1e-5f);
        st = ufi_net_keep(net, n, "mean", channels, 0, &p.mean, err);
        if (!st)
            st = ufi_net_keep(net, n, "variance", channels, 1, &p.variance, err);
        net->norms[n - net->graph.nodes] = p.mean;
    }
    const ufi_node *act = st ? NULL : activation_behind(net, out, &curve, &in[SLOPE]);
    if (act) {
        out = act->out[0];
        if (act->op == UFI_OP_PRELU)
            st = ufi_net_learn(net, act, 1, false, err);
    }
    return st ? st
              : add_channel_step(net, p.norm ? &norm_kind : &channel_kind, n, &p, curve, in, out,
                                 err);
}

/* ---- what CONV and GEMM fuse ---- */

static const ufi_curve_kind fused_kinds[] = {
    [UFI_ACT_NONE] = UFI_CURVE_NONE,   [UFI_ACT_RELU] = UFI_CURVE_RELU,
    [UFI_ACT_CLAMP] = UFI_CURVE_CLAMP, [UFI_ACT_PRELU] = UFI_CURVE_PRELU,
    [UFI_ACT_LEAKY] = UFI_CURVE_LEAKY, [UFI_ACT_HARD_SWISH] = UFI_CURVE_HARD_SWISH,
    [UFI_ACT_SILU] = UFI_CURVE_SILU,   [UFI_ACT_SIGMOID] = UFI_CURVE_SIGMOID};

uf_status ufi_net_fused(const ufi_node *n, ufi_curve *c, uf_error *err)
{
    int64_t act = ufi_node_int(n, UFI_ATTR_ACT, UFI_ACT_NONE);
    if (act < UFI_ACT_NONE || act > UFI_ACT_SIGMOID)
        return ufi_step_fail(n, err, UF_E_FORMAT, "unknown activation %lld", (long long)act);
    c->kind = fused_kinds[act];
    c->lo = ufi_node_float(n, UFI_ATTR_ACT_LO, -INFINITY);
    c->hi = ufi_node_float(n, UFI_ATTR_ACT_HI, INFINITY);
    c->alpha = act == UFI_ACT_SILU ? 1 : ufi_node_float(n, UFI_ATTR_ACT_ALPHA, 0.01f);
    c->beta = 0;
    return UF_OK;
}
