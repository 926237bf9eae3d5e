/* Convolution as GEMM over runs: the reference, the packing all variants share, the selection. */
#include "base/cpu.h"
#include "kernels/c/epilogue.h"
#include "kernels/topics.h"

#define NR_C 16

size_t ufk_conv_packed_floats(const ufk_table *t, size_t k, size_t n)
{
    return (n + t->conv_nr - 1) / t->conv_nr * t->conv_nr * k;
}

void ufk_conv_pack(const ufk_table *t, float *packed, const float *b, size_t b_stride, size_t k,
                   size_t n)
{
    size_t nr = t->conv_nr;
    for (size_t j0 = 0; j0 < n; j0 += nr)
        for (size_t i = 0; i < k; i++)
            for (size_t j = j0; j < j0 + nr; j++)
                *packed++ = j < n ? b[i * b_stride + j] : 0;
}

static float sum_of(const ufk_conv_args *p, const float *a, size_t j)
{
    size_t k = 0, depth = p->runs_y * p->runs_x * p->run_length;
    const float *b = p->b + j / NR_C * depth * NR_C + j % NR_C;
    float sum = 0;
    for (size_t y = 0; y < p->runs_y; y++)
        for (size_t x = 0; x < p->runs_x; x++)
            for (size_t i = 0; i < p->run_length; i++, k++)
                sum += a[y * p->run_stride_y + x * p->run_stride_x + i] * b[k * NR_C];
    return sum;
}

static void ufk_conv_f32_c(const ufk_conv_args *p)
{
    const ufk_epilogue *e = &p->epilogue;
    for (size_t i = 0; i < p->m; i++) {
        const float *residual = e->residual ? e->residual + i * e->residual_stride : NULL;
        for (size_t j = 0; j < p->n; j++)
            p->c[i * p->c_stride + j] =
                ufk_finish(e, sum_of(p, p->a + i * p->a_stride, j), residual, j);
    }
}

void ufk_conv_init(ufk_table *t, uint32_t flags)
{
    t->conv_nr = NR_C;
    t->conv_mr = 1;
    t->conv_f32 = ufk_conv_f32_c;
    t->conv_f32_name = "conv_f32_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_conv_select_avx2(t);
    if (flags & UFI_CPU_AVX512)
        ufk_conv_select_avx512(t);
#endif
}
