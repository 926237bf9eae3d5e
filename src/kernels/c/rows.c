/* Rows of a matrix: sums, and layer normalisation. References, in double, and the selection. */
#include <math.h>

#include "base/cpu.h"
#include "kernels/topics.h"

static void ufk_row_sum_f32_c(float *out, const float *in, size_t rows, size_t cols, bool squares)
{
    for (size_t r = 0; r < rows; r++, in += cols) {
        double sum = 0;
        for (size_t c = 0; c < cols; c++)
            sum += squares ? (double)in[c] * (double)in[c] : (double)in[c];
        out[r] = (float)sum;
    }
}

static void ufk_layer_norm_f32_c(float *out, const float *in, size_t rows, size_t cols,
                                 const float *scale, const float *shift, float epsilon)
{
    for (size_t r = 0; r < rows; r++, in += cols, out += cols) {
        double sum = 0, square = 0;
        for (size_t c = 0; c < cols; c++)
            sum += (double)in[c];
        const double mean = sum / (double)cols;
        for (size_t c = 0; c < cols; c++)
            square += ((double)in[c] - mean) * ((double)in[c] - mean);
        const double inverse = 1 / sqrt(square / (double)cols + (double)epsilon);
        for (size_t c = 0; c < cols; c++)
            out[c] = (float)(((double)in[c] - mean) * inverse * (double)scale[c] +
                             (shift ? (double)shift[c] : 0));
    }
}

void ufk_rows_init(ufk_table *t, uint32_t flags)
{
    t->row_sum_f32 = ufk_row_sum_f32_c;
    t->layer_norm_f32 = ufk_layer_norm_f32_c;
    t->rows_f32_name = "rows_f32_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_rows_select_avx2(t);
    if (flags & UFI_CPU_AVX512)
        ufk_rows_select_avx512(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_rows_select_neon(t);
#endif
}
