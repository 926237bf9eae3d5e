/*
 * 3x3 convolutions of stride 1 by Winograd's minimal filtering (Lavin & Gray 2015): F(4x4, 3x3)
 * does a quarter of the multiplications and reads 4 times the weights, F(2x2, 3x3) 4/9 of them and
 * 16/9 of the weights. Small maps are bound by reading weights, so which one pays depends on the
 * map.
 *
 * Tiles go in blocks whose transformed input and output fit the second-level cache. With enough
 * blocks each worker carries its own through all three phases; with few, the workers share a block:
 * tiles in the transforms, positions in the products.
 */
#include "backend/cpu/build.h"
#include "backend/cpu/conv_shape.h"

#define BLOCK_BYTES ((size_t)640 << 10)

typedef struct wino_params {
    cpu_conv_shape s;
    const float *weights;
    size_t position_floats; /* packed weights of one position */
    ufk_epilogue epilogue;
    bool has_residual;
    size_t positions;      /* 36 or 16 */
    size_t tiles_x, tiles; /* tiles of one image */
    size_t block;          /* tiles done at once */
    bool shared;
} wino_params;

typedef struct wino_job {
    const cpu_step *step;
    const wino_params *p;
    cpu_plan *plan;
    size_t image, first, tiles; /* the block, when shared */
    float *v, *m;
    size_t slices;
} wino_job;

int cpu_winograd_tile(const cpu_builder *b, const ufi_node *n)
{
    cpu_conv_shape s;
    if (!cpu_conv_shape_read(b, n, &s))
        return 0;
    bool fits = s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 1 && s.stride_w == 1 &&
                s.dilation_h == 1 && s.dilation_w == 1 && s.groups == 1;
    if (!fits || s.in_c < 16 || s.out_c < 16)
        return 0;
    size_t pixels = (b->steady ? 1 : s.batch) * s.out_h * s.out_w;
    if (pixels >= 28 * 28)
        return 4;
    return pixels >= 100 ? 2 : 0;
}

static void transform_in(const wino_job *job, size_t first, size_t tiles, float *v, size_t stride)
{
    const wino_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    const float *in =
        (const float *)job->step->in[0].t.data + job->image * s->in_h * s->in_w * s->in_c;
    if (p->positions == 36)
        job->plan->k->wino4_input_f32(v, stride, in, s->in_h, s->in_w, s->in_c, s->pads[0],
                                      s->pads[1], p->tiles_x, first, tiles);
    else
        job->plan->k->wino2_input_f32(v, stride, in, s->in_h, s->in_w, s->in_c, s->pads[0],
                                      s->pads[1], p->tiles_x, first, tiles);
}

static void multiply(const wino_job *job, size_t position, size_t tiles, const float *v, float *m,
                     size_t v_stride, size_t m_stride)
{
    const cpu_conv_shape *s = &job->p->s;
    ufk_conv_args a = {
        .a = v + position * v_stride,
        .a_stride = s->in_c,
        .runs_y = 1,
        .runs_x = 1,
        .run_length = s->in_c,
        .b = job->p->weights + position * job->p->position_floats,
        .c = m + position * m_stride,
        .c_stride = s->out_c,
        .m = tiles,
        .n = s->out_c,
    };
    job->plan->k->conv_f32(&a);
}

static void transform_out(const wino_job *job, size_t first, size_t tiles, const float *m,
                          size_t stride)
{
    const wino_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    size_t offset = job->image * s->out_h * s->out_w * s->out_c;
    float *out = (float *)job->step->out[0].t.data + offset;
    ufk_epilogue e = p->epilogue;
    if (p->has_residual) {
        e.residual = (const float *)job->step->in[1].t.data + offset;
        e.residual_stride = s->out_c;
    }
    if (p->positions == 36)
        job->plan->k->wino4_output_f32(out, s->out_h, s->out_w, s->out_c, m, stride, p->tiles_x,
                                       first, tiles, &e);
    else
        job->plan->k->wino2_output_f32(out, s->out_h, s->out_w, s->out_c, m, stride, p->tiles_x,
                                       first, tiles, &e);
}

/* ---- one block for each worker ---- */

static void block_task(void *arg, size_t task, size_t worker)
{
    wino_job job = *(const wino_job *)arg;
    const wino_params *p = job.p;
    size_t blocks = (p->tiles + p->block - 1) / p->block;
    job.image = task / blocks;
    size_t first = task % blocks * p->block;
    size_t tiles = p->tiles - first < p->block ? p->tiles - first : p->block;
    size_t v_stride = p->block * p->s.in_c, m_stride = p->block * p->s.out_c;
    float *v = cpu_worker_scratch(job.plan, worker), *m = v + p->positions * v_stride;
    transform_in(&job, first, tiles, v, v_stride);
    for (size_t i = 0; i < p->positions; i++)
        multiply(&job, i, tiles, v, m, v_stride, m_stride);
    transform_out(&job, first, tiles, m, m_stride);
}

