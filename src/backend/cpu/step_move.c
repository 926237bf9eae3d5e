/*
 * Steps that move data: conversions between layouts, views, Transpose, Concat, Split, Slice. What
 * is only another name for the same bytes makes no step at all.
 */
#include <string.h>

#include "backend/cpu/build.h"

/* ---- conversion between layouts ---- */

static uf_status run_conversion(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const int64_t *d = s->in[0].t.shape.dims;
    size_t c = (size_t)d[1], pixels = (size_t)(d[2] * d[3]);
    bool to_nhwc = s->out[0].t.layout == UFI_NHWC;
    size_t rows = to_nhwc ? c : pixels, cols = to_nhwc ? pixels : c;
    for (size_t i = 0; i < (size_t)d[0]; i++)
        plan->k->transpose_f32((float *)s->out[0].t.data + i * c * pixels, rows,
                               (const float *)s->in[0].t.data + i * c * pixels, cols, rows, cols);
    return UF_OK;
}

/* Types other than FP32 come up in quantised graphs only. */
static uf_status run_byte_conversion(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const int64_t *d = s->in[0].t.shape.dims;
    size_t c = (size_t)d[1], pixels = (size_t)(d[2] * d[3]);
    size_t size = ufi_dtype_bytes(s->in[0].t.dtype);
    bool to_nhwc = s->out[0].t.layout == UFI_NHWC;
    size_t rows = to_nhwc ? c : pixels, cols = to_nhwc ? pixels : c;
    for (size_t i = 0; i < (size_t)d[0]; i++) {
        uint8_t *out = (uint8_t *)s->out[0].t.data + i * c * pixels * size;
        const uint8_t *in = (const uint8_t *)s->in[0].t.data + i * c * pixels * size;
        if (size == 1 && to_nhwc && c == 3) {
            plan->k->interleave3_u8(out, in, pixels);
            continue;
        }
        for (size_t x = 0; x < cols; x++)
            for (size_t y = 0; y < rows; y++)
                memcpy(out + (x * rows + y) * size, in + (y * cols + x) * size, size);
    }
    return UF_OK;
}

uf_status cpu_add_conversion(cpu_builder *b, const cpu_operand *from, const cpu_operand *to)
{
    bool f32 = from->t.dtype == UF_F32;
    return cpu_add_step(b, NULL, f32 ? run_conversion : run_byte_conversion,
                        f32 ? b->k->transpose_f32_name : "transpose_c", from, 1, to, 1, NULL, NULL);
}

/* ---- views ---- */

static uf_status run_copy(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    memcpy(s->out[0].t.data, s->in[0].t.data, ufi_tensor_bytes(&s->out[0].t));
    return UF_OK;
}

uf_status cpu_build_view(cpu_builder *b, const ufi_node *n)
{
    cpu_operand in, out;
    bool identity = n->op == UFI_OP_IDENTITY;
    ufi_layout layout = identity ? cpu_current_layout(b, n->in[0]) : UFI_PLAIN;
    uf_status st = cpu_in(b, n->in[0], layout, &in);
    if (st)
        return st;
    if (in.buffer >= 0) {
        cpu_alias(b, n->out[0], layout, &in);
        return UF_OK;
    }
    st = cpu_out(b, n->out[0], layout, NULL, &out);
    return st ? st : cpu_add_step(b, n, run_copy, "copy", &in, 1, &out, 1, NULL, NULL);
}

/* ---- transpose ---- */

typedef struct transpose_params {
    uint32_t rank;
    size_t dims[UF_MAX_DIMS];    /* of the output */
    size_t strides[UF_MAX_DIMS]; /* of the input, in output order, in elements */
    size_t element;
} transpose_params;

static uf_status run_transpose(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const transpose_params *p = s->params;
    size_t index[UF_MAX_DIMS] = {0}, inner = p->dims[p->rank - 1], step = p->strides[p->rank - 1];
    size_t rows = (size_t)ufi_shape_count(&s->out[0].t.shape) / inner;
    const uint8_t *in = s->in[0].t.data;
    uint8_t *out = s->out[0].t.data;
    for (size_t r = 0; r < rows; r++) {
        size_t at = 0;
        for (uint32_t d = 0; d + 1 < p->rank; d++)
            at += index[d] * p->strides[d];
        if (step == 1)
            memcpy(out, in + at * p->element, inner * p->element);
        else if (p->element == sizeof(float))
            for (size_t i = 0; i < inner; i++)
                ((float *)(void *)out)[i] = ((const float *)(const void *)in)[at + i * step];
        else
            for (size_t i = 0; i < inner; i++)
                memcpy(out + i * p->element, in + (at + i * step) * p->element, p->element);
        out += inner * p->element;
        for (uint32_t d = p->rank - 1; d-- > 0;) {
            if (++index[d] < p->dims[d])
                break;
            index[d] = 0;
        }
    }
    return UF_OK;
}

