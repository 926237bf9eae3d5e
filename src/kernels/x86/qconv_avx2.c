/*
 * INT8 convolution for AVX2 without VNNI: tiles of 8 pixels x 8 columns by vpmaddubsw, in the order
 * of k that packing has found (qpanel_avx2.h).
 *
 * The pixels of a tile are laid side by side once, 16 k of each, and put in the order of each panel
 * by one vpshufb for two of them. Four k of a pixel are then one 32-bit broadcast.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/topics.h"
#include "kernels/x86/qconv_avx.h"
#include "kernels/x86/qpanel_avx2.h"

enum {
    PANEL = UFK_QPANEL,
    TILE_ROWS = UFK_QPIXELS,
    MAX_K = 8192,       /* of a tile of several pixels */
    PIXEL_BYTES = 8192, /* of tiles that are gathered at once, if there are several */
    /* Bytes between blocks of ordered pixels, whatever their number. */
    BLOCK_BYTES = TILE_ROWS * UFK_QBLOCK
};

/* ---- pixels ---- */

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

ALWAYS_INLINE __m128i load16(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

ALWAYS_INLINE void store16(uint8_t *p, __m128i v)
{
    _mm_storeu_si128((__m128i *)(void *)p, v);
}

/* Copies `count` bytes, 16 at a time and `step` bytes apart; nothing from `end` on is read, up to
 * 15 bytes more are written. */
ALWAYS_INLINE void copy_blocks(uint8_t *to, size_t step, const uint8_t *from, size_t count,
                               const uint8_t *end)
{
    size_t k = 0;
    for (; k < count && (size_t)(end - from) >= k + UFK_QBLOCK; k += UFK_QBLOCK, to += step)
        store16(to, load16(from + k));
    for (; k < count; k += UFK_QBLOCK, to += step)
        store16(to, load_short(from + k, count - k < UFK_QBLOCK ? count - k : UFK_QBLOCK));
}

/* All runs of a pixel one behind the other. */
static void join_runs(uint8_t *to, const ufk_qconv_args *g, const uint8_t *pixel,
                      const uint8_t *end)
{
    for (size_t y = 0; y < g->runs_y; y++)
        for (size_t x = 0; x < g->runs_x; x++, to += g->run_length)
            copy_blocks(to, UFK_QBLOCK, pixel + y * g->run_stride_y + x * g->run_stride_x,
                        g->run_length, end);
}

/* Pixels i .. i + rows - 1 as [block][pixel][16]. */
static void gather(uint8_t *to, const ufk_qconv_args *g, size_t i, size_t rows, size_t k)
{
    uint8_t line[MAX_K + UFK_QBLOCK];
    const size_t runs = g->runs_y * g->runs_x, step = rows * UFK_QBLOCK;
    const uint8_t *pixel = g->a + i * g->a_stride;
    const uint8_t *end = g->a + (g->m - 1) * g->a_stride + (g->runs_y - 1) * g->run_stride_y +
                         (g->runs_x - 1) * g->run_stride_x + g->run_length;
    for (size_t r = 0; r < rows; r++, pixel += g->a_stride, to += UFK_QBLOCK)
        if (runs == 1) {
            copy_blocks(to, step, pixel, k, end);
        } else if (rows == 1) {
            join_runs(to, g, pixel, end);
        } else {
            join_runs(line, g, pixel, end);
            copy_blocks(to, step, line, k, line + sizeof line);
        }
}

/* ---- sums ---- */

typedef struct slice {
    ufk_qslice_head head;
    const uint8_t *order;
    const uint16_t *places;
    const int8_t *weights;
} slice;

ALWAYS_INLINE __m256i load32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* The pixels of a tile in the order of a slice, BLOCK_BYTES a block. */
ALWAYS_INLINE void put_in_order(uint8_t *to, const uint8_t *pixels, const uint8_t *order,
                                size_t blocks, int rows)
{
    for (size_t b = 0; b < blocks; b++, to += BLOCK_BYTES, pixels += rows * UFK_QBLOCK) {
        const __m128i one = load16(order + b * UFK_QBLOCK);
        const __m256i both = _mm256_broadcastsi128_si256(one);
        UNROLL
        for (int r = 0; r + 2 <= rows; r += 2)
            _mm256_store_si256((__m256i *)(void *)(to + r * UFK_QBLOCK),
                               _mm256_shuffle_epi8(load32(pixels + r * UFK_QBLOCK), both));
        if (rows % 2)
            store16(to + (rows - 1) * UFK_QBLOCK,
                    _mm_shuffle_epi8(load16(pixels + (rows - 1) * UFK_QBLOCK), one));
    }
}

/* Four k of pixel r. */
ALWAYS_INLINE __m256i broadcast(const uint8_t *group, int r)
{
    int32_t x;
    memcpy(&x, group + r * UFK_QBLOCK, sizeof x);
    return _mm256_set1_epi32(x);
}

/* sum += x * w in place: left to itself gcc 12 copies and spills the sums of large tiles. */
ALWAYS_INLINE void multiply_add(__m256i *sum, __m256i x, __m256i w)
{
    __m256i product;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
            : "+x"(*sum), "=&x"(product)
            : "x"(x), "x"(w));
}

