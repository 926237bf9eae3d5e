/*
 * What the files of a network under training share. The graph's nodes are lowered (net_lower.c, one
 * row per operator) to steps over blobs; a step's kind (grad_*.c) knows how to go forward and back.
 * One plan (net_plan.c) gives all blobs, their gradients and the steps' temporary memory their
 * places, over the time that is 0..n-1 on the way there and n..2n-1 on the way back.
 *
 * Blobs of rank 4 lie in memory as [n][h][w][c], others in C order. Private to training networks.
 */
#ifndef UFI_TRAIN_NET_IMPL_H
#define UFI_TRAIN_NET_IMPL_H

#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "train/grad_rows.h"
#include "train/net.h"
#include "train/net_dnnl.h"

typedef struct ufi_blob {
    ufi_shape shape;
    int64_t strides[UF_MAX_DIMS]; /* of the logical dimensions, in elements */
    size_t count;
    const float *constant; /* an f32 constant's numbers, PLAIN; NULL for others */
    uint32_t variable;     /* or UFI_NONE */
    bool wants_grad;
    bool f32;                 /* whatever the net keeps */
    void *data;               /* NULL for constants */
    void *grad;               /* NULL: nobody upstream wants it, or nobody downstream gives it */
    void *given, *given_grad; /* memory of its own instead of a place in the plan */
    uint32_t producer;        /* step; UFI_NONE for constants */
    uint32_t data_buffer, grad_buffer; /* of the plan, or UFI_NONE */
} ufi_blob;

/* Memory a step needs on one of its ways only. */
typedef struct ufi_temp {
    size_t bytes;
    bool back;
    void *data;
    uint32_t buffer;
} ufi_temp;

enum { UFI_STEP_TEMPS = 8 };

typedef struct ufi_step ufi_step;
typedef struct ufi_byte_range ufi_byte_range;
typedef struct ufi_quant_layer ufi_quant_layer;

typedef struct ufi_step_kind {
    const char *name;
    /* Chooses how to compute and asks for temporary memory. */
    uf_status (*create)(ufi_net *net, ufi_step *s, uf_error *err);
    /* All memory has its place now; may be NULL. */
    uf_status (*bind)(ufi_net *net, ufi_step *s, uf_error *err);
    uf_status (*forward)(ufi_net *net, ufi_step *s, uf_error *err);
    /* Gives in[k] its gradient where the blob has one, adding when adds[k]. */
    uf_status (*backward)(ufi_net *net, ufi_step *s, uf_error *err);
    void (*destroy)(ufi_step *s); /* frees `state`; NULL when nothing but the arena holds it */
} ufi_step_kind;

struct ufi_step {
    const ufi_step_kind *kind;
    const ufi_node *node; /* for messages and attributes; NULL for what is not of the graph */
    uint32_t in_count, out_count;
    uint32_t *in, *out; /* blobs, UFI_NONE where absent */
    bool *adds;         /* per input: another step has written its gradient before this one */
    bool *shares;       /* per input: its gradient lies where out[0]'s does */
    bool *keeps;        /* per input: its data are needed on the way back */
    bool keeps_out;     /* so are those of out[0] */
    bool passes_grad;   /* the gradient of every input is out[0]'s as it is */
    bool overwrites;    /* out[0] may lie where in[0] does */
    ufi_curve curve;    /* the activation at the step's end */
    ufi_temp temps[UFI_STEP_TEMPS];
    uint32_t temp_count;
    const void *plan; /* what lowering found out, by kind; in the arena */
    void *state;
    double seconds[2];
};

struct ufi_net {
    ufi_graph graph; /* a clone with the batch's shapes */
    const ufi_graph *given;
    ufi_net_options options;
    const ufi_rows *rows;
    ufi_dnnl dnnl;
    ufi_arena arena;
    ufi_blob *blobs;
    uint32_t blob_count, blob_cap;
    ufi_step *steps;
    uint32_t step_count, step_cap;
    uint32_t *uses;    /* per value of the graph: nodes and outputs that read it */
    uint32_t *reader;  /* per value: a node that reads it, the only one where uses is 1 */
    uint32_t *writers; /* per blob: the last step that reads it, which is the first to write its
                          gradient */
    uint32_t *second;  /* the one before that; UFI_NONE when there is none */
    uint32_t *norms;   /* per node: variable of a batch normalisation's running mean (that of the
                          variance is the next), or UFI_NONE */
    ufi_byte_range *ranges;   /* per value: of bytes (grad_quant.c) */
    ufi_quant_layer **layers; /* per node: of a QConv, or NULL */
    bool *skip;               /* per node: nobody needs it, or a step before has done it */
    ufi_variable *variables;
    uint32_t variable_count, variable_cap;
    uint32_t *shared; /* per variable: how many steps add to its gradient */
    float *input_data;
    float **output_data, **output_grad;
    uint8_t *memory;
    size_t bytes; /* all that is held */
    bool timed;
};

