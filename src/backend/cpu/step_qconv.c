/*
 * INT8 convolutions (QConv). Inputs are fed as in step_conv.c: 1x1 as they are, small maps by
 * im2col, large ones by bands of padded rows; padding is the input's zero point. Scales, zero
 * points and bias become the two vectors of the kernel's epilogue when the plan is made, or, where
 * a graph quantises its activations at run time, at the start of each run.
 */
#include <math.h>
#include <string.h>

#include "backend/cpu/build.h"
#include "backend/cpu/conv_shape.h"

#define BLOCK_BYTES ((size_t)192 << 10)
#define MIN_DIRECT_WIDTH 28
#define MIN_DIRECT_LINE 7
/* Sums of more products than this could pass 2^31. */
#define MAX_DEPTH 65536

enum { IN_X, IN_W, IN_X_SCALE, IN_X_ZERO, IN_W_SCALE, IN_BIAS, IN_SLOPE, IN_RESIDUAL };
enum { IN_RESIDUAL_SCALE = 8, IN_RESIDUAL_ZERO, IN_Y_SCALE, IN_Y_ZERO };

typedef struct qconv_params {
    cpu_conv_shape s;
    const int8_t *weights;
    size_t group_bytes, column_bytes; /* packed weights of one group, of one column */
    ufk_qepilogue epilogue;
    uint8_t x_zero;
    bool has_residual, floats, depthwise;
    ufi_task_fn *task;
    cpu_blocks cut; /* m: output pixels (1x1, im2col) or rows (direct) */
    /* What the epilogue is made of, for scales that come at run time. */
    float *scale, *bias;
    const float *w_scale, *real_bias;
    const int32_t *column_sums;
    bool one_w_scale, dynamic;
    uint32_t scale_input; /* operand of the step: x_scale; x_zero follows */
    float residual_scale, residual_zero, y_scale, y_zero;
    ufi_act act;
    float act_lo, act_hi;
} qconv_params;

typedef struct qconv_job {
    const cpu_step *step;
    const qconv_params *p;
    cpu_plan *plan;
} qconv_job;

/* ---- the epilogue ---- */

/* Whether output scale and zero point go into scale and bias (kernels.h). */
static bool is_linear(ufi_act act)
{
    return act == UFI_ACT_NONE || act == UFI_ACT_RELU || act == UFI_ACT_CLAMP;
}

/* NaN, which a file may hold, becomes lo. */
static float clampf(float v, float lo, float hi)
{
    return v > lo ? (v < hi ? v : hi) : lo;
}

/* Bounds in units of the output. */
static void fill_bounds(qconv_params *p)
{
    ufk_qepilogue *e = &p->epilogue;
    float lo = -INFINITY, hi = INFINITY;
    if (p->act == UFI_ACT_RELU)
        lo = 0;
    if (p->act == UFI_ACT_CLAMP) {
        lo = p->act_lo;
        hi = p->act_hi;
    }
    e->lo = p->floats ? lo : clampf(lo / p->y_scale + p->y_zero, 0, 255);
    e->hi = p->floats ? hi : clampf(hi / p->y_scale + p->y_zero, 0, 255);
    e->lo = fminf(e->lo, e->hi); /* of crossed bounds the upper one holds */
}

static void fill_epilogue(qconv_params *p, float x_scale, uint8_t x_zero)
{
    ufk_qepilogue *e = &p->epilogue;
    const bool linear = is_linear(p->act);
    const double unit = p->floats || !linear ? 1 : 1 / (double)p->y_scale;
    const double residual = (double)p->residual_zero * (double)p->residual_scale;
    e->residual_scale = (float)((double)p->residual_scale * unit);
    for (size_t i = 0; i < p->s.out_c; i++) {
        double scale = (double)x_scale * (double)p->w_scale[p->one_w_scale ? 0 : i] * unit;
        double bias = p->real_bias ? (double)p->real_bias[i] * unit : 0;
        bias -= scale * (double)x_zero * (double)p->column_sums[i];
        bias -= residual * unit;
        if (linear && !p->floats)
            bias += (double)p->y_zero;
        p->scale[i] = (float)scale;
        p->bias[i] = (float)bias;
    }
    p->x_zero = x_zero;
}

/* ---- runs ---- */

