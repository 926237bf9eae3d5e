/*
 * INT8 convolution for AVX-VNNI, the 256-bit form of processors without AVX-512: register tiles of
 * 6 pixels x 16 columns. A vector of weights is a panel's 8 columns x 4 k, as vpdpbusd wants it;
 * four k of a pixel are one 32-bit broadcast.
 */
#include "kernels/topics.h"
#include "kernels/x86/qconv_avx.h"

enum { PANEL = UFK_QCOLUMNS, TILE_ROWS = 6, MAX_PANELS = 2, GROUP_BYTES = PANEL * 4 };

typedef struct tile {
    const ufk_qconv_args *args;
    size_t i, j, columns;        /* first pixel, first column, real columns of the last panel */
    const int8_t *b[MAX_PANELS]; /* first weight of each panel, behind its sums */
} tile;

/* sum += x * w in place. gcc 12 copies and spills the sums when it may choose their registers anew
 * (110 GMAC/s instead of up to 237). */
ALWAYS_INLINE void dot(__m256i *sum, __m256i x, __m256i w)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(*sum) : "x"(x), "x"(w));
}

/* Four k of a pixel, or the last one to three with zeros behind. */
ALWAYS_INLINE __m256i broadcast(const uint8_t *p, size_t count)
{
    uint32_t x = 0;
    if (count >= 4)
        memcpy(&x, p, sizeof x);
    else
        for (size_t k = 0; k < count; k++)
            x |= (uint32_t)p[k] << 8 * k;
    return _mm256_set1_epi32((int32_t)x);
}

/* sum += a[rows][k] * b[k][panels]; `count` k, at most four, at offset k of the run. */
ALWAYS_INLINE void step(__m256i sum[TILE_ROWS][MAX_PANELS], const uint8_t *a, size_t stride,
                        const int8_t *const b[MAX_PANELS], size_t offset, int rows, int panels,
                        size_t count)
{
    __m256i w[MAX_PANELS];
    UNROLL
    for (int v = 0; v < panels; v++)
        w[v] = _mm256_loadu_si256((const __m256i *)(const void *)(b[v] + offset));
    UNROLL
    for (int r = 0; r < rows; r++) {
        const __m256i x = broadcast(a + (size_t)r * stride, count);
        UNROLL
        for (int v = 0; v < panels; v++)
            dot(&sum[r][v], x, w[v]);
    }
}

ALWAYS_INLINE void tile_body(const tile *t, int rows, int panels)
{
    const ufk_qconv_args *g = t->args;
    __m256i sum[TILE_ROWS][MAX_PANELS];
    size_t offset = 0;
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = _mm256_setzero_si256();
    for (size_t y = 0; y < g->runs_y; y++)
        for (size_t x = 0; x < g->runs_x; x++) {
            const uint8_t *a =
                g->a + t->i * g->a_stride + y * g->run_stride_y + x * g->run_stride_x;
            size_t k = g->run_length;
            for (; k >= 4; k -= 4, a += 4, offset += GROUP_BYTES)
                step(sum, a, g->a_stride, t->b, offset, rows, panels, 4);
            if (k) {
                step(sum, a, g->a_stride, t->b, offset, rows, panels, k);
                offset += GROUP_BYTES;
            }
        }
    UNROLL
    for (int v = 0; v < panels; v++) {
        const size_t j = t->j + (size_t)v * PANEL, columns = v + 1 < panels ? PANEL : t->columns;
        const ufk_columns8 c = ufk_load_columns8(&g->epilogue, j, columns);
        UNROLL
        for (int r = 0; r < rows; r++)
            ufk_put8(g, t->i + (size_t)r, j, columns, &c, sum[r][v]);
    }
}

#define TILE(rows)                             \
    static void tile_##rows##_1(const tile *t) \
    {                                          \
        tile_body(t, rows, 1);                 \
    }                                          \
    static void tile_##rows##_2(const tile *t) \
    {                                          \
        tile_body(t, rows, 2);                 \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
static void (*const tiles[TILE_ROWS][MAX_PANELS])(const tile *t) = {
    {tile_1_1, tile_1_2}, {tile_2_1, tile_2_2}, {tile_3_1, tile_3_2},
    {tile_4_1, tile_4_2}, {tile_5_1, tile_5_2}, {tile_6_1, tile_6_2}};

static void ufk_conv_u8_avxvnni(const ufk_qconv_args *args)
{
    const size_t bytes =
        ufk_qconv_group_bytes(args->runs_y * args->runs_x, args->run_length) * PANEL;
    for (size_t j = 0; j < args->n; j += MAX_PANELS * PANEL) {
        const size_t left = args->n - j, panels = left > PANEL ? MAX_PANELS : 1;
        const size_t last = left - (panels - 1) * PANEL;
        const int8_t *b = args->b + j / PANEL * bytes + PANEL * sizeof(int32_t);
        tile t = {.args = args, .j = j, .columns = last < PANEL ? last : PANEL, .b = {b, b}};
        if (panels > 1)
            t.b[1] = b + bytes;
        for (size_t i = 0; i < args->m; i += TILE_ROWS) {
            const size_t rows = args->m - i < TILE_ROWS ? args->m - i : TILE_ROWS;
            t.i = i;
            tiles[rows - 1][panels - 1](&t);
        }
    }
}

void ufk_qconv_select_avxvnni(ufk_table *t)
{
    t->qconv_nr = PANEL;
    t->qconv_nu = PANEL;
    t->qconv_mr = TILE_ROWS;
    t->conv_u8 = ufk_conv_u8_avxvnni;
    t->conv_u8_name = "conv_u8_avxvnni";
}
