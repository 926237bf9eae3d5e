/*
 * INT8 depthwise convolution for AVX-512 VNNI, 64 channels at a time.
 *
 * vpdpbusd adds four products of neighbouring bytes, so the bytes of four taps are interleaved
 * first: unpacking leaves four vectors of 16 channels, [lane][4 channels][4 taps], in an order that
 * packing at the end undoes by itself. Weights, scales and biases are brought into that order once
 * per block of channels. Taps outside the image read a block of the zero point.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/topics.h"

enum { BLOCK = 64, QUARTERS = 4, LANES = 16, MAX_TAPS = 64, MAX_GROUPS = MAX_TAPS / 4 };

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* One block of channels. */
typedef struct block {
    const ufk_qdwconv_args *args;
    size_t channel, count;
    __mmask64 mask;
    size_t taps, groups;
    __m512i weights[MAX_GROUPS][QUARTERS];
    __m512 scale[QUARTERS], bias[QUARTERS], slope[QUARTERS];
    uint8_t outside[BLOCK]; /* the zero point */
} block;

/* Four vectors of bytes to four vectors of interleaved taps. */
ALWAYS_INLINE void interleave(const __m512i in[4], __m512i out[QUARTERS])
{
    const __m512i ab_lo = _mm512_unpacklo_epi8(in[0], in[1]);
    const __m512i ab_hi = _mm512_unpackhi_epi8(in[0], in[1]);
    const __m512i cd_lo = _mm512_unpacklo_epi8(in[2], in[3]);
    const __m512i cd_hi = _mm512_unpackhi_epi8(in[2], in[3]);
    out[0] = _mm512_unpacklo_epi16(ab_lo, cd_lo);
    out[1] = _mm512_unpackhi_epi16(ab_lo, cd_lo);
    out[2] = _mm512_unpacklo_epi16(ab_hi, cd_hi);
    out[3] = _mm512_unpackhi_epi16(ab_hi, cd_hi);
}

/* Up to 64 floats in the order of channels to quarters: element e of lane l of quarter q is channel
 * 16 l + 4 q + e. */
static void to_quarters(__m512 out[QUARTERS], const float *in, size_t count)
{
    float padded[BLOCK] = {0}, ordered[BLOCK];
    memcpy(padded, in, count * sizeof *in);
    for (int q = 0; q < QUARTERS; q++)
        for (int lane = 0; lane < 4; lane++)
            memcpy(ordered + q * LANES + lane * 4, padded + lane * 16 + q * 4, 4 * sizeof *in);
    for (int q = 0; q < QUARTERS; q++)
        out[q] = _mm512_loadu_ps(ordered + q * LANES);
}

static void prepare(block *b, const ufk_qdwconv_args *a, size_t channel)
{
    b->args = a;
    b->channel = channel;
    b->count = a->channels - channel < BLOCK ? a->channels - channel : BLOCK;
    b->mask = ~(__mmask64)0 >> (BLOCK - b->count);
    b->taps = a->kernel_h * a->kernel_w;
    b->groups = (b->taps + 3) / 4;
    memset(b->outside, a->in_zero, sizeof b->outside);
    for (size_t g = 0; g < b->groups; g++) {
        __m512i rows[4];
        for (size_t i = 0; i < 4; i++)
            rows[i] = g * 4 + i < b->taps
                          ? _mm512_maskz_loadu_epi8(
                                b->mask, a->weights + (g * 4 + i) * a->channels + channel)
                          : _mm512_setzero_si512();
        interleave(rows, b->weights[g]);
    }
    to_quarters(b->scale, a->epilogue.scale + channel, b->count);
    to_quarters(b->bias, a->epilogue.bias + channel, b->count);
    if (a->epilogue.act == UFK_ACT_PRELU)
        to_quarters(b->slope, a->epilogue.slope + channel, b->count);
}

/* ---- one output pixel ---- */

ALWAYS_INLINE void sum_taps(const block *b, const uint8_t *const *tap, size_t taps,
                            __m512i sum[QUARTERS])
{
    for (int q = 0; q < QUARTERS; q++)
        sum[q] = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (size_t g = 0; g < (taps + 3) / 4; g++) {
        __m512i x[4], mixed[QUARTERS];
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++)
            x[i] = g * 4 + i < taps ? _mm512_maskz_loadu_epi8(b->mask, tap[g * 4 + i])
                                    : _mm512_setzero_si512();
        interleave(x, mixed);
#pragma GCC unroll 4
        for (int q = 0; q < QUARTERS; q++)
            sum[q] = _mm512_dpbusd_epi32(sum[q], mixed[q], b->weights[g][q]);
    }
}

/* What ufk_qfinish does, for one quarter. `residual` is interleaved with zeros. */
ALWAYS_INLINE __m512 finish(const block *b, int q, __m512i sum, const __m512i *residual)
{
    const ufk_qepilogue *e = &b->args->epilogue;
    __m512 v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), b->scale[q], b->bias[q]);
    if (residual)
        v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(residual[q]), _mm512_set1_ps(e->residual_scale), v);
    if (e->act == UFK_ACT_PRELU) {
        const __mmask16 negative = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ);
        v = _mm512_mask_mul_ps(v, negative, v, b->slope[q]);
        v = _mm512_fmadd_ps(v, _mm512_set1_ps(e->out_scale), _mm512_set1_ps(e->zero));
    } else if (e->act == UFK_ACT_HARD_SWISH) {
        __m512 gate = _mm512_fmadd_ps(v, _mm512_set1_ps(1.0f / 6), _mm512_set1_ps(0.5f));
        gate = _mm512_max_ps(gate, _mm512_setzero_ps());
        v = _mm512_mul_ps(v, _mm512_min_ps(gate, _mm512_set1_ps(1.0f)));
        v = _mm512_fmadd_ps(v, _mm512_set1_ps(e->out_scale), _mm512_set1_ps(e->zero));
    }
    v = _mm512_max_ps(v, _mm512_set1_ps(e->lo));
    return _mm512_min_ps(v, _mm512_set1_ps(e->hi));
}

