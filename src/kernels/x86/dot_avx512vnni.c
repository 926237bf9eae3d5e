/*
 * Inner product of signed bytes, AVX-512 VNNI: vpdpbusd wants one side unsigned, so the probe is
 * shifted by 128 and 128 times the sum of the codes is taken off again.
 */
#include <immintrin.h>

#include "kernels/topics.h"

enum { AHEAD = 6 }; /* codes lie anywhere: their cache lines are asked for this early */

static void ufk_dot_i8_avx512vnni(int32_t *out, const int8_t *probe, const int8_t *const *codes,
                                  size_t count, size_t n)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            for (size_t k = 0; k < n; k += 64)
                _mm_prefetch((const char *)codes[i + AHEAD] + k, _MM_HINT_T0);
        __m512i sum = _mm512_setzero_si512(), shift = _mm512_setzero_si512();
        for (size_t k = 0; k < n; k += 64) {
            const __mmask64 mask = n - k >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << 32) - 1;
            const __m512i p = _mm512_maskz_loadu_epi8(mask, probe + k);
            const __m512i c = _mm512_maskz_loadu_epi8(mask, codes[i] + k);
            sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(p, flip), c);
            shift = _mm512_dpbusd_epi32(shift, flip, c);
        }
        out[i] = _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, shift));
    }
}

void ufk_dot_select_avx512vnni(ufk_table *t)
{
    t->dot_i8 = ufk_dot_i8_avx512vnni;
    t->dot_i8_name = "dot_i8_avx512vnni";
}
