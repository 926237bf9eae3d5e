/* Transpose in squares of 8x8; AVX-512 machines use it too, as such copies are bound by the cache.
 */
#include <immintrin.h>

#include "kernels/topics.h"

enum {
    SIDE = 8,
    STRIP = 16 /* columns read together: one line of the cache */
};

static inline __m256 low_halves(__m256 a, __m256 b)
{
    return _mm256_permute2f128_ps(a, b, 0x20);
}

static inline __m256 high_halves(__m256 a, __m256 b)
{
    return _mm256_permute2f128_ps(a, b, 0x31);
}

static inline void square(float *out, size_t out_stride, const float *in, size_t in_stride)
{
    __m256 r[SIDE], pairs[SIDE], fours[SIDE];
    for (int i = 0; i < SIDE; i++)
        r[i] = _mm256_loadu_ps(in + (size_t)i * in_stride);
    for (int i = 0; i < SIDE; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < SIDE; i += 4) {
        fours[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
        fours[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xEE);
        fours[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
        fours[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xEE);
    }
    for (int i = 0; i < SIDE / 2; i++) {
        _mm256_storeu_ps(out + (size_t)i * out_stride, low_halves(fours[i], fours[i + 4]));
        _mm256_storeu_ps(out + (size_t)(i + 4) * out_stride, high_halves(fours[i], fours[i + 4]));
    }
}

static void plain(float *out, size_t out_stride, const float *in, size_t in_stride, size_t rows,
                  size_t cols)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            out[c * out_stride + r] = in[r * in_stride + c];
}

static void ufk_transpose_f32_avx2(float *out, size_t out_row_stride, const float *in,
                                   size_t in_row_stride, size_t rows, size_t cols)
{
    if (rows < SIDE || cols < SIDE) {
        ufk_transpose_f32_c(out, out_row_stride, in, in_row_stride, rows, cols);
        return;
    }
    const size_t whole_rows = rows / SIDE * SIDE, whole_cols = cols / SIDE * SIDE;
    for (size_t strip = 0; strip < whole_cols; strip += STRIP) {
        const size_t end = whole_cols - strip < STRIP ? whole_cols : strip + STRIP;
        for (size_t r = 0; r < whole_rows; r += SIDE)
            for (size_t c = strip; c < end; c += SIDE)
                square(out + c * out_row_stride + r, out_row_stride, in + r * in_row_stride + c,
                       in_row_stride);
    }
    plain(out + whole_cols * out_row_stride, out_row_stride, in + whole_cols, in_row_stride,
          whole_rows, cols - whole_cols);
    plain(out + whole_rows, out_row_stride, in + whole_rows * in_row_stride, in_row_stride,
          rows - whole_rows, cols);
}

void ufk_transpose_select_avx2(ufk_table *t)
{
    t->transpose_f32 = ufk_transpose_f32_avx2;
    t->transpose_f32_name = "transpose_f32_avx2";
}
