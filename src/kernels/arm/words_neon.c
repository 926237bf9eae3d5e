/*
 * INT16 on NEON: smlal multiplies four words by one and adds, the same number of products as FP32
 * has; what is gained is half the memory. Tiles of 4 pixels by 8 columns.
 */
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "kernels/topics.h"

enum { MR = 4, NR = 8 };

static inline float32x4_t floats_of(const int16_t *p)
{
    return vcvtq_f32_s32(vmovl_s16(vld1_s16(p)));
}

/* Four channels from c on. */
static inline float32x4_t finish(int32x4_t sum, const ufk_word_epilogue *e, size_t c,
                                 const int16_t *residual)
{
    float32x4_t v = vfmaq_f32(vld1q_f32(e->bias + c), vcvtq_f32_s32(sum), vld1q_f32(e->scale + c));
    if (residual)
        v = vfmaq_f32(v, floats_of(residual), vdupq_n_f32(e->residual_scale));
    if (e->slope)
        v = vbslq_f32(vcltzq_f32(v), vmulq_f32(v, vld1q_f32(e->slope + c)), v);
    /* NaN and zeros of either sign become the bound, as elsewhere. */
    const float32x4_t lo = vdupq_n_f32(e->lo), hi = vdupq_n_f32(e->hi);
    v = vbslq_f32(vcgtq_f32(v, lo), v, lo);
    return vbslq_f32(vcltq_f32(v, hi), v, hi);
}

static inline void put(int16_t *words, float *floats, float32x4_t lo, float32x4_t hi)
{
    if (floats) {
        vst1q_f32(floats, lo);
        vst1q_f32(floats + 4, hi);
    } else {
        vst1q_s16(words,
                  vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(lo)), vqmovn_s32(vcvtnq_s32_f32(hi))));
    }
}

/* ---- convolution ---- */

static inline void multiply(int32x4_t sum[2], int16x8_t w, int16_t x)
{
    sum[0] = vmlal_n_s16(sum[0], vget_low_s16(w), x);
    sum[1] = vmlal_high_n_s16(sum[1], w, x);
}

/* `rows` pixels from i on, 8 columns from j on. */
static inline __attribute__((always_inline)) void tile(const ufk_word_conv_args *g, size_t i,
                                                       size_t j, const int16_t *b, const int rows)
{
    const ufk_word_epilogue *e = &g->epilogue;
    int32x4_t sums[MR][2];
    for (int r = 0; r < rows; r++)
        sums[r][0] = sums[r][1] = vdupq_n_s32(0);
    const int16_t *a = g->a + i * g->a_stride;
    for (size_t y = 0; y < g->runs; y++, a += g->run_stride) {
        size_t k = 0;
        for (; k + 4 <= g->run_length; k += 4, b += 4 * NR) {
            const int16x8_t w0 = vld1q_s16(b), w1 = vld1q_s16(b + NR);
            const int16x8_t w2 = vld1q_s16(b + 2 * NR), w3 = vld1q_s16(b + 3 * NR);
            for (int r = 0; r < rows; r++) {
                const int16x4_t x = vld1_s16(a + (size_t)r * g->a_stride + k);
                multiply(sums[r], w0, vget_lane_s16(x, 0));
                multiply(sums[r], w1, vget_lane_s16(x, 1));
                multiply(sums[r], w2, vget_lane_s16(x, 2));
                multiply(sums[r], w3, vget_lane_s16(x, 3));
            }
        }
        for (; k < g->run_length; k++, b += NR)
            for (int r = 0; r < rows; r++)
                multiply(sums[r], vld1q_s16(b), a[(size_t)r * g->a_stride + k]);
    }
    for (int r = 0; r < rows; r++) {
        const size_t at = (i + (size_t)r) * g->c_stride + j;
        const int16_t *residual =
            e->residual ? e->residual + (i + (size_t)r) * e->residual_stride + j : NULL;
        put(g->c ? g->c + at : NULL, g->c_f32 ? g->c_f32 + at : NULL,
            finish(sums[r][0], e, j, residual),
            finish(sums[r][1], e, j + 4, residual ? residual + 4 : NULL));
    }
}

