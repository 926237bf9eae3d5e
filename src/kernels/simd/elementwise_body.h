/* Elementwise operators over vec.h. Included once by each <isa>. */
#include "kernels/simd/vec.h"
#include "kernels/topics.h"

V_INLINE vec binary(ufk_binop op, vec a, vec b)
{
    switch (op) {
    case UFK_ADD:
        return v_add(a, b);
    case UFK_SUB:
        return v_sub(a, b);
    case UFK_MUL:
        return v_mul(a, b);
    case UFK_DIV:
        return v_div(a, b);
    case UFK_MIN:
        return v_min(a, b);
    case UFK_MAX:
        return v_max(a, b);
    case UFK_PRELU:
        return v_prelu(a, b);
    }
    return a;
}

/* One operator per instance, so that the switch is outside of the loops. */
V_INLINE void binary_rows(const ufk_binary_args *p, const ufk_binop op)
{
    for (size_t r = 0; r < p->rows; r++) {
        const float *a = p->a + r * p->a_row_stride, *b = p->b + r * p->b_row_stride;
        float *out = p->out + r * p->out_row_stride;
        vec one = v_set(p->b_col_stride ? 0.0f : *b);
        for (size_t c = 0; c < p->cols; c += LANES) {
            size_t n = p->cols - c;
            vec x = v_get(a + c, n), y = p->b_col_stride ? v_get(b + c, n) : one;
            v_put(out + c, p->swap ? binary(op, y, x) : binary(op, x, y), n);
        }
    }
}

static void V_ISA(ufk_binary_f32)(const ufk_binary_args *p)
{
    switch (p->op) {
    case UFK_ADD:
        binary_rows(p, UFK_ADD);
        break;
    case UFK_SUB:
        binary_rows(p, UFK_SUB);
        break;
    case UFK_MUL:
        binary_rows(p, UFK_MUL);
        break;
    case UFK_DIV:
        binary_rows(p, UFK_DIV);
        break;
    case UFK_MIN:
        binary_rows(p, UFK_MIN);
        break;
    case UFK_MAX:
        binary_rows(p, UFK_MAX);
        break;
    case UFK_PRELU:
        binary_rows(p, UFK_PRELU);
        break;
    }
}

/* exp(x) - 1: the series near 0, where the difference would cancel. */
V_INLINE vec expm1_of(vec x)
{
    vec p = v_set(1.0f / 40320);
    p = v_fma(p, x, v_set(1.0f / 5040));
    p = v_fma(p, x, v_set(1.0f / 720));
    p = v_fma(p, x, v_set(1.0f / 120));
    p = v_fma(p, x, v_set(1.0f / 24));
    p = v_fma(p, x, v_set(1.0f / 6));
    p = v_fma(p, x, v_set(0.5f));
    p = v_fma(v_mul(p, x), x, x);
    return v_select(v_less(v_abs(x), v_set(0.5f)), p, v_sub(v_exp(x), v_set(1.0f)));
}

/* (1 - e) / (1 + e) with e = exp(-2|x|); an odd polynomial near 0. */
V_INLINE vec tanh_of(vec x)
{
    vec size = v_abs(x), z = v_mul(x, x), one = v_set(1.0f);
    vec p = v_set(-5.70498872745e-3f);
    p = v_fma(p, z, v_set(2.06390887954e-2f));
    p = v_fma(p, z, v_set(-5.37397155531e-2f));
    p = v_fma(p, z, v_set(1.33314422036e-1f));
    p = v_fma(p, z, v_set(-3.33332819422e-1f));
    p = v_fma(v_mul(p, z), x, x);
    vec e = v_exp(v_mul(size, v_set(-2.0f)));
    vec far = v_div(v_sub(one, e), v_add(one, e));
    far = v_select(v_less(x, v_set(0.0f)), v_sub(v_set(0.0f), far), far);
    return v_select(v_less(size, v_set(0.625f)), p, far);
}

/* 1 - erf(z), z >= 0, by Abramowitz & Stegun 7.1.26, error below 1.5e-7. */
V_INLINE vec erfc_of(vec z)
{
    vec one = v_set(1.0f);
    vec t = v_div(one, v_fma(z, v_set(0.3275911f), one));
    vec p = v_set(1.061405429f);
    p = v_fma(p, t, v_set(-1.453152027f));
    p = v_fma(p, t, v_set(1.421413741f));
    p = v_fma(p, t, v_set(-0.284496736f));
    p = v_fma(p, t, v_set(0.254829592f));
    return v_mul(v_mul(p, t), v_exp(v_sub(v_set(0.0f), v_mul(z, z))));
}

/* The series near 0, where 1 - erfc would cancel; its next term is 1e-8 of it at 0.6. */
V_INLINE vec erf_of(vec x)
{
    vec size = v_abs(x), z = v_mul(x, x);
    vec p = v_set(1.2055332981789664e-4f);
    p = v_fma(p, z, v_set(-8.5483270234508530e-4f));
    p = v_fma(p, z, v_set(5.2239776254421878e-3f));
    p = v_fma(p, z, v_set(-2.6866170645131252e-2f));
    p = v_fma(p, z, v_set(1.1283791670955126e-1f));
    p = v_fma(p, z, v_set(-3.7612638903183752e-1f));
    p = v_fma(p, z, v_set(1.1283791670955126f));
    vec far = v_sub(v_set(1.0f), erfc_of(size));
    far = v_select(v_less(x, v_set(0.0f)), v_sub(v_set(0.0f), far), far);
    return v_select(v_less(size, v_set(0.6f)), v_mul(p, x), far);
}

