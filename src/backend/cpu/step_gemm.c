/*
 * Fully connected layers (GEMM, MATMUL with a constant) and products of two activations. They are
 * convolutions of one pixel: rows are the pixels.
 */
#include "backend/cpu/build.h"

/* Columns are cut so that this many multiply-accumulates or more are in a task. */
#define MIN_TASK_MACS ((size_t)64 << 10)

typedef struct gemm_params {
    size_t m, k, n;
    const float *weights; /* NULL: packed in the run, from in[1] */
    size_t batch;         /* products of m x k by k x n; one B for all when b_step is 0 */
    size_t b_step;
    size_t tasks, n_block;
    ufk_epilogue epilogue;
} gemm_params;

typedef struct gemm_job {
    const gemm_params *p;
    cpu_plan *plan;
    const float *a, *b;
    float *c;
} gemm_job;

static void gemm_task(void *arg, size_t task, size_t worker)
{
    const gemm_job *job = arg;
    const gemm_params *p = job->p;
    size_t n0 = task * p->n_block, nr = job->plan->k->conv_nr;
    ufk_conv_args a = {
        .a = job->a,
        .a_stride = p->k,
        .runs_y = 1,
        .runs_x = 1,
        .run_length = p->k,
        .b = job->b + n0 / nr * p->k * nr,
        .c = job->c + n0,
        .c_stride = p->n,
        .m = p->m,
        .n = p->n - n0 < p->n_block ? p->n - n0 : p->n_block,
        .epilogue = p->epilogue,
    };
    if (a.epilogue.bias)
        a.epilogue.bias += n0;
    if (a.epilogue.slope)
        a.epilogue.slope += n0;
    job->plan->k->conv_f32(&a);
}

static uf_status run_gemm(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const gemm_params *p = s->params;
    gemm_job job = {p, plan, s->in[0].t.data, p->weights, s->out[0].t.data};
    ufi_pool_run(plan->pool, gemm_task, &job, p->tasks);
    return UF_OK;
}

/* Both factors are activations: B is packed first, product by product. */
static uf_status run_product(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const gemm_params *p = s->params;
    float *packed = (float *)plan->shared_scratch;
    const float *b = s->in[1].t.data;
    gemm_job job = {p, plan, s->in[0].t.data, packed, s->out[0].t.data};
    for (size_t i = 0; i < p->batch; i++) {
        if (i == 0 || p->b_step)
            ufk_conv_pack(plan->k, packed, b + i * p->b_step, p->n, p->k, p->n);
        ufi_pool_run(plan->pool, gemm_task, &job, p->tasks);
        job.a += p->m * p->k;
        job.c += p->m * p->n;
    }
    return UF_OK;
}

static void cut_columns(const cpu_builder *b, gemm_params *p)
{
    size_t panels = (p->n + b->k->conv_nr - 1) / b->k->conv_nr;
    size_t tasks = b->workers > 1 ? 2 * b->workers : 1;
    size_t worth = p->m * p->k * p->n / MIN_TASK_MACS;
    if (tasks > worth)
        tasks = worth ? worth : 1;
    if (tasks > panels)
        tasks = panels;
    p->n_block = (panels + tasks - 1) / tasks * b->k->conv_nr;
    p->tasks = (p->n + p->n_block - 1) / p->n_block;
}

static uf_status add_gemm(cpu_builder *b, const ufi_node *n, gemm_params *p, cpu_run_fn *run,
                          const cpu_operand *in, uint32_t in_count)
{
    cpu_operand out;
    cpu_step *step;
    cut_columns(b, p);
    uf_status st = cpu_out(b, n->out[0], UFI_PLAIN, NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run, b->k->conv_f32_name, in, in_count, &out, 1, p, &step);
    if (!st && run == run_product)
        step->shared_bytes = ufk_conv_packed_floats(b->k, p->k, p->n) * sizeof(float);
    return st;
}

