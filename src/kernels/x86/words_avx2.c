/*
 * INT16 on AVX2. vpmaddwd multiplies pairs of words and adds the two products: with an addition
 * behind it 16 products take two instructions, where FP32 has one for 8, and the additions have
 * ports of their own (Zen 3: 83 products a nanosecond instead of 50).
 *
 * Convolution: tiles of 6 pixels by 16 columns as in conv_avx2.c; pairs are neighbours in k.
 * Depthwise 3x3: pairs are pixels above each other, which interleaving two rows makes; four rows
 * make two rows of output. Sums and products are tied together by hand: left alone, gcc adds up
 * products first and runs out of registers.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/topics.h"
#include "kernels/x86/inline.h"

enum { MR = 6, NR = 16 };

ALWAYS_INLINE __m256i load(const int16_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

ALWAYS_INLINE void store(int16_t *p, __m256i v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, v);
}

ALWAYS_INLINE void add_products(__m256i *sum, __m256i x, __m256i w)
{
    const __m256i products = _mm256_madd_epi16(x, w);
    __asm__("vpaddd %1, %0, %0" : "+x"(*sum) : "x"(products));
}

/* 8 words as floats. */
ALWAYS_INLINE __m256 floats_of(const int16_t *p)
{
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

/* ---- what follows a sum ---- */

/* Of 8 channels. */
typedef struct finisher {
    __m256 scale, bias, slope;
} finisher;

/* `residual`: those of the 8 channels, or NULL; plain: there are neither these nor slopes. */
ALWAYS_INLINE __m256 finish(__m256i sum, const finisher *f, const ufk_word_epilogue *e,
                            const int16_t *residual, const bool plain)
{
    __m256 v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), f->scale, f->bias);
    if (plain)
        return v;
    if (residual)
        v = _mm256_fmadd_ps(floats_of(residual), _mm256_set1_ps(e->residual_scale), v);
    if (e->slope) {
        const __m256 below = _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_LT_OQ);
        v = _mm256_blendv_ps(v, _mm256_mul_ps(v, f->slope), below);
    }
    return v;
}

ALWAYS_INLINE finisher finisher_of(const ufk_word_epilogue *e, size_t c)
{
    const float *slope = e->slope ? e->slope : e->scale;
    return (finisher){_mm256_loadu_ps(e->scale + c), _mm256_loadu_ps(e->bias + c),
                      _mm256_loadu_ps(slope + c)};
}

ALWAYS_INLINE __m256 clamp(__m256 v, const ufk_word_epilogue *e)
{
    return _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(e->lo)), _mm256_set1_ps(e->hi));
}

/* Clamped when they are words, which takes half the instructions. */
ALWAYS_INLINE __m256i words_of(__m256 lo, __m256 hi, const ufk_word_epilogue *e)
{
    const __m256i v = _mm256_packs_epi32(_mm256_cvtps_epi32(lo), _mm256_cvtps_epi32(hi));
    return _mm256_min_epi16(_mm256_max_epi16(v, _mm256_set1_epi16((int16_t)e->lo)),
                            _mm256_set1_epi16((int16_t)e->hi));
}

/* 16 channels to words or floats. */
ALWAYS_INLINE void put(int16_t *words, float *floats, __m256 lo, __m256 hi,
                       const ufk_word_epilogue *e)
{
    if (floats) {
        _mm256_storeu_ps(floats, clamp(lo, e));
        _mm256_storeu_ps(floats + 8, clamp(hi, e));
        return;
    }
    store(words, _mm256_permute4x64_epi64(words_of(lo, hi, e), 0xD8));
}

/* ---- convolution ---- */

/* Pairs of `rows` pixels, of which those of pixel r begin at p[r / 3] + r % 3 * stride bytes. */
ALWAYS_INLINE void step(__m256i sums[MR][2], const char *const p[2], ptrdiff_t stride,
                        ptrdiff_t offset, const int16_t *b, const int rows, const int halves)
{
    const __m256i b0 = load(b), b1 = load(b + NR);
    UNROLL
    for (int r = 0; r < rows; r++) {
        int32_t pair;
        memcpy(&pair, p[r / 3] + r % 3 * stride + offset, sizeof pair);
        const __m256i x = _mm256_set1_epi32(pair);
        add_products(&sums[r][0], x, b0);
        if (halves > 1)
            add_products(&sums[r][1], x, b1);
    }
}

