/*
 * Operators that move elements without looking at them: each is one or a few strided copies.
 */
#include "graph/op.h"

static size_t element_size(const ufi_op_call *c)
{
    return ufi_dtype_bytes(c->in[0].dtype);
}

static char *bytes_at(const ufi_tensor *t, int64_t element)
{
    return (char *)t->data + element * (int64_t)ufi_dtype_bytes(t->dtype);
}

/* ---- Transpose ---- */

static uf_status read_perm(const ufi_op_call *c, uint32_t perm[UF_MAX_DIMS], uf_error *err)
{
    int64_t p[UF_MAX_DIMS];
    uint32_t count, mask, rank = c->in[0].shape.rank;
    uf_status st = ufi_op_ints(c, UFI_ATTR_PERM, p, UF_MAX_DIMS, &count, err);
    if (st)
        return st;
    if (count == 0)
        for (uint32_t i = 0; i < rank; i++)
            perm[i] = rank - 1 - i;
    if (count == 0)
        return UF_OK;
    if (count != rank)
        return ufi_op_fail(c, err, UF_E_FORMAT, "perm has %u items for rank %u", count, rank);
    for (uint32_t i = 0; i < rank; i++)
        if (p[i] < 0)
            p[i] += rank;
    st = ufi_op_axes(c, p, count, rank, &mask, err);
    for (uint32_t i = 0; !st && i < rank; i++)
        perm[i] = (uint32_t)p[i];
    return st;
}

uf_status ufi_infer_transpose(const ufi_op_call *c, uf_error *err)
{
    uint32_t perm[UF_MAX_DIMS];
    ufi_shape s = c->in[0].shape;
    uf_status st = read_perm(c, perm, err);
    for (uint32_t i = 0; !st && i < s.rank; i++)
        s.dims[i] = c->in[0].shape.dims[perm[i]];
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

uf_status ufi_eval_transpose(const ufi_op_call *c, uf_error *err)
{
    uint32_t perm[UF_MAX_DIMS];
    int64_t in[UF_MAX_DIMS], from[UF_MAX_DIMS], to[UF_MAX_DIMS];
    const ufi_shape *s = &c->out[0].shape;
    uf_status st = read_perm(c, perm, err);
    if (st)
        return st;
    ufi_strides(&c->in[0].shape, in);
    ufi_strides(s, to);
    for (uint32_t i = 0; i < s->rank; i++)
        from[i] = in[perm[i]];
    ufi_copy_strided(element_size(c), s->rank, s->dims, c->out[0].data, to, c->in[0].data, from);
    return UF_OK;
}

/* ---- Concat, Split ---- */

uf_status ufi_infer_concat(const ufi_op_call *c, uf_error *err)
{
    ufi_shape s = c->in[0].shape;
    uint32_t axis;
    uf_status st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), s.rank, &axis, err);
    for (uint32_t i = 1; !st && i < c->in_count; i++) {
        const ufi_shape *x = &c->in[i].shape;
        if (!ufi_op_has(c, i) || x->rank != s.rank)
            return ufi_op_fail(c, err, UF_E_FORMAT, "input %u is missing or of another rank", i);
        st = ufi_op_same_dtype(c, i, 0, err);
        for (uint32_t d = 0; !st && d < s.rank; d++) {
            if (d == axis) {
                s.dims[d] = s.dims[d] < 0 || x->dims[d] < 0 ? -1 : s.dims[d] + x->dims[d];
                if (s.dims[d] > UFI_MAX_DIM)
                    return ufi_op_fail(c, err, UF_E_LIMIT, "dimension %u is too large", d);
            } else if (s.dims[d] < 0) {
                s.dims[d] = x->dims[d];
            } else if (x->dims[d] >= 0 && x->dims[d] != s.dims[d]) {
                return ufi_op_fail(c, err, UF_E_FORMAT,
                                   "dimension %u of input %u is %lld, not %lld", d, i,
                                   (long long)x->dims[d], (long long)s.dims[d]);
            }
        }
    }
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

