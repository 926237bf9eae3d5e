/*
 * What follows the sums of INT8 convolutions, for 8 columns in 256 bits. Included by files that are
 * compiled for AVX2 or later; everything is inlined into them. Floor 2.
 */
#ifndef UFK_X86_QCONV_AVX_H
#define UFK_X86_QCONV_AVX_H

#include <immintrin.h>
#include <string.h>

#include "kernels/kernels.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

enum { UFK_QCOLUMNS = 8 };

/* What ufk_qfinish does, for 8 columns; the low 8 bytes of `residual` where the epilogue has one.
 */
ALWAYS_INLINE __m256 ufk_finish8(const ufk_qepilogue *e, __m256i sum, __m256 scale, __m256 bias,
                                 __m256 slope, __m128i residual)
{
    __m256 v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, bias);
    if (e->residual) {
        const __m256i r = _mm256_cvtepu8_epi32(residual);
        v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(r), _mm256_set1_ps(e->residual_scale), v);
    }
    const __m256 zero = _mm256_setzero_ps();
    if (e->act == UFK_ACT_PRELU) {
        v = _mm256_blendv_ps(v, _mm256_mul_ps(v, slope), _mm256_cmp_ps(v, zero, _CMP_LT_OQ));
        v = _mm256_fmadd_ps(v, _mm256_set1_ps(e->out_scale), _mm256_set1_ps(e->zero));
    } else if (e->act == UFK_ACT_HARD_SWISH) {
        __m256 gate = _mm256_fmadd_ps(v, _mm256_set1_ps(1.0f / 6), _mm256_set1_ps(0.5f));
        gate = _mm256_max_ps(gate, zero);
        v = _mm256_mul_ps(v, _mm256_min_ps(gate, _mm256_set1_ps(1.0f)));
        v = _mm256_fmadd_ps(v, _mm256_set1_ps(e->out_scale), _mm256_set1_ps(e->zero));
    }
    v = _mm256_max_ps(v, _mm256_set1_ps(e->lo));
    return _mm256_min_ps(v, _mm256_set1_ps(e->hi));
}

/* `count` floats, zeros behind. */
ALWAYS_INLINE __m256 ufk_load_some8(const float *p, size_t count)
{
    float padded[UFK_QCOLUMNS] = {0};
    if (count == UFK_QCOLUMNS)
        return _mm256_loadu_ps(p);
    memcpy(padded, p, count * sizeof *p);
    return _mm256_loadu_ps(padded);
}

/* `count` bytes in the low half, zeros behind. */
ALWAYS_INLINE __m128i ufk_load_bytes8(const uint8_t *p, size_t count)
{
    uint8_t padded[UFK_QCOLUMNS] = {0};
    if (count < UFK_QCOLUMNS)
        p = memcpy(padded, p, count);
    return _mm_loadl_epi64((const __m128i *)(const void *)p);
}

/* Columns j.. of pixel i, `columns` of 8. */
ALWAYS_INLINE void ufk_store8(const ufk_qconv_args *g, size_t i, size_t j, size_t columns, __m256 v)
{
    if (g->c_f32) {
        float row[UFK_QCOLUMNS];
        _mm256_storeu_ps(row, v);
        memcpy(g->c_f32 + i * g->c_stride + j, row, columns * sizeof *row);
        return;
    }
    const __m256i x = _mm256_cvtps_epi32(v);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    const __m128i bytes = _mm_packus_epi16(words, words);
    uint8_t *c = g->c + i * g->c_stride + j;
    if (columns == UFK_QCOLUMNS)
        _mm_storel_epi64((__m128i *)(void *)c, bytes);
    else {
        uint8_t row[16];
        _mm_storeu_si128((__m128i *)(void *)row, bytes);
        memcpy(c, row, columns);
    }
}

/* What all pixels share: the columns from j on. */
typedef struct ufk_columns8 {
    __m256 scale, bias, slope;
} ufk_columns8;

ALWAYS_INLINE ufk_columns8 ufk_load_columns8(const ufk_qepilogue *e, size_t j, size_t columns)
{
    return (ufk_columns8){
        ufk_load_some8(e->scale + j, columns), ufk_load_some8(e->bias + j, columns),
        e->act == UFK_ACT_PRELU ? ufk_load_some8(e->slope + j, columns) : _mm256_setzero_ps()};
}

/* What ufk_finish8 does, for bytes of a known activation: a value below lo or NaN, whose integer is
 * then the least there is, becomes lo among the bytes. */
ALWAYS_INLINE __m256i ufk_finish_bytes8(const ufk_qepilogue *e, __m256i sum, const ufk_columns8 *c,
                                        const uint8_t *residual, ufk_act act)
{
    __m256 v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), c->scale, c->bias);
    if (residual) {
        const __m256i r =
            _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)residual));
        v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(r), _mm256_set1_ps(e->residual_scale), v);
    }
    if (act == UFK_ACT_PRELU) {
        v = _mm256_blendv_ps(v, _mm256_mul_ps(v, c->slope), v);
        v = _mm256_fmadd_ps(v, _mm256_set1_ps(e->out_scale), _mm256_set1_ps(e->zero));
    }
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(e->hi), v));
}

/* Everything that follows the sums of pixel i. */
ALWAYS_INLINE void ufk_put8(const ufk_qconv_args *g, size_t i, size_t j, size_t columns,
                            const ufk_columns8 *c, __m256i sum)
{
    const ufk_qepilogue *e = &g->epilogue;
    __m128i residual = _mm_setzero_si128();
    if (e->residual)
        residual = ufk_load_bytes8(e->residual + i * e->residual_stride + j, columns);
    ufk_store8(g, i, j, columns, ufk_finish8(e, sum, c->scale, c->bias, c->slope, residual));
}

#endif