/* The kernel's arguments for group `g` and column task `nt`; a, m and c are the caller's. */
static ufk_qconv_args base_args(const qconv_params *p, size_t g, size_t nt)
{
    const cpu_conv_shape *s = &p->s;
    size_t in = s->in_c / s->groups, out = s->out_c / s->groups, n0 = nt * p->cut.n_block;
    ufk_qconv_args a = {.lines = 1,
                        .runs_y = 1,
                        .runs_x = 1,
                        .run_length = in * s->kernel_h * s->kernel_w,
                        .b = p->weights + g * p->group_bytes + n0 * p->column_bytes,
                        .n = out - n0 < p->cut.n_block ? out - n0 : p->cut.n_block,
                        .c_stride = s->out_c,
                        .epilogue = p->epilogue};
    size_t first = g * out + n0;
    a.epilogue.scale += first;
    a.epilogue.bias += first;
    if (a.epilogue.slope)
        a.epilogue.slope += first;
    return a;
}

/* Points c and the residual at output pixel `pixel` (over the whole batch), column task nt. */
static void set_output(ufk_qconv_args *a, const qconv_job *job, size_t pixel, size_t g, size_t nt)
{
    const qconv_params *p = job->p;
    size_t offset = pixel * p->s.out_c + g * (p->s.out_c / p->s.groups) + nt * p->cut.n_block;
    if (p->floats)
        a->c_f32 = (float *)job->step->out[0].t.data + offset;
    else
        a->c = (uint8_t *)job->step->out[0].t.data + offset;
    if (p->has_residual) {
        a->epilogue.residual = (const uint8_t *)job->step->in[1].t.data + offset;
        a->epilogue.residual_stride = p->s.out_c;
    }
}

static void pointwise_task(void *arg, size_t task, size_t worker)
{
    const qconv_job *job = arg;
    const qconv_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    size_t mt = task / p->cut.n_tasks, nt = task % p->cut.n_tasks;
    size_t total = s->batch * s->out_h * s->out_w, m0 = mt * p->cut.m_block;
    for (size_t g = 0; g < s->groups; g++) {
        ufk_qconv_args a = base_args(p, g, nt);
        a.m = total - m0 < p->cut.m_block ? total - m0 : p->cut.m_block;
        a.a = (const uint8_t *)job->step->in[0].t.data + m0 * s->in_c + g * (s->in_c / s->groups);
        a.a_stride = s->in_c;
        set_output(&a, job, m0, g, nt);
        job->plan->k->conv_u8(&a);
    }
}

/* Copies the patch of output pixel (y, x), channels of one group, to `to`: (kh, kw, C). */
static void copy_patch(uint8_t *to, const qconv_params *p, const uint8_t *image, size_t y, size_t x,
                       size_t g)
{
    const cpu_conv_shape *s = &p->s;
    size_t in = s->in_c / s->groups;
    for (size_t ky = 0; ky < s->kernel_h; ky++) {
        size_t iy = y * s->stride_h + ky * s->dilation_h - s->pads[0]; /* wraps below zero */
        for (size_t kx = 0; kx < s->kernel_w; kx++, to += in) {
            size_t ix = x * s->stride_w + kx * s->dilation_w - s->pads[1];
            if (iy >= s->in_h || ix >= s->in_w)
                memset(to, p->x_zero, in);
            else
                memcpy(to, image + (iy * s->in_w + ix) * s->in_c + g * in, in);
        }
    }
}

static void im2col_task(void *arg, size_t task, size_t worker)
{
    const qconv_job *job = arg;
    const qconv_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    size_t mt = task / p->cut.n_tasks, nt = task % p->cut.n_tasks;
    size_t pixels = s->out_h * s->out_w, total = s->batch * pixels, m0 = mt * p->cut.m_block;
    size_t m = total - m0 < p->cut.m_block ? total - m0 : p->cut.m_block;
    uint8_t *matrix = cpu_worker_scratch(job->plan, worker);
    const uint8_t *in = job->step->in[0].t.data;
    for (size_t g = 0; g < s->groups; g++) {
        ufk_qconv_args a = base_args(p, g, nt);
        for (size_t i = 0; i < m; i++) {
            size_t at = (m0 + i) % pixels;
            const uint8_t *image = in + (m0 + i) / pixels * s->in_h * s->in_w * s->in_c;
            copy_patch(matrix + i * a.run_length, p, image, at / s->out_w, at % s->out_w, g);
        }
        a.a = matrix;
        a.a_stride = a.run_length;
        a.m = m;
        set_output(&a, job, m0, g, nt);
        job->plan->k->conv_u8(&a);
    }
}

