/*
 * The first convolution of a network over planes: what step_planar.c shares with step_fused.c.
 */
#ifndef UFI_BACKEND_CPU_PLANAR_H
#define UFI_BACKEND_CPU_PLANAR_H

#include "backend/cpu/build.h"
#include "backend/cpu/conv_shape.h"

typedef struct cpu_planar {
    cpu_conv_shape s;
    const float *weights; /* (in_c, kernel_h, kernel_w) x out_c, packed */
    ufk_epilogue epilogue;
} cpu_planar;

/* Of a node that cpu_is_planar_conv takes. */
uf_status cpu_planar_read(cpu_builder *b, const ufi_node *n, cpu_planar *out);
/* Output rows y .. y + rows - 1 of an image (its planes) to `out`, NHWC. */
void cpu_planar_rows(const cpu_planar *p, const ufk_table *k, const float *image, size_t y,
                     size_t rows, float *scratch, float *out);
/* What `rows` rows need of scratch. */
size_t cpu_planar_scratch_floats(const cpu_planar *p, size_t rows);

#endif
