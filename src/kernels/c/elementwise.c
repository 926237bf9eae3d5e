/* Element by element: the references, and the selection. */
#include <math.h>

#include "base/cpu.h"
#include "kernels/topics.h"

static float binary(ufk_binop op, float a, float b)
{
    switch (op) {
    case UFK_ADD:
        return a + b;
    case UFK_SUB:
        return a - b;
    case UFK_MUL:
        return a * b;
    case UFK_DIV:
        return a / b;
    case UFK_MIN:
        return a < b ? a : b;
    case UFK_MAX:
        return a > b ? a : b;
    case UFK_PRELU:
        return a >= 0 ? a : a * b;
    }
    return a;
}

static void ufk_binary_f32_c(const ufk_binary_args *p)
{
    for (size_t r = 0; r < p->rows; r++)
        for (size_t c = 0; c < p->cols; c++) {
            float a = p->a[r * p->a_row_stride + c];
            float b = p->b[r * p->b_row_stride + c * p->b_col_stride];
            p->out[r * p->out_row_stride + c] = p->swap ? binary(p->op, b, a) : binary(p->op, a, b);
        }
}

static float clamp(float x, float lo, float hi)
{
    x = x > lo ? x : lo;
    return x < hi ? x : hi;
}

static float unary(ufk_unop op, float x, float p0, float p1)
{
    switch (op) {
    case UFK_RELU:
        return x > 0 ? x : 0;
    case UFK_CLAMP:
        return clamp(x, p0, p1);
    case UFK_LEAKY:
        return x >= 0 ? x : x * p0;
    case UFK_ELU:
        return x >= 0 ? x : p0 * expm1f(x);
    case UFK_SIGMOID:
        return 1 / (1 + expf(-x));
    case UFK_HARD_SIGMOID:
        return clamp(p0 * x + p1, 0, 1);
    case UFK_HARD_SWISH:
        return x * clamp(x / 6 + 0.5f, 0, 1);
    case UFK_SILU:
        /* exp(-x) overflows where the result is still a normal number. */
        return x >= 0 ? x / (1 + expf(-x)) : x * expf(x) / (1 + expf(x));
    case UFK_GELU_ERF:
        return 0.5f * x * (1 + erff(x * 0.70710678f));
    case UFK_TANH:
        return tanhf(x);
    case UFK_EXP:
        return expf(x);
    case UFK_SQRT:
        return sqrtf(x);
    case UFK_NEG:
        return -x;
    case UFK_ABS:
        return fabsf(x);
    case UFK_SCALE_SHIFT:
        return x * p0 + p1;
    case UFK_ERF:
        return erff(x);
    case UFK_SQUARE:
        return x * x;
    }
    return x;
}

static void ufk_unary_f32_c(ufk_unop op, float *out, const float *in, size_t count, float p0,
                            float p1)
{
    for (size_t i = 0; i < count; i++)
        out[i] = unary(op, in[i], p0, p1);
}

static void ufk_affine_f32_c(float *out, const float *in, size_t rows, size_t cols,
                             const float *scale, const float *shift)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            out[r * cols + c] = in[r * cols + c] * scale[c] + shift[c];
}

/* The row's largest element is taken off first, so that nothing overflows and the sum is >= 1. */
static void ufk_softmax_f32_c(float *out, const float *in, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r++, in += cols, out += cols) {
        float max = -INFINITY, sum = 0;
        for (size_t c = 0; c < cols; c++)
            max = in[c] > max ? in[c] : max;
        for (size_t c = 0; c < cols; c++)
            sum += out[c] = expf(in[c] - max);
        for (size_t c = 0; c < cols; c++)
            out[c] /= sum;
    }
}

void ufk_elementwise_init(ufk_table *t, uint32_t flags)
{
    t->binary_f32 = ufk_binary_f32_c;
    t->unary_f32 = ufk_unary_f32_c;
    t->affine_f32 = ufk_affine_f32_c;
    t->softmax_f32 = ufk_softmax_f32_c;
    t->elementwise_f32_name = "elementwise_f32_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_elementwise_select_avx2(t);
    if (flags & UFI_CPU_AVX512)
        ufk_elementwise_select_avx512(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_elementwise_select_neon(t);
#endif
}
