/* Reductions over axes: sums, norms, extremes, their places, running sums, the k largest. */
#include "graph/op.h"

/* ---- which axes ---- */

/* Axes come as input 1; none means all, or with noop_with_empty_axes none. */
static uf_status read_axes(const ufi_op_call *c, uint32_t *mask, bool *known, uf_error *err)
{
    int64_t axes[UFI_MAX_INTS];
    uint32_t count, rank = c->in[0].shape.rank;
    uf_status st = ufi_op_int_input(c, 1, axes, UF_MAX_DIMS, &count, known, err);
    *mask = 0;
    for (uint32_t i = 0; !st && *known && i < count; i++)
        *known = axes[i] != UFI_INT_UNKNOWN;
    if (st || !*known)
        return st;
    if (count == 0) {
        bool none = ufi_node_int(c->node, UFI_ATTR_NOOP_WITH_EMPTY_AXES, 0) != 0;
        *mask = none ? 0 : (1u << rank) - 1;
        return UF_OK;
    }
    return ufi_op_axes(c, axes, count, rank, mask, err);
}

static void reduced_shape(const ufi_shape *x, uint32_t mask, bool keep, ufi_shape *out)
{
    out->rank = 0;
    for (uint32_t d = 0; d < x->rank; d++)
        if (!(mask >> d & 1))
            out->dims[out->rank++] = x->dims[d];
        else if (keep)
            out->dims[out->rank++] = 1;
}

uf_status ufi_infer_reduce(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    uint32_t mask;
    bool known, keep = ufi_node_int(c->node, UFI_ATTR_KEEPDIMS, 1) != 0;
    ufi_shape s;
    uf_status st = read_axes(c, &mask, &known, err);
    if (st)
        return st;
    if (c->in[0].dtype == UF_BOOL)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "reduction of bool");
    if (known) {
        reduced_shape(x, mask, keep, &s);
        return ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
    }
    if (!keep) {
        c->out[0] = (ufi_tensor){.dtype = c->in[0].dtype, .shape = {.rank = UFI_RANK_UNKNOWN}};
        return UF_OK;
    }
    s.rank = x->rank;
    for (uint32_t d = 0; d < s.rank; d++)
        s.dims[d] = -1;
    return ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

/* ---- what is computed ---- */

typedef struct reduction {
    double sum, product, min, max, scaled;
    int64_t count;
} reduction;

static void take(reduction *r, ufi_op op, double v)
{
    switch (op) {
    case UFI_OP_REDUCE_L1:
        r->sum += fabs(v);
        break;
    case UFI_OP_REDUCE_L2:
    case UFI_OP_REDUCE_SUM_SQUARE:
        r->sum += v * v;
        break;
    default:
        r->sum += v;
        break;
    }
    r->product *= v;
    r->min = v < r->min || isnan(v) ? v : r->min;
    r->max = v > r->max || isnan(v) ? v : r->max;
    r->count++;
}

static double result(const reduction *r, ufi_op op)
{
    switch (op) {
    case UFI_OP_REDUCE_MEAN:
        return r->sum / (double)r->count;
    case UFI_OP_REDUCE_MAX:
        return r->max;
    case UFI_OP_REDUCE_MIN:
        return r->min;
    case UFI_OP_REDUCE_PROD:
        return r->product;
    case UFI_OP_REDUCE_L2:
        return sqrt(r->sum);
    case UFI_OP_REDUCE_LOG_SUM:
        return log(r->sum);
    case UFI_OP_REDUCE_LOG_SUM_EXP:
        return r->max + log(r->scaled);
    default:
        return r->sum;
    }
}

/* Dims and strides of the kept axes (first) and of the reduced ones, of the input. */
typedef struct reduce_axes {
    uint32_t kept, reduced;
    int64_t kept_dims[UF_MAX_DIMS], kept_strides[UF_MAX_DIMS];
    int64_t dims[UF_MAX_DIMS], strides[UF_MAX_DIMS];
} reduce_axes;

static void split_axes(const ufi_shape *x, uint32_t mask, reduce_axes *a)
{
    int64_t strides[UF_MAX_DIMS];
    ufi_strides(x, strides);
    a->kept = a->reduced = 0;
    for (uint32_t d = 0; d < x->rank; d++)
        if (mask >> d & 1) {
            a->dims[a->reduced] = x->dims[d];
            a->strides[a->reduced++] = strides[d];
        } else {
            a->kept_dims[a->kept] = x->dims[d];
            a->kept_strides[a->kept++] = strides[d];
        }
}

