/*
 * INT8 convolution for Arm's dot product extension: register tiles of 4 pixels x 8 columns.
 *
 * sdot takes signed activations, so bytes are shifted down by 128 (their highest bit flipped) and
 * 128 times the sum of the weights, which the packed panel carries, is added back.
 */
#include <arm_neon.h>
#include <string.h>

#include "kernels/c/qepilogue.h"
#include "kernels/topics.h"

enum { PANEL = 8, TILE_ROWS = 4 };

/* `count` bytes (1..4), shifted; the rest meets weights of zero. */
static inline int8x16_t broadcast(const uint8_t *p, size_t count)
{
    uint32_t x = 0;
    memcpy(&x, p, count);
    return vreinterpretq_s8_u32(vdupq_n_u32(x ^ 0x80808080u));
}

static inline void step(int32x4_t sum[TILE_ROWS][2], const uint8_t *a, size_t stride,
                        const int8_t *b, size_t rows, size_t count)
{
    const int8x16_t w0 = vld1q_s8(b), w1 = vld1q_s8(b + 16);
    for (size_t r = 0; r < rows; r++) {
        const int8x16_t x = broadcast(a + r * stride, count);
        sum[r][0] = vdotq_s32(sum[r][0], w0, x);
        sum[r][1] = vdotq_s32(sum[r][1], w1, x);
    }
}

/* Rows i .. i + rows - 1 of the panel whose sums are at `b`. */
static void tile(const ufk_qconv_args *g, size_t i, size_t rows, size_t j, const int8_t *b)
{
    int32x4_t sum[TILE_ROWS][2];
    int32_t column_sums[PANEL], out[PANEL];
    memcpy(column_sums, b, sizeof column_sums);
    b += sizeof column_sums;
    for (size_t r = 0; r < TILE_ROWS; r++) {
        sum[r][0] = vshlq_n_s32(vld1q_s32(column_sums), 7);
        sum[r][1] = vshlq_n_s32(vld1q_s32(column_sums + 4), 7);
    }
    for (size_t y = 0; y < g->runs_y; y++)
        for (size_t x = 0; x < g->runs_x; x++) {
            const uint8_t *a = g->a + i * g->a_stride + y * g->run_stride_y + x * g->run_stride_x;
            size_t k = g->run_length;
            for (; k >= 4; k -= 4, a += 4, b += PANEL * 4)
                step(sum, a, g->a_stride, b, rows, 4);
            if (k) {
                step(sum, a, g->a_stride, b, rows, k);
                b += PANEL * 4;
            }
        }
    const ufk_qepilogue *e = &g->epilogue;
    const size_t columns = g->n - j < PANEL ? g->n - j : PANEL;
    for (size_t r = 0; r < rows; r++) {
        vst1q_s32(out, sum[r][0]);
        vst1q_s32(out + 4, sum[r][1]);
        const uint8_t *residual = e->residual ? e->residual + (i + r) * e->residual_stride : NULL;
        for (size_t c = 0; c < columns; c++) {
            const float v = ufk_qfinish(e, out[c], residual, j + c);
            if (g->c_f32)
                g->c_f32[(i + r) * g->c_stride + j + c] = v;
            else
                g->c[(i + r) * g->c_stride + j + c] = ufk_round_u8(v);
        }
    }
}

static void ufk_conv_u8_dotprod(const ufk_qconv_args *args)
{
    const size_t bytes = ufk_qconv_group_bytes(args->runs_y * args->runs_x, args->run_length);
    for (size_t i = 0; i < args->m; i += TILE_ROWS) {
        const size_t rows = args->m - i < TILE_ROWS ? args->m - i : TILE_ROWS;
        for (size_t j = 0; j < args->n; j += PANEL)
            tile(args, i, rows, j, args->b + j * bytes);
    }
}

void ufk_qconv_select_dotprod(ufk_table *t)
{
    t->qconv_nr = PANEL;
    t->qconv_nu = PANEL;
    t->qconv_mr = TILE_ROWS;
    t->conv_u8 = ufk_conv_u8_dotprod;
    t->conv_u8_name = "conv_u8_dotprod";
}
