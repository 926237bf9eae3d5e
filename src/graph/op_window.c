/*
 * The geometry of sliding windows, for convolution and pooling: every number may come from a
 * hostile file, so kernels, strides, dilations and pads are bounded before they are multiplied.
 */
#include "graph/op.h"

/* Numbers in the padded input: its product with a stride or an element's size is far below 2^64. */
#define MAX_PADDED ((size_t)1 << 34)

/* A list attribute with one entry per spatial dimension (or `per` entries), `fallback` when absent.
 */
static uf_status read_list(const ufi_op_call *c, ufi_attr_key key, uint32_t n, int64_t fallback,
                           int64_t min, int64_t *out, uf_error *err)
{
    uint32_t count;
    for (uint32_t i = 0; i < n; i++)
        out[i] = fallback;
    uf_status st = ufi_op_ints(c, key, out, 6, &count, err);
    if (st)
        return st;
    if (count != 0 && count != n)
        return ufi_op_fail(c, err, UF_E_FORMAT, "attribute %s has %u items, expected %u",
                           ufi_attr_name(key), count, n);
    for (uint32_t i = 0; i < n; i++)
        if (out[i] < min || out[i] > UFI_MAX_DIM)
            return ufi_op_fail(c, err, UF_E_FORMAT, "attribute %s has the value %lld",
                               ufi_attr_name(key), (long long)out[i]);
    return UF_OK;
}

enum { AUTO_NOTSET, AUTO_SAME_UPPER, AUTO_SAME_LOWER, AUTO_VALID };

static uf_status read_auto_pad(const ufi_op_call *c, int *mode, uf_error *err)
{
    const char *s = ufi_node_string(c->node, UFI_ATTR_AUTO_PAD, "NOTSET");
    *mode = !strcmp(s, "SAME_UPPER")   ? AUTO_SAME_UPPER
            : !strcmp(s, "SAME_LOWER") ? AUTO_SAME_LOWER
            : !strcmp(s, "VALID")      ? AUTO_VALID
                                       : AUTO_NOTSET;
    if (*mode == AUTO_NOTSET && strcmp(s, "NOTSET") && *s)
        return ufi_op_fail(c, err, UF_E_FORMAT, "unknown auto_pad \"%.40s\"", s);
    return UF_OK;
}

/* One dimension's output size from its input, kernel, stride and pads. */
static uf_status out_size(const ufi_op_call *c, ufi_window *w, uint32_t d, int mode, bool ceil_mode,
                          uf_error *err)
{
    int64_t in = w->in[d], s = w->stride[d], effective = (w->kernel[d] - 1) * w->dilation[d] + 1;
    if (mode == AUTO_VALID)
        w->pad[d] = w->pad_end[d] = 0;
    w->out[d] = -1;
    if (in < 0)
        return UF_OK;
    if (mode == AUTO_SAME_UPPER || mode == AUTO_SAME_LOWER) {
        w->out[d] = (in + s - 1) / s;
        int64_t total = ufi_max64((w->out[d] - 1) * s + effective - in, 0);
        w->pad[d] = mode == AUTO_SAME_UPPER ? total / 2 : total - total / 2;
        w->pad_end[d] = total - w->pad[d];
        return UF_OK;
    }
    int64_t room = in + w->pad[d] + w->pad_end[d] - effective;
    if (room < 0)
        return ufi_op_fail(c, err, UF_E_FORMAT,
                           "a kernel that covers %lld does not fit the padded input of %lld",
                           (long long)effective, (long long)(in + w->pad[d] + w->pad_end[d]));
    w->out[d] = (ceil_mode ? (room + s - 1) / s : room / s) + 1;
    /* The last window must start inside the input or the padding before it. */
    if (ceil_mode && (w->out[d] - 1) * s >= in + w->pad[d])
        w->out[d]--;
    return UF_OK;
}

/* Kernels lay rows of the padded input into their scratch. */
static uf_status check_padded(const ufi_op_call *c, const ufi_shape *x, const ufi_window *w,
                              uf_error *err)
{
    size_t count = x->dims[1] > 0 ? (size_t)x->dims[1] : 1;
    for (uint32_t d = 0; d < 3; d++) {
        if (w->in[d] < 0)
            return UF_OK;
        const int64_t padded = w->in[d] + w->pad[d] + w->pad_end[d];
        if (!ufi_mul_ok(count, padded > 0 ? (size_t)padded : 1, &count) || count > MAX_PADDED)
            return ufi_op_fail(c, err, UF_E_LIMIT, "pads make the input too large");
    }
    return UF_OK;
}

uf_status ufi_op_window(const ufi_op_call *c, const ufi_shape *x, const int64_t *kernel,
                        ufi_window *w, uf_error *err)
{
    uint32_t n = x->rank - 2, lead = 3 - n;
    int64_t stride[6], dilation[6], pads[6];
    int mode;
    memset(w, 0, sizeof *w);
    w->spatial = n;
    for (uint32_t d = 0; d < lead; d++)
        w->in[d] = w->out[d] = w->kernel[d] = w->stride[d] = w->dilation[d] = 1;
    uf_status st = read_list(c, UFI_ATTR_STRIDES, n, 1, 1, stride, err);
    if (!st)
        st = read_list(c, UFI_ATTR_DILATIONS, n, 1, 1, dilation, err);
    if (!st)
        st = read_list(c, UFI_ATTR_PADS, 2 * n, 0, 0, pads, err);
    if (!st)
        st = read_auto_pad(c, &mode, err);
    bool ceil_mode = ufi_node_int(c->node, UFI_ATTR_CEIL_MODE, 0) != 0;
    for (uint32_t i = 0; !st && i < n; i++) {
        uint32_t d = lead + i;
        if (kernel[i] < 1 || kernel[i] > UFI_MAX_DIM)
            return ufi_op_fail(c, err, UF_E_FORMAT, "kernel size %lld", (long long)kernel[i]);
        w->in[d] = x->dims[2 + i];
        w->kernel[d] = kernel[i];
        w->stride[d] = stride[i];
        w->dilation[d] = dilation[i];
        w->pad[d] = pads[i];
        w->pad_end[d] = pads[n + i];
        st = out_size(c, w, d, mode, ceil_mode, err);
    }
    return st ? st : check_padded(c, x, w, err);
}

uf_status ufi_op_pool_window(const ufi_op_call *c, const ufi_shape *x, ufi_window *w, uf_error *err)
{
    int64_t kernel[3];
    uint32_t count;
    if (x->rank < 3 || x->rank > 5)
        return ufi_op_fail(c, err, x->rank < 3 ? UF_E_FORMAT : UF_E_UNSUPPORTED,
                           "input of rank %u, expected 3 to 5", x->rank);
    uf_status st = ufi_op_ints(c, UFI_ATTR_KERNEL_SHAPE, kernel, 3, &count, err);
    if (st)
        return st;
    if (count != x->rank - 2)
        return ufi_op_fail(c, err, UF_E_FORMAT, "kernel_shape has %u items for %u dimensions",
                           count, x->rank - 2);
    return ufi_op_window(c, x, kernel, w, err);
}
