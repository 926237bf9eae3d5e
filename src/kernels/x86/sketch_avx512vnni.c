/* Bits of a probe, AVX-512 with VPOPCNTDQ (Ice Lake, as VNNI): a vector's bits are one register. */
#include <immintrin.h>

#include "kernels/topics.h"

enum { AHEAD = 12 }; /* bits lie anywhere: their cache lines are asked for this early */

static void ufk_sketch_count_avx512vnni(uint32_t *out, const uint64_t *planes,
                                        const uint8_t *const *bits, size_t count, size_t words)
{
    for (size_t i = 0; i < count; i++) {
        __m512i sum = _mm512_setzero_si512();
        if (i + AHEAD < count)
            for (size_t k = 0; k < words; k += 8)
                _mm_prefetch((const char *)(bits[i + AHEAD] + 8 * k), _MM_HINT_T0);
        for (size_t k = 0; k < words; k += 8) {
            const __mmask8 mask = words - k >= 8 ? 0xFF : (__mmask8)((1u << (words - k)) - 1);
            const __m512i word = _mm512_maskz_loadu_epi64(mask, bits[i] + 8 * k);
            for (size_t b = UFK_SKETCH_PROBE_BITS; b-- > 0;) {
                const __m512i plane = _mm512_maskz_loadu_epi64(mask, planes + b * words + k);
                const __m512i set = _mm512_popcnt_epi64(_mm512_xor_si512(word, plane));
                sum = _mm512_add_epi64(sum, _mm512_slli_epi64(set, (unsigned)b));
            }
        }
        out[i] = (uint32_t)_mm512_reduce_add_epi64(sum);
    }
}

void ufk_sketch_select_avx512vnni(ufk_table *t)
{
    t->sketch_count = ufk_sketch_count_avx512vnni;
}
