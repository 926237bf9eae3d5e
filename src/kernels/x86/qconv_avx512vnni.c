/*
 * INT8 convolution for AVX-512 VNNI: register tiles of up to 14 pixels x 32 columns, as
 * conv_avx512.c (which see), with vpdpbusd in place of the multiply-add: four k a step.
 *
 * On layers of small K what follows the sum takes as long as the sum, so it stays in registers, and
 * two rows of 32 columns are narrowed to 64 bytes at once.
 */
#include <string.h>

#include "kernels/topics.h"
#include "kernels/x86/qconv_avx512.h"

enum {
    LANES = UFK_QLANES,
    PANEL = UFK_QPANEL,
    TILE_ROWS = 14,
    ROW_GROUPS = 5,
    MAX_VECTORS = UFK_QVECTORS,
    GROUP_BYTES = UFK_QGROUP_BYTES
};

typedef struct tile {
    ufk_qplace place;
    const int8_t *b; /* first weight of the panel, behind its sums */
} tile;

/* Five opaque pointers, `bytes` further: hides from the compiler how they hang together. */
ALWAYS_INLINE void advance(const uint8_t *p[ROW_GROUPS], int rows, ptrdiff_t bytes)
{
    UNROLL
    for (int g = 0; g < (rows + 2) / 3; g++) {
        p[g] += bytes;
        __asm__("" : "+r"(p[g]));
    }
}

ALWAYS_INLINE __m512i broadcast4(const uint8_t *p)
{
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm512_set1_epi32(x);
}

/* One to three bytes, the rest zero. */
ALWAYS_INLINE __m512i broadcast_some(const uint8_t *p, size_t count)
{
    uint32_t x = p[0];
    if (count > 1)
        x |= (uint32_t)p[1] << 8;
    if (count > 2)
        x |= (uint32_t)p[2] << 16;
    return _mm512_set1_epi32((int32_t)x);
}

ALWAYS_INLINE void load_weights(__m512i w[MAX_VECTORS], const int8_t *b, int vectors)
{
    UNROLL
    for (int v = 0; v < vectors; v++)
        w[v] = _mm512_loadu_si512(b + v * GROUP_BYTES);
}

/* sum += a[rows][4 k] * b[4 k][vectors] */
ALWAYS_INLINE void step(__m512i sum[TILE_ROWS][MAX_VECTORS], const uint8_t *const p[ROW_GROUPS],
                        ptrdiff_t stride, const int8_t *b, int rows, int vectors)
{
    __m512i w[MAX_VECTORS];
    load_weights(w, b, vectors);
    UNROLL
    for (int r = 0; r < rows; r++) {
        const __m512i x = broadcast4(p[r / 3] + r % 3 * stride);
        UNROLL
        for (int v = 0; v < vectors; v++)
            sum[r][v] = _mm512_dpbusd_epi32(sum[r][v], x, w[v]);
    }
}

/* The same for the last one to three k of a run. */
ALWAYS_INLINE void last_step(__m512i sum[TILE_ROWS][MAX_VECTORS],
                             const uint8_t *const p[ROW_GROUPS], ptrdiff_t stride, const int8_t *b,
                             int rows, int vectors, size_t count)
{
    __m512i w[MAX_VECTORS];
    load_weights(w, b, vectors);
    UNROLL
    for (int r = 0; r < rows; r++) {
        const __m512i x = broadcast_some(p[r / 3] + r % 3 * stride, count);
        UNROLL
        for (int v = 0; v < vectors; v++)
            sum[r][v] = _mm512_dpbusd_epi32(sum[r][v], x, w[v]);
    }
}

