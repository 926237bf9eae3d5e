/*
 * Convolutions. Three ways to feed the one GEMM-like kernel:
 *   - 1x1, stride 1, no padding: the activation itself is the matrix;
 *   - small maps: patches are copied into rows of a matrix (im2col) a block at a time, so that the
 *     packed weights, then the larger part, are read once per block;
 *   - large maps: the input rows of a band are copied with their padding into scratch, and the
 *     kernel walks the kh runs of kw * C floats in place.
 * Depthwise convolution has its own kernel, 3x3 may go to Winograd (step_winograd.c).
 */
#include <string.h>

#include "backend/cpu/build.h"
#include "backend/cpu/conv_shape.h"

/* Working sets that still leave room for the weights in a core's second-level cache. */
#define BLOCK_BYTES ((size_t)256 << 10)
/* Narrower maps than this are fed by im2col. */
#define MIN_DIRECT_WIDTH 24

typedef struct conv_params {
    cpu_conv_shape s;
    const float *weights;
    size_t group_floats; /* packed weights of one group */
    ufk_epilogue epilogue;
    bool has_residual;
    cpu_blocks cut; /* m: output pixels (1x1, im2col) or rows (direct) */
} conv_params;

typedef struct conv_job {
    const cpu_step *step;
    const conv_params *p;
    cpu_plan *plan;
} conv_job;

/* ---- runs ---- */

/* The kernel's arguments for group `g` and column task `nt`; a, m and c are the caller's. */
static ufk_conv_args base_args(const conv_params *p, size_t g, size_t nt, size_t nr)
{
    const cpu_conv_shape *s = &p->s;
    size_t in = s->in_c / s->groups, out = s->out_c / s->groups;
    size_t n0 = nt * p->cut.n_block, k = in * s->kernel_h * s->kernel_w;
    size_t n = out - n0 < p->cut.n_block ? out - n0 : p->cut.n_block;
    ufk_conv_args a = {.runs_y = 1,
                       .runs_x = 1,
                       .run_length = k,
                       .n = n,
                       .c_stride = s->out_c,
                       .epilogue = p->epilogue};
    a.b = p->weights + g * p->group_floats + n0 / nr * k * nr;
    size_t first = g * out + n0;
    if (a.epilogue.bias)
        a.epilogue.bias += first;
    if (a.epilogue.slope)
        a.epilogue.slope += first;
    return a;
}

/* Points c and the residual at output pixel `pixel` (over the whole batch), column n0 of group g.
 */
static void set_output(ufk_conv_args *a, const conv_job *job, size_t pixel, size_t g, size_t nt)
{
    const conv_params *p = job->p;
    size_t offset = pixel * p->s.out_c + g * (p->s.out_c / p->s.groups) + nt * p->cut.n_block;
    a->c = (float *)job->step->out[0].t.data + offset;
    if (p->has_residual) {
        a->epilogue.residual = (const float *)job->step->in[1].t.data + offset;
        a->epilogue.residual_stride = p->s.out_c;
    }
}

static void pointwise_task(void *arg, size_t task, size_t worker)
{
    const conv_job *job = arg;
    const conv_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    size_t mt = task / p->cut.n_tasks, nt = task % p->cut.n_tasks;
    size_t total = s->batch * s->out_h * s->out_w, m0 = mt * p->cut.m_block;
    for (size_t g = 0; g < s->groups; g++) {
        ufk_conv_args a = base_args(p, g, nt, job->plan->k->conv_nr);
        a.m = total - m0 < p->cut.m_block ? total - m0 : p->cut.m_block;
        a.a = (const float *)job->step->in[0].t.data + m0 * s->in_c + g * (s->in_c / s->groups);
        a.a_stride = s->in_c;
        set_output(&a, job, m0, g, nt);
        job->plan->k->conv_f32(&a);
    }
}

/* Copies the patch of output pixel (y, x), channels of one group, to `to`: (kh, kw, C). */
static void copy_patch(float *to, const cpu_conv_shape *s, const float *image, size_t y, size_t x,
                       size_t g)
{
    size_t in = s->in_c / s->groups;
    for (size_t ky = 0; ky < s->kernel_h; ky++) {
        size_t iy = y * s->stride_h + ky * s->dilation_h - s->pads[0];
        float *row = to + ky * s->kernel_w * in;
        if (iy >= s->in_h) { /* wraps around below zero */
            memset(row, 0, s->kernel_w * in * sizeof *row);
            continue;
        }
        for (size_t kx = 0; kx < s->kernel_w; kx++) {
            size_t ix = x * s->stride_w + kx * s->dilation_w - s->pads[1];
            if (ix >= s->in_w)
                memset(row + kx * in, 0, in * sizeof *row);
            else
                memcpy(row + kx * in, image + (iy * s->in_w + ix) * s->in_c + g * in,
                       in * sizeof *row);
        }
    }
}