/* Whether `perm` walks the dims of `x` in the order in which `order` has them in memory; a dim of
 * size 1 may stand anywhere. */
static bool walks(const int64_t *perm, const uint32_t order[4], const ufi_shape *x)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < 4; i++) {
        if (x->dims[perm[i]] == 1)
            continue;
        while (at < 4 && x->dims[order[at]] == 1)
            at++;
        if (at == 4 || order[at++] != perm[i])
            return false;
    }
    return true;
}

/* NHWC data under the logical order N, H, W, C is PLAIN, and the other way round. */
static bool transpose_is_view(cpu_builder *b, const ufi_node *n, const ufi_attr *perm)
{
    static const uint32_t nhwc[4] = {0, 2, 3, 1};
    const cpu_place *p = &b->places[n->in[0]];
    const ufi_shape *x = cpu_shape(b, n->in[0]);
    cpu_operand in;
    if (perm->count != 4)
        return false;
    if (p->buffer[UFI_NHWC] >= 0 && walks(perm->u.ints, nhwc, x)) {
        in.buffer = p->buffer[UFI_NHWC];
        cpu_alias(b, n->out[0], UFI_PLAIN, &in);
        return true;
    }
    if (p->buffer[UFI_PLAIN] < 0 || memcmp(perm->u.ints, (const int64_t[]){0, 3, 1, 2}, 32) != 0)
        return false;
    in.buffer = p->buffer[UFI_PLAIN];
    cpu_alias(b, n->out[0], UFI_NHWC, &in);
    return true;
}

uf_status cpu_build_transpose(cpu_builder *b, const ufi_node *n)
{
    const ufi_shape *x = cpu_shape(b, n->in[0]), *y = cpu_shape(b, n->out[0]);
    const ufi_attr *perm = ufi_node_attr(n, UFI_ATTR_PERM);
    if (!perm || cpu_is_constant(b, n->in[0]) || ufi_shape_count(x) == 0 || x->rank == 0)
        return UF_E_UNSUPPORTED;
    if (transpose_is_view(b, n, perm))
        return UF_OK;
    transpose_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    size_t strides[UF_MAX_DIMS], step = 1;
    for (uint32_t d = x->rank; d-- > 0;) {
        strides[d] = step;
        step *= (size_t)x->dims[d];
    }
    p->rank = x->rank;
    p->element = ufi_dtype_bytes(b->g->values[n->in[0]].dtype);
    for (uint32_t d = 0; d < x->rank; d++) {
        p->dims[d] = (size_t)y->dims[d];
        p->strides[d] = strides[perm->u.ints[d]];
    }
    cpu_operand in, out;
    uf_status st = cpu_in(b, n->in[0], UFI_PLAIN, &in);
    if (!st)
        st = cpu_out(b, n->out[0], UFI_PLAIN, NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run_transpose, "transpose_c", &in, 1, &out, 1, p, NULL);
    return st;
}

/* ---- concat, split, slice along one axis: [outer][axis][inner] in physical order ---- */

/* Position of a logical axis among the physical dims, and bytes before and behind it. */
static void axis_sizes(const ufi_tensor *t, uint32_t axis, size_t *outer, size_t *axis_bytes)
{
    static const uint32_t order[4] = {0, 2, 3, 1};
    *outer = 1;
    size_t inner = ufi_dtype_bytes(t->dtype);
    bool before = true;
    for (uint32_t i = 0; i < t->shape.rank; i++) {
        uint32_t d = t->layout == UFI_NHWC ? order[i] : i;
        if (d == axis)
            before = false;
        if (before)
            *outer *= (size_t)t->shape.dims[d];
        else
            inner *= (size_t)t->shape.dims[d];
    }
    *axis_bytes = inner;
}

typedef struct axis_params {
    uint32_t axis;
    size_t first_bytes; /* slice: where the part begins in a row of the input */
} axis_params;

static uf_status run_concat(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const axis_params *p = s->params;
    size_t outer, row, at = 0;
    axis_sizes(&s->out[0].t, p->axis, &outer, &row);
    for (uint32_t i = 0; i < s->in_count; i++) {
        size_t part;
        axis_sizes(&s->in[i].t, p->axis, &outer, &part);
        for (size_t o = 0; o < outer; o++)
            memcpy((uint8_t *)s->out[0].t.data + o * row + at,
                   (const uint8_t *)s->in[i].t.data + o * part, part);
        at += part;
    }
    return UF_OK;
}

static uf_status run_split(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const axis_params *p = s->params;
    size_t outer, row, at = p->first_bytes;
    axis_sizes(&s->in[0].t, p->axis, &outer, &row);
    for (uint32_t i = 0; i < s->out_count; i++) {
        size_t part, count;
        axis_sizes(&s->out[i].t, p->axis, &count, &part);
        for (size_t o = 0; o < outer; o++)
            memcpy((uint8_t *)s->out[i].t.data + o * part,
                   (const uint8_t *)s->in[0].t.data + o * row + at, part);
        at += part;
    }
    return UF_OK;
}

