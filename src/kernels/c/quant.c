/* Between FP32 and bytes, and simple operators on bytes: the references, and the selection. */
#include <math.h>

#include "base/cpu.h"
#include "kernels/topics.h"

static uint8_t saturate(float v)
{
    v = v > 0 ? v : 0; /* NaN too */
    return (uint8_t)rintf(v < 255 ? v : 255);
}

static void ufk_quantize_u8_c(uint8_t *out, const float *in, size_t count, float scale,
                              uint8_t zero)
{
    const float lo = -(float)zero, hi = (float)(255 - zero);
    for (size_t i = 0; i < count; i++) {
        float v = in[i] / scale;
        v = v > lo ? v : lo; /* NaN too */
        out[i] = (uint8_t)((int)rintf(v < hi ? v : hi) + zero);
    }
}

static void ufk_dequantize_u8_c(float *out, const uint8_t *in, size_t count, float scale,
                                float zero)
{
    for (size_t i = 0; i < count; i++)
        out[i] = ((float)in[i] - zero) * scale;
}

static void ufk_add_u8_c(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t count,
                         float a_scale, float b_scale, float shift)
{
    for (size_t i = 0; i < count; i++)
        out[i] = saturate(fmaf((float)a[i], a_scale, fmaf((float)b[i], b_scale, shift)));
}

static void ufk_max_pool_u8_c(uint8_t *out, const uint8_t *in, const ufk_pool_args *p)
{
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++)
            for (size_t c = 0; c < p->channels; c++) {
                uint8_t max = 0;
                for (size_t t = 0; t < p->kernel_h * p->kernel_w; t++) {
                    size_t iy = y * p->stride_h + t / p->kernel_w * p->dilation_h - p->pad_top;
                    size_t ix = x * p->stride_w + t % p->kernel_w * p->dilation_w - p->pad_left;
                    if (iy >= p->in_h || ix >= p->in_w) /* wraps below zero */
                        continue;
                    uint8_t v = in[(iy * p->in_w + ix) * p->channels + c];
                    max = v > max ? v : max;
                }
                out[(y * p->out_w + x) * p->channels + c] = max;
            }
}

static void ufk_interleave3_u8_c(uint8_t *out, const uint8_t *planes, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            out[i * 3 + c] = planes[c * pixels + i];
}

void ufk_quant_init(ufk_table *t, uint32_t flags)
{
    t->quantize_u8 = ufk_quantize_u8_c;
    t->dequantize_u8 = ufk_dequantize_u8_c;
    t->add_u8 = ufk_add_u8_c;
    t->max_pool_u8 = ufk_max_pool_u8_c;
    t->interleave3_u8 = ufk_interleave3_u8_c;
    t->quant_u8_name = "quant_u8_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_quant_select_avx2(t);
    if (flags & UFI_CPU_AVX512)
        ufk_quant_select_avx512(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_quant_select_neon(t);
#endif
}
