/* What follows the FP32 sums of convolutions, 16 columns at a time. Included by files that are
 * compiled for AVX-512. Floor 2. */
#ifndef UFK_X86_CONV_EPILOGUE16_H
#define UFK_X86_CONV_EPILOGUE16_H

#include <immintrin.h>

#include "kernels/kernels.h"
#include "kernels/x86/inline.h"

/* 2^n * p(r), x = n ln 2 + r, |r| <= ln 2 / 2: Taylor to degree 7 (remainder below 2^-27), ends
 * clamped where exp leaves the floats; NaN stays NaN. */
ALWAYS_INLINE __m512 ufk_exp16(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x);
    x = _mm512_min_ps(_mm512_set1_ps(89.0f), x);
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 8);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693145752f), x); /* ln 2, high 16 bits */
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(1.42860677e-6f), r);
    __m512 p = _mm512_set1_ps(1.0f / 5040);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

ALWAYS_INLINE __m512 ufk_sigmoid16(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    return _mm512_div_ps(one, _mm512_add_ps(one, ufk_exp16(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

ALWAYS_INLINE __m512 ufk_hard_swish16(__m512 x)
{
    __m512 gate = _mm512_add_ps(x, _mm512_set1_ps(3.0f));
    gate = _mm512_min_ps(_mm512_set1_ps(6.0f), _mm512_max_ps(_mm512_setzero_ps(), gate));
    return _mm512_mul_ps(_mm512_mul_ps(x, gate), _mm512_set1_ps(1.0f / 6));
}

ALWAYS_INLINE __m512 ufk_prelu16(__m512 x, __m512 slope)
{
    const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    return _mm512_mask_mul_ps(x, negative, x, slope);
}

/* The whole of it for one pixel, any activation, the columns of `mask` from `j` on; `residual`
 * points at the first of them, or is NULL. */
ALWAYS_INLINE __m512 ufk_epilogue16(const ufk_epilogue *e, __m512 x, const float *residual,
                                    size_t j, __mmask16 mask)
{
    if (e->bias)
        x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, e->bias + j));
    if (residual)
        x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, residual));
    if (e->act == UFK_ACT_CLAMP)
        x = _mm512_min_ps(_mm512_set1_ps(e->hi), _mm512_max_ps(_mm512_set1_ps(e->lo), x));
    else if (e->act == UFK_ACT_PRELU)
        x = ufk_prelu16(x, _mm512_maskz_loadu_ps(mask, e->slope + j));
    else if (e->act == UFK_ACT_HARD_SWISH)
        x = ufk_hard_swish16(x);
    else if (e->act == UFK_ACT_SILU)
        x = _mm512_mul_ps(x, ufk_sigmoid16(x));
    else if (e->act == UFK_ACT_SIGMOID)
        x = ufk_sigmoid16(x);
    return x;
}

#endif