ALWAYS_INLINE void add_doubles(__m256i sum[TILE_ROWS], const slice *s, const uint8_t *x, int rows)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const int8_t *w = s->weights;
    const uint16_t *place = s->places, *end = place + 2 * s->head.doubles;
    for (; place < end; place += 2, w += 2 * UFK_QGROUP_BYTES) {
        const uint8_t *a = x + place[0] * UFK_QGROUP, *b = x + place[1] * UFK_QGROUP;
        const __m256i first = load32(w), second = load32(w + UFK_QGROUP_BYTES);
        UNROLL
        for (int r = 0; r < rows; r++)
            multiply_add(&sum[r],
                         _mm256_add_epi16(_mm256_maddubs_epi16(broadcast(a, r), first),
                                          _mm256_maddubs_epi16(broadcast(b, r), second)),
                         ones);
    }
}

ALWAYS_INLINE void add_singles(__m256i sum[TILE_ROWS], const slice *s, const uint8_t *x, int rows)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const size_t first = 2 * s->head.doubles;
    const int8_t *w = s->weights + first * UFK_QGROUP_BYTES;
    const uint16_t *place = s->places + first, *end = place + s->head.singles;
    for (; place < end; place++, w += UFK_QGROUP_BYTES) {
        const uint8_t *a = x + place[0] * UFK_QGROUP;
        const __m256i weights = load32(w);
        UNROLL
        for (int r = 0; r < rows; r++)
            multiply_add(&sum[r], _mm256_maddubs_epi16(broadcast(a, r), weights), ones);
    }
}

ALWAYS_INLINE void add_wides(__m256i sum[TILE_ROWS], const slice *s, const uint8_t *x, int rows)
{
    const size_t first = 2 * s->head.doubles + s->head.singles;
    const int8_t *w = s->weights + first * UFK_QGROUP_BYTES;
    const uint16_t *place = s->places + first, *end = place + s->head.wides;
    for (; place < end; place++, w += UFK_QGROUP_BYTES) {
        const uint8_t *a = x + place[0] * UFK_QGROUP;
        const __m256i weights = load32(w);
        const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8);
        const __m256i odd = _mm256_srai_epi16(weights, 8);
        UNROLL
        for (int r = 0; r < rows; r++) {
            const __m256i four = broadcast(a, r);
            multiply_add(&sum[r], _mm256_and_si256(four, _mm256_set1_epi16(0xFF)), even);
            multiply_add(&sum[r], _mm256_srli_epi16(four, 8), odd);
        }
    }
}

ALWAYS_INLINE slice read_slice(const int8_t *p, size_t k)
{
    slice s = {.order = (const uint8_t *)p + sizeof s.head,
               .places = (const uint16_t *)(const void *)(p + ufk_qplaces_at(k)),
               .weights = p + ufk_qweights_at(k)};
    memcpy(&s.head, p, sizeof s.head);
    return s;
}

