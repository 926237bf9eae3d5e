/* Sums over sketches: the reference. */
#include <string.h>

#include "base/cpu.h"
#include "kernels/topics.h"

static void ufk_sketch_scan_c(const ufk_sketch_args *a)
{
    for (size_t p = 0; p < a->probes; p++) {
        for (size_t b = 0; b < a->blocks; b++) {
            uint16_t *sums = a->sums[p] + b * UFK_SKETCH_BLOCK;
            uint16_t largest = 0;
            for (size_t j = 0; j < UFK_SKETCH_BLOCK; j++) {
                uint16_t sum = a->accumulate ? sums[j] : 0;
                for (size_t r = 0; r < a->rows; r++) {
                    const uint8_t code = a->codes[(b * a->rows + r) * UFK_SKETCH_BLOCK + j];
                    const uint8_t *low = a->tables[p] + ufk_sketch_table(r, 0);
                    const uint8_t *high = a->tables[p] + ufk_sketch_table(r, 1);
                    sum = (uint16_t)(sum + low[code & 15] + high[code >> 4]);
                }
                sums[j] = sum;
                largest = sum > largest ? sum : largest;
            }
            a->maxima[p][b] = largest;
        }
    }
}

static uint32_t ufk_sketch_mask_c(const uint16_t sums[UFK_SKETCH_BLOCK], uint16_t least)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < UFK_SKETCH_BLOCK; i++)
        mask |= (uint32_t)(sums[i] >= least) << i;
    return mask;
}

static size_t ufk_sketch_pick_c(uint32_t *out, const uint16_t *sums, const uint32_t *held,
                                size_t blocks, uint32_t first, uint16_t least)
{
    size_t count = 0;
    for (uint32_t i = 0; i < blocks * UFK_SKETCH_BLOCK; i++)
        if ((held[i / 32] >> (i % 32) & 1) && sums[i] >= least)
            out[count++] = (uint32_t)sums[i] << 16 | (first + i);
    return count;
}

static void ufk_sketch_count_c(uint32_t *out, const uint64_t *planes, const uint8_t *bits,
                               const uint32_t *places, size_t count, size_t words)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *vector = bits + (places[i] & 0xFFFF) * words * 8;
        out[i] = 0;
        for (size_t k = 0; k < words; k++) {
            uint64_t word;
            memcpy(&word, vector + 8 * k, sizeof word);
            for (size_t b = 0; b < UFK_SKETCH_PROBE_BITS; b++)
                out[i] += (uint32_t)__builtin_popcountll(word ^ planes[b * words + k]) << b;
        }
    }
}

void ufk_sketch_init(ufk_table *t, uint32_t flags)
{
    t->sketch_scan = ufk_sketch_scan_c;
    t->sketch_mask = ufk_sketch_mask_c;
    t->sketch_pick = ufk_sketch_pick_c;
    t->sketch_count = ufk_sketch_count_c;
    t->sketch_name = "sketch_scan_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_sketch_select_avx2(t);
    if (flags & UFI_CPU_AVX512)
        ufk_sketch_select_avx512(t);
    if (flags & UFI_CPU_AVX512VNNI)
        ufk_sketch_select_avx512vnni(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_sketch_select_neon(t);
#endif
}
