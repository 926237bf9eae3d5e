/*
 * Sums over sketches, AVX2: a row of a block is one register, each half of its bytes looks up
 * vpshufb tables. Values of at most 31 let eight of them add up in a byte before they are widened.
 * Up to four probes share the load and the splitting of a row: a row takes 3 instructions beside
 * loads, and 4.75 for each probe, which is less than its 32 bytes take from memory. They are
 * fetched ahead, since fetching by itself ends at each page.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/topics.h"

enum { AHEAD = UFK_SKETCH_AHEAD, SCAN_AHEAD = 2048 /* bytes */ };

static inline __attribute__((always_inline)) __m256i table_of(const uint8_t *t, size_t row,
                                                              size_t side)
{
    t += ufk_sketch_table(row, side);
    return _mm256_loadu_si256((const __m256i *)(const void *)t);
}

static inline uint16_t largest_u16(__m256i v)
{
    const __m128i m = _mm_max_epu16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    const __m128i inverse = _mm_xor_si128(m, _mm_set1_epi32(-1));
    return (uint16_t)~_mm_extract_epi16(_mm_minpos_epu16(inverse), 0);
}

/* even: sums of vectors 0, 2, ..., odd: of 1, 3, ... */
static inline __attribute__((always_inline)) uint16_t store_sums(uint16_t *sums, __m256i even,
                                                                 __m256i odd, bool accumulate)
{
    const __m256i a = _mm256_unpacklo_epi16(even, odd), b = _mm256_unpackhi_epi16(even, odd);
    __m256i lo = _mm256_permute2x128_si256(a, b, 0x20), hi = _mm256_permute2x128_si256(a, b, 0x31);
    __m256i *out = (__m256i *)(void *)sums;
    if (accumulate) {
        lo = _mm256_add_epi16(lo, _mm256_loadu_si256(out));
        hi = _mm256_add_epi16(hi, _mm256_loadu_si256(out + 1));
    }
    _mm256_storeu_si256(out, lo);
    _mm256_storeu_si256(out + 1, hi);
    return largest_u16(_mm256_max_epu16(lo, hi));
}

static inline __attribute__((always_inline)) void scan(const ufk_sketch_args *args,
                                                       const size_t probes)
{
    const __m256i low4 = _mm256_set1_epi8(15);
    const size_t rows = args->rows;
    const uint8_t *codes = args->codes;
    for (size_t b = 0; b < args->blocks; b++) {
        __m256i even[UFK_SKETCH_PROBES], odd[UFK_SKETCH_PROBES];
#pragma GCC unroll 4
        for (size_t p = 0; p < probes; p++)
            even[p] = odd[p] = _mm256_setzero_si256();
        for (size_t r = 0; r < rows; r += UFK_SKETCH_ROWS) {
            __m256i bytes[UFK_SKETCH_PROBES];
            _mm_prefetch((const char *)codes + SCAN_AHEAD, _MM_HINT_T0);
            _mm_prefetch((const char *)codes + SCAN_AHEAD + 64, _MM_HINT_T0);
#pragma GCC unroll 4
            for (size_t k = 0; k < UFK_SKETCH_ROWS; k++, codes += UFK_SKETCH_BLOCK) {
                const __m256i code = _mm256_loadu_si256((const __m256i *)(const void *)codes);
                const __m256i lo = _mm256_and_si256(code, low4);
                const __m256i hi = _mm256_and_si256(_mm256_srli_epi16(code, 4), low4);
#pragma GCC unroll 4
                for (size_t p = 0; p < probes; p++) {
                    const uint8_t *t = args->tables[p];
                    const __m256i x =
                        _mm256_add_epi8(_mm256_shuffle_epi8(table_of(t, r + k, 0), lo),
                                        _mm256_shuffle_epi8(table_of(t, r + k, 1), hi));
                    bytes[p] = k ? _mm256_add_epi8(bytes[p], x) : x;
                }
            }
#pragma GCC unroll 4
            for (size_t p = 0; p < probes; p++) {
                even[p] = _mm256_add_epi16(even[p], bytes[p]); /* and 256 times the odd ones */
                odd[p] = _mm256_add_epi16(odd[p], _mm256_srli_epi16(bytes[p], 8));
            }
        }
#pragma GCC unroll 4
        for (size_t p = 0; p < probes; p++)
            args->maxima[p][b] = store_sums(args->sums[p] + b * UFK_SKETCH_BLOCK,
                                            _mm256_sub_epi16(even[p], _mm256_slli_epi16(odd[p], 8)),
                                            odd[p], args->accumulate);
    }
}