/* One pixel and the last columns, fewer than 8. */
static void narrow_tile(const ufk_word_conv_args *g, size_t i, size_t j, const int16_t *b)
{
    const size_t columns = g->n - j, at = i * g->c_stride + j;
    int16_t words[NR], residual[NR] = {0};
    float floats[NR];
    ufk_word_conv_args one = *g;
    one.a += i * g->a_stride;
    one.epilogue.scale += j;
    one.epilogue.bias += j;
    one.epilogue.slope = g->epilogue.slope ? g->epilogue.slope + j : NULL;
    one.c = words;
    one.c_f32 = g->c_f32 ? floats : NULL;
    if (g->epilogue.residual) {
        memcpy(residual, g->epilogue.residual + i * g->epilogue.residual_stride + j,
               columns * sizeof *residual);
        one.epilogue.residual = residual;
    }
    tile(&one, 0, 0, b, 1);
    if (g->c_f32)
        memcpy(g->c_f32 + at, floats, columns * sizeof *floats);
    else
        memcpy(g->c + at, words, columns * sizeof *words);
}

static void ufk_conv_i16_neon(const ufk_word_conv_args *g)
{
    const size_t depth = g->runs * g->run_length;
    size_t j = 0;
    for (; j + NR <= g->n; j += NR) {
        size_t i = 0;
        for (; i + MR <= g->m; i += MR)
            tile(g, i, j, g->b + j * depth, MR);
        for (; i < g->m; i++)
            tile(g, i, j, g->b + j * depth, 1);
    }
    for (size_t i = 0; j < g->n && i < g->m; i++)
        narrow_tile(g, i, j, g->b + j * depth);
}

/* ---- depthwise, 8 channels of a pixel ---- */

static void window(const ufk_word_dwconv_args *a, size_t y, size_t x, size_t c)
{
    const ufk_word_epilogue *e = &a->epilogue;
    const size_t pixel = y * a->out_w + x, at = pixel * a->channels + c;
    int32x4_t lo = vdupq_n_s32(0), hi = lo;
    for (size_t ky = 0; ky < a->kernel_h; ky++) {
        const size_t iy = y * a->stride_h + ky * a->dilation_h - a->pad_top;
        for (size_t kx = 0; iy < a->in_h && kx < a->kernel_w; kx++) {
            const size_t ix = x * a->stride_w + kx * a->dilation_w - a->pad_left;
            if (ix >= a->in_w) /* both wrap below zero */
                continue;
            const int16x8_t v = vld1q_s16(a->in + (iy * a->in_w + ix) * a->channels + c);
            const int16x8_t w = vld1q_s16(a->weights + (ky * a->kernel_w + kx) * a->channels + c);
            lo = vmlal_s16(lo, vget_low_s16(v), vget_low_s16(w));
            hi = vmlal_high_s16(hi, v, w);
        }
    }
    const int16_t *residual = e->residual ? e->residual + pixel * e->residual_stride + c : NULL;
    put(a->out ? a->out + at : NULL, a->out_f32 ? a->out_f32 + at : NULL,
        finish(lo, e, c, residual), finish(hi, e, c + 4, residual ? residual + 4 : NULL));
}

static void ufk_dwconv_i16_neon(const ufk_word_dwconv_args *a)
{
    if (a->channels < 8) {
        ufk_dwconv_i16_c(a);
        return;
    }
    for (size_t y = a->y_begin; y < a->y_end; y++)
        for (size_t x = 0; x < a->out_w; x++)
            for (size_t c = 0; c < a->channels; c += 8) /* the last ones overlap */
                window(a, y, x, c + 8 <= a->channels ? c : a->channels - 8);
}

/* ---- the rest; tails go through a padded copy ---- */

static inline int16x4_t saturate(float32x4_t v)
{
    return vqmovn_s32(vcvtnq_s32_f32(v)); /* both saturate */
}

static inline void quantize4(int16_t *out, const float *in, float32x4_t scale)
{
    vst1_s16(out, saturate(vdivq_f32(vld1q_f32(in), scale))); /* NaN converts to 0 */
}