static void direct_task(void *arg, size_t task, size_t worker)
{
    const qconv_job *job = arg;
    const qconv_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    const cpu_band d = cpu_band_of(s, &p->cut, task);
    const size_t row = cpu_conv_padded_width(s) * s->in_c;
    uint8_t *band = cpu_worker_scratch(job->plan, worker);
    cpu_copy_band(band, s, job->step->in[0].t.data, sizeof *band, p->x_zero, &d);
    ufk_qconv_args a = base_args(p, 0, d.columns);
    a.runs_y = s->kernel_h;
    a.run_stride_y = s->dilation_h * row;
    a.run_length = s->kernel_w * s->in_c;
    a.a_stride = s->stride_w * s->in_c;
    a.a_line_stride = s->stride_h * row;
    a.m = s->out_w;
    a.lines = d.rows;
    a.a = band;
    set_output(&a, job, (d.image * s->out_h + d.first) * s->out_w, 0, d.columns);
    if (job->plan->k->qconv_lines) {
        job->plan->k->conv_u8(&a);
        return;
    }
    for (size_t r = 0; r < d.rows; r++) {
        const ufk_qconv_args line = ufk_qconv_line(&a, r);
        job->plan->k->conv_u8(&line);
    }
}

static void depthwise_task(void *arg, size_t task, size_t worker)
{
    const qconv_job *job = arg;
    const qconv_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    const cpu_band d = cpu_band_of(s, &p->cut, task);
    size_t out_image = d.image * s->out_h * s->out_w * s->out_c;
    ufk_qdwconv_args a = {
        .in = (const uint8_t *)job->step->in[0].t.data + d.image * s->in_h * s->in_w * s->in_c,
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
        .y_begin = d.first,
        .y_end = d.first + d.rows,
        .weights = p->weights,
        .in_zero = p->x_zero,
        .epilogue = p->epilogue,
    };
    if (p->floats)
        a.out_f32 = (float *)job->step->out[0].t.data + out_image;
    else
        a.out = (uint8_t *)job->step->out[0].t.data + out_image;
    if (p->has_residual) {
        a.epilogue.residual = (const uint8_t *)job->step->in[1].t.data + out_image;
        a.epilogue.residual_stride = s->out_c;
    }
    job->plan->k->dwconv_u8(&a);
}

static uf_status run_qconv(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    qconv_params *p = (qconv_params *)(uintptr_t)s->params; /* in the plan's own arena */
    qconv_job job = {s, p, plan};
    if (p->dynamic) {
        const cpu_operand *scale = &s->in[p->scale_input];
        const uint8_t *zero = scale[1].t.data;
        fill_epilogue(p, *(const float *)scale->t.data, zero ? *zero : 0);
    }
    ufi_pool_run(plan->pool, p->task, &job, p->cut.m_tasks * p->cut.n_tasks);
    return UF_OK;
}

/* ---- plans ---- */

/* The one float or byte of constant input i, or `fallback`. */
static float constant_scalar(const cpu_builder *b, const ufi_node *n, uint32_t i, float fallback)
{
    if (!cpu_has_input(n, i))
        return fallback;
    ufi_tensor t = cpu_constant(b, n->in[i]);
    return t.dtype == UF_U8 ? (float)*(const uint8_t *)t.data : *(const float *)t.data;
}

static bool inputs_are_known(const cpu_builder *b, const ufi_node *n)
{
    for (uint32_t i = IN_W_SCALE; i < n->in_count; i++)
        if (i != IN_RESIDUAL && cpu_has_input(n, i) && !cpu_is_constant(b, n->in[i]))
            return false;
    return true;
}

static bool read_activation(const cpu_builder *b, const ufi_node *n, qconv_params *p)
{
    p->act = (ufi_act)ufi_node_int(n, UFI_ATTR_ACT, UFI_ACT_NONE);
    p->act_lo = ufi_node_float(n, UFI_ATTR_ACT_LO, -INFINITY);
    p->act_hi = ufi_node_float(n, UFI_ATTR_ACT_HI, INFINITY);
    if (p->act == UFI_ACT_HARD_SWISH)
        p->epilogue.act = UFK_ACT_HARD_SWISH;
    else if (p->act == UFI_ACT_PRELU || p->act == UFI_ACT_LEAKY)
        p->epilogue.act = UFK_ACT_PRELU;
    return is_linear(p->act) || p->epilogue.act != UFK_ACT_NONE;
}

