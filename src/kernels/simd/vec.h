/*
 * Vectors of floats, one meaning on each instruction set, so that a kernel bound by memory is
 * written once (simd/<topic>_body.h) and compiled for each (x86/<topic>_avx2.c, arm/<topic>_neon.c,
 * ...). Kernels bound by arithmetic have files of their own. Everything is static: no object of the
 * baseline can come to share code that was compiled for a newer machine.
 *
 * v_load_n and v_store_n take the first n < LANES elements; loaded lanes past them are 0.
 * v_min and v_max give the second operand when one is NaN; v_select(m, a, b) is a where m holds.
 */
#ifndef UFK_SIMD_VEC_H
#define UFK_SIMD_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

#define V_INLINE static inline __attribute__((always_inline, unused))

#if defined(__AVX512F__)

#include <immintrin.h>
#define LANES 16
#define V_ISA(name) name##_avx512
#define V_NAME "avx512"
typedef __m512 vec;
typedef __mmask16 vmask;

V_INLINE __mmask16 v_first(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}
#define v_load(p) _mm512_loadu_ps(p)
#define v_store(p, v) _mm512_storeu_ps(p, v)
#define v_load_n(p, n) _mm512_maskz_loadu_ps(v_first(n), p)
#define v_store_n(p, v, n) _mm512_mask_storeu_ps(p, v_first(n), v)
#define v_set(x) _mm512_set1_ps(x)
#define v_add(a, b) _mm512_add_ps(a, b)
#define v_sub(a, b) _mm512_sub_ps(a, b)
#define v_mul(a, b) _mm512_mul_ps(a, b)
#define v_div(a, b) _mm512_div_ps(a, b)
#define v_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define v_min(a, b) _mm512_min_ps(a, b)
#define v_max(a, b) _mm512_max_ps(a, b)
#define v_sqrt(a) _mm512_sqrt_ps(a)
#define v_abs(a) _mm512_abs_ps(a)
#define v_round(a) _mm512_roundscale_ps(a, 8)
#define v_less(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)
#define v_select(m, a, b) _mm512_mask_blend_ps(m, b, a)
#define v_sum(a) _mm512_reduce_add_ps(a)
#define v_largest(a) _mm512_reduce_max_ps(a)
/* a * 2^n, n whole. */
#define v_scale2(a, n) _mm512_scalef_ps(a, n)

#elif defined(__AVX2__)

#include <immintrin.h>
#define LANES 8
#define V_ISA(name) name##_avx2
#define V_NAME "avx2"
typedef __m256 vec;
typedef __m256 vmask;

