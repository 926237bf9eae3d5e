/*
 * The graph: values and nodes in topological order. It is what the importer makes, what passes
 * rewrite, what a .ufm holds and what a device plans. Its operators (ops.def) mean what the newest
 * ONNX opset says; the importer normalises older forms. Floor 3.
 *
 * Ownership: the graph owns everything but the data of constants marked `borrowed` (they point into
 * a mapped model file, or at memory of `arena`). Thread: shareable while nobody changes it.
 */
#ifndef UFI_GRAPH_GRAPH_H
#define UFI_GRAPH_GRAPH_H

#include "base/arena.h"
#include "base/file.h"
#include "base/status.h"
#include "tensor/tensor.h"

#define UFI_NONE UINT32_MAX

/* Limits on what a file may ask for. */
#define UFI_MAX_NODES 65536u
#define UFI_MAX_VALUES 262144u
#define UFI_MAX_NODE_IO 256u
#define UFI_MAX_NAME_BYTES 1024u
#define UFI_MAX_ATTR_ITEMS 4096u

typedef enum ufi_op {
#define UFI_OP(name, text, min_in, max_in, min_out, max_out, infer, eval) UFI_OP_##name,
#include "graph/ops.def"
#undef UFI_OP
    UFI_OP_COUNT
} ufi_op;

typedef enum ufi_attr_key {
#define UFI_ATTR(name, text) UFI_ATTR_##name,
#include "graph/attrs.def"
#undef UFI_ATTR
    UFI_ATTR_COUNT
} ufi_attr_key;

/* Activations that CONV and GEMM carry out at the end. Pinned. */
typedef enum ufi_act {
    UFI_ACT_NONE = 0,
    UFI_ACT_RELU = 1,
    UFI_ACT_CLAMP = 2, /* to act_lo..act_hi */
    UFI_ACT_PRELU = 3, /* slope input */
    UFI_ACT_LEAKY = 4, /* act_alpha */
    UFI_ACT_HARD_SWISH = 5,
    UFI_ACT_SILU = 6,
    UFI_ACT_SIGMOID = 7
} ufi_act;

typedef enum ufi_attr_type {
    UFI_ATTR_INTS = 1,
    UFI_ATTR_FLOATS = 2,
    UFI_ATTR_STRING = 3
} ufi_attr_type;

/* One attribute: `count` items; a scalar is a list of one. */
typedef struct ufi_attr {
    uint16_t key;  /* ufi_attr_key */
    uint16_t type; /* ufi_attr_type */
    uint32_t count;
    union {
        const int64_t *ints;
        const float *floats;
        const char *string; /* count bytes and a NUL */
    } u;
} ufi_attr;

typedef struct ufi_value {
    const char *name; /* never NULL; "" when the source gave none */
    uf_dtype dtype;   /* UF_DTYPE_NONE while unknown */
    ufi_shape shape;  /* -1 dims where unknown; ignored while !has_shape */
    bool has_shape;
    const void *data; /* constant: PLAIN data of the full shape, else NULL */
} ufi_value;

typedef struct ufi_node {
    uint16_t op; /* ufi_op */
    uint32_t in_count, out_count;
    uint32_t *in;  /* value ids, UFI_NONE for an absent optional input */
    uint32_t *out; /* value ids, UFI_NONE for an output nobody wants */
    uint32_t attr_count;
    ufi_attr *attrs;
    const char *name;
} ufi_node;

typedef struct ufi_graph {
    ufi_arena arena; /* owns names, lists, attributes and constants that passes make */
    ufi_value *values;
    uint32_t value_count, value_cap;
    ufi_node *nodes; /* topological order */
    uint32_t node_count, node_cap;
    uint32_t *inputs, *outputs; /* value ids */
    uint32_t input_count, output_count;
    ufi_file_map map; /* borrowed: the file that constants lie in; empty when none does,
                           and in clones, which may outlive it */
} ufi_graph;

void ufi_graph_init(ufi_graph *g);
void ufi_graph_free(ufi_graph *g); /* accepts zeros and half-built graphs */
/* A copy that shares the constants' data with `src` (which must outlive it). */
uf_status ufi_graph_clone(ufi_graph *out, const ufi_graph *src, uf_error *err);
/* The data of constant `v` moves into the graph's own memory. */
uf_status ufi_graph_own_value(ufi_graph *g, uint32_t v, uf_error *err);

/* Builders; all copy what they are given into the arena. Ids come back in *id. */
uf_status ufi_graph_add_value(ufi_graph *g, const char *name, uf_dtype dtype,
                              const ufi_shape *shape, uint32_t *id, uf_error *err);
/* `data` is borrowed when `copy` is false. */
uf_status ufi_graph_add_constant(ufi_graph *g, const char *name, const ufi_tensor *t, bool copy,
                                 uint32_t *id, uf_error *err);
/* A constant of zeros, in the graph's arena; *floats may be written until the graph is used. */
uf_status ufi_graph_add_floats(ufi_graph *g, const char *name, const ufi_shape *shape,
                               float **floats, uint32_t *id, uf_error *err);
