/*
 * INT8 convolution for AVX-512 VNNI: register tiles of up to 14 pixels x 32 columns, as
 * conv_avx512.c (which see), with vpdpbusd in place of the multiply-add: four k a step.
 *
 * On layers of small K what follows the sum takes as long as the sum, so it stays in registers, and
 * two rows of 32 columns are narrowed to 64 bytes at once.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/topics.h"

enum {
    LANES = 16,
    PANEL = 32,
    TILE_ROWS = 14,
    ROW_GROUPS = 5,
    MAX_VECTORS = 2,
    GROUP_BYTES = LANES * 4, /* one vector of weights: 16 columns, four k */
    WEIGHT_BLOCK_BYTES = 512 * 1024
};

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

typedef struct tile {
    const ufk_qconv_args *args;
    size_t i, j;       /* first pixel, first column */
    const int8_t *b;   /* first weight of the panel, behind its sums */
    __mmask16 columns; /* of the last vector */
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
    const ufk_qconv_args *g = t->args;
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
                g->a + t->i * g->a_stride + y * g->run_stride_y + x * g->run_stride_x;
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

/* ---- epilogues ---- */

/* One vector of columns: what all its rows share. */
typedef struct column_vector {
    __m512 scale, bias, slope;
} column_vector;

ALWAYS_INLINE column_vector load_columns(const ufk_qepilogue *e, size_t j, __mmask16 mask)
{
    column_vector c = {_mm512_maskz_loadu_ps(mask, e->scale + j),
                       _mm512_maskz_loadu_ps(mask, e->bias + j), _mm512_setzero_ps()};
    if (e->act == UFK_ACT_PRELU)
        c.slope = _mm512_maskz_loadu_ps(mask, e->slope + j);
    return c;
}

/* What ufk_qfinish does, for 16 columns. */
ALWAYS_INLINE __m512 finish(const ufk_qepilogue *e, const column_vector *c, __m512i sum,
                            const uint8_t *residual, __mmask16 mask)
{
    __m512 v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), c->scale, c->bias);
    if (residual) {
        const __m512i r = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, residual));
        v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(r), _mm512_set1_ps(e->residual_scale), v);
    }
    if (e->act == UFK_ACT_PRELU) {
        const __mmask16 negative = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ);
        v = _mm512_mask_mul_ps(v, negative, v, c->slope);
        v = _mm512_fmadd_ps(v, _mm512_set1_ps(e->out_scale), _mm512_set1_ps(e->zero));
    } else if (e->act == UFK_ACT_HARD_SWISH) {
        __m512 gate = _mm512_fmadd_ps(v, _mm512_set1_ps(1.0f / 6), _mm512_set1_ps(0.5f));
        gate = _mm512_max_ps(gate, _mm512_setzero_ps());
        v = _mm512_mul_ps(v, _mm512_min_ps(gate, _mm512_set1_ps(1.0f)));
        v = _mm512_fmadd_ps(v, _mm512_set1_ps(e->out_scale), _mm512_set1_ps(e->zero));
    }
    v = _mm512_max_ps(v, _mm512_set1_ps(e->lo));
    return _mm512_min_ps(v, _mm512_set1_ps(e->hi));
}

/* Any columns, any output, one vector after the other. */
static __attribute__((noinline)) void finish_tile(const tile *t, const __m512i *sums, int rows,
                                                  int vectors)
{
    const ufk_qconv_args *g = t->args;
    const ufk_qepilogue *e = &g->epilogue;
    for (int v = 0; v < vectors; v++) {
        const size_t j = t->j + (size_t)v * LANES;
        const __mmask16 mask = v + 1 == vectors ? t->columns : 0xFFFF;
        const column_vector columns = load_columns(e, j, mask);
        for (int r = 0; r < rows; r++) {
            const size_t i = t->i + (size_t)r;
            const uint8_t *residual = e->residual ? e->residual + i * e->residual_stride + j : NULL;
            const __m512 x = finish(e, &columns, sums[r * vectors + v], residual, mask);
            if (g->c_f32)
                _mm512_mask_storeu_ps(g->c_f32 + i * g->c_stride + j, mask, x);
            else
                _mm_mask_storeu_epi8(g->c + i * g->c_stride + j, mask,
                                     _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
        }
    }
}

/* Two rows of 32 columns, given as four vectors of 0..255, to 64 bytes in order. */
ALWAYS_INLINE __m512i narrow(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    return _mm512_permutexvar_epi32(order, bytes);
}

/* Whole panels to bytes, without leaving the registers. `act` is a constant where this is inlined,
 * so that each activation gets its own code. */
ALWAYS_INLINE void finish_whole(const tile *t, __m512i sum[TILE_ROWS][MAX_VECTORS], int rows,
                                ufk_act act, bool has_residual)
{
    const ufk_qconv_args *g = t->args;
    ufk_qepilogue e = g->epilogue;
    e.act = act;
    const column_vector columns[2] = {load_columns(&e, t->j, 0xFFFF),
                                      load_columns(&e, t->j + LANES, 0xFFFF)};
    const uint8_t *residual = e.residual + (has_residual ? t->i * e.residual_stride + t->j : 0);
    uint8_t *c = g->c + t->i * g->c_stride + t->j;
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < 2; v++)
            sum[r][v] = _mm512_cvtps_epi32(finish(
                &e, &columns[v], sum[r][v], has_residual ? residual + v * LANES : NULL, 0xFFFF));
        residual += has_residual ? e.residual_stride : 0;
    }
    UNROLL
    for (int r = 0; r < rows; r += 2) {
        const int next = r + 1 < rows ? r + 1 : r;
        const __m512i bytes = narrow(sum[r][0], sum[r][1], sum[next][0], sum[next][1]);
        _mm256_storeu_si256((__m256i *)(void *)c, _mm512_castsi512_si256(bytes));
        c += g->c_stride;
        if (r + 1 < rows)
            _mm256_storeu_si256((__m256i *)(void *)c, _mm512_extracti64x4_epi64(bytes, 1));
        c += g->c_stride;
    }
}