static inline ufi_blob *ufi_blob_in(const ufi_net *net, const ufi_step *s, uint32_t i)
{
    return i < s->in_count && s->in[i] != UFI_NONE ? &net->blobs[s->in[i]] : NULL;
}
static inline ufi_blob *ufi_blob_out(const ufi_net *net, const ufi_step *s, uint32_t i)
{
    return s->out[i] != UFI_NONE ? &net->blobs[s->out[i]] : NULL;
}
static inline bool ufi_blob_bf16(const ufi_net *net, const ufi_blob *b)
{
    return net->options.bf16 && !b->f32;
}
static inline size_t ufi_blob_bytes(const ufi_net *net, const ufi_blob *b)
{
    return b->count * (ufi_blob_bf16(net, b) ? 2 : 4);
}
/* Channels of the innermost dimension: of axis 1 for rank 4, of the last axis for others. */
size_t ufi_blob_channels(const ufi_blob *b);
/* The variable a constant input is, or NULL. */
ufi_variable *ufi_step_variable(const ufi_net *net, const ufi_step *s, uint32_t i);
/* Where the gradient of a convolution's weights goes: its variable's, or that of the blob. */
static inline float *ufi_step_weights_grad(const ufi_net *net, const ufi_step *s)
{
    const ufi_variable *v = ufi_step_variable(net, s, 1);
    return v ? v->grad : (float *)ufi_blob_in(net, s, 1)->grad;
}
/* Whether several steps add to its gradient, which is zero before they do. */
static inline bool ufi_variable_shared(const ufi_net *net, const ufi_variable *v)
{
    return net->shared[v - net->variables] > 1;
}
/* Zeroed memory of the net's life; NULL and *err filled when there is none. */
void *ufi_net_alloc(ufi_net *net, size_t count, size_t size, uf_error *err);
/* `Operator node "name": ` before the message. */
uf_status ufi_step_fail(const ufi_node *n, uf_error *err, uf_status st, const char *fmt, ...)
    UFI_PRINTF(4, 5);

/* ---- lowering (net_lower.c) ---- */

uf_status ufi_net_lower(ufi_net *net, uf_error *err);
/* A blob of its own for what lies between two steps of one node. */
uf_status ufi_net_add_blob(ufi_net *net, const ufi_shape *shape, uint32_t *id, uf_error *err);
uf_status ufi_net_add_like(ufi_net *net, uint32_t as, uint32_t *id, uf_error *err);
/* A step with `in` and `out` copied; fills in producers and who wants gradients. */
uf_status ufi_net_add_step(ufi_net *net, const ufi_step_kind *kind, const ufi_node *n,
                           const uint32_t *in, uint32_t in_count, const uint32_t *out,
                           uint32_t out_count, ufi_step **step, uf_error *err);
/* Input `i` of a node, an f32 constant, becomes a variable (once for each constant). */
uf_status ufi_net_learn(ufi_net *net, const ufi_node *n, uint32_t i, bool decay, uf_error *err);
/* A variable that is kept beside those that are learned: `n`.`what`, of `count` numbers. */
uf_status ufi_net_keep(ufi_net *net, const ufi_node *n, const char *what, size_t count, float value,
                       uint32_t *variable, uf_error *err);
/* A blob for a variable that stands for no constant of the graph: `shape` zeros to begin with. */
uf_status ufi_net_add_learned(ufi_net *net, const char *name, const ufi_shape *shape, bool decay,
                              uint32_t *blob, uf_error *err);
bool ufi_net_is_constant(const ufi_net *net, const ufi_node *n, uint32_t i);

/* Each lowers a node of one or several operators. */
typedef uf_status ufi_lower_fn(ufi_net *net, const ufi_node *n, uf_error *err);
ufi_lower_fn ufi_lower_conv, ufi_lower_gemm, ufi_lower_matmul, ufi_lower_affine, ufi_lower_unary,
    ufi_lower_binary, ufi_lower_pool, ufi_lower_global_pool, ufi_lower_reduce_mean,
    ufi_lower_concat, ufi_lower_split, ufi_lower_slice, ufi_lower_reshape, ufi_lower_transpose,
    ufi_lower_resize, ufi_lower_softmax, ufi_lower_lp_norm, ufi_lower_pad, ufi_lower_quantize,
    ufi_lower_dequantize, ufi_lower_qconv, ufi_lower_qlinear_add;

/* The products of a convolution alone: blob `w` is a variable's, or computed by a step. */
uf_status ufi_net_add_conv(ufi_net *net, const ufi_node *n, uint32_t x, uint32_t w, uint32_t out,
                           uf_error *err);
