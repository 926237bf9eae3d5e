/*
 * What moves numbers without changing them: copies from and to the caller, reshapes,
 * transpositions, parts and their joins, pads. One step: a list of pieces, boxes of up to five
 * dimensions of which each is walked with strides of its own in the source and in the target. The
 * way back is the same walk the other way round.
 */
#include "train/net_impl.h"

enum { DIMS = 5 };

typedef struct piece {
    uint32_t in, out; /* of the step's inputs and outputs */
    uint32_t rank;
    int64_t dims[DIMS];
    int64_t from, from_stride[DIMS]; /* in the input */
    int64_t to, to_stride[DIMS];     /* in the output */
} piece;

typedef struct move_plan {
    piece *pieces;
    uint32_t count;
    bool clear_out; /* pieces do not cover the output: the rest is zero */
    bool clear_in;  /* or not the input: its gradient there is zero */
} move_plan;

/* ---- rows ---- */

typedef struct side {
    uint8_t *data;
    bool bf16;
    int64_t stride[DIMS];
} side;

static float get(const side *s, int64_t i)
{
    return s->bf16 ? ufi_bf16_to_f32(((const uint16_t *)s->data)[i]) : ((const float *)s->data)[i];
}

static void put(const side *s, int64_t i, float v)
{
    if (s->bf16)
        ((uint16_t *)s->data)[i] = ufi_f32_to_bf16(v);
    else
        ((float *)s->data)[i] = v;
}

typedef struct move_job {
    const ufi_net *net;
    uint32_t rank;
    int64_t dims[DIMS];
    side src, dst;
    bool add;
} move_job;

static void move_row(const move_job *j, int64_t src, int64_t dst)
{
    const int64_t n = j->dims[j->rank - 1], a = j->src.stride[j->rank - 1];
    const int64_t b = j->dst.stride[j->rank - 1];
    const size_t size = j->src.bf16 ? 2 : 4;
    if (a == 1 && b == 1 && !j->add && j->src.bf16 == j->dst.bf16) {
        memcpy(j->dst.data + (size_t)dst * size, j->src.data + (size_t)src * size,
               (size_t)n * size);
    } else if (a == 1 && b == 1 && !j->add && j->dst.bf16) {
        j->net->rows->to_bf16((uint16_t *)j->dst.data + dst, (const float *)j->src.data + src,
                              (size_t)n);
    } else {
        for (int64_t i = 0; i < n; i++) {
            float v = get(&j->src, src + i * a);
            put(&j->dst, dst + i * b, j->add ? v + get(&j->dst, dst + i * b) : v);
        }
    }
}

/* Items `from` to `to` of the outermost dimension. */
static void move_part(void *arg, size_t from, size_t to, unsigned part)
{
    const move_job *j = arg;
    int64_t index[DIMS] = {(int64_t)from};
    (void)part;
    if (j->rank == 1) {
        move_job row = *j;
        row.dims[0] = (int64_t)(to - from);
        move_row(&row, (int64_t)from * j->src.stride[0], (int64_t)from * j->dst.stride[0]);
        return;
    }
    while (index[0] < (int64_t)to) {
        int64_t src = 0, dst = 0;
        for (uint32_t d = 0; d + 1 < j->rank; d++) {
            src += index[d] * j->src.stride[d];
            dst += index[d] * j->dst.stride[d];
        }
        move_row(j, src, dst);
        uint32_t d = j->rank - 2;
        while (++index[d] == j->dims[d] && d > 0)
            index[d--] = 0;
    }
}

/* Drops dimensions of one, puts the target's widest strides first, joins what lies together. */
static void simplify(move_job *j)
{
    uint32_t rank = 0;
    for (uint32_t d = 0; d < j->rank; d++) {
        const int64_t n = j->dims[d], a = j->src.stride[d], b = j->dst.stride[d];
        uint32_t at = rank;
        if (n == 1)
            continue;
        for (; at > 0 && j->dst.stride[at - 1] < b; at--) {
            j->dims[at] = j->dims[at - 1];
            j->src.stride[at] = j->src.stride[at - 1];
            j->dst.stride[at] = j->dst.stride[at - 1];
        }
        j->dims[at] = n;
        j->src.stride[at] = a;
        j->dst.stride[at] = b;
        rank++;
    }
    j->rank = rank;
    if (rank == 0) {
        j->rank = 1;
        j->dims[0] = j->src.stride[0] = j->dst.stride[0] = 1;
    }
    for (uint32_t d = j->rank; d-- > 1;) {
        if (j->src.stride[d - 1] != j->src.stride[d] * j->dims[d] ||
            j->dst.stride[d - 1] != j->dst.stride[d] * j->dims[d])
            continue;
        j->dims[d - 1] *= j->dims[d];
        j->src.stride[d - 1] = j->src.stride[d];
        j->dst.stride[d - 1] = j->dst.stride[d];
        for (uint32_t k = d; k + 1 < j->rank; k++) {
            j->dims[k] = j->dims[k + 1];
            j->src.stride[k] = j->src.stride[k + 1];
            j->dst.stride[k] = j->dst.stride[k + 1];
        }
        j->rank--;
    }
}

