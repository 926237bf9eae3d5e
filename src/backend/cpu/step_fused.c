/*
 * A 1x1 convolution, or the first one of a network over planes, and the depthwise 3x3 behind it as
 * one step. The tensor between them is usually the largest of its neighbourhood; a few rows of it
 * at a time stay in the second-level cache instead of making a trip to memory and back. Rows that
 * two bands of output share between workers are computed twice, so maps that fit the cache anyway
 * are left alone.
 */
#include <string.h>

#include "backend/cpu/planar.h"

/* Smallest tensor between the two that is worth the trouble, and rows of it that are kept. */
#define MIN_BYTES ((size_t)320 << 10)
#define KEPT_BYTES ((size_t)224 << 10)

typedef struct fused_params {
    cpu_conv_shape point, depth;
    bool is_planar;
    cpu_planar planar; /* the first one where it is no 1x1 convolution */
    const float *point_weights, *depth_weights;
    const ufk_hconv *half; /* not NULL: the 1x1 convolution in 16 bits, of half_weights */
    const uint16_t *half_weights;
    size_t half_low, narrow_halves; /* b_low; room for the narrowed pixels */
    size_t kept_floats; /* scratch of the tensor between; narrowed pixels or planes follow */
    ufk_epilogue point_epilogue, depth_epilogue;
    bool has_residual;  /* of the depthwise one */
    size_t chunk;       /* output rows done at once */
    size_t band, bands; /* output rows of a task, tasks of an image */
} fused_params;

typedef struct fused_job {
    const cpu_step *step;
    const fused_params *p;
    cpu_plan *plan;
} fused_job;

/* Rows of the tensor between that output rows y .. y + rows - 1 look at: [*from, *to), clamped. */
static void rows_between(const cpu_conv_shape *d, size_t y, size_t rows, size_t *from, size_t *to)
{
    size_t first = y * d->stride_h, last = first + (rows - 1) * d->stride_h + 3;
    *from = first > d->pads[0] ? first - d->pads[0] : 0;
    *to = last > d->pads[0] ? last - d->pads[0] : 0;
    *to = *to < d->in_h ? *to : d->in_h;
    *from = *from < *to ? *from : *to;
}

static void pointwise_half(const fused_job *job, const ufk_conv_args *wide, uint16_t *narrow)
{
    const ufk_hconv *h = job->p->half;
    const ufk_hconv_args a = {
        .a = narrow,
        .a_low = h->pairs ? job->p->narrow_halves : 0,
        .b_low = job->p->half_low,
        .a_stride = wide->a_stride,
        .lines = 1,
        .runs_y = 1,
        .runs_x = 1,
        .run_length = wide->run_length,
        .b = job->p->half_weights,
        .c = wide->c,
        .c_stride = wide->c_stride,
        .m = wide->m,
        .n = wide->n,
        .epilogue = wide->epilogue,
    };
    h->narrow(narrow, narrow + job->p->narrow_halves, wide->a, wide->m * wide->run_length);
    h->conv(&a);
}

/* Rows from .. to - 1 of the tensor between. */
static void first_rows(const fused_job *job, size_t image, size_t from, size_t to, float *rows,
                       float *scratch)
{
    const cpu_conv_shape *s = &job->p->point;
    const float *in = job->step->in[0].t.data;
    if (job->p->is_planar) {
        if (to > from)
            cpu_planar_rows(&job->p->planar, job->plan->k, in + image * s->in_c * s->in_h * s->in_w,
                            from, to - from, scratch, rows);
        return;
    }
    ufk_conv_args a = {
        .a = in + (image * s->in_h + from) * s->in_w * s->in_c,
        .a_stride = s->in_c,
        .runs_y = 1,
        .runs_x = 1,
        .run_length = s->in_c,
        .b = job->p->point_weights,
        .c = rows,
        .c_stride = s->out_c,
        .m = (to - from) * s->in_w,
        .n = s->out_c,
        .epilogue = job->p->point_epilogue,
    };
    if (a.m && job->p->half)
        pointwise_half(job, &a, (uint16_t *)(void *)scratch);
    else if (a.m)
        job->plan->k->conv_f32(&a);
}