static void ufk_quantize_i16_neon(int16_t *out, const float *in, size_t count, float scale)
{
    const float32x4_t by = vdupq_n_f32(scale);
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        quantize4(out + i, in + i, by);
    if (i < count) {
        float last[4] = {0};
        int16_t words[4];
        memcpy(last, in + i, (count - i) * sizeof *in);
        quantize4(words, last, by);
        memcpy(out + i, words, (count - i) * sizeof *out);
    }
}

static void ufk_quantize_planes3_i16_neon(int16_t *out, const float *in, size_t pixels, float scale)
{
    const float32x4_t by = vdupq_n_f32(scale);
    size_t i = 0;
    for (; i + 4 <= pixels; i += 4) {
        int16x4x3_t v;
        for (size_t c = 0; c < 3; c++)
            v.val[c] = saturate(vdivq_f32(vld1q_f32(in + c * pixels + i), by));
        vst3_s16(out + 3 * i, v);
    }
    for (; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            ufk_quantize_i16_neon(out + 3 * i + c, in + c * pixels + i, 1, scale);
}

static void ufk_dequantize_i16_neon(float *out, const int16_t *in, size_t count, float scale)
{
    const float32x4_t by = vdupq_n_f32(scale);
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        vst1q_f32(out + i, vmulq_f32(floats_of(in + i), by));
    for (; i < count; i++)
        out[i] = (float)in[i] * scale;
}

static inline void add4(int16_t *out, const int16_t *a, const int16_t *b, float32x4_t sa,
                        float32x4_t sb)
{
    vst1_s16(out, saturate(vfmaq_f32(vmulq_f32(floats_of(b), sb), floats_of(a), sa)));
}

static void ufk_add_i16_neon(int16_t *out, const int16_t *a, const int16_t *b, size_t count,
                             float a_scale, float b_scale)
{
    const float32x4_t sa = vdupq_n_f32(a_scale), sb = vdupq_n_f32(b_scale);
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        add4(out + i, a + i, b + i, sa, sb);
    if (i < count) {
        int16_t last_a[4] = {0}, last_b[4] = {0}, words[4];
        memcpy(last_a, a + i, (count - i) * sizeof *a);
        memcpy(last_b, b + i, (count - i) * sizeof *b);
        add4(words, last_a, last_b, sa, sb);
        memcpy(out + i, words, (count - i) * sizeof *out);
    }
}

/* The maximum of `max` and `in`, word by word. */
static void take_max(int16_t *max, const int16_t *in, size_t count)
{
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        vst1q_s16(max + i, vmaxq_s16(vld1q_s16(max + i), vld1q_s16(in + i)));
    for (; i < count; i++)
        max[i] = in[i] > max[i] ? in[i] : max[i];
}

static void ufk_max_pool_i16_neon(int16_t *out, const int16_t *in, const ufk_pool_args *p)
{
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++) {
            int16_t *to = out + (y * p->out_w + x) * p->channels;
            for (size_t c = 0; c < p->channels; c++)
                to[c] = INT16_MIN;
            for (size_t t = 0; t < p->kernel_h * p->kernel_w; t++) {
                const size_t iy = y * p->stride_h + t / p->kernel_w * p->dilation_h - p->pad_top;
                const size_t ix = x * p->stride_w + t % p->kernel_w * p->dilation_w - p->pad_left;
                if (iy < p->in_h && ix < p->in_w) /* both wrap below zero */
                    take_max(to, in + (iy * p->in_w + ix) * p->channels, p->channels);
            }
        }
}

void ufk_words_select_neon(ufk_table *t)
{
    t->words_nr = NR;
    t->words_group = 1;
    t->conv_i16 = ufk_conv_i16_neon;
    t->dwconv_i16 = ufk_dwconv_i16_neon;
    t->quantize_i16 = ufk_quantize_i16_neon;
    t->quantize_planes3_i16 = ufk_quantize_planes3_i16_neon;
    t->dequantize_i16 = ufk_dequantize_i16_neon;
    t->add_i16 = ufk_add_i16_neon;
    t->max_pool_i16 = ufk_max_pool_i16_neon;
    t->words_name = "words_neon";
}
