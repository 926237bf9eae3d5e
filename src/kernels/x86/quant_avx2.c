/* Between FP32 and bytes, and simple operators on bytes: AVX2. Tails go through a padded copy. */
#include <immintrin.h>
#include <string.h>

#include "kernels/topics.h"

/* max first: of a NaN and 0 it takes the second, 0. */
static inline __m128i saturate(__m256 v)
{
    v = _mm256_min_ps(_mm256_max_ps(v, _mm256_setzero_ps()), _mm256_set1_ps(255));
    const __m256i x = _mm256_cvtps_epi32(v);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    return _mm_packus_epi16(words, words);
}

static inline __m256 load_bytes(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

typedef struct quantizer {
    __m256 scale, lo, hi;
    __m256i zero;
} quantizer;

static inline void quantize8(uint8_t *out, const float *in, const quantizer *q)
{
    __m256 v = _mm256_div_ps(_mm256_loadu_ps(in), q->scale);
    v = _mm256_min_ps(_mm256_max_ps(v, q->lo), q->hi);
    const __m256i x = _mm256_add_epi32(_mm256_cvtps_epi32(v), q->zero);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi16(words, words));
}

static void ufk_quantize_u8_avx2(uint8_t *out, const float *in, size_t count, float scale,
                                 uint8_t zero)
{
    const quantizer q = {_mm256_set1_ps(scale), _mm256_set1_ps(-(float)zero),
                         _mm256_set1_ps((float)(255 - zero)), _mm256_set1_epi32(zero)};
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        quantize8(out + i, in + i, &q);
    if (i < count) {
        float last[8] = {0};
        uint8_t bytes[8];
        memcpy(last, in + i, (count - i) * sizeof *in);
        quantize8(bytes, last, &q);
        memcpy(out + i, bytes, count - i);
    }
}

static inline void dequantize8(float *out, const uint8_t *in, __m256 scale, __m256 shift)
{
    _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_sub_ps(load_bytes(in), shift), scale));
}

static void ufk_dequantize_u8_avx2(float *out, const uint8_t *in, size_t count, float scale,
                                   float zero)
{
    const __m256 factor = _mm256_set1_ps(scale), shift = _mm256_set1_ps(zero);
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        dequantize8(out + i, in + i, factor, shift);
    if (i < count) {
        uint8_t last[8] = {0};
        float floats[8];
        memcpy(last, in + i, count - i);
        dequantize8(floats, last, factor, shift);
        memcpy(out + i, floats, (count - i) * sizeof *out);
    }
}

static inline void add8(uint8_t *out, const uint8_t *a, const uint8_t *b, __m256 sa, __m256 sb,
                        __m256 shift)
{
    const __m256 v = _mm256_fmadd_ps(load_bytes(b), sb, shift);
    _mm_storel_epi64((__m128i *)(void *)out, saturate(_mm256_fmadd_ps(load_bytes(a), sa, v)));
}

static void ufk_add_u8_avx2(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t count,
                            float a_scale, float b_scale, float shift)
{
    const __m256 sa = _mm256_set1_ps(a_scale), sb = _mm256_set1_ps(b_scale);
    const __m256 offset = _mm256_set1_ps(shift);
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        add8(out + i, a + i, b + i, sa, sb, offset);
    if (i < count) {
        uint8_t last_a[8] = {0}, last_b[8] = {0}, bytes[8];
        memcpy(last_a, a + i, count - i);
        memcpy(last_b, b + i, count - i);
        add8(bytes, last_a, last_b, sa, sb, offset);
        memcpy(out + i, bytes, count - i);
    }
}

/* Maximum of `max` and `in`, byte by byte. */
static void take_max(uint8_t *max, const uint8_t *in, size_t count)
{
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        __m256i *to = (__m256i *)(void *)(max + i);
        const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(in + i));
        _mm256_storeu_si256(to, _mm256_max_epu8(_mm256_loadu_si256(to), v));
    }
    if (i + 16 <= count) {
        __m128i *to = (__m128i *)(void *)(max + i);
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(in + i));
        _mm_storeu_si128(to, _mm_max_epu8(_mm_loadu_si128(to), v));
        i += 16;
    }
    for (; i < count; i++)
        max[i] = in[i] > max[i] ? in[i] : max[i];
}

