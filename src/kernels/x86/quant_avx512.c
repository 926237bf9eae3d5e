/* Between FP32 and bytes, and simple operators on bytes: AVX-512. */
#include <immintrin.h>

#include "kernels/topics.h"

static inline __mmask16 tail_mask(size_t left)
{
    return left >= 16 ? 0xFFFF : (__mmask16)((1u << left) - 1);
}

/* max first: of a NaN and 0 it takes the second, 0. */
static inline __m128i saturate(__m512 v)
{
    v = _mm512_min_ps(_mm512_max_ps(v, _mm512_setzero_ps()), _mm512_set1_ps(255));
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
}

static inline __m512 load_bytes(const uint8_t *p, __mmask16 mask)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, p)));
}

/* Quotients by a division, or, three times as fast, by the reciprocal: its product with x is off by
 * two units at most, and two corrections by the remainder, which is exact, make of it what the
 * division gives (Markstein 1990). What is out of range would give NaN and is cut before. */
typedef struct quotient {
    __m512 scale, reciprocal, least, most;
    bool divide; /* a scale so small or large that remainders could underflow */
} quotient;

static inline __m512 quotient_of(const quotient *q, __m512 x)
{
    if (q->divide)
        return _mm512_div_ps(x, q->scale);
    x = _mm512_min_ps(_mm512_max_ps(x, q->least),
                      q->most); /* max first: of a NaN it is the bound */
    __m512 y = _mm512_mul_ps(x, q->reciprocal);
    y = _mm512_fmadd_ps(_mm512_fnmadd_ps(y, q->scale, x), q->reciprocal, y);
    return _mm512_fmadd_ps(_mm512_fnmadd_ps(y, q->scale, x), q->reciprocal, y);
}

static void ufk_quantize_u8_avx512(uint8_t *out, const float *in, size_t count, float scale,
                                   uint8_t zero)
{
    const __m512 lo = _mm512_set1_ps(-(float)zero), hi = _mm512_set1_ps((float)(255 - zero));
    const __m512i shift = _mm512_set1_epi32(zero);
    const quotient q = {.scale = _mm512_set1_ps(scale),
                        .reciprocal = _mm512_set1_ps(1 / scale),
                        .least = _mm512_set1_ps(-300 * scale),
                        .most = _mm512_set1_ps(300 * scale),
                        .divide = !(scale > 0x1p-60f && scale < 0x1p60f)};
    for (size_t i = 0; i < count; i += 16) {
        const __mmask16 mask = tail_mask(count - i);
        __m512 v = quotient_of(&q, _mm512_maskz_loadu_ps(mask, in + i));
        v = _mm512_min_ps(_mm512_max_ps(v, lo), hi);
        const __m512i x = _mm512_add_epi32(_mm512_cvtps_epi32(v), shift);
        _mm_mask_storeu_epi8(out + i, mask, _mm512_cvtepi32_epi8(x));
    }
}

static void ufk_dequantize_u8_avx512(float *out, const uint8_t *in, size_t count, float scale,
                                     float zero)
{
    const __m512 factor = _mm512_set1_ps(scale), shift = _mm512_set1_ps(zero);
    for (size_t i = 0; i < count; i += 16) {
        const __mmask16 mask = tail_mask(count - i);
        const __m512 v = _mm512_mul_ps(_mm512_sub_ps(load_bytes(in + i, mask), shift), factor);
        _mm512_mask_storeu_ps(out + i, mask, v);
    }
}

static void ufk_add_u8_avx512(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t count,
                              float a_scale, float b_scale, float shift)
{
    const __m512 sa = _mm512_set1_ps(a_scale), sb = _mm512_set1_ps(b_scale);
    const __m512 offset = _mm512_set1_ps(shift);
    for (size_t i = 0; i < count; i += 16) {
        const __mmask16 mask = tail_mask(count - i);
        const __m512 v = _mm512_fmadd_ps(load_bytes(a + i, mask), sa,
                                         _mm512_fmadd_ps(load_bytes(b + i, mask), sb, offset));
        _mm_mask_storeu_epi8(out + i, mask, saturate(v));
    }
}

static void max_of_window(uint8_t *out, const uint8_t *in, const ufk_pool_args *p, size_t y,
                          size_t x)
{
    for (size_t c = 0; c < p->channels; c += 64) {
        const size_t left = p->channels - c;
        const __mmask64 mask = left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
        __m512i max = _mm512_setzero_si512();
        for (size_t ky = 0; ky < p->kernel_h; ky++)
            for (size_t kx = 0; kx < p->kernel_w; kx++) {
                const size_t iy = y * p->stride_h + ky * p->dilation_h - p->pad_top;
                const size_t ix = x * p->stride_w + kx * p->dilation_w - p->pad_left;
                if (iy < p->in_h && ix < p->in_w)
                    max = _mm512_max_epu8(
                        max,
                        _mm512_maskz_loadu_epi8(mask, in + (iy * p->in_w + ix) * p->channels + c));
            }
        _mm512_mask_storeu_epi8(out + c, mask, max);
    }
}

static void ufk_max_pool_u8_avx512(uint8_t *out, const uint8_t *in, const ufk_pool_args *p)
{
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++)
            max_of_window(out + (y * p->out_w + x) * p->channels, in, p, y, x);
}

void ufk_quant_select_avx512(ufk_table *t)
{
    t->quantize_u8 = ufk_quantize_u8_avx512;
    t->dequantize_u8 = ufk_dequantize_u8_avx512;
    t->add_u8 = ufk_add_u8_avx512;
    t->max_pool_u8 = ufk_max_pool_u8_avx512;
    t->quant_u8_name = "quant_u8_avx512";
}
