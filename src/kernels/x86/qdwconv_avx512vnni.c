/*
 * INT8 depthwise convolution for AVX-512 VNNI, 64 channels at a time.
 *
 * vpdpbusd adds four products of neighbouring bytes, so the bytes of four taps are interleaved
 * first: unpacking leaves four vectors of 16 channels, [lane][4 channels][4 taps], in an order that
 * packing at the end undoes by itself. Weights, scales and biases are brought into that order once
 * per block of channels. Taps outside the image read a block of the zero point.
 *
 * A 3x3 kernel with stride 1 interleaves the three rows of a column (and a row of zeros) once and
 * uses them for three outputs. With 16 or 32 channels a block is 4 or 2 neighbouring pixels; with
 * stride 2 every other pixel of 128 bytes.
 */
#include <immintrin.h>
#include <string.h>

#include "kernels/topics.h"
#include "kernels/x86/qconv_avx512.h"

enum { BLOCK = 64, QUARTERS = 4, LANES = 16, MAX_TAPS = 64, MAX_GROUPS = MAX_TAPS / 4 };

/* One block of channels. */
typedef struct block {
    const ufk_qdwconv_args *args;
    size_t channel, count;
    __mmask64 mask;
    size_t taps, groups;
    size_t pixels;  /* of one block: 1, or more where all channels fit several times */
    __m512i lo, hi; /* of the epilogue, in bytes */
    __m512i weights[MAX_GROUPS][QUARTERS]; /* of groups of four taps, or of columns (3x3) */
    __m512 scale[QUARTERS], bias[QUARTERS], slope[QUARTERS];
    uint8_t outside[BLOCK]; /* the zero point */
} block;

/* Four vectors of bytes to four vectors of interleaved taps. */
ALWAYS_INLINE void interleave(const __m512i in[4], __m512i out[QUARTERS])
{
    const __m512i ab_lo = _mm512_unpacklo_epi8(in[0], in[1]);
    const __m512i ab_hi = _mm512_unpackhi_epi8(in[0], in[1]);
    const __m512i cd_lo = _mm512_unpacklo_epi8(in[2], in[3]);
    const __m512i cd_hi = _mm512_unpackhi_epi8(in[2], in[3]);
    out[0] = _mm512_unpacklo_epi16(ab_lo, cd_lo);
    out[1] = _mm512_unpackhi_epi16(ab_lo, cd_lo);
    out[2] = _mm512_unpacklo_epi16(ab_hi, cd_hi);
    out[3] = _mm512_unpackhi_epi16(ab_hi, cd_hi);
}

/* Up to 64 floats in the order of channels to quarters: element e of lane l of quarter q is channel
 * 16 l + 4 q + e. `count` floats are repeated for each pixel. */
static void to_quarters(__m512 out[QUARTERS], const float *in, size_t count, size_t pixels)
{
    float padded[BLOCK] = {0}, ordered[BLOCK];
    for (size_t p = 0; p < pixels; p++)
        memcpy(padded + p * count, in, count * sizeof *in);
    for (int q = 0; q < QUARTERS; q++)
        for (int lane = 0; lane < 4; lane++)
            memcpy(ordered + q * LANES + lane * 4, padded + lane * 16 + q * 4, 4 * sizeof *in);
    for (int q = 0; q < QUARTERS; q++)
        out[q] = _mm512_loadu_ps(ordered + q * LANES);
}

static __m512i load_tap_weights(const block *b, size_t tap)
{
    const ufk_qdwconv_args *a = b->args;
    int8_t padded[BLOCK] = {0};
    const size_t channels = b->count / b->pixels;
    for (size_t p = 0; p < b->pixels; p++)
        memcpy(padded + p * channels, a->weights + tap * a->channels + b->channel, channels);
    return _mm512_loadu_si512(padded);
}

