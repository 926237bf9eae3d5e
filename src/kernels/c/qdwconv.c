/* INT8 depthwise convolution: the reference, and the choice of a variant. */
#include "base/cpu.h"
#include "kernels/c/qepilogue.h"
#include "kernels/topics.h"

static int32_t window_sum(const ufk_qdwconv_args *a, size_t y, size_t x, size_t c)
{
    int32_t sum = 0;
    for (size_t ky = 0; ky < a->kernel_h; ky++)
        for (size_t kx = 0; kx < a->kernel_w; kx++) {
            size_t iy = y * a->stride_h + ky * a->dilation_h - a->pad_top; /* wraps below zero */
            size_t ix = x * a->stride_w + kx * a->dilation_w - a->pad_left;
            bool inside = iy < a->in_h && ix < a->in_w;
            int32_t v = inside ? a->in[(iy * a->in_w + ix) * a->channels + c] : a->in_zero;
            sum += v * a->weights[(ky * a->kernel_w + kx) * a->channels + c];
        }
    return sum;
}

void ufk_dwconv_u8_c(const ufk_qdwconv_args *a)
{
    const ufk_qepilogue *e = &a->epilogue;
    for (size_t y = a->y_begin; y < a->y_end; y++)
        for (size_t x = 0; x < a->out_w; x++) {
            const size_t pixel = y * a->out_w + x;
            const uint8_t *residual = e->residual ? e->residual + pixel * e->residual_stride : NULL;
            for (size_t c = 0; c < a->channels; c++) {
                const float v = ufk_qfinish(e, window_sum(a, y, x, c), residual, c);
                if (a->out_f32)
                    a->out_f32[pixel * a->channels + c] = v;
                else
                    a->out[pixel * a->channels + c] = ufk_round_u8(v);
            }
        }
}

void ufk_qdwconv_init(ufk_table *t, uint32_t flags)
{
    t->dwconv_u8 = ufk_dwconv_u8_c;
    t->dwconv_u8_name = "dwconv_u8_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_qdwconv_select_avx2(t);
    if (flags & UFI_CPU_AVX512VNNI)
        ufk_qdwconv_select_avx512vnni(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_qdwconv_select_neon(t);
#endif
}