/* Copies `part` to or from its place along `axis` of `whole`, starting at `at`. */
static void copy_part(const ufi_tensor *whole, const ufi_tensor *part, uint32_t axis, int64_t at,
                      bool to_whole)
{
    const ufi_shape *p = &part->shape;
    int64_t inner = ufi_product(p->dims, axis + 1, p->rank), outer = ufi_product(p->dims, 0, axis);
    size_t row = (size_t)(p->dims[axis] * inner) * ufi_dtype_bytes(part->dtype);
    for (int64_t i = 0; row && i < outer; i++) {
        char *a = bytes_at(whole, (i * whole->shape.dims[axis] + at) * inner);
        char *b = bytes_at(part, i * p->dims[axis] * inner);
        memcpy(to_whole ? a : b, to_whole ? b : a, row);
    }
}

uf_status ufi_eval_concat(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    uf_status st =
        ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), c->out[0].shape.rank, &axis, err);
    int64_t at = 0;
    for (uint32_t i = 0; !st && i < c->in_count; i++) {
        copy_part(&c->out[0], &c->in[i], axis, at, true);
        at += c->in[i].shape.dims[axis];
    }
    return st;
}

/* The lengths of the parts; -1 where unknown. */
static uf_status split_lengths(const ufi_op_call *c, uint32_t axis, int64_t *lengths, uf_error *err)
{
    int64_t v[UFI_MAX_NODE_IO], total = 0, whole = c->in[0].shape.dims[axis];
    uint32_t count;
    bool known;
    uf_status st = ufi_op_int_input(c, 1, v, UFI_MAX_NODE_IO, &count, &known, err);
    if (st)
        return st;
    int64_t chunk = whole < 0 ? -1 : (whole + c->out_count - 1) / c->out_count;
    for (uint32_t i = 0; i < c->out_count; i++) {
        if (!ufi_op_has(c, 1)) /* equal parts, the last may be smaller */
            lengths[i] = chunk < 0 ? -1 : ufi_max64(0, ufi_min64(chunk, whole - i * chunk));
        else
            lengths[i] = known && i < count && v[i] != UFI_INT_UNKNOWN ? v[i] : -1;
        if (known && ufi_op_has(c, 1) && i < count && v[i] != UFI_INT_UNKNOWN &&
            (v[i] < 0 || v[i] > UFI_MAX_DIM))
            return ufi_op_fail(c, err, UF_E_FORMAT, "part %u has length %lld", i, (long long)v[i]);
        if (lengths[i] < 0)
            total = INT64_MIN / 2;
        total += lengths[i];
    }
    if (ufi_op_has(c, 1) && known && count != c->out_count)
        return ufi_op_fail(c, err, UF_E_FORMAT, "%u lengths for %u outputs", count, c->out_count);
    if (total >= 0 && whole >= 0 && total != whole)
        return ufi_op_fail(c, err, UF_E_FORMAT, "the parts have %lld elements, the input %lld",
                           (long long)total, (long long)whole);
    return UF_OK;
}

uf_status ufi_infer_split(const ufi_op_call *c, uf_error *err)
{
    int64_t lengths[UFI_MAX_NODE_IO];
    uint32_t axis;
    ufi_shape s = c->in[0].shape;
    uf_status st = ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), s.rank, &axis, err);
    if (!st)
        st = split_lengths(c, axis, lengths, err);
    for (uint32_t i = 0; !st && i < c->out_count; i++) {
        s.dims[axis] = lengths[i];
        st = ufi_op_set_out(c, i, c->in[0].dtype, &s, err);
    }
    return st;
}