static void prepare(block *b, const ufk_qdwconv_args *a, size_t channel, size_t pixels,
                    bool columns)
{
    const size_t channels = a->channels - channel < BLOCK ? a->channels - channel : BLOCK;
    b->args = a;
    b->channel = channel;
    b->pixels = pixels;
    b->count = channels * pixels;
    b->mask = ~(__mmask64)0 >> (BLOCK - b->count);
    b->taps = a->kernel_h * a->kernel_w;
    b->groups = columns ? 3 : (b->taps + 3) / 4;
    b->lo = _mm512_set1_epi8((char)_mm_cvtss_si32(_mm_set_ss(a->epilogue.lo)));
    b->hi = _mm512_set1_epi8((char)_mm_cvtss_si32(_mm_set_ss(a->epilogue.hi)));
    memset(b->outside, a->in_zero, sizeof b->outside);
    for (size_t g = 0; g < b->groups; g++) {
        __m512i rows[4];
        for (size_t i = 0; i < 4; i++) {
            const size_t tap = columns ? (i < 3 ? i * 3 + g : b->taps) : g * 4 + i;
            rows[i] = tap < b->taps ? load_tap_weights(b, tap) : _mm512_setzero_si512();
        }
        interleave(rows, b->weights[g]);
    }
    to_quarters(b->scale, a->epilogue.scale + channel, channels, pixels);
    to_quarters(b->bias, a->epilogue.bias + channel, channels, pixels);
    if (a->epilogue.act == UFK_ACT_PRELU)
        to_quarters(b->slope, a->epilogue.slope + channel, channels, pixels);
}

/* ---- one output pixel ---- */

ALWAYS_INLINE void sum_taps(const block *b, const uint8_t *const *tap, size_t taps,
                            __m512i sum[QUARTERS])
{
    for (int q = 0; q < QUARTERS; q++)
        sum[q] = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (size_t g = 0; g < (taps + 3) / 4; g++) {
        __m512i x[4], mixed[QUARTERS];
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++)
            x[i] = g * 4 + i < taps ? _mm512_maskz_loadu_epi8(b->mask, tap[g * 4 + i])
                                    : _mm512_setzero_si512();
        interleave(x, mixed);
#pragma GCC unroll 4
        for (int q = 0; q < QUARTERS; q++)
            sum[q] = _mm512_dpbusd_epi32(sum[q], mixed[q], b->weights[g][q]);
    }
}

/* What is known of an epilogue where code is made for it; a constant wherever this is inlined.
 * Plain ones are tame. */
typedef enum form { PLAIN, PLAIN_PRELU, GENERAL } form;

static form form_of(const ufk_qdwconv_args *a)
{
    const ufk_act act = a->epilogue.act;
    if (a->epilogue.residual || a->out_f32 || act > UFK_ACT_PRELU ||
        !ufk_is_tame(&a->epilogue, a->channels, a->kernel_h * a->kernel_w))
        return GENERAL;
    return act == UFK_ACT_PRELU ? PLAIN_PRELU : PLAIN;
}

/* What ufk_qfinish does, for one quarter. `residual` is interleaved with zeros. */
ALWAYS_INLINE __m512 finish(const block *b, int q, __m512i sum, const __m512i *residual, form f)
{
    const ufk_qepilogue *e = &b->args->epilogue;
    const ufk_act act = f == PLAIN ? UFK_ACT_NONE : f == PLAIN_PRELU ? UFK_ACT_PRELU : e->act;
    __m512 v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), b->scale[q], b->bias[q]);
    if (residual)
        v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(residual[q]), _mm512_set1_ps(e->residual_scale), v);
    if (act == UFK_ACT_PRELU) {
        const __mmask16 negative = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ);
        v = _mm512_mask_mul_ps(v, negative, v, b->slope[q]);
        v = _mm512_fmadd_ps(v, _mm512_set1_ps(e->out_scale), _mm512_set1_ps(e->zero));
    } else if (act == UFK_ACT_HARD_SWISH) {
        __m512 gate = _mm512_fmadd_ps(v, _mm512_set1_ps(1.0f / 6), _mm512_set1_ps(0.5f));
        gate = _mm512_max_ps(gate, _mm512_setzero_ps());
        v = _mm512_mul_ps(v, _mm512_min_ps(gate, _mm512_set1_ps(1.0f)));
        v = _mm512_fmadd_ps(v, _mm512_set1_ps(e->out_scale), _mm512_set1_ps(e->zero));
    }
    if (f != GENERAL)
        return v;
    v = _mm512_max_ps(v, _mm512_set1_ps(e->lo));
    return _mm512_min_ps(v, _mm512_set1_ps(e->hi));
}