/* alpha, beta other than 1 and a C that is no row vector are left to the reference. */
uf_status cpu_build_gemm(cpu_builder *b, const ufi_node *n)
{
    const ufi_shape *x = cpu_shape(b, n->in[0]);
    if (x->rank != 2 || !cpu_is_f32(b, n->in[0]) || !cpu_is_constant(b, n->in[1]) ||
        ufi_node_int(n, UFI_ATTR_TRANS_A, 0) || ufi_node_float(n, UFI_ATTR_ALPHA, 1) != 1 ||
        ufi_node_float(n, UFI_ATTR_BETA, 1) != 1)
        return UF_E_UNSUPPORTED;
    bool trans = ufi_node_int(n, UFI_ATTR_TRANS_B, 0) != 0;
    ufi_tensor w = cpu_constant(b, n->in[1]);
    gemm_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    *p = (gemm_params){.m = (size_t)x->dims[0],
                       .k = (size_t)x->dims[1],
                       .n = (size_t)cpu_shape(b, n->out[0])->dims[1],
                       .batch = 1};
    uint32_t bias = cpu_has_input(n, 2) ? n->in[2] : UFI_NONE;
    if (bias != UFI_NONE) {
        const ufi_shape *c = cpu_shape(b, bias);
        if (c->rank && c->dims[c->rank - 1] != (int64_t)p->n)
            return UF_E_UNSUPPORTED;
    }
    uf_status half = trans ? cpu_build_half_gemm(b, n) : UF_E_UNSUPPORTED;
    if (half != UF_E_UNSUPPORTED)
        return half;
    uf_status st = cpu_epilogue(b, n, bias, UFI_NONE, p->n, &p->epilogue);
    if (!st)
        st = cpu_pack(b->program, &b->plan->arena, trans ? CPU_PACK_GEMM_T : CPU_PACK_GEMM, &w, 0,
                      &p->weights, b->err);
    cpu_operand in;
    if (!st)
        st = cpu_in(b, n->in[0], UFI_PLAIN, &in);
    return st ? st : add_gemm(b, n, p, run_gemm, &in, 1);
}

/* [.., m, k] x [k, n], or [batch.., m, k] x [batch.., k, n]. */
uf_status cpu_build_matmul(cpu_builder *b, const ufi_node *n)
{
    const ufi_shape *x = cpu_shape(b, n->in[0]), *w = cpu_shape(b, n->in[1]);
    if (x->rank < 2 || w->rank < 2 || !cpu_is_f32(b, n->in[0]) || !cpu_is_f32(b, n->in[1]))
        return UF_E_UNSUPPORTED;
    gemm_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    *p = (gemm_params){.m = (size_t)x->dims[x->rank - 2],
                       .k = (size_t)x->dims[x->rank - 1],
                       .n = (size_t)w->dims[w->rank - 1],
                       .batch = 1,
                       .epilogue = {.act = UFK_ACT_NONE}};
    cpu_operand in[2];
    uf_status st = UF_OK;
    if (w->rank == 2) { /* one B: all rows at once */
        p->m = (size_t)ufi_shape_count(x) / (p->k ? p->k : 1);
    } else {
        if (w->rank != x->rank)
            return UF_E_UNSUPPORTED;
        for (uint32_t d = 0; d + 2 < x->rank; d++) {
            if (x->dims[d] != w->dims[d])
                return UF_E_UNSUPPORTED;
            p->batch *= (size_t)x->dims[d];
        }
        p->b_step = p->k * p->n;
    }
    if (p->m * p->k * p->n == 0)
        return UF_E_UNSUPPORTED;
    if (w->rank == 2 && cpu_is_constant(b, n->in[1])) {
        ufi_tensor t = cpu_constant(b, n->in[1]);
        st = cpu_pack(b->program, &b->plan->arena, CPU_PACK_GEMM, &t, 0, &p->weights, b->err);
        if (!st)
            st = cpu_in(b, n->in[0], UFI_PLAIN, &in[0]);
        return st ? st : add_gemm(b, n, p, run_gemm, in, 1);
    }
    st = cpu_in(b, n->in[0], UFI_PLAIN, &in[0]);
    if (!st)
        st = cpu_in(b, n->in[1], UFI_PLAIN, &in[1]);
    return st ? st : add_gemm(b, n, p, run_product, in, 2);
}
