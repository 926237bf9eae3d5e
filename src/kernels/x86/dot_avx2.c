/*
 * Inner products, AVX2. INT8: vpmaddubsw of |probe| and the code with the probe's sign; two
 * products of at most 127 * 127 do not saturate its 16 bits.
 */
#include <immintrin.h>

#include "kernels/topics.h"

static inline float sum_of(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static float ufk_dot_f32_avx2(const float *a, const float *b, size_t count)
{
    __m256 s[4];
    size_t i = 0;
    for (int k = 0; k < 4; k++)
        s[k] = _mm256_setzero_ps();
    for (; i + 32 <= count; i += 32)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            s[k] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + k * 8), _mm256_loadu_ps(b + i + k * 8),
                                   s[k]);
    for (; i + 8 <= count; i += 8)
        s[0] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s[0]);
    float tail = 0;
    for (; i < count; i++)
        tail += a[i] * b[i];
    return sum_of(_mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3]))) + tail;
}

static inline int32_t sum_of_i32(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}

enum { AHEAD = 6 }; /* codes lie anywhere: their cache lines are asked for this early */

static void ufk_dot_i8_avx2(int32_t *out, const int8_t *probe, const int8_t *const *codes,
                            size_t count, size_t n)
{
    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            for (size_t k = 0; k < n; k += 64)
                _mm_prefetch((const char *)codes[i + AHEAD] + k, _MM_HINT_T0);
        __m256i sum = _mm256_setzero_si256();
        for (size_t k = 0; k < n; k += 32) {
            const __m256i p = _mm256_loadu_si256((const __m256i *)(const void *)(probe + k));
            const __m256i c = _mm256_loadu_si256((const __m256i *)(const void *)(codes[i] + k));
            const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(p), _mm256_sign_epi8(c, p));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
        }
        out[i] = sum_of_i32(sum);
    }
}

void ufk_dot_select_avx2(ufk_table *t)
{
    t->dot_f32 = ufk_dot_f32_avx2;
    t->dot_f32_name = "dot_f32_avx2";
    t->dot_i8 = ufk_dot_i8_avx2;
    t->dot_i8_name = "dot_i8_avx2";
}
