/*
 * Elementwise operators that no convolution took in. A tensor is a matrix here: [rows][cols], where
 * cols is what the second operand runs along; long ones are cut into tasks.
 */
#include <math.h>
#include <string.h>

#include "backend/cpu/build.h"

/* Elements of a task: enough to hide the cost of handing it out. */
#define TASK_ELEMENTS ((size_t)16 << 10)

/* ---- unary ---- */

typedef struct unary_params {
    ufk_unop op;
    float p0, p1;
} unary_params;

typedef struct unary_job {
    const cpu_step *step;
    const ufk_table *k;
    size_t count, block;
} unary_job;

static void unary_task(void *arg, size_t task, size_t worker)
{
    const unary_job *job = arg;
    const unary_params *p = job->step->params;
    size_t first = task * job->block;
    size_t count = job->count - first < job->block ? job->count - first : job->block;
    job->k->unary_f32(p->op, (float *)job->step->out[0].t.data + first,
                      (const float *)job->step->in[0].t.data + first, count, p->p0, p->p1);
}

static uf_status run_unary(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    size_t count = (size_t)ufi_shape_count(&s->in[0].t.shape);
    unary_job job = {s, plan->k, count, ufi_pool_size(plan->pool) > 1 ? TASK_ELEMENTS : count};
    if (count)
        ufi_pool_run(plan->pool, unary_task, &job, (count + job.block - 1) / job.block);
    return UF_OK;
}

static uf_status add_unary(cpu_builder *b, const ufi_node *n, ufk_unop op, float p0, float p1)
{
    if (!cpu_is_f32(b, n->in[0]))
        return UF_E_UNSUPPORTED;
    unary_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    *p = (unary_params){op, p0, p1};
    cpu_operand in, out;
    ufi_layout layout = cpu_current_layout(b, n->in[0]);
    uf_status st = cpu_in(b, n->in[0], layout, &in);
    if (!st)
        st = cpu_out(b, n->out[0], layout, &in, &out);
    if (!st)
        st = cpu_add_step(b, n, run_unary, b->k->elementwise_f32_name, &in, 1, &out, 1, p, NULL);
    return st;
}

uf_status cpu_build_unary(cpu_builder *b, const ufi_node *n)
{
    float alpha = ufi_node_float(n, UFI_ATTR_ALPHA, NAN);
    switch ((ufi_op)n->op) {
    case UFI_OP_RELU:
        return add_unary(b, n, UFK_RELU, 0, 0);
    case UFI_OP_LEAKY_RELU:
        return add_unary(b, n, UFK_LEAKY, isnan(alpha) ? 0.01f : alpha, 0);
    case UFI_OP_ELU:
        return add_unary(b, n, UFK_ELU, isnan(alpha) ? 1.0f : alpha, 0);
    case UFI_OP_SIGMOID:
        return add_unary(b, n, UFK_SIGMOID, 0, 0);
    case UFI_OP_HARD_SIGMOID:
        return add_unary(b, n, UFK_HARD_SIGMOID, isnan(alpha) ? 0.2f : alpha,
                         ufi_node_float(n, UFI_ATTR_BETA, 0.5f));
    case UFI_OP_HARD_SWISH:
        return add_unary(b, n, UFK_HARD_SWISH, 0, 0);
    case UFI_OP_SILU:
        return isnan(alpha) || alpha == 1 ? add_unary(b, n, UFK_SILU, 0, 0) : UF_E_UNSUPPORTED;
    case UFI_OP_GELU:
        if (strcmp(ufi_node_string(n, UFI_ATTR_APPROXIMATE, "none"), "none") != 0)
            return UF_E_UNSUPPORTED;
        return add_unary(b, n, UFK_GELU_ERF, 0, 0);
    case UFI_OP_TANH:
        return add_unary(b, n, UFK_TANH, 0, 0);
    case UFI_OP_EXP:
        return add_unary(b, n, UFK_EXP, 0, 0);
    case UFI_OP_SQRT:
        return add_unary(b, n, UFK_SQRT, 0, 0);
    case UFI_OP_NEG:
        return add_unary(b, n, UFK_NEG, 0, 0);
    case UFI_OP_ABS:
        return add_unary(b, n, UFK_ABS, 0, 0);
    case UFI_OP_ERF:
        return add_unary(b, n, UFK_ERF, 0, 0);
    default:
        return UF_E_UNSUPPORTED;
    }
}