uf_status ufi_eval_split(const ufi_op_call *c, uf_error *err)
{
    int64_t lengths[UFI_MAX_NODE_IO], at = 0;
    uint32_t axis;
    uf_status st =
        ufi_op_axis(c, ufi_node_int(c->node, UFI_ATTR_AXIS, 0), c->in[0].shape.rank, &axis, err);
    if (!st)
        st = split_lengths(c, axis, lengths, err);
    for (uint32_t i = 0; !st && i < c->out_count; i++) {
        if (c->out[i].data)
            copy_part(&c->in[0], &c->out[i], axis, at, false);
        at += lengths[i];
    }
    return st;
}

/* ---- Slice ---- */

typedef struct slice_axes {
    int64_t start[UF_MAX_DIMS], step[UF_MAX_DIMS], count[UF_MAX_DIMS]; /* count -1: unknown */
} slice_axes;

static uf_status slice_one(const ufi_op_call *c, slice_axes *s, uint32_t d, int64_t start,
                           int64_t end, int64_t step, uf_error *err)
{
    int64_t n = c->in[0].shape.dims[d];
    s->count[d] = -1;
    if (n < 0 || start == UFI_INT_UNKNOWN || end == UFI_INT_UNKNOWN || step == UFI_INT_UNKNOWN)
        return UF_OK;
    if (step == 0)
        return ufi_op_fail(c, err, UF_E_FORMAT, "step 0 along axis %u", d);
    step = ufi_max64(ufi_min64(step, UFI_MAX_DIM), -UFI_MAX_DIM);
    start = start < 0 ? start + n : start;
    end = end < 0 ? end + n : end;
    if (step > 0) {
        start = ufi_min64(ufi_max64(start, 0), n);
        end = ufi_min64(ufi_max64(end, 0), n);
        s->count[d] = end > start ? (end - start + step - 1) / step : 0;
    } else {
        start = ufi_min64(ufi_max64(start, -1), n - 1);
        end = ufi_min64(ufi_max64(end, -1), n - 1);
        s->count[d] = start > end ? (start - end - step - 1) / -step : 0;
    }
    s->start[d] = start;
    s->step[d] = step;
    return UF_OK;
}

static uf_status read_slice(const ufi_op_call *c, slice_axes *s, bool *known, uf_error *err)
{
    int64_t v[4][UFI_MAX_INTS];
    uint32_t count[4], mask, rank = c->in[0].shape.rank;
    bool have[4];
    uf_status st = UF_OK;
    for (uint32_t d = 0; d < rank; d++)
        s->start[d] = 0, s->step[d] = 1, s->count[d] = c->in[0].shape.dims[d];
    *known = true;
    for (uint32_t i = 0; !st && i < 4; i++) {
        st = ufi_op_int_input(c, 1 + i, v[i], UF_MAX_DIMS, &count[i], &have[i], err);
        *known &= have[i];
    }
    if (st || !*known)
        return st;
    uint32_t n = count[0];
    if (count[1] != n || (ufi_op_has(c, 3) && count[2] != n) || (ufi_op_has(c, 4) && count[3] != n))
        return ufi_op_fail(c, err, UF_E_FORMAT, "starts, ends, axes and steps differ in length");
    for (uint32_t i = 0; i < n; i++) {
        if (!ufi_op_has(c, 3))
            v[2][i] = i;
        if (!ufi_op_has(c, 4))
            v[3][i] = 1;
        if (v[2][i] == UFI_INT_UNKNOWN)
            *known = false;
    }
    if (!*known)
        return UF_OK;
    st = ufi_op_axes(c, v[2], n, rank, &mask, err);
    for (uint32_t i = 0; !st && i < n; i++)
        st = slice_one(c, s, (uint32_t)(v[2][i] < 0 ? v[2][i] + rank : v[2][i]), v[0][i], v[1][i],
                       v[3][i], err);
    return st;
}

