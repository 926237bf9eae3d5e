/*
 * Between FP32 and bytes or words, and operators on these other than convolutions. Only one scale
 * for the whole tensor, unsigned bytes, and words without a zero point have fast forms. All of
 * these treat elements alike, so they run in the layout in which their input is.
 */
#include "backend/cpu/build.h"

#define CHUNK ((size_t)16384) /* elements of one task */
#define MAX_RATIO 0x1p64f     /* of scales: its products with words are numbers */

typedef struct quant_params {
    float a_scale, a_zero, b_scale, b_zero, y_scale, y_zero;
    size_t count;
    ufi_task_fn *task;
} quant_params;

typedef struct quant_job {
    const cpu_step *step;
    const ufk_table *k;
} quant_job;

static uf_status run_chunks(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const quant_params *p = s->params;
    quant_job job = {s, plan->k};
    ufi_pool_run(plan->pool, p->task, &job, (p->count + CHUNK - 1) / CHUNK);
    return UF_OK;
}

static size_t chunk_size(const quant_params *p, size_t task)
{
    size_t first = task * CHUNK;
    return p->count - first < CHUNK ? p->count - first : CHUNK;
}

static void quantize_task(void *arg, size_t task, size_t worker)
{
    const quant_job *job = arg;
    const quant_params *p = job->step->params;
    job->k->quantize_u8((uint8_t *)job->step->out[0].t.data + task * CHUNK,
                        (const float *)job->step->in[0].t.data + task * CHUNK, chunk_size(p, task),
                        p->y_scale, (uint8_t)p->y_zero);
}

static void dequantize_task(void *arg, size_t task, size_t worker)
{
    const quant_job *job = arg;
    const quant_params *p = job->step->params;
    job->k->dequantize_u8((float *)job->step->out[0].t.data + task * CHUNK,
                          (const uint8_t *)job->step->in[0].t.data + task * CHUNK,
                          chunk_size(p, task), p->a_scale, p->a_zero);
}

static void add_task(void *arg, size_t task, size_t worker)
{
    const quant_job *job = arg;
    const quant_params *p = job->step->params;
    float a = p->a_scale / p->y_scale, b = p->b_scale / p->y_scale;
    job->k->add_u8((uint8_t *)job->step->out[0].t.data + task * CHUNK,
                   (const uint8_t *)job->step->in[0].t.data + task * CHUNK,
                   (const uint8_t *)job->step->in[1].t.data + task * CHUNK, chunk_size(p, task), a,
                   b, p->y_zero - a * p->a_zero - b * p->b_zero);
}

/* ---- the same on words ---- */

static void quantize_words_task(void *arg, size_t task, size_t worker)
{
    const quant_job *job = arg;
    const quant_params *p = job->step->params;
    job->k->quantize_i16((int16_t *)job->step->out[0].t.data + task * CHUNK,
                         (const float *)job->step->in[0].t.data + task * CHUNK, chunk_size(p, task),
                         p->y_scale);
}

/* A task is a picture. */
static void quantize_planes_task(void *arg, size_t task, size_t worker)
{
    const quant_job *job = arg;
    const quant_params *p = job->step->params;
    const size_t pixels = p->count / 3;
    job->k->quantize_planes3_i16((int16_t *)job->step->out[0].t.data + task * p->count,
                                 (const float *)job->step->in[0].t.data + task * p->count, pixels,
                                 p->y_scale);
}

static uf_status run_planes(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    quant_job job = {s, plan->k};
    ufi_pool_run(plan->pool, quantize_planes_task, &job, (size_t)s->in[0].t.shape.dims[0]);
    return UF_OK;
}

static void dequantize_words_task(void *arg, size_t task, size_t worker)
{
    const quant_job *job = arg;
    const quant_params *p = job->step->params;
    job->k->dequantize_i16((float *)job->step->out[0].t.data + task * CHUNK,
                           (const int16_t *)job->step->in[0].t.data + task * CHUNK,
                           chunk_size(p, task), p->a_scale);
}

static void add_words_task(void *arg, size_t task, size_t worker)
{
    const quant_job *job = arg;
    const quant_params *p = job->step->params;
    job->k->add_i16((int16_t *)job->step->out[0].t.data + task * CHUNK,
                    (const int16_t *)job->step->in[0].t.data + task * CHUNK,
                    (const int16_t *)job->step->in[1].t.data + task * CHUNK, chunk_size(p, task),
                    p->a_scale / p->y_scale, p->b_scale / p->y_scale);
}

