/*
 * Operators on rows: reductions over trailing axes, and layer normalisation. A tensor is a matrix
 * here whose columns are the axes that are reduced; channels are the columns where NHWC is.
 */
#include <math.h>

#include "backend/cpu/build.h"

/* Elements of a task: enough to hide the cost of handing it out. */
#define TASK_ELEMENTS ((size_t)16 << 10)

typedef struct rows_params {
    ufi_op op;
    size_t rows, cols;
    float factor; /* of sums: 1, or 1 / cols */
    float epsilon;
    bool has_shift;
} rows_params;

typedef struct rows_job {
    const cpu_step *step;
    const ufk_table *k;
    size_t block; /* rows of a task */
} rows_job;

static void run_tasks(const cpu_step *s, cpu_plan *plan, ufi_task_fn *task)
{
    const rows_params *p = s->params;
    rows_job job = {s, plan->k, p->rows};
    if (ufi_pool_size(plan->pool) > 1 && p->rows * p->cols > TASK_ELEMENTS)
        job.block = TASK_ELEMENTS / p->cols ? TASK_ELEMENTS / p->cols : 1;
    ufi_pool_run(plan->pool, task, &job, (p->rows + job.block - 1) / job.block);
}

/* ---- reductions ---- */

static void reduce_task(void *arg, size_t task, size_t worker)
{
    const rows_job *job = arg;
    const rows_params *p = job->step->params;
    size_t first = task * job->block;
    size_t rows = p->rows - first < job->block ? p->rows - first : job->block;
    const float *in = (const float *)job->step->in[0].t.data + first * p->cols;
    float *out = (float *)job->step->out[0].t.data + first;
    job->k->row_sum_f32(out, in, rows, p->cols,
                        p->op == UFI_OP_REDUCE_L2 || p->op == UFI_OP_REDUCE_SUM_SQUARE);
    if (p->op == UFI_OP_REDUCE_L2)
        job->k->unary_f32(UFK_SQRT, out, out, rows, 0, 0);
    else if (p->factor != 1)
        job->k->unary_f32(UFK_SCALE_SHIFT, out, out, rows, p->factor, 0);
}

static uf_status run_reduce(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    run_tasks(s, plan, reduce_task);
    return UF_OK;
}

/* The axes as bits; false when they are not constant or out of range. */
static bool read_axes(const cpu_builder *b, const ufi_node *n, uint32_t rank, uint32_t *mask)
{
    *mask = 0;
    if (!cpu_has_input(n, 1)) {
        *mask = (1u << rank) - 1;
        return ufi_node_int(n, UFI_ATTR_NOOP_WITH_EMPTY_AXES, 0) == 0;
    }
    if (!cpu_is_constant(b, n->in[1]))
        return false;
    ufi_tensor axes = cpu_constant(b, n->in[1]);
    if (axes.dtype != UF_I64 || axes.shape.rank > 1)
        return false;
    int64_t count = ufi_shape_count(&axes.shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t axis = ((const int64_t *)axes.data)[i];
        axis += axis < 0 ? (int64_t)rank : 0;
        if (axis < 0 || axis >= (int64_t)rank)
            return false;
        *mask |= 1u << axis;
    }
    return count > 0;
}

uf_status cpu_build_reduce(cpu_builder *b, const ufi_node *n)
{
    const ufi_shape *x = cpu_shape(b, n->in[0]), *y = cpu_shape(b, n->out[0]);
    uint32_t mask, first = 0;
    int64_t total = ufi_shape_count(x), cols = 1;
    if (!cpu_is_f32(b, n->in[0]) || x->rank == 0 || total < 1 || !read_axes(b, n, x->rank, &mask))
        return UF_E_UNSUPPORTED;
    while (!(mask >> first & 1))
        first++;
    for (uint32_t d = first; d < x->rank; d++)
        cols *= x->dims[d];
    bool trailing = mask == (1u << x->rank) - (1u << first);
    bool channels =
        x->rank == 4 && mask == 2 && cpu_current_layout(b, n->in[0]) == UFI_NHWC && x->dims[1] > 1;
    if (!trailing && !channels)
        return UF_E_UNSUPPORTED;
    rows_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    p->op = (ufi_op)n->op;
    p->cols = (size_t)(channels ? x->dims[1] : cols);
    p->rows = (size_t)total / p->cols;
    p->factor = p->op == UFI_OP_REDUCE_MEAN ? 1.0f / (float)p->cols : 1;
    cpu_operand in, out;
    uf_status st = cpu_in(b, n->in[0], channels ? UFI_NHWC : UFI_PLAIN, &in);
    if (!st) /* one channel, or none: the same bytes in every layout */
        st = cpu_out(b, n->out[0], channels && y->rank == 4 ? UFI_NHWC : UFI_PLAIN, NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run_reduce, b->k->rows_f32_name, &in, 1, &out, 1, p, NULL);
    return st;
}

/* ---- layer normalisation ---- */

static void norm_task(void *arg, size_t task, size_t worker)
{
    const rows_job *job = arg;
    const cpu_step *s = job->step;
    const rows_params *p = s->params;
    size_t first = task * job->block;
    size_t rows = p->rows - first < job->block ? p->rows - first : job->block;
    job->k->layer_norm_f32((float *)s->out[0].t.data + first * p->cols,
                           (const float *)s->in[0].t.data + first * p->cols, rows, p->cols,
                           s->in[1].t.data, p->has_shift ? s->in[2].t.data : NULL, p->epsilon);
}

static uf_status run_norm(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    run_tasks(s, plan, norm_task);
    return UF_OK;
}

uf_status cpu_build_layer_norm(cpu_builder *b, const ufi_node *n)
{
    const ufi_shape *x = cpu_shape(b, n->in[0]);
    int64_t axis = ufi_node_int(n, UFI_ATTR_AXIS, -1), total = ufi_shape_count(x), cols = 1;
    axis += axis < 0 ? (int64_t)x->rank : 0;
    if (!cpu_is_f32(b, n->in[0]) || total < 1 || axis < 0 || axis >= (int64_t)x->rank)
        return UF_E_UNSUPPORTED;
    for (uint32_t d = (uint32_t)axis; d < x->rank; d++)
        cols *= x->dims[d];
    bool has_shift = cpu_has_input(n, 2);
    for (uint32_t i = 1; i < (has_shift ? 3u : 2u); i++)
        if (ufi_shape_count(cpu_shape(b, n->in[i])) != cols) /* one for all is left to others */
            return UF_E_UNSUPPORTED;
    rows_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    *p = (rows_params){.op = UFI_OP_LAYER_NORM,
                       .rows = (size_t)(total / cols),
                       .cols = (size_t)cols,
                       .epsilon = ufi_node_float(n, UFI_ATTR_EPSILON, 1e-5f),
                       .has_shift = has_shift};
    cpu_operand in[3], out;
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < (has_shift ? 3u : 2u); i++)
        st = cpu_in(b, n->in[i], UFI_PLAIN, &in[i]);
    if (!st)
        st = cpu_out(b, n->out[0], UFI_PLAIN, &in[0], &out);
    if (!st)
        st = cpu_add_step(b, n, run_norm, b->k->rows_f32_name, in, has_shift ? 3 : 2, &out, 1, p,
                          NULL);
    return st;
}
