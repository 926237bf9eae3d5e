/*
 * Panels of INT8 weights as conv_u8_avx2 reads them, and why. Floor 2.
 *
 * vpmaddubsw multiplies 32 pairs of bytes and adds neighbours, twice what vpmaddwd does, but its
 * sums of 16 bits saturate. They do not where, of the weights that are added up, neither the
 * positive nor the negative ones sum to more than 128: 255 * 128 fits. Weights are constants, so
 * this is seen when they are packed. k are taken in groups of 4, whose products are two pairs:
 *
 *   doubles  two groups at a time, whose products fit 16 bits even together: 3 instructions that
 *            multiply for 64 products of a column
 *   singles  groups whose pairs fit: 4 for as many
 *   wides    groups with a pair that does not: vpmaddwd on 16-bit halves, 8
 *
 * Our quantiser chooses scales with which all groups are doubles with their neighbours
 * (optimize/quantize.c): such a slice is plain, and pixels are read as they come. Other weights are
 * taken in an order of k in which more fit, where that pays: the four k of a group are then two
 * pairs found among 16 consecutive k, and any two groups a double. Of weights of trained networks
 * with scales of their own 0 to 90 % are doubles and 0 to 20 % wide (first layers: 20 to 97 %).
 *
 * Zen 3 multiplies in two of its four pipes: 128 GMAC/s at 3 GHz in doubles, 96 in singles. Plain
 * layers of 64 inputs run at 90, of 128 and more at 95 to 105; where pixels had to be put in order
 * and most groups were singles, at 57 to 76. Rejected: vpmaddwd alone (73); panels of 8 columns
 * with tiles of 8 pixels, which broadcast twice as much (1.15 times as long); weights cut in a part
 * that fits and a sparse rest (FBGEMM), whose sums would need gathers.
 *
 * A panel is 8 or 16 columns: their int32 sums, then slices of up to UFK_QSLICE consecutive k. A
 * slice is a head, 16 bytes of order for each 16 k (of vpshufb), a place for each group, and 32
 * bytes of weights for each group and 8 columns, [column][4 k]; doubles first, then singles, then
 * wides. The number of groups is even. The four k of a group are consecutive once they are in
 * order. A place counts 4 bytes in 16 k of 4 pixels.
 */
#ifndef UFK_X86_QPANEL_AVX2_H
#define UFK_X86_QPANEL_AVX2_H

#include <stddef.h>
#include <stdint.h>

enum {
    UFK_QPANEL = 16,
    UFK_QVECTOR = 8, /* columns of a vector of sums */
    UFK_QBLOCK = 16,
    UFK_QGROUP = 4,
    UFK_QBLOCK_GROUPS = UFK_QBLOCK / UFK_QGROUP,
    UFK_QSLICE = 2048,
    UFK_QSLICE_GROUPS = UFK_QSLICE / UFK_QGROUP,
    UFK_QPIXELS = 4,
    UFK_QTILE_K = 8192, /* of a tile of several pixels; deeper sums are always put in order */
    UFK_QGROUP_BYTES = UFK_QPANEL * UFK_QGROUP,
    UFK_QSUM_BYTES = UFK_QPANEL * (int)sizeof(int32_t)
};

typedef struct ufk_qslice_head {
    uint32_t doubles, singles, wides; /* a double is two groups */
    uint32_t ordered;                 /* whether pixels are put in order first */
    uint32_t plain;                   /* all k as they come, in doubles */
    uint32_t unused[3];
} ufk_qslice_head;

static inline size_t ufk_qblocks(size_t k)
{
    return (k + UFK_QBLOCK - 1) / UFK_QBLOCK;
}

/* An even number. */
static inline size_t ufk_qgroups(size_t k)
{
    return (k + 2 * UFK_QGROUP - 1) / (2 * UFK_QGROUP) * 2;
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

/* Of `vectors` vectors of columns, 1 or 2. */
static inline size_t ufk_qslice_bytes(size_t k, size_t vectors)
{
    return ufk_qweights_at(k) + ufk_qgroups(k) * vectors * UFK_QVECTOR * UFK_QGROUP;
}

static inline size_t ufk_qvectors(size_t columns)
{
    return columns > UFK_QVECTOR ? 2 : 1;
}

/* Bytes of a column: an eighth of a panel of one vector, which is more than a sixteenth of one of
 * two. */
static inline size_t ufk_qpanel_column_bytes(size_t k)
{
    const size_t whole = k / UFK_QSLICE, rest = k % UFK_QSLICE;
    return (UFK_QSUM_BYTES + whole * ufk_qslice_bytes(UFK_QSLICE, 1) +
            (rest ? ufk_qslice_bytes(rest, 1) : 0)) /
           UFK_QVECTOR;
}

/* Packs the panel whose first column is b[0] of b[k][n]; `columns` of its 16 are there. */
void ufk_qpanel_pack_avx2(int8_t *out, const int8_t *b, size_t n, size_t k, size_t columns);

#endif
