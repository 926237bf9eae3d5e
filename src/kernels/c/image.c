/*
 * Pixels of 8 bits: bilinear resize with 11-bit weights, affine warp with 5-bit fractions, and
 * normalisation to floats. The first two are integer arithmetic throughout, so every variant gives
 * the same bytes.
 */
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "kernels/topics.h"

enum { WEIGHT_BITS = 11, WEIGHT_ONE = 1 << WEIGHT_BITS };

/* Where output coordinate i reads: the left neighbour and the weight of the right one. */
typedef struct tap {
    size_t at, next;
    int32_t weight;
} tap;

static tap tap_of(size_t i, size_t out, size_t in)
{
    double x = ((double)i + 0.5) * (double)in / (double)out - 0.5;
    double base = floor(x);
    tap t = {0, 0, (int32_t)lrint((x - base) * WEIGHT_ONE)};
    if (base < 0)
        return (tap){0, 0, 0};
    if (base >= (double)(in - 1))
        return (tap){in - 1, in - 1, 0};
    t.at = (size_t)base;
    t.next = t.at + 1;
    return t;
}

static void ufk_resize_bilinear_u8_c(uint8_t *out, size_t out_stride, size_t out_w, size_t out_h,
                                     const uint8_t *in, size_t in_stride, size_t in_w, size_t in_h,
                                     size_t channels, size_t y_begin, size_t y_end)
{
    for (size_t y = y_begin; y < y_end; y++) {
        tap ty = tap_of(y, out_h, in_h);
        const uint8_t *top = in + ty.at * in_stride, *bottom = in + ty.next * in_stride;
        for (size_t x = 0; x < out_w; x++) {
            tap tx = tap_of(x, out_w, in_w);
            for (size_t c = 0; c < channels; c++) {
                size_t l = tx.at * channels + c, r = tx.next * channels + c;
                int32_t a = top[l] * (WEIGHT_ONE - tx.weight) + top[r] * tx.weight;
                int32_t b = bottom[l] * (WEIGHT_ONE - tx.weight) + bottom[r] * tx.weight;
                int64_t v = (int64_t)a * (WEIGHT_ONE - ty.weight) + (int64_t)b * ty.weight;
                out[y * out_stride + x * channels + c] =
                    (uint8_t)((v + (1 << (2 * WEIGHT_BITS - 1))) >> (2 * WEIGHT_BITS));
            }
        }
    }
}

enum { FRACTION_BITS = 5, FRACTION_ONE = 1 << FRACTION_BITS };

/* A coordinate with 5 fractional bits, far outside values held where they still fit. */
static int32_t fixed(double v)
{
    double f = floor(v * FRACTION_ONE + 0.5);
    return (int32_t)(f < -1e9 ? -1e9 : f > 1e9 ? 1e9 : f);
}

static int32_t pixel(const uint8_t *in, size_t stride, size_t w, size_t h, int32_t x, int32_t y,
                     size_t c, uint8_t border)
{
    if (x < 0 || y < 0 || (size_t)x >= w || (size_t)y >= h)
        return border;
    return in[(size_t)y * stride + (size_t)x * 3 + c];
}

static void ufk_warp_affine_u8_c(uint8_t *out, size_t out_stride, size_t out_w, size_t out_h,
                                 const uint8_t *in, size_t in_stride, size_t in_w, size_t in_h,
                                 const float m[6], uint8_t border)
{
    for (size_t y = 0; y < out_h; y++)
        for (size_t x = 0; x < out_w; x++) {
            int32_t fx = fixed((double)m[0] * (double)x + (double)m[1] * (double)y + (double)m[2]);
            int32_t fy = fixed((double)m[3] * (double)x + (double)m[4] * (double)y + (double)m[5]);
            int32_t ix = fx >> FRACTION_BITS, iy = fy >> FRACTION_BITS;
            int32_t wx = fx & (FRACTION_ONE - 1), wy = fy & (FRACTION_ONE - 1);
            for (size_t c = 0; c < 3; c++) {
                int32_t top =
                    pixel(in, in_stride, in_w, in_h, ix, iy, c, border) * (FRACTION_ONE - wx) +
                    pixel(in, in_stride, in_w, in_h, ix + 1, iy, c, border) * wx;
                int32_t bottom =
                    pixel(in, in_stride, in_w, in_h, ix, iy + 1, c, border) * (FRACTION_ONE - wx) +
                    pixel(in, in_stride, in_w, in_h, ix + 1, iy + 1, c, border) * wx;
                int32_t v = top * (FRACTION_ONE - wy) + bottom * wy;
                out[y * out_stride + x * 3 + c] =
                    (uint8_t)((v + (1 << (2 * FRACTION_BITS - 1))) >> (2 * FRACTION_BITS));
            }
        }
}

static void ufk_normalize_u8_f32_c(float *out, const uint8_t *in, size_t pixels,
                                   const float scale[3], const float shift[3], bool swap)
{
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            out[i * 3 + c] = (float)in[i * 3 + (swap ? 2 - c : c)] * scale[c] + shift[c];
}

void ufk_image_init(ufk_table *t, uint32_t flags)
{
    t->resize_bilinear_u8 = ufk_resize_bilinear_u8_c;
    t->warp_affine_u8 = ufk_warp_affine_u8_c;
    t->normalize_u8_f32 = ufk_normalize_u8_f32_c;
    t->image_u8_name = "image_u8_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_image_select_avx2(t);
    if (flags & UFI_CPU_AVX512)
        ufk_image_select_avx512(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_image_select_neon(t);
#endif
}