static void im2col_task(void *arg, size_t task, size_t worker)
{
    const conv_job *job = arg;
    const conv_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    size_t mt = task / p->cut.n_tasks, nt = task % p->cut.n_tasks;
    size_t pixels = s->out_h * s->out_w, total = s->batch * pixels, m0 = mt * p->cut.m_block;
    size_t m = total - m0 < p->cut.m_block ? total - m0 : p->cut.m_block;
    float *matrix = cpu_worker_scratch(job->plan, worker);
    const float *in = job->step->in[0].t.data;
    for (size_t g = 0; g < s->groups; g++) {
        ufk_conv_args a = base_args(p, g, nt, job->plan->k->conv_nr);
        for (size_t i = 0; i < m; i++) {
            size_t at = (m0 + i) % pixels;
            const float *image = in + (m0 + i) / pixels * s->in_h * s->in_w * s->in_c;
            copy_patch(matrix + i * a.run_length, s, image, at / s->out_w, at % s->out_w, g);
        }
        a.a = matrix;
        a.a_stride = a.run_length;
        a.m = m;
        set_output(&a, job, m0, g, nt);
        job->plan->k->conv_f32(&a);
    }
}

static void direct_task(void *arg, size_t task, size_t worker)
{
    const conv_job *job = arg;
    const conv_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    const cpu_band d = cpu_band_of(s, &p->cut, task);
    const size_t row = cpu_conv_padded_width(s) * s->in_c;
    float *band = cpu_worker_scratch(job->plan, worker);
    cpu_copy_band(band, s, job->step->in[0].t.data, sizeof *band, 0, &d);
    size_t channels = s->in_c / s->groups;
    for (size_t g = 0; g < s->groups; g++) {
        ufk_conv_args a = base_args(p, g, d.columns, job->plan->k->conv_nr);
        bool joined = s->dilation_w == 1 && s->groups == 1;
        a.runs_y = s->kernel_h;
        a.run_stride_y = s->dilation_h * row;
        a.runs_x = joined ? 1 : s->kernel_w;
        a.run_stride_x = s->dilation_w * s->in_c;
        a.run_length = joined ? s->kernel_w * channels : channels;
        a.a_stride = s->stride_w * s->in_c;
        a.m = s->out_w;
        for (size_t r = 0; r < d.rows; r++) {
            a.a = band + r * s->stride_h * row + g * channels;
            set_output(&a, job, (d.image * s->out_h + d.first + r) * s->out_w, g, d.columns);
            job->plan->k->conv_f32(&a);
        }
    }
}

static uf_status run_pointwise(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    conv_job job = {s, s->params, plan};
    ufi_pool_run(plan->pool, pointwise_task, &job, job.p->cut.m_tasks * job.p->cut.n_tasks);
    return UF_OK;
}

static uf_status run_im2col(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    conv_job job = {s, s->params, plan};
    ufi_pool_run(plan->pool, im2col_task, &job, job.p->cut.m_tasks * job.p->cut.n_tasks);
    return UF_OK;
}

static uf_status run_direct(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    conv_job job = {s, s->params, plan};
    ufi_pool_run(plan->pool, direct_task, &job, job.p->cut.m_tasks * job.p->cut.n_tasks);
    return UF_OK;
}

static void depthwise_task(void *arg, size_t task, size_t worker)
{
    const conv_job *job = arg;
    const conv_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    size_t bands = (s->out_h + p->cut.m_block - 1) / p->cut.m_block;
    size_t image = task / bands, y0 = task % bands * p->cut.m_block;
    size_t in_image = s->in_h * s->in_w * s->in_c, out_image = s->out_h * s->out_w * s->out_c;
    ufk_dwconv_args a = {
        .in = (const float *)job->step->in[0].t.data + image * in_image,
        .in_row_stride = s->in_w * s->in_c,
        .in_pixel_stride = s->in_c,
        .out = (float *)job->step->out[0].t.data + image * out_image,
        .out_row_stride = s->out_w * s->out_c,
        .out_pixel_stride = s->out_c,
        .in_h = s->in_h,
        .in_w = s->in_w,
        .out_h = s->out_h,
        .out_w = s->out_w,
        .channels = s->in_c,
        .kernel_h = s->kernel_h,
        .kernel_w = s->kernel_w,
        .stride_h = s->stride_h,
        .stride_w = s->stride_w,
        .dilation_h = s->dilation_h,
        .dilation_w = s->dilation_w,
        .pad_top = s->pads[0],
        .pad_left = s->pads[1],
        .y_begin = y0,
        .y_end = y0 + p->cut.m_block < s->out_h ? y0 + p->cut.m_block : s->out_h,
        .weights = p->weights,
        .epilogue = p->epilogue,
    };
    if (p->has_residual) {
        a.epilogue.residual = (const float *)job->step->in[1].t.data + image * out_image;
        a.epilogue.residual_stride = s->out_c;
    }
    job->plan->k->dwconv_f32(&a);
}

static uf_status run_depthwise(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    conv_job job = {s, s->params, plan};
    ufi_pool_run(plan->pool, depthwise_task, &job, job.p->cut.m_tasks);
    return UF_OK;
}

/* ---- plans ---- */

