/*
 * INT8 convolution for Arm's 8-bit matrix multiplication: register tiles of 8 pixels x 8 columns.
 *
 * usmmla multiplies 2 pixels x 8 k of unsigned bytes by 8 k x 2 columns of signed ones: twice the
 * products of a dot product, and no shift to make up for. Two groups of four k of the panel,
 * interleaved by 32 bits, are what it wants; that is done once a step for all pixels.
 * Verified under an emulator; the speed is not measured yet.
 */
#include <arm_neon.h>
#include <string.h>

#include "kernels/c/qepilogue.h"
#include "kernels/topics.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum {
    PANEL = 8,
    COLUMN_PAIRS = PANEL / 2,
    ROW_PAIRS = 4,
    TILE_ROWS = 2 * ROW_PAIRS,
    GROUP_BYTES = PANEL * 4
};

/* Eight k of a panel, or its last four with zeros behind, as 8 k x 2 columns each. */
ALWAYS_INLINE void load_weights(int8x16_t w[COLUMN_PAIRS], const int8_t *b, bool both)
{
    const int8_t *second = both ? b + GROUP_BYTES : b;
    for (int h = 0; h < 2; h++) {
        const int32x4_t low = vreinterpretq_s32_s8(vld1q_s8(b + 16 * h));
        int32x4_t high = vreinterpretq_s32_s8(vld1q_s8(second + 16 * h));
        if (!both)
            high = vdupq_n_s32(0);
        w[2 * h] = vreinterpretq_s8_s32(vzip1q_s32(low, high));
        w[2 * h + 1] = vreinterpretq_s8_s32(vzip2q_s32(low, high));
    }
}

/* `count` bytes (1..8), zeros behind. */
ALWAYS_INLINE uint8x8_t load_pixel(const uint8_t *p, size_t count)
{
    uint64_t x = 0;
    if (count == 8)
        return vld1_u8(p);
    memcpy(&x, p, count);
    return vcreate_u8(x);
}

/* sum += pixels * weights, `count` k. */
ALWAYS_INLINE void step(int32x4_t sum[ROW_PAIRS][COLUMN_PAIRS], const uint8_t *const a[TILE_ROWS],
                        size_t offset, const int8_t *b, int pairs, size_t count)
{
    int8x16_t w[COLUMN_PAIRS];
    load_weights(w, b, count > 4);
    for (int p = 0; p < pairs; p++) {
        const uint8x16_t x = vcombine_u8(load_pixel(a[2 * p] + offset, count),
                                         load_pixel(a[2 * p + 1] + offset, count));
        for (int c = 0; c < COLUMN_PAIRS; c++)
            sum[p][c] = vusmmlaq_s32(sum[p][c], x, w[c]);
    }
}

/* What follows the sums of pixel i. */
static void finish_row(const ufk_qconv_args *g, size_t i, size_t j, const int32_t sums[PANEL])
{
    const ufk_qepilogue *e = &g->epilogue;
    const size_t columns = g->n - j < PANEL ? g->n - j : PANEL;
    const uint8_t *residual = e->residual ? e->residual + i * e->residual_stride : NULL;
    for (size_t c = 0; c < columns; c++) {
        const float v = ufk_qfinish(e, sums[c], residual, j + c);
        if (g->c_f32)
            g->c_f32[i * g->c_stride + j + c] = v;
        else
            g->c[i * g->c_stride + j + c] = ufk_round_u8(v);
    }
}

/* Rows i .. i + rows - 1, in `pairs` pairs, of the panel whose sums are at `b`. */
ALWAYS_INLINE void tile_body(const ufk_qconv_args *g, size_t i, size_t rows, size_t j,
                             const int8_t *b, int pairs)
{
    int32x4_t sum[ROW_PAIRS][COLUMN_PAIRS];
    for (int p = 0; p < pairs; p++)
        for (int c = 0; c < COLUMN_PAIRS; c++)
            sum[p][c] = vdupq_n_s32(0);
    b += PANEL * sizeof(int32_t);
    for (size_t y = 0; y < g->runs_y; y++)
        for (size_t x = 0; x < g->runs_x; x++) {
            const uint8_t *a[TILE_ROWS], *first = g->a + y * g->run_stride_y + x * g->run_stride_x;
            for (int r = 0; r < 2 * pairs; r++) /* an odd row is its own partner */
                a[r] = first + (i + ((size_t)r < rows ? (size_t)r : rows - 1)) * g->a_stride;
            size_t k = 0;
            for (; k + 8 <= g->run_length; k += 8, b += 2 * GROUP_BYTES)
                step(sum, a, k, b, pairs, 8);
            if (k < g->run_length) {
                step(sum, a, k, b, pairs, g->run_length - k);
                b += (g->run_length - k + 3) / 4 * GROUP_BYTES;
            }
        }
    for (int p = 0; p < pairs; p++) {
        int32_t sums[2][PANEL];
        for (int c = 0; c < COLUMN_PAIRS; c++) {
            vst1_s32(&sums[0][2 * c], vget_low_s32(sum[p][c]));
            vst1_s32(&sums[1][2 * c], vget_high_s32(sum[p][c]));
        }
        for (size_t r = 0; r < 2 && 2 * (size_t)p + r < rows; r++)
            finish_row(g, i + 2 * (size_t)p + r, j, sums[r]);
    }
}

#define TILE(pairs)                                                                    \
    static void tile_##pairs(const ufk_qconv_args *g, size_t i, size_t rows, size_t j, \
                             const int8_t *b)                                          \
    {                                                                                  \
        tile_body(g, i, rows, j, b, pairs);                                            \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
static void (*const tiles[ROW_PAIRS])(const ufk_qconv_args *g, size_t i, size_t rows, size_t j,
                                      const int8_t *b) = {tile_1, tile_2, tile_3, tile_4};

static void ufk_conv_u8_i8mm(const ufk_qconv_args *args)
{
    const size_t bytes = ufk_qconv_group_bytes(args->runs_y * args->runs_x, args->run_length);
    for (size_t i = 0; i < args->m; i += TILE_ROWS) {
        const size_t rows = args->m - i < TILE_ROWS ? args->m - i : TILE_ROWS;
        for (size_t j = 0; j < args->n; j += PANEL)
            tiles[(rows - 1) / 2](args, i, rows, j, args->b + j * bytes);
    }
}

void ufk_qconv_select_i8mm(ufk_table *t)
{
    t->qconv_nr = PANEL;
    t->qconv_nu = PANEL;
    t->qconv_mr = TILE_ROWS;
    t->conv_u8 = ufk_conv_u8_i8mm;
    t->conv_u8_name = "conv_u8_i8mm";
}