/* `kept` holds rows from .. to - 1 of the tensor between. */
static void depthwise_rows(const fused_job *job, size_t image, size_t y, size_t rows, size_t from,
                           size_t to, const float *kept)
{
    const cpu_conv_shape *s = &job->p->depth;
    size_t offset = (image * s->out_h + y) * s->out_w * s->out_c;
    ufk_dwconv_args a = {
        .in = kept,
        .in_row_stride = s->in_w * s->in_c,
        .in_pixel_stride = s->in_c,
        .out = (float *)job->step->out[0].t.data + offset,
        .out_row_stride = s->out_w * s->out_c,
        .out_pixel_stride = s->out_c,
        .in_h = to - from,
        .in_w = s->in_w,
        .out_h = rows,
        .out_w = s->out_w,
        .channels = s->in_c,
        .kernel_h = 3,
        .kernel_w = 3,
        .stride_h = s->stride_h,
        .stride_w = s->stride_w,
        .dilation_h = 1,
        .dilation_w = 1,
        .pad_top = from + s->pads[0] - y * s->stride_h,
        .pad_left = s->pads[1],
        .y_end = rows,
        .weights = job->p->depth_weights,
        .epilogue = job->p->depth_epilogue,
    };
    if (job->p->has_residual) {
        a.epilogue.residual = (const float *)job->step->in[1].t.data + offset;
        a.epilogue.residual_stride = s->out_c;
    }
    job->plan->k->dwconv_f32(&a);
}

static void fused_task(void *arg, size_t task, size_t worker)
{
    const fused_job *job = arg;
    const fused_params *p = job->p;
    const cpu_conv_shape *d = &p->depth;
    size_t image = task / p->bands, y = task % p->bands * p->band;
    size_t end = y + p->band < d->out_h ? y + p->band : d->out_h;
    size_t row = d->in_w * d->in_c, have_from = 0, have_to = 0;
    float *kept = cpu_worker_scratch(job->plan, worker);
    for (; y < end; y += p->chunk) {
        size_t rows = end - y < p->chunk ? end - y : p->chunk, from, to;
        rows_between(d, y, rows, &from, &to);
        size_t reused = have_to > from ? have_to - from : 0;
        if (reused)
            memmove(kept, kept + (from - have_from) * row, reused * row * sizeof *kept);
        first_rows(job, image, from + reused, to, kept + reused * row, kept + p->kept_floats);
        depthwise_rows(job, image, y, rows, from, to, kept);
        have_from = from;
        have_to = to;
    }
}

static uf_status run_fused(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    fused_job job = {s, s->params, plan};
    ufi_pool_run(plan->pool, fused_task, &job, job.p->depth.batch * job.p->bands);
    return UF_OK;
}

/* ---- planning ---- */

static bool is_dense_pointwise(const cpu_conv_shape *s)
{
    return s->groups == 1 && cpu_conv_is_pointwise(s);
}

static bool is_depthwise_3x3(const cpu_conv_shape *s)
{
    return s->kernel_h == 3 && s->kernel_w == 3 && s->dilation_h == 1 && s->dilation_w == 1 &&
           s->groups == s->in_c && s->out_c == s->in_c && s->groups > 1 &&
           s->stride_h == s->stride_w && s->stride_h <= 2 && s->pads[0] <= 1;
}

bool cpu_can_fuse(const cpu_builder *b, const ufi_node *first, const ufi_node *second)
{
    cpu_conv_shape point, depth;
    if (first->op != UFI_OP_CONV || second->op != UFI_OP_CONV || second->in[0] != first->out[0] ||
        b->uses[first->out[0]] != 1 || cpu_has_input(first, 4) ||
        !cpu_conv_shape_read(b, first, &point) || !cpu_conv_shape_read(b, second, &depth))
        return false;
    if (cpu_has_input(second, 4) && second->in[4] == first->out[0])
        return false;
    const bool is_planar = cpu_is_planar_conv(b, first) && !cpu_half_kernels(b, first);
    return (is_dense_pointwise(&point) || is_planar) && is_depthwise_3x3(&depth) &&
           depth.out_h >= 8 && depth.in_h * depth.in_w * depth.in_c * sizeof(float) >= MIN_BYTES;
}

static const char *step_name(const cpu_builder *b, const fused_params *p)
{
    return !p->half                 ? "conv_dwconv_f32"
           : p->half == &b->k->bf16 ? "conv_dwconv_bf16"
           : p->half == &b->k->f16  ? "conv_dwconv_f16"
                                    : "conv_dwconv_bf16x3";
}