static bool constant_scalar(const cpu_builder *b, const ufi_node *n, uint32_t i, float *out)
{
    if (!cpu_has_input(n, i))
        return true;
    if (!cpu_is_constant(b, n->in[i]) || !cpu_is_f32(b, n->in[i]) ||
        ufi_shape_count(cpu_shape(b, n->in[i])) != 1)
        return false;
    *out = *(const float *)cpu_constant(b, n->in[i]).data;
    return true;
}

/* Squares, which is what networks raise to a power for. */
uf_status cpu_build_pow(cpu_builder *b, const ufi_node *n)
{
    float exponent = NAN;
    if (!constant_scalar(b, n, 1, &exponent) || exponent != 2 ||
        !ufi_shape_equal(cpu_shape(b, n->in[0]), cpu_shape(b, n->out[0])))
        return UF_E_UNSUPPORTED;
    return add_unary(b, n, UFK_SQUARE, 0, 0);
}

uf_status cpu_build_clip(cpu_builder *b, const ufi_node *n)
{
    float lo = -INFINITY, hi = INFINITY;
    if (!constant_scalar(b, n, 1, &lo) || !constant_scalar(b, n, 2, &hi))
        return UF_E_UNSUPPORTED;
    return add_unary(b, n, UFK_CLAMP, lo, hi);
}

/* ---- binary ---- */

/* out = a op b on [images][rows][cols]; strides in floats; b may repeat. */
typedef struct binary_params {
    ufk_binop op;
    bool swap;
    size_t images, rows, cols;
    size_t b_image_stride, b_row_stride, b_col_stride;
} binary_params;

typedef struct binary_job {
    const cpu_step *step;
    const ufk_table *k;
    size_t row_block, row_tasks;
} binary_job;

static void binary_task(void *arg, size_t task, size_t worker)
{
    const binary_job *job = arg;
    const binary_params *p = job->step->params;
    size_t image = task / job->row_tasks, r0 = task % job->row_tasks * job->row_block;
    size_t first = (image * p->rows + r0) * p->cols;
    ufk_binary_args a = {
        .op = p->op,
        .out = (float *)job->step->out[0].t.data + first,
        .a = (const float *)job->step->in[0].t.data + first,
        .b = (const float *)job->step->in[1].t.data + image * p->b_image_stride +
             r0 * p->b_row_stride,
        .rows = p->rows - r0 < job->row_block ? p->rows - r0 : job->row_block,
        .cols = p->cols,
        .out_row_stride = p->cols,
        .a_row_stride = p->cols,
        .b_row_stride = p->b_row_stride,
        .b_col_stride = p->b_col_stride,
        .swap = p->swap,
    };
    job->k->binary_f32(&a);
}

static uf_status run_binary(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const binary_params *p = s->params;
    binary_job job = {s, plan->k, p->rows, 1};
    if (ufi_pool_size(plan->pool) > 1 && p->rows * p->cols > TASK_ELEMENTS) {
        job.row_block = TASK_ELEMENTS / p->cols ? TASK_ELEMENTS / p->cols : 1;
        job.row_tasks = (p->rows + job.row_block - 1) / job.row_block;
    }
    ufi_pool_run(plan->pool, binary_task, &job, p->images * job.row_tasks);
    return UF_OK;
}

/* The dims of `s` in physical order, filled with ones in front to rank 4 (higher ranks: false). */
static bool physical_dims(const ufi_shape *s, ufi_layout layout, int64_t out[4])
{
    if (s->rank > 4)
        return false;
    for (uint32_t i = 0; i < 4; i++)
        out[i] = i < 4 - s->rank ? 1 : s->dims[i - (4 - s->rank)];
    if (layout == UFI_NHWC) {
        int64_t c = out[1];
        out[1] = out[2];
        out[2] = out[3];
        out[3] = c;
    }
    return true;
}

