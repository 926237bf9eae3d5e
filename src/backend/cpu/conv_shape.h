/* The numbers of a 2-D convolution, read once from node and shapes. */
#ifndef UFI_BACKEND_CPU_CONV_SHAPE_H
#define UFI_BACKEND_CPU_CONV_SHAPE_H

#include "backend/cpu/build.h"

typedef struct cpu_conv_shape {
    size_t batch, in_c, in_h, in_w, out_c, out_h, out_w;
    size_t kernel_h, kernel_w, groups, stride_h, stride_w, dilation_h, dilation_w;
    size_t pads[4]; /* top, left, bottom, right */
} cpu_conv_shape;

/* False when the node is no FP32 2-D convolution with constant weights and explicit padding. */
bool cpu_conv_shape_read(const cpu_builder *b, const ufi_node *n, cpu_conv_shape *s);

/* Input and residual operands, and an output that takes over the residual's memory if it can. */
uf_status cpu_conv_operands(cpu_builder *b, const ufi_node *n, cpu_operand in[2],
                            uint32_t *in_count, cpu_operand *out);

/* Input rows, with padding, behind `rows` output rows. */
static inline size_t cpu_conv_band_rows(const cpu_conv_shape *s, size_t rows)
{
    return (rows - 1) * s->stride_h + (s->kernel_h - 1) * s->dilation_h + 1;
}

#endif
