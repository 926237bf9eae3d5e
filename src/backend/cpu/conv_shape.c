/* What FP32 and INT8 convolutions share: reading the node, and cutting the work into tasks. */
#include "backend/cpu/conv_shape.h"

#include <string.h>

bool cpu_conv_shape_any(const cpu_builder *b, const ufi_node *n, cpu_conv_shape *s)
{
    const ufi_shape *x = cpu_shape(b, n->in[0]), *w = cpu_shape(b, n->in[1]);
    const ufi_shape *y = cpu_shape(b, n->out[0]);
    if (x->rank != 4 || !cpu_is_constant(b, n->in[1]))
        return false;
    const ufi_attr *strides = ufi_node_attr(n, UFI_ATTR_STRIDES);
    const ufi_attr *dilations = ufi_node_attr(n, UFI_ATTR_DILATIONS);
    const ufi_attr *pads = ufi_node_attr(n, UFI_ATTR_PADS);
    if (ufi_node_attr(n, UFI_ATTR_AUTO_PAD))
        return false;
    *s = (cpu_conv_shape){
        .batch = (size_t)x->dims[0],
        .in_c = (size_t)x->dims[1],
        .in_h = (size_t)x->dims[2],
        .in_w = (size_t)x->dims[3],
        .out_c = (size_t)y->dims[1],
        .out_h = (size_t)y->dims[2],
        .out_w = (size_t)y->dims[3],
        .kernel_h = (size_t)w->dims[2],
        .kernel_w = (size_t)w->dims[3],
        .groups = (size_t)ufi_node_int(n, UFI_ATTR_GROUP, 1),
        .stride_h = strides ? (size_t)strides->u.ints[0] : 1,
        .stride_w = strides ? (size_t)strides->u.ints[1] : 1,
        .dilation_h = dilations ? (size_t)dilations->u.ints[0] : 1,
        .dilation_w = dilations ? (size_t)dilations->u.ints[1] : 1,
    };
    /* A step that is never taken may be of any length. */
    if (s->out_h <= 1)
        s->stride_h = 1;
    if (s->out_w <= 1)
        s->stride_w = 1;
    if (pads)
        for (int i = 0; i < 4; i++) {
            if (pads->u.ints[i] < 0)
                return false;
            s->pads[i] = (size_t)pads->u.ints[i];
        }
    return true;
}

bool cpu_conv_shape_read(const cpu_builder *b, const ufi_node *n, cpu_conv_shape *s)
{
    return cpu_is_f32(b, n->in[0]) && cpu_conv_shape_any(b, n, s);
}

cpu_blocks cpu_cut(size_t columns, size_t images, size_t m, size_t most, size_t step,
                   size_t workers, size_t nr)
{
    cpu_blocks c;
    size_t panels = (columns + nr - 1) / nr, splits = 1;
    size_t per_image = workers > 1 && images < workers ? (m + 2 * workers - 1) / (2 * workers) : m;
    size_t block = per_image < most ? per_image : most;
    block = (block + step - 1) / step * step;
    c.m_block = block ? block : 1;
    c.m_tasks = images * ((m + c.m_block - 1) / c.m_block);
    if (workers > 1 && c.m_tasks && c.m_tasks < 2 * workers)
        splits = (2 * workers + c.m_tasks - 1) / c.m_tasks;
    if (splits > panels)
        splits = panels;
    c.n_block = (panels + splits - 1) / splits * nr;
    c.n_tasks = (columns + c.n_block - 1) / c.n_block;
    return c;
}

cpu_band cpu_band_of(const cpu_conv_shape *s, const cpu_blocks *cut, size_t task)
{
    const size_t bands = (s->out_h + cut->m_block - 1) / cut->m_block, at = task / cut->n_tasks;
    cpu_band band = {
        .image = at / bands, .first = at % bands * cut->m_block, .columns = task % cut->n_tasks};
    band.rows = s->out_h - band.first < cut->m_block ? s->out_h - band.first : cut->m_block;
    return band;
}

void cpu_copy_band(void *to, const cpu_conv_shape *s, const void *in, size_t size, int fill,
                   const cpu_band *band)
{
    const size_t pixel = s->in_c * size, row = s->in_w * pixel, left = s->pads[1] * pixel;
    const size_t whole = cpu_conv_padded_width(s) * pixel;
    const size_t rows = cpu_conv_band_rows(s, band->rows);
    const uint8_t *image = (const uint8_t *)in + band->image * s->in_h * row;
    uint8_t *at = to;
    for (size_t r = 0; r < rows; r++, at += whole) {
        const size_t y = band->first * s->stride_h + r - s->pads[0]; /* wraps below zero */
        if (y >= s->in_h) {
            memset(at, fill, whole);
            continue;
        }
        memset(at, fill, left);
        memcpy(at + left, image + y * row, row);
        memset(at + left + row, fill, whole - left - row);
    }
}