/* A run of one word. */
ALWAYS_INLINE void only_step(__m256i sums[MR][2], const char *const p[2], ptrdiff_t stride,
                             const int16_t *b, const int rows, const int halves)
{
    const __m256i b0 = load(b), b1 = load(b + NR);
    UNROLL
    for (int r = 0; r < rows; r++) {
        uint16_t word;
        memcpy(&word, p[r / 3] + r % 3 * stride, sizeof word);
        const __m256i x = _mm256_set1_epi32(word);
        add_products(&sums[r][0], x, b0);
        if (halves > 1)
            add_products(&sums[r][1], x, b1);
    }
}

ALWAYS_INLINE const int16_t *run(__m256i sums[MR][2], const int16_t *a, ptrdiff_t stride,
                                 size_t length, const int16_t *b, const int rows, const int halves)
{
    const char *p[2] = {(const char *)a, (const char *)a + 3 * stride};
    for (size_t k = length / 8; k > 0; k--, b += 8 * NR) {
        UNROLL
        for (int u = 0; u < 4; u++)
            step(sums, (const char *const *)p, stride, 4 * u, b + u * 2 * NR, rows, halves);
        p[0] += 16;
        p[1] += 16;
        __asm__("" : "+r"(p[0]), "+r"(p[1])); /* hides how they hang together */
    }
    for (size_t k = length % 8 / 2; k > 0; k--, b += 2 * NR, p[0] += 4, p[1] += 4)
        step(sums, (const char *const *)p, stride, 0, b, rows, halves);
    if (length % 2) { /* the last word with the one before it, whose weight is 0 */
        if (length > 1)
            step(sums, (const char *const *)p, stride, -2, b, rows, halves);
        else
            only_step(sums, (const char *const *)p, stride, b, rows, halves);
        b += 2 * NR;
    }
    return b;
}

/* `rows` pixels from i on and 16 columns from j on, all of which are there; with one half 8 of them
 * are made. Plain: words without residual and slopes, which are done without asking. */
ALWAYS_INLINE void tile(const ufk_word_conv_args *g, size_t i, size_t j, const int16_t *b,
                        const int rows, const int halves, const bool plain)
{
    const ufk_word_epilogue *e = &g->epilogue;
    __m256i sums[MR][2];
    const int16_t *a = g->a + i * g->a_stride;
    UNROLL
    for (int r = 0; r < rows; r++)
        sums[r][0] = sums[r][1] = _mm256_setzero_si256();
    for (size_t y = 0; y < g->runs; y++, a += g->run_stride)
        b = run(sums, a, (ptrdiff_t)(g->a_stride * sizeof *a), g->run_length, b, rows, halves);
    const finisher lo = finisher_of(e, j), hi = finisher_of(e, j + 8);
    UNROLL
    for (int r = 0; r < rows; r++) {
        const size_t at = (i + (size_t)r) * g->c_stride + j;
        const int16_t *residual =
            !plain && e->residual ? e->residual + (i + (size_t)r) * e->residual_stride + j : NULL;
        put(plain || g->c ? g->c + at : NULL, !plain && g->c_f32 ? g->c_f32 + at : NULL,
            finish(sums[r][0], &lo, e, residual, plain),
            finish(sums[r][1], &hi, e, residual ? residual + 8 : NULL, plain), e);
    }
}

/* `rows` pixels from i on and the last columns, fewer than 16. */
ALWAYS_INLINE void narrow_tile(const ufk_word_conv_args *g, size_t i, size_t j, const int16_t *b,
                               int rows)
{
    const size_t columns = g->n - j;
    int16_t words[MR * NR], residual[MR * NR] = {0};
    float floats[MR * NR];
    ufk_word_conv_args part = *g;
    part.a += i * g->a_stride;
    part.epilogue.scale += j;
    part.epilogue.bias += j;
    part.epilogue.slope = g->epilogue.slope ? g->epilogue.slope + j : NULL;
    part.c = words;
    part.c_f32 = g->c_f32 ? floats : NULL;
    part.c_stride = part.epilogue.residual_stride = NR;
    for (size_t r = 0; g->epilogue.residual && r < (size_t)rows; r++)
        memcpy(residual + r * NR, g->epilogue.residual + (i + r) * g->epilogue.residual_stride + j,
               columns * sizeof *residual);
    part.epilogue.residual = g->epilogue.residual ? residual : NULL;
    if (columns <= 8)
        tile(&part, 0, 0, b, rows, 1, false);
    else
        tile(&part, 0, 0, b, rows, 2, false);
    for (size_t r = 0; r < (size_t)rows; r++) {
        const size_t at = (i + r) * g->c_stride + j;
        if (g->c_f32)
            memcpy(g->c_f32 + at, floats + r * NR, columns * sizeof *floats);
        else
            memcpy(g->c + at, words + r * NR, columns * sizeof *words);
    }
}

