/*
 * Convolutions and fully connected layers whose weights the model stores in 16 bits, where the
 * machine multiplies such numbers faster than FP32, and convolutions in FP32 where it multiplies
 * their parts of 16 bits faster (bf16x3). Activations stay FP32 between steps; what a task reads is
 * narrowed into its scratch on the way to the kernel:
 *   - 1x1, stride 1, no padding: a block of pixels;
 *   - small maps with strides: patches (im2col);
 *   - others: the padded rows of a band, channels last even where the input is in planes, of which
 *     the kernel walks several lines at once.
 */
#include <string.h>

#include "backend/cpu/build.h"
#include "backend/cpu/conv_shape.h"

/* Narrowed input of one task: in reach of the second-level cache together with its output. */
#define BLOCK_HALVES ((size_t)96 << 10)
/* Lines shorter than this that cannot be walked together are fed by im2col. */
#define MIN_DIRECT_WIDTH 24
#define MIN_DIRECT_LINE 7
/* Sums of fewer products than this gain nothing from being fast; for pairs, twice as many. */
#define MIN_DEPTH 16
/* Patches of more are not worth the scratch. */
#define MAX_DEPTH (1 << 18)
#define MAX_PLANES 4

typedef struct hconv_params {
    cpu_conv_shape s;
    const ufk_hconv *h;
    const uint16_t *weights;
    size_t column_halves; /* packed weights of one column */
    size_t a_low, b_low;  /* of ufk_hconv_args; a_low is also the size of one part of the scratch */
    ufk_epilogue epilogue;
    bool has_residual, planar;
    ufi_task_fn *task;
    cpu_blocks cut; /* m: output pixels (1x1, im2col) or rows (direct) */
} hconv_params;

typedef struct hconv_job {
    const cpu_step *step;
    const hconv_params *p;
    cpu_plan *plan;
} hconv_job;

const ufk_hconv *cpu_half_kernels(const cpu_builder *b, const ufi_node *n)
{
    const ufi_value *w = &b->g->values[n->in[1]];
    const uf_dtype stored = cpu_program_stored_as(b->program, w->data);
    const ufk_hconv *h = stored == UF_BF16  ? &b->k->bf16
                         : stored == UF_F16 ? &b->k->f16
                                            : &b->k->bf16x3;
    if (cpu_program_is_exact(b->program) || !h->pays || w->shape.dims[0] == 0)
        return NULL;
    const int64_t depth = ufi_shape_count(&w->shape) / w->shape.dims[0];
    return depth >= (h->pairs ? 2 : 1) * MIN_DEPTH && depth <= MAX_DEPTH ? h : NULL;
}

cpu_arithmetic cpu_half_arithmetic(const cpu_builder *b, const ufk_hconv *h)
{
    return h == &b->k->bf16  ? CPU_ARITHMETIC_BF16
           : h == &b->k->f16 ? CPU_ARITHMETIC_F16
                             : CPU_ARITHMETIC_BF16X3;
}

cpu_pack_kind cpu_half_pack(const cpu_builder *b, const ufk_hconv *h, bool rows)
{
    if (h == &b->k->bf16)
        return rows ? CPU_PACK_BF16_ROWS : CPU_PACK_BF16_FLAT;
    if (h == &b->k->bf16x3)
        return rows ? CPU_PACK_BF16X3_ROWS : CPU_PACK_BF16X3_FLAT;
    return rows ? CPU_PACK_F16_ROWS : CPU_PACK_F16_FLAT;
}

/* ---- runs ---- */

/* The kernel's arguments for column task `nt`; a, m and c are the caller's. */
static ufk_hconv_args base_args(const hconv_params *p, size_t nt)
{
    const cpu_conv_shape *s = &p->s;
    const size_t n0 = nt * p->cut.n_block, left = s->out_c - n0;
    ufk_hconv_args a = {.a_low = p->h->pairs ? p->a_low : 0,
                        .b_low = p->b_low,
                        .lines = 1,
                        .runs_y = 1,
                        .runs_x = 1,
                        .run_length = s->in_c * s->kernel_h * s->kernel_w,
                        .b = p->weights + n0 * p->column_halves,
                        .n = left < p->cut.n_block ? left : p->cut.n_block,
                        .c_stride = s->out_c,
                        .epilogue = p->epilogue};
    if (a.epilogue.bias)
        a.epilogue.bias += n0;
    if (a.epilogue.slope)
        a.epilogue.slope += n0;
    return a;
}

