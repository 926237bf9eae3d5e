/*
 * INT8 depthwise convolution for AVX2: two taps of a channel are widened to 16 bits and lie side by
 * side, so that vpmaddwd multiplies and adds both.
 *
 * 3x3 kernels take 32 channels at a time by steps that stay within 128-bit lanes (vpmovzxbw, which
 * does not, costs two): bytes are unpacked, and packing the results undoes that order. With steps
 * of one pixel words are kept in a window and what neighbours share is made once. Otherwise, and
 * where two pixels of 16 channels count as 32, bytes of two taps are unpacked, then against zeros.
 * Everything else takes 16 channels, where unpacking leaves channels 0-3 and 8-11 in one vector and
 * 4-7 and 12-15 in the other.
 *
 * On a Zen 3 the window takes 0.84 to 0.88 of the time, PReLU 0.80, beside a busy neighbour on the
 * same core 0.6 to 0.8. vpmaddubsw would need scales of filters (optimize/quantize.c)
 * that are 1.9 times as large at the median, for sums of 4 and of 5 taps.
 */
#include "kernels/topics.h"
#include "kernels/x86/qconv_avx.h"

enum { BLOCK = 16, MAX_TAPS = 64, MAX_PAIRS = MAX_TAPS / 2 };

typedef struct block {
    const ufk_qdwconv_args *args;
    size_t channel, count, taps;
    __m256i weights[MAX_PAIRS][2];
    __m256 scale[2], bias[2], slope[2]; /* in the order of channels */
    uint8_t outside[BLOCK];
} block;

/* Two vectors of 16 bytes' worth of words to two vectors of pairs. */
ALWAYS_INLINE void pair(__m256i a, __m256i b, __m256i out[2])
{
    out[0] = _mm256_unpacklo_epi16(a, b);
    out[1] = _mm256_unpackhi_epi16(a, b);
}

ALWAYS_INLINE __m128i load_bytes(const void *p, size_t count)
{
    uint8_t padded[BLOCK] = {0};
    if (count == BLOCK)
        return _mm_loadu_si128(p);
    memcpy(padded, p, count);
    return _mm_loadu_si128((const __m128i *)(const void *)padded);
}

static void load_floats(__m256 out[2], const float *in, size_t count)
{
    float padded[BLOCK] = {0};
    memcpy(padded, in, count * sizeof *in);
    out[0] = _mm256_loadu_ps(padded);
    out[1] = _mm256_loadu_ps(padded + 8);
}

static void prepare(block *b, const ufk_qdwconv_args *a, size_t channel)
{
    b->args = a;
    b->channel = channel;
    b->count = a->channels - channel < BLOCK ? a->channels - channel : BLOCK;
    b->taps = a->kernel_h * a->kernel_w;
    memset(b->outside, a->in_zero, sizeof b->outside);
    for (size_t t = 0; t < b->taps; t += 2) {
        const int8_t *w = a->weights + t * a->channels + channel;
        const __m256i first = _mm256_cvtepi8_epi16(load_bytes(w, b->count));
        const __m256i second = t + 1 < b->taps
                                   ? _mm256_cvtepi8_epi16(load_bytes(w + a->channels, b->count))
                                   : _mm256_setzero_si256();
        pair(first, second, b->weights[t / 2]);
    }
    load_floats(b->scale, a->epilogue.scale + channel, b->count);
    load_floats(b->bias, a->epilogue.bias + channel, b->count);
    if (a->epilogue.act == UFK_ACT_PRELU)
        load_floats(b->slope, a->epilogue.slope + channel, b->count);
}

/* What ufk_qfinish does, for channels 8 h .. 8 h + 7 of the block. */
ALWAYS_INLINE __m256 finish(const block *b, int h, __m256i sum, __m128i residual)
{
    return ufk_finish8(&b->args->epilogue, sum, b->scale[h], b->bias[h], b->slope[h],
                       h ? _mm_srli_si128(residual, 8) : residual);
}

