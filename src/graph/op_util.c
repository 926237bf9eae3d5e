/*
 * What all operators need: errors with the node's name, checked access to attributes and inputs,
 * elements of any type. Reading every type through double (or int64 for integers) keeps one loop
 * per operator; the references are for being right, the kernels for being fast.
 */
#include <stdarg.h>
#include <stdio.h>

#include "graph/op.h"

const char *ufi_op_title(const ufi_op_call *c)
{
    return ufi_op_name((ufi_op)c->node->op);
}

uf_status ufi_op_fail(const ufi_op_call *c, uf_error *err, uf_status st, const char *fmt, ...)
{
    char text[384];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return ufi_fail(err, st, "%s node \"%.100s\": %s", ufi_op_title(c),
                    c->node->name ? c->node->name : "", text);
}

uf_status ufi_op_ints(const ufi_op_call *c, ufi_attr_key key, int64_t *out, uint32_t cap,
                      uint32_t *count, uf_error *err)
{
    const ufi_attr *a = ufi_node_attr(c->node, key);
    *count = 0;
    if (!a)
        return UF_OK;
    if (a->type != UFI_ATTR_INTS)
        return ufi_op_fail(c, err, UF_E_FORMAT, "attribute %s is not a list of integers",
                           ufi_attr_name(key));
    if (a->count > cap)
        return ufi_op_fail(c, err, UF_E_FORMAT, "attribute %s has %u items, at most %u expected",
                           ufi_attr_name(key), a->count, cap);
    if (a->count)
        memcpy(out, a->u.ints, a->count * sizeof *out);
    *count = a->count;
    return UF_OK;
}

uf_status ufi_op_int_input(const ufi_op_call *c, uint32_t i, int64_t *out, uint32_t cap,
                           uint32_t *count, bool *known, uf_error *err)
{
    *count = 0;
    *known = true;
    if (!ufi_op_has(c, i))
        return UF_OK;
    const ufi_tensor *t = &c->in[i];
    if (t->dtype != UF_I64 && t->dtype != UF_I32)
        return ufi_op_fail(c, err, UF_E_FORMAT, "input %u must be int64 or int32, not %s", i,
                           ufi_dtype_name(t->dtype));
    if (t->shape.rank > 1)
        return ufi_op_fail(c, err, UF_E_FORMAT, "input %u must be a vector, not of rank %u", i,
                           t->shape.rank);
    int64_t n = t->shape.rank ? t->shape.dims[0] : 1;
    if (n > (int64_t)cap)
        return ufi_op_fail(c, err, UF_E_LIMIT, "input %u has %lld elements, at most %u are allowed",
                           i, (long long)n, cap);
    *count = n < 0 ? UFI_NONE : (uint32_t)n;
    *known = n >= 0 && (t->data || n == 0);
    if (*known)
        for (int64_t k = 0; k < n; k++)
            out[k] = ufi_get_int(t, k);
    return UF_OK;
}

uf_status ufi_op_axis(const ufi_op_call *c, int64_t axis, uint32_t rank, uint32_t *out,
                      uf_error *err)
{
    if (axis < -(int64_t)rank || axis >= (int64_t)rank)
        return ufi_op_fail(c, err, UF_E_FORMAT, "axis %lld is outside of rank %u", (long long)axis,
                           rank);
    *out = (uint32_t)(axis < 0 ? axis + rank : axis);
    return UF_OK;
}

uf_status ufi_op_axes(const ufi_op_call *c, const int64_t *axes, uint32_t count, uint32_t rank,
                      uint32_t *mask, uf_error *err)
{
    *mask = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t a = 0;
        uf_status st = ufi_op_axis(c, axes[i], rank, &a, err);
        if (st)
            return st;
        if (*mask >> a & 1)
            return ufi_op_fail(c, err, UF_E_FORMAT, "axis %u is named twice", a);
        *mask |= 1u << a;
    }
    return UF_OK;
}