static void plan_depthwise(conv_params *p, size_t workers)
{
    p->cut.m_block = p->s.out_h;
    if (workers > 1 && p->s.batch < 2 * workers) {
        size_t bands = (2 * workers + p->s.batch - 1) / p->s.batch;
        p->cut.m_block = (p->s.out_h + bands - 1) / bands;
    }
    p->cut.m_tasks = p->s.batch * ((p->s.out_h + p->cut.m_block - 1) / p->cut.m_block);
}

/* Chooses the way, fills the blocking, and returns the run function; scratch in *bytes. */
static cpu_run_fn *choose(const cpu_builder *b, conv_params *p, size_t *bytes)
{
    const cpu_conv_shape *s = &p->s;
    size_t k = s->in_c / s->groups * s->kernel_h * s->kernel_w, mr = b->k->conv_mr;
    size_t pixels = s->out_h * s->out_w, nr = b->k->conv_nr;
    *bytes = 0;
    if (cpu_conv_is_pointwise(s)) {
        size_t most = BLOCK_BYTES / (s->in_c * sizeof(float));
        p->cut = cpu_cut(s->out_c / s->groups, 1, s->batch * pixels, most > 4 * mr ? most : 4 * mr,
                         mr, b->workers, nr);
        return run_pointwise;
    }
    if (s->out_w < MIN_DIRECT_WIDTH) {
        size_t most = BLOCK_BYTES / (k * sizeof(float));
        p->cut = cpu_cut(s->out_c / s->groups, 1, s->batch * pixels, most > 4 * mr ? most : 4 * mr,
                         mr, b->workers, nr);
        *bytes = p->cut.m_block * k * sizeof(float);
        return run_im2col;
    }
    size_t row_bytes = cpu_conv_padded_width(s) * s->in_c * sizeof(float);
    size_t most = BLOCK_BYTES / (row_bytes * s->stride_h);
    p->cut =
        cpu_cut(s->out_c / s->groups, s->batch, s->out_h, most > 1 ? most : 1, 1, b->workers, nr);
    *bytes = cpu_conv_band_rows(s, p->cut.m_block) * row_bytes;
    return run_direct;
}

static uf_status pack_weights(cpu_builder *b, const ufi_node *n, conv_params *p, bool depthwise)
{
    ufi_tensor w = cpu_constant(b, n->in[1]);
    size_t k = p->s.in_c / p->s.groups * p->s.kernel_h * p->s.kernel_w;
    p->group_floats = ufk_conv_packed_floats(b->k, k, p->s.out_c / p->s.groups);
    return cpu_pack(b->program, &b->plan->arena, depthwise ? CPU_PACK_DEPTHWISE : CPU_PACK_CONV, &w,
                    (uint32_t)p->s.groups, &p->weights, b->err);
}

uf_status cpu_conv_operands(cpu_builder *b, const ufi_node *n, cpu_operand in[2],
                            uint32_t *in_count, cpu_operand *out)
{
    *in_count = 1;
    uf_status st = cpu_in(b, n->in[0], UFI_NHWC, &in[0]);
    if (!st && cpu_has_input(n, 4)) {
        st = cpu_in(b, n->in[4], UFI_NHWC, &in[1]);
        *in_count = 2;
    }
    if (st)
        return st;
    bool reuse = *in_count == 2 && in[1].buffer != in[0].buffer;
    return cpu_out(b, n->out[0], UFI_NHWC, reuse ? &in[1] : NULL, out);
}

uf_status cpu_build_conv(cpu_builder *b, const ufi_node *n)
{
    cpu_conv_shape s;
    if (!cpu_conv_shape_read(b, n, &s))
        return UF_E_UNSUPPORTED;
    uf_status half = cpu_build_half_conv(b, n);
    if (half != UF_E_UNSUPPORTED)
        return half;
    if (cpu_is_planar_conv(b, n))
        return cpu_build_planar(b, n);
    int tile = cpu_winograd_tile(b, n);
    if (tile)
        return cpu_build_winograd(b, n, tile);
    conv_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    p->s = s;
    bool depthwise = s.groups == s.in_c && s.out_c == s.in_c; /* one channel included */
    uf_status st = cpu_epilogue(b, n, cpu_has_input(n, 2) ? n->in[2] : UFI_NONE,
                                cpu_has_input(n, 3) ? n->in[3] : UFI_NONE, s.out_c, &p->epilogue);
    if (!st)
        st = pack_weights(b, n, p, depthwise);
    if (st)
        return st;
    size_t bytes = 0;
    cpu_run_fn *run = run_depthwise;
    if (depthwise)
        plan_depthwise(p, b->workers);
    else
        run = choose(b, p, &bytes);
    cpu_operand in[2], out;
    uint32_t in_count;
    cpu_step *step;
    st = cpu_conv_operands(b, n, in, &in_count, &out);
    p->has_residual = in_count == 2;
    if (!st)
        st = cpu_add_step(b, n, run, depthwise ? b->k->dwconv_f32_name : b->k->conv_f32_name, in,
                          in_count, &out, 1, p, &step);
    if (!st)
        step->worker_bytes = bytes;
    return st;
}