V_INLINE __m256i v_first(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#define v_load(p) _mm256_loadu_ps(p)
#define v_store(p, v) _mm256_storeu_ps(p, v)
#define v_load_n(p, n) _mm256_maskload_ps(p, v_first(n))
#define v_store_n(p, v, n) _mm256_maskstore_ps(p, v_first(n), v)
#define v_set(x) _mm256_set1_ps(x)
#define v_add(a, b) _mm256_add_ps(a, b)
#define v_sub(a, b) _mm256_sub_ps(a, b)
#define v_mul(a, b) _mm256_mul_ps(a, b)
#define v_div(a, b) _mm256_div_ps(a, b)
#define v_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define v_min(a, b) _mm256_min_ps(a, b)
#define v_max(a, b) _mm256_max_ps(a, b)
#define v_sqrt(a) _mm256_sqrt_ps(a)
#define v_abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
#define v_round(a) _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_less(a, b) _mm256_cmp_ps(a, b, _CMP_LT_OQ)
#define v_select(m, a, b) _mm256_blendv_ps(b, a, m)
V_INLINE float v_sum(vec a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
V_INLINE float v_largest(vec a)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
/* In two steps, because 2^n alone may leave the floats where the product does not. */
V_INLINE vec v_scale2(vec a, vec n)
{
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    __m256i rest = _mm256_sub_epi32(whole, half), bias = _mm256_set1_epi32(127);
    vec x = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    vec y = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(a, x), y);
}

#elif defined(__aarch64__)

#include <arm_neon.h>
#include <string.h>
#define LANES 4
#define V_ISA(name) name##_neon
#define V_NAME "neon"
typedef float32x4_t vec;
typedef uint32x4_t vmask;

V_INLINE vec v_load_n(const float *p, size_t n)
{
    float t[4] = {0};
    memcpy(t, p, n * sizeof *p);
    return vld1q_f32(t);
}
V_INLINE void v_store_n(float *p, vec v, size_t n)
{
    float t[4];
    vst1q_f32(t, v);
    memcpy(p, t, n * sizeof *p);
}
#define v_load(p) vld1q_f32(p)
#define v_store(p, v) vst1q_f32(p, v)
#define v_set(x) vdupq_n_f32(x)
#define v_add(a, b) vaddq_f32(a, b)
#define v_sub(a, b) vsubq_f32(a, b)
#define v_mul(a, b) vmulq_f32(a, b)
#define v_div(a, b) vdivq_f32(a, b)
#define v_fma(a, b, c) vfmaq_f32(c, a, b)
#define v_sqrt(a) vsqrtq_f32(a)
#define v_abs(a) vabsq_f32(a)
#define v_round(a) vrndnq_f32(a)
#define v_less(a, b) vcltq_f32(a, b)
#define v_select(m, a, b) vbslq_f32(m, a, b)
#define v_sum(a) vaddvq_f32(a)
#define v_largest(a) vmaxvq_f32(a)
V_INLINE vec v_min(vec a, vec b)
{
    return v_select(v_less(a, b), a, b);
}
V_INLINE vec v_max(vec a, vec b)
{
    return v_select(v_less(b, a), a, b);
}
V_INLINE vec v_scale2(vec a, vec n)
{
    int32x4_t whole = vcvtnq_s32_f32(n), half = vshrq_n_s32(whole, 1);
    int32x4_t rest = vsubq_s32(whole, half), bias = vdupq_n_s32(127);
    vec x = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    vec y = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
    return vmulq_f32(vmulq_f32(a, x), y);
}

#endif

/* n >= LANES means a whole vector. */
V_INLINE vec v_get(const float *p, size_t n)
{
    return n >= LANES ? v_load(p) : v_load_n(p, n);
}
V_INLINE void v_put(float *p, vec v, size_t n)
{
    if (n >= LANES)
        v_store(p, v);
    else
        v_store_n(p, v, n);
}

/* ---- functions: 2^n * p(r) with |r| <= ln 2 / 2, degree 7; relative error below 2^-22 ---- */

V_INLINE vec v_exp(vec x)
{
    x = v_min(v_set(89.0f), v_max(v_set(-104.0f), x));
    vec n = v_round(v_mul(x, v_set(1.44269504f)));
    vec r = v_fma(n, v_set(-0.693359375f), x);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    vec p = v_set(1.0f / 5040);
    p = v_fma(p, r, v_set(1.0f / 720));
    p = v_fma(p, r, v_set(1.0f / 120));
    p = v_fma(p, r, v_set(1.0f / 24));
    p = v_fma(p, r, v_set(1.0f / 6));
    p = v_fma(p, r, v_set(0.5f));
    p = v_fma(p, r, v_set(1.0f));
    p = v_fma(p, r, v_set(1.0f));
    return v_scale2(p, n);
}

V_INLINE vec v_sigmoid(vec x)
{
    vec one = v_set(1.0f);
    return v_div(one, v_add(one, v_exp(v_sub(v_set(0.0f), x))));
}

/* x / (1 + exp(-x)), written for negative x so that nothing overflows. */
V_INLINE vec v_silu(vec x)
{
    vec e = v_exp(v_sub(v_set(0.0f), v_abs(x))),
        top = v_select(v_less(x, v_set(0.0f)), v_mul(x, e), x);
    return v_div(top, v_add(v_set(1.0f), e));
}

V_INLINE vec v_clamp(vec x, vec lo, vec hi)
{
    return v_min(v_max(x, lo), hi);
}

V_INLINE vec v_hard_swish(vec x)
{
    vec gate = v_add(v_div(x, v_set(6.0f)), v_set(0.5f));
    return v_mul(x, v_clamp(gate, v_set(0.0f), v_set(1.0f)));
}

V_INLINE vec v_prelu(vec x, vec slope)
{
    return v_select(v_less(x, v_set(0.0f)), v_mul(x, slope), x);
}

/* The activation of an epilogue; slope of the channels at hand. */
V_INLINE vec v_activate(const ufk_epilogue *e, vec x, vec slope)
{
    switch (e->act) {
    case UFK_ACT_NONE:
        return x;
    case UFK_ACT_CLAMP:
        return v_clamp(x, v_set(e->lo), v_set(e->hi));
    case UFK_ACT_PRELU:
        return v_prelu(x, slope);
    case UFK_ACT_HARD_SWISH:
        return v_hard_swish(x);
    case UFK_ACT_SILU:
        return v_silu(x);
    case UFK_ACT_SIGMOID:
        return v_sigmoid(x);
    }
    return x;
}

#endif
