/*
 * Pixels of 8 bits, in loops that the compiler turns into vectors of whatever instruction set the
 * file is compiled for. Results are those of the reference, byte for byte: sums of integers do not
 * depend on their order, and coordinates are computed by the same operations.
 *
 * Resizing blends two input rows first, which runs along memory, and then picks columns. Warping
 * computes the coordinates of a strip of pixels at once; pixels whose four neighbours lie inside
 * the picture take a path without checks. An instruction set may bring `warp_coordinates`, which
 * may write up to the next multiple of 4, and `warp_group`, which does WARP_GROUP pixels at once.
 */
#include <math.h>
#include <string.h>

#include "kernels/simd/vec.h"
#include "kernels/topics.h"

enum { WEIGHT_BITS = 11, WEIGHT_ONE = 1 << WEIGHT_BITS, ROW_CHUNK = 4096, COLUMN_CHUNK = 512 };

typedef struct tap {
    size_t at, next;
    int32_t weight;
} tap;

static tap tap_of(size_t i, size_t out, size_t in)
{
    double x = ((double)i + 0.5) * (double)in / (double)out - 0.5;
    double base = floor(x);
    if (base < 0)
        return (tap){0, 0, 0};
    if (base >= (double)(in - 1))
        return (tap){in - 1, in - 1, 0};
    return (tap){(size_t)base, (size_t)base + 1, (int32_t)lrint((x - base) * WEIGHT_ONE)};
}

/* Columns x0 .. x0 + count - 1 of all rows; their taps span at most ROW_CHUNK bytes of a row, which
 * begins at byte `first`. */
static void resize_columns(uint8_t *out, size_t out_stride, size_t out_h, const uint8_t *in,
                           size_t in_stride, size_t in_h, size_t channels, size_t y_begin,
                           size_t y_end, size_t x0, const tap *taps, size_t count)
{
    int32_t row[ROW_CHUNK];
    size_t first = taps[0].at * channels, span = (taps[count - 1].next + 1) * channels - first;
    for (size_t y = y_begin; y < y_end; y++) {
        tap t = tap_of(y, out_h, in_h);
        const uint8_t *top = in + t.at * in_stride + first,
                      *bottom = in + t.next * in_stride + first;
        for (size_t i = 0; i < span; i++)
            row[i] = top[i] * (WEIGHT_ONE - t.weight) + bottom[i] * t.weight;
        uint8_t *to = out + y * out_stride + x0 * channels;
        for (size_t x = 0; x < count; x++) {
            const int32_t *l = row + taps[x].at * channels - first;
            const int32_t *r = row + taps[x].next * channels - first;
            for (size_t c = 0; c < channels; c++)
                *to++ = (uint8_t)((l[c] * (WEIGHT_ONE - taps[x].weight) + r[c] * taps[x].weight +
                                   (1 << (2 * WEIGHT_BITS - 1))) >>
                                  (2 * WEIGHT_BITS));
        }
    }
}

static void V_ISA(ufk_resize_bilinear_u8)(uint8_t *out, size_t out_stride, size_t out_w,
                                          size_t out_h, const uint8_t *in, size_t in_stride,
                                          size_t in_w, size_t in_h, size_t channels, size_t y_begin,
                                          size_t y_end)
{
    tap taps[COLUMN_CHUNK];
    for (size_t x = 0; x < out_w;) {
        size_t count = 0;
        while (x + count < out_w && count < COLUMN_CHUNK) {
            tap t = tap_of(x + count, out_w, in_w);
            if (count && (t.next + 1 - taps[0].at) * channels > ROW_CHUNK)
                break;
            taps[count++] = t;
        }
        resize_columns(out, out_stride, out_h, in, in_stride, in_h, channels, y_begin, y_end, x,
                       taps, count);
        x += count;
    }
}

/* ---- warp ---- */

enum { FRACTION_BITS = 5, FRACTION_ONE = 1 << FRACTION_BITS, STRIP = 128 };

#ifndef WARP_GROUP
/* Fixed-point coordinates of pixels (x0 + i, y) in one row of the matrix. */
static void warp_coordinates(int32_t *to, size_t x0, size_t y, size_t count, const float m[3])
{
    double a = (double)m[0], by = (double)m[1] * (double)y, c = (double)m[2];
    for (size_t i = 0; i < count; i++) {
        double v = a * (double)(int32_t)(x0 + i) + by + c;
        double f = floor(v * FRACTION_ONE + 0.5);
        to[i] = (int32_t)(f < -1e9 ? -1e9 : f > 1e9 ? 1e9 : f);
    }
}
#endif

static int32_t pixel(const uint8_t *in, size_t stride, size_t w, size_t h, int32_t x, int32_t y,
                     size_t c, uint8_t border)
{
    if (x < 0 || y < 0 || (size_t)x >= w || (size_t)y >= h)
        return border;
    return in[(size_t)y * stride + (size_t)x * 3 + c];
}