/* The range of the tensor decides, as the standard says (op_quant.c is the reference). */
static uf_status run_dynamic(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const float *x = s->in[0].t.data;
    size_t count = (size_t)ufi_shape_count(&s->in[0].t.shape);
    enum { LANES = 16 }; /* kept apart so that the compiler may use vectors */
    float lows[LANES] = {0}, highs[LANES] = {0}, lo = 0, hi = 0;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            lows[k] = x[i + k] < lows[k] ? x[i + k] : lows[k];
            highs[k] = x[i + k] > highs[k] ? x[i + k] : highs[k];
        }
    for (size_t k = 0; i + k < count; k++) {
        lows[k] = x[i + k] < lows[k] ? x[i + k] : lows[k];
        highs[k] = x[i + k] > highs[k] ? x[i + k] : highs[k];
    }
    for (size_t k = 0; k < LANES; k++) {
        lo = lows[k] < lo ? lows[k] : lo;
        hi = highs[k] > hi ? highs[k] : hi;
    }
    float *scale = s->out[1].t.data;
    uint8_t *zero = s->out[2].t.data;
    ufi_range_to_u8(lo, hi, scale, zero);
    plan->k->quantize_u8(s->out[0].t.data, x, count, *scale, *zero);
    return UF_OK;
}

/* ---- planning ---- */

static bool is_u8(const cpu_builder *b, uint32_t value)
{
    return b->g->values[value].dtype == UF_U8;
}

static bool is_i16(const cpu_builder *b, uint32_t value)
{
    return b->g->values[value].dtype == UF_I16;
}

/* Scale and zero point (inputs `at` and `at + 1`), each one known element; an absent zero is 0.
 * Words have fast forms only without a zero point. */
static bool read_scale(const cpu_builder *b, const ufi_node *n, uint32_t at, float *scale,
                       float *zero)
{
    if (!cpu_is_constant(b, n->in[at]) || ufi_shape_count(cpu_shape(b, n->in[at])) != 1)
        return false;
    *scale = *(const float *)cpu_constant(b, n->in[at]).data;
    *zero = 0;
    if (!cpu_has_input(n, at + 1))
        return true;
    const ufi_tensor t = cpu_constant(b, n->in[at + 1]);
    if (t.data && t.dtype == UF_I16)
        return *(const int16_t *)t.data == 0;
    if (!t.data || t.dtype != UF_U8)
        return false;
    *zero = (float)*(const uint8_t *)t.data;
    return true;
}

static uf_status add_step(cpu_builder *b, const ufi_node *n, ufi_layout layout,
                          const uint32_t *inputs, uint32_t count, ufi_task_fn *task,
                          quant_params *p)
{
    cpu_operand in[2], out;
    const bool words = is_i16(b, inputs[0]) || is_i16(b, n->out[0]);
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < count; i++)
        st = cpu_in(b, inputs[i], layout, &in[i]);
    if (!st)
        st = cpu_out(b, n->out[0], layout, NULL, &out);
    p->count = (size_t)ufi_shape_count(cpu_shape(b, n->out[0]));
    p->task = task;
    if (!st)
        st = cpu_add_step(b, n, run_chunks, words ? b->k->words_name : b->k->quant_u8_name, in,
                          count, &out, 1, p, NULL);
    return st;
}

/* Pictures in planes become channels last on the way. */
static uf_status add_planes_step(cpu_builder *b, const ufi_node *n, quant_params *p)
{
    cpu_operand in, out;
    uf_status st = cpu_in(b, n->in[0], UFI_PLAIN, &in);
    if (!st)
        st = cpu_out(b, n->out[0], UFI_NHWC, NULL, &out);
    const int64_t *d = cpu_shape(b, n->in[0])->dims;
    p->count = (size_t)(d[1] * d[2] * d[3]);
    return st ? st : cpu_add_step(b, n, run_planes, b->k->words_name, &in, 1, &out, 1, p, NULL);
}

uf_status cpu_build_quantize(cpu_builder *b, const ufi_node *n)
{
    quant_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    const bool words = is_i16(b, n->out[0]);
    if (!cpu_is_f32(b, n->in[0]) || cpu_is_constant(b, n->in[0]) ||
        (!is_u8(b, n->out[0]) && !words) || !read_scale(b, n, 1, &p->y_scale, &p->y_zero))
        return UF_E_UNSUPPORTED;
    const ufi_shape *x = cpu_shape(b, n->in[0]);
    if (words && x->rank == 4 && x->dims[1] == 3 && cpu_current_layout(b, n->in[0]) == UFI_PLAIN)
        return add_planes_step(b, n, p);
    return add_step(b, n, cpu_current_layout(b, n->in[0]), n->in, 1,
                    words ? quantize_words_task : quantize_task, p);
}

