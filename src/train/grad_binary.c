/*
 * Elementwise operators of two operands. Sums of one shape are a pass over memory and on the way
 * back often nothing at all. A second operand of one number per channel (and maybe per picture: the
 * gates of squeeze-and-excitation) goes through the loops over rows. Whatever else broadcasts is
 * walked number by number.
 */
#include "train/net_impl.h"

/* ---- sums of one shape ---- */

static uf_status sum_create(ufi_net *net, ufi_step *s, uf_error *err)
{
    (void)net, (void)err;
    s->passes_grad = true;
    s->overwrites = true;
    return UF_OK;
}

static uf_status sum_forward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const ufi_blob *y = ufi_blob_out(net, s, 0);
    (void)err;
    ufi_net_add(net, y, y->data, ufi_blob_in(net, s, 0)->data, ufi_blob_in(net, s, 1)->data);
    return UF_OK;
}

static uf_status sum_backward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const ufi_blob *y = ufi_blob_out(net, s, 0);
    (void)err;
    for (uint32_t k = 0; k < 2; k++) {
        const ufi_blob *x = ufi_blob_in(net, s, k);
        if (x->grad && !s->shares[k])
            ufi_net_add(net, x, x->grad, y->grad, s->adds[k] ? x->grad : NULL);
    }
    return UF_OK;
}

static const ufi_step_kind sum_kind = {"sum", sum_create, NULL, sum_forward, sum_backward, NULL};

uf_status ufi_lower_sum(ufi_net *net, const ufi_node *n, uint32_t a, uint32_t b, uint32_t out,
                        uf_error *err)
{
    const uint32_t in[2] = {a, b};
    ufi_step *s;
    return ufi_net_add_step(net, &sum_kind, n, in, 2, &out, 1, &s, err);
}

/* ---- a number per channel ---- */

typedef struct pair_plan {
    ufi_op op;
    bool per_picture;
} pair_plan;

typedef struct gate_state {
    size_t channels, pixels, pictures;
    float *numbers; /* per thread: scale, shift, zeros, block of 3, one row more */
    double *sums;   /* per picture: 3 * channels */
} gate_state;

enum { GATE_ROWS = 7 };

static uf_status gate_create(ufi_net *net, ufi_step *s, uf_error *err)
{
    const ufi_blob *x = ufi_blob_in(net, s, 0);
    gate_state *q = ufi_net_alloc(net, 1, sizeof *q, err);
    const size_t c = ufi_blob_channels(x), pictures = (size_t)x->shape.dims[0];
    if (!q)
        return UF_E_NOMEM;
    *q = (gate_state){.channels = c, .pixels = x->count / c / pictures, .pictures = pictures};
    q->numbers = ufi_net_alloc(net, GATE_ROWS * c * net->options.threads, sizeof(float), err);
    q->sums = ufi_net_alloc(net, 3 * c * pictures, sizeof(double), err);
    s->state = q;
    s->keeps[0] = s->keeps[1] = true;
    return q->numbers && q->sums ? UF_OK : UF_E_NOMEM;
}

typedef struct gate_job {
    ufi_net *net;
    ufi_step *s;
    bool back;
} gate_job;

/* Scale and shift that do what the operator does with the gates of picture `i`. */
static void set_gates(const gate_job *j, size_t i, float *scale, float *shift, float *row)
{
    const pair_plan *p = j->s->plan;
    const gate_state *q = j->s->state;
    const ufi_blob *g = ufi_blob_in(j->net, j->s, 1);
    const size_t at = p->per_picture ? i * q->channels : 0;
    const size_t n = g->count == 1 ? 1 : q->channels;
    const float *gates = g->constant
                             ? g->constant
                             : ufi_net_load(j->net, ufi_blob_bf16(j->net, g), g->data, at, n, row);
    for (size_t c = 0; c < q->channels; c++) {
        float v = gates[n == 1 ? 0 : c];
        scale[c] = p->op == UFI_OP_MUL ? v : p->op == UFI_OP_DIV ? 1 / v : 1;
        shift[c] = p->op == UFI_OP_ADD ? v : p->op == UFI_OP_SUB ? -v : 0;
    }
}