/* A window of 2x2; channels are a multiple of 16. */
static inline void max_of_four(uint8_t *out, const uint8_t *in, size_t row, size_t pixel,
                               size_t channels)
{
    for (size_t c = 0; c < channels; c += 16) {
        const uint8_t *p = in + c;
        const __m128i above =
            _mm_max_epu8(_mm_loadu_si128((const __m128i *)(const void *)p),
                         _mm_loadu_si128((const __m128i *)(const void *)(p + pixel)));
        const __m128i below =
            _mm_max_epu8(_mm_loadu_si128((const __m128i *)(const void *)(p + row)),
                         _mm_loadu_si128((const __m128i *)(const void *)(p + row + pixel)));
        _mm_storeu_si128((__m128i *)(void *)(out + c), _mm_max_epu8(above, below));
    }
}

/* Windows of 2x2 side by side, as detectors shrink their maps. */
static bool pool_halves(uint8_t *out, const uint8_t *in, const ufk_pool_args *p)
{
    const size_t channels = p->channels, row = p->in_w * channels;
    if (p->kernel_h != 2 || p->kernel_w != 2 || p->stride_h != 2 || p->stride_w != 2 ||
        p->dilation_h != 1 || p->dilation_w != 1 || p->pad_top || p->pad_left || channels % 16 ||
        2 * p->out_h > p->in_h || 2 * p->out_w > p->in_w)
        return false;
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++)
            max_of_four(out + (y * p->out_w + x) * channels, in + 2 * y * row + 2 * x * channels,
                        row, channels, channels);
    return true;
}

static void ufk_max_pool_u8_avx2(uint8_t *out, const uint8_t *in, const ufk_pool_args *p)
{
    if (pool_halves(out, in, p))
        return;
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++) {
            uint8_t *max = out + (y * p->out_w + x) * p->channels;
            memset(max, 0, p->channels);
            for (size_t t = 0; t < p->kernel_h * p->kernel_w; t++) {
                size_t iy = y * p->stride_h + t / p->kernel_w * p->dilation_h - p->pad_top;
                size_t ix = x * p->stride_w + t % p->kernel_w * p->dilation_w - p->pad_left;
                if (iy < p->in_h && ix < p->in_w)
                    take_max(max, in + (iy * p->in_w + ix) * p->channels, p->channels);
            }
        }
}

/* Byte i of third t of 48 bytes takes byte orders[t][c][i] of plane c, or none (-1). */
static const int8_t orders[3][3][16] = {
    {{0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1, 5},
     {-1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1},
     {-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1}},
    {{-1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10, -1},
     {5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1, 10},
     {-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, 8, -1, -1, 9, -1, -1}},
    {{-1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1, -1},
     {-1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15, -1},
     {10, -1, -1, 11, -1, -1, 12, -1, -1, 13, -1, -1, 14, -1, -1, 15}}};

/* Sixteen pixels. */
static inline void interleave16(uint8_t *out, const __m128i plane[3])
{
    for (int third = 0; third < 3; third++) {
        __m128i bytes = _mm_setzero_si128();
        for (int c = 0; c < 3; c++) {
            const __m128i order = _mm_loadu_si128((const __m128i *)(const void *)orders[third][c]);
            bytes = _mm_or_si128(bytes, _mm_shuffle_epi8(plane[c], order));
        }
        _mm_storeu_si128((__m128i *)(void *)(out + third * 16), bytes);
    }
}

static void ufk_interleave3_u8_avx2(uint8_t *out, const uint8_t *planes, size_t pixels)
{
    size_t i = 0;
    for (; i + 16 <= pixels; i += 16) {
        __m128i plane[3];
        for (size_t c = 0; c < 3; c++)
            plane[c] = _mm_loadu_si128((const __m128i *)(const void *)(planes + c * pixels + i));
        interleave16(out + i * 3, plane);
    }
    for (; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            out[i * 3 + c] = planes[c * pixels + i];
}

void ufk_quant_select_avx2(ufk_table *t)
{
    t->quantize_u8 = ufk_quantize_u8_avx2;
    t->dequantize_u8 = ufk_dequantize_u8_avx2;
    t->add_u8 = ufk_add_u8_avx2;
    t->max_pool_u8 = ufk_max_pool_u8_avx2;
    t->interleave3_u8 = ufk_interleave3_u8_avx2;
    t->quant_u8_name = "quant_u8_avx2";
}