uf_status ufi_op_set_out(const ufi_op_call *c, uint32_t i, uf_dtype dtype, const ufi_shape *shape,
                         uf_error *err)
{
    if (i >= c->out_count)
        return UF_OK;
    if (shape->rank > UF_MAX_DIMS)
        return ufi_op_fail(c, err, UF_E_LIMIT, "output of rank %u, at most %d is supported",
                           shape->rank, UF_MAX_DIMS);
    for (uint32_t d = 0; d < shape->rank; d++)
        if (shape->dims[d] < -1 || shape->dims[d] > UFI_MAX_DIM)
            return ufi_op_fail(c, err, UF_E_LIMIT, "output dimension %u would be %lld", d,
                               (long long)shape->dims[d]);
    if (ufi_shape_known(shape) && ufi_shape_count(shape) < 0) {
        char text[160];
        ufi_shape_text(shape, text, sizeof text);
        return ufi_op_fail(c, err, UF_E_LIMIT, "output %s has too many elements", text);
    }
    c->out[i].dtype = dtype;
    c->out[i].layout = UFI_PLAIN;
    c->out[i].shape = *shape;
    return UF_OK;
}

uf_status ufi_op_need_rank(const ufi_op_call *c, uint32_t i, uint32_t min, uint32_t max,
                           uf_error *err)
{
    uint32_t r = c->in[i].shape.rank;
    if (r < min || r > max)
        return ufi_op_fail(c, err, UF_E_FORMAT, "input %u has rank %u, expected %u to %u", i, r,
                           min, max);
    return UF_OK;
}

uf_status ufi_op_same_dtype(const ufi_op_call *c, uint32_t i, uint32_t as, uf_error *err)
{
    if (ufi_op_has(c, i) && c->in[i].dtype != c->in[as].dtype)
        return ufi_op_fail(c, err, UF_E_FORMAT, "input %u is %s but input %u is %s", i,
                           ufi_dtype_name(c->in[i].dtype), as, ufi_dtype_name(c->in[as].dtype));
    return UF_OK;
}

uf_status ufi_op_need_count(const ufi_op_call *c, uint32_t i, int64_t count, bool or_one,
                            uf_error *err)
{
    if (!ufi_op_has(c, i) || count < 0 || !ufi_shape_known(&c->in[i].shape))
        return UF_OK;
    int64_t n = ufi_shape_count(&c->in[i].shape);
    if (n == count || (or_one && n == 1))
        return UF_OK;
    return ufi_op_fail(c, err, UF_E_FORMAT, "input %u has %lld elements, expected %lld%s", i,
                       (long long)n, (long long)count, or_one && count != 1 ? " or 1" : "");
}

uf_status ufi_op_need_float(const ufi_op_call *c, uint32_t i, uf_error *err)
{
    if (!ufi_dtype_is_float(c->in[i].dtype))
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "input %u is %s, only floats are supported", i,
                           ufi_dtype_name(c->in[i].dtype));
    return UF_OK;
}

uf_status ufi_op_need_scale(const ufi_op_call *c, uint32_t i, int64_t count, uf_error *err)
{
    if (!ufi_op_has(c, i))
        return ufi_op_fail(c, err, UF_E_FORMAT, "the scale, input %u, is missing", i);
    if (c->in[i].dtype != UF_F32)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "the scale, input %u, is %s, not f32", i,
                           ufi_dtype_name(c->in[i].dtype));
    uf_status st = ufi_op_need_count(c, i, count, true, err);
    if (st || !c->in[i].data || !ufi_shape_known(&c->in[i].shape))
        return st;
    const float *s = c->in[i].data;
    int64_t n = ufi_shape_count(&c->in[i].shape);
    for (int64_t k = 0; k < n; k++)
        if (!(s[k] > 0) || isinf(s[k]))
            return ufi_op_fail(c, err, UF_E_FORMAT,
                               "the scale, input %u, has the value %g; it must be positive", i,
                               (double)s[k]);
    return UF_OK;
}

uf_status ufi_op_need_zero(const ufi_op_call *c, uint32_t i, uf_dtype dtype, int64_t count,
                           uf_error *err)
{
    if (!ufi_op_has(c, i))
        return UF_OK;
    if (c->in[i].dtype != dtype)
        return ufi_op_fail(c, err, UF_E_FORMAT, "the zero point, input %u, is %s, expected %s", i,
                           ufi_dtype_name(c->in[i].dtype), ufi_dtype_name(dtype));
    return ufi_op_need_count(c, i, count, true, err);
}

double ufi_get(const ufi_tensor *t, int64_t i)
{
    const void *p = t->data;
    switch (t->dtype) {
    case UF_F32:
        return (double)((const float *)p)[i];
    case UF_F64:
        return ((const double *)p)[i];
    case UF_F16:
        return (double)ufi_f16_to_f32(((const uint16_t *)p)[i]);
    case UF_BF16:
        return (double)ufi_bf16_to_f32(((const uint16_t *)p)[i]);
    case UF_U64:
        return (double)((const uint64_t *)p)[i];
    default:
        return (double)ufi_get_int(t, i);
    }
}

