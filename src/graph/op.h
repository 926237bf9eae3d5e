/*
 * What the operators (op_*.c) share: errors that name the node, checked reading of attributes and
 * of integer inputs, broadcasting, walks over strided data, the geometry of sliding windows.
 * Private to the graph room.
 *
 * A shape rule is called with tensors of known rank; dims may be -1. Everything it sees may come
 * from a hostile file: it checks before it computes. A reference is called only by ufi_op_eval,
 * after the rule has accepted the very same inputs and the outputs were found to have the shapes
 * that the rule gives, so a reference checks data-dependent things only. An output whose `data` is
 * NULL is not wanted.
 */
#ifndef UFI_GRAPH_OP_H
#define UFI_GRAPH_OP_H

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/graph.h"

#define UFI_OP(name, text, min_in, max_in, min_out, max_out, infer, eval) \
    uf_status ufi_infer_##infer(const ufi_op_call *c, uf_error *err);     \
    uf_status ufi_eval_##eval(const ufi_op_call *c, uf_error *err);
#include "graph/ops.def"
#undef UFI_OP

/* Rank of an output whose rank cannot be known yet. */
#define UFI_RANK_UNKNOWN UINT32_MAX
/* An element of an integer vector that is not known yet (see the partial vectors of infer.c). */
#define UFI_INT_UNKNOWN INT64_MIN
#define UFI_MAX_DIM ((int64_t)INT32_MAX)
/* Integer inputs (shapes, axes, pads, scales' sizes) hold at most so many numbers. */
#define UFI_MAX_INTS (2 * UF_MAX_DIMS)

/* ---- errors ---- */

/* ufi_fail with `Conv node "name": ` before the message. */
uf_status ufi_op_fail(const ufi_op_call *c, uf_error *err, uf_status st, const char *fmt, ...)
    UFI_PRINTF(4, 5);
const char *ufi_op_title(const ufi_op_call *c);

/* ---- inputs and attributes ---- */

static inline bool ufi_op_has(const ufi_op_call *c, uint32_t i)
{
    return i < c->in_count && c->in[i].dtype != UF_DTYPE_NONE;
}

/* Ints attribute into out[cap]; *count is 0 when it is absent. */
uf_status ufi_op_ints(const ufi_op_call *c, ufi_attr_key key, int64_t *out, uint32_t cap,
                      uint32_t *count, uf_error *err);
/* Input `i`, a scalar or vector of i32/i64, into out[cap]. *known is false when its data is not
 * known; *count is then its length, or UFI_NONE if that is not known either. Absent: 0, known. */
uf_status ufi_op_int_input(const ufi_op_call *c, uint32_t i, int64_t *out, uint32_t cap,
                           uint32_t *count, bool *known, uf_error *err);
/* -rank..rank-1 to 0..rank-1. */
uf_status ufi_op_axis(const ufi_op_call *c, int64_t axis, uint32_t rank, uint32_t *out,
                      uf_error *err);
/* The same for a list: a bit per axis; an axis named twice is an error. */
uf_status ufi_op_axes(const ufi_op_call *c, const int64_t *axes, uint32_t count, uint32_t rank,
                      uint32_t *mask, uf_error *err);
/* Sets dtype and shape of output `i` after checking dims and the product against the limits. */
uf_status ufi_op_set_out(const ufi_op_call *c, uint32_t i, uf_dtype dtype, const ufi_shape *shape,
                         uf_error *err);
uf_status ufi_op_need_rank(const ufi_op_call *c, uint32_t i, uint32_t min, uint32_t max,
                           uf_error *err);
/* Input `i`, if present, must have the same dtype as input `as`. */
uf_status ufi_op_same_dtype(const ufi_op_call *c, uint32_t i, uint32_t as, uf_error *err);
/* Input `i`, if present, must have `count` elements (or one, when `or_one`). Unknown passes. */
uf_status ufi_op_need_count(const ufi_op_call *c, uint32_t i, int64_t count, bool or_one,
                            uf_error *err);