static void gate_part(void *arg, size_t from, size_t to, unsigned part)
{
    const gate_job *j = arg;
    const gate_state *q = j->s->state;
    const ufi_blob *x = ufi_blob_in(j->net, j->s, 0), *y = ufi_blob_out(j->net, j->s, 0);
    const size_t c = q->channels, size = (ufi_blob_bf16(j->net, x) ? 2 : 4) * c * q->pixels;
    float *numbers = q->numbers + GATE_ROWS * c * part, *zeros = numbers + 2 * c;
    for (size_t i = from; i < to; i++) {
        ufi_row_job job = {.bf16 = ufi_blob_bf16(j->net, x),
                           .channels = c,
                           .x = (uint8_t *)x->data + i * size,
                           .scale = numbers,
                           .shift = numbers + c,
                           .gain = numbers,
                           .pull = zeros,
                           .offset = zeros,
                           .pivot = zeros,
                           .block = numbers + 3 * c,
                           .sums = q->sums + 3 * c * i,
                           .add = j->s->adds[0]};
        set_gates(j, i, numbers, numbers + c, numbers + 6 * c);
        if (!j->back) {
            job.y = (uint8_t *)y->data + i * size;
            j->net->rows->forward(&job, 0, q->pixels);
            continue;
        }
        job.dy = (uint8_t *)y->grad + i * size;
        job.y = x->grad ? (uint8_t *)x->grad + i * size : NULL;
        memset(job.sums, 0, 3 * c * sizeof *job.sums);
        j->net->rows->back_sums(&job, 0, q->pixels);
        if (x->grad)
            j->net->rows->back(&job, 0, q->pixels);
    }
}

static uf_status gate_forward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const gate_state *q = s->state;
    gate_job j = {net, s, false};
    (void)err;
    ufi_net_parallel(net, gate_part, &j, q->pictures);
    return UF_OK;
}

/* What the operator does to the sums of dy and dy * x of one channel, given the gate. */
static double gate_grad(ufi_op op, double sum, double product, double gate)
{
    return op == UFI_OP_ADD   ? sum
           : op == UFI_OP_SUB ? -sum
           : op == UFI_OP_MUL ? product
                              : -product / (gate * gate);
}

static void give_constant(ufi_net *net, ufi_step *s)
{
    const pair_plan *p = s->plan;
    const gate_state *q = s->state;
    ufi_variable *v = ufi_step_variable(net, s, 1);
    double all = 0;
    for (size_t c = 0; v && c < q->channels; c++) {
        double sum = 0, product = 0;
        for (size_t i = 0; i < q->pictures; i++) {
            sum += q->sums[3 * q->channels * i + c];
            product += q->sums[3 * q->channels * i + q->channels + c];
        }
        double grad = gate_grad(p->op, sum, product, (double)v->data[v->count == 1 ? 0 : c]);
        all += grad;
        if (v->count > 1)
            v->grad[c] = (float)grad + (ufi_variable_shared(net, v) ? v->grad[c] : 0);
    }
    if (v && v->count == 1)
        v->grad[0] = (float)all + (ufi_variable_shared(net, v) ? v->grad[0] : 0);
}

static uf_status gate_backward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const pair_plan *p = s->plan;
    gate_state *q = s->state;
    const ufi_blob *g = ufi_blob_in(net, s, 1);
    const bool bf16 = ufi_blob_bf16(net, g);
    const size_t c = q->channels;
    gate_job j = {net, s, true};
    (void)err;
    ufi_net_parallel(net, gate_part, &j, q->pictures);
    if (g->constant)
        give_constant(net, s);
    for (size_t i = 0; g->grad && i < q->pictures; i++) {
        const double *sums = q->sums + 3 * c * i;
        float *row = q->numbers, *tmp = q->numbers + c;
        const float *gates = ufi_net_load(net, bf16, g->data, i * c, c, tmp);
        for (size_t k = 0; k < c; k++)
            row[k] = (float)gate_grad(p->op, sums[k], sums[c + k], (double)gates[k]);
        ufi_net_store_row(net, bf16, g->grad, i * c, c, row, s->adds[1]);
    }
    return UF_OK;
}

static const ufi_step_kind gate_kind = {"gate",       gate_create,   NULL,
                                        gate_forward, gate_backward, NULL};

/* ---- anything else ---- */

