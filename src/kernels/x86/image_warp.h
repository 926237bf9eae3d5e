/*
 * Eight pixels of a warp at once, AVX2. The four neighbours of a pixel are two runs of six bytes;
 * both go into one half of a register, a shuffle brings the bytes of a channel side by side, and
 * two products with sums (by the horizontal weights, then by the vertical ones) give the pixel in
 * whole numbers, as the reference does. Loads by index (vpgatherdd) were no faster than two of
 * eight bytes each.
 */
#ifndef UFK_X86_IMAGE_WARP_H
#define UFK_X86_IMAGE_WARP_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WARP_GROUP 8

/* Fixed-point coordinates of pixels (x0 + i, y) in one row of the matrix, by the operations of the
 * reference in its order. Compilers leave the comparisons as branches, which took half the time. */
static inline void warp_coordinates(int32_t *to, size_t x0, size_t y, size_t count,
                                    const float m[3])
{
    const __m256d a = _mm256_set1_pd((double)m[0]), c = _mm256_set1_pd((double)m[2]);
    const __m256d by = _mm256_set1_pd((double)m[1] * (double)y), most = _mm256_set1_pd(1e9);
    const __m256d fractions = _mm256_set1_pd(32), half = _mm256_set1_pd(0.5);
    __m128i x = _mm_add_epi32(_mm_set1_epi32((int)x0), _mm_setr_epi32(0, 1, 2, 3));
    for (size_t i = 0; i < count; i += 4) {
        __m256d v = _mm256_mul_pd(a, _mm256_cvtepi32_pd(x));
        v = _mm256_add_pd(_mm256_add_pd(v, by), c);
        v = _mm256_floor_pd(_mm256_add_pd(_mm256_mul_pd(v, fractions), half));
        v = _mm256_min_pd(_mm256_max_pd(v, _mm256_set1_pd(-1e9)), most);
        _mm_storeu_si128((__m128i *)(void *)(to + i), _mm256_cvttpd_epi32(v));
        x = _mm_add_epi32(x, _mm_set1_epi32(4));
    }
}

typedef struct warp_source {
    const uint8_t *in;
    __m256i stride, last_x, last_y; /* the group path takes 0 <= x < last_x, 0 <= y < last_y */
    bool fits;                      /* every offset fits 32 bits */
} warp_source;

/* Eight bytes are read where six are needed, so the last column but one is left to the checked
 * path. */
static inline warp_source warp_source_of(const uint8_t *in, size_t stride, size_t w, size_t h)
{
    warp_source s = {.in = in,
                     .fits = w > 2 && h > 1 && w < INT32_MAX / 4 && h < INT32_MAX &&
                             stride <= UINT32_MAX / h};
    if (s.fits) {
        s.stride = _mm256_set1_epi32((int)(uint32_t)stride);
        s.last_x = _mm256_set1_epi32((int)w - 2);
        s.last_y = _mm256_set1_epi32((int)h - 1);
    }
    return s;
}

/* Upper and lower neighbours of one pixel in one half. */
static inline __m128i warp_neighbours(const uint8_t *p, size_t stride)
{
    __m128i top = _mm_loadl_epi64((const __m128i *)(const void *)p);
    double bottom;
    memcpy(&bottom, p + stride, 8);
    return _mm_castpd_si128(_mm_loadh_pd(_mm_castsi128_pd(top), &bottom));
}

/* Pixels a and b (their offsets) in the halves, 32 bits a channel. `pair` picks their weights. */
static inline __m256i warp_two(const uint8_t *in, size_t stride, uint32_t a, uint32_t b, __m256i wx,
                               __m256i wy, __m256i pair)
{
    const __m256i channels =
        _mm256_setr_epi8(0, 3, 8, 11, 1, 4, 9, 12, 2, 5, 10, 13, -1, -1, -1, -1, 0, 3, 8, 11, 1, 4,
                         9, 12, 2, 5, 10, 13, -1, -1, -1, -1);
    __m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(warp_neighbours(in + a, stride)),
                                        warp_neighbours(in + b, stride), 1);
    v = _mm256_maddubs_epi16(_mm256_shuffle_epi8(v, channels),
                             _mm256_permutevar8x32_epi32(wx, pair));
    v = _mm256_madd_epi16(v, _mm256_permutevar8x32_epi32(wy, pair));
    return _mm256_srli_epi32(_mm256_add_epi32(v, _mm256_set1_epi32(512)), 10);
}

/* Pixels a, b and c, d of warp_two as 12 bytes in the order a b c d. */
static inline __m128i warp_bytes(__m256i ab, __m256i cd)
{
    const __m128i dense = _mm_setr_epi8(0, 1, 2, 8, 9, 10, 4, 5, 6, 12, 13, 14, -1, -1, -1, -1);
    __m256i v = _mm256_packus_epi32(ab, cd); /* a c | b d */
    v = _mm256_packus_epi16(v, v);
    v = _mm256_permute4x64_epi64(v, 0x08);
    return _mm_shuffle_epi8(_mm256_castsi256_si128(v), dense);
}

/* Pixels at the fixed-point coordinates fx, fy into to[24]; false when one of them is too near the
 * border. */
static inline bool warp_group(const warp_source *s, uint8_t *to, const int32_t *fx,
                              const int32_t *fy, size_t stride)
{
    const __m256i one = _mm256_set1_epi32(32), low = _mm256_set1_epi32(31);
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)fx);
    __m256i y = _mm256_loadu_si256((const __m256i *)(const void *)fy);
    __m256i ix = _mm256_srai_epi32(x, 5), iy = _mm256_srai_epi32(y, 5);
    __m256i below = _mm256_or_si256(ix, iy); /* a negative one has its sign */
    __m256i inside =
        _mm256_and_si256(_mm256_cmpgt_epi32(s->last_x, ix), _mm256_cmpgt_epi32(s->last_y, iy));
    if (_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_andnot_si256(below, inside))) != 0xFF)
        return false;
    uint32_t at[WARP_GROUP];
    __m256i offset = _mm256_add_epi32(_mm256_mullo_epi32(iy, s->stride),
                                      _mm256_add_epi32(ix, _mm256_slli_epi32(ix, 1)));
    _mm256_storeu_si256((__m256i *)(void *)at, offset);
    /* Weights of left and right as two bytes, twice; of top and bottom as two words. */
    __m256i wx = _mm256_and_si256(x, low), wy = _mm256_and_si256(y, low);
    wx = _mm256_or_si256(_mm256_sub_epi32(one, wx), _mm256_slli_epi32(wx, 8));
    wx = _mm256_or_si256(wx, _mm256_slli_epi32(wx, 16));
    wy = _mm256_or_si256(_mm256_sub_epi32(one, wy), _mm256_slli_epi32(wy, 16));
    __m256i pixels[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        int a = 2 * i;
        pixels[i] = warp_two(s->in, stride, at[a], at[a + 1], wx, wy,
                             _mm256_setr_epi32(a, a, a, a, a + 1, a + 1, a + 1, a + 1));
    }
    __m128i left = warp_bytes(pixels[0], pixels[1]), right = warp_bytes(pixels[2], pixels[3]);
    /* 24 bytes: 16 and 8. */
    _mm_storeu_si128((__m128i *)(void *)to, _mm_or_si128(left, _mm_slli_si128(right, 12)));
    _mm_storel_epi64((__m128i *)(void *)(to + 16), _mm_srli_si128(right, 4));
    return true;
}

#endif