/* The sums of `rows` pixels for the panel at `b`. */
ALWAYS_INLINE void accumulate(int32_t out[TILE_ROWS][PANEL], const uint8_t *pixels, const int8_t *b,
                              size_t k, int rows)
{
    _Alignas(32) uint8_t x[UFK_QSLICE / UFK_QBLOCK * BLOCK_BYTES];
    __m256i sum[TILE_ROWS];
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r] = _mm256_setzero_si256();
    b += UFK_QSUM_BYTES;
    while (k) {
        const size_t now = k < UFK_QSLICE ? k : UFK_QSLICE;
        const slice s = read_slice(b, now);
        put_in_order(x, pixels, s.order, ufk_qblocks(now), rows);
        add_doubles(sum, &s, x, rows);
        add_singles(sum, &s, x, rows);
        add_wides(sum, &s, x, rows);
        pixels += (size_t)rows * UFK_QSLICE;
        b += ufk_qslice_bytes(now);
        k -= now;
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        _mm256_store_si256((__m256i *)(void *)out[r], sum[r]);
}

#define TILE(rows)                                                                                 \
    static void tile_##rows(int32_t out[TILE_ROWS][PANEL], const uint8_t *pixels, const int8_t *b, \
                            size_t k)                                                              \
    {                                                                                              \
        accumulate(out, pixels, b, k, rows);                                                       \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)
static void (*const tiles[TILE_ROWS])(int32_t out[TILE_ROWS][PANEL], const uint8_t *pixels,
                                      const int8_t *b, size_t k) = {tile_1, tile_2, tile_3, tile_4,
                                                                    tile_5, tile_6, tile_7, tile_8};

/* ---- what follows the sums ---- */

/* What ufk_finish8 does, for bytes of a known activation: a value below lo or NaN, whose integer is
 * then the least there is, becomes lo among the bytes. */
ALWAYS_INLINE __m256i finish_bytes(const ufk_qepilogue *e, __m256i sum, const ufk_columns8 *c,
                                   const uint8_t *residual, ufk_act act)
{
    __m256 v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), c->scale, c->bias);
    if (residual) {
        const __m256i r =
            _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)residual));
        v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(r), _mm256_set1_ps(e->residual_scale), v);
    }
    if (act == UFK_ACT_PRELU) {
        v = _mm256_blendv_ps(v, _mm256_mul_ps(v, c->slope), v);
        v = _mm256_fmadd_ps(v, _mm256_set1_ps(e->out_scale), _mm256_set1_ps(e->zero));
    }
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(e->hi), v));
}

