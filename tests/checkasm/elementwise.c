/*
 * Element by element. Every variant, the reference too, is compared with the function in double:
 * |error| <= ulps(op) * 2^-24 * size + 2^-125, where `size` is the result's magnitude, or that of
 * the largest term where the operation is a sum or may cancel. The last term lets results below the
 * normal range be flushed or held at the exponential's end.
 *
 * ulps(op): one per rounding, and 8 for the exponential family: 3 for exp (polynomial 2, its
 * argument's reduction 1), doubled where 1 + exp or a quotient follow, and rounded up.
 */
#include "checkasm.h"

#define U 0x1p-24
#define TINY 0x1p-125

static double exact(ufk_unop op, double x, double p0, double p1, double *size)
{
    double v = x;
    *size = 0;
    switch (op) {
    case UFK_RELU:
        v = fmax(x, 0);
        break;
    case UFK_CLAMP:
        v = fmin(fmax(x, p0), p1);
        break;
    case UFK_LEAKY:
        v = x >= 0 ? x : x * p0;
        break;
    case UFK_ELU:
        v = x >= 0 ? x : p0 * expm1(x);
        break;
    case UFK_SIGMOID:
        v = 1 / (1 + exp(-x));
        break;
    case UFK_HARD_SIGMOID:
        v = fmin(fmax(p0 * x + p1, 0), 1);
        *size = fabs(p0 * x) + fabs(p1);
        break;
    case UFK_HARD_SWISH:
        v = x * fmin(fmax(x / 6 + 0.5, 0), 1);
        *size = fabs(x) * (fabs(x) < 4 ? 1.2 : 1);
        break;
    case UFK_SILU:
        v = x / (1 + exp(-x));
        break;
    case UFK_GELU_ERF:
        v = 0.5 * x * erfc(-x * 0.70710678118654752440);
        *size = fabs(x);
        break;
    case UFK_TANH:
        v = tanh(x);
        break;
    case UFK_EXP:
        v = exp(x);
        break;
    case UFK_SQRT:
        v = sqrt(x);
        break;
    case UFK_NEG:
        v = -x;
        break;
    case UFK_ABS:
        v = fabs(x);
        break;
    case UFK_SCALE_SHIFT:
        v = x * p0 + p1;
        *size = fabs(x * p0) + fabs(p1);
        break;
    case UFK_ERF:
        v = erf(x);
        break;
    case UFK_SQUARE:
        v = x * x;
        break;
    }
    *size = fmax(*size, fabs(v));
    return v;
}

static double ulps(ufk_unop op)
{
    switch (op) {
    case UFK_ELU:
    case UFK_SIGMOID:
    case UFK_SILU:
    case UFK_GELU_ERF:
    case UFK_TANH:
    case UFK_EXP:
    case UFK_ERF:
        return 8;
    case UFK_HARD_SWISH:
        return 5;
    case UFK_HARD_SIGMOID:
    case UFK_SCALE_SHIFT:
        return 3;
    default:
        return 1;
    }
}

/* From 2^-30 to 120 in size, so that small arguments are tried as well as saturation. */
static float spread(void)
{
    float magnitude = exp2f(18.5f * ca_float() - 11.5f);
    return ca_range(0, 1) ? magnitude : -magnitude;
}

static void check_unary(ufk_unop op, size_t count, bool in_place)
{
    float *in = ca_alloc(count * sizeof *in, sizeof *in), *want = ca_output_floats(count);
    double *bound = ca_alloc(count * sizeof *bound, 8);
    float p0 = op == UFK_CLAMP ? -0.5f : 0.2f, p1 = op == UFK_CLAMP ? 2.0f : 0.5f;
    for (size_t i = 0; i < count; i++) {
        double size;
        in[i] = op == UFK_SQRT ? fabsf(spread()) : spread();
        if (op == UFK_EXP && in[i] > 88)
            in[i] = 88;
        want[i] = (float)exact(op, (double)in[i], (double)p0, (double)p1, &size);
        bound[i] = (ulps(op) + 1) * U * size + TINY;
    }
    for (size_t t = 0; t < ca_table_count(); t++) {
        char what[64];
        float *got = ca_output_floats(count);
        if (in_place)
            memcpy(got, in, count * sizeof *in);
        ca_table(t)->unary_f32(op, got, in_place ? got : in, count, p0, p1);
        snprintf(what, sizeof what, "unary %d of %s", (int)op, ca_table(t)->elementwise_f32_name);
        ca_check(what, got, want, bound, count);
    }
    ca_release();
}

