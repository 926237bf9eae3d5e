/* Sums over sketches, NEON: tables of 16 bytes are looked up by tbl, half a row a register. */
#include <arm_neon.h>

#include "kernels/topics.h"

static uint16_t scan_block(uint16_t *sums, const uint8_t *codes, size_t rows, const uint8_t *tables,
                           bool accumulate)
{
    const uint8x16_t low4 = vdupq_n_u8(15);
    uint16x8_t total[4];
    for (int k = 0; k < 4; k++)
        total[k] = accumulate ? vld1q_u16(sums + 8 * k) : vdupq_n_u16(0);
    for (size_t r = 0; r < rows; r += UFK_SKETCH_ROWS) {
        uint8x16_t bytes[2] = {vdupq_n_u8(0), vdupq_n_u8(0)};
        for (size_t k = 0; k < UFK_SKETCH_ROWS; k++) {
            const uint8_t *row = codes + (r + k) * UFK_SKETCH_BLOCK;
            const uint8x16_t lo = vld1q_u8(tables + ufk_sketch_table(r + k, 0));
            const uint8x16_t hi = vld1q_u8(tables + ufk_sketch_table(r + k, 1));
            for (int half = 0; half < 2; half++) {
                const uint8x16_t code = vld1q_u8(row + 16 * half);
                bytes[half] = vaddq_u8(bytes[half], vqtbl1q_u8(lo, vandq_u8(code, low4)));
                bytes[half] = vaddq_u8(bytes[half], vqtbl1q_u8(hi, vshrq_n_u8(code, 4)));
            }
        }
        for (int half = 0; half < 2; half++) {
            total[2 * half] = vaddw_u8(total[2 * half], vget_low_u8(bytes[half]));
            total[2 * half + 1] = vaddw_u8(total[2 * half + 1], vget_high_u8(bytes[half]));
        }
    }
    for (int k = 0; k < 4; k++)
        vst1q_u16(sums + 8 * k, total[k]);
    return vmaxvq_u16(vmaxq_u16(vmaxq_u16(total[0], total[1]), vmaxq_u16(total[2], total[3])));
}

static void ufk_sketch_scan_neon(const ufk_sketch_args *a)
{
    for (size_t b = 0; b < a->blocks; b++)
        for (size_t p = 0; p < a->probes; p++)
            a->maxima[p][b] = scan_block(a->sums[p] + b * UFK_SKETCH_BLOCK,
                                         a->codes + b * a->rows * UFK_SKETCH_BLOCK, a->rows,
                                         a->tables[p], a->accumulate);
}

static uint32_t ufk_sketch_mask_neon(const uint16_t sums[UFK_SKETCH_BLOCK], uint16_t least)
{
    static const uint16_t bits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const uint16x8_t bound = vdupq_n_u16(least), bit = vld1q_u16(bits);
    uint32_t mask = 0;
    for (uint32_t k = 0; k < 4; k++) {
        const uint16x8_t ge = vcgeq_u16(vld1q_u16(sums + 8 * k), bound);
        mask |= (uint32_t)vaddvq_u16(vandq_u16(ge, bit)) << (8 * k);
    }
    return mask;
}

static size_t ufk_sketch_pick_neon(uint32_t *out, const uint16_t *sums, const uint32_t *held,
                                   size_t blocks, uint32_t first, uint16_t least)
{
    size_t count = 0;
    for (size_t b = 0; b < blocks; b++, sums += UFK_SKETCH_BLOCK, first += UFK_SKETCH_BLOCK)
        for (uint32_t mask = ufk_sketch_mask_neon(sums, least) & held[b]; mask; mask &= mask - 1) {
            const uint32_t i = (uint32_t)__builtin_ctz(mask);
            out[count++] = (uint32_t)sums[i] << 16 | (first + i);
        }
    return count;
}

static void ufk_sketch_count_neon(uint32_t *out, const uint64_t *planes, const uint8_t *bits,
                                  const uint32_t *places, size_t count, size_t words)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *vector = bits + (places[i] & 0xFFFF) * words * 8;
        uint32_t sum = 0;
        for (size_t k = 0; k < words; k++) {
            const uint8x8_t word = vld1_u8(vector + 8 * k);
            for (size_t b = 0; b < UFK_SKETCH_PROBE_BITS; b++) {
                const uint8x8_t plane = vcreate_u8(planes[b * words + k]);
                sum += (uint32_t)vaddv_u8(vcnt_u8(veor_u8(word, plane))) << b;
            }
        }
        out[i] = sum;
    }
}

void ufk_sketch_select_neon(ufk_table *t)
{
    t->sketch_scan = ufk_sketch_scan_neon;
    t->sketch_mask = ufk_sketch_mask_neon;
    t->sketch_pick = ufk_sketch_pick_neon;
    t->sketch_count = ufk_sketch_count_neon;
    t->sketch_name = "sketch_scan_neon";
}