static void ufk_sketch_scan_avx2(const ufk_sketch_args *args)
{
    switch (args->probes) {
    case 1:
        scan(args, 1);
        break;
    case 2:
        scan(args, 2);
        break;
    case 3:
        scan(args, 3);
        break;
    default:
        scan(args, 4);
        break;
    }
}

static uint32_t ufk_sketch_mask_avx2(const uint16_t sums[UFK_SKETCH_BLOCK], uint16_t least)
{
    const __m256i bound = _mm256_set1_epi16((short)least);
    const __m256i *v = (const __m256i *)(const void *)sums;
    const __m256i a = _mm256_loadu_si256(v), b = _mm256_loadu_si256(v + 1);
    const __m256i ge_a = _mm256_cmpeq_epi16(_mm256_max_epu16(a, bound), a);
    const __m256i ge_b = _mm256_cmpeq_epi16(_mm256_max_epu16(b, bound), b);
    const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(ge_a, ge_b), 0xD8);
    return (uint32_t)_mm256_movemask_epi8(both);
}

static size_t ufk_sketch_pick_avx2(uint32_t *out, const uint16_t *sums, const uint32_t *held,
                                   size_t blocks, uint32_t first, uint16_t least)
{
    size_t count = 0;
    for (size_t b = 0; b < blocks; b++, sums += UFK_SKETCH_BLOCK, first += UFK_SKETCH_BLOCK)
        for (uint32_t mask = ufk_sketch_mask_avx2(sums, least) & held[b]; mask; mask &= mask - 1) {
            const uint32_t i = (uint32_t)__builtin_ctz(mask);
            out[count++] = (uint32_t)sums[i] << 16 | (first + i);
        }
    return count;
}

/* Words of 64 bits and the scalar popcnt: as fast as vpshufb here, and simpler. */
static void ufk_sketch_count_avx2(uint32_t *out, const uint64_t *planes, const uint8_t *bits,
                                  const uint32_t *places, size_t count, size_t words)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *vector = bits + (places[i] & 0xFFFF) * words * 8;
        uint64_t sum[UFK_SKETCH_PROBE_BITS] = {0};
        if (i + AHEAD < count)
            for (size_t k = 0; k < words; k += 8)
                _mm_prefetch((const char *)(bits + ((places[i + AHEAD] & 0xFFFF) * words + k) * 8),
                             _MM_HINT_T0);
        for (size_t k = 0; k < words; k++) {
            uint64_t word;
            memcpy(&word, vector + 8 * k, sizeof word);
            for (size_t b = 0; b < UFK_SKETCH_PROBE_BITS; b++)
                sum[b] += (uint64_t)_mm_popcnt_u64(word ^ planes[b * words + k]);
        }
        out[i] = (uint32_t)(sum[0] + 2 * sum[1] + 4 * sum[2] + 8 * sum[3]);
    }
}

void ufk_sketch_select_avx2(ufk_table *t)
{
    t->sketch_scan = ufk_sketch_scan_avx2;
    t->sketch_mask = ufk_sketch_mask_avx2;
    t->sketch_pick = ufk_sketch_pick_avx2;
    t->sketch_count = ufk_sketch_count_avx2;
    t->sketch_name = "sketch_scan_avx2";
}
