/*
 * The first convolution of a network, reading its few input channels as planes (NCHW), the way most
 * callers have them: a conversion to NHWC would be a pass over the largest tensor of all. A patch
 * is in_c * kernel_h runs of kernel_w floats, so the GEMM over runs takes it as it is.
 */
#include <string.h>

#include "backend/cpu/planar.h"

#define MAX_PLANES 4
#define MIN_WIDTH 24
/* Padded input rows of one task; they stay in the second-level cache. */
#define BAND_BYTES ((size_t)256 << 10)

typedef struct planar_params {
    cpu_planar conv;
    size_t band, bands; /* output rows of a task, tasks of an image */
} planar_params;

typedef struct planar_job {
    const cpu_step *step;
    const planar_params *p;
    cpu_plan *plan;
} planar_job;

/* Rows first .. first + rows - 1 (in padded coordinates) of every plane, with their padding. */
static void copy_planes(float *to, const cpu_conv_shape *s, const float *image, size_t first,
                        size_t rows, size_t padded_w)
{
    size_t right = padded_w - s->pads[1] - s->in_w;
    for (size_t c = 0; c < s->in_c; c++, image += s->in_h * s->in_w) {
        for (size_t r = 0; r < rows; r++, to += padded_w) {
            size_t y = first + r - s->pads[0];
            if (y >= s->in_h) { /* wraps around below zero */
                memset(to, 0, padded_w * sizeof *to);
                continue;
            }
            memset(to, 0, s->pads[1] * sizeof *to);
            memcpy(to + s->pads[1], image + y * s->in_w, s->in_w * sizeof *to);
            memset(to + s->pads[1] + s->in_w, 0, right * sizeof *to);
        }
    }
}

size_t cpu_planar_scratch_floats(const cpu_planar *p, size_t rows)
{
    return cpu_conv_band_rows(&p->s, rows) * cpu_conv_padded_width(&p->s) * p->s.in_c;
}

void cpu_planar_rows(const cpu_planar *p, const ufk_table *k, const float *image, size_t y,
                     size_t rows, float *scratch, float *out)
{
    const cpu_conv_shape *s = &p->s;
    const size_t padded_w = cpu_conv_padded_width(s), span = cpu_conv_band_rows(s, rows);
    copy_planes(scratch, s, image, y * s->stride_h, span, padded_w);
    ufk_conv_args a = {.a_stride = s->stride_w,
                       .runs_y = s->in_c,
                       .run_stride_y = span * padded_w,
                       .runs_x = s->kernel_h,
                       .run_stride_x = s->dilation_h * padded_w,
                       .run_length = s->kernel_w,
                       .b = p->weights,
                       .c_stride = s->out_c,
                       .m = s->out_w,
                       .n = s->out_c,
                       .epilogue = p->epilogue};
    for (size_t r = 0; r < rows; r++) {
        a.a = scratch + r * s->stride_h * padded_w;
        a.c = out + r * s->out_w * s->out_c;
        k->conv_f32(&a);
    }
}

static void planar_task(void *arg, size_t task, size_t worker)
{
    const planar_job *job = arg;
    const planar_params *p = job->p;
    const cpu_conv_shape *s = &p->conv.s;
    size_t image = task / p->bands, y = task % p->bands * p->band;
    size_t rows = s->out_h - y < p->band ? s->out_h - y : p->band;
    const float *in = job->step->in[0].t.data;
    float *out = job->step->out[0].t.data;
    cpu_planar_rows(&p->conv, job->plan->k, in + image * s->in_c * s->in_h * s->in_w, y, rows,
                    cpu_worker_scratch(job->plan, worker),
                    out + (image * s->out_h + y) * s->out_w * s->out_c);
}

static uf_status run_planar(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    planar_job job = {s, s->params, plan};
    ufi_pool_run(plan->pool, planar_task, &job, job.p->conv.s.batch * job.p->bands);
    return UF_OK;
}

bool cpu_is_planar_conv(const cpu_builder *b, const ufi_node *n)
{
    cpu_conv_shape s;
    return cpu_conv_shape_read(b, n, &s) && s.groups == 1 && s.in_c > 1 && s.in_c <= MAX_PLANES &&
           s.kernel_w > 1 && s.dilation_w == 1 && s.out_w >= MIN_WIDTH && !cpu_has_input(n, 4) &&
           b->places[n->in[0]].buffer[UFI_NHWC] < 0;
}

uf_status cpu_planar_read(cpu_builder *b, const ufi_node *n, cpu_planar *out)
{
    cpu_conv_shape *s = &out->s;
    cpu_conv_shape_read(b, n, s);
    ufi_tensor w = cpu_constant(b, n->in[1]);
    w.shape = ufi_shape_make(
        2, (const int64_t[]){(int64_t)s->out_c, (int64_t)(s->in_c * s->kernel_h * s->kernel_w)});
    uf_status st =
        cpu_pack(b->program, &b->plan->arena, CPU_PACK_GEMM_T, &w, 1, &out->weights, b->err);
    return st ? st
              : cpu_epilogue(b, n, cpu_has_input(n, 2) ? n->in[2] : UFI_NONE,
                             cpu_has_input(n, 3) ? n->in[3] : UFI_NONE, s->out_c, &out->epilogue);
}

uf_status cpu_build_planar(cpu_builder *b, const ufi_node *n)
{
    planar_params *p = cpu_params(b, sizeof *p);
    cpu_operand in, out;
    cpu_step *step;
    if (!p)
        return UF_E_NOMEM;
    const cpu_conv_shape *s = &p->conv.s;
    uf_status st = cpu_planar_read(b, n, &p->conv);
    if (!st)
        st = cpu_in(b, n->in[0], UFI_PLAIN, &in);
    if (!st)
        st = cpu_out(b, n->out[0], UFI_NHWC, NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run_planar, b->k->conv_f32_name, &in, 1, &out, 1, p, &step);
    if (st)
        return st;
    size_t row_bytes = cpu_conv_padded_width(s) * s->in_c * sizeof(float);
    size_t most = BAND_BYTES / (row_bytes * s->stride_h), tasks = 2 * b->workers;
    p->band = most ? most : 1;
    if (b->workers > 1 && s->batch < tasks && p->band > (s->out_h + tasks - 1) / tasks)
        p->band = (s->out_h + tasks - 1) / tasks;
    if (p->band > s->out_h)
        p->band = s->out_h;
    p->bands = (s->out_h + p->band - 1) / p->band;
    step->worker_bytes = cpu_planar_scratch_floats(&p->conv, p->band) * sizeof(float);
    return UF_OK;
}
