/* Depthwise convolution: the reference, and the selection. */
#include "base/cpu.h"
#include "kernels/c/epilogue.h"
#include "kernels/topics.h"

static float window_sum(const ufk_dwconv_args *p, size_t y, size_t x, size_t c)
{
    float sum = 0;
    for (size_t ky = 0; ky < p->kernel_h; ky++)
        for (size_t kx = 0; kx < p->kernel_w; kx++) {
            size_t iy = y * p->stride_h + ky * p->dilation_h - p->pad_top; /* wraps below zero */
            size_t ix = x * p->stride_w + kx * p->dilation_w - p->pad_left;
            if (iy < p->in_h && ix < p->in_w)
                sum += p->in[iy * p->in_row_stride + ix * p->in_pixel_stride + c] *
                       p->weights[(ky * p->kernel_w + kx) * p->channels + c];
        }
    return sum;
}

static void ufk_dwconv_f32_c(const ufk_dwconv_args *p)
{
    const ufk_epilogue *e = &p->epilogue;
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++) {
            float *out = p->out + y * p->out_row_stride + x * p->out_pixel_stride;
            const float *residual = e->residual;
            if (residual)
                residual += (y * p->out_w + x) * e->residual_stride;
            for (size_t c = 0; c < p->channels; c++)
                out[c] = ufk_finish(e, window_sum(p, y, x, c), residual, c);
        }
}

void ufk_dwconv_init(ufk_table *t, uint32_t flags)
{
    t->dwconv_f32 = ufk_dwconv_f32_c;
    t->dwconv_f32_name = "dwconv_f32_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_dwconv_select_avx2(t);
    if (flags & UFI_CPU_AVX512)
        ufk_dwconv_select_avx512(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_dwconv_select_neon(t);
#endif
}