ALWAYS_INLINE void store(const block *b, size_t at, __m256 lo, __m256 hi)
{
    const ufk_qdwconv_args *a = b->args;
    if (a->out_f32) {
        float row[BLOCK];
        _mm256_storeu_ps(row, lo);
        _mm256_storeu_ps(row + 8, hi);
        memcpy(a->out_f32 + at, row, b->count * sizeof *row);
        return;
    }
    const __m256i words = _mm256_permute4x64_epi64(
        _mm256_packs_epi32(_mm256_cvtps_epi32(lo), _mm256_cvtps_epi32(hi)), 0xD8);
    const __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    if (b->count == BLOCK) {
        _mm_storeu_si128((__m128i *)(void *)(a->out + at), bytes);
    } else {
        uint8_t row[BLOCK];
        _mm_storeu_si128((__m128i *)(void *)row, bytes);
        memcpy(a->out + at, row, b->count);
    }
}

/* Tap t is at tap[t] + offset[t / 3]; `count` is that of the block. */
ALWAYS_INLINE void one_pixel(const block *b, const uint8_t *const *tap, const size_t *offset,
                             size_t taps, size_t count, size_t pixel)
{
    const ufk_qdwconv_args *a = b->args;
    const ufk_qepilogue *e = &a->epilogue;
    __m256i sum[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
#pragma GCC unroll 5
    for (size_t t = 0; t < taps; t += 2) {
        __m256i x[2];
        const __m256i second =
            t + 1 < taps ? _mm256_cvtepu8_epi16(load_bytes(tap[t + 1] + offset[(t + 1) / 3], count))
                         : _mm256_setzero_si256();
        pair(_mm256_cvtepu8_epi16(load_bytes(tap[t] + offset[t / 3], count)), second, x);
        for (int h = 0; h < 2; h++)
            sum[h] = _mm256_add_epi32(sum[h], _mm256_madd_epi16(x[h], b->weights[t / 2][h]));
    }
    __m128i residual = _mm_setzero_si128();
    if (e->residual)
        residual = load_bytes(e->residual + pixel * e->residual_stride + b->channel, count);
    /* Channels 0-3 8-11 and 4-7 12-15 to 0-7 and 8-15. */
    const __m256i first = _mm256_permute2x128_si256(sum[0], sum[1], 0x20);
    const __m256i last = _mm256_permute2x128_si256(sum[0], sum[1], 0x31);
    store(b, pixel * a->channels + b->channel, finish(b, 0, first, residual),
          finish(b, 1, last, residual));
}

/* Where each tap of output pixel (y, x) lies, channel `channel` on; `outside` stands for what is
 * outside the image. */
__attribute__((noinline)) static void find_taps(const ufk_qdwconv_args *a, size_t channel,
                                                const uint8_t *outside, size_t y, size_t x,
                                                const uint8_t **tap)
{
    for (size_t ky = 0; ky < a->kernel_h; ky++) {
        const size_t iy = y * a->stride_h + ky * a->dilation_h - a->pad_top; /* wraps below zero */
        for (size_t kx = 0; kx < a->kernel_w; kx++) {
            const size_t ix = x * a->stride_w + kx * a->dilation_w - a->pad_left;
            const bool inside = iy < a->in_h && ix < a->in_w;
            *tap++ = inside ? a->in + (iy * a->in_w + ix) * a->channels + channel : outside;
        }
    }
}

/* ---- 3x3, whole blocks ---- */

enum { TAPS = 9, PAIRS = (TAPS + 1) / 2, WIDE_BLOCK = 32, QUARTERS = 4 };

/* 32 channels; quarter q holds channels 4 q to 4 q + 3 and 16 + 4 q to 16 + 4 q + 3. */
typedef struct wide_block {
    const ufk_qdwconv_args *args;
    size_t channel;
    __m256i weights[PAIRS][QUARTERS];
    __m256 scale[QUARTERS], bias[QUARTERS], slope[QUARTERS];
    uint8_t outside[WIDE_BLOCK];
} wide_block;

ALWAYS_INLINE __m256i load_wide(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static void load_quarters(__m256 out[QUARTERS], const float *in)
{
    for (int q = 0; q < QUARTERS; q++)
        out[q] = _mm256_set_m128(_mm_loadu_ps(in + 16 + 4 * q), _mm_loadu_ps(in + 4 * q));
}

/* Bytes of two taps side by side, then quarter q of them with zeros above, or below. */
ALWAYS_INLINE void pair_bytes(__m256i out[2], __m256i a, __m256i b)
{
    out[0] = _mm256_unpacklo_epi8(a, b);
    out[1] = _mm256_unpackhi_epi8(a, b);
}

ALWAYS_INLINE __m256i zeros_above(const __m256i pairs[2], int q)
{
    const __m256i zero = _mm256_setzero_si256();
    return q % 2 ? _mm256_unpackhi_epi8(pairs[q / 2], zero)
                 : _mm256_unpacklo_epi8(pairs[q / 2], zero);
}

ALWAYS_INLINE __m256i zeros_below(const __m256i pairs[2], int q)
{
    const __m256i zero = _mm256_setzero_si256();
    return q % 2 ? _mm256_unpackhi_epi8(zero, pairs[q / 2])
                 : _mm256_unpacklo_epi8(zero, pairs[q / 2]);
}

static void prepare_wide(wide_block *b, const ufk_qdwconv_args *a, size_t channel)
{
    b->args = a;
    b->channel = channel;
    memset(b->outside, a->in_zero, sizeof b->outside);
    for (size_t t = 0; t < TAPS; t += 2) {
        const int8_t *w = a->weights + t * a->channels + channel;
        __m256i pairs[2];
        pair_bytes(pairs, load_wide(w),
                   t + 1 < TAPS ? load_wide(w + a->channels) : _mm256_setzero_si256());
        for (int q = 0; q < QUARTERS; q++)
            b->weights[t / 2][q] = _mm256_srai_epi16(zeros_below(pairs, q), 8);
    }
    load_quarters(b->scale, a->epilogue.scale + channel);
    load_quarters(b->bias, a->epilogue.bias + channel);
    if (a->epilogue.act == UFK_ACT_PRELU)
        load_quarters(b->slope, a->epilogue.slope + channel);
}

/* A row of output pixels: tap t is at tap[t] + offset[t / 3]. Inside the image only the offsets
 * move on, by nothing where a row of the kernel is outside. */
typedef struct walk {
    const uint8_t *tap[TAPS];
    size_t offset[3], moves[3];
    bool known;
} walk;

ALWAYS_INLINE __m256i load_tap(const walk *w, int t)
{
    return load_wide(w->tap[t] + w->offset[t / 3]);
}

/* sum += x in place: left to itself gcc 12 adds in another order and spills the products. */
ALWAYS_INLINE void add(__m256i *sum, __m256i x)
{
    __asm__("vpaddd %1, %0, %0" : "+x"(*sum) : "x"(x));
}

/* Bytes out, no residual. */
ALWAYS_INLINE void wide_pixel(const wide_block *b, const walk *w, const ufk_qepilogue *e,
                              size_t pixel)
{
    __m256i sum[QUARTERS];
    UNROLL
    for (int p = 0; p < PAIRS; p++) {
        __m256i pairs[2];
        pair_bytes(pairs, load_tap(w, 2 * p),
                   2 * p + 1 < TAPS ? load_tap(w, 2 * p + 1) : _mm256_setzero_si256());
        UNROLL
        for (int q = 0; q < QUARTERS; q++) {
            const __m256i both = _mm256_madd_epi16(zeros_above(pairs, q), b->weights[p][q]);
            if (p)
                add(&sum[q], both);
            else
                sum[q] = both;
        }
    }
    UNROLL
    for (int q = 0; q < QUARTERS; q++)
        sum[q] = _mm256_cvtps_epi32(
            ufk_finish8(e, sum[q], b->scale[q], b->bias[q], b->slope[q], _mm_setzero_si128()));
    _mm256_storeu_si256((__m256i *)(void *)(b->args->out + pixel * b->args->channels + b->channel),
                        _mm256_packus_epi16(_mm256_packs_epi32(sum[0], sum[1]),
                                            _mm256_packs_epi32(sum[2], sum[3])));
}

static walk begin_row(const ufk_qdwconv_args *a, size_t y)
{
    walk w = {.known = false};
    for (size_t ky = 0; ky < 3; ky++)
        w.moves[ky] = y * a->stride_h + ky * a->dilation_h - a->pad_top < a->in_h
                          ? a->stride_w * a->channels
                          : 0;
    return w;
}

ALWAYS_INLINE void next_pixel(walk *w, const ufk_qdwconv_args *a, size_t channel,
                              const uint8_t *outside, size_t y, size_t x)
{
    const size_t first = x * a->stride_w; /* is the window inside, left and right? */
    const bool inner = first >= a->pad_left && first - a->pad_left + 2 * a->dilation_w < a->in_w;
    if (!w->known || !inner)
        find_taps(a, channel, outside, y, x, w->tap);
    UNROLL
    for (int r = 0; r < 3; r++)
        w->offset[r] = w->known && inner ? w->offset[r] + w->moves[r] : 0;
    w->known = inner;
}

static void row_3x3(const block *b, size_t y)
{
    const ufk_qdwconv_args *a = b->args;
    walk w = begin_row(a, y);
    for (size_t x = 0; x < a->out_w; x++) {
        next_pixel(&w, a, b->channel, b->outside, y, x);
        one_pixel(b, w.tap, w.offset, TAPS, BLOCK, y * a->out_w + x);
    }
}

/* The activation is known where this is inlined. */
ALWAYS_INLINE void wide_rows(const wide_block *b, ufk_act act)
{
    const ufk_qdwconv_args *a = b->args;
    ufk_qepilogue e = a->epilogue;
    e.act = act;
    e.residual = NULL;
    for (size_t y = a->y_begin; y < a->y_end; y++) {
        walk w = begin_row(a, y);
        for (size_t x = 0; x < a->out_w; x++) {
            next_pixel(&w, a, b->channel, b->outside, y, x);
            wide_pixel(b, &w, &e, y * a->out_w + x);
        }
    }
}

/* ---- 3x3, whole blocks, steps of one pixel ----
 *
 * Three rows of the input are kept as words, with what is outside around them. Words of two rows
 * side by side serve three outputs, those of two columns of the last row two. A half of the
 * channels (quarters 0 and 1, or 2 and 3) at a time leaves what is shared in registers. */

enum { WINDOW_OUTPUTS = 64, ROWS = 3, HALF = QUARTERS / 2 };

typedef struct column {
    __m256i half[2];
} column;

typedef struct window {
    const wide_block *b;
    size_t first, width; /* output columns */
    column rows[ROWS][WINDOW_OUTPUTS + 2];
    __m256i words[WINDOW_OUTPUTS]; /* of the first half, finished */
    /* (0, 0) and (1, 0); (0, 1) and (1, 1); (0, 2) and (1, 2); (2, 0) and (2, 1); none and (2, 2)
     */
    __m256i weights[PAIRS][QUARTERS];
} window;

static void load_weights(window *w)
{
    static const uint8_t taps[PAIRS][2] = {{0, 3}, {1, 4}, {2, 5}, {6, 7}, {TAPS, 8}};
    const ufk_qdwconv_args *a = w->b->args;
    for (int p = 0; p < PAIRS; p++) {
        __m256i pairs[2], both[2];
        for (int i = 0; i < 2; i++)
            both[i] = taps[p][i] < TAPS
                          ? load_wide(a->weights + taps[p][i] * a->channels + w->b->channel)
                          : _mm256_setzero_si256();
        pair_bytes(pairs, both[0], both[1]);
        for (int q = 0; q < QUARTERS; q++)
            w->weights[p][q] = _mm256_srai_epi16(zeros_below(pairs, q), 8);
    }
}

/* Input row y, which wraps below zero. */
static void load_row(window *w, size_t y)
{
    const ufk_qdwconv_args *a = w->b->args;
    const __m256i zero = _mm256_setzero_si256(), outside = load_wide(w->b->outside);
    const uint8_t *row = a->in + y * a->in_w * a->channels + w->b->channel;
    column *to = w->rows[(y + ROWS) % ROWS];
    for (size_t i = 0; i < w->width + 2; i++) {
        const size_t x = w->first + i - a->pad_left;
        const bool inside = y < a->in_h && x < a->in_w;
        const __m256i bytes = inside ? load_wide(row + x * a->channels) : outside;
        to[i].half[0] = _mm256_unpacklo_epi8(bytes, zero);
        to[i].half[1] = _mm256_unpackhi_epi8(bytes, zero);
    }
}

/* One half of a row of outputs, which begins at `out`. `row` are the input's. */
ALWAYS_INLINE void half_row(window *w, const ufk_qepilogue *e, const column *const row[ROWS], int h,
                            uint8_t *out, ufk_act act)
{
    const wide_block *b = w->b;
    const __m256i lo = _mm256_set1_epi8((char)_mm_cvtss_si32(_mm_set_ss(e->lo)));
    __m256i two[ROWS][HALF], last[2][HALF]; /* columns of rows 0 and 1; pairs of columns of row 2 */
    for (int x = 0; x < 2; x++)
        pair(row[0][x].half[h], row[1][x].half[h], two[x]);
    pair(row[2][0].half[h], row[2][1].half[h], last[0]);
    for (size_t x = 0; x < w->width; x++) {
        __m256i sum[HALF];
        pair(row[0][x + 2].half[h], row[1][x + 2].half[h], two[2]);
        pair(row[2][x + 1].half[h], row[2][x + 2].half[h], last[1]);
        UNROLL
        for (int i = 0; i < HALF; i++) {
            const int q = h * HALF + i;
            const ufk_columns8 c = {b->scale[q], b->bias[q], b->slope[q]};
            sum[i] = _mm256_madd_epi16(two[0][i], w->weights[0][q]);
            add(&sum[i], _mm256_madd_epi16(two[1][i], w->weights[1][q]));
            add(&sum[i], _mm256_madd_epi16(two[2][i], w->weights[2][q]));
            add(&sum[i], _mm256_madd_epi16(last[0][i], w->weights[3][q]));
            add(&sum[i], _mm256_madd_epi16(last[1][i], w->weights[4][q]));
            sum[i] = ufk_finish_bytes8(e, sum[i], &c, NULL, act);
            two[0][i] = two[1][i];
            two[1][i] = two[2][i];
            last[0][i] = last[1][i];
        }
        const __m256i words = _mm256_packs_epi32(sum[0], sum[1]);
        if (h == 0)
            w->words[x] = words;
        else
            _mm256_storeu_si256((__m256i *)(void *)(out + x * b->args->channels),
                                _mm256_max_epu8(_mm256_packus_epi16(w->words[x], words), lo));
    }
}

ALWAYS_INLINE void window_rows(window *w, ufk_act act)
{
    const ufk_qdwconv_args *a = w->b->args;
    const ufk_qepilogue e = a->epilogue;
    for (size_t y = a->y_begin; y < a->y_end; y++) {
        const size_t top = y - a->pad_top; /* wraps below zero */
        const column *row[ROWS];
        for (size_t i = y == a->y_begin ? 0 : ROWS - 1; i < ROWS; i++)
            load_row(w, top + i);
        for (size_t i = 0; i < ROWS; i++)
            row[i] = w->rows[(top + i + ROWS) % ROWS];
        uint8_t *out = a->out + (y * a->out_w + w->first) * a->channels + w->b->channel;
        half_row(w, &e, row, 0, out, act);
        half_row(w, &e, row, 1, out, act);
    }
}

static void window_block(const wide_block *b)
{
    const ufk_qdwconv_args *a = b->args;
    window w;
    w.b = b;
    load_weights(&w);
    for (w.first = 0; w.first < a->out_w; w.first += WINDOW_OUTPUTS) {
        w.width = a->out_w - w.first < WINDOW_OUTPUTS ? a->out_w - w.first : WINDOW_OUTPUTS;
        if (a->epilogue.act == UFK_ACT_PRELU)
            window_rows(&w, UFK_ACT_PRELU);
        else
            window_rows(&w, UFK_ACT_NONE);
    }
}

static bool fits_window(const ufk_qdwconv_args *a)
{
    return a->stride_h == 1 && a->stride_w == 1 && a->dilation_h == 1 && a->dilation_w == 1 &&
           a->pad_top <= ROWS;
}

/* As many channels as whole blocks of 32 can do; returns how many those are. */
static size_t wide_channels(const ufk_qdwconv_args *a)
{
    const ufk_act act = a->epilogue.act;
    size_t channel = 0;
    wide_block b;
    if (a->kernel_h != 3 || a->kernel_w != 3 || !a->out || a->epilogue.residual ||
        act == UFK_ACT_HARD_SWISH)
        return 0;
    for (; channel + WIDE_BLOCK <= a->channels; channel += WIDE_BLOCK) {
        prepare_wide(&b, a, channel);
        if (fits_window(a))
            window_block(&b);
        else if (act == UFK_ACT_PRELU)
            wide_rows(&b, UFK_ACT_PRELU);
        else
            wide_rows(&b, UFK_ACT_NONE);
    }
    return channel;
}

/* ---- 3x3, 16 channels: two pixels side by side are 32 channels ---- */

static void prepare_two(wide_block *b, const ufk_qdwconv_args *a)
{
    b->args = a;
    b->channel = 0;
    memset(b->outside, a->in_zero, sizeof b->outside);
    for (size_t t = 0; t < TAPS; t += 2) {
        const int8_t *w = a->weights + t * BLOCK;
        __m256i pairs[2];
        pair_bytes(pairs, _mm256_broadcastsi128_si256(load_bytes(w, BLOCK)),
                   t + 1 < TAPS ? _mm256_broadcastsi128_si256(load_bytes(w + BLOCK, BLOCK))
                                : _mm256_setzero_si256());
        for (int q = 0; q < QUARTERS; q++)
            b->weights[t / 2][q] = _mm256_srai_epi16(zeros_below(pairs, q), 8);
    }
    for (int q = 0; q < QUARTERS; q++) {
        b->scale[q] =
            _mm256_broadcast_ps((const __m128 *)(const void *)(a->epilogue.scale + 4 * q));
        b->bias[q] = _mm256_broadcast_ps((const __m128 *)(const void *)(a->epilogue.bias + 4 * q));
        if (a->epilogue.act == UFK_ACT_PRELU)
            b->slope[q] =
                _mm256_broadcast_ps((const __m128 *)(const void *)(a->epilogue.slope + 4 * q));
    }
}

ALWAYS_INLINE void row_of_twos(const wide_block *twos, const block *b, size_t y, ufk_act act)
{
    static const size_t none[3];
    const ufk_qdwconv_args *a = b->args;
    ufk_qepilogue e = a->epilogue;
    walk w = begin_row(a, y);
    e.act = act;
    e.residual = NULL;
    for (size_t x = 0; x < a->out_w;) {
        const size_t pixel = y * a->out_w + x;
        const bool inside = x + 2 <= a->out_w && x >= a->pad_left && x - a->pad_left + 3 < a->in_w;
        if (!inside) {
            const uint8_t *tap[TAPS];
            find_taps(a, 0, b->outside, y, x, tap);
            one_pixel(b, tap, none, TAPS, BLOCK, pixel);
            x++;
            continue;
        }
        if (!w.known)
            find_taps(a, 0, twos->outside, y, x, w.tap);
        UNROLL
        for (int r = 0; r < 3; r++)
            w.offset[r] = w.known ? w.offset[r] + 2 * w.moves[r] : 0;
        w.known = true;
        wide_pixel(twos, &w, &e, pixel);
        x += 2;
    }
}

/* Pixels that are inside together follow each other, so `known` needs no other reset. */
static bool all_twos(const ufk_qdwconv_args *a)
{
    const ufk_act act = a->epilogue.act;
    wide_block twos;
    block b;
    if (a->channels != BLOCK || a->kernel_h != 3 || a->kernel_w != 3 || a->stride_w != 1 ||
        a->dilation_w != 1 || !a->out || a->epilogue.residual || act == UFK_ACT_HARD_SWISH)
        return false;
    prepare_two(&twos, a);
    prepare(&b, a, 0);
    for (size_t y = a->y_begin; y < a->y_end; y++)
        if (act == UFK_ACT_PRELU)
            row_of_twos(&twos, &b, y, UFK_ACT_PRELU);
        else
            row_of_twos(&twos, &b, y, UFK_ACT_NONE);
    return true;
}

/* ---- 1x1, few channels: a scale for each, as where a network begins with its mean ----
 *
 * 8 bytes at a time, whatever pixels they belong to: what is each channel's repeats. */

typedef struct pattern {
    __m256i weights[BLOCK]; /* of vector i modulo the number of channels */
    ufk_columns8 columns[BLOCK];
} pattern;

static void make_pattern(pattern *p, const ufk_qdwconv_args *a)
{
    const ufk_qepilogue *e = &a->epilogue;
    for (size_t i = 0; i < a->channels; i++) {
        int32_t weights[UFK_QCOLUMNS];
        float scale[UFK_QCOLUMNS], bias[UFK_QCOLUMNS], slope[UFK_QCOLUMNS];
        for (size_t l = 0; l < UFK_QCOLUMNS; l++) {
            const size_t c = (i * UFK_QCOLUMNS + l) % a->channels;
            weights[l] = a->weights[c];
            scale[l] = e->scale[c];
            bias[l] = e->bias[c];
            slope[l] = e->act == UFK_ACT_PRELU ? e->slope[c] : 0;
        }
        p->weights[i] = load_wide(weights);
        p->columns[i] =
            (ufk_columns8){_mm256_loadu_ps(scale), _mm256_loadu_ps(bias), _mm256_loadu_ps(slope)};
    }
}

static bool all_points(const ufk_qdwconv_args *a)
{
    const ufk_qepilogue *e = &a->epilogue;
    const size_t row = a->out_w * a->channels, end = a->y_end * row;
    pattern p;
    if (a->kernel_h * a->kernel_w > 1 || a->channels > BLOCK || !a->out || e->residual ||
        a->in_h != a->out_h || a->in_w != a->out_w || a->stride_h * a->stride_w > 1 ||
        a->pad_top + a->pad_left)
        return false;
    make_pattern(&p, a);
    for (size_t i = a->y_begin * row, n = 0; i < end;
         i += UFK_QCOLUMNS, n = (n + 1) % a->channels) {
        const size_t count = end - i < UFK_QCOLUMNS ? end - i : UFK_QCOLUMNS;
        const __m256i x = _mm256_cvtepu8_epi32(ufk_load_bytes8(a->in + i, count));
        const ufk_columns8 *c = &p.columns[n];
        const __m256i y =
            _mm256_cvtps_epi32(ufk_finish8(e, _mm256_madd_epi16(x, p.weights[n]), c->scale, c->bias,
                                           c->slope, _mm_setzero_si128()));
        const __m128i words =
            _mm_packs_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
        const __m128i bytes = _mm_packus_epi16(words, words);
        memcpy(a->out + i, &bytes, count);
    }
    return true;
}

/* ---- the whole ---- */

static void ufk_dwconv_u8_avx2(const ufk_qdwconv_args *a)
{
    static const size_t none[MAX_TAPS];
    const uint8_t *tap[MAX_TAPS];
    block b;
    if (a->kernel_h * a->kernel_w > MAX_TAPS) {
        ufk_dwconv_u8_c(a);
        return;
    }
    if (all_points(a) || all_twos(a))
        return;
    for (size_t c = wide_channels(a); c < a->channels; c += BLOCK) {
        /* Some channels twice rather than a block that is not whole; a residual may be the output.
         */
        if (a->channels - c < BLOCK && a->channels >= BLOCK && !a->epilogue.residual)
            c = a->channels - BLOCK;
        prepare(&b, a, c);
        const bool whole_3x3 = a->kernel_h == 3 && a->kernel_w == 3 && b.count == BLOCK;
        for (size_t y = a->y_begin; y < a->y_end; y++) {
            if (whole_3x3) {
                row_3x3(&b, y);
                continue;
            }
            for (size_t x = 0; x < a->out_w; x++) {
                find_taps(a, c, b.outside, y, x, tap);
                one_pixel(&b, tap, none, b.taps, b.count, y * a->out_w + x);
            }
        }
    }
}

void ufk_qdwconv_select_avx2(ufk_table *t)
{
    t->dwconv_u8 = ufk_dwconv_u8_avx2;
    t->dwconv_u8_name = "dwconv_u8_avx2";
}
