/*
 * Winograd transforms over vec.h: a vector of channels at a time, the small matrices multiplied out
 * by hand (c/winograd.c has them). Tiles inside the picture need no checks; those at its border
 * gather with zeros.
 */
#include "kernels/simd/vec.h"
#include "kernels/topics.h"

/* B^T of F(4x4, 3x3) on six vectors. */
V_INLINE void input4(vec d[6])
{
    const vec two = v_set(2.0f), four = v_set(4.0f), five = v_set(5.0f), minus4 = v_set(-4.0f);
    vec a = v_fma(minus4, d[2], d[4]), b = v_fma(minus4, d[1], d[3]);
    vec c = v_sub(d[4], d[2]), e = v_mul(two, v_sub(d[3], d[1]));
    vec first = v_fma(four, d[0], v_sub(d[4], v_mul(five, d[2])));
    vec last = v_fma(four, d[1], v_sub(d[5], v_mul(five, d[3])));
    d[0] = first;
    d[1] = v_add(a, b);
    d[2] = v_sub(a, b);
    d[3] = v_add(c, e);
    d[4] = v_sub(c, e);
    d[5] = last;
}

/* A^T of F(4x4, 3x3): six to four. */
V_INLINE void output4(vec m[6])
{
    vec a = v_add(m[1], m[2]), b = v_sub(m[1], m[2]), c = v_add(m[3], m[4]), d = v_sub(m[3], m[4]);
    m[0] = v_add(m[0], v_add(a, c));
    vec third = v_fma(v_set(4.0f), c, a);
    vec fourth = v_add(v_fma(v_set(8.0f), d, b), m[5]);
    m[1] = v_fma(v_set(2.0f), d, b);
    m[2] = third;
    m[3] = fourth;
}

V_INLINE void input2(vec d[4])
{
    vec a = v_sub(d[0], d[2]), b = v_add(d[1], d[2]), c = v_sub(d[2], d[1]), e = v_sub(d[1], d[3]);
    d[0] = a, d[1] = b, d[2] = c, d[3] = e;
}

V_INLINE void output2(vec m[4])
{
    vec a = v_add(v_add(m[0], m[1]), m[2]), b = v_sub(v_sub(m[1], m[2]), m[3]);
    m[0] = a, m[1] = b;
}

V_INLINE void transform_in(vec *d, const int size)
{
    if (size == 6)
        input4(d);
    else
        input2(d);
}

V_INLINE void transform_out(vec *m, const int size)
{
    if (size == 6)
        output4(m);
    else
        output2(m);
}

typedef struct plane {
    size_t h, w, channels;
} plane;

/* Rows and columns: first down the columns, then along the rows. */
V_INLINE void input_tile(float *out, size_t stride, const float *in, plane p, size_t y, size_t x,
                         size_t c, size_t n, bool inside, const int size)
{
    vec d[6][6];
    for (int j = 0; j < size; j++) {
        vec column[6];
        for (int i = 0; i < size; i++) {
            size_t iy = y + (size_t)i, ix = x + (size_t)j;
            column[i] = inside || (iy < p.h && ix < p.w)
                            ? v_get(in + (iy * p.w + ix) * p.channels + c, n)
                            : v_set(0.0f);
        }
        transform_in(column, size);
        for (int i = 0; i < size; i++)
            d[i][j] = column[i];
    }
    for (int i = 0; i < size; i++) {
        transform_in(d[i], size);
        for (int j = 0; j < size; j++)
            v_put(out + (size_t)(i * size + j) * stride, d[i][j], n);
    }
}

V_INLINE void input_run(float *out, size_t stride, const float *in, plane p, size_t pad_top,
                        size_t pad_left, size_t tiles_x, size_t first, size_t tiles, const int size)
{
    const size_t step = (size_t)size - 2;
    for (size_t t = 0; t < tiles; t++) {
        size_t y = (first + t) / tiles_x * step - pad_top;
        size_t x = (first + t) % tiles_x * step - pad_left;
        bool inside = y < p.h && y + (size_t)size <= p.h && x < p.w && x + (size_t)size <= p.w;
        for (size_t c = 0; c < p.channels; c += LANES)
            input_tile(out + t * p.channels + c, stride, in, p, y, x, c, p.channels - c, inside,
                       size);
    }
}