static void store_floats(float *out, const __m512 v[QUARTERS], __mmask64 mask)
{
    float quarters[BLOCK], ordered[BLOCK];
    for (int q = 0; q < QUARTERS; q++)
        _mm512_storeu_ps(quarters + q * LANES, v[q]);
    for (int q = 0; q < QUARTERS; q++)
        for (int lane = 0; lane < 4; lane++)
            memcpy(ordered + lane * 16 + q * 4, quarters + q * LANES + lane * 4, 4 * sizeof *out);
    memcpy(out, ordered, (size_t)_mm_popcnt_u64(mask) * sizeof *out);
}

/* What follows the sums of the block whose first pixel is `pixel`. */
ALWAYS_INLINE void put(const block *b, const __m512i sum[QUARTERS], size_t pixel, __mmask64 mask,
                       form f)
{
    const ufk_qdwconv_args *a = b->args;
    const ufk_qepilogue *e = &a->epilogue;
    const size_t at = pixel * a->channels + b->channel;
    __m512i residual[QUARTERS];
    __m512 v[QUARTERS];
    const bool has_residual = f == GENERAL && e->residual;
    if (has_residual) {
        const __m512i none = _mm512_setzero_si512();
        const uint8_t *from = e->residual + pixel * e->residual_stride + b->channel;
        const __m512i r[4] = {_mm512_maskz_loadu_epi8(mask, from), none, none, none};
        interleave(r, residual);
    }
#pragma GCC unroll 4
    for (int q = 0; q < QUARTERS; q++)
        v[q] = finish(b, q, sum[q], has_residual ? residual : NULL, f);
    if (f == GENERAL && a->out_f32) {
        store_floats(a->out_f32 + at, v, mask);
        return;
    }
    const __m512i words_lo = _mm512_packs_epi32(_mm512_cvtps_epi32(v[0]), _mm512_cvtps_epi32(v[1]));
    const __m512i words_hi = _mm512_packs_epi32(_mm512_cvtps_epi32(v[2]), _mm512_cvtps_epi32(v[3]));
    __m512i bytes = _mm512_packus_epi16(words_lo, words_hi);
    bytes = _mm512_min_epu8(_mm512_max_epu8(bytes, b->lo), b->hi);
    _mm512_mask_storeu_epi8(a->out + at, mask, bytes);
}

ALWAYS_INLINE void one_pixel(const block *b, const uint8_t *const *tap, size_t taps, size_t pixel,
                             form f)
{
    __m512i sum[QUARTERS];
    sum_taps(b, tap, taps, sum);
    put(b, sum, pixel, b->mask, f);
}

/* ---- 3x3, columns ---- */

/* Three rows of 64 bytes, interleaved with zeros. */
ALWAYS_INLINE void load_column(const uint8_t *const row[3], size_t offset, __mmask64 mask,
                               __m512i out[QUARTERS])
{
    const __m512i in[4] = {_mm512_maskz_loadu_epi8(mask, row[0] + offset),
                           _mm512_maskz_loadu_epi8(mask, row[1] + offset),
                           _mm512_maskz_loadu_epi8(mask, row[2] + offset), _mm512_setzero_si512()};
    interleave(in, out);
}

