/*
 * INT8 convolution for AVX2 without VNNI: register tiles of 6 pixels x 16 columns.
 *
 * vpmaddubsw would saturate, so bytes are widened to 16 bits and multiplied by vpmaddwd, which is
 * exact and still takes 16 products a time, twice what FP32 does. Of a group of four k the even
 * ones and the odd ones are taken apart, which is a shift for weights and pixels alike; each word
 * pair of a vector then belongs to one column, so that nothing has to be added across at the end.
 * The pixels of a tile are widened once for all columns; two of their k are one 32-bit broadcast.
 */
#include "kernels/topics.h"
#include "kernels/x86/qconv_avx.h"

enum {
    PANEL = UFK_QCOLUMNS,
    TILE_ROWS = 6,
    MAX_PANELS = 2,
    TILE_COLUMNS = MAX_PANELS * PANEL,
    GROUP_BYTES = PANEL * 4, /* of weights */
    MAX_GROUPS = 2048,       /* of a pixel in a whole tile */
    /* Words of all rows lie a fixed distance apart; with a power of two they would share the sets
     * of the cache. Stores end up to 7 groups late. */
    ROW = MAX_GROUPS + 24,
    WIDE = TILE_ROWS * ROW
};

typedef struct tile {
    const ufk_qconv_args *args;
    size_t i, j, columns;        /* first pixel, first column, real columns of the last panel */
    const int8_t *b[MAX_PANELS]; /* first weight of each panel, behind its sums */
    const int32_t *even, *odd;   /* words of k 0 2 and 1 3 of each group, ROW groups a pixel */
    size_t groups;
} tile;

/* ---- pixels to words ---- */

/* `count` bytes, 1 to 16, zeros behind, by loads that overlap. */
ALWAYS_INLINE __m128i load_short(const uint8_t *p, size_t count)
{
    uint64_t first = 0, last = 0;
    if (count >= 8) {
        memcpy(&first, p, 8);
        memcpy(&last, p + count - 8, 8);
        last = count > 8 ? last >> 8 * (16 - count) : 0;
    } else if (count >= 4) {
        uint32_t a, b;
        memcpy(&a, p, 4);
        memcpy(&b, p + count - 4, 4);
        first = a | (uint64_t)b << 8 * (count - 4);
    } else {
        first = p[0] | (uint64_t)p[count / 2] << 8 * (count / 2) |
                (uint64_t)p[count - 1] << 8 * (count - 1);
    }
    return _mm_set_epi64x((int64_t)last, (int64_t)first);
}

ALWAYS_INLINE __m256i load_some(const uint8_t *p, size_t count)
{
    if (count <= 16)
        return _mm256_zextsi128_si256(load_short(p, count));
    return _mm256_set_m128i(load_short(p + 16, count - 16),
                            _mm_loadu_si128((const __m128i *)(const void *)p));
}

ALWAYS_INLINE void widen(int32_t *even, int32_t *odd, __m256i bytes)
{
    _mm256_storeu_si256((__m256i *)(void *)even, _mm256_and_si256(bytes, _mm256_set1_epi16(0xFF)));
    _mm256_storeu_si256((__m256i *)(void *)odd, _mm256_srli_epi16(bytes, 8));
}

/* All runs of pixel i; each begins a group, zeros fill its last. */
static void widen_pixel(int32_t *even, int32_t *odd, const ufk_qconv_args *g, size_t i)
{
    const uint8_t *pixel = g->a + i * g->a_stride;
    for (size_t y = 0; y < g->runs_y; y++)
        for (size_t x = 0; x < g->runs_x; x++) {
            const uint8_t *run = pixel + y * g->run_stride_y + x * g->run_stride_x;
            size_t k = 0;
            for (; k + 32 <= g->run_length; k += 32)
                widen(even + k / 4, odd + k / 4,
                      _mm256_loadu_si256((const __m256i *)(const void *)(run + k)));
            if (k < g->run_length)
                widen(even + k / 4, odd + k / 4, load_some(run + k, g->run_length - k));
            even += (g->run_length + 3) / 4;
            odd += (g->run_length + 3) / 4;
        }
}

