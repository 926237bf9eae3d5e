/*
 * INT16 convolutions (QConv on words). A 1x1 convolution is fed as it is, larger kernels by bands
 * of padded rows; scales and bias become the two vectors of the kernel's epilogue when the plan is
 * made.
 */
#include <math.h>
#include <string.h>

#include "backend/cpu/build.h"
#include "backend/cpu/conv_shape.h"

#define BLOCK_BYTES ((size_t)192 << 10)

enum { IN_X, IN_W, IN_X_SCALE, IN_W_SCALE = 4, IN_BIAS, IN_SLOPE, IN_RESIDUAL, IN_RESIDUAL_SCALE };
enum { IN_Y_SCALE = 10 };

typedef struct words_params {
    cpu_conv_shape s;
    const int16_t *weights;
    size_t column; /* packed words of one column */
    ufk_word_epilogue epilogue;
    bool has_residual, floats;
    cpu_blocks cut; /* m: output pixels (1x1) or rows */
    ufi_task_fn *task;
} words_params;

typedef struct words_job {
    const cpu_step *step;
    const words_params *p;
    cpu_plan *plan;
} words_job;

/* ---- runs ---- */

/* The kernel's arguments for column task nt, of which the first output is pixel `pixel` of the
 * batch; a and m are the caller's. */
static ufk_word_conv_args base_args(const words_job *job, size_t pixel, size_t nt)
{
    const words_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    const size_t first = nt * p->cut.n_block, offset = pixel * s->out_c + first;
    ufk_word_conv_args a = {.runs = s->kernel_h,
                            .run_length = s->kernel_w * s->in_c,
                            .b = p->weights + first * p->column,
                            .n = s->out_c - first < p->cut.n_block ? s->out_c - first
                                                                   : p->cut.n_block,
                            .c_stride = s->out_c,
                            .epilogue = p->epilogue};
    if (p->floats)
        a.c_f32 = (float *)job->step->out[0].t.data + offset;
    else
        a.c = (int16_t *)job->step->out[0].t.data + offset;
    a.epilogue.scale += first;
    a.epilogue.bias += first;
    if (a.epilogue.slope)
        a.epilogue.slope += first;
    if (p->has_residual) {
        a.epilogue.residual = (const int16_t *)job->step->in[1].t.data + offset;
        a.epilogue.residual_stride = s->out_c;
    }
    return a;
}

static void pointwise_task(void *arg, size_t task, size_t worker)
{
    const words_job *job = arg;
    const words_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    const size_t m0 = task / p->cut.n_tasks * p->cut.m_block;
    const size_t left = s->batch * s->out_h * s->out_w - m0;
    ufk_word_conv_args a = base_args(job, m0, task % p->cut.n_tasks);
    a.m = left < p->cut.m_block ? left : p->cut.m_block;
    a.a = (const int16_t *)job->step->in[0].t.data + m0 * s->in_c;
    a.a_stride = s->in_c;
    job->plan->k->conv_i16(&a);
}

static void band_task(void *arg, size_t task, size_t worker)
{
    const words_job *job = arg;
    const words_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    const cpu_band d = cpu_band_of(s, &p->cut, task);
    const size_t row = cpu_conv_padded_width(s) * s->in_c;
    int16_t *band = cpu_worker_scratch(job->plan, worker);
    cpu_copy_band(band, s, job->step->in[0].t.data, sizeof *band, 0, &d);
    for (size_t r = 0; r < d.rows; r++) {
        ufk_word_conv_args a =
            base_args(job, (d.image * s->out_h + d.first + r) * s->out_w, d.columns);
        a.a = band + r * s->stride_h * row;
        a.a_stride = s->stride_w * s->in_c;
        a.run_stride = s->dilation_h * row;
        a.m = s->out_w;
        job->plan->k->conv_i16(&a);
    }
}

static void depthwise_task(void *arg, size_t task, size_t worker)
{
    const words_job *job = arg;
    const words_params *p = job->p;
    const cpu_conv_shape *s = &p->s;
    const cpu_band d = cpu_band_of(s, &p->cut, task);
    const size_t first = d.image * s->out_h * s->out_w * s->out_c;
    ufk_word_dwconv_args a = {.in = (const int16_t *)job->step->in[0].t.data +
                                    d.image * s->in_h * s->in_w * s->in_c,
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
                              .epilogue = p->epilogue};
    if (p->floats)
        a.out_f32 = (float *)job->step->out[0].t.data + first;
    else
        a.out = (int16_t *)job->step->out[0].t.data + first;
    if (p->has_residual) {
        a.epilogue.residual = (const int16_t *)job->step->in[1].t.data + first;
        a.epilogue.residual_stride = s->out_c;
    }
    job->plan->k->dwconv_i16(&a);
}

