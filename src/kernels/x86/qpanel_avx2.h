/*
 * Panels of INT8 weights as conv_u8_avx2 reads them, and why. Floor 2.
 *
 * vpmaddubsw multiplies 32 pairs of bytes and adds neighbours, twice what vpmaddwd does, but its
 * sums of 16 bits saturate. They do not where, of the weights that are added up, neither the
 * positive nor the negative ones sum to more than 128: 255 * 128 fits. Weights are constants, so
 * this is seen when they are packed, and there is a choice of which are added up, because the order
 * of k is free: the four k of a group are two pairs found among 16 consecutive k.
 *
 *   doubles  two groups at a time, whose products fit 16 bits even together: 2.5 instructions for
 *            32 products
 *   singles  groups whose pairs fit: 3 instructions
 *   wides    groups with a pair that does not: vpmaddwd on 16-bit halves
 *
 * For the weights of trained networks 1 to 8 % of groups are wide (first layers: 20 to 80 %).
 * Rejected: vpmaddwd alone (76 GMAC/s at its best, where doubles reach 115 and singles 94), weights
 * cut in a part that fits and a sparse rest (FBGEMM), whose sums would need gathers.
 *
 * A panel is 8 columns: their int32 sums, then slices of up to UFK_QSLICE consecutive k. A slice is
 * a head, 16 bytes of order for each 16 k (of vpshufb), a place for each group, and 32 bytes of
 * weights for each group, [column][4 k]; doubles first, then singles, then wides. The four k of a
 * group are consecutive once they are in order. A place counts 4 bytes in 16 k of 8 pixels.
 */
#ifndef UFK_X86_QPANEL_AVX2_H
#define UFK_X86_QPANEL_AVX2_H

#include <stddef.h>
#include <stdint.h>

enum {
    UFK_QPANEL = 8,
    UFK_QBLOCK = 16,
    UFK_QGROUP = 4,
    UFK_QBLOCK_GROUPS = UFK_QBLOCK / UFK_QGROUP,
    UFK_QSLICE = 2048,
    UFK_QSLICE_GROUPS = UFK_QSLICE / UFK_QGROUP,
    UFK_QPIXELS = 8,
    UFK_QGROUP_BYTES = UFK_QPANEL * UFK_QGROUP,
    UFK_QSUM_BYTES = UFK_QPANEL * (int)sizeof(int32_t)
};

typedef struct ufk_qslice_head {
    uint32_t doubles, singles, wides; /* a double is two groups */
    uint32_t unused[5];
} ufk_qslice_head;

static inline size_t ufk_qblocks(size_t k)
{
    return (k + UFK_QBLOCK - 1) / UFK_QBLOCK;
}

static inline size_t ufk_qgroups(size_t k)
{
    return (k + UFK_QGROUP - 1) / UFK_QGROUP;
}

/* Where the places and the weights of a slice of k begin, and its bytes. */
static inline size_t ufk_qplaces_at(size_t k)
{
    return sizeof(ufk_qslice_head) + ufk_qblocks(k) * UFK_QBLOCK;
}

static inline size_t ufk_qweights_at(size_t k)
{
    return (ufk_qplaces_at(k) + ufk_qgroups(k) * sizeof(uint16_t) + 31) / 32 * 32;
}

static inline size_t ufk_qslice_bytes(size_t k)
{
    return ufk_qweights_at(k) + ufk_qgroups(k) * UFK_QGROUP_BYTES;
}

/* Bytes of a column: an eighth of a panel. */
static inline size_t ufk_qpanel_column_bytes(size_t k)
{
    const size_t whole = k / UFK_QSLICE, rest = k % UFK_QSLICE;
    return (UFK_QSUM_BYTES + whole * ufk_qslice_bytes(UFK_QSLICE) +
            (rest ? ufk_qslice_bytes(rest) : 0)) /
           UFK_QPANEL;
}

/* Packs the panel whose first column is b[0] of b[k][n]; `columns` of its 8 are there. */
void ufk_qpanel_pack_avx2(int8_t *out, const int8_t *b, size_t n, size_t k, size_t columns);

#endif