static side side_of(const ufi_net *net, const ufi_blob *b, void *data, int64_t offset,
                    const int64_t *stride, uint32_t rank)
{
    side s = {.bf16 = ufi_blob_bf16(net, b)};
    s.data = (uint8_t *)data + (size_t)offset * (s.bf16 ? 2 : 4);
    memcpy(s.stride, stride, rank * sizeof *stride);
    return s;
}

static void move_piece(const ufi_net *net, const ufi_step *s, const piece *p, bool back)
{
    const ufi_blob *x = ufi_blob_in(net, s, p->in), *y = ufi_blob_out(net, s, p->out);
    const move_plan *plan = s->plan;
    move_job j = {.net = net, .rank = p->rank};
    memcpy(j.dims, p->dims, sizeof j.dims);
    side a = side_of(net, x, back ? x->grad : x->data, p->from, p->from_stride, p->rank);
    side b = side_of(net, y, back ? y->grad : y->data, p->to, p->to_stride, p->rank);
    j.src = back ? b : a;
    j.dst = back ? a : b;
    j.add = back && (s->adds[p->in] || plan->clear_in);
    simplify(&j);
    ufi_net_parallel(net, move_part, &j, (size_t)j.dims[0]);
}

static uf_status create(ufi_net *net, ufi_step *s, uf_error *err)
{
    (void)net, (void)s, (void)err;
    return UF_OK;
}

static uf_status forward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const move_plan *p = s->plan;
    const ufi_blob *y = ufi_blob_out(net, s, 0);
    (void)err;
    if (p->clear_out)
        memset(y->data, 0, ufi_blob_bytes(net, y));
    for (uint32_t i = 0; i < p->count; i++)
        if (ufi_blob_out(net, s, p->pieces[i].out))
            move_piece(net, s, &p->pieces[i], false);
    return UF_OK;
}

static uf_status backward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const move_plan *p = s->plan;
    (void)err;
    for (uint32_t k = 0; p->clear_in && k < s->in_count; k++) {
        const ufi_blob *x = ufi_blob_in(net, s, k);
        if (x && x->grad && !s->adds[k])
            memset(x->grad, 0, ufi_blob_bytes(net, x));
    }
    for (uint32_t i = 0; i < p->count; i++) {
        const ufi_blob *x = ufi_blob_in(net, s, p->pieces[i].in);
        const ufi_blob *y = ufi_blob_out(net, s, p->pieces[i].out);
        if (x->grad && y && y->grad)
            move_piece(net, s, &p->pieces[i], true);
    }
    return UF_OK;
}

static const ufi_step_kind move_kind = {"move", create, NULL, forward, backward, NULL};

/* ---- lowering ---- */

static move_plan *make_plan(ufi_net *net, uint32_t pieces, uf_error *err)
{
    move_plan *p = ufi_net_alloc(net, 1, sizeof *p, err);
    if (p)
        p->pieces = ufi_net_alloc(net, pieces, sizeof *p->pieces, err);
    if (!p || !p->pieces)
        return NULL;
    p->count = pieces;
    return p;
}

static uf_status add_move(ufi_net *net, const ufi_node *n, const uint32_t *in, uint32_t in_count,
                          const uint32_t *out, uint32_t out_count, const move_plan *plan,
                          uf_error *err)
{
    ufi_step *s;
    for (uint32_t i = 0; n && i < in_count; i++)
        if (net->blobs[in[i]].constant)
            return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "input %u is a constant", i);
    uf_status st = ufi_net_add_step(net, &move_kind, n, in, in_count, out, out_count, &s, err);
    if (!st)
        s->plan = plan;
    return st;
}

