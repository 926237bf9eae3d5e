/*
 * Bits of a probe, AVX-512 with VPOPCNTDQ (Ice Lake, as VNNI): 512 bits of a vector are one
 * register. Eight vectors at a time, whose lanes are added up together.
 */
#include <immintrin.h>

#include "kernels/topics.h"

enum { TOGETHER = 8, AHEAD = UFK_SKETCH_AHEAD };

static inline __attribute__((always_inline)) __m512i count_one(const uint64_t *planes,
                                                               const uint8_t *vector, size_t words)
{
    __m512i sum = _mm512_setzero_si512();
    for (size_t k = 0; k < words; k += 8) {
        const __mmask8 mask = words - k >= 8 ? 0xFF : (__mmask8)((1u << (words - k)) - 1);
        const __m512i word = _mm512_maskz_loadu_epi64(mask, vector + 8 * k);
        for (size_t b = 0; b < UFK_SKETCH_PROBE_BITS; b++) {
            const __m512i plane = _mm512_maskz_loadu_epi64(mask, planes + b * words + k);
            const __m512i set = _mm512_popcnt_epi64(_mm512_xor_si512(word, plane));
            sum = _mm512_add_epi64(sum, _mm512_slli_epi64(set, (unsigned)b));
        }
    }
    return sum;
}

/* The sums of the lanes of v[0..7], in their order. */
static inline __attribute__((always_inline)) __m256i sums_of_lanes(const __m512i v[TOGETHER])
{
    __m512i pair[4];
    for (int i = 0; i < 4; i++) /* 128-bit lanes of: v[2i], v[2i + 1] */
        pair[i] = _mm512_add_epi64(_mm512_unpacklo_epi64(v[2 * i], v[2 * i + 1]),
                                   _mm512_unpackhi_epi64(v[2 * i], v[2 * i + 1]));
    const __m512i a = _mm512_add_epi64(_mm512_shuffle_i64x2(pair[0], pair[1], 0x88),
                                       _mm512_shuffle_i64x2(pair[0], pair[1], 0xDD));
    const __m512i b = _mm512_add_epi64(_mm512_shuffle_i64x2(pair[2], pair[3], 0x88),
                                       _mm512_shuffle_i64x2(pair[2], pair[3], 0xDD));
    return _mm512_cvtepi64_epi32(
        _mm512_add_epi64(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xDD)));
}

static inline __attribute__((always_inline)) void count_all(uint32_t *out, const uint64_t *planes,
                                                            const uint8_t *bits,
                                                            const uint32_t *places, size_t count,
                                                            const size_t words)
{
    for (size_t i = 0; i < count; i += TOGETHER) {
        const size_t n = count - i < TOGETHER ? count - i : TOGETHER;
        __m512i sum[TOGETHER];
        for (size_t j = 0; j < TOGETHER; j++) {
            if (i + j + AHEAD < count)
                for (size_t k = 0; k < words; k += 8)
                    _mm_prefetch(
                        (const char *)(bits + ((places[i + j + AHEAD] & 0xFFFF) * words + k) * 8),
                        _MM_HINT_T0);
            const size_t place = places[i + (j < n ? j : 0)] & 0xFFFF;
            sum[j] = count_one(planes, bits + place * words * 8, words);
        }
        _mm256_mask_storeu_epi32(out + i, (__mmask8)((1u << n) - 1), sums_of_lanes(sum));
    }
}

static void ufk_sketch_count_avx512vnni(uint32_t *out, const uint64_t *planes, const uint8_t *bits,
                                        const uint32_t *places, size_t count, size_t words)
{
    if (words == 8) /* 512 dimensions: the planes stay in registers */
        count_all(out, planes, bits, places, count, 8);
    else
        count_all(out, planes, bits, places, count, words);
}

void ufk_sketch_select_avx512vnni(ufk_table *t)
{
    t->sketch_count = ufk_sketch_count_avx512vnni;
}
