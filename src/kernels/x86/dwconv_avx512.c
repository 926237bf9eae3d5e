/*
 * Depthwise convolution, AVX-512: 16 channels are one vector, each pixel of the window one FMA.
 *
 * The 3x3 interior keeps the nine weights in registers and computes four pixels of a row at once,
 * so that with stride 1 the 18 columns they touch are loaded once for 36 FMAs. Pixels at the
 * border, other kernels and what is left of a row take one pixel at a time over the taps inside the
 * image. Channels go outermost: their weights are loaded once for all rows.
 */
#include <immintrin.h>

#include "kernels/topics.h"
#include "kernels/x86/epilogue_avx512.h"

#define PIXELS 4

typedef struct block {
    const ufk_dwconv_args *p;
    size_t channel;
    __mmask16 mask;
    __m512 bias, slope;
} block;

static inline void store(const block *b, size_t y, size_t x, __m512 sum)
{
    const ufk_dwconv_args *p = b->p;
    const ufk_epilogue *e = &p->epilogue;
    __m512 v = _mm512_add_ps(sum, b->bias);
    if (e->residual)
        v = _mm512_add_ps(
            v, _mm512_maskz_loadu_ps(
                   b->mask, e->residual + (y * p->out_w + x) * e->residual_stride + b->channel));
    _mm512_mask_storeu_ps(p->out + y * p->out_row_stride + x * p->out_pixel_stride + b->channel,
                          b->mask, ufk_activate_avx512(e, v, b->slope));
}

/* Any kernel, any place: taps outside the image are left out. */
static void one_pixel(const block *b, size_t y, size_t x)
{
    const ufk_dwconv_args *p = b->p;
    __m512 sum = _mm512_setzero_ps();
    for (size_t ky = 0; ky < p->kernel_h; ky++) {
        size_t iy = y * p->stride_h + ky * p->dilation_h - p->pad_top;
        if (iy >= p->in_h) /* wraps around below zero */
            continue;
        for (size_t kx = 0; kx < p->kernel_w; kx++) {
            size_t ix = x * p->stride_w + kx * p->dilation_w - p->pad_left;
            if (ix >= p->in_w)
                continue;
            const float *in = p->in + iy * p->in_row_stride + ix * p->in_pixel_stride + b->channel;
            const float *w = p->weights + (ky * p->kernel_w + kx) * p->channels + b->channel;
            sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(b->mask, in),
                                  _mm512_maskz_loadu_ps(b->mask, w), sum);
        }
    }
    store(b, y, x, sum);
}

/* Four pixels x .. x + 3 of row y whose windows lie inside the image; STRIDE is a constant. */
static inline __attribute__((always_inline)) void four_pixels(const block *b, const __m512 w[9],
                                                              size_t y, size_t x, const int stride)
{
    const ufk_dwconv_args *p = b->p;
    const float *in = p->in + (y * p->stride_h - p->pad_top) * p->in_row_stride +
                      (x * (size_t)stride - p->pad_left) * p->in_pixel_stride + b->channel;
    __m512 sum[PIXELS];
#pragma GCC unroll 4
    for (int i = 0; i < PIXELS; i++)
        sum[i] = _mm512_setzero_ps();
#pragma GCC unroll 3
    for (int ky = 0; ky < 3; ky++) {
        const float *row = in + (size_t)ky * p->in_row_stride;
#pragma GCC unroll 9
        for (int column = 0; column < (PIXELS - 1) * stride + 3; column++) {
            __m512 v = _mm512_maskz_loadu_ps(b->mask, row + (size_t)column * p->in_pixel_stride);
#pragma GCC unroll 4
            for (int i = 0; i < PIXELS; i++)
                if (column - i * stride >= 0 && column - i * stride < 3)
                    sum[i] = _mm512_fmadd_ps(v, w[ky * 3 + column - i * stride], sum[i]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < PIXELS; i++)
        store(b, y, x + (size_t)i, sum[i]);
}

/* First output column whose window begins inside the image, and the one after the last whose window
 * ends inside it. */
static void interior(const ufk_dwconv_args *p, size_t *from, size_t *to)
{
    *from = (p->pad_left + p->stride_w - 1) / p->stride_w;
    *to = p->in_w + p->pad_left >= 3 ? (p->in_w + p->pad_left - 3) / p->stride_w + 1 : 0;
    *to = *to < p->out_w ? *to : p->out_w;
}

static inline __attribute__((always_inline)) void rows_3x3(const block *b, const int stride)
{
    const ufk_dwconv_args *p = b->p;
    __m512 w[9];
    size_t from, to;
#pragma GCC unroll 9
    for (int i = 0; i < 9; i++)
        w[i] = _mm512_maskz_loadu_ps(b->mask, p->weights + (size_t)i * p->channels + b->channel);
    interior(p, &from, &to);
    for (size_t y = p->y_begin; y < p->y_end; y++) {
        size_t top = y * p->stride_h - p->pad_top, x = 0;
        if (top < p->in_h && top + 3 <= p->in_h) {
            for (; x < from && x < p->out_w; x++)
                one_pixel(b, y, x);
            for (; x + PIXELS <= to; x += PIXELS)
                four_pixels(b, w, y, x, stride);
        }
        for (; x < p->out_w; x++)
            one_pixel(b, y, x);
    }
}

static void rows_3x3_stride1(const block *b)
{
    rows_3x3(b, 1);
}

static void rows_3x3_stride2(const block *b)
{
    rows_3x3(b, 2);
}

static void rows_any(const block *b)
{
    for (size_t y = b->p->y_begin; y < b->p->y_end; y++)
        for (size_t x = 0; x < b->p->out_w; x++)
            one_pixel(b, y, x);
}

static void ufk_dwconv_f32_avx512(const ufk_dwconv_args *p)
{
    const ufk_epilogue *e = &p->epilogue;
    bool is_3x3 = p->kernel_h == 3 && p->kernel_w == 3 && p->dilation_h == 1 && p->dilation_w == 1;
    for (size_t c = 0; c < p->channels; c += 16) {
        size_t left = p->channels - c;
        block b = {.p = p, .channel = c};
        b.mask = left >= 16 ? 0xFFFF : (__mmask16)((1u << left) - 1);
        b.bias = b.slope = _mm512_setzero_ps();
        if (e->bias)
            b.bias = _mm512_maskz_loadu_ps(b.mask, e->bias + c);
        if (e->act == UFK_ACT_PRELU)
            b.slope = _mm512_maskz_loadu_ps(b.mask, e->slope + c);
        if (is_3x3 && p->stride_w == 1)
            rows_3x3_stride1(&b);
        else if (is_3x3 && p->stride_w == 2)
            rows_3x3_stride2(&b);
        else
            rows_any(&b);
    }
}

void ufk_dwconv_select_avx512(ufk_table *t)
{
    t->dwconv_f32 = ufk_dwconv_f32_avx512;
    t->dwconv_f32_name = "dwconv_f32_avx512";
}
