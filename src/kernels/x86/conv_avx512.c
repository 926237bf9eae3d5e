/*
 * Convolution for AVX-512: register tiles of up to 14 pixels x 32 columns.
 *
 * A tile keeps 28 accumulators in registers; one step of k takes two loads of packed weights and 14
 * broadcasts of pixels for 28 multiply-adds, half of what two load ports can deliver. 14 pixels
 * suit maps of 7, 14, 28, 56 and 112 columns, which face networks are made of: no pixel is left
 * over. A remainder of pixels is spread over all tiles (15 is 8 + 7, not 14 + 1), because tiles of
 * few rows are bound by the latency of the multiply-add. The smallest tiles sum alternate k in
 * separate accumulators for the same reason.
 *
 * Pixels are not packed: rows of a tile are addressed as five pointers three rows apart, plus 0, 1
 * or 2 times the row stride, which x86 addressing gives for nothing. The compiler is kept from
 * making 14 pointers of them by the empty asm of advance().
 *
 * Weights are taken in blocks of panels that stay in L2 while all pixels pass; within a block all
 * panels are applied to one tile of pixels, which stays in L1.
 */
#include <immintrin.h>

#include "kernels/kernels.h"
#include "kernels/topics.h"
#include "kernels/x86/conv_epilogue16.h"

enum {
    LANES = 16,
    PANEL = 32,
    TILE_ROWS = 14,
    ROW_GROUPS = 5,
    MAX_VECTORS = 2,
    MAX_SETS = 8,
    WEIGHT_BLOCK_FLOATS = 128 * 1024 /* half of a small (1 MiB) L2 */
};

/* One tile: its corner in the output and how much of it is real. */
typedef struct tile {
    const ufk_conv_args *args;
    size_t i, j;       /* first pixel, first column */
    const float *b;    /* first weight of the panel */
    __mmask16 columns; /* of the last vector */
} tile;

/* Steps of k summed in separate accumulators, so that at least about 8 are in flight. */
ALWAYS_INLINE int sets_of(int rows, int vectors)
{
    const int in_flight = rows * vectors;
    return in_flight >= 8 ? 1 : in_flight >= 4 ? 2 : in_flight >= 2 ? 4 : 8;
}

/* Five opaque pointers, `bytes` further: hides from the compiler how they hang together. */
ALWAYS_INLINE void advance(const char *p[ROW_GROUPS], int rows, ptrdiff_t bytes)
{
    UNROLL
    for (int g = 0; g < (rows + 2) / 3; g++) {
        p[g] += bytes;
        __asm__("" : "+r"(p[g]));
    }
}

/* sum += a[rows][one k] * b[one k][vectors] */
ALWAYS_INLINE void step(__m512 sum[TILE_ROWS][MAX_VECTORS], const char *const p[ROW_GROUPS],
                        ptrdiff_t stride, ptrdiff_t offset, const float *b, int rows, int vectors)
{
    __m512 w[MAX_VECTORS];
    UNROLL
    for (int v = 0; v < vectors; v++)
        w[v] = _mm512_loadu_ps(b + v * LANES);
    UNROLL
    for (int r = 0; r < rows; r++) {
        const __m512 x =
            _mm512_set1_ps(*(const float *)(const void *)(p[r / 3] + r % 3 * stride + offset));
        UNROLL
        for (int v = 0; v < vectors; v++)
            sum[r][v] = _mm512_fmadd_ps(x, w[v], sum[r][v]);
    }
}

ALWAYS_INLINE void zero(__m512 sum[TILE_ROWS][MAX_VECTORS], int rows, int vectors)
{
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            sum[r][v] = _mm512_setzero_ps();
    }
}

ALWAYS_INLINE void step_of_pairs(__m512 sum[TILE_ROWS][MAX_VECTORS], const float *p, const float *b,
                                 int rows, int vectors)
{
    __m512 w[MAX_VECTORS];
    UNROLL
    for (int v = 0; v < vectors; v++)
        w[v] = _mm512_loadu_ps(b + v * LANES);
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            sum[r][v] = _mm512_fmadd_ps(_mm512_set1_ps(p[2 * r]), w[v], sum[r][v]);
    }
}

/* A run of three floats, pixels two apart: a row of the 3x3 filter over a plane of a picture that
 * is halved, with which most networks begin. All addresses are constants, and of one column a float
 * that two pixels read is loaded once, without which loads were the bound. */