static void narrow_columns(const ufk_word_conv_args *g, size_t j, const int16_t *b)
{
    size_t i = 0;
    for (; i + MR <= g->m; i += MR)
        narrow_tile(g, i, j, b, MR);
    for (; i < g->m; i++)
        narrow_tile(g, i, j, b, 1);
}

static bool is_plain(const ufk_word_epilogue *e, const float *floats)
{
    return !e->residual && !e->slope && !floats;
}

/* 16 columns of all pixels; those left over at the end are done with some before them again. */
static void columns(const ufk_word_conv_args *g, size_t j, const int16_t *b)
{
    const bool plain = is_plain(&g->epilogue, g->c_f32);
    size_t i = 0;
    for (; plain && i + MR <= g->m; i += MR)
        tile(g, i, j, b, MR, 2, true);
    for (; i + MR <= g->m; i += MR)
        tile(g, i, j, b, MR, 2, false);
    if (i < g->m && g->m >= MR)
        tile(g, g->m - MR, j, b, MR, 2, false);
    else
        for (; i < g->m; i++)
            tile(g, i, j, b, 1, 2, false);
}

static void ufk_conv_i16_avx2(const ufk_word_conv_args *g)
{
    const size_t column = g->runs * ((g->run_length + 1) / 2 * 2);
    size_t j = 0;
    for (; j + NR <= g->n; j += NR)
        columns(g, j, g->b + j * column);
    if (j < g->n)
        narrow_columns(g, j, g->b + j * column);
}

/* ---- depthwise 3x3 ---- */

/* 16 channels, or 8 and zeros behind them. */
ALWAYS_INLINE __m256i load_block(const int16_t *p, const bool half)
{
    return half ? _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)p))
                : load(p);
}

/* Weights of a block of channels: for each column of the kernel, pair of input rows and row of
 * output, for the channels in the order of unpacklo and of unpackhi. */
typedef struct window {
    __m256i w[3][2][2][2];
    finisher lo, hi; /* in the same order */
    const int16_t *rows[4];
} window;

/* Of channels 0..15 those that unpacklo (0-3, 8-11) and unpackhi take. */
ALWAYS_INLINE void unpack(__m256 *lo, __m256 *hi)
{
    const __m256 a = *lo, b = *hi;
    *lo = _mm256_permute2f128_ps(a, b, 0x20);
    *hi = _mm256_permute2f128_ps(a, b, 0x31);
}

/* Input rows that lie outside have weights of zero, and another row in their place. */
ALWAYS_INLINE void open_window(window *d, const ufk_word_dwconv_args *a, size_t y, size_t c,
                               const int outputs, const bool half)
{
    const size_t first = y * a->stride_h - a->pad_top; /* wraps below zero */
    const size_t row = a->in_w * a->channels;
    bool there[4];
    for (size_t r = 0; r < 4; r++) {
        there[r] = first + r < a->in_h && r < 2 + (size_t)outputs;
        d->rows[r] = a->in + (there[r] ? (first + r) * row : 0) + c;
    }
    for (size_t x = 0; x < 3; x++)
        for (size_t pair = 0; pair < 2; pair++)
            for (size_t out = 0; out < (size_t)outputs; out++) {
                __m256i w[2];
                for (size_t k = 0; k < 2; k++) {
                    const size_t ky = 2 * pair + k - out; /* wraps below zero */
                    w[k] = ky < 3 && there[2 * pair + k]
                               ? load_block(a->weights + (ky * 3 + x) * a->channels + c, half)
                               : _mm256_setzero_si256();
                }
                d->w[x][pair][out][0] = _mm256_unpacklo_epi16(w[0], w[1]);
                d->w[x][pair][out][1] = _mm256_unpackhi_epi16(w[0], w[1]);
            }
    d->lo = finisher_of(&a->epilogue, c);
    d->hi = half ? d->lo : finisher_of(&a->epilogue, c + 8);
    unpack(&d->lo.scale, &d->hi.scale);
    unpack(&d->lo.bias, &d->hi.bias);
    unpack(&d->lo.slope, &d->hi.slope);
}

