/*
 * Convolution for NEON: tiles of up to 8 pixels x 8 columns, 16 accumulators of the 32 registers,
 * two loads of packed weights and 8 broadcasts of pixels for 16 multiply-adds.
 */
#include "kernels/simd/vec.h"
#include "kernels/topics.h"

enum { ROWS = 8, PANEL = 2 * LANES };

/* Bias, residual, activation and store of LANES columns from channel `j` on, `n` of them real. */
V_INLINE void finish(const ufk_conv_args *p, size_t i, size_t j, size_t n, vec v)
{
    const ufk_epilogue *e = &p->epilogue;
    vec slope = e->act == UFK_ACT_PRELU ? v_get(e->slope + j, n) : v_set(0.0f);
    if (e->bias)
        v = v_add(v, v_get(e->bias + j, n));
    if (e->residual)
        v = v_add(v, v_get(e->residual + i * e->residual_stride + j, n));
    v_put(p->c + i * p->c_stride + j, v_activate(e, v, slope), n);
}

/* Pixels i .. i + rows - 1, the panel that begins at column j. Inlined for each number of rows. */
V_INLINE void tile(const ufk_conv_args *p, size_t i, size_t j, const float *b, const int rows)
{
    vec sum[ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = v_set(0.0f);
    for (size_t y = 0; y < p->runs_y; y++)
        for (size_t x = 0; x < p->runs_x; x++) {
            const float *a = p->a + i * p->a_stride + y * p->run_stride_y + x * p->run_stride_x;
            for (size_t k = 0; k < p->run_length; k++, b += PANEL) {
                vec b0 = v_load(b), b1 = v_load(b + LANES);
#pragma GCC unroll 8
                for (int r = 0; r < rows; r++) {
                    vec v = v_set(a[(size_t)r * p->a_stride + k]);
                    sum[r][0] = v_fma(v, b0, sum[r][0]);
                    sum[r][1] = v_fma(v, b1, sum[r][1]);
                }
            }
        }
    size_t n = p->n - j;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        finish(p, i + (size_t)r, j, n, sum[r][0]);
        if (n > LANES)
            finish(p, i + (size_t)r, j + LANES, n - LANES, sum[r][1]);
    }
}

#define TILE(rows)                                                                      \
    static void tile_##rows(const ufk_conv_args *p, size_t i, size_t j, const float *b) \
    {                                                                                   \
        tile(p, i, j, b, rows);                                                         \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)

typedef void tile_fn(const ufk_conv_args *p, size_t i, size_t j, const float *b);
static tile_fn *const tiles[ROWS] = {tile_1, tile_2, tile_3, tile_4,
                                     tile_5, tile_6, tile_7, tile_8};

static void ufk_conv_f32_neon(const ufk_conv_args *p)
{
    const size_t depth = p->runs_y * p->runs_x * p->run_length;
    for (size_t j = 0; j < p->n; j += PANEL)
        for (size_t i = 0; i < p->m; i += ROWS) {
            size_t rows = p->m - i < ROWS ? p->m - i : ROWS;
            tiles[rows - 1](p, i, j, p->b + j * depth);
        }
}

void ufk_conv_select_neon(ufk_table *t)
{
    t->conv_nr = PANEL;
    t->conv_nu = PANEL;
    t->conv_mr = ROWS;
    t->conv_f32 = ufk_conv_f32_neon;
    t->conv_f32_name = "conv_f32_neon";
}
