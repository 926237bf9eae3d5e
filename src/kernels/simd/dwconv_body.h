/*
 * Depthwise convolution over vec.h: one vector is LANES channels of a pixel.
 *
 * 3x3 with stride 1 or 2, which is nearly all of them, keeps the nine weights in registers and
 * computes ROWS x 4 pixels at once, so that an input column is loaded once for up to 3 x ROWS sums.
 * Rows go outermost and channels next: the few input rows at hand stay in the first-level cache
 * while all their channels pass. Rows above and below the picture are read from a row of zeros,
 * whose pixels all lie at the same place. Columns at the left and right border, and what is left of
 * a row, take one pixel at a time. Other kernels take one pixel at a time over the taps inside the
 * picture.
 */
#include <math.h>

#include "kernels/simd/vec.h"
#include "kernels/topics.h"

enum {
    PIXELS = 4,
    ROWS = LANES == 8 ? 1 : 2, /* AVX2 has 16 registers, the others 32 */
    MAX_IN_ROWS = (ROWS - 1) * 2 + 3
};

/* What is constant in an instance of the code below. */
typedef struct form {
    int stride;
    bool whole;  /* all LANES channels are there */
    ufk_act act; /* UFK_ACT_NONE: clamped to -inf..inf; others than clamp and PReLU: any */
} form;

/* LANES channels of a few output rows. */
typedef struct band {
    const ufk_dwconv_args *p;
    size_t channel, n;            /* of this vector, and how many are left */
    size_t y, rows;               /* output rows y .. y + rows - 1 */
    const float *in[MAX_IN_ROWS]; /* channel 0 of column 0 */
    size_t step[MAX_IN_ROWS];     /* floats between pixels: 0 in the row of zeros */
    vec w[9], bias, slope, lo, hi;
} band;

V_INLINE vec get(const float *p, size_t n, const bool whole)
{
    return whole ? v_load(p) : v_load_n(p, n);
}

V_INLINE vec activate(const band *b, vec v, const form f)
{
    if (f.act == UFK_ACT_CLAMP)
        return v_min(b->hi, v_max(b->lo, v)); /* in this order NaN stays NaN */
    if (f.act == UFK_ACT_PRELU)
        return v_prelu(v, b->slope);
    return v_activate(&b->p->epilogue, v, b->slope);
}

V_INLINE void finish(const band *b, size_t y, size_t x, vec sum, const form f)
{
    const ufk_dwconv_args *p = b->p;
    const ufk_epilogue *e = &p->epilogue;
    vec v = v_add(sum, b->bias);
    if (e->residual)
        v = v_add(v, get(e->residual + (y * p->out_w + x) * e->residual_stride + b->channel, b->n,
                         f.whole));
    v = activate(b, v, f);
    float *out = p->out + y * p->out_row_stride + x * p->out_pixel_stride + b->channel;
    if (f.whole)
        v_store(out, v);
    else
        v_store_n(out, v, b->n);
}

/* `pixels` output pixels of each row from x on; all their columns lie inside the picture. */
V_INLINE void inner(const band *b, size_t x, const int pixels, const int rows, const form f)
{
    const size_t column = x * (size_t)f.stride - b->p->pad_left;
    vec sum[ROWS][PIXELS];
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < pixels; i++)
            sum[r][i] = v_set(0.0f);
#pragma GCC unroll 5
    for (int iy = 0; iy < (rows - 1) * f.stride + 3; iy++) {
        const float *in = b->in[iy] + column * b->step[iy] + b->channel;
#pragma GCC unroll 9
        for (int k = 0; k < (pixels - 1) * f.stride + 3; k++) {
            vec v = get(in + (size_t)k * b->step[iy], b->n, f.whole);
#pragma GCC unroll 2
            for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
                for (int i = 0; i < pixels; i++) {
                    int ky = iy - r * f.stride, kx = k - i * f.stride;
                    if (ky >= 0 && ky < 3 && kx >= 0 && kx < 3)
                        sum[r][i] = v_fma(v, b->w[ky * 3 + kx], sum[r][i]);
                }
        }
    }
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < pixels; i++)
            finish(b, b->y + (size_t)r, x + (size_t)i, sum[r][i], f);
}

/* One output column whose window leaves the picture to the left or right. */
V_INLINE void edge(const band *b, size_t x, const form f)
{
    for (size_t r = 0; r < b->rows; r++) {
        vec sum = v_set(0.0f);
        for (size_t kx = 0; kx < 3; kx++) {
            size_t column = x * (size_t)f.stride + kx - b->p->pad_left;
            if (column >= b->p->in_w) /* wraps around below zero */
                continue;
#pragma GCC unroll 3
            for (size_t ky = 0; ky < 3; ky++) {
                size_t iy = r * (size_t)f.stride + ky;
                sum = v_fma(get(b->in[iy] + column * b->step[iy] + b->channel, b->n, f.whole),
                            b->w[ky * 3 + kx], sum);
            }
        }
        finish(b, b->y + r, x, sum, f);
    }
}

