/*
 * What the files of the ONNX importer share. onnx.c walks model and graph, onnx_tensor.c reads
 * tensors, onnx_node.c turns nodes into ours by a table, onnx_normalise.c has the forms that
 * changed between opsets. Private to the format room.
 */
#ifndef UFI_FORMAT_ONNX_H
#define UFI_FORMAT_ONNX_H

#include "format/model_file.h"
#include "format/proto.h"

/* TensorProto.DataType to uf_dtype; UF_DTYPE_NONE for those we do not have. */
uf_dtype ufi_onnx_dtype(uint64_t type);

/* An attribute as the file has it. Lists are packed or not, so they are kept as read. */
typedef struct onnx_attr {
    char name[64];
    int type; /* AttributeProto.AttributeType, guessed when absent */
    int64_t i;
    float f;
    ufi_proto s, t;
    int64_t *ints; /* in the arena */
    float *floats;
    uint32_t int_count, float_count;
    bool used;
} onnx_attr;

enum {
    ONNX_FLOAT = 1,
    ONNX_INT = 2,
    ONNX_STRING = 3,
    ONNX_TENSOR = 4,
    ONNX_GRAPH = 5,
    ONNX_FLOATS = 6,
    ONNX_INTS = 7,
    ONNX_STRINGS = 8
};

enum { ONNX_MAX_ATTRS = 64, ONNX_MAX_IO = 256 };

typedef struct onnx_node {
    char op[64], domain[64];
    const char *name; /* in the arena */
    uint32_t in[ONNX_MAX_IO], out[ONNX_MAX_IO];
    uint32_t in_count, out_count;
    onnx_attr attrs[ONNX_MAX_ATTRS];
    uint32_t attr_count;
} onnx_node;

typedef struct onnx_import {
    ufi_graph *g;
    int64_t opset, ms_opset; /* of "" and "com.microsoft"; 0: not imported */
    /* Names of values: open addressing, slots hold id + 1. */
    uint32_t *slots;
    uint32_t slot_count;
    uf_error *err;
} onnx_import;

/* The value called `name` (made when it is new); the empty name is UFI_NONE. */
uf_status onnx_value(onnx_import *m, const ufi_proto *name, uint32_t *id);

/* Reads a TensorProto. Its data points into the file where it can, else into the graph's arena. */
uf_status onnx_tensor(onnx_import *m, ufi_proto p, ufi_tensor *t, ufi_proto *name);
/* Makes value `id` the constant `t`. */
uf_status onnx_set_constant(onnx_import *m, uint32_t id, const ufi_tensor *t);

uf_status onnx_node_read(onnx_import *m, ufi_proto p, onnx_node *n);
/* Adds the node in its newest form. */
uf_status onnx_node_add(onnx_import *m, onnx_node *n);
/* Error that names operator, node and opset. */
uf_status onnx_node_fail(const onnx_import *m, const onnx_node *n, uf_status st, const char *fmt,
                         ...) UFI_PRINTF(4, 5);

onnx_attr *onnx_find(onnx_node *n, const char *name); /* marks it as used; NULL when absent */
int64_t onnx_int(onnx_node *n, const char *name, int64_t fallback);
float onnx_float(onnx_node *n, const char *name, float fallback);
/* New constants for inputs that used to be attributes. */
uf_status onnx_add_ints(onnx_import *m, const int64_t *v, uint32_t count, uint32_t *id);
uf_status onnx_add_floats(onnx_import *m, const float *v, uint32_t count, bool scalar,
                          uint32_t *id);
/* Adds a node of `op` with the file's inputs and outputs as they stand in `n`, and the attributes
 * that our operators know. */
uf_status onnx_emit(onnx_import *m, onnx_node *n, ufi_op op, ufi_node **added);

/* Forms that changed: each rewrites `n` and emits. */
typedef uf_status onnx_handler(onnx_import *m, onnx_node *n, ufi_op op);
onnx_handler onnx_plain, onnx_first_output, onnx_constant, onnx_batch_norm, onnx_clip, onnx_slice,
    onnx_pad, onnx_axes, onnx_split, onnx_top_k, onnx_softmax, onnx_cast, onnx_constant_of_shape,
    onnx_upsample, onnx_resize, onnx_max_pool;

#endif