/* Points c and the residual at output pixel `pixel` (over the whole batch), column task nt. */
static void set_output(ufk_hconv_args *a, const hconv_job *job, size_t pixel, size_t nt)
{
    const hconv_params *p = job->p;
    const size_t offset = pixel * p->s.out_c + nt * p->cut.n_block;
    a->c = (float *)job->step->out[0].t.data + offset;
    if (p->has_residual) {
        a->epilogue.residual = (const float *)job->step->in[1].t.data + offset;
        a->epilogue.residual_stride = p->s.out_c;
    }
}

static void pointwise_task(void *arg, size_t task, size_t worker)
{
    const hconv_job *job = arg;
    const hconv_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    const size_t nt = task % p->cut.n_tasks, m0 = task / p->cut.n_tasks * p->cut.m_block;
    const size_t total = s->batch * s->out_h * s->out_w;
    uint16_t *matrix = cpu_worker_scratch(job->plan, worker);
    ufk_hconv_args a = base_args(p, nt);
    a.m = total - m0 < p->cut.m_block ? total - m0 : p->cut.m_block;
    p->h->narrow(matrix, matrix + p->a_low, (const float *)job->step->in[0].t.data + m0 * s->in_c,
                 a.m * s->in_c);
    a.a = matrix;
    a.a_stride = s->in_c;
    set_output(&a, job, m0, nt);
    p->h->conv(&a);
}

/* Zeros, low parts too. */
static void clear(const hconv_params *p, uint16_t *to, size_t count)
{
    memset(to, 0, count * sizeof *to);
    if (p->h->pairs)
        memset(to + p->a_low, 0, count * sizeof *to);
}

/* Narrows the patch of output pixel (y, x) to `to`: (kh, kw, C). */
static void narrow_patch(uint16_t *to, const hconv_params *p, const float *image, size_t y,
                         size_t x)
{
    const cpu_conv_shape *s = &p->s;
    for (size_t ky = 0; ky < s->kernel_h; ky++) {
        const size_t iy = y * s->stride_h + ky * s->dilation_h - s->pads[0]; /* wraps below zero */
        for (size_t kx = 0; kx < s->kernel_w; kx++, to += s->in_c) {
            const size_t ix = x * s->stride_w + kx * s->dilation_w - s->pads[1];
            if (iy >= s->in_h || ix >= s->in_w)
                clear(p, to, s->in_c);
            else
                p->h->narrow(to, to + p->a_low, image + (iy * s->in_w + ix) * s->in_c, s->in_c);
        }
    }
}

static void im2col_task(void *arg, size_t task, size_t worker)
{
    const hconv_job *job = arg;
    const hconv_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    const size_t nt = task % p->cut.n_tasks, m0 = task / p->cut.n_tasks * p->cut.m_block;
    const size_t pixels = s->out_h * s->out_w, total = s->batch * pixels;
    const float *in = job->step->in[0].t.data;
    uint16_t *matrix = cpu_worker_scratch(job->plan, worker);
    ufk_hconv_args a = base_args(p, nt);
    a.m = total - m0 < p->cut.m_block ? total - m0 : p->cut.m_block;
    for (size_t i = 0; i < a.m; i++) {
        const size_t at = (m0 + i) % pixels;
        const float *image = in + (m0 + i) / pixels * s->in_h * s->in_w * s->in_c;
        narrow_patch(matrix + i * a.run_length, p, image, at / s->out_w, at % s->out_w);
    }
    a.a = matrix;
    a.a_stride = a.run_length;
    set_output(&a, job, m0, nt);
    p->h->conv(&a);
}

/* Row `y` of an image, channels last, narrowed; `row` has room for it as FP32. */
static void narrow_row(const hconv_job *job, uint16_t *to, float *row, const float *image, size_t y)
{
    const hconv_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    const float *from = image + y * s->in_w * s->in_c;
    if (p->planar) {
        job->plan->k->transpose_f32(row, s->in_c, image + y * s->in_w, s->in_h * s->in_w, s->in_c,
                                    s->in_w);
        from = row;
    }
    p->h->narrow(to, to + p->a_low, from, s->in_w * s->in_c);
}

