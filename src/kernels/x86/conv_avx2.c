/*
 * Convolution as GEMM over runs, AVX2 and FMA: tiles of 6 pixels by 16 columns, 12 accumulators of
 * the 16 registers. The epilogue works on the finished tile in the first-level cache, row by row;
 * exponentials call the C library. With fewer than some 64 products a sum the epilogue shows.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/c/epilogue.h"
#include "kernels/topics.h"

#define MR 6
#define NR 16

/* Sums of ROWS pixels by 16 columns into `sums`, [ROWS][16]. Inlined for each ROWS. */
static inline __attribute__((always_inline)) void tile(const ufk_conv_args *p, const float *a,
                                                       const float *b, float *sums, const int rows)
{
    __m256 lo[MR], hi[MR];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
        lo[i] = hi[i] = _mm256_setzero_ps();
    for (size_t y = 0; y < p->runs_y; y++)
        for (size_t x = 0; x < p->runs_x; x++) {
            const float *run = a + y * p->run_stride_y + x * p->run_stride_x;
            for (size_t k = 0; k < p->run_length; k++, b += NR) {
                __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 6
                for (int i = 0; i < rows; i++) {
                    __m256 v = _mm256_broadcast_ss(run + (size_t)i * p->a_stride + k);
                    lo[i] = _mm256_fmadd_ps(v, b0, lo[i]);
                    hi[i] = _mm256_fmadd_ps(v, b1, hi[i]);
                }
            }
        }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        _mm256_store_ps(sums + i * NR, lo[i]);
        _mm256_store_ps(sums + i * NR + 8, hi[i]);
    }
}

#define TILE(rows)                                                                               \
    static void tile_##rows(const ufk_conv_args *p, const float *a, const float *b, float *sums) \
    {                                                                                            \
        tile(p, a, b, sums, rows);                                                               \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

typedef void tile_fn(const ufk_conv_args *p, const float *a, const float *b, float *sums);
static tile_fn *const tiles[MR + 1] = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};

/* One row of a tile; the switch stands outside the loops so that the compiler makes vectors of
 * them. */
static void finish_row(const ufk_epilogue *e, float *v, const float *residual, size_t column,
                       size_t columns)
{
    if (e->bias)
        for (size_t j = 0; j < columns; j++)
            v[j] += e->bias[column + j];
    if (residual)
        for (size_t j = 0; j < columns; j++)
            v[j] += residual[column + j];
    switch (e->act) {
    case UFK_ACT_NONE:
        return;
    case UFK_ACT_CLAMP:
        for (size_t j = 0; j < columns; j++) {
            float low = v[j] > e->lo ? v[j] : e->lo;
            v[j] = low < e->hi ? low : e->hi;
        }
        return;
    case UFK_ACT_PRELU:
        for (size_t j = 0; j < columns; j++)
            v[j] = v[j] >= 0 ? v[j] : v[j] * e->slope[column + j];
        return;
    case UFK_ACT_HARD_SWISH:
    case UFK_ACT_SILU:
    case UFK_ACT_SIGMOID:
        for (size_t j = 0; j < columns; j++)
            v[j] = ufk_activate(e, v[j], column + j);
        return;
    }
}

static void finish(const ufk_conv_args *p, float *sums, size_t row, size_t rows, size_t column)
{
    const ufk_epilogue *e = &p->epilogue;
    size_t columns = p->n - column < NR ? p->n - column : NR;
    for (size_t i = 0; i < rows; i++) {
        const float *residual = e->residual;
        if (residual)
            residual += (row + i) * e->residual_stride;
        finish_row(e, sums + i * NR, residual, column, columns);
        memcpy(p->c + (row + i) * p->c_stride + column, sums + i * NR, columns * sizeof *sums);
    }
}

static void ufk_conv_f32_avx2(const ufk_conv_args *p)
{
    size_t depth = p->runs_y * p->runs_x * p->run_length;
    _Alignas(32) float sums[MR * NR];
    for (size_t j = 0; j < p->n; j += NR)
        for (size_t i = 0; i < p->m; i += MR) {
            size_t rows = p->m - i < MR ? p->m - i : MR;
            tiles[rows](p, p->a + i * p->a_stride, p->b + j * depth, sums);
            finish(p, sums, i, rows, j);
        }
}

void ufk_conv_select_avx2(ufk_table *t)
{
    t->conv_nr = NR;
    t->conv_nu = NR;
    t->conv_mr = MR;
    t->conv_f32 = ufk_conv_f32_avx2;
    t->conv_f32_name = "conv_f32_avx2";
}