ALWAYS_INLINE void sum_columns(const block *b, const __m512i column[3][QUARTERS],
                               __m512i sum[QUARTERS])
{
#pragma GCC unroll 4
    for (int q = 0; q < QUARTERS; q++) {
        sum[q] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), column[0][q], b->weights[0][q]);
        sum[q] = _mm512_dpbusd_epi32(sum[q], column[1][q], b->weights[1][q]);
        sum[q] = _mm512_dpbusd_epi32(sum[q], column[2][q], b->weights[2][q]);
    }
}

/* ---- the walk over pixels ---- */

/* Where each tap of output pixel (y, x) lies. */
ALWAYS_INLINE void find_taps(const block *b, size_t y, size_t x, size_t kernel_h, size_t kernel_w,
                             const uint8_t **tap)
{
    const ufk_qdwconv_args *a = b->args;
    for (size_t ky = 0; ky < kernel_h; ky++) {
        const size_t iy = y * a->stride_h + ky * a->dilation_h - a->pad_top; /* wraps below zero */
        for (size_t kx = 0; kx < kernel_w; kx++) {
            const size_t ix = x * a->stride_w + kx * a->dilation_w - a->pad_left;
            const bool inside = iy < a->in_h && ix < a->in_w;
            tap[ky * kernel_w + kx] =
                inside ? a->in + (iy * a->in_w + ix) * a->channels + b->channel : b->outside;
        }
    }
}

/* Whether all columns of output x are inside the image. */
ALWAYS_INLINE bool is_inner(const ufk_qdwconv_args *a, size_t x)
{
    const size_t first = x * a->stride_w;
    return first >= a->pad_left &&
           first - a->pad_left + (a->kernel_w - 1) * a->dilation_w < a->in_w;
}

ALWAYS_INLINE void row_3x3(const block *b, size_t y, form f)
{
    const ufk_qdwconv_args *a = b->args;
    const uint8_t *tap[9];
    const size_t step = a->stride_w * a->channels;
    size_t moves[3];
    for (size_t ky = 0; ky < 3; ky++)
        moves[ky] = y * a->stride_h + ky * a->dilation_h - a->pad_top < a->in_h ? step : 0;
    bool known = false;
    for (size_t x = 0; x < a->out_w; x++) {
        const bool inner = is_inner(a, x);
        if (known && inner) {
            for (int t = 0; t < 9; t++)
                tap[t] += moves[t / 3];
        } else {
            find_taps(b, y, x, 3, 3, tap);
        }
        known = inner;
        one_pixel(b, tap, 9, y * a->out_w + x, f);
    }
}

/* The rows that output row y looks at, or, with step 0, the block that is outside. */
static void find_rows(const block *b, size_t y, const uint8_t *row[3], bool inside[3])
{
    const ufk_qdwconv_args *a = b->args;
    for (size_t ky = 0; ky < 3; ky++) {
        const size_t iy = y * a->stride_h + ky - a->pad_top; /* wraps below zero */
        inside[ky] = iy < a->in_h;
        row[ky] = inside[ky] ? a->in + iy * a->in_w * a->channels + b->channel : b->outside;
    }
}

/* Column ix of the input; outside the image it is the zero point. */
ALWAYS_INLINE void column_at(const block *b, const uint8_t *const row[3], const bool inside[3],
                             size_t ix, __m512i out[QUARTERS])
{
    const bool here = ix < b->args->in_w;
    const uint8_t *at[3];
    for (int k = 0; k < 3; k++)
        at[k] = here && inside[k] ? row[k] + ix * b->args->channels : b->outside;
    load_column(at, 0, b->mask, out);
}

/* Stride 1, one pixel a block. */
ALWAYS_INLINE void row_sliding(const block *b, size_t y, form f)
{
    const ufk_qdwconv_args *a = b->args;
    const uint8_t *row[3];
    bool inside[3];
    __m512i column[3][QUARTERS], sum[QUARTERS];
    find_rows(b, y, row, inside);
    column_at(b, row, inside, 0 - a->pad_left, column[1]); /* wraps below zero */
    column_at(b, row, inside, 1 - a->pad_left, column[2]);
    for (size_t x = 0; x < a->out_w; x++) {
        memcpy(column[0], column[1], sizeof column[0]);
        memcpy(column[1], column[2], sizeof column[1]);
        column_at(b, row, inside, x + 2 - a->pad_left, column[2]);
        sum_columns(b, column, sum);
        put(b, sum, y * a->out_w + x, b->mask, f);
    }
}

