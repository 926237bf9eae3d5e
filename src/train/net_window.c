/* The geometry of windows in two dimensions, with pads that make given sizes fit. */
#include "train/net_impl.h"

static uf_status read_pair(const ufi_node *n, ufi_attr_key key, int64_t fallback, uint32_t count,
                           int64_t *out, uf_error *err)
{
    const ufi_attr *a = ufi_node_attr(n, key);
    for (uint32_t i = 0; i < count; i++)
        out[i] = fallback;
    if (!a)
        return UF_OK;
    if (a->type != UFI_ATTR_INTS || (a->count != count && a->count != 0))
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "attribute %s has %u items, expected %u",
                             ufi_attr_name(key), a->count, count);
    memcpy(out, a->u.ints, a->count * sizeof *out);
    return UF_OK;
}

uf_status ufi_net_read_window(const ufi_node *n, const ufi_shape *in, const ufi_shape *out,
                              const int64_t *kernel, ufi_net_window *w, uf_error *err)
{
    const char *automatic = ufi_node_string(n, UFI_ATTR_AUTO_PAD, "");
    int64_t pads[4];
    uf_status st = read_pair(n, UFI_ATTR_STRIDES, 1, 2, w->stride, err);
    if (!st)
        st = read_pair(n, UFI_ATTR_DILATIONS, 1, 2, w->dilation, err);
    if (!st)
        st = read_pair(n, UFI_ATTR_PADS, 0, 4, pads, err);
    for (int d = 0; !st && d < 2; d++) {
        const int64_t effective = (kernel[d] - 1) * w->dilation[d] + 1;
        int64_t total = (out->dims[2 + d] - 1) * w->stride[d] + effective - in->dims[2 + d];
        w->kernel[d] = kernel[d];
        w->pad[d] = pads[d];
        if (!strcmp(automatic, "SAME_UPPER"))
            w->pad[d] = total > 0 ? total / 2 : 0;
        else if (!strcmp(automatic, "SAME_LOWER"))
            w->pad[d] = total > 0 ? total - total / 2 : 0;
        else if (!strcmp(automatic, "VALID"))
            w->pad[d] = 0;
        w->pad_end[d] = total - w->pad[d]; /* below 0 where the last pixels are not reached */
    }
    return st;
}