ALWAYS_INLINE void accumulate(const tile *t, __m512i sum[TILE_ROWS][MAX_VECTORS], int rows,
                              int vectors)
{
    const ufk_qconv_args *g = t->place.args;
    const ptrdiff_t stride = (ptrdiff_t)g->a_stride;
    const int8_t *b = t->b;
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            sum[r][v] = _mm512_setzero_si512();
    }
    for (size_t y = 0; y < g->runs_y; y++) {
        for (size_t x = 0; x < g->runs_x; x++) {
            const uint8_t *p[ROW_GROUPS];
            const uint8_t *a =
                g->a + t->place.i * g->a_stride + y * g->run_stride_y + x * g->run_stride_x;
            UNROLL
            for (int r = 0; r < ROW_GROUPS; r++)
                p[r] = a + 3 * r * stride;
            size_t k = g->run_length;
            for (; k >= 4; k -= 4) {
                step(sum, p, stride, b, rows, vectors);
                b += vectors * GROUP_BYTES;
                advance(p, rows, 4);
            }
            if (k) {
                last_step(sum, p, stride, b, rows, vectors, k);
                b += vectors * GROUP_BYTES;
            }
        }
    }
}

ALWAYS_INLINE void tile_body(const tile *t, int rows, int vectors)
{
    __m512i sum[TILE_ROWS][MAX_VECTORS];
    accumulate(t, sum, rows, vectors);
    ufk_finish_tile(&t->place, sum, rows, vectors);
}

#define TILE(rows)                             \
    static void tile_##rows##x1(const tile *t) \
    {                                          \
        tile_body(t, rows, 1);                 \
    }                                          \
    static void tile_##rows##x2(const tile *t) \
    {                                          \
        tile_body(t, rows, 2);                 \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)
TILE(13)
TILE(14)

#define BOTH(rows)                       \
    {                                    \
        tile_##rows##x1, tile_##rows##x2 \
    }
static void (*const tiles[TILE_ROWS][MAX_VECTORS])(const tile *t) = {
    BOTH(1), BOTH(2), BOTH(3),  BOTH(4),  BOTH(5),  BOTH(6),  BOTH(7),
    BOTH(8), BOTH(9), BOTH(10), BOTH(11), BOTH(12), BOTH(13), BOTH(14)};

/* ---- the walk over tiles ---- */

/* Tiles of `rows` pixels from t->place.i on, columns j_begin to j_end. */
static void row_of_tiles(tile *t, size_t column_bytes, size_t rows, size_t j_begin, size_t j_end)
{
    for (size_t j = j_begin; j < j_end; j += PANEL) {
        const size_t columns = j_end - j < PANEL ? j_end - j : PANEL;
        const size_t vectors = (columns + LANES - 1) / LANES;
        const size_t tail = columns - (vectors - 1) * LANES;
        t->place.j = j;
        t->b = t->place.args->b + j * column_bytes + vectors * LANES * sizeof(int32_t);
        t->place.columns = (__mmask16)(0xFFFFu >> (LANES - tail));
        tiles[rows - 1][vectors - 1](t);
    }
}

void ufk_conv_u8_avx512vnni(const ufk_qconv_args *args)
{
    const size_t bytes = ufk_qconv_group_bytes(args->runs_y * args->runs_x, args->run_length);
    const size_t tile_count = (args->m + TILE_ROWS - 1) / TILE_ROWS;
    size_t block = UFK_QWEIGHT_BLOCK_BYTES / bytes / PANEL * PANEL;
    if (block < PANEL)
        block = PANEL;
    tile t = {.place = ufk_place(args)};
    for (size_t j = 0; j < args->n; j += block) {
        const size_t j_end = args->n - j < block ? args->n : j + block;
        t.place.i = 0;
        for (size_t left = tile_count; left > 0; left--) {
            const size_t rows = (args->m - t.place.i + left - 1) / left;
            row_of_tiles(&t, bytes, rows, j, j_end);
            t.place.i += rows;
        }
    }
}

void ufk_qconv_select_avx512vnni(ufk_table *t)
{
    t->qconv_nr = PANEL;
    t->qconv_nu = LANES;
    t->qconv_mr = TILE_ROWS;
    t->conv_u8 = ufk_conv_u8_avx512vnni;
    t->conv_u8_name = "conv_u8_avx512vnni";
}