/* Tables of what is in bytes, before lowering. */
uf_status ufi_net_open_bytes(ufi_net *net, uf_error *err);
/* `to` has the range of `from`: the node between them only moves or compares bytes. */
void ufi_net_same_range(ufi_net *net, uint32_t from, uint32_t to);
/* Bytes and scales of what was learned, for ufi_net_store. */
uf_status ufi_net_store_bytes(const ufi_net *net, const float *const *data, ufi_graph *out,
                              uf_error *err);

/* The activation at the end of CONV and GEMM. */
uf_status ufi_net_fused(const ufi_node *n, ufi_curve *c, uf_error *err);
/* A curve alone; `slope` is UFI_NONE or a constant of one or as many as there are channels. */
uf_status ufi_lower_curve(ufi_net *net, const ufi_node *n, ufi_curve curve, uint32_t slope,
                          uint32_t in, uint32_t out, uf_error *err);
/* out = in0 + in1 of the same shape. */
uf_status ufi_lower_sum(ufi_net *net, const ufi_node *n, uint32_t a, uint32_t b, uint32_t out,
                        uf_error *err);
/* out = a `op` b, an elementwise operator with broadcasting. */
uf_status ufi_lower_pair(ufi_net *net, const ufi_node *n, ufi_op op, uint32_t a, uint32_t b,
                         uint32_t out, uf_error *err);
/* The graph's input and outputs: from and to the caller's FP32. */
uf_status ufi_lower_copy(ufi_net *net, uint32_t from, uint32_t to, uf_error *err);

/* ---- planning and running ---- */

/* Temporary memory of a step: `index` of its temps. */
uf_status ufi_step_temp(ufi_step *s, bool back, size_t bytes, uint32_t *index, uf_error *err);
/* Who writes each gradient first, and who adds. */
uf_status ufi_net_find_writers(ufi_net *net, uf_error *err);
uf_status ufi_net_plan(ufi_net *net, uf_error *err);
/* Whether the step has anything to do on the way back. */
bool ufi_step_takes_part(const ufi_net *net, const ufi_step *s);

/* Work on items `from` to `to` - 1; `part` is 0..threads-1. Items are dealt out in equal runs, the
 * same every time. */
typedef void ufi_part_fn(void *arg, size_t from, size_t to, unsigned part);
void ufi_net_parallel(const ufi_net *net, ufi_part_fn *fn, void *arg, size_t count);
/* How many threads OpenMP, ours and oneDNN's, uses from here on; returns how many it did. */
unsigned ufi_net_set_threads(unsigned threads);

/* dst = a + other, or a copy of `a` when `other` is NULL; all are stored as `b` is. */
void ufi_net_add(const ufi_net *net, const ufi_blob *b, void *dst, const void *a,
                 const void *other);

/* One row of numbers stored as BF16 or not, as FP32: in place where it is, else copied to tmp. */
static inline const float *ufi_net_load(const ufi_net *net, bool bf16, const void *data, size_t at,
                                        size_t n, float *tmp)
{
    if (!bf16)
        return (const float *)data + at;
    net->rows->to_f32(tmp, (const uint16_t *)data + at, n);
    return tmp;
}
/* data (+)= row, stored; `row` may be changed. */
static inline void ufi_net_store_row(const ufi_net *net, bool bf16, void *data, size_t at, size_t n,
                                     float *row, bool add)
{
    for (size_t i = 0; add && i < n; i++)
        row[i] += bf16 ? ufi_bf16_to_f32(((const uint16_t *)data)[at + i])
                       : ((const float *)data)[at + i];
    if (bf16)
        net->rows->to_bf16((uint16_t *)data + at, row, n);
    else
        memcpy((float *)data + at, row, n * sizeof *row);
}
/* Strides in C order, which is how constants lie. */
void ufi_net_plain_strides(const ufi_shape *s, int64_t *strides);

/* Windows of convolution and pooling in two dimensions. */
typedef struct ufi_net_window {
    int64_t kernel[2], stride[2], dilation[2], pad[2], pad_end[2];
} ufi_net_window;
uf_status ufi_net_read_window(const ufi_node *n, const ufi_shape *in, const ufi_shape *out,
                              const int64_t *kernel, ufi_net_window *w, uf_error *err);

/* ---- the weights' gradient of depthwise convolutions (grad_depthwise.c) ---- */

typedef struct ufi_depthwise ufi_depthwise;
/* Of the step of a convolution; lies in the net's arena. */
uf_status ufi_depthwise_create(ufi_net *net, const ufi_step *s, ufi_depthwise **out, uf_error *err);
void ufi_depthwise_run(const ufi_net *net, const ufi_step *s, ufi_depthwise *q);

#endif