/* The whole box of `shape`, from and to its own strides. */
static void whole(piece *p, const ufi_shape *shape, const int64_t *from, const int64_t *to)
{
    p->rank = shape->rank;
    memcpy(p->dims, shape->dims, shape->rank * sizeof *p->dims);
    memcpy(p->from_stride, from, shape->rank * sizeof *from);
    memcpy(p->to_stride, to, shape->rank * sizeof *to);
}

uf_status ufi_lower_copy(ufi_net *net, uint32_t from, uint32_t to, uf_error *err)
{
    const ufi_blob *x = &net->blobs[from], *y = &net->blobs[to];
    if (x->shape.rank > DIMS)
        return ufi_fail(err, UF_E_UNSUPPORTED, "an input or output of rank %u", x->shape.rank);
    move_plan *p = make_plan(net, 1, err);
    if (!p)
        return UF_E_NOMEM;
    whole(&p->pieces[0], &x->shape, x->strides, y->strides);
    return add_move(net, NULL, &from, 1, &to, 1, p, err);
}

uf_status ufi_lower_reshape(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const uint32_t in = n->in[0], out = n->out[0];
    const ufi_blob *x = &net->blobs[in], *y = &net->blobs[out];
    int64_t strides[UF_MAX_DIMS];
    move_plan *p = make_plan(net, 1, err);
    if (!p)
        return UF_E_NOMEM;
    if (x->shape.rank > DIMS || y->shape.rank > DIMS)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "more than %d dimensions", DIMS);
    if (ufi_shape_equal(&x->shape, &y->shape)) {
        whole(&p->pieces[0], &x->shape, x->strides, y->strides);
    } else if (y->shape.rank != 4) { /* in the order of x's box */
        ufi_net_plain_strides(&x->shape, strides);
        whole(&p->pieces[0], &x->shape, x->strides, strides);
    } else if (x->shape.rank != 4) {
        ufi_net_plain_strides(&y->shape, strides);
        whole(&p->pieces[0], &y->shape, strides, y->strides);
    } else {
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "from four dimensions to four others");
    }
    return add_move(net, n, &in, 1, &out, 1, p, err);
}

uf_status ufi_lower_transpose(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const ufi_blob *x = &net->blobs[n->in[0]], *y = &net->blobs[n->out[0]];
    const ufi_attr *perm = ufi_node_attr(n, UFI_ATTR_PERM);
    const uint32_t rank = x->shape.rank;
    int64_t from[UF_MAX_DIMS];
    move_plan *p = make_plan(net, 1, err);
    if (!p)
        return UF_E_NOMEM;
    if (rank > DIMS)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "more than %d dimensions", DIMS);
    for (uint32_t d = 0; d < rank; d++)
        from[d] = x->strides[perm ? perm->u.ints[d] : (int64_t)(rank - 1 - d)];
    whole(&p->pieces[0], &y->shape, from, y->strides);
    return add_move(net, n, n->in, 1, n->out, 1, p, err);
}

/* The axis of a node, or UFI_NONE and an error. */
static uint32_t read_axis(const ufi_net *net, const ufi_node *n, int64_t fallback, uf_error *err)
{
    const uint32_t rank = net->blobs[n->in[0]].shape.rank;
    int64_t axis = ufi_node_int(n, UFI_ATTR_AXIS, fallback);
    axis += axis < 0 ? (int64_t)rank : 0;
    if (rank > DIMS || axis < 0 || axis >= (int64_t)rank) {
        ufi_step_fail(n, err, UF_E_UNSUPPORTED, "axis %lld of rank %u", (long long)axis, rank);
        return UFI_NONE;
    }
    return (uint32_t)axis;
}

uf_status ufi_lower_concat(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const uint32_t axis = read_axis(net, n, 0, err);
    const ufi_blob *y = &net->blobs[n->out[0]];
    move_plan *p = axis == UFI_NONE ? NULL : make_plan(net, n->in_count, err);
    if (!p)
        return axis == UFI_NONE ? UF_E_UNSUPPORTED : UF_E_NOMEM;
    int64_t at = 0;
    for (uint32_t i = 0; i < n->in_count; i++) {
        const ufi_blob *x = &net->blobs[n->in[i]];
        whole(&p->pieces[i], &x->shape, x->strides, y->strides);
        p->pieces[i].in = i;
        p->pieces[i].to = at * y->strides[axis];
        at += x->shape.dims[axis];
    }
    return add_move(net, n, n->in, n->in_count, n->out, 1, p, err);
}

