/* Inner product, AVX-512: four independent sums hide the latency of FMA. */
#include <immintrin.h>

#include "kernels/topics.h"

static float ufk_dot_f32_avx512(const float *a, const float *b, size_t count)
{
    __m512 s[4];
    size_t i = 0;
    for (int k = 0; k < 4; k++)
        s[k] = _mm512_setzero_ps();
    for (; i + 64 <= count; i += 64)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++)
            s[k] = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + k * 16), _mm512_loadu_ps(b + i + k * 16),
                                   s[k]);
    for (; i < count; i += 16) {
        __mmask16 mask = count - i >= 16 ? 0xFFFF : (__mmask16)((1u << (count - i)) - 1);
        s[0] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i),
                               _mm512_maskz_loadu_ps(mask, b + i), s[0]);
    }
    return _mm512_reduce_add_ps(
        _mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
}

void ufk_dot_select_avx512(ufk_table *t)
{
    t->dot_f32 = ufk_dot_f32_avx512;
    t->dot_f32_name = "dot_f32_avx512";
}