static uf_status run_words(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const words_params *p = s->params;
    words_job job = {s, p, plan};
    ufi_pool_run(plan->pool, p->task, &job, p->cut.m_tasks * p->cut.n_tasks);
    return UF_OK;
}

/* ---- plans ---- */

/* Number k of constant input i, which has one for all or one for each. */
static double number_at(const cpu_builder *b, const ufi_node *n, uint32_t i, size_t k,
                        double fallback)
{
    if (!cpu_has_input(n, i))
        return fallback;
    const ufi_tensor t = cpu_constant(b, n->in[i]);
    return (double)((const float *)t.data)[ufi_shape_count(&t.shape) == 1 ? 0 : k];
}

static bool inputs_are_known(const cpu_builder *b, const ufi_node *n)
{
    for (uint32_t i = IN_X_SCALE; i < n->in_count; i++)
        if (cpu_has_input(n, i) && cpu_is_constant(b, n->in[i]) == (i == IN_RESIDUAL))
            return false;
    return true;
}

static bool fits(const cpu_conv_shape *s, bool depthwise)
{
    return depthwise || (s->groups == 1 && s->dilation_w == 1);
}

/* NaN, which a file may hold, becomes lo. */
static float clampf(float v, float lo, float hi)
{
    return v > lo ? (v < hi ? v : hi) : lo;
}

/* The activation in units of the output; false for those without a kernel. */
static bool fill_activation(const ufi_node *n, words_params *p, double unit)
{
    const ufi_act act = (ufi_act)ufi_node_int(n, UFI_ATTR_ACT, UFI_ACT_NONE);
    float lo = -INFINITY, hi = INFINITY;
    if (act == UFI_ACT_RELU)
        lo = 0;
    if (act == UFI_ACT_CLAMP) {
        lo = ufi_node_float(n, UFI_ATTR_ACT_LO, -INFINITY);
        hi = ufi_node_float(n, UFI_ATTR_ACT_HI, INFINITY);
    }
    ufk_word_epilogue *e = &p->epilogue;
    e->lo = p->floats ? lo : rintf(clampf((float)((double)lo * unit), -32768, 32767));
    e->hi = p->floats ? hi : rintf(clampf((float)((double)hi * unit), -32768, 32767));
    e->lo = fminf(e->lo, e->hi); /* of crossed bounds the upper one holds */
    return act == UFI_ACT_NONE || act == UFI_ACT_RELU || act == UFI_ACT_CLAMP ||
           act == UFI_ACT_PRELU || act == UFI_ACT_LEAKY;
}

/* Whether what follows the sums stays below 2^31, as the kernels want it for words. */
static bool is_moderate(const words_params *p)
{
    const ufk_word_epilogue *e = &p->epilogue;
    for (size_t i = 0; !p->floats && i < p->s.out_c; i++) {
        const float most = 0x1p31f * e->scale[i] + fabsf(e->bias[i]) + 0x1p15f * e->residual_scale;
        if (!(most * (e->slope ? fmaxf(1, fabsf(e->slope[i])) : 1) < 0x1p31f))
            return false;
    }
    return true;
}

static uf_status fill_epilogue(cpu_builder *b, const ufi_node *n, words_params *p, double unit)
{
    const ufi_act act = (ufi_act)ufi_node_int(n, UFI_ATTR_ACT, UFI_ACT_NONE);
    const size_t channels = p->s.out_c;
    const size_t room = (channels + b->k->words_nr - 1) / b->k->words_nr * b->k->words_nr;
    const double x_scale = number_at(b, n, IN_X_SCALE, 0, 1);
    const double alpha = (double)ufi_node_float(n, UFI_ATTR_ACT_ALPHA, 0.01f);
    float *scale = cpu_params(b, 3 * room * sizeof *scale);
    if (!scale)
        return UF_E_NOMEM;
    float *bias = scale + room, *slope = bias + room;
    for (size_t i = 0; i < channels; i++) {
        scale[i] = (float)(x_scale * number_at(b, n, IN_W_SCALE, i, 1) * unit);
        bias[i] = (float)(number_at(b, n, IN_BIAS, i, 0) * unit);
        slope[i] =
            (float)number_at(b, n, act == UFI_ACT_PRELU ? IN_SLOPE : UFI_MAX_NODE_IO, i, alpha);
    }
    p->epilogue.scale = scale;
    p->epilogue.bias = bias;
    p->epilogue.slope = act == UFI_ACT_PRELU || act == UFI_ACT_LEAKY ? slope : NULL;
    p->epilogue.residual_scale = (float)(number_at(b, n, IN_RESIDUAL_SCALE, 0, 0) * unit);
    return UF_OK;
}