/* Row k of a column for a block of several output pixels, of which x is the first: neighbouring
 * pixels, or every other one. */
ALWAYS_INLINE __m512i load_pixels(const uint8_t *p, size_t stride, size_t channels, __mmask64 first,
                                  __mmask64 second)
{
    const __m512i a = _mm512_maskz_loadu_epi8(first, p);
    if (stride == 1)
        return a;
    const __m512i b = _mm512_maskz_loadu_epi8(second, p + BLOCK);
    return channels == 16 ? _mm512_shuffle_i64x2(a, b, 0x88) : _mm512_shuffle_i64x2(a, b, 0x44);
}

/* The lowest n bits. */
static __mmask64 first_bytes(size_t n)
{
    return n >= BLOCK ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1;
}

/* One output pixel at the border. */
ALWAYS_INLINE void border_pixel(const block *b, const uint8_t *const row[3], const bool inside[3],
                                size_t y, size_t x, form f)
{
    const ufk_qdwconv_args *a = b->args;
    __m512i column[3][QUARTERS], sum[QUARTERS];
    for (size_t kx = 0; kx < 3; kx++)
        column_at(b, row, inside, x * a->stride_w + kx - a->pad_left, column[kx]);
    sum_columns(b, column, sum);
    put(b, sum, y * a->out_w + x, b->mask, f);
}

/* `pixels` output pixels from x on, at most one block, none of them at the border. */
ALWAYS_INLINE void inner_pixels(const block *b, const uint8_t *const row[3], const bool inside[3],
                                size_t y, size_t x, size_t pixels, size_t stride, size_t channels,
                                form f)
{
    const ufk_qdwconv_args *a = b->args;
    const size_t bytes = ((pixels - 1) * stride + 1) * channels;
    const __mmask64 first = first_bytes(bytes);
    const __mmask64 second = bytes > BLOCK ? first_bytes(bytes - BLOCK) : 0;
    __m512i column[3][QUARTERS], sum[QUARTERS];
    for (size_t kx = 0; kx < 3; kx++) {
        __m512i in[4];
        for (int k = 0; k < 3; k++)
            in[k] = inside[k] ? load_pixels(row[k] + (x * stride + kx - a->pad_left) * channels,
                                            stride, channels, first, second)
                              : _mm512_loadu_si512(b->outside);
        in[3] = _mm512_setzero_si512();
        interleave(in, column[kx]);
    }
    sum_columns(b, column, sum);
    put(b, sum, y * a->out_w + x, first_bytes(pixels * channels), f);
}

/* Several pixels a block. */
ALWAYS_INLINE void row_flat(const block *b, const block *single, size_t y, form f)
{
    const ufk_qdwconv_args *a = b->args;
    const uint8_t *row[3];
    bool inside[3];
    find_rows(b, y, row, inside);
    size_t x = 0, last = a->out_w;
    while (last > 0 && (last - 1) * a->stride_w + 2 >= a->in_w + a->pad_left)
        last--;
    for (; x < a->out_w && x * a->stride_w < a->pad_left; x++)
        border_pixel(single, row, inside, y, x, f);
    for (size_t pixels; x < last; x += pixels) {
        pixels = last - x < b->pixels ? last - x : b->pixels;
        if (a->stride_w == 1)
            inner_pixels(b, row, inside, y, x, pixels, 1, a->channels, f);
        else if (a->channels == 16)
            inner_pixels(b, row, inside, y, x, pixels, 2, 16, f);
        else
            inner_pixels(b, row, inside, y, x, pixels, 2, 32, f);
    }
    for (; x < a->out_w; x++)
        border_pixel(single, row, inside, y, x, f);
}

