/*
 * INT8 convolution for AVX2 without VNNI: tiles of 4 pixels x 16 columns by vpmaddubsw, of whose
 * sums qpanel_avx2.h says which fit.
 *
 * Panels whose weights are plain read the pixels of 1x1 layers where they are. Otherwise the pixels
 * of a tile are laid side by side once, 16 k of each, and where a panel wants it put in its order
 * by one vpshufb for two of them. Four k of a pixel are then one 32-bit broadcast, for two vectors
 * of weights. The sums of whole tiles stay in registers to their end.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/topics.h"
#include "kernels/x86/qconv_avx.h"
#include "kernels/x86/qpanel_avx2.h"

enum {
    PANEL = UFK_QPANEL,
    VECTORS = UFK_QPANEL / UFK_QCOLUMNS,
    VECTOR_BYTES = UFK_QCOLUMNS * UFK_QGROUP,
    DOUBLE_BYTES = 2 * VECTORS * VECTOR_BYTES,
    TILE_ROWS = UFK_QPIXELS,
    DEEPEST = 65536, /* of a tile of one pixel */
    MOST_JOINTS = 16,
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

/* Runs that are no longer than a block are joined in registers: what was stored in short pieces is
 * not loaded as a whole before all of it is in the cache. A joint is what a run adds to a block. */
typedef struct joint {
    __m128i order;
    size_t offset; /* of the run */
} joint;

typedef struct joints {
    joint all[MOST_JOINTS];
    size_t end[MOST_JOINTS]; /* of those of each block */
    size_t blocks;           /* 0: runs are not joined so */
} joints;

static joint make_joint(const ufk_qconv_args *g, size_t run, size_t block)
{
    const __m128i places = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const int begin = (int)(run * g->run_length) - (int)(block * UFK_QBLOCK);
    const __m128i from = _mm_sub_epi8(places, _mm_set1_epi8((char)begin));
    const __m128i before = _mm_cmplt_epi8(from, _mm_setzero_si128());
    const __m128i behind = _mm_cmpgt_epi8(from, _mm_set1_epi8((char)(g->run_length - 1)));
    return (joint){_mm_or_si128(from, _mm_or_si128(before, behind)),
                   run / g->runs_x * g->run_stride_y + run % g->runs_x * g->run_stride_x};
}

static void find_joints(joints *j, const ufk_qconv_args *g)
{
    const size_t runs = g->runs_y * g->runs_x, k = runs * g->run_length;
    size_t count = 0;
    j->blocks = 0;
    if (runs == 1 || g->run_length > UFK_QBLOCK || ufk_qblocks(k) + runs > MOST_JOINTS)
        return;
    for (; j->blocks < ufk_qblocks(k); j->end[j->blocks++] = count)
        for (size_t run = 0; run < runs; run++)
            if ((run + 1) * g->run_length > j->blocks * UFK_QBLOCK &&
                run * g->run_length < (j->blocks + 1) * UFK_QBLOCK)
                j->all[count++] = make_joint(g, run, j->blocks);
}

static void join(uint8_t *to, const joints *j, const uint8_t *pixel)
{
    const joint *now = j->all;
    for (size_t b = 0; b < j->blocks; b++, to += BLOCK_BYTES) {
        __m128i v = _mm_setzero_si128();
        for (; now < j->all + j->end[b]; now++)
            v = _mm_or_si128(v, _mm_shuffle_epi8(load16(pixel + now->offset), now->order));
        store16(to, v);
    }
}