int64_t ufi_get_int(const ufi_tensor *t, int64_t i)
{
    const void *p = t->data;
    switch (t->dtype) {
    case UF_I8:
        return ((const int8_t *)p)[i];
    case UF_U8:
        return ((const uint8_t *)p)[i];
    case UF_I16:
        return ((const int16_t *)p)[i];
    case UF_U16:
        return ((const uint16_t *)p)[i];
    case UF_I32:
        return ((const int32_t *)p)[i];
    case UF_U32:
        return ((const uint32_t *)p)[i];
    case UF_I64:
        return ((const int64_t *)p)[i];
    case UF_U64:
        return (int64_t)((const uint64_t *)p)[i];
    case UF_BOOL:
        return ((const uint8_t *)p)[i] != 0;
    default:
        return 0;
    }
}

/* The range of an integer type as doubles; for 64 bits the largest double below the limit. */
static void int_range(uf_dtype t, double *lo, double *hi)
{
    size_t bits = ufi_dtype_bytes(t) * 8;
    bool is_signed = t == UF_I8 || t == UF_I16 || t == UF_I32 || t == UF_I64;
    *lo = is_signed ? -ldexp(1, (int)bits - 1) : 0;
    *hi = is_signed ? ldexp(1, (int)bits - 1) - 1 : ldexp(1, (int)bits) - 1;
    if (bits == 64)
        *hi = is_signed ? 9223372036854774784.0 : 18446744073709549568.0;
}

void ufi_put(const ufi_tensor *t, int64_t i, double v)
{
    void *p = t->data;
    switch (t->dtype) {
    case UF_F32:
        ((float *)p)[i] = (float)v;
        return;
    case UF_F64:
        ((double *)p)[i] = v;
        return;
    case UF_F16:
        ((uint16_t *)p)[i] = ufi_f32_to_f16((float)v);
        return;
    case UF_BF16:
        ((uint16_t *)p)[i] = ufi_f32_to_bf16((float)v);
        return;
    case UF_BOOL:
        ((uint8_t *)p)[i] = v != 0;
        return;
    default:
        break;
    }
    double lo, hi;
    int_range(t->dtype, &lo, &hi);
    v = isnan(v) ? 0 : v < lo ? lo : v > hi ? hi : v;
    if (t->dtype == UF_U64)
        ((uint64_t *)p)[i] = (uint64_t)v;
    else
        ufi_put_int(t, i, (int64_t)v);
}

void ufi_put_saturated(const ufi_tensor *t, int64_t i, double v)
{
    ufi_put(t, i, rint(v));
}

void ufi_put_int(const ufi_tensor *t, int64_t i, int64_t v)
{
    void *p = t->data;
    switch (t->dtype) {
    case UF_I8:
    case UF_U8:
        ((uint8_t *)p)[i] = (uint8_t)v;
        break;
    case UF_I16:
    case UF_U16:
        ((uint16_t *)p)[i] = (uint16_t)v;
        break;
    case UF_I32:
    case UF_U32:
        ((uint32_t *)p)[i] = (uint32_t)v;
        break;
    case UF_I64:
    case UF_U64:
        ((uint64_t *)p)[i] = (uint64_t)v;
        break;
    case UF_BOOL:
        ((uint8_t *)p)[i] = v != 0;
        break;
    default:
        ufi_put(t, i, (double)v);
        break;
    }
}

void ufi_get_row(const ufi_tensor *t, int64_t at, int64_t step, int64_t n, double *out)
{
    if (t->dtype == UF_F32) {
        const float *p = (const float *)t->data + at;
        if (step == 1)
            for (int64_t i = 0; i < n; i++)
                out[i] = (double)p[i];
        else
            for (int64_t i = 0; i < n; i++)
                out[i] = (double)p[i * step];
        return;
    }
    for (int64_t i = 0; i < n; i++)
        out[i] = ufi_get(t, at + i * step);
}

const ufi_tensor *ufi_op_optional(const ufi_op_call *c, uint32_t i)
{
    return ufi_op_has(c, i) ? &c->in[i] : NULL;
}

double ufi_op_element(const ufi_op_call *c, uint32_t i, int64_t k)
{
    if (!ufi_op_has(c, i))
        return 0;
    return ufi_get(&c->in[i], ufi_shape_count(&c->in[i].shape) == 1 ? 0 : k);
}
