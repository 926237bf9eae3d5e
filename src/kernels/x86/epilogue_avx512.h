/* The activations of an epilogue on 16 floats. Only for files compiled for AVX-512: static, so that
 * no baseline object can share a copy. */
#ifndef UFK_X86_EPILOGUE_AVX512_H
#define UFK_X86_EPILOGUE_AVX512_H

#include <immintrin.h>

#include "kernels/kernels.h"

/* exp by 2^n * p(r), |r| <= ln2/2, degree 6: relative error below 2^-22. */
static inline __m512 ufk_exp_avx512(__m512 x)
{
    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.3f)), _mm512_set1_ps(88.3f));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.0f / 720);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

static inline __m512 ufk_sigmoid_avx512(__m512 v)
{
    __m512 one = _mm512_set1_ps(1);
    return _mm512_div_ps(one,
                         _mm512_add_ps(one, ufk_exp_avx512(_mm512_sub_ps(_mm512_setzero_ps(), v))));
}

static inline __m512 ufk_activate_avx512(const ufk_epilogue *e, __m512 v, __m512 slope)
{
    switch (e->act) {
    case UFK_ACT_NONE:
        return v;
    case UFK_ACT_CLAMP:
        return _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(e->lo)), _mm512_set1_ps(e->hi));
    case UFK_ACT_PRELU:
        return _mm512_mask_mul_ps(v, _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ), v,
                                  slope);
    case UFK_ACT_HARD_SWISH: {
        __m512 gate = _mm512_fmadd_ps(v, _mm512_set1_ps(1.0f / 6), _mm512_set1_ps(0.5f));
        gate = _mm512_min_ps(_mm512_max_ps(gate, _mm512_setzero_ps()), _mm512_set1_ps(1));
        return _mm512_mul_ps(v, gate);
    }
    case UFK_ACT_SILU:
        return _mm512_mul_ps(v, ufk_sigmoid_avx512(v));
    case UFK_ACT_SIGMOID:
        return ufk_sigmoid_avx512(v);
    }
    return v;
}

#endif