enum { DIMS = 5 };

typedef struct walk_state {
    uint32_t rank;
    int64_t dims[DIMS], stride[3][DIMS]; /* of a, b and y */
    double *sums[2];                     /* gradients of operands that are spread, or NULL */
} walk_state;

static void spread_strides(const ufi_blob *b, const ufi_shape *out, int64_t *stride)
{
    int64_t own[UF_MAX_DIMS];
    const uint32_t lead = out->rank - b->shape.rank;
    memcpy(own, b->strides, sizeof own);
    if (b->constant)
        ufi_net_plain_strides(&b->shape, own);
    for (uint32_t d = 0; d < out->rank; d++)
        stride[d] = d < lead || b->shape.dims[d - lead] == 1 ? 0 : own[d - lead];
}

static uf_status walk_create(ufi_net *net, ufi_step *s, uf_error *err)
{
    const ufi_blob *y = ufi_blob_out(net, s, 0);
    walk_state *q = ufi_net_alloc(net, 1, sizeof *q, err);
    if (!q)
        return UF_E_NOMEM;
    if (y->shape.rank > DIMS)
        return ufi_step_fail(s->node, err, UF_E_UNSUPPORTED, "more than %d dimensions", DIMS);
    q->rank = y->shape.rank;
    memcpy(q->dims, y->shape.dims, q->rank * sizeof *q->dims);
    memcpy(q->stride[2], y->strides, q->rank * sizeof *q->dims);
    for (uint32_t k = 0; k < 2; k++) {
        const ufi_blob *x = ufi_blob_in(net, s, k);
        spread_strides(x, &y->shape, q->stride[k]);
        s->keeps[k] = !x->constant;
        if (x->wants_grad || x->variable != UFI_NONE)
            q->sums[k] = ufi_net_alloc(net, x->count, sizeof(double), err);
        if ((x->wants_grad || x->variable != UFI_NONE) && !q->sums[k])
            return UF_E_NOMEM;
    }
    s->state = q;
    return UF_OK;
}

static float number_at(const ufi_net *net, const ufi_blob *b, const void *data, int64_t i)
{
    if (data == b->constant)
        return b->constant[i];
    return ufi_blob_bf16(net, b) ? ufi_bf16_to_f32(((const uint16_t *)data)[i])
                                 : ((const float *)data)[i];
}

static float pair_value(ufi_op op, float a, float b)
{
    return op == UFI_OP_ADD ? a + b : op == UFI_OP_SUB ? a - b : op == UFI_OP_MUL ? a * b : a / b;
}

static double pair_slope(ufi_op op, uint32_t k, double a, double b)
{
    if (op == UFI_OP_ADD || op == UFI_OP_SUB)
        return op == UFI_OP_SUB && k == 1 ? -1 : 1;
    if (op == UFI_OP_MUL)
        return k == 0 ? b : a;
    return k == 0 ? 1 / b : -a / (b * b);
}

static void walk(ufi_net *net, ufi_step *s, bool back)
{
    const walk_state *q = s->state;
    const ufi_op op = ((const pair_plan *)s->plan)->op;
    const ufi_blob *a = ufi_blob_in(net, s, 0), *b = ufi_blob_in(net, s, 1);
    const ufi_blob *y = ufi_blob_out(net, s, 0);
    const void *from_a = a->constant ? (const void *)a->constant : a->data;
    const void *from_b = b->constant ? (const void *)b->constant : b->data;
    int64_t index[DIMS] = {0};
    for (size_t i = 0; i < y->count; i++) {
        int64_t at[3] = {0};
        for (uint32_t d = 0; d < q->rank; d++)
            for (int k = 0; k < 3; k++)
                at[k] += index[d] * q->stride[k][d];
        float va = number_at(net, a, from_a, at[0]), vb = number_at(net, b, from_b, at[1]);
        if (back) {
            double dy = (double)number_at(net, y, y->grad, at[2]);
            for (uint32_t k = 0; k < 2; k++)
                if (q->sums[k])
                    q->sums[k][at[k]] += dy * pair_slope(op, k, (double)va, (double)vb);
        } else if (ufi_blob_bf16(net, y)) {
            ((uint16_t *)y->data)[at[2]] = ufi_f32_to_bf16(pair_value(op, va, vb));
        } else {
            ((float *)y->data)[at[2]] = pair_value(op, va, vb);
        }
        for (uint32_t d = q->rank; d-- > 0 && ++index[d] == q->dims[d];)
            index[d] = 0;
    }
}