static reduction reduce_one(const ufi_op_call *c, const reduce_axes *a, int64_t base)
{
    reduction r = {0, 1, INFINITY, -INFINITY, 0, 0};
    ufi_op op = (ufi_op)c->node->op;
    const int64_t *const strides[1] = {a->strides};
    ufi_walk w;
    for (bool more = ufi_walk_init(&w, a->reduced, a->dims, 1, strides); more;
         more = ufi_walk_next(&w))
        for (int64_t i = 0; i < w.length; i++)
            take(&r, op, ufi_get(&c->in[0], base + w.at[0] + i * w.step[0]));
    if (op != UFI_OP_REDUCE_LOG_SUM_EXP)
        return r;
    for (bool more = ufi_walk_init(&w, a->reduced, a->dims, 1, strides); more;
         more = ufi_walk_next(&w))
        for (int64_t i = 0; i < w.length; i++)
            r.scaled += exp(ufi_get(&c->in[0], base + w.at[0] + i * w.step[0]) - r.max);
    return r;
}

uf_status ufi_eval_reduce(const ufi_op_call *c, uf_error *err)
{
    uint32_t mask;
    bool known;
    reduce_axes a;
    int64_t index = 0;
    uf_status st = read_axes(c, &mask, &known, err);
    if (st)
        return st;
    split_axes(&c->in[0].shape, mask, &a);
    const int64_t *const strides[1] = {a.kept_strides};
    ufi_walk w;
    for (bool more = ufi_walk_init(&w, a.kept, a.kept_dims, 1, strides); more;
         more = ufi_walk_next(&w))
        for (int64_t i = 0; i < w.length; i++) {
            reduction r = reduce_one(c, &a, w.at[0] + i * w.step[0]);
            ufi_put(&c->out[0], index++, result(&r, (ufi_op)c->node->op));
        }
    return UF_OK;
}

/* ---- ArgMax, ArgMin ---- */

uf_status ufi_infer_arg_reduce(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    ufi_shape s;
    uf_status st =
        ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), c->in[0].shape.rank, &axis, err);
    if (st)
        return st;
    if (c->in[0].shape.dims[axis] == 0)
        return ufi_op_fail(c, err, UF_E_FORMAT, "axis %u is empty", axis);
    reduced_shape(&c->in[0].shape, 1u << axis, ufi_node_int(c->node, UFI_ATTR_KEEPDIMS, 1) != 0,
                  &s);
    return ufi_op_set_out(c, 0, UF_I64, &s, err);
}

/* The input as [outer][n][step] around `axis`. */
static void around_axis(const ufi_shape *s, uint32_t axis, int64_t *outer, int64_t *n,
                        int64_t *step)
{
    *outer = ufi_product(s->dims, 0, axis);
    *n = s->dims[axis];
    *step = ufi_product(s->dims, axis + 1, s->rank);
}

uf_status ufi_eval_arg_reduce(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    int64_t outer, n, step;
    bool last = ufi_node_int(c->node, UFI_ATTR_SELECT_LAST_INDEX, 0) != 0;
    double sign = c->node->op == UFI_OP_ARG_MIN ? -1 : 1;
    uf_status st =
        ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), c->in[0].shape.rank, &axis, err);
    if (st)
        return st;
    around_axis(&c->in[0].shape, axis, &outer, &n, &step);
    for (int64_t k = 0; k < outer * step; k++) {
        int64_t base = k / step * n * step + k % step, best = 0;
        for (int64_t i = 1; i < n; i++) {
            double v = sign * ufi_get(&c->in[0], base + i * step);
            double b = sign * ufi_get(&c->in[0], base + best * step);
            if (v > b || (last && v >= b))
                best = i;
        }
        ufi_put_int(&c->out[0], k, best);
    }
    return UF_OK;
}

/* ---- CumSum ---- */

static uf_status cum_sum_axis(const ufi_op_call *c, uint32_t *axis, bool *known, uf_error *err)
{
    int64_t v[1];
    uint32_t count;
    uf_status st = ufi_op_int_input(c, 1, v, 1, &count, known, err);
    if (st || !*known)
        return st;
    if (count != 1)
        return ufi_op_fail(c, err, UF_E_FORMAT, "the axis has %u elements", count);
    return ufi_op_axis(c, v[0], c->in[0].shape.rank, axis, err);
}

