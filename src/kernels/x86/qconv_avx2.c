/*
 * INT8 convolution for AVX2 without VNNI: register tiles of 6 pixels x 8 columns.
 *
 * vpmaddubsw would saturate, so bytes are widened to 16 bits and multiplied by vpmaddwd, which is
 * exact and still takes 16 products a time, twice what FP32 does. A vector holds 4 columns x 4 k;
 * the two partial sums of a column are added at the end. The pixels of a tile are widened once for
 * all columns; four of their k are then one 64-bit broadcast.
 */
#include "kernels/topics.h"
#include "kernels/x86/qconv_avx.h"

enum {
    PANEL = UFK_QCOLUMNS,
    TILE_ROWS = 6,
    HALVES = 2,      /* vectors of 4 columns */
    MAX_WIDE = 8192, /* k of a pixel in a whole tile */
    WIDE = TILE_ROWS * MAX_WIDE
};

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

/* sum += x in place: left to itself gcc 12 copies and spills the sums of large tiles. */
ALWAYS_INLINE void add(__m256i *sum, __m256i x)
{
    __asm__("vpaddd %1, %0, %0" : "+x"(*sum) : "x"(x));
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
                add(&sum[r][h], _mm256_madd_epi16(x, w[h]));
        }
    }
}

ALWAYS_INLINE void tile_body(const tile *t, int rows)
{
    __m256i sum[TILE_ROWS][HALVES];
    accumulate(t, sum, rows);
    const ufk_columns8 c = ufk_load_columns8(&t->args->epilogue, t->j, t->columns);
    UNROLL
    for (int r = 0; r < rows; r++) {
        /* hadd leaves columns 0 1 4 5 2 3 6 7 */
        const __m256i pairs = _mm256_hadd_epi32(sum[r][0], sum[r][1]);
        ufk_put8(t->args, t->i + (size_t)r, t->j, t->columns, &c,
                 _mm256_permute4x64_epi64(pairs, 0xD8));
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
TILE(5)
TILE(6)
static void (*const tiles[TILE_ROWS])(const tile *t) = {tile_1, tile_2, tile_3,
                                                        tile_4, tile_5, tile_6};

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