/* Finds rows and columns such that b, broadcast to a, is one of the forms of binary_params. */
static bool broadcast_form(const int64_t a[4], const int64_t b[4], binary_params *p)
{
    size_t total = (size_t)(a[0] * a[1] * a[2] * a[3]),
           b_total = (size_t)(b[0] * b[1] * b[2] * b[3]);
    p->images = 1;
    if (b_total == total) {
        p->rows = total / 16 && total % 16 == 0 ? total / 16 : 1;
        p->cols = total / p->rows;
        p->b_row_stride = p->cols;
        p->b_col_stride = 1;
        return true;
    }
    if (b_total == 1) {
        p->rows = 1;
        p->cols = total;
        return true;
    }
    /* b agrees on a run of dims first..last and is 1 elsewhere: [outer][run][inner]. */
    int first = 0, last = 3;
    while (b[first] == 1)
        first++;
    while (b[last] == 1)
        last--;
    for (int i = first; i <= last; i++)
        if (b[i] != a[i]) {
            /* One more form: b = [n, 1, 1, c] over a = [n, h, w, c]. */
            if (b[0] != a[0] || b[3] != a[3] || b[1] != 1 || b[2] != 1)
                return false;
            p->images = (size_t)a[0];
            p->rows = (size_t)(a[1] * a[2]);
            p->cols = (size_t)a[3];
            p->b_image_stride = (size_t)a[3];
            p->b_col_stride = 1;
            return true;
        }
    size_t inner = 1;
    for (int i = last + 1; i < 4; i++)
        inner *= (size_t)a[i];
    if (inner > 1) { /* a number for each row */
        p->images = total / inner / b_total;
        p->rows = b_total;
        p->cols = inner;
        p->b_row_stride = 1;
    } else { /* a vector for all rows */
        p->rows = total / b_total;
        p->cols = b_total;
        p->b_col_stride = 1;
    }
    return true;
}

static const ufk_binop binops[UFI_OP_COUNT] = {
    [UFI_OP_ADD] = UFK_ADD, [UFI_OP_SUM] = UFK_ADD,     [UFI_OP_SUB] = UFK_SUB,
    [UFI_OP_MUL] = UFK_MUL, [UFI_OP_DIV] = UFK_DIV,     [UFI_OP_MIN] = UFK_MIN,
    [UFI_OP_MAX] = UFK_MAX, [UFI_OP_PRELU] = UFK_PRELU,
};

/* NHWC when an activation of rank 4 is in it already and the other side may be, too. */
static ufi_layout binary_layout(const cpu_builder *b, const ufi_node *n)
{
    if (cpu_shape(b, n->out[0])->rank != 4)
        return UFI_PLAIN;
    for (int i = 0; i < 2; i++)
        if (!cpu_is_constant(b, n->in[i]) && cpu_shape(b, n->in[i])->rank == 4 &&
            cpu_current_layout(b, n->in[i]) == UFI_NHWC)
            return UFI_NHWC;
    return UFI_PLAIN;
}

/* A constant of lower rank ([C,1,1], [W]) as rank 4, in the layout asked for. */
static uf_status lifted_in(cpu_builder *b, uint32_t value, ufi_layout layout, cpu_operand *out)
{
    const ufi_shape *s = cpu_shape(b, value);
    if (layout == UFI_PLAIN || s->rank == 4 || ufi_shape_count(s) == 1)
        return cpu_in(b, value, s->rank == 4 ? layout : UFI_PLAIN, out);
    /* [C,1,1] and [1] have the same bytes either way; others would have to be turned. */
    if (s->rank != 3 || s->dims[1] != 1 || s->dims[2] != 1)
        return UF_E_UNSUPPORTED;
    return cpu_in(b, value, UFI_PLAIN, out);
}

uf_status cpu_build_binary(cpu_builder *b, const ufi_node *n)
{
    if (n->in_count != 2 || !cpu_is_f32(b, n->in[0]) || !cpu_is_f32(b, n->in[1]))
        return UF_E_UNSUPPORTED;
    ufi_layout layout = binary_layout(b, n);
    uint32_t big = n->in[0], small = n->in[1];
    bool swap = false;
    if (!ufi_shape_equal(cpu_shape(b, big), cpu_shape(b, n->out[0]))) {
        big = n->in[1];
        small = n->in[0];
        swap = true;
    }
    if (!ufi_shape_equal(cpu_shape(b, big), cpu_shape(b, n->out[0])))
        return UF_E_UNSUPPORTED;
    binary_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    int64_t da[4], db[4];
    *p = (binary_params){.op = binops[n->op], .swap = swap};
    if (!physical_dims(cpu_shape(b, big), layout, da) ||
        !physical_dims(cpu_shape(b, small), layout, db) || !broadcast_form(da, db, p))
        return UF_E_UNSUPPORTED;
    cpu_operand in[2], out;
    uf_status st = lifted_in(b, small, layout, &in[1]);
    if (!st)
        st = cpu_in(b, big, layout, &in[0]);
    if (!st)
        st = cpu_out(b, n->out[0], layout, in[0].buffer != in[1].buffer ? &in[0] : NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run_binary, b->k->elementwise_f32_name, in, 2, &out, 1, p, NULL);
    return st;
}

