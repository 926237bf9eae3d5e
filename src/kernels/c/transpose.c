/* Transpose: the reference, in blocks that fit the first-level cache. */
#include "base/cpu.h"
#include "kernels/topics.h"

#define BLOCK 32

void ufk_transpose_f32_c(float *out, size_t out_row_stride, const float *in, size_t in_row_stride,
                         size_t rows, size_t cols)
{
    if (rows == 3) { /* planes of a picture to pixels */
        const float *a = in, *b = in + in_row_stride, *d = b + in_row_stride;
        for (size_t c = 0; c < cols; c++, out += out_row_stride)
            out[0] = a[c], out[1] = b[c], out[2] = d[c];
        return;
    }
    for (size_t r0 = 0; r0 < rows; r0 += BLOCK)
        for (size_t c0 = 0; c0 < cols; c0 += BLOCK)
            for (size_t r = r0; r < rows && r < r0 + BLOCK; r++)
                for (size_t c = c0; c < cols && c < c0 + BLOCK; c++)
                    out[c * out_row_stride + r] = in[r * in_row_stride + c];
}

void ufk_transpose_init(ufk_table *t, uint32_t flags)
{
    t->transpose_f32 = ufk_transpose_f32_c;
    t->transpose_f32_name = "transpose_f32_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_transpose_select_avx2(t);
#endif
}
