/* Pooling: the references, and the selection. Cells outside the image take no part in a maximum;
 * an average counts them only where it is asked to, as zeros. */
#include <math.h>

#include "base/cpu.h"
#include "kernels/topics.h"

typedef struct window {
    float max, sum;
    size_t cells;
} window;

static window window_of(const ufk_pool_args *p, size_t y, size_t x, size_t c)
{
    window w = {.max = -INFINITY};
    for (size_t ky = 0; ky < p->kernel_h; ky++)
        for (size_t kx = 0; kx < p->kernel_w; kx++) {
            size_t iy = y * p->stride_h + ky * p->dilation_h - p->pad_top; /* wraps below zero */
            size_t ix = x * p->stride_w + kx * p->dilation_w - p->pad_left;
            if (iy >= p->in_h || ix >= p->in_w)
                continue;
            float v = p->in[(iy * p->in_w + ix) * p->channels + c];
            w.max = v > w.max ? v : w.max;
            w.sum += v;
            w.cells++;
        }
    return w;
}

static void ufk_max_pool_f32_c(const ufk_pool_args *p)
{
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++)
            for (size_t c = 0; c < p->channels; c++)
                p->out[(y * p->out_w + x) * p->channels + c] = window_of(p, y, x, c).max;
}

static void ufk_average_pool_f32_c(const ufk_pool_args *p)
{
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++)
            for (size_t c = 0; c < p->channels; c++) {
                window w = window_of(p, y, x, c);
                size_t count = p->count_include_pad ? p->kernel_h * p->kernel_w : w.cells;
                /* A window with no cell at all is zero, not 0 / 0. */
                p->out[(y * p->out_w + x) * p->channels + c] = count ? w.sum / (float)count : 0;
            }
}

static void ufk_global_average_f32_c(float *out, const float *in, size_t pixels, size_t channels)
{
    for (size_t c = 0; c < channels; c++) {
        float sum = 0;
        for (size_t i = 0; i < pixels; i++)
            sum += in[i * channels + c];
        out[c] = sum / (float)pixels;
    }
}

void ufk_pool_init(ufk_table *t, uint32_t flags)
{
    t->max_pool_f32 = ufk_max_pool_f32_c;
    t->average_pool_f32 = ufk_average_pool_f32_c;
    t->global_average_f32 = ufk_global_average_f32_c;
    t->pool_f32_name = "pool_f32_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_pool_select_avx2(t);
    if (flags & UFI_CPU_AVX512)
        ufk_pool_select_avx512(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_pool_select_neon(t);
#endif
}