static uf_status fill_slopes(cpu_builder *b, const ufi_node *n, qconv_params *p)
{
    if (p->epilogue.act != UFK_ACT_PRELU)
        return UF_OK;
    float *slope = cpu_params(b, p->s.out_c * sizeof *slope);
    if (!slope)
        return UF_E_NOMEM;
    const float *given = NULL;
    bool one = true;
    if (p->act == UFI_ACT_PRELU) {
        ufi_tensor t = cpu_constant(b, n->in[IN_SLOPE]);
        given = t.data;
        one = ufi_shape_count(&t.shape) == 1;
    }
    for (size_t i = 0; i < p->s.out_c; i++)
        slope[i] = given ? given[one ? 0 : i] : ufi_node_float(n, UFI_ATTR_ACT_ALPHA, 0.01f);
    p->epilogue.slope = slope;
    return UF_OK;
}

/* The sums of the weights of each output channel: packed panels carry them. */
static uf_status find_column_sums(cpu_builder *b, qconv_params *p)
{
    const cpu_conv_shape *s = &p->s;
    size_t out = s->out_c / s->groups, nr = b->k->qconv_nr;
    int32_t *sums = cpu_params(b, s->out_c * sizeof *sums);
    if (!sums)
        return UF_E_NOMEM;
    for (size_t c = 0; c < s->out_c; c++) {
        if (p->depthwise) {
            for (size_t t = 0; t < s->kernel_h * s->kernel_w; t++)
                sums[c] += p->weights[t * s->out_c + c];
        } else {
            size_t j = c % out;
            memcpy(&sums[c],
                   p->weights + c / out * p->group_bytes + j / nr * nr * p->column_bytes +
                       j % nr * sizeof *sums,
                   sizeof *sums);
        }
    }
    p->column_sums = sums;
    return UF_OK;
}

static uf_status prepare_epilogue(cpu_builder *b, const ufi_node *n, qconv_params *p)
{
    p->scale = cpu_params(b, 2 * p->s.out_c * sizeof *p->scale);
    if (!p->scale)
        return UF_E_NOMEM;
    p->bias = p->scale + p->s.out_c;
    ufi_tensor w_scale = cpu_constant(b, n->in[IN_W_SCALE]);
    p->w_scale = w_scale.data;
    p->one_w_scale = ufi_shape_count(&w_scale.shape) == 1;
    p->real_bias = cpu_has_input(n, IN_BIAS) ? cpu_constant(b, n->in[IN_BIAS]).data : NULL;
    p->y_scale = constant_scalar(b, n, IN_Y_SCALE, 1);
    p->y_zero = constant_scalar(b, n, IN_Y_ZERO, 0);
    p->residual_zero = constant_scalar(b, n, IN_RESIDUAL_ZERO, 0);
    ufk_qepilogue *e = &p->epilogue;
    e->scale = p->scale;
    e->bias = p->bias;
    p->residual_scale = constant_scalar(b, n, IN_RESIDUAL_SCALE, 0);
    e->out_scale = p->floats ? 1 : 1 / p->y_scale;
    e->zero = p->floats ? 0 : p->y_zero;
    fill_bounds(p);
    p->dynamic = !cpu_is_constant(b, n->in[IN_X_SCALE]) ||
                 (cpu_has_input(n, IN_X_ZERO) && !cpu_is_constant(b, n->in[IN_X_ZERO]));
    uf_status st = fill_slopes(b, n, p);
    if (!st)
        st = find_column_sums(b, p);
    if (!st && !p->dynamic)
        fill_epilogue(p, constant_scalar(b, n, IN_X_SCALE, 1),
                      (uint8_t)constant_scalar(b, n, IN_X_ZERO, 0));
    return st;
}