/* ---- sums ---- */

/* sum += x * w in place: left to itself gcc 12 copies and spills the sums of large tiles. */
ALWAYS_INLINE void multiply_add(__m256i *sum, __m256i x, __m256i w)
{
    __m256i product;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
            : "+x"(*sum), "=&x"(product)
            : "x"(x), "x"(w));
}

ALWAYS_INLINE void half_step(__m256i sum[TILE_ROWS][MAX_PANELS], const int32_t *x,
                             const __m256i w[MAX_PANELS], int rows, int panels)
{
    UNROLL
    for (int r = 0; r < rows; r++) {
        const __m256i pair = _mm256_set1_epi32(x[r * ROW]);
        UNROLL
        for (int v = 0; v < panels; v++)
            multiply_add(&sum[r][v], pair, w[v]);
    }
}

ALWAYS_INLINE __m256i load_weights(const int8_t *b)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)b);
}

ALWAYS_INLINE void accumulate(const tile *t, int32_t out[TILE_ROWS][TILE_COLUMNS], int rows,
                              int panels)
{
    __m256i sum[TILE_ROWS][MAX_PANELS];
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = _mm256_setzero_si256();
    for (size_t g = 0; g < t->groups; g++) {
        __m256i w[MAX_PANELS];
        UNROLL
        for (int v = 0; v < panels; v++)
            w[v] =
                _mm256_srai_epi16(_mm256_slli_epi16(load_weights(t->b[v] + g * GROUP_BYTES), 8), 8);
        half_step(sum, t->even + g, w, rows, panels);
        UNROLL
        for (int v = 0; v < panels; v++)
            w[v] = _mm256_srai_epi16(load_weights(t->b[v] + g * GROUP_BYTES), 8);
        half_step(sum, t->odd + g, w, rows, panels);
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
    for (int v = 0; v < panels; v++)
        _mm256_store_si256((__m256i *)(void *)(out[r] + v * PANEL), sum[r][v]);
}

#define TILE(rows)                                                                   \
    static void tile_##rows##_1(const tile *t, int32_t out[TILE_ROWS][TILE_COLUMNS]) \
    {                                                                                \
        accumulate(t, out, rows, 1);                                                 \
    }                                                                                \
    static void tile_##rows##_2(const tile *t, int32_t out[TILE_ROWS][TILE_COLUMNS]) \
    {                                                                                \
        accumulate(t, out, rows, 2);                                                 \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
static void (*const tiles[TILE_ROWS][MAX_PANELS])(const tile *t,
                                                  int32_t out[TILE_ROWS][TILE_COLUMNS]) = {
    {tile_1_1, tile_1_2}, {tile_2_1, tile_2_2}, {tile_3_1, tile_3_2},
    {tile_4_1, tile_4_2}, {tile_5_1, tile_5_2}, {tile_6_1, tile_6_2}};

/* ---- what follows the sums ---- */

/* 16 columns of pixel i as words, in the order columns 0-3 8-11 4-7 12-15. */
ALWAYS_INLINE __m256i finish_pixel(const ufk_qepilogue *e, size_t i, size_t j, const int32_t *sums,
                                   const ufk_columns8 c[MAX_PANELS])
{
    __m128i residual = _mm_setzero_si128();
    __m256i x[MAX_PANELS];
    if (e->residual)
        residual = _mm_loadu_si128(
            (const __m128i *)(const void *)(e->residual + i * e->residual_stride + j));
    UNROLL
    for (int v = 0; v < MAX_PANELS; v++)
        x[v] = _mm256_cvtps_epi32(ufk_finish8(
            e, _mm256_load_si256((const __m256i *)(const void *)(sums + v * PANEL)), c[v].scale,
            c[v].bias, c[v].slope, v ? _mm_srli_si128(residual, 8) : residual));
    return _mm256_packs_epi32(x[0], x[1]);
}

/* Whole tiles of bytes, two pixels at a time; the activation is known where this is inlined. */
ALWAYS_INLINE void put_whole(const tile *t, int32_t sums[TILE_ROWS][TILE_COLUMNS], size_t rows,
                             ufk_act act)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    ufk_qepilogue e = t->args->epilogue;
    e.act = act;
    const ufk_columns8 c[MAX_PANELS] = {ufk_load_columns8(&e, t->j, PANEL),
                                        ufk_load_columns8(&e, t->j + PANEL, PANEL)};
    uint8_t *out = t->args->c + t->i * t->args->c_stride + t->j;
    for (size_t r = 0; r < rows; r += 2, out += 2 * t->args->c_stride) {
        const bool two = r + 1 < rows;
        const __m256i first = finish_pixel(&e, t->i + r, t->j, sums[r], c);
        const __m256i second = two ? finish_pixel(&e, t->i + r + 1, t->j, sums[r + 1], c) : first;
        const __m256i bytes =
            _mm256_permutevar8x32_epi32(_mm256_packus_epi16(first, second), order);
        _mm_storeu_si128((__m128i *)(void *)out, _mm256_castsi256_si128(bytes));
        if (two)
            _mm_storeu_si128((__m128i *)(void *)(out + t->args->c_stride),
                             _mm256_extracti128_si256(bytes, 1));
    }
}

static void put(const tile *t, int32_t sums[TILE_ROWS][TILE_COLUMNS], size_t rows, size_t panels)
{
    const ufk_act act = t->args->epilogue.act;
    if (t->args->c && panels == MAX_PANELS && t->columns == PANEL && act != UFK_ACT_HARD_SWISH) {
        if (act == UFK_ACT_PRELU)
            put_whole(t, sums, rows, UFK_ACT_PRELU);
        else
            put_whole(t, sums, rows, UFK_ACT_NONE);
        return;
    }
    for (size_t v = 0; v < panels; v++) {
        const size_t j = t->j + v * PANEL, columns = v + 1 < panels ? PANEL : t->columns;
        const ufk_columns8 c = ufk_load_columns8(&t->args->epilogue, j, columns);
        for (size_t r = 0; r < rows; r++)
            ufk_put8(t->args, t->i + r, j, columns, &c,
                     _mm256_load_si256((const __m256i *)(const void *)(sums[r] + v * PANEL)));
    }
}

/* ---- the whole ---- */

/* All columns of the pixels that t->even and t->odd hold. */
static void all_columns(tile *t, size_t rows)
{
    const ufk_qconv_args *args = t->args;
    const size_t bytes =
        ufk_qconv_column_bytes(args->runs_y * args->runs_x, args->run_length) * PANEL;
    for (t->j = 0; t->j < args->n; t->j += TILE_COLUMNS) {
        _Alignas(32) int32_t sums[TILE_ROWS][TILE_COLUMNS];
        const size_t left = args->n - t->j, panels = left > PANEL ? MAX_PANELS : 1;
        const size_t last = left - (panels - 1) * PANEL;
        t->columns = last < PANEL ? last : PANEL;
        t->b[0] = args->b + t->j / PANEL * bytes + PANEL * sizeof(int32_t);
        t->b[1] = panels > 1 ? t->b[0] + bytes : t->b[0];
        tiles[rows - 1][panels - 1](t, sums);
        put(t, sums, rows, panels);
    }
}

static void ufk_conv_u8_avx2(const ufk_qconv_args *args)
{
    int32_t even[WIDE], odd[WIDE];
    const size_t groups = args->runs_y * args->runs_x * ((args->run_length + 3) / 4);
    const size_t most = groups <= MAX_GROUPS ? TILE_ROWS : 1;
    tile t = {.args = args, .even = even, .odd = odd, .groups = groups};
    if (groups > WIDE - 8) {
        ufk_conv_u8_c(args); /* the packed form is the same */
        return;
    }
    for (; t.i < args->m; t.i += most) {
        const size_t rows = args->m - t.i < most ? args->m - t.i : most;
        for (size_t r = 0; r < rows; r++)
            widen_pixel(even + r * ROW, odd + r * ROW, args, t.i + r);
        all_columns(&t, rows);
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