static void cut(fused_params *p, size_t workers)
{
    const cpu_conv_shape *d = &p->depth;
    size_t row_bytes = d->in_w * d->in_c * sizeof(float), kept = KEPT_BYTES / row_bytes;
    p->chunk = kept > 3 + d->stride_h ? (kept - 3) / d->stride_h : 2;
    p->chunk = (p->chunk + 1) / 2 * 2; /* the kernel takes two rows at once */
    p->band = d->out_h;
    if (workers > 1 && d->batch < workers)
        p->band = (d->out_h + 2 * workers - 1) / (2 * workers);
    if (p->chunk > p->band)
        p->chunk = p->band;
    p->bands = (d->out_h + p->band - 1) / p->band;
}

static uf_status pack(cpu_builder *b, const ufi_node *n, cpu_pack_kind kind, const float **out)
{
    ufi_tensor w = cpu_constant(b, n->in[1]);
    return cpu_pack(b->program, &b->plan->arena, kind, &w,
                    kind == CPU_PACK_CONV ? 1 : (uint32_t)w.shape.dims[0], out, b->err);
}

static uf_status epilogue_of(cpu_builder *b, const ufi_node *n, size_t channels, ufk_epilogue *out)
{
    return cpu_epilogue(b, n, cpu_has_input(n, 2) ? n->in[2] : UFI_NONE,
                        cpu_has_input(n, 3) ? n->in[3] : UFI_NONE, channels, out);
}

uf_status cpu_build_fused(cpu_builder *b, const ufi_node *first, const ufi_node *second)
{
    fused_params *p = cpu_params(b, sizeof *p);
    cpu_operand in[2], out;
    uint32_t in_count = 1;
    cpu_step *step;
    if (!p)
        return UF_E_NOMEM;
    cpu_conv_shape_read(b, first, &p->point);
    cpu_conv_shape_read(b, second, &p->depth);
    p->is_planar = !is_dense_pointwise(&p->point);
    ufi_tensor w = cpu_constant(b, first->in[1]);
    p->half = cpu_half_kernels(b, first);
    uf_status st =
        p->is_planar ? cpu_planar_read(b, first, &p->planar)
        : p->half ? cpu_pack_halves(b->program, &b->plan->arena, cpu_half_pack(b, p->half, false),
                                    &w, &p->half_weights, b->err)
                  : pack(b, first, CPU_PACK_CONV, &p->point_weights);
    if (!st)
        st = pack(b, second, CPU_PACK_DEPTHWISE, &p->depth_weights);
    if (p->half && p->half->pairs)
        p->half_low = ufk_hconv_plane_halves(p->half, 1, p->point.in_c, p->point.out_c);
    if (!st && !p->is_planar)
        st = epilogue_of(b, first, p->point.out_c, &p->point_epilogue);
    if (!st)
        st = epilogue_of(b, second, p->depth.out_c, &p->depth_epilogue);
    if (!st)
        st = cpu_in(b, first->in[0], p->is_planar ? UFI_PLAIN : UFI_NHWC, &in[0]);
    p->has_residual = cpu_has_input(second, 4);
    if (!st && p->has_residual)
        st = cpu_in(b, second->in[4], UFI_NHWC, &in[in_count++]);
    if (!st)
        st = cpu_out(b, second->out[0], UFI_NHWC, NULL, &out);
    if (!st)
        st = cpu_add_step(b, second, run_fused, step_name(b, p), in, in_count, &out, 1, p, &step);
    if (st)
        return st;
    cut(p, b->workers);
    size_t rows = (p->chunk - 1) * p->depth.stride_h + 3;
    p->kept_floats = (rows + 1) * p->depth.in_w * p->depth.in_c;
    step->worker_bytes = p->kept_floats * sizeof(float);
    if (p->is_planar)
        step->worker_bytes += cpu_planar_scratch_floats(&p->planar, rows + 1) * sizeof(float);
    if (p->half) {
        step->arithmetic = cpu_half_arithmetic(b, p->half);
        p->narrow_halves = rows * p->point.in_w * p->point.in_c;
        step->worker_bytes += (p->half->pairs ? 2 : 1) * p->narrow_halves * sizeof(uint16_t);
    }
    step->macs = ufi_node_macs(b->g, first) + ufi_node_macs(b->g, second);
    return UF_OK;
}
