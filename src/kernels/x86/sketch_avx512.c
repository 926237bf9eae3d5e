/*
 * Sums over sketches, AVX-512: as for AVX2, two rows a register; the halves are added at the end.
 * A bit count (VPOPCNTDQ) of probe planes would take as many instructions for a coarser probe.
 */
#include <immintrin.h>

#include "kernels/topics.h"

/* Codes are asked for this early: the hardware's own prefetching ends at every page (a fifth of the
 * bandwidth of one core). It may reach beyond the codes, where a prefetch does nothing. */
enum { AHEAD = 1024 };

/* The tables of rows r and r + 1, r even, for the low (side 0) or high (side 1) bits. */
static inline __attribute__((always_inline)) __m512i tables_of(const uint8_t *t, size_t row,
                                                               size_t side)
{
    return _mm512_loadu_si512(t + ufk_sketch_table(row, side));
}

static inline __attribute__((always_inline)) uint16_t store_sums(uint16_t *sums, __m512i even,
                                                                 __m512i odd, bool accumulate)
{
    const __m256i e =
        _mm256_add_epi16(_mm512_castsi512_si256(even), _mm512_extracti64x4_epi64(even, 1));
    const __m256i o =
        _mm256_add_epi16(_mm512_castsi512_si256(odd), _mm512_extracti64x4_epi64(odd, 1));
    const __m256i a = _mm256_unpacklo_epi16(e, o), b = _mm256_unpackhi_epi16(e, o);
    __m512i v = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_permute2x128_si256(a, b, 0x20)),
                                   _mm256_permute2x128_si256(a, b, 0x31), 1);
    if (accumulate)
        v = _mm512_add_epi16(v, _mm512_loadu_si512(sums));
    _mm512_storeu_si512(sums, v);
    const __m256i m = _mm256_max_epu16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    const __m128i x = _mm_max_epu16(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    const __m128i least = _mm_minpos_epu16(_mm_xor_si128(x, _mm_set1_epi32(-1)));
    return (uint16_t)~_mm_extract_epi16(least, 0);
}

static inline __attribute__((always_inline)) void scan(const ufk_sketch_args *args,
                                                       const size_t probes)
{
    const __m512i low4 = _mm512_set1_epi8(15);
    const size_t rows = args->rows;
    const uint8_t *codes = args->codes;
    for (size_t b = 0; b < args->blocks; b++) {
        __m512i even[UFK_SKETCH_PROBES], odd[UFK_SKETCH_PROBES];
#pragma GCC unroll 4
        for (size_t p = 0; p < probes; p++)
            even[p] = odd[p] = _mm512_setzero_si512();
        for (size_t r = 0; r < rows; r += UFK_SKETCH_ROWS) {
            __m512i bytes[UFK_SKETCH_PROBES];
#pragma GCC unroll 2
            for (size_t k = 0; k < UFK_SKETCH_ROWS; k += 2, codes += 2 * UFK_SKETCH_BLOCK) {
                const __m512i code = _mm512_loadu_si512(codes);
                _mm_prefetch((const char *)(codes + AHEAD), _MM_HINT_T0);
                const __m512i lo = _mm512_and_si512(code, low4);
                const __m512i hi = _mm512_and_si512(_mm512_srli_epi16(code, 4), low4);
#pragma GCC unroll 4
                for (size_t p = 0; p < probes; p++) {
                    const uint8_t *t = args->tables[p];
                    const __m512i x =
                        _mm512_add_epi8(_mm512_shuffle_epi8(tables_of(t, r + k, 0), lo),
                                        _mm512_shuffle_epi8(tables_of(t, r + k, 1), hi));
                    bytes[p] = k ? _mm512_add_epi8(bytes[p], x) : x;
                }
            }
#pragma GCC unroll 4
            for (size_t p = 0; p < probes; p++) {
                even[p] = _mm512_add_epi16(even[p], bytes[p]); /* with 256 * odd, modulo 2^16 */
                odd[p] = _mm512_add_epi16(odd[p], _mm512_srli_epi16(bytes[p], 8));
            }
        }
#pragma GCC unroll 4
        for (size_t p = 0; p < probes; p++) {
            even[p] = _mm512_sub_epi16(even[p], _mm512_slli_epi16(odd[p], 8));
            args->maxima[p][b] =
                store_sums(args->sums[p] + b * UFK_SKETCH_BLOCK, even[p], odd[p], args->accumulate);
        }
    }
}

static void ufk_sketch_scan_avx512(const ufk_sketch_args *args)
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

static uint32_t ufk_sketch_mask_avx512(const uint16_t sums[UFK_SKETCH_BLOCK], uint16_t least)
{
    return _mm512_cmpge_epu16_mask(_mm512_loadu_si512(sums), _mm512_set1_epi16((short)least));
}

/* Sixteen sums, the places of which start at `first`. */
static inline size_t pick_half(uint32_t *out, const uint16_t *sums, __mmask16 mask, __m512i first)
{
    const __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)sums);
    const __m512i entry =
        _mm512_or_si512(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16), first);
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(mask, entry));
    return (size_t)__builtin_popcount(mask);
}

static size_t ufk_sketch_pick_avx512(uint32_t *out, const uint16_t *sums, const uint32_t *held,
                                     size_t blocks, uint32_t first, uint16_t least)
{
    const __m512i steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    uint32_t *at = out;
    for (size_t b = 0; b < blocks; b++, sums += UFK_SKETCH_BLOCK, first += UFK_SKETCH_BLOCK) {
        const uint32_t mask = ufk_sketch_mask_avx512(sums, least) & held[b];
        if (!mask)
            continue;
        const __m512i places = _mm512_add_epi32(steps, _mm512_set1_epi32((int)first));
        at += pick_half(at, sums, (__mmask16)mask, places);
        at += pick_half(at, sums + 16, (__mmask16)(mask >> 16),
                        _mm512_add_epi32(places, _mm512_set1_epi32(16)));
    }
    return (size_t)(at - out);
}

void ufk_sketch_select_avx512(ufk_table *t)
{
    t->sketch_scan = ufk_sketch_scan_avx512;
    t->sketch_mask = ufk_sketch_mask_avx512;
    t->sketch_pick = ufk_sketch_pick_avx512;
    t->sketch_name = "sketch_scan_avx512";
}