uf_status cpu_build_prelu(cpu_builder *b, const ufi_node *n)
{
    /* The slope is always the second operand; it broadcasts to x. */
    return ufi_shape_equal(cpu_shape(b, n->in[0]), cpu_shape(b, n->out[0])) ? cpu_build_binary(b, n)
                                                                            : UF_E_UNSUPPORTED;
}

/* ---- affine, softmax ---- */

typedef struct rows_params {
    size_t rows, cols;
    const float *scale, *shift;
} rows_params;

static uf_status run_affine(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const rows_params *p = s->params;
    plan->k->affine_f32(s->out[0].t.data, s->in[0].t.data, p->rows, p->cols, p->scale, p->shift);
    return UF_OK;
}

/* Few channels make rows too short for vectors: several pixels become one row. */
static uf_status widen_rows(cpu_builder *b, rows_params *p)
{
    const size_t pixels = 16;
    if (p->cols >= pixels || p->rows % pixels)
        return UF_OK;
    float *repeated = cpu_params(b, 2 * pixels * p->cols * sizeof *repeated);
    if (!repeated)
        return UF_E_NOMEM;
    for (size_t i = 0; i < pixels * p->cols; i++) {
        repeated[i] = p->scale[i % p->cols];
        repeated[pixels * p->cols + i] = p->shift[i % p->cols];
    }
    p->scale = repeated;
    p->shift = repeated + pixels * p->cols;
    p->cols *= pixels;
    p->rows /= pixels;
    return UF_OK;
}

uf_status cpu_build_affine(cpu_builder *b, const ufi_node *n)
{
    const ufi_shape *x = cpu_shape(b, n->in[0]);
    if (!cpu_is_f32(b, n->in[0]) || (x->rank != 4 && x->rank != 2) ||
        !cpu_is_constant(b, n->in[1]) || !cpu_is_constant(b, n->in[2]))
        return UF_E_UNSUPPORTED;
    rows_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    p->cols = (size_t)x->dims[1];
    p->rows = p->cols ? (size_t)ufi_shape_count(x) / p->cols : 0;
    p->scale = cpu_constant(b, n->in[1]).data;
    p->shift = cpu_constant(b, n->in[2]).data;
    cpu_operand in, out;
    uf_status st = widen_rows(b, p);
    if (!st)
        st = cpu_in(b, n->in[0], x->rank == 4 ? UFI_NHWC : UFI_PLAIN, &in);
    if (!st)
        st = cpu_out(b, n->out[0], x->rank == 4 ? UFI_NHWC : UFI_PLAIN, &in, &out);
    if (!st)
        st = cpu_add_step(b, n, run_affine, b->k->elementwise_f32_name, &in, 1, &out, 1, p, NULL);
    return st;
}

static uf_status run_softmax(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const rows_params *p = s->params;
    plan->k->softmax_f32(s->out[0].t.data, s->in[0].t.data, p->rows, p->cols);
    return UF_OK;
}

uf_status cpu_build_softmax(cpu_builder *b, const ufi_node *n)
{
    const ufi_shape *x = cpu_shape(b, n->in[0]);
    int64_t axis = ufi_node_int(n, UFI_ATTR_AXIS, -1), rank = x->rank;
    axis = axis < 0 ? axis + rank : axis;
    bool channels = rank == 4 && axis == 1;
    if (!cpu_is_f32(b, n->in[0]) || ufi_node_int(n, UFI_ATTR_COERCE_2D, 0) ||
        (axis != rank - 1 && !channels) || axis < 0 || axis >= rank || x->dims[axis] == 0)
        return UF_E_UNSUPPORTED;
    rows_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    p->cols = (size_t)x->dims[axis];
    p->rows = (size_t)ufi_shape_count(x) / p->cols;
    ufi_layout layout = channels ? UFI_NHWC : UFI_PLAIN;
    cpu_operand in, out;
    uf_status st = cpu_in(b, n->in[0], layout, &in);
    if (!st)
        st = cpu_out(b, n->out[0], layout, &in, &out);
    if (!st)
        st = cpu_add_step(b, n, run_softmax, b->k->elementwise_f32_name, &in, 1, &out, 1, p, NULL);
    return st;
}
