/*
 * Convolution as GEMM over runs, AVX2 and FMA: tiles of 6 pixels by 16 columns, 12 accumulators of
 * the 16 registers. Clamps and PReLU of whole columns are done in registers; other epilogues work
 * on the finished tile in the first-level cache, row by row, and exponentials call the C library.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/c/epilogue.h"
#include "kernels/topics.h"

#define MR 6
#define NR 16

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

typedef struct sums {
    __m256 lo[MR], hi[MR]; /* of a pixel: columns 0 to 7, 8 to 15 */
} sums;

#define INLINE static inline __attribute__((always_inline))

/* One k of `rows` pixels. */
INLINE void step(sums *s, const float *a, size_t stride, const float *b, const int rows)
{
    const __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        const __m256 v = _mm256_broadcast_ss(a + (size_t)i * stride);
        s->lo[i] = _mm256_fmadd_ps(v, b0, s->lo[i]);
        s->hi[i] = _mm256_fmadd_ps(v, b1, s->hi[i]);
    }
}

/* Runs of three floats, pixels two apart, with which most networks begin (conv_avx512.c): addresses
 * are constants. */
INLINE void accumulate(sums *s, const ufk_conv_args *p, const float *a, const float *b,
                       const int rows)
{
    const bool is_short = p->run_length == 3 && p->a_stride == 2;
    for (size_t y = 0; y < p->runs_y; y++)
        for (size_t x = 0; x < p->runs_x; x++) {
            const float *run = a + y * p->run_stride_y + x * p->run_stride_x;
            if (is_short) {
                step(s, run, 2, b, rows);
                step(s, run + 1, 2, b + NR, rows);
                step(s, run + 2, 2, b + 2 * NR, rows);
                b += 3 * NR;
                continue;
            }
            for (size_t k = 0; k < p->run_length; k++, b += NR)
                step(s, run + k, p->a_stride, b, rows);
        }
}

/* Bias, residual, then clamp or PReLU of 8 columns. */
INLINE __m256 finished(const ufk_epilogue *e, __m256 v, const float *residual, size_t column)
{
    if (e->bias)
        v = _mm256_add_ps(v, _mm256_loadu_ps(e->bias + column));
    if (residual)
        v = _mm256_add_ps(v, _mm256_loadu_ps(residual + column));
    if (e->act == UFK_ACT_CLAMP)
        v = _mm256_min_ps(_mm256_set1_ps(e->hi), _mm256_max_ps(_mm256_set1_ps(e->lo), v));
    if (e->act == UFK_ACT_PRELU)
        v = _mm256_blendv_ps(v, _mm256_mul_ps(v, _mm256_loadu_ps(e->slope + column)),
                             _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_NGE_UQ));
    return v;
}

/* `rows` pixels from `row`, 16 columns from `column`. Inlined for each number of rows. */
INLINE void tile(const ufk_conv_args *p, size_t row, size_t column, const float *b, const int rows)
{
    const ufk_epilogue *e = &p->epilogue;
    sums s;
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
        s.lo[i] = s.hi[i] = _mm256_setzero_ps();
    accumulate(&s, p, p->a + row * p->a_stride, b, rows);
    if (p->n - column >= NR && e->act <= UFK_ACT_PRELU) {
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            const float *residual =
                e->residual ? e->residual + (row + (size_t)i) * e->residual_stride : NULL;
            float *c = p->c + (row + (size_t)i) * p->c_stride + column;
            _mm256_storeu_ps(c, finished(e, s.lo[i], residual, column));
            _mm256_storeu_ps(c + 8, finished(e, s.hi[i], residual, column + 8));
        }
        return;
    }
    _Alignas(32) float spill[MR * NR];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        _mm256_store_ps(spill + i * NR, s.lo[i]);
        _mm256_store_ps(spill + i * NR + 8, s.hi[i]);
    }
    finish(p, spill, row, (size_t)rows, column);
}

#define TILE(rows)                                                                             \
    static void tile_##rows(const ufk_conv_args *p, size_t row, size_t column, const float *b) \
    {                                                                                          \
        tile(p, row, column, b, rows);                                                         \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

typedef void tile_fn(const ufk_conv_args *p, size_t row, size_t column, const float *b);
static tile_fn *const tiles[MR + 1] = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};

static void ufk_conv_f32_avx2(const ufk_conv_args *p)
{
    const size_t depth = p->runs_y * p->runs_x * p->run_length;
    for (size_t j = 0; j < p->n; j += NR)
        for (size_t i = 0; i < p->m; i += MR)
            tiles[p->m - i < MR ? p->m - i : MR](p, i, j, p->b + j * depth);
}

void ufk_conv_select_avx2(ufk_table *t)
{
    t->conv_nr = NR;
    t->conv_nu = NR;
    t->conv_mr = MR;
    t->conv_f32 = ufk_conv_f32_avx2;
    t->conv_f32_name = "conv_f32_avx2";
}