uf_status ufi_infer_slice(const ufi_op_call *c, uf_error *err)
{
    slice_axes a;
    bool known;
    ufi_shape s = c->in[0].shape;
    uf_status st = read_slice(c, &a, &known, err);
    for (uint32_t d = 0; d < s.rank; d++)
        s.dims[d] = known ? a.count[d] : -1;
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

uf_status ufi_eval_slice(const ufi_op_call *c, uf_error *err)
{
    slice_axes a;
    bool known;
    int64_t in[UF_MAX_DIMS], from[UF_MAX_DIMS], to[UF_MAX_DIMS], offset = 0;
    const ufi_shape *s = &c->out[0].shape;
    uf_status st = read_slice(c, &a, &known, err);
    if (st || ufi_shape_count(s) == 0)
        return st;
    ufi_strides(&c->in[0].shape, in);
    ufi_strides(s, to);
    for (uint32_t d = 0; d < s->rank; d++) {
        offset += a.start[d] * in[d];
        from[d] = a.step[d] * in[d];
    }
    ufi_copy_strided(element_size(c), s->rank, s->dims, c->out[0].data, to,
                     bytes_at(&c->in[0], offset), from);
    return UF_OK;
}

/* ---- Pad ---- */

typedef struct pad_plan {
    int64_t before[UF_MAX_DIMS], after[UF_MAX_DIMS];
    bool known;
} pad_plan;

static uf_status read_pads(const ufi_op_call *c, pad_plan *p, uf_error *err)
{
    int64_t pads[UFI_MAX_INTS], axes[UFI_MAX_INTS];
    uint32_t count, axis_count, mask, rank = c->in[0].shape.rank;
    bool axes_known;
    memset(p, 0, sizeof *p);
    uf_status st = ufi_op_int_input(c, 1, pads, UFI_MAX_INTS, &count, &p->known, err);
    if (!st)
        st = ufi_op_int_input(c, 3, axes, UF_MAX_DIMS, &axis_count, &axes_known, err);
    p->known &= !st && axes_known;
    if (st || !p->known)
        return st;
    if (!ufi_op_has(c, 3)) {
        axis_count = rank;
        for (uint32_t i = 0; i < rank; i++)
            axes[i] = i;
    }
    if (count != 2 * axis_count)
        return ufi_op_fail(c, err, UF_E_FORMAT, "%u pads for %u axes", count, axis_count);
    st = ufi_op_axes(c, axes, axis_count, rank, &mask, err);
    for (uint32_t i = 0; !st && i < axis_count; i++) {
        uint32_t d = (uint32_t)(axes[i] < 0 ? axes[i] + rank : axes[i]);
        p->before[d] = pads[i];
        p->after[d] = pads[axis_count + i];
        if (pads[i] == UFI_INT_UNKNOWN || pads[axis_count + i] == UFI_INT_UNKNOWN)
            p->known = false;
        else if (llabs(pads[i]) > UFI_MAX_DIM || llabs(pads[axis_count + i]) > UFI_MAX_DIM)
            return ufi_op_fail(c, err, UF_E_LIMIT, "pads of axis %u are out of range", d);
    }
    return st;
}

enum { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

static int pad_mode(const ufi_op_call *c)
{
    const char *m = ufi_node_string(c->node, UFI_ATTR_MODE, "constant");
    return !strcmp(m, "constant")  ? PAD_CONSTANT
           : !strcmp(m, "reflect") ? PAD_REFLECT
           : !strcmp(m, "edge")    ? PAD_EDGE
           : !strcmp(m, "wrap")    ? PAD_WRAP
                                   : -1;
}

uf_status ufi_infer_pad(const ufi_op_call *c, uf_error *err)
{
    pad_plan p;
    ufi_shape s = c->in[0].shape;
    int mode = pad_mode(c);
    uf_status st = read_pads(c, &p, err);
    if (!st && mode < 0)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "mode \"%.40s\"",
                           ufi_node_string(c->node, UFI_ATTR_MODE, ""));
    if (!st)
        st = ufi_op_same_dtype(c, 2, 0, err);
    if (!st)
        st = ufi_op_need_count(c, 2, 1, false, err);
    for (uint32_t d = 0; !st && d < s.rank; d++) {
        int64_t n = s.dims[d];
        s.dims[d] = p.known && n >= 0 ? n + p.before[d] + p.after[d] : -1;
        if (!p.known || n < 0)
            continue;
        int64_t most = ufi_max64(p.before[d], p.after[d]);
        if (s.dims[d] < 0 || (mode == PAD_REFLECT && most > 0 && most >= n) ||
            (mode != PAD_CONSTANT && most > 0 && n == 0))
            return ufi_op_fail(c, err, UF_E_FORMAT, "pads %lld and %lld do not fit dimension %lld",
                               (long long)p.before[d], (long long)p.after[d], (long long)n);
    }
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

/* The source coordinate of output coordinate i, or -1 for the constant. */
static int64_t pad_source(int mode, int64_t i, int64_t before, int64_t n)
{
    int64_t x = i - before;
    if (x >= 0 && x < n)
        return x;
    if (mode == PAD_CONSTANT)
        return -1;
    if (mode == PAD_EDGE)
        return x < 0 ? 0 : n - 1;
    if (mode == PAD_WRAP)
        return ((x % n) + n) % n;
    return x < 0 ? -x : 2 * (n - 1) - x;
}

uf_status ufi_eval_pad(const ufi_op_call *c, uf_error *err)
{
    pad_plan p;
    int mode = pad_mode(c);
    const ufi_shape *in = &c->in[0].shape, *out = &c->out[0].shape;
    int64_t strides[UF_MAX_DIMS], index[UF_MAX_DIMS] = {0}, n = ufi_shape_count(out);
    size_t size = element_size(c);
    uint64_t zero = 0;
    const void *fill = ufi_op_has(c, 2) ? c->in[2].data : &zero;
    uf_status st = read_pads(c, &p, err);
    ufi_strides(in, strides);
    for (int64_t i = 0; !st && i < n; i++) {
        int64_t from = 0;
        bool inside = true;
        for (uint32_t d = 0; d < out->rank; d++) {
            int64_t x = pad_source(mode, index[d], p.before[d], in->dims[d]);
            inside &= x >= 0;
            from += x * strides[d];
        }
        memcpy(bytes_at(&c->out[0], i), inside ? bytes_at(&c->in[0], from) : fill, size);
        for (uint32_t d = out->rank; d-- > 0 && ++index[d] == out->dims[d];)
            index[d] = 0;
    }
    return st;
}

/* ---- Tile ---- */

static uf_status read_repeats(const ufi_op_call *c, int64_t *repeats, bool *known, uf_error *err)
{
    uint32_t count, rank = c->in[0].shape.rank;
    uf_status st = ufi_op_int_input(c, 1, repeats, UF_MAX_DIMS, &count, known, err);
    if (st || !*known)
        return st;
    if (count != rank)
        return ufi_op_fail(c, err, UF_E_FORMAT, "%u repeats for rank %u", count, rank);
    for (uint32_t i = 0; i < rank; i++)
        if (repeats[i] != UFI_INT_UNKNOWN && (repeats[i] < 0 || repeats[i] > UFI_MAX_DIM))
            return ufi_op_fail(c, err, UF_E_FORMAT, "repeat %lld", (long long)repeats[i]);
    return UF_OK;
}

uf_status ufi_infer_tile(const ufi_op_call *c, uf_error *err)
{
    int64_t repeats[UFI_MAX_INTS];
    bool known;
    ufi_shape s = c->in[0].shape;
    uf_status st = read_repeats(c, repeats, &known, err);
    for (uint32_t d = 0; !st && d < s.rank; d++) {
        bool open = !known || repeats[d] == UFI_INT_UNKNOWN || s.dims[d] < 0;
        s.dims[d] = open ? -1 : s.dims[d] * repeats[d];
    }
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

uf_status ufi_eval_tile(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *in = &c->in[0].shape, *out = &c->out[0].shape;
    int64_t strides[UF_MAX_DIMS], index[UF_MAX_DIMS] = {0}, n = ufi_shape_count(out);
    ufi_strides(in, strides);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = 0;
        for (uint32_t d = 0; d < out->rank; d++)
            from += index[d] % in->dims[d] * strides[d];
        memcpy(bytes_at(&c->out[0], i), bytes_at(&c->in[0], from), element_size(c));
        for (uint32_t d = out->rank; d-- > 0 && ++index[d] == out->dims[d];)
            index[d] = 0;
    }
    return UF_OK;
}

/* ---- DepthToSpace, SpaceToDepth ---- */

static uf_status read_block(const ufi_op_call *c, int64_t *block, uf_error *err)
{
    *block = ufi_node_int(c->node, UFI_ATTR_BLOCKSIZE, 0);
    if (*block < 1 || *block > 4096)
        return ufi_op_fail(c, err, UF_E_FORMAT, "blocksize %lld", (long long)*block);
    return ufi_op_need_rank(c, 0, 4, 4, err);
}

static uf_status divide(const ufi_op_call *c, int64_t *dim, int64_t by, uf_error *err)
{
    if (*dim >= 0 && *dim % by)
        return ufi_op_fail(c, err, UF_E_FORMAT, "%lld is no multiple of %lld", (long long)*dim,
                           (long long)by);
    if (*dim > 0)
        *dim /= by;
    return UF_OK;
}

static int64_t times(int64_t dim, int64_t by)
{
    return dim < 0 ? -1 : dim * by;
}

uf_status ufi_infer_depth_to_space(const ufi_op_call *c, uf_error *err)
{
    int64_t b;
    ufi_shape s = c->in[0].shape;
    uf_status st = read_block(c, &b, err);
    if (!st)
        st = divide(c, &s.dims[1], b * b, err);
    s.dims[2] = times(s.dims[2], b);
    s.dims[3] = times(s.dims[3], b);
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

uf_status ufi_infer_space_to_depth(const ufi_op_call *c, uf_error *err)
{
    int64_t b;
    ufi_shape s = c->in[0].shape;
    uf_status st = read_block(c, &b, err);
    if (!st)
        st = divide(c, &s.dims[2], b, err);
    if (!st)
        st = divide(c, &s.dims[3], b, err);
    s.dims[1] = times(s.dims[1], b * b);
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

/* Both are a transposition of rank 6; `wide` is the tensor with the larger plane. */
static void blocks(const ufi_op_call *c, const ufi_shape *wide, int64_t b, bool crd, bool to_space)
{
    int64_t n = wide->dims[0], ch = wide->dims[1], h = wide->dims[2] / b, w = wide->dims[3] / b;
    const int64_t dims[6] = {n, ch, h, b, w, b};
    const int64_t space[6] = {ch * h * b * w * b, h * b * w * b, b * w * b, w * b, b, 1};
    const int64_t plane = h * w, by_column = crd ? b : b * ch, by_row = crd ? 1 : ch;
    const int64_t depth[6] = {
        ch * b * b * plane, (crd ? b * b : 1) * plane, w, by_column * plane, 1, by_row * plane};
    ufi_copy_strided(element_size(c), 6, dims, c->out[0].data, to_space ? space : depth,
                     c->in[0].data, to_space ? depth : space);
}

uf_status ufi_eval_depth_to_space(const ufi_op_call *c, uf_error *err)
{
    bool crd = !strcmp(ufi_node_string(c->node, UFI_ATTR_MODE, "DCR"), "CRD");
    blocks(c, &c->out[0].shape, ufi_node_int(c->node, UFI_ATTR_BLOCKSIZE, 1), crd, true);
    return UF_OK;
}

uf_status ufi_eval_space_to_depth(const ufi_op_call *c, uf_error *err)
{
    blocks(c, &c->in[0].shape, ufi_node_int(c->node, UFI_ATTR_BLOCKSIZE, 1), false, false);
    return UF_OK;
}