ALWAYS_INLINE void short_run(__m512 sum[TILE_ROWS][MAX_VECTORS], const float *p, const float *b,
                             int rows, int vectors)
{
    if (vectors > 1) {
        UNROLL
        for (int k = 0; k < 3; k++)
            step_of_pairs(sum, p + k, b + k * vectors * LANES, rows, vectors);
        return;
    }
    const __m512 left = _mm512_loadu_ps(b), middle = _mm512_loadu_ps(b + LANES);
    const __m512 right = _mm512_loadu_ps(b + 2 * LANES);
    __m512 x = _mm512_set1_ps(p[0]);
    UNROLL
    for (int r = 0; r < rows; r++) {
        sum[r][0] = _mm512_fmadd_ps(x, left, sum[r][0]);
        sum[r][0] = _mm512_fmadd_ps(_mm512_set1_ps(p[2 * r + 1]), middle, sum[r][0]);
        x = _mm512_set1_ps(p[2 * r + 2]);
        sum[r][0] = _mm512_fmadd_ps(x, right, sum[r][0]);
    }
}

ALWAYS_INLINE void accumulate_short(const tile *t, __m512 sum[TILE_ROWS][MAX_VECTORS], int rows,
                                    int vectors)
{
    const ufk_conv_args *g = t->args;
    const float *b = t->b, *a = g->a + t->i * 2;
    zero(sum, rows, vectors);
    for (size_t y = 0; y < g->runs_y; y++) {
        for (size_t x = 0; x < g->runs_x; x++) {
            short_run(sum, a + y * g->run_stride_y + x * g->run_stride_x, b, rows, vectors);
            b += 3 * vectors * LANES;
        }
    }
}

/* All of k for one tile; partial sums of the sets come together in sum[0]. */
ALWAYS_INLINE void accumulate(const tile *t, __m512 sum[MAX_SETS][TILE_ROWS][MAX_VECTORS], int rows,
                              int vectors, int sets)
{
    const ufk_conv_args *g = t->args;
    const ptrdiff_t stride = (ptrdiff_t)(g->a_stride * sizeof(float));
    const float *b = t->b;
    UNROLL
    for (int s = 0; s < sets; s++)
        zero(sum[s], rows, vectors);
    for (size_t y = 0; y < g->runs_y; y++) {
        for (size_t x = 0; x < g->runs_x; x++) {
            const char *p[ROW_GROUPS];
            const char *a = (const char *)(g->a + t->i * g->a_stride + y * g->run_stride_y +
                                           x * g->run_stride_x);
            UNROLL
            for (int r = 0; r < ROW_GROUPS; r++)
                p[r] = a + 3 * r * stride;
            ptrdiff_t k = (ptrdiff_t)g->run_length;
            for (; k >= sets; k -= sets) {
                UNROLL
                for (int s = 0; s < sets; s++)
                    step(sum[s], p, stride, s * 4, b + s * vectors * LANES, rows, vectors);
                b += sets * vectors * LANES;
                advance(p, rows, sets * 4);
            }
            for (; sets > 1 && k > 0; k--) {
                step(sum[0], p, stride, 0, b, rows, vectors);
                b += vectors * LANES;
                advance(p, rows, 4);
            }
        }
    }
    UNROLL
    for (int s = 1; s < sets; s++) {
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors; v++)
                sum[0][r][v] = _mm512_add_ps(sum[0][r][v], sum[s][r][v]);
        }
    }
}

/* ---- epilogues ---- */

/* One row through the whole epilogue, any activation, any columns: what the tiles do not do in
 * registers. `sum` and the output may be the same memory. */
static void finish_row(const tile *t, size_t row, const float *sum, int vectors)
{
    const ufk_conv_args *g = t->args;
    const ufk_epilogue *e = &g->epilogue;
    for (int v = 0; v < vectors; v++) {
        const size_t j = t->j + (size_t)v * LANES;
        const __mmask16 mask = v + 1 == vectors ? t->columns : 0xFFFF;
        const float *residual =
            e->residual ? e->residual + (t->i + row) * e->residual_stride + j : NULL;
        const __m512 x = ufk_epilogue16(e, _mm512_loadu_ps(sum + v * LANES), residual, j, mask);
        _mm512_mask_storeu_ps(g->c + (t->i + row) * g->c_stride + j, mask, x);
    }
}

static __attribute__((noinline)) void finish_tile(const tile *t, const float *sums, int rows,
                                                  int vectors)
{
    for (int r = 0; r < rows; r++)
        finish_row(t, (size_t)r, sums + r * vectors * LANES, vectors);
}