/* 8 bytes of four pixels, as lanes. */
ALWAYS_INLINE __m256i pack_four(const __m256i x[4], __m256i lo)
{
    const __m256i bytes =
        _mm256_packus_epi16(_mm256_packs_epi32(x[0], x[1]), _mm256_packs_epi32(x[2], x[3]));
    return _mm256_permutevar8x32_epi32(_mm256_max_epu8(bytes, lo),
                                       _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* Whole panels of bytes; activation, residual and number of pixels are known where this is inlined,
 * or the pixels are fewer than 4. */
ALWAYS_INLINE void put_four(uint8_t *out, const ufk_qconv_args *g, const ufk_columns8 *c,
                            const uint8_t *residual, ufk_act act, __m256i lo, int32_t sums[][PANEL],
                            size_t rows)
{
    const ufk_qepilogue *e = &g->epilogue;
    __m256i x[4];
    UNROLL
    for (size_t r = 0; r < 4; r++) {
        const size_t p = r < rows ? r : 0;
        x[r] = finish_bytes(e, load32(sums[p]), c,
                            residual ? residual + p * e->residual_stride : NULL, act);
    }
    const __m256i all = pack_four(x, lo);
    const __m128i first = _mm256_castsi256_si128(all), last = _mm256_extracti128_si256(all, 1);
    _mm_storel_epi64((__m128i *)(void *)out, first);
    if (rows > 1)
        _mm_storeh_pi((__m64 *)(void *)(out + g->c_stride), _mm_castsi128_ps(first));
    if (rows > 2)
        _mm_storel_epi64((__m128i *)(void *)(out + 2 * g->c_stride), last);
    if (rows > 3)
        _mm_storeh_pi((__m64 *)(void *)(out + 3 * g->c_stride), _mm_castsi128_ps(last));
}

ALWAYS_INLINE void put_whole(const ufk_qconv_args *g, size_t i, size_t j, ufk_act act,
                             bool with_residual, int32_t sums[TILE_ROWS][PANEL], size_t rows)
{
    const ufk_qepilogue *e = &g->epilogue;
    const ufk_columns8 c = ufk_load_columns8(e, j, PANEL);
    const __m256i lo = _mm256_set1_epi8((char)_mm_cvtss_si32(_mm_set_ss(e->lo)));
    const uint8_t *residual = with_residual ? e->residual + i * e->residual_stride + j : NULL;
    uint8_t *out = g->c + i * g->c_stride + j;
    size_t r = 0;
    for (; r + 4 <= rows; r += 4)
        put_four(out + r * g->c_stride, g, &c,
                 with_residual ? residual + r * e->residual_stride : NULL, act, lo, sums + r, 4);
    if (r < rows)
        put_four(out + r * g->c_stride, g, &c,
                 with_residual ? residual + r * e->residual_stride : NULL, act, lo, sums + r,
                 rows - r);
}

static void put(const ufk_qconv_args *g, size_t i, size_t j, int32_t sums[TILE_ROWS][PANEL],
                size_t rows)
{
    const ufk_act act = g->epilogue.act;
    const size_t left = g->n - j, columns = left < PANEL ? left : PANEL;
    if (g->c && columns == PANEL && act != UFK_ACT_HARD_SWISH) {
        if (g->epilogue.residual && act == UFK_ACT_PRELU)
            put_whole(g, i, j, UFK_ACT_PRELU, true, sums, rows);
        else if (g->epilogue.residual)
            put_whole(g, i, j, UFK_ACT_NONE, true, sums, rows);
        else if (act == UFK_ACT_PRELU)
            put_whole(g, i, j, UFK_ACT_PRELU, false, sums, rows);
        else
            put_whole(g, i, j, UFK_ACT_NONE, false, sums, rows);
        return;
    }
    const ufk_columns8 c = ufk_load_columns8(&g->epilogue, j, columns);
    for (size_t r = 0; r < rows; r++)
        ufk_put8(g, i + r, j, columns, &c,
                 _mm256_load_si256((const __m256i *)(const void *)sums[r]));
}

/* ---- the whole ---- */

/* All columns of pixels i .. i + count - 1. Tiles follow each other while a panel stays, so that
 * the lengths of its loops are foreseen. */
static void put_block(const ufk_qconv_args *args, uint8_t *pixels, size_t i, size_t count, size_t k,
                      size_t most)
{
    const size_t column_bytes = ufk_qpanel_column_bytes(k);
    const size_t tile_bytes = most * ufk_qblocks(k) * UFK_QBLOCK;
    for (size_t r = 0; r < count; r += most)
        gather(pixels + r / most * tile_bytes, args, i + r, count - r < most ? count - r : most, k);
    for (size_t j = 0; j < args->n; j += PANEL)
        for (size_t r = 0; r < count; r += most) {
            _Alignas(32) int32_t sums[TILE_ROWS][PANEL];
            const size_t rows = count - r < most ? count - r : most;
            tiles[rows - 1](sums, pixels + r / most * tile_bytes, args->b + j * column_bytes, k);
            put(args, i + r, j, sums, rows);
        }
}

static void ufk_conv_u8_avx2(const ufk_qconv_args *args)
{
    _Alignas(32) uint8_t pixels[TILE_ROWS * MAX_K + UFK_QBLOCK];
    const size_t k = args->runs_y * args->runs_x * args->run_length;
    const size_t most = k <= MAX_K ? TILE_ROWS : 1;
    const size_t tiles_at_once = PIXEL_BYTES / (most * ufk_qblocks(k) * UFK_QBLOCK);
    const size_t step = most * (tiles_at_once > 1 ? tiles_at_once : 1);
    for (size_t i = 0; i < args->m; i += step)
        put_block(args, pixels, i, args->m - i < step ? args->m - i : step, k, most);
}

static size_t column_bytes(size_t runs, size_t run_length)
{
    return ufk_qpanel_column_bytes(runs * run_length);
}

static void pack_panel(int8_t *out, const int8_t *b, size_t n, size_t runs, size_t run_length,
                       size_t columns)
{
    ufk_qpanel_pack_avx2(out, b, n, runs * run_length, columns);
}

static const ufk_qconv_form form = {column_bytes, pack_panel};

void ufk_qconv_select_avx2(ufk_table *t)
{
    t->qconv_nr = PANEL;
    t->qconv_nu = PANEL;
    t->qconv_mr = TILE_ROWS;
    t->qconv_form = &form;
    t->conv_u8 = ufk_conv_u8_avx2;
    t->conv_u8_name = "conv_u8_avx2";
}
