/* Pooling over vec.h: a vector of channels at a time, the taps of the window that lie inside. */
#include <math.h>

#include "kernels/simd/vec.h"
#include "kernels/topics.h"

/* First and one past the last tap of a window that starts at `start` (wrapped below zero) inside.
 */
V_INLINE void taps_inside(size_t start, size_t size, size_t kernel, size_t dilation, size_t *from,
                          size_t *to)
{
    ptrdiff_t s = (ptrdiff_t)start, d = (ptrdiff_t)dilation;
    ptrdiff_t first = s >= 0 ? 0 : (-s + d - 1) / d;
    ptrdiff_t last = s >= (ptrdiff_t)size ? 0 : ((ptrdiff_t)size - 1 - s) / d + 1;
    *from = (size_t)first;
    *to = (size_t)(last < (ptrdiff_t)kernel ? last : (ptrdiff_t)kernel);
}

V_INLINE void pool_pixel(const ufk_pool_args *p, size_t y, size_t x, const bool average)
{
    size_t top = y * p->stride_h - p->pad_top, left = x * p->stride_w - p->pad_left;
    size_t y0, y1, x0, x1;
    taps_inside(top, p->in_h, p->kernel_h, p->dilation_h, &y0, &y1);
    taps_inside(left, p->in_w, p->kernel_w, p->dilation_w, &x0, &x1);
    size_t cells = y1 > y0 && x1 > x0 ? (y1 - y0) * (x1 - x0) : 0;
    size_t count = p->count_include_pad ? p->kernel_h * p->kernel_w : cells;
    vec divisor = v_set(count ? (float)count : 1.0f);
    float *out = p->out + (y * p->out_w + x) * p->channels;
    for (size_t c = 0; c < p->channels; c += LANES) {
        size_t n = p->channels - c;
        vec v = v_set(average ? 0.0f : -INFINITY);
        for (size_t ky = y0; ky < y1; ky++) {
            const float *row =
                p->in + ((top + ky * p->dilation_h) * p->in_w + left) * p->channels + c;
            for (size_t kx = x0; kx < x1; kx++) {
                vec in = v_get(row + kx * p->dilation_w * p->channels, n);
                v = average ? v_add(v, in) : v_max(in, v);
            }
        }
        v_put(out + c, average ? v_div(v, divisor) : v, n);
    }
}

/* Rows of 2x2 windows with stride 2 that all lie inside: what most networks use. */
static void max_pool_2x2_row(const ufk_pool_args *p, size_t y)
{
    const size_t row = p->in_w * p->channels;
    const float *in = p->in + 2 * y * row;
    float *out = p->out + y * p->out_w * p->channels;
    for (size_t x = 0; x < p->out_w; x++, in += 2 * p->channels, out += p->channels)
        for (size_t c = 0; c < p->channels; c += LANES) {
            size_t n = p->channels - c;
            vec a = v_max(v_get(in + c, n), v_get(in + p->channels + c, n));
            vec b = v_max(v_get(in + row + c, n), v_get(in + row + p->channels + c, n));
            v_put(out + c, v_max(a, b), n);
        }
}

static void V_ISA(ufk_max_pool_f32)(const ufk_pool_args *p)
{
    bool halves = p->kernel_h == 2 && p->kernel_w == 2 && p->stride_h == 2 && p->stride_w == 2 &&
                  p->dilation_h == 1 && p->dilation_w == 1 && !p->pad_top && !p->pad_left &&
                  2 * p->out_h <= p->in_h && 2 * p->out_w <= p->in_w;
    for (size_t y = p->y_begin; halves && y < p->y_end; y++)
        max_pool_2x2_row(p, y);
    if (halves)
        return;
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++)
            pool_pixel(p, y, x, false);
}

static void V_ISA(ufk_average_pool_f32)(const ufk_pool_args *p)
{
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++)
            pool_pixel(p, y, x, true);
}

static void V_ISA(ufk_global_average_f32)(float *out, const float *in, size_t pixels,
                                          size_t channels)
{
    for (size_t c = 0; c < channels; c += LANES) {
        size_t n = channels - c;
        vec sum[2] = {v_set(0.0f), v_set(0.0f)};
        size_t i = 0;
        for (; i + 2 <= pixels; i += 2) {
            sum[0] = v_add(sum[0], v_get(in + i * channels + c, n));
            sum[1] = v_add(sum[1], v_get(in + (i + 1) * channels + c, n));
        }
        if (i < pixels)
            sum[0] = v_add(sum[0], v_get(in + i * channels + c, n));
        v_put(out + c, v_div(v_add(sum[0], sum[1]), v_set((float)pixels)), n);
    }
}

void V_ISA(ufk_pool_select)(ufk_table *t)
{
    t->max_pool_f32 = V_ISA(ufk_max_pool_f32);
    t->average_pool_f32 = V_ISA(ufk_average_pool_f32);
    t->global_average_f32 = V_ISA(ufk_global_average_f32);
    t->pool_f32_name = "pool_f32_" V_NAME;
}