/* The node's input `i`, an f32 constant, becomes a new one with the same numbers, to be changed. */
uf_status ufi_graph_own_input(ufi_graph *g, ufi_node *n, uint32_t i, float **floats, uf_error *err);
uf_status ufi_graph_add_node(ufi_graph *g, ufi_op op, const char *name, const uint32_t *in,
                             uint32_t in_count, const uint32_t *out, uint32_t out_count,
                             uint32_t *node_index, uf_error *err);
uf_status ufi_graph_set_io(ufi_graph *g, const uint32_t *inputs, uint32_t input_count,
                           const uint32_t *outputs, uint32_t output_count, uf_error *err);
/* Add or replace an attribute. */
uf_status ufi_node_set_ints(ufi_graph *g, ufi_node *n, ufi_attr_key key, const int64_t *v,
                            uint32_t count, uf_error *err);
uf_status ufi_node_set_floats(ufi_graph *g, ufi_node *n, ufi_attr_key key, const float *v,
                              uint32_t count, uf_error *err);
uf_status ufi_node_set_string(ufi_graph *g, ufi_node *n, ufi_attr_key key, const char *v,
                              uint32_t count, uf_error *err);
static inline bool ufi_node_has(const ufi_node *n, uint32_t input)
{
    return input < n->in_count && n->in[input] != UFI_NONE;
}
const ufi_attr *ufi_node_attr(const ufi_node *n, ufi_attr_key key); /* NULL when absent */
int64_t ufi_node_int(const ufi_node *n, ufi_attr_key key, int64_t fallback);
float ufi_node_float(const ufi_node *n, ufi_attr_key key, float fallback);
/* The string, NUL-terminated, or `fallback`. */
const char *ufi_node_string(const ufi_node *n, ufi_attr_key key, const char *fallback);

const char *ufi_op_name(ufi_op op);
const char *ufi_attr_name(ufi_attr_key key);

/* Checks ids, arities, order, uniqueness of producers, limits; names the node that is wrong.
 * Whatever comes from a file passes here before anything else looks at it. */
uf_status ufi_graph_check(const ufi_graph *g, uf_error *err);

/* Sorts nodes so that producers come first; a cycle is UF_E_FORMAT naming a node in it. */
uf_status ufi_graph_sort(ufi_graph *g, uf_error *err);

/* ---- shape rules and the C reference (op_*.c) ---- */

/* What a rule sees: inputs as tensors (data NULL unless constant, absent inputs have dtype
 * UF_DTYPE_NONE), outputs to be filled with dtype and shape. Unknown dims may stay -1 if an input's
 * dims are unknown. The opset is always the newest. */
typedef struct ufi_op_call {
    const ufi_node *node;
    const ufi_tensor *in;
    uint32_t in_count;
    ufi_tensor *out;
    uint32_t out_count;
} ufi_op_call;

/* Shape rule of the node's operator. Errors: UF_E_FORMAT, UF_E_UNSUPPORTED, UF_E_LIMIT; messages
 * name operator and node. */
uf_status ufi_op_infer(const ufi_op_call *call, uf_error *err);
/* C reference: all inputs with data and PLAIN layout; outputs have shape, dtype and data (dense,
 * not overlapping the inputs). Bounds of data-dependent indices are checked. */
uf_status ufi_op_eval(const ufi_op_call *call, uf_error *err);

/* Infers every value's dtype and shape given the graph inputs' (already set in their values), and
 * folds what depends on constants and shapes alone: such values get `data` in the graph's arena.
 * Values whose shape cannot be known stay without one (only with unknown input dims). With
 * `max_fold_bytes` a folded constant above that size is left to run time (0: no limit). */
uf_status ufi_graph_infer(ufi_graph *g, size_t max_fold_bytes, uf_error *err);

/* ---- passes (pass_*.c) ---- */

/* Runs all passes in their order until nothing changes; see passes.c for the list and reasons.
 * The result computes the same function. */
uf_status ufi_graph_optimize(ufi_graph *g, uf_error *err);

/* ---- memory plan (memplan.c) ---- */

/* One buffer: bytes, and the first and last step that touch it (inclusive). `same_as` >= 0 makes it
 * share the buffer of an earlier entry (in-place), whose life is then extended. */
typedef struct ufi_buffer {
    size_t size_bytes;
    uint32_t first_step, last_step;
    int32_t same_as;     /* index of another buffer, or -1 */
    size_t offset_bytes; /* out; a multiple of 64 */
} ufi_buffer;

/* Gives every buffer an offset such that buffers alive at the same step do not overlap; *total is
 * the arena's size. Greedy, largest first. Errors: UF_E_NOMEM, UF_E_LIMIT. */
uf_status ufi_memory_plan(ufi_buffer *buffers, uint32_t count, size_t *total_bytes, uf_error *err);

/* Multiply-accumulates of one node with known shapes (conv, gemm, matmul; 0 for others). */
int64_t ufi_node_macs(const ufi_graph *g, const ufi_node *n);

#endif