/* Chooses the way, the blocking and the form of the weights; scratch in *bytes. */
static cpu_pack_kind choose(const cpu_builder *b, qconv_params *p, size_t *bytes)
{
    const cpu_conv_shape *s = &p->s;
    size_t k = s->in_c / s->groups * s->kernel_h * s->kernel_w, mr = b->k->qconv_mr;
    size_t nr = b->k->qconv_nr, out = s->out_c / s->groups, pixels = s->out_h * s->out_w;
    *bytes = 0;
    if (p->depthwise) {
        p->task = depthwise_task;
        p->cut = cpu_cut(1, s->batch, s->out_h, s->out_h, 1, b->workers, 1);
        return CPU_PACK_QDEPTHWISE;
    }
    size_t most = BLOCK_BYTES / k > 4 * mr ? BLOCK_BYTES / k : 4 * mr;
    if (cpu_conv_is_pointwise(s)) {
        p->cut = cpu_cut(out, 1, s->batch * pixels, most, mr, b->workers, nr);
        p->task = pointwise_task;
        return CPU_PACK_QCONV_FLAT;
    }
    /* Short lines pay where several are walked as one, which takes pixels of one distance. */
    const size_t shortest =
        b->k->qconv_lines && s->stride_w == 1 ? MIN_DIRECT_LINE : MIN_DIRECT_WIDTH;
    if (s->out_w < shortest || s->groups > 1 || s->dilation_w > 1) {
        p->cut = cpu_cut(out, 1, s->batch * pixels, most, mr, b->workers, nr);
        *bytes = p->cut.m_block * k;
        p->task = im2col_task;
        return CPU_PACK_QCONV_FLAT;
    }
    size_t row_bytes = cpu_conv_padded_width(s) * s->in_c;
    most = BLOCK_BYTES / (row_bytes * s->stride_h);
    p->cut = cpu_cut(out, s->batch, s->out_h, most > 1 ? most : 1, 1, b->workers, nr);
    *bytes = cpu_conv_band_rows(s, p->cut.m_block) * row_bytes;
    p->task = direct_task;
    return CPU_PACK_QCONV_ROWS;
}

static uf_status add_step(cpu_builder *b, const ufi_node *n, qconv_params *p, size_t scratch_bytes)
{
    cpu_operand in[4], out;
    uint32_t in_count = 1;
    cpu_step *step;
    uf_status st = cpu_in(b, n->in[IN_X], UFI_NHWC, &in[0]);
    if (!st && p->has_residual)
        st = cpu_in(b, n->in[IN_RESIDUAL], UFI_NHWC, &in[in_count++]);
    if (!st && p->dynamic) {
        p->scale_input = in_count;
        st = cpu_in(b, n->in[IN_X_SCALE], UFI_PLAIN, &in[in_count++]);
        if (!st && cpu_has_input(n, IN_X_ZERO))
            st = cpu_in(b, n->in[IN_X_ZERO], UFI_PLAIN, &in[in_count]);
        else
            in[in_count] = (cpu_operand){.buffer = -1};
        in_count++;
    }
    bool reuse = p->has_residual && in[1].buffer != in[0].buffer;
    if (!st)
        st = cpu_out(b, n->out[0], UFI_NHWC, reuse ? &in[1] : NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run_qconv, p->depthwise ? b->k->dwconv_u8_name : b->k->conv_u8_name,
                          in, in_count, &out, 1, p, &step);
    if (!st) {
        step->worker_bytes = scratch_bytes;
        step->arithmetic = CPU_ARITHMETIC_U8;
    }
    return st;
}

uf_status cpu_build_qconv(cpu_builder *b, const ufi_node *n)
{
    if (b->g->values[n->in[IN_X]].dtype == UF_I16)
        return cpu_build_words(b, n);
    qconv_params *p = cpu_params(b, sizeof *p);
    size_t scratch_bytes;
    if (!p)
        return UF_E_NOMEM;
    cpu_conv_shape *s = &p->s;
    if (!cpu_conv_shape_any(b, n, s) || !inputs_are_known(b, n) || !read_activation(b, n, p) ||
        s->in_c / s->groups * s->kernel_h * s->kernel_w > MAX_DEPTH)
        return UF_E_UNSUPPORTED;
    p->depthwise = s->groups == s->in_c && s->out_c == s->in_c && s->groups > 1;
    p->floats = !cpu_has_input(n, IN_Y_SCALE);
    p->has_residual = cpu_has_input(n, IN_RESIDUAL);
    if (p->has_residual && cpu_is_constant(b, n->in[IN_RESIDUAL]))
        return UF_E_UNSUPPORTED;
    const cpu_pack_kind pack = choose(b, p, &scratch_bytes);
    bool rows = pack == CPU_PACK_QCONV_ROWS;
    size_t k = s->in_c / s->groups * s->kernel_h * s->kernel_w;
    size_t runs = rows ? s->kernel_h : 1, length = k / runs;
    p->column_bytes = ufk_qconv_column_bytes(b->k, runs, length);
    p->group_bytes = ufk_qconv_packed_bytes(b->k, runs, length, s->out_c / s->groups);
    ufi_tensor w = cpu_constant(b, n->in[IN_W]);
    uf_status st = cpu_pack_bytes(b->program, &b->plan->arena, pack, &w, (uint32_t)s->groups,
                                  &p->weights, b->err);
    if (!st)
        st = prepare_epilogue(b, n, p);
    return st ? st : add_step(b, n, p, scratch_bytes);
}