static inline bool ufi_dtype_is_float(uf_dtype t)
{
    return t == UF_F32 || t == UF_F16 || t == UF_BF16 || t == UF_F64;
}
static inline bool ufi_dtype_is_int(uf_dtype t)
{
    return t >= UF_I8 && t <= UF_U64;
}
/* Input `i` must be of floating point. */
uf_status ufi_op_need_float(const ufi_op_call *c, uint32_t i, uf_error *err);

/* ---- elements ---- */

double ufi_get(const ufi_tensor *t, int64_t i);
/* Rounds to the nearest for floats; truncates and saturates for integers, NaN becomes 0. */
void ufi_put(const ufi_tensor *t, int64_t i, double v);
int64_t ufi_get_int(const ufi_tensor *t, int64_t i); /* integers and bool */
void ufi_put_int(const ufi_tensor *t, int64_t i, int64_t v);
/* n elements from `at` on, `step` apart. */
void ufi_get_row(const ufi_tensor *t, int64_t at, int64_t step, int64_t n, double *out);
/* Rounds half to even and saturates to the range of t's integer type. */
void ufi_put_saturated(const ufi_tensor *t, int64_t i, double v);

/* Input `i`, or NULL when it is absent. */
const ufi_tensor *ufi_op_optional(const ufi_op_call *c, uint32_t i);
/* Element k of input `i`, or its only one; 0 when it is absent. */
double ufi_op_element(const ufi_op_call *c, uint32_t i, int64_t k);

/* ---- shapes ---- */

static inline int64_t ufi_min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t ufi_max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
/* Product of dims[from..to); -1 when one is unknown or it passes UFI_MAX_ELEMENTS. */
int64_t ufi_product(const int64_t *dims, uint32_t from, uint32_t to);
/* Element strides of a dense tensor. */
void ufi_strides(const ufi_shape *s, int64_t *strides);
/* Strides of `in` seen as a tensor of shape `out`: 0 along broadcast dimensions. */
void ufi_broadcast_strides(const ufi_shape *in, const ufi_shape *out, int64_t *strides);
/* *acc becomes the shape that `acc` and `s` broadcast to; false when they do not. */
bool ufi_broadcast(ufi_shape *acc, const ufi_shape *s);

/* ---- walks ---- */

#define UFI_WALK_DIMS (2 * UF_MAX_DIMS)
#define UFI_WALK_OPERANDS 4

/* A walk over an index space in C order, row by row, for up to four operands with strides of their
 * own:  for (bool more = ufi_walk_init(&w, ...); more; more = ufi_walk_next(&w))
 *           for (int64_t i = 0; i < w.length; i++) use(w.at[k] + i * w.step[k]); */
typedef struct ufi_walk {
    uint32_t rank, operands;
    int64_t dims[UFI_WALK_DIMS], index[UFI_WALK_DIMS];
    int64_t strides[UFI_WALK_OPERANDS][UFI_WALK_DIMS];
    int64_t at[UFI_WALK_OPERANDS]; /* element offset of the row's first element */
    int64_t length, step[UFI_WALK_OPERANDS];
} ufi_walk;

/* False when the space is empty. Dimensions that can be walked as one are merged. */
bool ufi_walk_init(ufi_walk *w, uint32_t rank, const int64_t *dims, uint32_t operands,
                   const int64_t *const *strides);
bool ufi_walk_next(ufi_walk *w);

/* Copies elements of `size` bytes over a strided index space; src and dst point at index 0. */
void ufi_copy_strided(size_t size, uint32_t rank, const int64_t *dims, void *dst,
                      const int64_t *dst_strides, const void *src, const int64_t *src_strides);

/* ---- sliding windows: convolution and pooling ---- */

/* Always three spatial dimensions: missing ones are put before the others with size 1. */
typedef struct ufi_window {
    uint32_t spatial;
    int64_t in[3], out[3]; /* -1 while unknown */
    int64_t kernel[3], stride[3], dilation[3], pad[3], pad_end[3];
} ufi_window;