V_INLINE uint8_t blend(int32_t a, int32_t b, int32_t c, int32_t d, int32_t wx, int32_t wy)
{
    int32_t top = a * (FRACTION_ONE - wx) + b * wx, bottom = c * (FRACTION_ONE - wx) + d * wx;
    int32_t v = top * (FRACTION_ONE - wy) + bottom * wy;
    return (uint8_t)((v + (1 << (2 * FRACTION_BITS - 1))) >> (2 * FRACTION_BITS));
}

/* The pixel at the fixed-point coordinates (fx, fy), wherever it lies. */
V_INLINE void warp_pixel(uint8_t *to, const uint8_t *in, size_t in_stride, size_t in_w, size_t in_h,
                         int32_t fx, int32_t fy, uint8_t border)
{
    int32_t ix = fx >> FRACTION_BITS, iy = fy >> FRACTION_BITS;
    int32_t wx = fx & (FRACTION_ONE - 1), wy = fy & (FRACTION_ONE - 1);
    /* below zero wraps to something large */
    if ((size_t)ix + 1 < in_w && (size_t)iy + 1 < in_h && ix >= 0 && iy >= 0) {
        const uint8_t *p = in + (size_t)iy * in_stride + (size_t)ix * 3;
        const uint8_t *q = p + in_stride;
        for (size_t c = 0; c < 3; c++)
            to[c] = blend(p[c], p[c + 3], q[c], q[c + 3], wx, wy);
        return;
    }
    for (size_t c = 0; c < 3; c++)
        to[c] = blend(pixel(in, in_stride, in_w, in_h, ix, iy, c, border),
                      pixel(in, in_stride, in_w, in_h, ix + 1, iy, c, border),
                      pixel(in, in_stride, in_w, in_h, ix, iy + 1, c, border),
                      pixel(in, in_stride, in_w, in_h, ix + 1, iy + 1, c, border), wx, wy);
}

static void V_ISA(ufk_warp_affine_u8)(uint8_t *out, size_t out_stride, size_t out_w, size_t out_h,
                                      const uint8_t *in, size_t in_stride, size_t in_w, size_t in_h,
                                      const float m[6], uint8_t border)
{
    int32_t fx[STRIP], fy[STRIP];
#ifdef WARP_GROUP
    const warp_source source = warp_source_of(in, in_stride, in_w, in_h);
#endif
    for (size_t y = 0; y < out_h; y++)
        for (size_t x0 = 0; x0 < out_w; x0 += STRIP) {
            size_t count = out_w - x0 < STRIP ? out_w - x0 : STRIP, i = 0;
            uint8_t *to = out + y * out_stride + x0 * 3;
            warp_coordinates(fx, x0, y, count, m);
            warp_coordinates(fy, x0, y, count, m + 3);
#ifdef WARP_GROUP
            for (; source.fits && i + WARP_GROUP <= count; i += WARP_GROUP)
                if (!warp_group(&source, to + i * 3, fx + i, fy + i, in_stride))
                    for (size_t k = i; k < i + WARP_GROUP; k++)
                        warp_pixel(to + k * 3, in, in_stride, in_w, in_h, fx[k], fy[k], border);
#endif
            for (; i < count; i++)
                warp_pixel(to + i * 3, in, in_stride, in_w, in_h, fx[i], fy[i], border);
        }
}

/* ---- normalisation: 16 pixels, which is three vectors of 16, or six of 8, at a time ---- */

enum { GROUP = 16 };

static void V_ISA(ufk_normalize_u8_f32)(float *out, const uint8_t *in, size_t pixels,
                                        const float scale[3], const float shift[3], bool swap)
{
    float s[GROUP * 3], t[GROUP * 3];
    uint8_t group[GROUP * 3];
    size_t i = 0;
    for (size_t k = 0; k < GROUP * 3; k++) {
        s[k] = scale[k % 3];
        t[k] = shift[k % 3];
    }
    for (; i + GROUP <= pixels; i += GROUP, in += GROUP * 3, out += GROUP * 3) {
        const uint8_t *from = in;
        if (swap) {
            for (size_t k = 0; k < GROUP * 3; k += 3)
                group[k] = in[k + 2], group[k + 1] = in[k + 1], group[k + 2] = in[k];
            from = group;
        }
        for (size_t k = 0; k < GROUP * 3; k++)
            out[k] = (float)from[k] * s[k] + t[k];
    }
    for (; i < pixels; i++, in += 3, out += 3)
        for (size_t c = 0; c < 3; c++)
            out[c] = (float)in[swap ? 2 - c : c] * scale[c] + shift[c];
}

void V_ISA(ufk_image_select)(ufk_table *t)
{
    t->resize_bilinear_u8 = V_ISA(ufk_resize_bilinear_u8);
    t->warp_affine_u8 = V_ISA(ufk_warp_affine_u8);
    t->normalize_u8_f32 = V_ISA(ufk_normalize_u8_f32);
    t->image_u8_name = "image_u8_" V_NAME;
}