uf_status ufi_lower_split(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const uint32_t axis = read_axis(net, n, 0, err);
    const ufi_blob *x = &net->blobs[n->in[0]];
    move_plan *p = axis == UFI_NONE ? NULL : make_plan(net, n->out_count, err);
    if (!p)
        return axis == UFI_NONE ? UF_E_UNSUPPORTED : UF_E_NOMEM;
    int64_t at = 0;
    for (uint32_t i = 0; i < n->out_count; i++) {
        if (n->out[i] == UFI_NONE || !net->uses[n->out[i]])
            p->clear_in = true;
        if (n->out[i] == UFI_NONE)
            return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "part %u has no name", i);
        const ufi_blob *y = &net->blobs[n->out[i]];
        whole(&p->pieces[i], &y->shape, x->strides, y->strides);
        p->pieces[i].out = i;
        p->pieces[i].from = at * x->strides[axis];
        at += net->graph.values[n->out[i]].shape.dims[axis];
    }
    return add_move(net, n, n->in, 1, n->out, n->out_count, p, err);
}

/* Element k of a constant of integers. */
static int64_t int_at(const ufi_value *v, int64_t k)
{
    return v->dtype == UF_I32 ? ((const int32_t *)v->data)[k] : ((const int64_t *)v->data)[k];
}

/* Input `i` of a node as a constant of integers, or NULL. */
static const ufi_value *ints(const ufi_net *net, const ufi_node *n, uint32_t i)
{
    const ufi_value *v = ufi_node_has(n, i) ? &net->graph.values[n->in[i]] : NULL;
    return v && v->data && (v->dtype == UF_I64 || v->dtype == UF_I32) ? v : NULL;
}

uf_status ufi_lower_slice(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const ufi_blob *x = &net->blobs[n->in[0]], *y = &net->blobs[n->out[0]];
    const ufi_value *starts = ints(net, n, 1), *axes = ints(net, n, 3), *steps = ints(net, n, 4);
    const int64_t rank = x->shape.rank;
    move_plan *p = make_plan(net, 1, err);
    if (!p)
        return UF_E_NOMEM;
    if (!starts || rank > DIMS || (ufi_node_has(n, 3) && !axes) || (ufi_node_has(n, 4) && !steps))
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "its bounds are not constants");
    piece *box = &p->pieces[0];
    whole(box, &y->shape, x->strides, y->strides);
    p->clear_in = true;
    for (int64_t i = 0; i < ufi_shape_count(&starts->shape); i++) {
        int64_t d = axes ? int_at(axes, i) : i, step = steps ? int_at(steps, i) : 1;
        d += d < 0 ? rank : 0;
        const int64_t size = x->shape.dims[d], given = int_at(starts, i);
        int64_t start = given < 0 ? given + size : given;
        const int64_t most = step < 0 ? size - 1 : size;
        start = start < 0 ? 0 : start > most ? most : start;
        box->from += start * x->strides[d];
        box->from_stride[d] *= step;
    }
    return add_move(net, n, n->in, 1, n->out, 1, p, err);
}

uf_status ufi_lower_pad(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const ufi_blob *x = &net->blobs[n->in[0]], *y = &net->blobs[n->out[0]];
    const ufi_value *pads = ints(net, n, 1);
    const uint32_t rank = x->shape.rank;
    const float *fill = ufi_node_has(n, 2) ? net->blobs[n->in[2]].constant : NULL;
    const bool filled = ufi_node_has(n, 2) && (!fill || *fill < 0 || *fill > 0);
    move_plan *p = make_plan(net, 1, err);
    if (!p)
        return UF_E_NOMEM;
    bool fits = pads && rank <= DIMS && !filled && !ufi_node_has(n, 3) &&
                !strcmp(ufi_node_string(n, UFI_ATTR_MODE, "constant"), "constant");
    for (int64_t i = 0; fits && i < 2 * (int64_t)rank; i++)
        fits = int_at(pads, i) >= 0;
    if (!fits)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED,
                             "only zeros put around all axes have a gradient");
    whole(&p->pieces[0], &x->shape, x->strides, y->strides);
    p->clear_out = true;
    for (uint32_t d = 0; d < rank; d++)
        p->pieces[0].to += int_at(pads, d) * y->strides[d];
    return add_move(net, n, n->in, 1, n->out, 1, p, err);
}