/* The way and the blocking; scratch in *bytes. */
static void choose(const cpu_builder *b, words_params *p, bool depthwise, size_t *bytes)
{
    const cpu_conv_shape *s = &p->s;
    *bytes = 0;
    if (depthwise) {
        p->task = depthwise_task;
        p->cut = cpu_cut(1, s->batch, s->out_h, s->out_h, 2, b->workers, 1);
    } else if (cpu_conv_is_pointwise(s)) {
        const size_t most = BLOCK_BYTES / (s->in_c * sizeof(int16_t)) + 24;
        p->task = pointwise_task;
        p->cut = cpu_cut(s->out_c, 1, s->batch * s->out_h * s->out_w, most, 12, b->workers,
                         b->k->words_nr);
    } else {
        const size_t row = cpu_conv_padded_width(s) * s->in_c * sizeof(int16_t);
        const size_t most = BLOCK_BYTES / (row * s->stride_h);
        p->task = band_task;
        p->cut = cpu_cut(s->out_c, s->batch, s->out_h, most > 1 ? most : 1, 1, b->workers,
                         b->k->words_nr);
        *bytes = cpu_conv_band_rows(s, p->cut.m_block) * row;
    }
}

static uf_status add_step(cpu_builder *b, const ufi_node *n, words_params *p, size_t scratch_bytes)
{
    cpu_operand in[2], out;
    uint32_t in_count = 1;
    cpu_step *step;
    uf_status st = cpu_in(b, n->in[IN_X], UFI_NHWC, &in[0]);
    if (!st && p->has_residual)
        st = cpu_in(b, n->in[IN_RESIDUAL], UFI_NHWC, &in[in_count++]);
    if (!st) /* kernels may do a pixel twice, so the residual must stay */
        st = cpu_out(b, n->out[0], UFI_NHWC, NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run_words, b->k->words_name, in, in_count, &out, 1, p, &step);
    if (!st) {
        step->worker_bytes = scratch_bytes;
        step->arithmetic = CPU_ARITHMETIC_I16;
    }
    return st;
}

uf_status cpu_build_words(cpu_builder *b, const ufi_node *n)
{
    words_params *p = cpu_params(b, sizeof *p);
    size_t scratch_bytes;
    if (!p)
        return UF_E_NOMEM;
    cpu_conv_shape *s = &p->s;
    if (!cpu_conv_shape_any(b, n, s) || !inputs_are_known(b, n))
        return UF_E_UNSUPPORTED;
    const bool depthwise = s->groups == s->in_c && s->out_c == s->in_c && s->groups > 1;
    p->floats = !cpu_has_input(n, IN_Y_SCALE);
    p->has_residual = cpu_has_input(n, IN_RESIDUAL);
    const double unit = p->floats ? 1 : 1 / number_at(b, n, IN_Y_SCALE, 0, 1);
    if (!fits(s, depthwise) || !fill_activation(n, p, unit))
        return UF_E_UNSUPPORTED;
    uf_status st = fill_epilogue(b, n, p, unit);
    if (!st && !is_moderate(p))
        st = UF_E_UNSUPPORTED;
    if (st)
        return st;
    choose(b, p, depthwise, &scratch_bytes);
    p->column =
        ufk_words_packed(b->k, s->kernel_h, s->kernel_w * s->in_c, b->k->words_nr) / b->k->words_nr;
    const ufi_tensor w = cpu_constant(b, n->in[IN_W]);
    st = cpu_pack_words(b->program, &b->plan->arena,
                        depthwise ? CPU_PACK_WORDS_DEPTHWISE : CPU_PACK_WORDS, &w, &p->weights,
                        b->err);
    return st ? st : add_step(b, n, p, scratch_bytes);
}