/* ---- one block for all workers ---- */

static size_t slice_begin(const wino_job *job, size_t i)
{
    return job->tiles * i / job->slices;
}

static void shared_in_task(void *arg, size_t task, size_t worker)
{
    const wino_job *job = arg;
    size_t from = slice_begin(job, task), to = slice_begin(job, task + 1);
    if (to > from)
        transform_in(job, job->first + from, to - from, job->v + from * job->p->s.in_c,
                     job->p->block * job->p->s.in_c);
}

static void shared_multiply_task(void *arg, size_t task, size_t worker)
{
    const wino_job *job = arg;
    multiply(job, task, job->tiles, job->v, job->m, job->p->block * job->p->s.in_c,
             job->p->block * job->p->s.out_c);
}

static void shared_out_task(void *arg, size_t task, size_t worker)
{
    const wino_job *job = arg;
    size_t from = slice_begin(job, task), to = slice_begin(job, task + 1);
    if (to > from)
        transform_out(job, job->first + from, to - from, job->m + from * job->p->s.out_c,
                      job->p->block * job->p->s.out_c);
}

static void run_shared(wino_job *job)
{
    const wino_params *p = job->p;
    job->v = (float *)job->plan->shared_scratch;
    job->m = job->v + p->positions * p->block * p->s.in_c;
    for (job->image = 0; job->image < p->s.batch; job->image++)
        for (job->first = 0; job->first < p->tiles; job->first += p->block) {
            job->tiles = p->tiles - job->first < p->block ? p->tiles - job->first : p->block;
            ufi_pool_run(job->plan->pool, shared_in_task, job, job->slices);
            ufi_pool_run(job->plan->pool, shared_multiply_task, job, p->positions);
            ufi_pool_run(job->plan->pool, shared_out_task, job, job->slices);
        }
}

static uf_status run_winograd(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    wino_job job = {.step = s, .p = s->params, .plan = plan};
    job.slices = ufi_pool_size(plan->pool);
    size_t blocks = (job.p->tiles + job.p->block - 1) / job.p->block;
    if (job.p->shared)
        run_shared(&job);
    else
        ufi_pool_run(plan->pool, block_task, &job, job.p->s.batch * blocks);
    return UF_OK;
}

/* ---- plan ---- */

static size_t choose_block(const wino_params *p, size_t mr)
{
    size_t per_tile = p->positions * (p->s.in_c + p->s.out_c) * sizeof(float);
    size_t block = BLOCK_BYTES / per_tile / mr * mr;
    if (block < 2 * mr)
        block = 2 * mr;
    size_t blocks = (p->tiles + block - 1) / block; /* equal parts, in whole register tiles */
    block = ((p->tiles + blocks - 1) / blocks + mr - 1) / mr * mr;
    return block < p->tiles ? block : p->tiles;
}

uf_status cpu_build_winograd(cpu_builder *b, const ufi_node *n, int tile)
{
    wino_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    cpu_conv_shape_read(b, n, &p->s);
    p->positions = tile == 4 ? 36 : 16;
    p->tiles_x = (p->s.out_w + (size_t)tile - 1) / (size_t)tile;
    p->tiles = p->tiles_x * ((p->s.out_h + (size_t)tile - 1) / (size_t)tile);
    p->block = choose_block(p, b->k->conv_mr);
    size_t blocks = p->s.batch * ((p->tiles + p->block - 1) / p->block);
    p->shared = b->workers > 1 && blocks < 2 * b->workers;
    p->position_floats = ufk_conv_packed_floats(b->k, p->s.in_c, p->s.out_c);
    uf_status st =
        cpu_epilogue(b, n, cpu_has_input(n, 2) ? n->in[2] : UFI_NONE,
                     cpu_has_input(n, 3) ? n->in[3] : UFI_NONE, p->s.out_c, &p->epilogue);
    ufi_tensor w = cpu_constant(b, n->in[1]);
    if (!st)
        st = cpu_pack(b->program, &b->plan->arena, tile == 4 ? CPU_PACK_WINO4 : CPU_PACK_WINO2, &w,
                      0, &p->weights, b->err);
    if (st)
        return st;
    cpu_operand in[2], out;
    uint32_t in_count;
    cpu_step *step;
    st = cpu_conv_operands(b, n, in, &in_count, &out);
    p->has_residual = in_count == 2;
    if (!st)
        st = cpu_add_step(b, n, run_winograd, b->k->winograd_f32_name, in, in_count, &out, 1, p,
                          &step);
    if (st)
        return st;
    size_t bytes = p->positions * p->block * (p->s.in_c + p->s.out_c) * sizeof(float);
    *(p->shared ? &step->shared_bytes : &step->worker_bytes) = bytes;
    return UF_OK;
}
