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

/* Input rows, with padding, behind `rows` output rows. */
static inline size_t cpu_conv_band_rows(const cpu_conv_shape *s, size_t rows)
{
    return (rows - 1) * s->stride_h + (s->kernel_h - 1) * s->dilation_h + 1;
}

#endif