static void store_floats(const block *b, float *out, const __m512 v[QUARTERS])
{
    float quarters[BLOCK], ordered[BLOCK];
    for (int q = 0; q < QUARTERS; q++)
        _mm512_storeu_ps(quarters + q * LANES, v[q]);
    for (int q = 0; q < QUARTERS; q++)
        for (int lane = 0; lane < 4; lane++)
            memcpy(ordered + lane * 16 + q * 4, quarters + q * LANES + lane * 4, 4 * sizeof *out);
    memcpy(out, ordered, b->count * sizeof *out);
}

ALWAYS_INLINE void one_pixel(const block *b, const uint8_t *const *tap, size_t taps, size_t pixel)
{
    const ufk_qdwconv_args *a = b->args;
    const ufk_qepilogue *e = &a->epilogue;
    const size_t at = pixel * a->channels + b->channel;
    __m512i sum[QUARTERS], residual[QUARTERS];
    __m512 v[QUARTERS];
    sum_taps(b, tap, taps, sum);
    if (e->residual) {
        const __m512i none = _mm512_setzero_si512();
        const __m512i r[4] = {
            _mm512_maskz_loadu_epi8(b->mask, e->residual + pixel * e->residual_stride + b->channel),
            none, none, none};
        interleave(r, residual);
    }
#pragma GCC unroll 4
    for (int q = 0; q < QUARTERS; q++)
        v[q] = finish(b, q, sum[q], e->residual ? residual : NULL);
    if (a->out_f32) {
        store_floats(b, a->out_f32 + at, v);
        return;
    }
    const __m512i words_lo = _mm512_packs_epi32(_mm512_cvtps_epi32(v[0]), _mm512_cvtps_epi32(v[1]));
    const __m512i words_hi = _mm512_packs_epi32(_mm512_cvtps_epi32(v[2]), _mm512_cvtps_epi32(v[3]));
    _mm512_mask_storeu_epi8(a->out + at, b->mask, _mm512_packus_epi16(words_lo, words_hi));
}

/* ---- the walk over pixels ---- */

/* Where each tap of output pixel (y, x) lies. */
ALWAYS_INLINE void find_taps(const block *b, size_t y, size_t x, size_t kernel_h, size_t kernel_w,
                             const uint8_t **tap)
{
    const ufk_qdwconv_args *a = b->args;
    for (size_t ky = 0; ky < kernel_h; ky++) {
        const size_t iy = y * a->stride_h + ky * a->dilation_h - a->pad_top; /* wraps below zero */
        for (size_t kx = 0; kx < kernel_w; kx++) {
            const size_t ix = x * a->stride_w + kx * a->dilation_w - a->pad_left;
            const bool inside = iy < a->in_h && ix < a->in_w;
            tap[ky * kernel_w + kx] =
                inside ? a->in + (iy * a->in_w + ix) * a->channels + b->channel : b->outside;
        }
    }
}

/* Whether all columns of output x are inside the image. */
ALWAYS_INLINE bool is_inner(const ufk_qdwconv_args *a, size_t x)
{
    const size_t first = x * a->stride_w;
    return first >= a->pad_left &&
           first - a->pad_left + (a->kernel_w - 1) * a->dilation_w < a->in_w;
}

static void row_3x3(const block *b, size_t y)
{
    const ufk_qdwconv_args *a = b->args;
    const uint8_t *tap[9];
    const size_t step = a->stride_w * a->channels;
    size_t moves[3];
    for (size_t ky = 0; ky < 3; ky++)
        moves[ky] = y * a->stride_h + ky * a->dilation_h - a->pad_top < a->in_h ? step : 0;
    bool known = false;
    for (size_t x = 0; x < a->out_w; x++) {
        const bool inner = is_inner(a, x);
        if (known && inner) {
            for (int t = 0; t < 9; t++)
                tap[t] += moves[t / 3];
        } else {
            find_taps(b, y, x, 3, 3, tap);
        }
        known = inner;
        one_pixel(b, tap, 9, y * a->out_w + x);
    }
}

static void row_any(const block *b, size_t y)
{
    const ufk_qdwconv_args *a = b->args;
    const uint8_t *tap[MAX_TAPS];
    for (size_t x = 0; x < a->out_w; x++) {
        find_taps(b, y, x, a->kernel_h, a->kernel_w, tap);
        one_pixel(b, tap, b->taps, y * a->out_w + x);
    }
}

static void ufk_dwconv_u8_avx512vnni(const ufk_qdwconv_args *a)
{
    block b;
    if (a->kernel_h * a->kernel_w > MAX_TAPS) {
        ufk_dwconv_u8_c(a);
        return;
    }
    for (size_t c = 0; c < a->channels; c += BLOCK) {
        prepare(&b, a, c);
        for (size_t y = a->y_begin; y < a->y_end; y++) {
            if (a->kernel_h == 3 && a->kernel_w == 3)
                row_3x3(&b, y);
            else
                row_any(&b, y);
        }
    }
}

void ufk_qdwconv_select_avx512vnni(ufk_table *t)
{
    t->dwconv_u8 = ufk_dwconv_u8_avx512vnni;
    t->dwconv_u8_name = "dwconv_u8_avx512vnni";
}