static bool read_axis(int64_t axis, uint32_t rank, uint32_t *out)
{
    axis = axis < 0 ? axis + rank : axis;
    *out = (uint32_t)axis;
    return axis >= 0 && axis < (int64_t)rank;
}

/* The layout in which most inputs are already. */
static ufi_layout common_layout(const cpu_builder *b, const ufi_node *n)
{
    for (uint32_t i = 0; i < n->in_count; i++)
        if (!cpu_is_constant(b, n->in[i]) && cpu_current_layout(b, n->in[i]) == UFI_NHWC &&
            cpu_shape(b, n->in[i])->rank == 4)
            return UFI_NHWC;
    return UFI_PLAIN;
}

uf_status cpu_build_concat(cpu_builder *b, const ufi_node *n)
{
    axis_params *p = cpu_params(b, sizeof *p);
    cpu_operand *in = cpu_params(b, n->in_count * sizeof *in), out;
    if (!p || !in)
        return UF_E_NOMEM;
    if (!read_axis(ufi_node_int(n, UFI_ATTR_AXIS, 0), cpu_shape(b, n->out[0])->rank, &p->axis))
        return UF_E_UNSUPPORTED;
    ufi_layout layout = common_layout(b, n);
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < n->in_count; i++)
        st = cpu_in(b, n->in[i], layout, &in[i]);
    if (!st)
        st = cpu_out(b, n->out[0], layout, NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run_concat, "copy", in, n->in_count, &out, 1, p, NULL);
    return st;
}

uf_status cpu_build_split(cpu_builder *b, const ufi_node *n)
{
    axis_params *p = cpu_params(b, sizeof *p);
    cpu_operand in, *out = cpu_params(b, n->out_count * sizeof *out);
    if (!p || !out)
        return UF_E_NOMEM;
    if (!read_axis(ufi_node_int(n, UFI_ATTR_AXIS, 0), cpu_shape(b, n->in[0])->rank, &p->axis))
        return UF_E_UNSUPPORTED;
    for (uint32_t i = 0; i < n->out_count; i++)
        if (n->out[i] == UFI_NONE)
            return UF_E_UNSUPPORTED;
    ufi_layout layout = common_layout(b, n);
    uf_status st = cpu_in(b, n->in[0], layout, &in);
    for (uint32_t i = 0; !st && i < n->out_count; i++)
        st = cpu_out(b, n->out[i], layout, NULL, &out[i]);
    if (!st)
        st = cpu_add_step(b, n, run_split, "copy", &in, 1, out, n->out_count, p, NULL);
    return st;
}

/* One axis, step 1; anything else goes to the reference. */
uf_status cpu_build_slice(cpu_builder *b, const ufi_node *n)
{
    const ufi_shape *x = cpu_shape(b, n->in[0]), *y = cpu_shape(b, n->out[0]);
    if (!cpu_has_input(n, 3) || !cpu_is_constant(b, n->in[1]) || !cpu_is_constant(b, n->in[3]) ||
        ufi_shape_count(cpu_shape(b, n->in[1])) != 1 || b->g->values[n->in[1]].dtype != UF_I64 ||
        b->g->values[n->in[3]].dtype != UF_I64 || ufi_shape_count(y) == 0)
        return UF_E_UNSUPPORTED;
    if (cpu_has_input(n, 4) &&
        (!cpu_is_constant(b, n->in[4]) || b->g->values[n->in[4]].dtype != UF_I64 ||
         *(const int64_t *)cpu_constant(b, n->in[4]).data != 1))
        return UF_E_UNSUPPORTED;
    axis_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    int64_t start = *(const int64_t *)cpu_constant(b, n->in[1]).data;
    if (!read_axis(*(const int64_t *)cpu_constant(b, n->in[3]).data, x->rank, &p->axis))
        return UF_E_UNSUPPORTED;
    start = start < 0 ? start + x->dims[p->axis] : start;
    if (start < 0 || start + y->dims[p->axis] > x->dims[p->axis])
        return UF_E_UNSUPPORTED;
    ufi_layout layout = common_layout(b, n);
    cpu_operand in, out;
    uf_status st = cpu_in(b, n->in[0], layout, &in);
    if (!st)
        st = cpu_out(b, n->out[0], layout, NULL, &out);
    if (st)
        return st;
    size_t outer, row;
    axis_sizes(&in.t, p->axis, &outer, &row);
    p->first_bytes = row / (size_t)x->dims[p->axis] * (size_t)start;
    return cpu_add_step(b, n, run_split, "copy", &in, 1, &out, 1, p, NULL);
}