/* A kernel of one tap, each pixel under its output: a scaling of channels. */
ALWAYS_INLINE void row_scaled(const block *b, size_t y, form f)
{
    const ufk_qdwconv_args *a = b->args;
    for (size_t pixel = y * a->out_w; pixel < (y + 1) * a->out_w; pixel++) {
        const uint8_t *tap = a->in + pixel * a->channels + b->channel;
        one_pixel(b, &tap, 1, pixel, f);
    }
}

static void row_any(const block *b, size_t y)
{
    const ufk_qdwconv_args *a = b->args;
    const uint8_t *tap[MAX_TAPS];
    for (size_t x = 0; x < a->out_w; x++) {
        find_taps(b, y, x, a->kernel_h, a->kernel_w, tap);
        one_pixel(b, tap, b->taps, y * a->out_w + x, GENERAL);
    }
}

/* ---- all rows, in code of its own for each form ---- */

#define ROWS(name, call)                                                                  \
    static void name(const block *b, const block *single, size_t from, size_t to, form f) \
    {                                                                                     \
        for (size_t y = from; f == PLAIN && y < to; y++) {                                \
            const form k = PLAIN;                                                         \
            call;                                                                         \
        }                                                                                 \
        for (size_t y = from; f == PLAIN_PRELU && y < to; y++) {                          \
            const form k = PLAIN_PRELU;                                                   \
            call;                                                                         \
        }                                                                                 \
        for (size_t y = from; f == GENERAL && y < to; y++) {                              \
            const form k = GENERAL;                                                       \
            call;                                                                         \
        }                                                                                 \
    }
ROWS(rows_sliding, row_sliding(b, y, k))
ROWS(rows_3x3, row_3x3(b, y, k))
ROWS(rows_scaled, row_scaled(b, y, k))
ROWS(rows_flat, row_flat(b, single, y, k))

static void ufk_dwconv_u8_avx512vnni(const ufk_qdwconv_args *a)
{
    block b;
    const bool is_3x3 = a->kernel_h == 3 && a->kernel_w == 3;
    const bool columns = is_3x3 && a->dilation_h == 1 && a->dilation_w == 1;
    const bool sliding = columns && a->stride_h == 1 && a->stride_w == 1;
    const bool scaled = a->kernel_h * a->kernel_w == 1 && a->in_h == a->out_h &&
                        a->in_w == a->out_w && a->pad_top == 0 && a->pad_left == 0;
    if (a->kernel_h * a->kernel_w > MAX_TAPS) {
        ufk_dwconv_u8_c(a);
        return;
    }
    if (columns && a->stride_w <= 2 && (a->channels == 16 || a->channels == 32) &&
        (!a->epilogue.residual || a->epilogue.residual_stride == a->channels)) {
        block single;
        prepare(&b, a, 0, BLOCK / a->channels, true);
        prepare(&single, a, 0, 1, true);
        rows_flat(&b, &single, a->y_begin, a->y_end, form_of(a));
        return;
    }
    for (size_t c = 0; c < a->channels; c += BLOCK) {
        prepare(&b, a, c, 1, sliding);
        if (sliding)
            rows_sliding(&b, NULL, a->y_begin, a->y_end, form_of(a));
        else if (is_3x3)
            rows_3x3(&b, NULL, a->y_begin, a->y_end, form_of(a));
        else if (scaled)
            rows_scaled(&b, NULL, a->y_begin, a->y_end, form_of(a));
        for (size_t y = a->y_begin; !is_3x3 && !scaled && y < a->y_end; y++)
            row_any(&b, y);
    }
}

void ufk_qdwconv_select_avx512vnni(ufk_table *t)
{
    t->dwconv_u8 = ufk_dwconv_u8_avx512vnni;
    t->dwconv_u8_name = "dwconv_u8_avx512vnni";
}