static uf_status walk_forward(ufi_net *net, ufi_step *s, uf_error *err)
{
    (void)err;
    walk(net, s, false);
    return UF_OK;
}

static uf_status walk_backward(ufi_net *net, ufi_step *s, uf_error *err)
{
    walk_state *q = s->state;
    (void)err;
    for (uint32_t k = 0; k < 2; k++)
        if (q->sums[k])
            memset(q->sums[k], 0, ufi_blob_in(net, s, k)->count * sizeof(double));
    walk(net, s, true);
    for (uint32_t k = 0; k < 2; k++) {
        const ufi_blob *x = ufi_blob_in(net, s, k);
        ufi_variable *v = ufi_step_variable(net, s, k);
        const bool add = v ? ufi_variable_shared(net, v) : s->adds[k];
        void *grad = v ? v->grad : x->grad;
        for (size_t i = 0; grad && q->sums[k] && i < x->count; i++) {
            float row = (float)q->sums[k][i];
            ufi_net_store_row(net, !v && ufi_blob_bf16(net, x), grad, i, 1, &row, add);
        }
    }
    return UF_OK;
}

static const ufi_step_kind walk_kind = {"walk",       walk_create,   NULL,
                                        walk_forward, walk_backward, NULL};

/* ---- lowering ---- */

/* Whether g has a number for each channel of x, or one, for each picture or for all. */
static bool is_gate(const ufi_blob *x, const ufi_blob *g, bool *per_picture)
{
    const ufi_shape *a = &x->shape, *b = &g->shape;
    const size_t channels = (size_t)(a->rank > 1 ? a->dims[1] : 0);
    *per_picture = false;
    if (x->constant || (a->rank != 4 && a->rank != 2))
        return false;
    if (g->count == 1)
        return g->constant != NULL;
    if (b->rank > a->rank || b->rank + 1 < a->rank)
        return false;
    const uint32_t axis = 1 - (a->rank - b->rank);
    if (b->dims[axis] != a->dims[1])
        return false;
    if (g->count == channels)
        return g->constant != NULL;
    *per_picture = !g->constant && axis == 1 && a->rank == 4 && b->dims[0] == a->dims[0] &&
                   g->count == channels * (size_t)a->dims[0];
    return *per_picture;
}

uf_status ufi_lower_pair(ufi_net *net, const ufi_node *n, ufi_op op, uint32_t a, uint32_t b,
                         uint32_t out, uf_error *err)
{
    const ufi_blob *x = &net->blobs[a], *z = &net->blobs[b], *y = &net->blobs[out];
    const bool swaps = op == UFI_OP_ADD || op == UFI_OP_MUL;
    pair_plan *p = ufi_net_alloc(net, 1, sizeof *p, err);
    ufi_step *s;
    if (!p)
        return UF_E_NOMEM;
    p->op = op;
    if (op == UFI_OP_ADD && !x->constant && !z->constant && ufi_shape_equal(&x->shape, &z->shape))
        return ufi_lower_sum(net, n, a, b, out, err);
    const bool first = ufi_shape_equal(&x->shape, &y->shape) && is_gate(x, z, &p->per_picture);
    const bool second =
        !first && swaps && ufi_shape_equal(&z->shape, &y->shape) && is_gate(z, x, &p->per_picture);
    const uint32_t in[2] = {second ? b : a, second ? a : b};
    uf_status st = ufi_net_add_step(net, first || second ? &gate_kind : &walk_kind, n, in, 2, &out,
                                    1, &s, err);
    if (!st)
        s->plan = p;
    return st;
}

uf_status ufi_lower_binary(ufi_net *net, const ufi_node *n, uf_error *err)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < 2; i++)
        if (net->blobs[n->in[i]].constant && net->blobs[n->in[i]].count > 1)
            st = ufi_net_learn(net, n, i, false, err); /* one number is a formula's, not learned */
    return st ? st : ufi_lower_pair(net, n, (ufi_op)n->op, n->in[0], n->in[1], n->out[0], err);
}