V_INLINE void band_3x3(const band *b, const form f)
{
    const ufk_dwconv_args *p = b->p;
    const size_t stride = (size_t)f.stride;
    size_t from = (p->pad_left + stride - 1) / stride, x = 0;
    size_t to = p->in_w + p->pad_left >= 3 ? (p->in_w + p->pad_left - 3) / stride + 1 : 0;
    to = to < p->out_w ? to : p->out_w;
    for (; x < from && x < p->out_w; x++)
        edge(b, x, f);
    if (b->rows == ROWS) {
        for (; x + PIXELS <= to; x += PIXELS)
            inner(b, x, PIXELS, ROWS, f);
        for (; x < to; x++)
            inner(b, x, 1, ROWS, f);
    } else {
        for (; x + PIXELS <= to; x += PIXELS)
            inner(b, x, PIXELS, 1, f);
        for (; x < to; x++)
            inner(b, x, 1, 1, f);
    }
    for (; x < p->out_w; x++)
        edge(b, x, f);
}

#define BAND(name, stride, whole, act)           \
    static void name(const band *b)              \
    {                                            \
        band_3x3(b, (form){stride, whole, act}); \
    }
BAND(band_clamp_1, 1, true, UFK_ACT_CLAMP)
BAND(band_clamp_2, 2, true, UFK_ACT_CLAMP)
BAND(band_prelu_1, 1, true, UFK_ACT_PRELU)
BAND(band_prelu_2, 2, true, UFK_ACT_PRELU)
BAND(band_other_1, 1, true, UFK_ACT_SILU)
BAND(band_other_2, 2, true, UFK_ACT_SILU)
BAND(band_part_1, 1, false, UFK_ACT_SILU)
BAND(band_part_2, 2, false, UFK_ACT_SILU)

typedef void band_fn(const band *b);

static band_fn *choose(const ufk_dwconv_args *p, bool whole)
{
    ufk_act act = p->epilogue.act;
    bool one = p->stride_w == 1;
    if (!whole)
        return one ? band_part_1 : band_part_2;
    if (act == UFK_ACT_NONE || act == UFK_ACT_CLAMP)
        return one ? band_clamp_1 : band_clamp_2;
    if (act == UFK_ACT_PRELU)
        return one ? band_prelu_1 : band_prelu_2;
    return one ? band_other_1 : band_other_2;
}

static void load_channel(band *b, size_t channel)
{
    const ufk_dwconv_args *p = b->p;
    const ufk_epilogue *e = &p->epilogue;
    b->channel = channel;
    b->n = p->channels - channel;
    b->bias = e->bias ? v_get(e->bias + channel, b->n) : v_set(0.0f);
    b->slope = e->act == UFK_ACT_PRELU ? v_get(e->slope + channel, b->n) : v_set(0.0f);
    for (size_t i = 0; i < 9; i++)
        b->w[i] = v_get(p->weights + i * p->channels + channel, b->n);
}

/* Where the input rows of output rows y .. y + rows - 1 are. `zeros` holds all channels. */
static void find_rows(band *b, const float *zeros)
{
    const ufk_dwconv_args *p = b->p;
    for (size_t i = 0; i < (b->rows - 1) * p->stride_h + 3; i++) {
        size_t y = b->y * p->stride_h + i - p->pad_top;
        b->in[i] = y < p->in_h ? p->in + y * p->in_row_stride : zeros;
        b->step[i] = y < p->in_h ? p->in_pixel_stride : 0;
    }
}

enum { ZERO_CHANNELS = 1024 };

static void run_3x3(const ufk_dwconv_args *p)
{
    static const float zeros[ZERO_CHANNELS];
    band b = {.p = p};
    bool clamp = p->epilogue.act == UFK_ACT_CLAMP;
    b.lo = v_set(clamp ? p->epilogue.lo : -INFINITY);
    b.hi = v_set(clamp ? p->epilogue.hi : INFINITY);
    for (b.y = p->y_begin; b.y < p->y_end; b.y += b.rows) {
        b.rows = p->y_end - b.y < ROWS ? 1 : ROWS;
        find_rows(&b, zeros);
        for (size_t c = 0; c < p->channels; c += LANES) {
            load_channel(&b, c);
            choose(p, b.n >= LANES)(&b);
        }
    }
}

/* ---- any kernel ---- */

static void one_pixel(const band *b, size_t y, size_t x)
{
    const ufk_dwconv_args *p = b->p;
    vec sum = v_set(0.0f);
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
            sum = v_fma(v_get(in, b->n), v_get(w, b->n), sum);
        }
    }
    finish(b, y, x, sum, (form){1, b->n >= LANES, UFK_ACT_SILU});
}

static void run_any(const ufk_dwconv_args *p)
{
    band b = {.p = p};
    const ufk_epilogue *e = &p->epilogue;
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t c = 0; c < p->channels; c += LANES) {
            b.channel = c;
            b.n = p->channels - c;
            b.bias = e->bias ? v_get(e->bias + c, b.n) : v_set(0.0f);
            b.slope = e->act == UFK_ACT_PRELU ? v_get(e->slope + c, b.n) : v_set(0.0f);
            for (size_t x = 0; x < p->out_w; x++)
                one_pixel(&b, y, x);
        }
}

static void V_ISA(ufk_dwconv_f32)(const ufk_dwconv_args *p)
{
    bool is_3x3 = p->kernel_h == 3 && p->kernel_w == 3 && p->dilation_h == 1 && p->dilation_w == 1;
    bool strides = p->stride_h == p->stride_w && (p->stride_w == 1 || p->stride_w == 2);
    if (is_3x3 && strides && p->channels <= ZERO_CHANNELS)
        run_3x3(p);
    else
        run_any(p);
}

void V_ISA(ufk_dwconv_select)(ufk_table *t)
{
    t->dwconv_f32 = V_ISA(ufk_dwconv_f32);
    t->dwconv_f32_name = "dwconv_f32_" V_NAME;
}
