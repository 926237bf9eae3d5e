/* The numbers of a 2-D convolution, read once from node and shapes. */
#ifndef UFI_BACKEND_CPU_CONV_SHAPE_H
#define UFI_BACKEND_CPU_CONV_SHAPE_H

#include "backend/cpu/build.h"

typedef struct cpu_conv_shape {
    size_t batch, in_c, in_h, in_w, out_c, out_h, out_w;
    size_t kernel_h, kernel_w, groups, stride_h, stride_w, dilation_h, dilation_w;
    size_t pads[4]; /* top, left, bottom, right */
} cpu_conv_shape;

/* False when the node is no 2-D convolution with constant weights and explicit padding. */
bool cpu_conv_shape_any(const cpu_builder *b, const ufi_node *n, cpu_conv_shape *s);
/* The same, and the input is FP32. */
bool cpu_conv_shape_read(const cpu_builder *b, const ufi_node *n, cpu_conv_shape *s);

/* How the m x n outputs of a convolution are cut into tasks: m_tasks over all images, n_tasks over
 * the columns of a group. */
typedef struct cpu_blocks {
    size_t m_block, m_tasks, n_block, n_tasks;
} cpu_blocks;

/* Cuts m units of each image into blocks of at most `most`, a multiple of `step`, at least one task
 * for each worker if there is enough to do; cuts the columns (whole panels of nr) where the rows do
 * not suffice. */
cpu_blocks cpu_cut(size_t columns, size_t images, size_t m, size_t most, size_t step,
                   size_t workers, size_t nr);

/* Input and residual operands, and an output that takes over the residual's memory if it can. */
uf_status cpu_conv_operands(cpu_builder *b, const ufi_node *n, cpu_operand in[2],
                            uint32_t *in_count, cpu_operand *out);

/* Whether each output pixel is made of the input pixel at its place alone. */
static inline bool cpu_conv_is_pointwise(const cpu_conv_shape *s)
{
    return s->kernel_h == 1 && s->kernel_w == 1 && s->stride_h == 1 && s->stride_w == 1 &&
           !(s->pads[0] | s->pads[1] | s->pads[2] | s->pads[3]);
}

/* A row of the input with its padding, in pixels. */
static inline size_t cpu_conv_padded_width(const cpu_conv_shape *s)
{
    return s->in_w + s->pads[1] + s->pads[3];
}

/* Output rows first .. first + rows - 1 of an image, block `columns` of the columns: what a task
 * does where m counts rows. */
typedef struct cpu_band {
    size_t image, first, rows, columns;
} cpu_band;
cpu_band cpu_band_of(const cpu_conv_shape *s, const cpu_blocks *cut, size_t task);

/* Copies the rows of input `in` (the batch, channels last, `size` bytes a number) behind a band,
 * with their padding, which is bytes of `fill`. */
void cpu_copy_band(void *to, const cpu_conv_shape *s, const void *in, size_t size, int fill,
                   const cpu_band *band);

/* Input rows, with padding, behind `rows` output rows. */
static inline size_t cpu_conv_band_rows(const cpu_conv_shape *s, size_t rows)
{
    return (rows - 1) * s->stride_h + (s->kernel_h - 1) * s->dilation_h + 1;
}

#endif