V_INLINE void output_tile(float *out, plane p, const float *in, size_t stride, size_t y0, size_t x0,
                          size_t c, size_t n, const ufk_epilogue *e, const int size)
{
    const int step = size - 2;
    vec d[6][6], zero = v_set(0.0f);
    vec bias = e->bias ? v_get(e->bias + c, n) : zero;
    vec slope = e->act == UFK_ACT_PRELU ? v_get(e->slope + c, n) : zero;
    for (int j = 0; j < size; j++) {
        vec column[6];
        for (int i = 0; i < size; i++)
            column[i] = v_get(in + (size_t)(i * size + j) * stride, n);
        transform_out(column, size);
        for (int i = 0; i < step; i++)
            d[i][j] = column[i];
    }
    for (int i = 0; i < step && y0 + (size_t)i < p.h; i++) {
        transform_out(d[i], size);
        for (int j = 0; j < step && x0 + (size_t)j < p.w; j++) {
            size_t pixel = (y0 + (size_t)i) * p.w + x0 + (size_t)j;
            vec v = v_add(d[i][j], bias);
            if (e->residual)
                v = v_add(v, v_get(e->residual + pixel * e->residual_stride + c, n));
            v_put(out + pixel * p.channels + c, v_activate(e, v, slope), n);
        }
    }
}

V_INLINE void output_run(float *out, plane p, const float *in, size_t stride, size_t tiles_x,
                         size_t first, size_t tiles, const ufk_epilogue *e, const int size)
{
    const size_t step = (size_t)size - 2;
    for (size_t t = 0; t < tiles; t++) {
        size_t y = (first + t) / tiles_x * step, x = (first + t) % tiles_x * step;
        for (size_t c = 0; c < p.channels; c += LANES)
            output_tile(out, p, in + t * p.channels + c, stride, y, x, c, p.channels - c, e, size);
    }
}

static void V_ISA(ufk_wino4_input_f32)(float *out, size_t stride, const float *in, size_t in_h,
                                       size_t in_w, size_t channels, size_t pad_top,
                                       size_t pad_left, size_t tiles_x, size_t first, size_t tiles)
{
    input_run(out, stride, in, (plane){in_h, in_w, channels}, pad_top, pad_left, tiles_x, first,
              tiles, 6);
}

static void V_ISA(ufk_wino4_output_f32)(float *out, size_t out_h, size_t out_w, size_t channels,
                                        const float *in, size_t stride, size_t tiles_x,
                                        size_t first, size_t tiles, const ufk_epilogue *e)
{
    output_run(out, (plane){out_h, out_w, channels}, in, stride, tiles_x, first, tiles, e, 6);
}

static void V_ISA(ufk_wino2_input_f32)(float *out, size_t stride, const float *in, size_t in_h,
                                       size_t in_w, size_t channels, size_t pad_top,
                                       size_t pad_left, size_t tiles_x, size_t first, size_t tiles)
{
    input_run(out, stride, in, (plane){in_h, in_w, channels}, pad_top, pad_left, tiles_x, first,
              tiles, 4);
}

static void V_ISA(ufk_wino2_output_f32)(float *out, size_t out_h, size_t out_w, size_t channels,
                                        const float *in, size_t stride, size_t tiles_x,
                                        size_t first, size_t tiles, const ufk_epilogue *e)
{
    output_run(out, (plane){out_h, out_w, channels}, in, stride, tiles_x, first, tiles, e, 4);
}

void V_ISA(ufk_winograd_select)(ufk_table *t)
{
    t->wino4_input_f32 = V_ISA(ufk_wino4_input_f32);
    t->wino4_output_f32 = V_ISA(ufk_wino4_output_f32);
    t->wino2_input_f32 = V_ISA(ufk_wino2_input_f32);
    t->wino2_output_f32 = V_ISA(ufk_wino2_output_f32);
    t->winograd_f32_name = "winograd_f32_" V_NAME;
}