/* Bias, residual, then clamp or PReLU, and store, without leaving the registers. */
ALWAYS_INLINE void finish_in_registers(const tile *t, __m512 sum[TILE_ROWS][MAX_VECTORS], int rows,
                                       int vectors, bool prelu)
{
    const ufk_conv_args *g = t->args;
    const ufk_epilogue *e = &g->epilogue;
    const bool clamp = e->act == UFK_ACT_CLAMP;
    const __m512 lo = _mm512_set1_ps(clamp ? e->lo : -__builtin_inff());
    const __m512 hi = _mm512_set1_ps(clamp ? e->hi : __builtin_inff());
    UNROLL
    for (int v = 0; v < vectors; v++) {
        const size_t j = t->j + (size_t)v * LANES;
        if (e->bias) {
            const __m512 bias = _mm512_loadu_ps(e->bias + j);
            UNROLL
            for (int r = 0; r < rows; r++)
                sum[r][v] = _mm512_add_ps(sum[r][v], bias);
        }
        if (e->residual) {
            const float *residual = e->residual + t->i * e->residual_stride + j;
            UNROLL
            for (int r = 0; r < rows; r++, residual += e->residual_stride)
                sum[r][v] = _mm512_add_ps(sum[r][v], _mm512_loadu_ps(residual));
        }
        const __m512 slope = prelu ? _mm512_loadu_ps(e->slope + j) : lo;
        float *c = g->c + t->i * g->c_stride + j;
        UNROLL
        for (int r = 0; r < rows; r++, c += g->c_stride) {
            const __m512 x = prelu ? ufk_prelu16(sum[r][v], slope)
                                   : _mm512_min_ps(hi, _mm512_max_ps(lo, sum[r][v]));
            _mm512_storeu_ps(c, x);
        }
    }
}

ALWAYS_INLINE void tile_body(const tile *t, int rows, int vectors)
{
    __m512 sum[MAX_SETS][TILE_ROWS][MAX_VECTORS];
    if (t->args->run_length == 3 && t->args->a_stride == 2)
        accumulate_short(t, sum[0], rows, vectors);
    else
        accumulate(t, sum, rows, vectors, sets_of(rows, vectors));
    const ufk_act act = t->args->epilogue.act;
    if (t->columns == 0xFFFF && act <= UFK_ACT_CLAMP) {
        finish_in_registers(t, sum[0], rows, vectors, false);
    } else if (t->columns == 0xFFFF && act == UFK_ACT_PRELU) {
        finish_in_registers(t, sum[0], rows, vectors, true);
    } else {
        float spill[TILE_ROWS * PANEL] __attribute__((aligned(64)));
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors; v++)
                _mm512_store_ps(spill + (r * vectors + v) * LANES, sum[0][r][v]);
        }
        finish_tile(t, spill, rows, vectors);
    }
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

/* Columns j_begin..j_end for `rows` pixels from `i`. */
static void row_of_tiles(const ufk_conv_args *args, size_t depth, size_t i, size_t rows,
                         size_t j_begin, size_t j_end)
{
    tile t = {.args = args, .i = i, .columns = 0xFFFF};
    for (size_t j = j_begin; j < j_end; j += PANEL) {
        const size_t columns = j_end - j < PANEL ? j_end - j : PANEL;
        const size_t vectors = (columns + LANES - 1) / LANES;
        const size_t tail = columns - (vectors - 1) * LANES;
        t.j = j;
        t.b = args->b + j * depth;
        t.columns = (__mmask16)(0xFFFFu >> (LANES - tail));
        tiles[rows - 1][vectors - 1](&t);
    }
}

static void ufk_conv_f32_avx512(const ufk_conv_args *args)
{
    const size_t depth = args->runs_y * args->runs_x * args->run_length;
    const size_t tile_count = (args->m + TILE_ROWS - 1) / TILE_ROWS;
    size_t block = WEIGHT_BLOCK_FLOATS / (depth ? depth : 1) / PANEL * PANEL;
    if (block < PANEL)
        block = PANEL;
    for (size_t j = 0; j < args->n; j += block) {
        const size_t j_end = args->n - j < block ? args->n : j + block;
        size_t i = 0;
        for (size_t done = 0; done < tile_count; done++) {
            const size_t rows = (args->m - i + tile_count - done - 1) / (tile_count - done);
            row_of_tiles(args, depth, i, rows, j, j_end);
            i += rows;
        }
    }
}

void ufk_conv_select_avx512(ufk_table *t)
{
    t->conv_nr = PANEL;
    t->conv_nu = LANES;
    t->conv_mr = TILE_ROWS;
    t->conv_f32 = ufk_conv_f32_avx512;
    t->conv_f32_name = "conv_f32_avx512";
}