uf_status ufi_infer_cum_sum(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    bool known;
    uf_status st = cum_sum_axis(c, &axis, &known, err);
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &c->in[0].shape, err);
}

uf_status ufi_eval_cum_sum(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    bool known;
    int64_t outer, n, step;
    bool exclusive = ufi_node_int(c->node, UFI_ATTR_EXCLUSIVE, 0) != 0;
    bool reverse = ufi_node_int(c->node, UFI_ATTR_REVERSE, 0) != 0;
    uf_status st = cum_sum_axis(c, &axis, &known, err);
    if (st)
        return st;
    around_axis(&c->in[0].shape, axis, &outer, &n, &step);
    for (int64_t k = 0; k < outer * step; k++) {
        int64_t base = k / step * n * step + k % step;
        double sum = 0;
        for (int64_t i = 0; i < n; i++) {
            int64_t at = base + (reverse ? n - 1 - i : i) * step;
            double v = ufi_get(&c->in[0], at);
            ufi_put(&c->out[0], at, exclusive ? sum : sum + v);
            sum += v;
        }
    }
    return UF_OK;
}

/* ---- TopK ---- */

static uf_status top_k_count(const ufi_op_call *c, uint32_t axis, int64_t *k, uf_error *err)
{
    uint32_t count;
    bool known;
    int64_t n = c->in[0].shape.dims[axis];
    uf_status st = ufi_op_int_input(c, 1, k, 1, &count, &known, err);
    if (st)
        return st;
    if (!known || *k == UFI_INT_UNKNOWN) {
        *k = -1;
        return UF_OK;
    }
    if (count != 1 || *k < 0 || (n >= 0 && *k > n))
        return ufi_op_fail(c, err, UF_E_FORMAT, "the %lld largest of %lld", (long long)*k,
                           (long long)n);
    return UF_OK;
}

uf_status ufi_infer_top_k(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    int64_t k = -1;
    ufi_shape s = c->in[0].shape;
    uf_status st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, -1), s.rank, &axis, err);
    if (!st)
        st = top_k_count(c, axis, &k, err);
    if (st)
        return st;
    s.dims[axis] = k;
    st = ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
    return st ? st : ufi_op_set_out(c, 1, UF_I64, &s, err);
}

/* Whether `a` (at index i) goes before `b` (at index j): ties by the lower index. */
static bool goes_before(double a, int64_t i, double b, int64_t j, bool largest)
{
    if (a != b)
        return largest ? a > b : a < b;
    return i < j;
}

/* The place of the next element after (value, index) in the order; selection, one at a time. */
static int64_t next_best(const ufi_op_call *c, int64_t base, int64_t n, int64_t step, bool largest,
                         bool first, double after, int64_t after_index)
{
    int64_t best = -1;
    double best_value = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = ufi_get(&c->in[0], base + i * step);
        if (!first && !goes_before(after, after_index, v, i, largest))
            continue;
        if (best < 0 || goes_before(v, i, best_value, best, largest)) {
            best = i;
            best_value = v;
        }
    }
    return best;
}

uf_status ufi_eval_top_k(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    int64_t outer, n, step, k = c->out[0].shape.rank ? 0 : 1;
    bool largest = ufi_node_int(c->node, UFI_ATTR_LARGEST, 1) != 0;
    uf_status st =
        ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, -1), c->in[0].shape.rank, &axis, err);
    if (!st)
        st = top_k_count(c, axis, &k, err);
    if (st)
        return st;
    around_axis(&c->in[0].shape, axis, &outer, &n, &step);
    for (int64_t o = 0; o < outer * step; o++) {
        int64_t base = o / step * n * step + o % step, at = -1;
        double value = 0;
        for (int64_t i = 0; i < k; i++) {
            at = next_best(c, base, n, step, largest, i == 0, value, at);
            if (at < 0) /* NaN has no place in an order */
                return ufi_op_fail(c, err, UF_E_FORMAT, "the input holds NaN");
            value = ufi_get(&c->in[0], base + at * step);
            int64_t to = o / step * k * step + i * step + o % step;
            if (c->out[0].data)
                ufi_put(&c->out[0], to, value);
            if (c->out_count > 1 && c->out[1].data)
                ufi_put_int(&c->out[1], to, at);
        }
    }
    return UF_OK;
}
