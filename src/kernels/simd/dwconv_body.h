/*
 * Depthwise convolution over vec.h: one vector is LANES channels of a pixel. 3x3 with stride 1 or
 * 2, which is nearly all of them, has code of its own; other kernels take one pixel at a time over
 * the taps inside the picture.
 */
#include <math.h>

#include "kernels/simd/vec.h"
#include "kernels/topics.h"

#if LANES == 8
#include "kernels/x86/dwconv_3x3_avx2.h"
#else
#include "kernels/simd/dwconv_3x3.h"
#endif

/* ---- any kernel ---- */

static void one_pixel(const ufk_dwconv_args *p, size_t channel, size_t y, size_t x)
{
    const size_t n = p->channels - channel;
    vec sum = v_set(0.0f);
    for (size_t ky = 0; ky < p->kernel_h; ky++) {
        size_t iy = y * p->stride_h + ky * p->dilation_h - p->pad_top;
        if (iy >= p->in_h) /* wraps around below zero */
            continue;
        for (size_t kx = 0; kx < p->kernel_w; kx++) {
            size_t ix = x * p->stride_w + kx * p->dilation_w - p->pad_left;
            if (ix >= p->in_w)
                continue;
            const float *in = p->in + iy * p->in_row_stride + ix * p->in_pixel_stride + channel;
            const float *w = p->weights + (ky * p->kernel_w + kx) * p->channels + channel;
            sum = v_fma(v_get(in, n), v_get(w, n), sum);
        }
    }
    const ufk_epilogue *e = &p->epilogue;
    vec v = v_add(sum, e->bias ? v_get(e->bias + channel, n) : v_set(0.0f));
    if (e->residual)
        v = v_add(v, v_get(e->residual + (y * p->out_w + x) * e->residual_stride + channel, n));
    vec slope = e->act == UFK_ACT_PRELU ? v_get(e->slope + channel, n) : v_set(0.0f);
    v_put(p->out + y * p->out_row_stride + x * p->out_pixel_stride + channel,
          v_activate(e, v, slope), n);
}

static void run_any(const ufk_dwconv_args *p)
{
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t channel = 0; channel < p->channels; channel += LANES)
            for (size_t x = 0; x < p->out_w; x++)
                one_pixel(p, channel, y, x);
}

static void V_ISA(ufk_dwconv_f32)(const ufk_dwconv_args *p)
{
    bool is_3x3 = p->kernel_h == 3 && p->kernel_w == 3 && p->dilation_h == 1 && p->dilation_w == 1;
    bool strides = p->stride_h == p->stride_w && (p->stride_w == 1 || p->stride_w == 2);
    if (is_3x3 && strides && can_run_3x3(p))
        run_3x3(p);
    else
        run_any(p);
}

void V_ISA(ufk_dwconv_select)(ufk_table *t)
{
    t->dwconv_f32 = V_ISA(ufk_dwconv_f32);
    t->dwconv_f32_name = "dwconv_f32_" V_NAME;
}