/* Scale and zero point come from a DynamicQuantizeLinear. */
static uf_status run_dequantize_dynamic(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const uint8_t *zero = s->in_count > 2 ? s->in[2].t.data : NULL;
    plan->k->dequantize_u8(s->out[0].t.data, s->in[0].t.data,
                           (size_t)ufi_shape_count(&s->out[0].t.shape),
                           *(const float *)s->in[1].t.data, zero ? (float)*zero : 0);
    return UF_OK;
}

static uf_status build_dequantize_dynamic(cpu_builder *b, const ufi_node *n)
{
    cpu_operand in[3], out;
    const uint32_t count = cpu_has_input(n, 2) ? 3 : 2;
    ufi_layout layout = cpu_current_layout(b, n->in[0]);
    for (uint32_t i = 1; i < count; i++)
        if (ufi_shape_count(cpu_shape(b, n->in[i])) != 1)
            return UF_E_UNSUPPORTED;
    if (count > 2 && !is_u8(b, n->in[2]))
        return UF_E_UNSUPPORTED;
    uf_status st = cpu_in(b, n->in[0], layout, &in[0]);
    for (uint32_t i = 1; !st && i < count; i++)
        st = cpu_in(b, n->in[i], UFI_PLAIN, &in[i]);
    if (!st)
        st = cpu_out(b, n->out[0], layout, NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run_dequantize_dynamic, b->k->quant_u8_name, in, count, &out, 1,
                          NULL, NULL);
    return st;
}

uf_status cpu_build_dequantize(cpu_builder *b, const ufi_node *n)
{
    if (is_u8(b, n->in[0]) && !cpu_is_constant(b, n->in[0]) &&
        (!cpu_is_constant(b, n->in[1]) || (cpu_has_input(n, 2) && !cpu_is_constant(b, n->in[2]))))
        return build_dequantize_dynamic(b, n);
    quant_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    const bool words = is_i16(b, n->in[0]);
    if ((!is_u8(b, n->in[0]) && !words) || cpu_is_constant(b, n->in[0]) ||
        !read_scale(b, n, 1, &p->a_scale, &p->a_zero))
        return UF_E_UNSUPPORTED;
    return add_step(b, n, cpu_current_layout(b, n->in[0]), n->in, 1,
                    words ? dequantize_words_task : dequantize_task, p);
}

uf_status cpu_build_qlinear_add(cpu_builder *b, const ufi_node *n)
{
    quant_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    const bool words = is_i16(b, n->in[0]);
    const uf_dtype type = words ? UF_I16 : UF_U8;
    if (b->g->values[n->in[0]].dtype != type || b->g->values[n->in[3]].dtype != type ||
        b->g->values[n->out[0]].dtype != type || cpu_is_constant(b, n->in[0]) ||
        cpu_is_constant(b, n->in[3]) ||
        !ufi_shape_equal(cpu_shape(b, n->in[0]), cpu_shape(b, n->in[3])) ||
        !read_scale(b, n, 1, &p->a_scale, &p->a_zero) ||
        !read_scale(b, n, 4, &p->b_scale, &p->b_zero) ||
        !read_scale(b, n, 6, &p->y_scale, &p->y_zero) ||
        !(p->a_scale / p->y_scale < MAX_RATIO && p->b_scale / p->y_scale < MAX_RATIO))
        return UF_E_UNSUPPORTED;
    const uint32_t inputs[2] = {n->in[0], n->in[3]};
    return add_step(b, n, cpu_current_layout(b, n->in[0]), inputs, 2,
                    words ? add_words_task : add_task, p);
}

uf_status cpu_build_dynamic_quantize(cpu_builder *b, const ufi_node *n)
{
    cpu_operand in, out[3];
    if (cpu_is_constant(b, n->in[0]))
        return UF_E_UNSUPPORTED;
    for (uint32_t i = 0; i < 3; i++)
        if (i >= n->out_count || n->out[i] == UFI_NONE)
            return UF_E_UNSUPPORTED;
    ufi_layout layout = cpu_current_layout(b, n->in[0]);
    uf_status st = cpu_in(b, n->in[0], layout, &in);
    for (uint32_t i = 0; !st && i < 3; i++)
        st = cpu_out(b, n->out[i], i ? UFI_PLAIN : layout, NULL, &out[i]);
    if (!st)
        st = cpu_add_step(b, n, run_dynamic, b->k->quant_u8_name, &in, 1, out, 3, NULL, NULL);
    return st;
}