/* A block of one pixel, sums in the order of the unpacking. */
ALWAYS_INLINE void put_window(const window *d, const ufk_word_dwconv_args *a, const __m256i sums[2],
                              size_t pixel, size_t c, const bool half, const bool plain)
{
    const ufk_word_epilogue *e = &a->epilogue;
    const size_t at = pixel * a->channels + c;
    int16_t residual[16];
    if (!plain && e->residual) {
        const __m256i r = load_block(e->residual + pixel * e->residual_stride + c, half);
        store(residual, _mm256_permute4x64_epi64(r, 0xD8));
    }
    __m256 lo = finish(sums[0], &d->lo, e, e->residual ? residual : NULL, plain);
    __m256 hi = finish(sums[1], &d->hi, e, e->residual ? residual + 8 : NULL, plain);
    if (!plain && a->out_f32) {
        unpack(&lo, &hi);
        _mm256_storeu_ps(a->out_f32 + at, clamp(lo, e));
        if (!half)
            _mm256_storeu_ps(a->out_f32 + at + 8, clamp(hi, e));
    } else if (half) {
        _mm_storeu_si128((__m128i *)(void *)(a->out + at),
                         _mm256_castsi256_si128(words_of(lo, hi, e)));
    } else {
        store(a->out + at, words_of(lo, hi, e));
    }
}

/* Columns from .. to - 1 of the kernel, at column x of the output. */
ALWAYS_INLINE void slide(const window *d, const ufk_word_dwconv_args *a, size_t y, size_t x,
                         size_t c, const size_t from, const size_t to, const int outputs,
                         const bool half, const bool plain)
{
    const size_t first = (x * a->stride_w - a->pad_left) * a->channels;
    __m256i sums[2][2] = {{_mm256_setzero_si256(), _mm256_setzero_si256()},
                          {_mm256_setzero_si256(), _mm256_setzero_si256()}};
    UNROLL
    for (size_t k = 0; k < 3; k++) {
        if (k < from || k >= to)
            continue;
        const size_t at = first + k * a->channels;
        UNROLL
        for (int pair = 0; pair < 2; pair++) {
            const __m256i above = load_block(d->rows[2 * pair] + at, half);
            const __m256i below = load_block(d->rows[2 * pair + 1] + at, half);
            const __m256i lo = _mm256_unpacklo_epi16(above, below);
            const __m256i hi = _mm256_unpackhi_epi16(above, below);
            UNROLL
            for (int out = 0; out < outputs; out++) {
                add_products(&sums[out][0], lo, d->w[k][pair][out][0]);
                add_products(&sums[out][1], hi, d->w[k][pair][out][1]);
            }
        }
    }
    UNROLL
    for (int out = 0; out < outputs; out++)
        put_window(d, a, sums[out], (y + (size_t)out) * a->out_w + x, c, half, plain);
}

/* `outputs` rows of output from y on, a block of channels. */
ALWAYS_INLINE void rows(const ufk_word_dwconv_args *a, size_t y, size_t c, const int outputs,
                        const bool half, const bool plain)
{
    window d;
    open_window(&d, a, y, c, outputs, half);
    for (size_t x = 0; x < a->out_w; x++) {
        const size_t left = x * a->stride_w; /* pad_left higher than the column */
        if (left >= a->pad_left && left - a->pad_left + 3 <= a->in_w) {
            slide(&d, a, y, x, c, 0, 3, outputs, half, plain);
            continue;
        }
        const size_t from = left < a->pad_left ? a->pad_left - left : 0;
        const size_t end = a->in_w + a->pad_left; /* of columns that are there */
        const size_t there = left < end ? end - left : 0;
        slide(&d, a, y, x, c, from, there < 3 ? there : 3, outputs, half, plain);
    }
}

typedef void rows_fn(const ufk_word_dwconv_args *a, size_t y, size_t c);

#define ROWS(name, outputs, half)                                       \
    static void name(const ufk_word_dwconv_args *a, size_t y, size_t c) \
    {                                                                   \
        if (is_plain(&a->epilogue, a->out_f32))                         \
            rows(a, y, c, outputs, half, true);                         \
        else                                                            \
            rows(a, y, c, outputs, half, false);                        \
    }
