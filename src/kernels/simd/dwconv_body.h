/*
 * Depthwise convolution over vec.h: one vector of channels; pixels in the interior without checks,
 * four of a row at once for 3x3. AVX-512 has a file of its own.
 */
#include "kernels/simd/vec.h"
#include "kernels/topics.h"

#define PIXELS 4

typedef struct strip {
    const ufk_dwconv_args *p;
    size_t channel, n; /* of this vector, and how many are left */
    vec bias, slope;
} strip;

V_INLINE void finish(const strip *s, size_t y, size_t x, vec sum)
{
    const ufk_dwconv_args *p = s->p;
    const ufk_epilogue *e = &p->epilogue;
    vec v = v_add(sum, s->bias);
    if (e->residual)
        v = v_add(v,
                  v_get(e->residual + (y * p->out_w + x) * e->residual_stride + s->channel, s->n));
    v_put(p->out + y * p->out_row_stride + x * p->out_pixel_stride + s->channel,
          v_activate(e, v, s->slope), s->n);
}

static void one_pixel(const strip *s, size_t y, size_t x)
{
    const ufk_dwconv_args *p = s->p;
    vec sum = v_set(0.0f);
    for (size_t ky = 0; ky < p->kernel_h; ky++) {
        size_t iy = y * p->stride_h + ky * p->dilation_h - p->pad_top;
        if (iy >= p->in_h) /* wraps around below zero */
            continue;
        for (size_t kx = 0; kx < p->kernel_w; kx++) {
            size_t ix = x * p->stride_w + kx * p->dilation_w - p->pad_left;
            if (ix >= p->in_w)
                continue;
            const float *in = p->in + iy * p->in_row_stride + ix * p->in_pixel_stride + s->channel;
            const float *w = p->weights + (ky * p->kernel_w + kx) * p->channels + s->channel;
            sum = v_fma(v_get(in, s->n), v_get(w, s->n), sum);
        }
    }
    finish(s, y, x, sum);
}

/* Four pixels of row y from x on whose windows lie inside; a column of the input serves up to
 * three. */
V_INLINE void four_pixels(const strip *s, const vec w[9], size_t y, size_t x, const int stride)
{
    const ufk_dwconv_args *p = s->p;
    const float *in = p->in + (y * p->stride_h - p->pad_top) * p->in_row_stride +
                      (x * (size_t)stride - p->pad_left) * p->in_pixel_stride + s->channel;
    vec sum[PIXELS];
    for (int i = 0; i < PIXELS; i++)
        sum[i] = v_set(0.0f);
#pragma GCC unroll 3
    for (int ky = 0; ky < 3; ky++) {
        const float *row = in + (size_t)ky * p->in_row_stride;
#pragma GCC unroll 9
        for (int column = 0; column < (PIXELS - 1) * stride + 3; column++) {
            vec v = v_load(row + (size_t)column * p->in_pixel_stride);
#pragma GCC unroll 4
            for (int i = 0; i < PIXELS; i++)
                if (column - i * stride >= 0 && column - i * stride < 3)
                    sum[i] = v_fma(v, w[ky * 3 + column - i * stride], sum[i]);
        }
    }
    for (int i = 0; i < PIXELS; i++)
        finish(s, y, x + (size_t)i, sum[i]);
}

V_INLINE void rows_3x3(const strip *s, const int stride)
{
    const ufk_dwconv_args *p = s->p;
    vec w[9];
    size_t from = (p->pad_left + p->stride_w - 1) / p->stride_w;
    size_t to = p->in_w + p->pad_left >= 3 ? (p->in_w + p->pad_left - 3) / p->stride_w + 1 : 0;
    to = to < p->out_w ? to : p->out_w;
    for (size_t i = 0; i < 9; i++)
        w[i] = v_load(p->weights + i * p->channels + s->channel);
    for (size_t y = p->y_begin; y < p->y_end; y++) {
        size_t top = y * p->stride_h - p->pad_top, x = 0;
        if (top < p->in_h && top + 3 <= p->in_h) {
            for (; x < from && x < p->out_w; x++)
                one_pixel(s, y, x);
            for (; x + PIXELS <= to; x += PIXELS)
                four_pixels(s, w, y, x, stride);
        }
        for (; x < p->out_w; x++)
            one_pixel(s, y, x);
    }
}

static void rows_any(const strip *s)
{
    for (size_t y = s->p->y_begin; y < s->p->y_end; y++)
        for (size_t x = 0; x < s->p->out_w; x++)
            one_pixel(s, y, x);
}

static void V_ISA(ufk_dwconv_f32)(const ufk_dwconv_args *p)
{
    const ufk_epilogue *e = &p->epilogue;
    bool is_3x3 = p->kernel_h == 3 && p->kernel_w == 3 && p->dilation_h == 1 && p->dilation_w == 1;
    for (size_t c = 0; c < p->channels; c += LANES) {
        strip s = {.p = p, .channel = c, .n = p->channels - c};
        s.bias = e->bias ? v_get(e->bias + c, s.n) : v_set(0.0f);
        s.slope = e->act == UFK_ACT_PRELU ? v_get(e->slope + c, s.n) : v_set(0.0f);
        if (is_3x3 && s.n >= LANES && p->stride_w == 1)
            rows_3x3(&s, 1);
        else if (is_3x3 && s.n >= LANES && p->stride_w == 2)
            rows_3x3(&s, 2);
        else
            rows_any(&s);
    }
}

void V_ISA(ufk_dwconv_select)(ufk_table *t)
{
    t->dwconv_f32 = V_ISA(ufk_dwconv_f32);
    t->dwconv_f32_name = "dwconv_f32_" V_NAME;
}
