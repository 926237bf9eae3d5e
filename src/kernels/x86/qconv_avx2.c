/*
 * INT8 convolution for AVX2 without VNNI: register tiles of 4 pixels x 8 columns.
 *
 * vpmaddubsw would saturate, so bytes are widened to 16 bits and multiplied by vpmaddwd, which is
 * exact and still takes 16 products a time, twice what FP32 does. A vector holds 4 columns x 4 k;
 * the two partial sums of a column are added at the end. The pixels of a tile are widened once for
 * all columns; four of their k are then one 64-bit broadcast. (Tiles of 5 or 6 pixels make gcc 12
 * spill sums, and are slower.)
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/topics.h"

enum {
    PANEL = 8,
    TILE_ROWS = 4,
    HALVES = 2,      /* vectors of 4 columns */
    MAX_WIDE = 8192, /* k of a pixel in a whole tile */
    WIDE = TILE_ROWS * MAX_WIDE
};

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

typedef struct tile {
    const ufk_qconv_args *args;
    size_t i, j, columns; /* first pixel, first column, columns that are real */
    const int8_t *b;      /* first weight of the panel, behind its sums */
    const int16_t *wide;  /* the pixels, `depth` words each */
    size_t depth;
} tile;

/* `count` bytes to words, zeros behind up to a multiple of 4; returns the end. */
static int16_t *widen_run(int16_t *out, const uint8_t *in, size_t count)
{
    size_t k = 0;
    for (; k + 16 <= count; k += 16)
        _mm256_storeu_si256(
            (__m256i *)(void *)(out + k),
            _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(in + k))));
    for (; k < count; k++)
        out[k] = in[k];
    for (; k % 4; k++)
        out[k] = 0;
    return out + k;
}

/* All runs of `rows` pixels from i on, one pixel after the other. */
static void widen_rows(int16_t *out, const ufk_qconv_args *g, size_t i, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t y = 0; y < g->runs_y; y++)
            for (size_t x = 0; x < g->runs_x; x++)
                out = widen_run(
                    out, g->a + (i + r) * g->a_stride + y * g->run_stride_y + x * g->run_stride_x,
                    g->run_length);
}

ALWAYS_INLINE void accumulate(const tile *t, __m256i sum[TILE_ROWS][HALVES], int rows)
{
    const int8_t *b = t->b;
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = _mm256_setzero_si256();
    for (size_t k = 0; k < t->depth; k += 4, b += PANEL * 4) {
        __m256i w[HALVES];
        UNROLL
        for (int h = 0; h < HALVES; h++)
            w[h] =
                _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(b + h * 16)));
        UNROLL
        for (int r = 0; r < rows; r++) {
            int64_t four;
            memcpy(&four, t->wide + (size_t)r * t->depth + k, sizeof four);
            const __m256i x = _mm256_set1_epi64x(four);
            UNROLL
            for (int h = 0; h < HALVES; h++)
                sum[r][h] = _mm256_add_epi32(sum[r][h], _mm256_madd_epi16(x, w[h]));
        }
    }
}

/* ---- epilogue ---- */

/* What ufk_qfinish does, for 8 columns; the arrays have 8 entries. */
ALWAYS_INLINE __m256 finish(const ufk_qepilogue *e, __m256i sum, __m256 scale, __m256 bias,
                            __m256 slope, const uint8_t *residual)
{
    __m256 v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, bias);
    if (residual) {
        const __m256i r =
            _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)residual));
        v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(r), _mm256_set1_ps(e->residual_scale), v);
    }
    const __m256 zero = _mm256_setzero_ps();
    if (e->act == UFK_ACT_PRELU) {
        v = _mm256_blendv_ps(v, _mm256_mul_ps(v, slope), _mm256_cmp_ps(v, zero, _CMP_LT_OQ));
        v = _mm256_fmadd_ps(v, _mm256_set1_ps(e->out_scale), _mm256_set1_ps(e->zero));
    } else if (e->act == UFK_ACT_HARD_SWISH) {
        __m256 gate = _mm256_fmadd_ps(v, _mm256_set1_ps(1.0f / 6), _mm256_set1_ps(0.5f));
        gate = _mm256_max_ps(gate, zero);
        v = _mm256_mul_ps(v, _mm256_min_ps(gate, _mm256_set1_ps(1.0f)));
        v = _mm256_fmadd_ps(v, _mm256_set1_ps(e->out_scale), _mm256_set1_ps(e->zero));
    }
    v = _mm256_max_ps(v, _mm256_set1_ps(e->lo));
    return _mm256_min_ps(v, _mm256_set1_ps(e->hi));
}

