/*
 * Making steps out of nodes. Each operator with a fast form has a function `cpu_build_<topic>` in
 * step_<topic>.c and a row in the table of build.c; all others run by their C reference.
 */
#ifndef UFI_BACKEND_CPU_BUILD_H
#define UFI_BACKEND_CPU_BUILD_H

#include "backend/cpu/cpu.h"

/* Where a value is: a buffer or constant data for each layout, -1 and NULL where it is not. */
typedef struct cpu_place {
    int32_t buffer[2];
    const void *data[2];
} cpu_place;

typedef struct cpu_builder {
    cpu_program *program;
    cpu_plan *plan;
    ufi_graph *g;
    const ufk_table *k;
    unsigned workers;
    bool steady;       /* of the queue */
    cpu_place *places; /* per value */
    uint32_t *uses;    /* per value: consumers not yet built */
    uint32_t *pending; /* per buffer: uses not yet built of all values in it */
    bool *pinned;      /* per buffer: never overwritten in place */
    uint32_t step_cap, buffer_cap;
    uf_error *err;
} cpu_builder;

/* Builds steps for one node, or returns UF_E_UNSUPPORTED *before having added any step* when this
 * node has no fast form; the reference then runs it. */
typedef uf_status cpu_build_fn(cpu_builder *b, const ufi_node *n);

static inline const ufi_shape *cpu_shape(const cpu_builder *b, uint32_t value)
{
    return &b->g->values[value].shape;
}

/* Whether input i of the node is given. */
static inline bool cpu_has_input(const ufi_node *n, uint32_t i)
{
    return i < n->in_count && n->in[i] != UFI_NONE;
}

bool cpu_is_constant(const cpu_builder *b, uint32_t value);
bool cpu_is_f32(const cpu_builder *b, uint32_t value);
/* The constant as a tensor (PLAIN). */
ufi_tensor cpu_constant(const cpu_builder *b, uint32_t value);
/* NHWC and PLAIN are the same bytes: rank other than 4, one channel, or one pixel. */
bool cpu_layouts_agree(const ufi_shape *s);
/* The layout `value` is in already; NHWC if it is in both. */
ufi_layout cpu_current_layout(const cpu_builder *b, uint32_t value);

/* The value as an operand in `layout`, with a conversion step before it if needed. */
uf_status cpu_in(cpu_builder *b, uint32_t value, ufi_layout layout, cpu_operand *out);
/* A place for a new value. When `reuse` is an operand of the same size that nobody needs after this
 * node, its memory is taken over. */
uf_status cpu_out(cpu_builder *b, uint32_t value, ufi_layout layout, const cpu_operand *reuse,
                  cpu_operand *out);
/* Declares that `value` is the same bytes as `operand` (Reshape, some Transposes). `layout` is that
 * of the new value. */
void cpu_alias(cpu_builder *b, uint32_t value, ufi_layout layout, const cpu_operand *operand);
/* Appends a step that takes copies of the operands. `params` must live in the plan's arena. */
uf_status cpu_add_step(cpu_builder *b, const ufi_node *n, cpu_run_fn *run, const char *kernel,
                       const cpu_operand *in, uint32_t in_count, const cpu_operand *out,
                       uint32_t out_count, const void *params, cpu_step **step);
/* Zeroed memory that lives as long as the plan; NULL and err filled when short. */
void *cpu_params(cpu_builder *b, size_t size);

/* The epilogue of a CONV or GEMM node with `channels` outputs, without the residual pointer. */
uf_status cpu_epilogue(cpu_builder *b, const ufi_node *n, uint32_t bias, uint32_t slope,
                       size_t channels, ufk_epilogue *out);

cpu_build_fn cpu_build_conv, cpu_build_gemm, cpu_build_matmul, cpu_build_pool,
    cpu_build_global_pool, cpu_build_binary, cpu_build_unary, cpu_build_clip, cpu_build_affine,
    cpu_build_prelu, cpu_build_softmax, cpu_build_view, cpu_build_transpose, cpu_build_concat,
    cpu_build_split, cpu_build_resize, cpu_build_slice, cpu_build_qconv, cpu_build_quantize,
    cpu_build_dequantize, cpu_build_qlinear_add, cpu_build_dynamic_quantize, cpu_build_pow,
    cpu_build_reduce, cpu_build_layer_norm, cpu_build_reference;

/* step_words.c: a QConv of INT16. */
uf_status cpu_build_words(cpu_builder *b, const ufi_node *n);

/* step_fused.c: `first` and the next node, a 1x1 convolution and a depthwise one, in one step. */
bool cpu_can_fuse(const cpu_builder *b, const ufi_node *first, const ufi_node *second);
uf_status cpu_build_fused(cpu_builder *b, const ufi_node *first, const ufi_node *second);

/* step_conv.c hands convolutions over: those in 16 bits or parts of 16 bits, of an input in planes,
 * and 3x3 ones where that is faster. */
/* The kernels for the weights in[1] as they were stored (for FP32, by parts), or NULL where the
 * machine gains nothing from them, a sum has few terms, or FP32 must be exact. */
const ufk_hconv *cpu_half_kernels(const cpu_builder *b, const ufi_node *n);
cpu_arithmetic cpu_half_arithmetic(const cpu_builder *b, const ufk_hconv *h);
/* The form of weights for them; with or without a run for each row of the kernel. */
cpu_pack_kind cpu_half_pack(const cpu_builder *b, const ufk_hconv *h, bool rows);
/* UF_E_UNSUPPORTED, before any step was added, when the shape is not one that is faster so. */
uf_status cpu_build_half_conv(cpu_builder *b, const ufi_node *n);
uf_status cpu_build_half_gemm(cpu_builder *b, const ufi_node *n);
bool cpu_is_planar_conv(const cpu_builder *b, const ufi_node *n);
uf_status cpu_build_planar(cpu_builder *b, const ufi_node *n);
uf_status cpu_build_winograd(cpu_builder *b, const ufi_node *n, int tile);
/* 4 or 2 when Winograd should carry out this convolution, else 0. */
int cpu_winograd_tile(const cpu_builder *b, const ufi_node *n);

/* Conversion between layouts (step_transpose.c). */
uf_status cpu_add_conversion(cpu_builder *b, const cpu_operand *from, const cpu_operand *to);

#endif