ROWS(one_row, 1, false)
ROWS(two_rows, 2, false)
ROWS(one_row_of_8, 1, true)
ROWS(two_rows_of_8, 2, true)

static void ufk_dwconv_i16_avx2(const ufk_word_dwconv_args *a)
{
    if (a->kernel_h != 3 || a->kernel_w != 3 || a->dilation_h != 1 || a->dilation_w != 1 ||
        a->channels < 8) {
        ufk_dwconv_i16_c(a);
        return;
    }
    const bool half = a->channels < 16;
    const size_t block = half ? 8 : 16;
    for (size_t y = a->y_begin; y < a->y_end;) {
        const bool two = a->stride_h == 1 && y + 2 <= a->y_end;
        rows_fn *fn = two ? (half ? two_rows_of_8 : two_rows) : half ? one_row_of_8 : one_row;
        for (size_t c = 0; c < a->channels; c += block) /* the last block may overlap */
            fn(a, y, c + block <= a->channels ? c : a->channels - block);
        y += two ? 2 : 1;
    }
}

/* ---- the rest; tails go through a padded copy ---- */

ALWAYS_INLINE __m128i saturate(__m256 v)
{
    v = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-32768)), _mm256_set1_ps(32767));
    const __m256i x = _mm256_cvtps_epi32(v);
    return _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}

/* 8 floats as words. */
ALWAYS_INLINE __m128i words8(const float *in, __m256 scale)
{
    const __m256 v = _mm256_loadu_ps(in);
    return saturate(_mm256_and_ps(_mm256_div_ps(v, scale), _mm256_cmp_ps(v, v, _CMP_ORD_Q)));
}

ALWAYS_INLINE void quantize8(int16_t *out, const float *in, __m256 scale)
{
    _mm_storeu_si128((__m128i *)(void *)out, words8(in, scale));
}

static void ufk_quantize_i16_avx2(int16_t *out, const float *in, size_t count, float scale)
{
    const __m256 by = _mm256_set1_ps(scale);
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        quantize8(out + i, in + i, by);
    if (i < count) {
        float last[8] = {0};
        int16_t words[8];
        memcpy(last, in + i, (count - i) * sizeof *in);
        quantize8(words, last, by);
        memcpy(out + i, words, (count - i) * sizeof *out);
    }
}

/* Where word i of plane c goes: out[3 * i + c]; of register `third`, by bytes. */
#define W(i) 2 * (i), 2 * (i) + 1
#define NO -1, -1
static const int8_t orders[3][3][16] = {{{W(0), NO, NO, W(1), NO, NO, W(2), NO},
                                         {NO, W(0), NO, NO, W(1), NO, NO, W(2)},
                                         {NO, NO, W(0), NO, NO, W(1), NO, NO}},
                                        {{NO, W(3), NO, NO, W(4), NO, NO, W(5)},
                                         {NO, NO, W(3), NO, NO, W(4), NO, NO},
                                         {W(2), NO, NO, W(3), NO, NO, W(4), NO}},
                                        {{NO, NO, W(6), NO, NO, W(7), NO, NO},
                                         {W(5), NO, NO, W(6), NO, NO, W(7), NO},
                                         {NO, W(5), NO, NO, W(6), NO, NO, W(7)}}};