TEST(unary_is_within_its_bound)
{
    for (int op = UFK_RELU; op <= UFK_SQUARE; op++) {
        for (size_t count = 1; count <= 70; count++)
            check_unary((ufk_unop)op, count, count % 2);
        check_unary((ufk_unop)op, 100000, false);
    }
}

TEST(unary_keeps_nan_and_takes_infinities)
{
    static const ufk_unop nan_ops[] = {UFK_ELU,  UFK_SIGMOID, UFK_SILU,       UFK_GELU_ERF,
                                       UFK_TANH, UFK_EXP,     UFK_SQRT,       UFK_NEG,
                                       UFK_ABS,  UFK_LEAKY,   UFK_SCALE_SHIFT};
    const float in[4] = {NAN, INFINITY, -INFINITY, 0};
    float out[4];
    for (size_t t = 0; t < ca_table_count(); t++) {
        const ufk_table *k = ca_table(t);
        for (size_t i = 0; i < sizeof nan_ops / sizeof nan_ops[0]; i++) {
            k->unary_f32(nan_ops[i], out, in, 4, 1, 0);
            CHECK_MSG(isnan(out[0]), "%s: unary %d of NaN is %g", k->elementwise_f32_name,
                      (int)nan_ops[i], (double)out[0]);
        }
        k->unary_f32(UFK_SIGMOID, out, in, 4, 0, 0);
        CHECK(out[1] == 1 && out[2] >= 0 && (double)out[2] < TINY && out[3] == 0.5f);
        k->unary_f32(UFK_TANH, out, in, 4, 0, 0);
        CHECK(out[1] == 1 && out[2] == -1 && out[3] == 0);
        k->unary_f32(UFK_EXP, out, in, 4, 0, 0);
        CHECK(isinf(out[1]) && (double)out[2] < TINY && out[3] == 1);
    }
}

static ufk_binary_args random_binary(size_t *count)
{
    ufk_binary_args a = {.op = (ufk_binop)ca_range(UFK_ADD, UFK_PRELU)};
    a.rows = ca_range(1, 9);
    a.cols = ca_range(1, 70);
    a.out_row_stride = a.cols + ca_range(0, 2);
    a.a_row_stride = a.cols + ca_range(0, 2);
    a.b_col_stride = ca_range(0, 1);
    a.b_row_stride = ca_range(0, 1) ? 0 : (a.b_col_stride ? a.cols : 1) + ca_range(0, 2);
    a.swap = ca_range(0, 1);
    a.a = ca_random_floats((a.rows - 1) * a.a_row_stride + a.cols);
    a.b = ca_random_floats((a.rows - 1) * a.b_row_stride + (a.cols - 1) * a.b_col_stride + 1);
    *count = (a.rows - 1) * a.out_row_stride + a.cols;
    return a;
}

/* One rounding each: every variant gives the very bits of the reference. */
TEST(binary_matches_reference)
{
    for (int round = 0; round < 2000; round++) {
        size_t count;
        ufk_binary_args a = random_binary(&count);
        float *want = a.out = ca_output_floats(count);
        ca_table(0)->binary_f32(&a);
        for (size_t t = 1; t < ca_table_count(); t++) {
            a.out = ca_output_floats(count);
            ca_table(t)->binary_f32(&a);
            ca_check(ca_table(t)->elementwise_f32_name, a.out, want, NULL, count);
        }
        ca_release();
    }
}

TEST(binary_reference_means_what_it_says)
{
    static const float want[7][2] = {{7, 7}, {-3, 3}, {10, 10}, {0.4f, 2.5f},
                                     {2, 2}, {5, 5},  {2, 5}};
    const float a = 2, b = 5, negative = -2;
    for (int op = UFK_ADD; op <= UFK_PRELU; op++)
        for (int swap = 0; swap < 2; swap++) {
            float out = 0;
            ufk_binary_args args = {.op = (ufk_binop)op,
                                    .out = &out,
                                    .a = &a,
                                    .b = &b,
                                    .rows = 1,
                                    .cols = 1,
                                    .swap = swap};
            ca_table(0)->binary_f32(&args);
            CHECK(out == want[op][swap]);
        }
    float out = 0;
    ufk_binary_args args = {
        .op = UFK_PRELU, .out = &out, .a = &negative, .b = &b, .rows = 1, .cols = 1};
    ca_table(0)->binary_f32(&args);
    CHECK(out == -10);
}