/* Reads strides, dilations, pads, auto_pad and ceil_mode of the node for input shape x
 * [n][c][spatial...]; `kernel` has x->rank - 2 known entries. Errors: UF_E_FORMAT,
 * UF_E_UNSUPPORTED, UF_E_LIMIT. */
uf_status ufi_op_window(const ufi_op_call *c, const ufi_shape *x, const int64_t *kernel,
                        ufi_window *w, uf_error *err);

/* Reads the kernel from attribute kernel_shape and then the window: what pooling does. */
uf_status ufi_op_pool_window(const ufi_op_call *c, const ufi_shape *x, ufi_window *w,
                             uf_error *err);

/* Pools input 0; calls emit with maximum, sum and the divisor of the mean of each output. */
typedef void ufi_pooling_emit(void *arg, int64_t index, double max, double sum, int64_t count);
void ufi_pooling_run(const ufi_op_call *c, const ufi_window *w, ufi_pooling_emit *emit, void *arg);

/* ---- pieces that quantised operators share with the others ---- */

/* One convolution with accumulators in double, which hold integer sums exactly. */
typedef struct ufi_conv_job {
    ufi_window win;
    const ufi_tensor *x, *w;
    const ufi_tensor *x_zero, *w_zero; /* NULL or one element, w_zero also one per output channel */
    int64_t batch, channels, filters, group;
} ufi_conv_job;

/* Shape rule of the convolution of inputs x and w (by index): fills the job and the output's shape,
 * dims -1 where unknown; `job->win` holds only when all of w's dims are known. */
uf_status ufi_op_conv_job(const ufi_op_call *c, uint32_t x, uint32_t w, ufi_conv_job *job,
                          ufi_shape *out, uf_error *err);
/* Calls emit(arg, filter, output index, value) for each output element. */
typedef void ufi_conv_emit(void *arg, int64_t filter, int64_t index, double acc);
void ufi_conv_run(const ufi_conv_job *job, ufi_conv_emit *emit, void *arg);

/* One matrix product, batched and broadcast, with optional zero points. */
typedef struct ufi_matmul_job {
    const ufi_tensor *a, *b;
    const ufi_tensor *a_zero, *b_zero; /* NULL, one element, or one per row of a / column of b */
    int64_t m, k, n;
    int64_t a_row, a_col, b_row, b_col; /* strides */
    uint32_t batch_rank;
    int64_t batch_dims[UF_MAX_DIMS], a_batch[UF_MAX_DIMS], b_batch[UF_MAX_DIMS];
} ufi_matmul_job;

uf_status ufi_op_matmul_job(const ufi_op_call *c, uint32_t a, uint32_t b, ufi_matmul_job *job,
                            ufi_shape *out, uf_error *err);
/* The same for two matrices with attributes transA and transB. */
uf_status ufi_op_gemm_job(const ufi_op_call *c, uint32_t a, uint32_t b, ufi_matmul_job *job,
                          ufi_shape *out, uf_error *err);
typedef void ufi_matmul_emit(void *arg, int64_t row, int64_t col, int64_t index, double acc);
void ufi_matmul_run(const ufi_matmul_job *job, ufi_matmul_emit *emit, void *arg);

/* The fused activation of CONV and GEMM. */
typedef struct ufi_activation {
    ufi_act act;
    double lo, hi, alpha;
} ufi_activation;
uf_status ufi_op_activation(const ufi_op_call *c, ufi_activation *a, uf_error *err);
double ufi_activate(const ufi_activation *a, double x, double slope);

/* A scale input must be f32, positive and finite; a zero point must have `count` or one element
 * and type `dtype`. Data that is not known yet passes. */
uf_status ufi_op_need_scale(const ufi_op_call *c, uint32_t i, int64_t count, uf_error *err);
uf_status ufi_op_need_zero(const ufi_op_call *c, uint32_t i, uf_dtype dtype, int64_t count,
                           uf_error *err);

#endif
