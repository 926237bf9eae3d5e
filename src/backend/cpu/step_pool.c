/* Pooling over windows and over whole images. */
#include "backend/cpu/build.h"

typedef struct pool_params {
    ufk_pool_args args; /* in, out and y range are filled in for each task */
    size_t batch, rows; /* output rows of one task */
    bool maximum, bytes, words;
} pool_params;

typedef struct pool_job {
    const cpu_step *step;
    const ufk_table *k;
} pool_job;

static void pool_task(void *arg, size_t task, size_t worker)
{
    const pool_job *job = arg;
    const pool_params *p = job->step->params;
    ufk_pool_args a = p->args;
    size_t bands = (a.out_h + p->rows - 1) / p->rows, image = task / bands;
    size_t in_at = image * a.in_h * a.in_w * a.channels;
    size_t out_at = image * a.out_h * a.out_w * a.channels;
    a.y_begin = task % bands * p->rows;
    a.y_end = a.y_begin + p->rows < a.out_h ? a.y_begin + p->rows : a.out_h;
    if (p->bytes) {
        job->k->max_pool_u8((uint8_t *)job->step->out[0].t.data + out_at,
                            (const uint8_t *)job->step->in[0].t.data + in_at, &a);
        return;
    }
    if (p->words) {
        job->k->max_pool_i16((int16_t *)job->step->out[0].t.data + out_at,
                             (const int16_t *)job->step->in[0].t.data + in_at, &a);
        return;
    }
    a.in = (const float *)job->step->in[0].t.data + in_at;
    a.out = (float *)job->step->out[0].t.data + out_at;
    if (p->maximum)
        job->k->max_pool_f32(&a);
    else
        job->k->average_pool_f32(&a);
}

static uf_status run_pool(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const pool_params *p = s->params;
    pool_job job = {s, plan->k};
    size_t bands = (p->args.out_h + p->rows - 1) / p->rows;
    ufi_pool_run(plan->pool, pool_task, &job, p->batch * bands);
    return UF_OK;
}

static bool read_pool(const cpu_builder *b, const ufi_node *n, pool_params *p)
{
    const ufi_shape *x = cpu_shape(b, n->in[0]), *y = cpu_shape(b, n->out[0]);
    const ufi_attr *kernel = ufi_node_attr(n, UFI_ATTR_KERNEL_SHAPE);
    const ufi_attr *strides = ufi_node_attr(n, UFI_ATTR_STRIDES);
    const ufi_attr *dilations = ufi_node_attr(n, UFI_ATTR_DILATIONS);
    const ufi_attr *pads = ufi_node_attr(n, UFI_ATTR_PADS);
    p->maximum = n->op == UFI_OP_MAX_POOL;
    p->bytes = b->g->values[n->in[0]].dtype == UF_U8 && p->maximum;
    p->words = b->g->values[n->in[0]].dtype == UF_I16 && p->maximum;
    if (x->rank != 4 || (!cpu_is_f32(b, n->in[0]) && !p->bytes && !p->words) ||
        ufi_node_attr(n, UFI_ATTR_AUTO_PAD))
        return false;
    p->batch = (size_t)x->dims[0];
    p->args = (ufk_pool_args){
        .channels = (size_t)x->dims[1],
        .in_h = (size_t)x->dims[2],
        .in_w = (size_t)x->dims[3],
        .out_h = (size_t)y->dims[2],
        .out_w = (size_t)y->dims[3],
        .kernel_h = (size_t)kernel->u.ints[0],
        .kernel_w = (size_t)kernel->u.ints[1],
        .stride_h = strides ? (size_t)strides->u.ints[0] : 1,
        .stride_w = strides ? (size_t)strides->u.ints[1] : 1,
        .dilation_h = dilations ? (size_t)dilations->u.ints[0] : 1,
        .dilation_w = dilations ? (size_t)dilations->u.ints[1] : 1,
        .pad_top = pads ? (size_t)pads->u.ints[0] : 0,
        .pad_left = pads ? (size_t)pads->u.ints[1] : 0,
        .count_include_pad = ufi_node_int(n, UFI_ATTR_COUNT_INCLUDE_PAD, 0) != 0,
    };
    /* With ceil_mode a window may reach past the padded image: what counts as padding then is the
     * reference's business. */
    return !(ufi_node_int(n, UFI_ATTR_CEIL_MODE, 0) && p->args.count_include_pad);
}

uf_status cpu_build_pool(cpu_builder *b, const ufi_node *n)
{
    pool_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    if (n->out_count > 1 || !read_pool(b, n, p))
        return UF_E_UNSUPPORTED;
    size_t tasks = b->workers > 1 ? 4 * b->workers : 1;
    p->rows = (p->args.out_h + tasks - 1) / tasks;
    cpu_operand in, out;
    uf_status st = cpu_in(b, n->in[0], UFI_NHWC, &in);
    if (!st)
        st = cpu_out(b, n->out[0], UFI_NHWC, NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run_pool,
                          p->bytes   ? b->k->quant_u8_name
                          : p->words ? b->k->words_name
                                     : b->k->pool_f32_name,
                          &in, 1, &out, 1, p, NULL);
    return st;
}

static uf_status run_global_average(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const int64_t *d = s->in[0].t.shape.dims;
    size_t c = (size_t)d[1], pixels = (size_t)(d[2] * d[3]);
    for (size_t i = 0; i < (size_t)d[0]; i++)
        plan->k->global_average_f32((float *)s->out[0].t.data + i * c,
                                    (const float *)s->in[0].t.data + i * c * pixels, pixels, c);
    return UF_OK;
}

uf_status cpu_build_global_pool(cpu_builder *b, const ufi_node *n)
{
    if (cpu_shape(b, n->in[0])->rank != 4 || !cpu_is_f32(b, n->in[0]))
        return UF_E_UNSUPPORTED;
    cpu_operand in, out;
    uf_status st = cpu_in(b, n->in[0], UFI_NHWC, &in);
    if (!st)
        st = cpu_out(b, n->out[0], UFI_NHWC, NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run_global_average, b->k->pool_f32_name, &in, 1, &out, 1, NULL,
                          NULL);
    return st;
}
