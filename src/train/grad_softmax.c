/* What looks along one axis: Softmax and LpNormalization. */
#include <math.h>

#include "train/net_impl.h"

typedef struct lane_plan {
    uint32_t axis;
    enum { SOFTMAX, NORM_1, NORM_2 } what;
} lane_plan;

typedef struct lane_state {
    int64_t length, step, lanes;
    float *rows; /* 2 * length for each thread */
} lane_state;

static uf_status create(ufi_net *net, ufi_step *s, uf_error *err)
{
    const ufi_blob *x = ufi_blob_in(net, s, 0);
    const lane_plan *p = s->plan;
    lane_state *q = ufi_net_alloc(net, 1, sizeof *q, err);
    if (!q)
        return UF_E_NOMEM;
    q->length = x->shape.dims[p->axis];
    q->step = x->strides[p->axis];
    q->lanes = (int64_t)x->count / q->length;
    q->rows = ufi_net_alloc(net, 2 * (size_t)q->length * net->options.threads, sizeof(float), err);
    s->state = q;
    s->keeps[0] = p->what != SOFTMAX;
    s->keeps_out = true;
    return q->rows ? UF_OK : UF_E_NOMEM;
}

typedef struct lane_job {
    ufi_net *net;
    ufi_step *s;
    bool back;
} lane_job;

static void read_lane(const lane_job *j, const void *data, bool bf16, int64_t at, float *row)
{
    const lane_state *q = j->s->state;
    for (int64_t i = 0; i < q->length; i++) {
        const int64_t k = at + i * q->step;
        row[i] = bf16 ? ufi_bf16_to_f32(((const uint16_t *)data)[k]) : ((const float *)data)[k];
    }
}

static void write_lane(const lane_job *j, void *data, bool bf16, int64_t at, float *row, bool add)
{
    const lane_state *q = j->s->state;
    for (int64_t i = 0; i < q->length; i++)
        ufi_net_store_row(j->net, bf16, data, (size_t)(at + i * q->step), 1, &row[i], add);
}

/* The 1- or 2-norm; that of nothing but zeros is 1, which leaves them zeros. */
static double norm_of(const float *row, int64_t n, bool one)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += one ? fabs((double)row[i]) : (double)row[i] * (double)row[i];
    return sum > 0 ? (one ? sum : sqrt(sum)) : 1;
}

static void forward_lane(const lane_plan *p, float *row, int64_t n)
{
    if (p->what != SOFTMAX) {
        const double norm = norm_of(row, n, p->what == NORM_1);
        for (int64_t i = 0; i < n; i++)
            row[i] = (float)((double)row[i] / norm);
        return;
    }
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        max = fmax(max, (double)row[i]);
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)row[i] - max);
    for (int64_t i = 0; i < n; i++)
        row[i] = (float)(exp((double)row[i] - max) / sum);
}

/* `row` becomes the gradient of x: softmax y (dy - y.dy); norms (dy - dnorm/dx y.dy) / norm. */
static void back_lane(const lane_job *j, int64_t at, float *row, float *dy)
{
    const lane_plan *p = j->s->plan;
    const lane_state *q = j->s->state;
    const ufi_blob *x = ufi_blob_in(j->net, j->s, 0), *y = ufi_blob_out(j->net, j->s, 0);
    const bool bf16 = ufi_blob_bf16(j->net, x);
    double dot = 0, norm = 1;
    read_lane(j, y->grad, bf16, at, dy);
    if (p->what != SOFTMAX) {
        read_lane(j, x->data, bf16, at, row);
        norm = norm_of(row, q->length, p->what == NORM_1);
    }
    read_lane(j, y->data, bf16, at, row);
    for (int64_t i = 0; i < q->length; i++)
        dot += (double)row[i] * (double)dy[i];
    for (int64_t i = 0; i < q->length; i++) {
        const double v = (double)row[i], d = (double)dy[i];
        row[i] = (float)(p->what == SOFTMAX  ? v * (d - dot)
                         : p->what == NORM_2 ? (d - v * dot) / norm
                                             : (d - ((v > 0) - (v < 0)) * dot) / norm);
    }
}

static void part(void *arg, size_t from, size_t to, unsigned worker)
{
    const lane_job *j = arg;
    const lane_state *q = j->s->state;
    const lane_plan *p = j->s->plan;
    const ufi_blob *x = ufi_blob_in(j->net, j->s, 0), *y = ufi_blob_out(j->net, j->s, 0);
    const bool bf16 = ufi_blob_bf16(j->net, x);
    float *row = q->rows + 2 * q->length * worker;
    for (size_t lane = from; lane < to; lane++) {
        const int64_t i = (int64_t)lane;
        const int64_t at = i / q->step * q->step * q->length + i % q->step;
        if (j->back) {
            back_lane(j, at, row, row + q->length);
            write_lane(j, x->grad, bf16, at, row, j->s->adds[0]);
        } else {
            read_lane(j, x->data, bf16, at, row);
            forward_lane(p, row, q->length);
            write_lane(j, y->data, bf16, at, row, false);
        }
    }
}

static uf_status forward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const lane_state *q = s->state;
    lane_job j = {net, s, false};
    (void)err;
    ufi_net_parallel(net, part, &j, (size_t)q->lanes);
    return UF_OK;
}

static uf_status backward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const lane_state *q = s->state;
    lane_job j = {net, s, true};
    (void)err;
    if (ufi_blob_in(net, s, 0)->grad)
        ufi_net_parallel(net, part, &j, (size_t)q->lanes);
    return UF_OK;
}

static const ufi_step_kind lane_kind = {"lane", create, NULL, forward, backward, NULL};

static uf_status add_lanes(ufi_net *net, const ufi_node *n, lane_plan plan, uf_error *err)
{
    const int64_t rank = net->blobs[n->in[0]].shape.rank, axis = ufi_node_int(n, UFI_ATTR_AXIS, -1);
    ufi_step *s;
    lane_plan *p = ufi_net_alloc(net, 1, sizeof *p, err);
    if (!p)
        return UF_E_NOMEM;
    if (rank < 1 || net->blobs[n->in[0]].constant)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "an input that is one number or constant");
    *p = plan;
    p->axis = (uint32_t)(axis < 0 ? axis + rank : axis);
    uf_status st = ufi_net_add_step(net, &lane_kind, n, n->in, 1, n->out, 1, &s, err);
    if (!st)
        s->plan = p;
    return st;
}

uf_status ufi_lower_softmax(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const int64_t rank = net->blobs[n->in[0]].shape.rank, axis = ufi_node_int(n, UFI_ATTR_AXIS, 1);
    if (ufi_node_int(n, UFI_ATTR_COERCE_2D, 0) && axis != rank - 1 && axis != -1)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "the form before opset 13");
    return add_lanes(net, n, (lane_plan){0, SOFTMAX}, err);
}

uf_status ufi_lower_lp_norm(ufi_net *net, const ufi_node *n, uf_error *err)
{
    return add_lanes(net, n, (lane_plan){0, ufi_node_int(n, UFI_ATTR_P, 2) == 1 ? NORM_1 : NORM_2},
                     err);
}