/* `count` floats, zeros behind. */
ALWAYS_INLINE __m256 load_some(const float *p, size_t count)
{
    float padded[PANEL] = {0};
    if (count == PANEL)
        return _mm256_loadu_ps(p);
    memcpy(padded, p, count * sizeof *p);
    return _mm256_loadu_ps(padded);
}

ALWAYS_INLINE void store(const tile *t, size_t i, __m256 v)
{
    const ufk_qconv_args *g = t->args;
    if (g->c_f32) {
        float row[PANEL];
        _mm256_storeu_ps(row, v);
        memcpy(g->c_f32 + i * g->c_stride + t->j, row, t->columns * sizeof *row);
        return;
    }
    const __m256i x = _mm256_cvtps_epi32(v);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    const __m128i bytes = _mm_packus_epi16(words, words);
    uint8_t *c = g->c + i * g->c_stride + t->j;
    if (t->columns == PANEL)
        _mm_storel_epi64((__m128i *)(void *)c, bytes);
    else {
        uint8_t row[16];
        _mm_storeu_si128((__m128i *)(void *)row, bytes);
        memcpy(c, row, t->columns);
    }
}

ALWAYS_INLINE void tile_body(const tile *t, int rows)
{
    const ufk_qepilogue *e = &t->args->epilogue;
    __m256i sum[TILE_ROWS][HALVES];
    accumulate(t, sum, rows);
    const __m256 scale = load_some(e->scale + t->j, t->columns);
    const __m256 bias = load_some(e->bias + t->j, t->columns);
    const __m256 slope =
        e->act == UFK_ACT_PRELU ? load_some(e->slope + t->j, t->columns) : _mm256_setzero_ps();
    UNROLL
    for (int r = 0; r < rows; r++) {
        const size_t i = t->i + (size_t)r;
        uint8_t padded[PANEL] = {0};
        const uint8_t *residual = NULL;
        if (e->residual) {
            residual = e->residual + i * e->residual_stride + t->j;
            if (t->columns < PANEL) {
                memcpy(padded, residual, t->columns);
                residual = padded;
            }
        }
        /* hadd leaves columns 0 1 4 5 2 3 6 7 */
        const __m256i pairs = _mm256_hadd_epi32(sum[r][0], sum[r][1]);
        const __m256i ordered = _mm256_permute4x64_epi64(pairs, 0xD8);
        store(t, i, finish(e, ordered, scale, bias, slope, residual));
    }
}

#define TILE(rows)                         \
    static void tile_##rows(const tile *t) \
    {                                      \
        tile_body(t, rows);                \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
static void (*const tiles[TILE_ROWS])(const tile *t) = {tile_1, tile_2, tile_3, tile_4};

static void ufk_conv_u8_avx2(const ufk_qconv_args *args)
{
    int16_t wide[WIDE];
    const size_t runs = args->runs_y * args->runs_x,
                 depth = runs * ((args->run_length + 3) / 4) * 4;
    const size_t bytes = ufk_qconv_column_bytes(runs, args->run_length);
    const size_t most = depth <= MAX_WIDE ? TILE_ROWS : 1;
    if (depth > WIDE) {
        ufk_conv_u8_c(args); /* the packed form is the same */
        return;
    }
    for (size_t i = 0; i < args->m; i += most) {
        const size_t rows = args->m - i < most ? args->m - i : most;
        widen_rows(wide, args, i, rows);
        for (size_t j = 0; j < args->n; j += PANEL) {
            const tile t = {.args = args,
                            .i = i,
                            .j = j,
                            .columns = args->n - j < PANEL ? args->n - j : PANEL,
                            .b = args->b + j * bytes + PANEL * sizeof(int32_t),
                            .wide = wide,
                            .depth = depth};
            tiles[rows - 1](&t);
        }
    }
}

void ufk_qconv_select_avx2(ufk_table *t)
{
    t->qconv_nr = PANEL;
    t->qconv_nu = PANEL;
    t->qconv_mr = TILE_ROWS;
    t->conv_u8 = ufk_conv_u8_avx2;
    t->conv_u8_name = "conv_u8_avx2";
}