TEST(affine_is_within_its_bound)
{
    for (int round = 0; round < 300; round++) {
        size_t rows = ca_range(1, 9), cols = ca_range(1, 70), count = rows * cols;
        float *in = ca_random_floats(count), *want = ca_output_floats(count);
        float *scale = ca_random_floats(cols), *shift = ca_random_floats(cols);
        double *bound = ca_alloc(count * sizeof *bound, 8);
        for (size_t i = 0; i < count; i++) {
            double p = (double)in[i] * (double)scale[i % cols], s = (double)shift[i % cols];
            want[i] = (float)(p + s);
            bound[i] = 3 * U * (fabs(p) + fabs(s));
        }
        for (size_t t = 0; t < ca_table_count(); t++) {
            float *got = ca_output_floats(count);
            memcpy(got, in, count * sizeof *in);
            ca_table(t)->affine_f32(got, got, rows, cols, scale, shift);
            ca_check(ca_table(t)->elementwise_f32_name, got, want, bound, count);
        }
        ca_release();
    }
}

/* exp's error, that of x - max (|x - max| U, as the argument of exp), the sum of `cols` positive
 * terms and the quotient: (10 + cols + range) U of the result. */
TEST(softmax_is_within_its_bound)
{
    for (int round = 0; round < 300; round++) {
        size_t rows = ca_range(1, 5), cols = round % 50 ? ca_range(1, 70) : ca_range(2000, 10000);
        size_t count = rows * cols;
        float *in = ca_random_floats(count), *want = ca_output_floats(count);
        double *bound = ca_alloc(count * sizeof *bound, 8);
        float range = ca_range(0, 1) ? 1.0f : 60.0f;
        for (size_t r = 0; r < rows; r++) {
            double sum = 0, max = -INFINITY;
            for (size_t c = r * cols; c < (r + 1) * cols; c++) {
                in[c] *= range;
                max = fmax(max, (double)in[c]);
            }
            for (size_t c = r * cols; c < (r + 1) * cols; c++)
                sum += exp((double)in[c] - max);
            for (size_t c = r * cols; c < (r + 1) * cols; c++) {
                double v = exp((double)in[c] - max) / sum;
                want[c] = (float)v;
                bound[c] = ca_gamma(10 + (double)cols + 2 * (double)range) * v + TINY;
            }
        }
        for (size_t t = 0; t < ca_table_count(); t++) {
            float *got = ca_output_floats(count);
            memcpy(got, in, count * sizeof *in);
            ca_table(t)->softmax_f32(got, round % 2 ? got : in, rows, cols);
            ca_check(ca_table(t)->elementwise_f32_name, got, want, bound, count);
        }
        ca_release();
    }
}

BENCH(elementwise)
{
    static const char *names[] = {
        "relu", "clamp", "leaky", "elu", "sigmoid", "hard_sigmoid", "hard_swish", "silu",  "gelu",
        "tanh", "exp",   "sqrt",  "neg", "abs",     "scale_shift",  "erf",        "square"};
    const size_t count = 6400 * 16;
    for (size_t t = 0; t < ca_table_count(); t++) {
        const ufk_table *k = ca_table(t);
        float *in = ca_random_floats(count), *out = ca_output_floats(count);
        for (int op = UFK_ELU; op <= UFK_EXP; op++) {
            CA_TIME(seconds, k->unary_f32((ufk_unop)op, out, in, count, 0.2f, 0.5f));
            ca_report(k->elementwise_f32_name, names[op], seconds, (double)count, "Gelem/s");
        }
        ufk_binary_args a = {.op = UFK_ADD,
                             .out = out,
                             .a = in,
                             .b = in,
                             .rows = 6400,
                             .cols = 16,
                             .out_row_stride = 16,
                             .a_row_stride = 16,
                             .b_row_stride = 16,
                             .b_col_stride = 1};
        CA_TIME(add, k->binary_f32(&a));
        ca_report(k->elementwise_f32_name, "add 6400 x 16", add, (double)count, "Gelem/s");
        CA_TIME(two, k->softmax_f32(out, in, count / 2, 2));
        ca_report(k->elementwise_f32_name, "softmax of 2", two, (double)count, "Gelem/s");
        CA_TIME(many, k->softmax_f32(out, in, 10, 10000));
        ca_report(k->elementwise_f32_name, "softmax of 10000", many, 1e5, "Gelem/s");
        ca_release();
    }
}

CA_MAIN