/* One vector of columns, perhaps not all of it, to bytes: four rows at a time. */
ALWAYS_INLINE void finish_narrow(const tile *t, __m512i sum[TILE_ROWS][MAX_VECTORS], int rows,
                                 ufk_act act)
{
    const ufk_qconv_args *g = t->args;
    ufk_qepilogue e = g->epilogue;
    e.act = act;
    const column_vector columns = load_columns(&e, t->j, t->columns);
    uint8_t *c = g->c + t->i * g->c_stride + t->j;
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r][0] = _mm512_cvtps_epi32(finish(&e, &columns, sum[r][0], NULL, 0xFFFF));
    UNROLL
    for (int r = 0; r < rows; r += 4) {
        const int last = rows - 1;
        const __m512i bytes =
            narrow(sum[r][0], sum[r + 1 < rows ? r + 1 : last][0],
                   sum[r + 2 < rows ? r + 2 : last][0], sum[r + 3 < rows ? r + 3 : last][0]);
        _mm_mask_storeu_epi8(c, t->columns, _mm512_castsi512_si128(bytes));
        if (r + 1 < rows)
            _mm_mask_storeu_epi8(c + g->c_stride, t->columns, _mm512_extracti32x4_epi32(bytes, 1));
        if (r + 2 < rows)
            _mm_mask_storeu_epi8(c + 2 * g->c_stride, t->columns,
                                 _mm512_extracti32x4_epi32(bytes, 2));
        if (r + 3 < rows)
            _mm_mask_storeu_epi8(c + 3 * g->c_stride, t->columns,
                                 _mm512_extracti32x4_epi32(bytes, 3));
        c += 4 * g->c_stride;
    }
}

ALWAYS_INLINE void tile_body(const tile *t, int rows, int vectors)
{
    __m512i sum[TILE_ROWS][MAX_VECTORS];
    accumulate(t, sum, rows, vectors);
    const ufk_qepilogue *e = &t->args->epilogue;
    const bool whole = vectors == 2 && t->columns == 0xFFFF && !t->args->c_f32;
    const bool narrow_bytes = vectors == 1 && !t->args->c_f32 && !e->residual;
    if (narrow_bytes && e->act <= UFK_ACT_CLAMP) {
        finish_narrow(t, sum, rows, UFK_ACT_NONE);
    } else if (narrow_bytes && e->act == UFK_ACT_PRELU) {
        finish_narrow(t, sum, rows, UFK_ACT_PRELU);
    } else if (whole && e->act <= UFK_ACT_CLAMP && !e->residual) {
        finish_whole(t, sum, rows, UFK_ACT_NONE, false);
    } else if (whole && e->act <= UFK_ACT_CLAMP) {
        finish_whole(t, sum, rows, UFK_ACT_NONE, true);
    } else if (whole && e->act == UFK_ACT_PRELU && !e->residual) {
        finish_whole(t, sum, rows, UFK_ACT_PRELU, false);
    } else {
        __m512i spill[TILE_ROWS * MAX_VECTORS];
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors; v++)
                spill[r * vectors + v] = sum[r][v];
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

static void row_of_tiles(const ufk_qconv_args *args, size_t column_bytes, size_t i, size_t rows,
                         size_t j_begin, size_t j_end)
{
    tile t = {.args = args, .i = i, .columns = 0xFFFF};
    for (size_t j = j_begin; j < j_end; j += PANEL) {
        const size_t columns = j_end - j < PANEL ? j_end - j : PANEL;
        const size_t vectors = (columns + LANES - 1) / LANES;
        const size_t tail = columns - (vectors - 1) * LANES;
        t.j = j;
        t.b = args->b + j * column_bytes + vectors * LANES * sizeof(int32_t);
        t.columns = (__mmask16)(0xFFFFu >> (LANES - tail));
        tiles[rows - 1][vectors - 1](&t);
    }
}

static void ufk_conv_u8_avx512vnni(const ufk_qconv_args *args)
{
    const size_t bytes = ufk_qconv_column_bytes(args->runs_y * args->runs_x, args->run_length);
    const size_t tile_count = (args->m + TILE_ROWS - 1) / TILE_ROWS;
    size_t block = WEIGHT_BLOCK_BYTES / bytes / PANEL * PANEL;
    if (block < PANEL)
        block = PANEL;
    for (size_t j = 0; j < args->n; j += block) {
        const size_t j_end = args->n - j < block ? args->n : j + block;
        size_t i = 0;
        for (size_t done = 0; done < tile_count; done++) {
            const size_t rows = (args->m - i + tile_count - done - 1) / (tile_count - done);
            row_of_tiles(args, bytes, i, rows, j, j_end);
            i += rows;
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