/* Pixels i .. i + rows - 1 as [block][pixel][16], blocks `step` bytes apart. */
static void gather(uint8_t *to, size_t step, const ufk_qconv_args *g, const joints *j, size_t i,
                   size_t rows, size_t k)
{
    uint8_t line[UFK_QTILE_K + UFK_QBLOCK];
    const size_t runs = g->runs_y * g->runs_x;
    const uint8_t *pixel = g->a + i * g->a_stride;
    const uint8_t *end = g->a + (g->m - 1) * g->a_stride + (g->runs_y - 1) * g->run_stride_y +
                         (g->runs_x - 1) * g->run_stride_x + g->run_length;
    for (size_t r = 0; r < rows; r++, pixel += g->a_stride, to += UFK_QBLOCK)
        if (j->blocks && pixel + j->all[j->end[j->blocks - 1] - 1].offset + UFK_QBLOCK <= end) {
            join(to, j, pixel);
        } else if (runs == 1) {
            copy_blocks(to, step, pixel, k, end);
        } else if (step == UFK_QBLOCK) {
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

typedef __m256i sums[TILE_ROWS][VECTORS];

/* Four k of a pixel: any bytes. */
typedef struct four {
    uint8_t k[UFK_QGROUP];
} four;

ALWAYS_INLINE __m256i load32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* The pixels of a tile in the order of a slice, BLOCK_BYTES a block. */
ALWAYS_INLINE void put_in_order(uint8_t *to, const uint8_t *pixels, size_t step,
                                const uint8_t *order, size_t blocks, int rows)
{
    for (size_t b = 0; b < blocks; b++, to += BLOCK_BYTES, pixels += step) {
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

ALWAYS_INLINE const four *as_four(const uint8_t *x)
{
    return (const four *)(const void *)x;
}

ALWAYS_INLINE __m256i broadcast(const uint8_t *group, int r)
{
    int32_t x;
    memcpy(&x, group + r * UFK_QBLOCK, sizeof x);
    return _mm256_set1_epi32(x);
}

/* The steps below are assembly because gcc 12, left to itself, copies and spills the sums. */

/* sum += x * w, words. */
ALWAYS_INLINE void add_words(__m256i *sum, __m256i x, __m256i w)
{
    __m256i product;
    __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
            : "+x"(*sum), "=&x"(product)
            : "x"(x), "x"(w));
}

/* What a group adds to the sums of a pixel. */
ALWAYS_INLINE void add_single(__m256i sum[VECTORS], const four *x, const __m256i w[VECTORS],
                              __m256i ones, int vectors)
{
    __m256i p, q;
    if (vectors == 2)
        __asm__("vpbroadcastd %[x], %[q]\n\t"
                "vpmaddubsw %[w0], %[q], %[p]\n\t"
                "vpmaddubsw %[w1], %[q], %[q]\n\t"
                "vpmaddwd %[ones], %[p], %[p]\n\t"
                "vpmaddwd %[ones], %[q], %[q]\n\t"
                "vpaddd %[p], %[s0], %[s0]\n\t"
                "vpaddd %[q], %[s1], %[s1]"
                : [s0] "+x"(sum[0]), [s1] "+x"(sum[1]), [p] "=&x"(p), [q] "=&x"(q)
                : [x] "m"(*x), [w0] "x"(w[0]), [w1] "x"(w[1]), [ones] "x"(ones));
    else
        __asm__("vpbroadcastd %[x], %[p]\n\t"
                "vpmaddubsw %[w0], %[p], %[p]\n\t"
                "vpmaddwd %[ones], %[p], %[p]\n\t"
                "vpaddd %[p], %[s0], %[s0]"
                : [s0] "+x"(sum[0]), [p] "=&x"(p)
                : [x] "m"(*x), [w0] "x"(w[0]), [ones] "x"(ones));
}

/* What two groups add whose products fit 16 bits together; with two vectors there is no register
 * for w[1][1]. */
ALWAYS_INLINE void add_double(__m256i sum[VECTORS], const four *x, const four *y,
                              const __m256i w[2][VECTORS], const __m256i *last, __m256i ones,
                              int vectors)
{
    __m256i a, b, p, q;
    if (vectors == 2)
        __asm__("vpbroadcastd %[x], %[a]\n\t"
                "vpbroadcastd %[y], %[b]\n\t"
                "vpmaddubsw %[w00], %[a], %[p]\n\t"
                "vpmaddubsw %[w10], %[b], %[q]\n\t"
                "vpmaddubsw %[w01], %[a], %[a]\n\t"
                "vpmaddubsw %[w11], %[b], %[b]\n\t"
                "vpaddw %[q], %[p], %[p]\n\t"
                "vpaddw %[b], %[a], %[a]\n\t"
                "vpmaddwd %[ones], %[p], %[p]\n\t"
                "vpmaddwd %[ones], %[a], %[a]\n\t"
                "vpaddd %[p], %[s0], %[s0]\n\t"
                "vpaddd %[a], %[s1], %[s1]"
                : [s0] "+x"(sum[0]), [s1] "+x"(sum[1]), [a] "=&x"(a), [b] "=&x"(b), [p] "=&x"(p),
                  [q] "=&x"(q)
                : [x] "m"(*x), [y] "m"(*y), [w00] "x"(w[0][0]), [w01] "x"(w[0][1]),
                  [w10] "x"(w[1][0]), [w11] "m"(*last), [ones] "x"(ones));
    else
        __asm__(
            "vpbroadcastd %[x], %[a]\n\t"
            "vpbroadcastd %[y], %[b]\n\t"
            "vpmaddubsw %[w00], %[a], %[a]\n\t"
            "vpmaddubsw %[w10], %[b], %[b]\n\t"
            "vpaddw %[b], %[a], %[a]\n\t"
            "vpmaddwd %[ones], %[a], %[a]\n\t"
            "vpaddd %[a], %[s0], %[s0]"
            : [s0] "+x"(sum[0]), [a] "=&x"(a), [b] "=&x"(b)
            : [x] "m"(*x), [y] "m"(*y), [w00] "x"(w[0][0]), [w10] "x"(w[1][0]), [ones] "x"(ones));
}

ALWAYS_INLINE void load_group(__m256i w[VECTORS], const int8_t *from, int vectors)
{
    UNROLL
    for (int v = 0; v < vectors; v++)
        w[v] = load32(from + v * VECTOR_BYTES);
}

ALWAYS_INLINE void add_doubles(sums sum, const slice *s, const uint8_t *x, int rows, int vectors)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const int8_t *w = s->weights;
    const uint16_t *place = s->places, *end = place + 2 * s->head.doubles;
    for (; place < end; place += 2, w += 2 * vectors * VECTOR_BYTES) {
        const uint8_t *a = x + place[0] * UFK_QGROUP, *b = x + place[1] * UFK_QGROUP;
        __m256i both[2][VECTORS];
        load_group(both[0], w, vectors);
        both[1][0] = load32(w + vectors * VECTOR_BYTES);
        const int8_t *last = w + (2 * vectors - 1) * VECTOR_BYTES;
        UNROLL
        for (int r = 0; r < rows; r++)
            add_double(sum[r], as_four(a + r * UFK_QBLOCK), as_four(b + r * UFK_QBLOCK), both,
                       (const __m256i *)(const void *)last, ones, vectors);
    }
}

ALWAYS_INLINE void add_singles(sums sum, const slice *s, const uint8_t *x, int rows, int vectors)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const size_t first = 2 * s->head.doubles;
    const int8_t *w = s->weights + first * vectors * VECTOR_BYTES;
    const uint16_t *place = s->places + first, *end = place + s->head.singles;
    for (; place < end; place++, w += vectors * VECTOR_BYTES) {
        const uint8_t *a = x + place[0] * UFK_QGROUP;
        __m256i group[VECTORS];
        load_group(group, w, vectors);
        UNROLL
        for (int r = 0; r < rows; r++)
            add_single(sum[r], as_four(a + r * UFK_QBLOCK), group, ones, vectors);
    }
}

ALWAYS_INLINE void add_wides(sums sum, const slice *s, const uint8_t *x, int rows, int vectors)
{
    const size_t first = 2 * s->head.doubles + s->head.singles;
    const int8_t *w = s->weights + first * vectors * VECTOR_BYTES;
    const uint16_t *place = s->places + first, *end = place + s->head.wides;
    for (; place < end; place++, w += vectors * VECTOR_BYTES) {
        const uint8_t *a = x + place[0] * UFK_QGROUP;
        __m256i even[VECTORS], odd[VECTORS];
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const __m256i weights = load32(w + v * VECTOR_BYTES);
            even[v] = _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8);
            odd[v] = _mm256_srai_epi16(weights, 8);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            const __m256i x4 = broadcast(a, r);
            const __m256i low = _mm256_and_si256(x4, _mm256_set1_epi16(0xFF));
            const __m256i high = _mm256_srli_epi16(x4, 8);
            UNROLL
            for (int v = 0; v < vectors; v++) {
                add_words(&sum[r][v], low, even[v]);
                add_words(&sum[r][v], high, odd[v]);
            }
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

/* Two groups of a plain slice, which follow each other. Pixels are `pixel` bytes apart. */
ALWAYS_INLINE void add_neighbours(sums sum, const uint8_t *x, size_t pixel, const int8_t *w,
                                  __m256i ones)
{
    __m256i both[2][VECTORS];
    load_group(both[0], w, VECTORS);
    both[1][0] = load32(w + 2 * VECTOR_BYTES);
    UNROLL
    for (int r = 0; r < TILE_ROWS; r++)
        add_double(sum[r], as_four(x + r * pixel), as_four(x + r * pixel + UFK_QGROUP), both,
                   (const __m256i *)(const void *)(w + 3 * VECTOR_BYTES), ones, VECTORS);
}

/* The sums of a whole tile for the one slice of a panel, which is plain. Blocks of 16 k are `block`
 * bytes apart. */
ALWAYS_INLINE void accumulate_plain(sums sum, const uint8_t *x, size_t pixel, size_t block,
                                    const int8_t *w, size_t k)
{
    const __m256i ones = _mm256_set1_epi16(1);
    UNROLL
    for (int r = 0; r < TILE_ROWS; r++)
        sum[r][0] = sum[r][1] = _mm256_setzero_si256();
    for (const uint8_t *end = x + k / UFK_QBLOCK * block; x < end; x += block) {
        add_neighbours(sum, x, pixel, w, ones);
        add_neighbours(sum, x + 2 * UFK_QGROUP, pixel, w + DOUBLE_BYTES, ones);
        w += 2 * DOUBLE_BYTES;
    }
    if (k % UFK_QBLOCK)
        add_neighbours(sum, x, pixel, w, ones);
    if (k % UFK_QBLOCK > 2 * UFK_QGROUP)
        add_neighbours(sum, x + 2 * UFK_QGROUP, pixel, w + DOUBLE_BYTES, ones);
}

/* The sums of `rows` pixels for the panel at `b`, of 8 or 16 columns. */
ALWAYS_INLINE void accumulate(sums sum, const uint8_t *pixels, size_t step, const int8_t *b,
                              size_t k, int rows, int vectors)
{
    _Alignas(32) uint8_t x[UFK_QSLICE / UFK_QBLOCK * BLOCK_BYTES];
    UNROLL
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = _mm256_setzero_si256();
    b += UFK_QSUM_BYTES;
    while (k) {
        const size_t now = k < UFK_QSLICE ? k : UFK_QSLICE;
        const slice s = read_slice(b, now);
        if (s.head.ordered)
            put_in_order(x, pixels, step, s.order, ufk_qblocks(now), rows);
        const uint8_t *from = s.head.ordered ? x : pixels;
        add_doubles(sum, &s, from, rows, vectors);
        add_singles(sum, &s, from, rows, vectors);
        add_wides(sum, &s, from, rows, vectors);
        pixels += UFK_QSLICE / UFK_QBLOCK * step;
        b += ufk_qslice_bytes(now, (size_t)vectors);
        k -= now;
    }
}

#define TILE(rows, vectors)                                                           \
    static void tile_##rows##_##vectors(sums out, const uint8_t *pixels, size_t step, \
                                        const int8_t *b, size_t k)                    \
    {                                                                                 \
        sums sum;                                                                     \
        accumulate(sum, pixels, step, b, k, rows, vectors);                           \
        UNROLL                                                                        \
        for (int r = 0; r < rows; r++)                                                \
            for (int v = 0; v < vectors; v++)                                         \
                out[r][v] = sum[r][v];                                                \
    }
TILE(1, 1)
TILE(2, 1)
TILE(3, 1)
TILE(4, 1)
TILE(1, 2)
TILE(2, 2)
TILE(3, 2)
TILE(4, 2)
typedef void tile_fn(sums out, const uint8_t *pixels, size_t step, const int8_t *b, size_t k);
static tile_fn *const tiles[VECTORS][TILE_ROWS] = {{tile_1_1, tile_2_1, tile_3_1, tile_4_1},
                                                   {tile_1_2, tile_2_2, tile_3_2, tile_4_2}};

/* ---- what follows the sums ---- */

/* What the tiles of a panel share. Outputs and residuals of a tile are at `out` and `residual`. */
typedef struct finisher {
    const ufk_qconv_args *g;
    ufk_columns8 columns[VECTORS];
    __m256i lo;
    uint8_t *out;
    const uint8_t *residual;
} finisher;

ALWAYS_INLINE finisher begin_panel(const ufk_qconv_args *g, size_t i, size_t j)
{
    const ufk_qepilogue *e = &g->epilogue;
    return (finisher){g,
                      {ufk_load_columns8(e, j, UFK_QCOLUMNS),
                       ufk_load_columns8(e, j + UFK_QCOLUMNS, UFK_QCOLUMNS)},
                      _mm256_set1_epi8((char)_mm_cvtss_si32(_mm_set_ss(e->lo))),
                      g->c + i * g->c_stride + j,
                      e->residual ? e->residual + i * e->residual_stride + j : NULL};
}

/* A whole panel of bytes for one or two pixels, the first of them pixel r of the tile; activation
 * and residual are known where this is inlined. */
ALWAYS_INLINE void put_two(const finisher *f, size_t r, __m256i sum[][VECTORS], size_t rows,
                           ufk_act act, bool with_residual)
{
    const ufk_qepilogue *e = &f->g->epilogue;
    uint8_t *out = f->out + r * f->g->c_stride;
    __m256i words[2];
    UNROLL
    for (size_t p = 0; p < rows; p++) {
        const uint8_t *more = with_residual ? f->residual + (r + p) * e->residual_stride : NULL;
        words[p] = _mm256_packs_epi32(ufk_finish_bytes8(e, sum[p][0], &f->columns[0], more, act),
                                      ufk_finish_bytes8(e, sum[p][1], &f->columns[1],
                                                        more ? more + UFK_QCOLUMNS : NULL, act));
    }
    const __m256i bytes = _mm256_permutevar8x32_epi32(
        _mm256_max_epu8(_mm256_packus_epi16(words[0], words[rows - 1]), f->lo),
        _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    store16(out, _mm256_castsi256_si128(bytes));
    if (rows > 1)
        store16(out + f->g->c_stride, _mm256_extracti128_si256(bytes, 1));
}

ALWAYS_INLINE void put_whole(const finisher *f, sums sum, size_t rows, ufk_act act,
                             bool with_residual)
{
    size_t r = 0;
    for (; r + 2 <= rows; r += 2)
        put_two(f, r, sum + r, 2, act, with_residual);
    if (r < rows)
        put_two(f, r, sum + r, 1, act, with_residual);
}

/* One slice, and that plain. */
static bool is_plain(const int8_t *b, size_t k)
{
    ufk_qslice_head head;
    memcpy(&head, b + UFK_QSUM_BYTES, sizeof head);
    return k <= UFK_QSLICE && head.plain;
}

/* Whether plain panels read pixels where they are. */
static bool is_direct(const ufk_qconv_args *g)
{
    return g->runs_y * g->runs_x == 1 && g->run_length % (2 * UFK_QGROUP) == 0;
}

/* `count` whole tiles for the panel at `b`. */
ALWAYS_INLINE void whole_tiles(finisher *f, const uint8_t *pixels, size_t count, const int8_t *b,
                               size_t k, ufk_act act, bool with_residual)
{
    const ufk_qconv_args *g = f->g;
    const bool plain = is_plain(b, k), direct = plain && is_direct(g);
    const size_t pixel = direct ? g->a_stride : UFK_QBLOCK;
    const size_t block = direct ? UFK_QBLOCK : BLOCK_BYTES;
    const size_t tile = direct ? TILE_ROWS * g->a_stride : ufk_qblocks(k) * BLOCK_BYTES;
    const int8_t *w = b + UFK_QSUM_BYTES + ufk_qweights_at(k);
    for (; count; count--, pixels += tile) {
        sums sum;
        if (plain)
            accumulate_plain(sum, pixels, pixel, block, w, k);
        else
            accumulate(sum, pixels, BLOCK_BYTES, b, k, TILE_ROWS, VECTORS);
        put_whole(f, sum, TILE_ROWS, act, with_residual);
        f->out += TILE_ROWS * g->c_stride;
        f->residual += with_residual ? TILE_ROWS * g->epilogue.residual_stride : 0;
    }
}

static void put_tiles(const ufk_qconv_args *g, size_t i, size_t j, const uint8_t *pixels,
                      size_t count, const int8_t *b, size_t k)
{
    finisher f = begin_panel(g, i, j);
    const bool prelu = g->epilogue.act == UFK_ACT_PRELU;
    if (f.residual && prelu)
        whole_tiles(&f, pixels, count, b, k, UFK_ACT_PRELU, true);
    else if (f.residual)
        whole_tiles(&f, pixels, count, b, k, UFK_ACT_NONE, true);
    else if (prelu)
        whole_tiles(&f, pixels, count, b, k, UFK_ACT_PRELU, false);
    else
        whole_tiles(&f, pixels, count, b, k, UFK_ACT_NONE, false);
}

/* Whole panels of bytes. */
static bool is_whole(const ufk_qconv_args *g, size_t j)
{
    return g->c && j + PANEL <= g->n && g->epilogue.act != UFK_ACT_HARD_SWISH;
}

/* Whatever is left. */
static void put_some(const ufk_qconv_args *g, size_t i, size_t j, sums sum, size_t rows)
{
    const size_t end = g->n - j < PANEL ? g->n : j + PANEL;
    if (is_whole(g, j)) {
        const finisher f = begin_panel(g, i, j);
        const bool prelu = g->epilogue.act == UFK_ACT_PRELU;
        if (f.residual)
            put_whole(&f, sum, rows, prelu ? UFK_ACT_PRELU : UFK_ACT_NONE, true);
        else
            put_whole(&f, sum, rows, prelu ? UFK_ACT_PRELU : UFK_ACT_NONE, false);
        return;
    }
    for (size_t v = 0; j < end; v++, j += UFK_QCOLUMNS) {
        const size_t columns = end - j < UFK_QCOLUMNS ? end - j : UFK_QCOLUMNS;
        const ufk_columns8 c = ufk_load_columns8(&g->epilogue, j, columns);
        for (size_t r = 0; r < rows; r++)
            ufk_put8(g, i + r, j, columns, &c, sum[r][v]);
    }
}

/* ---- the whole ---- */

/* Some pixels of a call. */
typedef struct pixel_block {
    const ufk_qconv_args *g;
    size_t first, count, most; /* `most` in a tile */
    size_t k;
    uint8_t *room;
    bool gathered;
    joints joints;
} pixel_block;

static size_t tile_bytes(const pixel_block *p)
{
    return ufk_qblocks(p->k) * p->most * UFK_QBLOCK;
}

static void gather_all(pixel_block *p)
{
    for (size_t r = 0; r < p->count && !p->gathered; r += p->most)
        gather(p->room + r / p->most * tile_bytes(p), p->most * UFK_QBLOCK, p->g, &p->joints,
               p->first + r, p->count - r < p->most ? p->count - r : p->most, p->k);
    p->gathered = true;
}

/* A panel at a time. Tiles follow each other while it stays, so that the lengths of its loops are
 * foreseen. */
static void put_panel(pixel_block *p, size_t j)
{
    const ufk_qconv_args *g = p->g;
    const int8_t *b = g->b + j * ufk_qpanel_column_bytes(p->k);
    const size_t vectors = ufk_qvectors(g->n - j), tiles_count = p->count / TILE_ROWS;
    size_t r = 0;
    if (is_whole(g, j) && p->most == TILE_ROWS && tiles_count) {
        const bool direct = is_plain(b, p->k) && is_direct(g);
        if (!direct)
            gather_all(p);
        put_tiles(g, p->first, j, direct ? g->a + p->first * g->a_stride : p->room, tiles_count, b,
                  p->k);
        r = tiles_count * TILE_ROWS;
    }
    if (r < p->count)
        gather_all(p);
    for (; r < p->count; r += p->most) {
        sums sum;
        const size_t rows = p->count - r < p->most ? p->count - r : p->most;
        tiles[vectors - 1][rows - 1](sum, p->room + r / p->most * tile_bytes(p),
                                     p->most * UFK_QBLOCK, b, p->k);
        put_some(g, p->first + r, j, sum, rows);
    }
}

static void ufk_conv_u8_avx2(const ufk_qconv_args *args)
{
    _Alignas(32) uint8_t room[DEEPEST + UFK_QBLOCK];
    pixel_block p;
    p.g = args;
    p.k = args->runs_y * args->runs_x * args->run_length;
    p.room = room;
    find_joints(&p.joints, args);
    p.most = p.k <= UFK_QTILE_K ? TILE_ROWS : 1;
    const size_t tiles_at_once = PIXEL_BYTES / tile_bytes(&p);
    const size_t step = p.most * (tiles_at_once > 1 ? tiles_at_once : 1);
    for (p.first = 0; p.first < args->m; p.first += step) {
        p.count = args->m - p.first < step ? args->m - p.first : step;
        p.gathered = false;
        for (size_t j = 0; j < args->n; j += PANEL)
            put_panel(&p, j);
    }
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
    t->qconv_nu = UFK_QCOLUMNS;
    t->qconv_mr = TILE_ROWS;
    t->qconv_form = &form;
    t->conv_u8 = ufk_conv_u8_avx2;
    t->conv_u8_name = "conv_u8_avx2";
}