/* x / 2 * (1 + erf(x / sqrt 2)) */
V_INLINE vec gelu_of(vec x)
{
    vec tail = erfc_of(v_mul(v_abs(x), v_set(0.70710678f)));
    vec gate = v_select(v_less(x, v_set(0.0f)), tail, v_sub(v_set(2.0f), tail));
    return v_mul(v_mul(x, v_set(0.5f)), gate);
}

V_INLINE vec unary(ufk_unop op, vec x, vec p0, vec p1)
{
    const vec zero = v_set(0.0f);
    switch (op) {
    case UFK_RELU:
        return v_max(x, zero);
    case UFK_CLAMP:
        return v_clamp(x, p0, p1);
    case UFK_LEAKY:
        return v_prelu(x, p0);
    case UFK_ELU:
        return v_select(v_less(x, zero), v_mul(p0, expm1_of(x)), x);
    case UFK_SIGMOID:
        return v_sigmoid(x);
    case UFK_HARD_SIGMOID:
        return v_clamp(v_add(v_mul(p0, x), p1), zero, v_set(1.0f));
    case UFK_HARD_SWISH:
        return v_hard_swish(x);
    case UFK_SILU:
        return v_silu(x);
    case UFK_GELU_ERF:
        return gelu_of(x);
    case UFK_TANH:
        return tanh_of(x);
    case UFK_EXP:
        return v_exp(x);
    case UFK_SQRT:
        return v_sqrt(x);
    case UFK_NEG:
        return v_sub(v_set(-0.0f), x);
    case UFK_ABS:
        return v_abs(x);
    case UFK_SCALE_SHIFT:
        return v_add(v_mul(x, p0), p1);
    case UFK_ERF:
        return erf_of(x);
    case UFK_SQUARE:
        return v_mul(x, x);
    }
    return x;
}

V_INLINE void unary_run(const ufk_unop op, float *out, const float *in, size_t count, float p0,
                        float p1)
{
    vec a = v_set(p0), b = v_set(p1);
    for (size_t i = 0; i < count; i += LANES)
        v_put(out + i, unary(op, v_get(in + i, count - i), a, b), count - i);
}

static void V_ISA(ufk_unary_f32)(ufk_unop op, float *out, const float *in, size_t count, float p0,
                                 float p1)
{
    switch (op) {
#define UNARY_CASE(name)                         \
    case name:                                   \
        unary_run(name, out, in, count, p0, p1); \
        break;
        UNARY_CASE(UFK_RELU)
        UNARY_CASE(UFK_CLAMP)
        UNARY_CASE(UFK_LEAKY)
        UNARY_CASE(UFK_ELU)
        UNARY_CASE(UFK_SIGMOID)
        UNARY_CASE(UFK_HARD_SIGMOID)
        UNARY_CASE(UFK_HARD_SWISH)
        UNARY_CASE(UFK_SILU)
        UNARY_CASE(UFK_GELU_ERF)
        UNARY_CASE(UFK_TANH)
        UNARY_CASE(UFK_EXP)
        UNARY_CASE(UFK_SQRT)
        UNARY_CASE(UFK_NEG)
        UNARY_CASE(UFK_ABS)
        UNARY_CASE(UFK_SCALE_SHIFT)
        UNARY_CASE(UFK_ERF)
        UNARY_CASE(UFK_SQUARE)
#undef UNARY_CASE
    }
}

static void V_ISA(ufk_affine_f32)(float *out, const float *in, size_t rows, size_t cols,
                                  const float *scale, const float *shift)
{
    for (size_t c = 0; c < cols; c += LANES) {
        size_t n = cols - c;
        vec s = v_get(scale + c, n), t = v_get(shift + c, n);
        for (size_t r = 0; r < rows; r++)
            v_put(out + r * cols + c, v_add(v_mul(v_get(in + r * cols + c, n), s), t), n);
    }
}

static void V_ISA(ufk_softmax_f32)(float *out, const float *in, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r++, in += cols, out += cols) {
        float max = in[0], sum = 0;
        for (size_t c = 1; c < cols; c++)
            max = in[c] > max ? in[c] : max;
        for (size_t c = 0; c < cols; c += LANES)
            v_put(out + c, v_exp(v_sub(v_get(in + c, cols - c), v_set(max))), cols - c);
        for (size_t c = 0; c < cols; c++)
            sum += out[c];
        for (size_t c = 0; c < cols; c += LANES)
            v_put(out + c, v_div(v_get(out + c, cols - c), v_set(sum)), cols - c);
    }
}

void V_ISA(ufk_elementwise_select)(ufk_table *t)
{
    t->binary_f32 = V_ISA(ufk_binary_f32);
    t->unary_f32 = V_ISA(ufk_unary_f32);
    t->affine_f32 = V_ISA(ufk_affine_f32);
    t->softmax_f32 = V_ISA(ufk_softmax_f32);
    t->elementwise_f32_name = "elementwise_f32_" V_NAME;
}