/* As cpu_copy_band, from floats in any layout. */
static void narrow_band(const hconv_job *job, uint16_t *to, const cpu_band *band)
{
    const cpu_conv_shape *s = &job->p->s;
    const size_t row = s->in_w * s->in_c, left = s->pads[1] * s->in_c;
    const size_t whole = cpu_conv_padded_width(s) * s->in_c;
    const size_t rows = cpu_conv_band_rows(s, band->rows);
    const float *image = (const float *)job->step->in[0].t.data + band->image * s->in_h * row;
    float *wide = (float *)(void *)(to + (job->p->h->pairs ? 2 : 1) * job->p->a_low);
    for (size_t r = 0; r < rows; r++, to += whole) {
        const size_t y = band->first * s->stride_h + r - s->pads[0];
        if (y >= s->in_h) { /* wraps around below zero */
            clear(job->p, to, whole);
            continue;
        }
        clear(job->p, to, left);
        narrow_row(job, to + left, wide, image, y);
        clear(job->p, to + left + row, whole - left - row);
    }
}

static void direct_task(void *arg, size_t task, size_t worker)
{
    const hconv_job *job = arg;
    const hconv_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    const cpu_band d = cpu_band_of(s, &p->cut, task);
    const size_t row = cpu_conv_padded_width(s) * s->in_c;
    uint16_t *band = cpu_worker_scratch(job->plan, worker);
    narrow_band(job, band, &d);
    ufk_hconv_args a = base_args(p, d.columns);
    a.runs_y = s->kernel_h;
    a.run_stride_y = s->dilation_h * row;
    a.run_length = s->kernel_w * s->in_c;
    a.a_stride = s->stride_w * s->in_c;
    a.a_line_stride = s->stride_h * row;
    a.m = s->out_w;
    a.lines = d.rows;
    a.a = band;
    set_output(&a, job, (d.image * s->out_h + d.first) * s->out_w, d.columns);
    p->h->conv(&a);
}

static uf_status run_hconv(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    hconv_job job = {s, s->params, plan};
    ufi_pool_run(plan->pool, job.p->task, &job, job.p->cut.m_tasks * job.p->cut.n_tasks);
    return UF_OK;
}

/* ---- plans ---- */

static bool is_direct(const cpu_conv_shape *s)
{
    const size_t shortest = s->stride_w == 1 ? MIN_DIRECT_LINE : MIN_DIRECT_WIDTH;
    return s->out_w >= shortest && s->dilation_w == 1;
}

/* Chooses the way and the blocking; scratch in *bytes. Whether each row of the kernel is a run. */
static bool choose(const cpu_builder *b, hconv_params *p, size_t *bytes)
{
    const cpu_conv_shape *s = &p->s;
    const size_t parts = p->h->pairs ? 2 : 1, mr = p->h->mr;
    const size_t patch = s->in_c * s->kernel_h * s->kernel_w;
    const size_t row = cpu_conv_padded_width(s) * s->in_c;
    const bool rows = !cpu_conv_is_pointwise(s) && is_direct(s);
    if (rows) {
        const size_t most = BLOCK_HALVES / (parts * row * s->stride_h);
        p->cut =
            cpu_cut(s->out_c, s->batch, s->out_h, most > 1 ? most : 1, 1, b->workers, p->h->nr);
        p->a_low = cpu_conv_band_rows(s, p->cut.m_block) * row;
        p->task = direct_task;
    } else {
        const size_t most = BLOCK_HALVES / (parts * patch), total = s->batch * s->out_h * s->out_w;
        p->cut =
            cpu_cut(s->out_c, 1, total, most > 2 * mr ? most : 2 * mr, mr, b->workers, p->h->nr);
        p->a_low = (p->cut.m_block < total ? p->cut.m_block : total) * patch;
        p->task = cpu_conv_is_pointwise(s) ? pointwise_task : im2col_task;
    }
    p->a_low = (p->a_low + 31) / 32 * 32;
    *bytes = parts * p->a_low * sizeof(uint16_t);
    if (p->planar)
        *bytes += s->in_w * s->in_c * sizeof(float);
    return rows;
}