static void ufk_quantize_planes3_i16_avx2(int16_t *out, const float *in, size_t pixels, float scale)
{
    const __m256 by = _mm256_set1_ps(scale);
    size_t i = 0;
    for (; i + 8 <= pixels; i += 8) {
        __m128i plane[3];
        for (size_t c = 0; c < 3; c++)
            plane[c] = words8(in + c * pixels + i, by);
        for (int third = 0; third < 3; third++) {
            __m128i v = _mm_setzero_si128();
            for (int c = 0; c < 3; c++) {
                const __m128i order =
                    _mm_loadu_si128((const __m128i *)(const void *)orders[third][c]);
                v = _mm_or_si128(v, _mm_shuffle_epi8(plane[c], order));
            }
            _mm_storeu_si128((__m128i *)(void *)(out + 3 * i + 8 * third), v);
        }
    }
    for (; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            ufk_quantize_i16_avx2(out + 3 * i + c, in + c * pixels + i, 1, scale);
}

static void ufk_dequantize_i16_avx2(float *out, const int16_t *in, size_t count, float scale)
{
    const __m256 by = _mm256_set1_ps(scale);
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        _mm256_storeu_ps(out + i, _mm256_mul_ps(floats_of(in + i), by));
    for (; i < count; i++)
        out[i] = (float)in[i] * scale;
}

ALWAYS_INLINE void add8(int16_t *out, const int16_t *a, const int16_t *b, __m256 sa, __m256 sb)
{
    const __m256 v = _mm256_fmadd_ps(floats_of(a), sa, _mm256_mul_ps(floats_of(b), sb));
    _mm_storeu_si128((__m128i *)(void *)out, saturate(v));
}

static void ufk_add_i16_avx2(int16_t *out, const int16_t *a, const int16_t *b, size_t count,
                             float a_scale, float b_scale)
{
    const __m256 sa = _mm256_set1_ps(a_scale), sb = _mm256_set1_ps(b_scale);
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        add8(out + i, a + i, b + i, sa, sb);
    if (i < count) {
        int16_t last_a[8] = {0}, last_b[8] = {0}, words[8];
        memcpy(last_a, a + i, (count - i) * sizeof *a);
        memcpy(last_b, b + i, (count - i) * sizeof *b);
        add8(words, last_a, last_b, sa, sb);
        memcpy(out + i, words, (count - i) * sizeof *out);
    }
}

/* The maximum of `max` and `in`, word by word. */
static void take_max(int16_t *max, const int16_t *in, size_t count)
{
    size_t i = 0;
    for (; i + 16 <= count; i += 16)
        store(max + i, _mm256_max_epi16(load(max + i), load(in + i)));
    for (; i < count; i++)
        max[i] = in[i] > max[i] ? in[i] : max[i];
}

/* The maximum of four pixels. */
static void max_of_four(int16_t *out, const int16_t *in, size_t row, size_t channels)
{
    size_t c = 0;
    for (; c + 16 <= channels; c += 16) {
        const int16_t *p = in + c;
        const __m256i above = _mm256_max_epi16(load(p), load(p + channels));
        const __m256i below = _mm256_max_epi16(load(p + row), load(p + row + channels));
        store(out + c, _mm256_max_epi16(above, below));
    }
    for (; c < channels; c++) {
        const int16_t *p = in + c;
        const int16_t above = p[0] > p[channels] ? p[0] : p[channels];
        const int16_t below = p[row] > p[row + channels] ? p[row] : p[row + channels];
        out[c] = above > below ? above : below;
    }
}

static void ufk_max_pool_i16_avx2(int16_t *out, const int16_t *in, const ufk_pool_args *p)
{
    const size_t row = p->in_w * p->channels;
    const bool halves =
        p->kernel_h == 2 && p->kernel_w == 2 && p->dilation_h == 1 && p->dilation_w == 1;
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++) {
            int16_t *to = out + (y * p->out_w + x) * p->channels;
            const size_t top = y * p->stride_h - p->pad_top; /* both wrap below zero */
            const size_t left = x * p->stride_w - p->pad_left;
            if (halves && top < p->in_h && top + 1 < p->in_h && left < p->in_w &&
                left + 1 < p->in_w) {
                max_of_four(to, in + top * row + left * p->channels, row, p->channels);
                continue;
            }
            for (size_t c = 0; c < p->channels; c++)
                to[c] = INT16_MIN;
            for (size_t t = 0; t < p->kernel_h * p->kernel_w; t++) {
                const size_t iy = top + t / p->kernel_w * p->dilation_h;
                const size_t ix = left + t % p->kernel_w * p->dilation_w;
                if (iy < p->in_h && ix < p->in_w)
                    take_max(to, in + iy * row + ix * p->channels, p->channels);
            }
        }
}

void ufk_words_select_avx2(ufk_table *t)
{
    t->words_nr = NR;
    t->words_group = 2;
    t->conv_i16 = ufk_conv_i16_avx2;
    t->dwconv_i16 = ufk_dwconv_i16_avx2;
    t->quantize_i16 = ufk_quantize_i16_avx2;
    t->quantize_planes3_i16 = ufk_quantize_planes3_i16_avx2;
    t->dequantize_i16 = ufk_dequantize_i16_avx2;
    t->add_i16 = ufk_add_i16_avx2;
    t->max_pool_i16 = ufk_max_pool_i16_avx2;
    t->words_name = "words_avx2";
}