static uf_status pack(cpu_builder *b, hconv_params *p, bool rows, ufi_tensor w)
{
    const size_t taps = p->s.kernel_h * p->s.kernel_w, runs = rows ? p->s.kernel_h : 1;
    const size_t run_length = taps / runs * p->s.in_c;
    p->column_halves = ufk_hconv_column_halves(p->h, runs, run_length);
    if (p->h->pairs)
        p->b_low = ufk_hconv_plane_halves(p->h, runs, run_length, p->s.out_c);
    return cpu_pack_halves(b->program, &b->plan->arena, cpu_half_pack(b, p->h, rows), &w,
                           &p->weights, b->err);
}

uf_status cpu_build_half_conv(cpu_builder *b, const ufi_node *n)
{
    cpu_conv_shape s;
    const ufk_hconv *h = cpu_half_kernels(b, n);
    if (!h || !cpu_conv_shape_read(b, n, &s) || s.groups != 1)
        return UF_E_UNSUPPORTED;
    if (h == &b->k->bf16x3 && s.out_h * s.out_w == 1) /* reading weights is all it does */
        return UF_E_UNSUPPORTED;
    hconv_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    *p = (hconv_params){.s = s, .h = h, .has_residual = cpu_has_input(n, 4)};
    p->planar = !p->has_residual && s.in_c <= MAX_PLANES && !cpu_conv_is_pointwise(&s) &&
                is_direct(&s) && b->places[n->in[0]].buffer[UFI_NHWC] < 0;
    size_t bytes;
    uf_status st = cpu_epilogue(b, n, cpu_has_input(n, 2) ? n->in[2] : UFI_NONE,
                                cpu_has_input(n, 3) ? n->in[3] : UFI_NONE, s.out_c, &p->epilogue);
    if (!st)
        st = pack(b, p, choose(b, p, &bytes), cpu_constant(b, n->in[1]));
    cpu_operand in[2], out;
    uint32_t in_count = 1;
    cpu_step *step;
    if (!st && p->planar) {
        st = cpu_in(b, n->in[0], UFI_PLAIN, &in[0]);
        if (!st)
            st = cpu_out(b, n->out[0], UFI_NHWC, NULL, &out);
    } else if (!st) {
        st = cpu_conv_operands(b, n, in, &in_count, &out);
    }
    if (!st)
        st = cpu_add_step(b, n, run_hconv, h->name, in, in_count, &out, 1, p, &step);
    if (!st) {
        step->worker_bytes = bytes;
        step->arithmetic = cpu_half_arithmetic(b, h);
    }
    return st;
}

/* x [m][k] times weights [n][k]: a convolution of m pictures of one pixel. */
uf_status cpu_build_half_gemm(cpu_builder *b, const ufi_node *n)
{
    const ufk_hconv *h = cpu_half_kernels(b, n);
    const ufi_shape *x = cpu_shape(b, n->in[0]), *y = cpu_shape(b, n->out[0]);
    if (!h || h == &b->k->bf16x3) /* FP32 of one picture is bound by reading weights */
        return UF_E_UNSUPPORTED;
    hconv_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    p->h = h;
    p->s = (cpu_conv_shape){.batch = (size_t)x->dims[0],
                            .in_c = (size_t)x->dims[1],
                            .in_h = 1,
                            .in_w = 1,
                            .out_c = (size_t)y->dims[1],
                            .out_h = 1,
                            .out_w = 1,
                            .kernel_h = 1,
                            .kernel_w = 1,
                            .groups = 1,
                            .stride_h = 1,
                            .stride_w = 1,
                            .dilation_h = 1,
                            .dilation_w = 1};
    ufi_tensor w = cpu_constant(b, n->in[1]);
    w.shape = ufi_shape_make(4, (const int64_t[]){w.shape.dims[0], w.shape.dims[1], 1, 1});
    size_t bytes;
    uf_status st = cpu_epilogue(b, n, cpu_has_input(n, 2) ? n->in[2] : UFI_NONE, UFI_NONE,
                                p->s.out_c, &p->epilogue);
    if (!st)
        st = pack(b, p, choose(b, p, &bytes), w);
    cpu_operand in, out;
    cpu_step *step;
    if (!st)
        st = cpu_in(b, n->in[0], UFI_PLAIN, &in);
    if (!st)
        st = cpu_out(b, n->out[0], UFI_PLAIN, NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run_hconv, h->name, &in, 1, &out, 1, p, &step);
    if (!st) {
        step->worker_bytes = bytes;
        step->arithmetic = cpu_half_arithmetic(b, h);
    }
    return st;
}
