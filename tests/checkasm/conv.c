/*
 * conv_f32: the reference against an independent sum in double, variants against the reference. The
 * bound is that of a sum of K products and the epilogue: gamma(K + 4) * (sum |a b| + |bias| +
 * |residual|), twice because both sides round, times the slope of the activation (at most 1.1 for
 * those used here), plus 2^-19 for the exponential.
 */
#include "checkasm.h"

typedef struct conv_case {
    ufk_conv_args args;
    float *b; /* [K][n] */
    size_t depth, out_count;
} conv_case;

/* Padded input, so that runs with strides are exercised: kernel 1..3 over rows of `width` pixels.
 */
static conv_case random_case(size_t m, size_t n, size_t channels, size_t kernel, bool joined)
{
    conv_case k = {0};
    size_t stride = ca_range(1, 2), width = (m - 1) * stride + kernel;
    ufk_conv_args *a = &k.args;
    float *in = ca_random_floats(width * kernel * channels);
    *a = (ufk_conv_args){.a = in, .a_stride = stride * channels, .m = m, .n = n};
    a->runs_y = kernel;
    a->run_stride_y = width * channels;
    a->runs_x = joined ? 1 : kernel;
    a->run_stride_x = channels;
    a->run_length = joined ? kernel * channels : channels;
    a->c_stride = n + ca_range(0, 3);
    k.depth = kernel * kernel * channels;
    k.b = ca_random_floats(k.depth * n);
    k.out_count = (m - 1) * a->c_stride + n;
    a->epilogue.act = (ufk_act)ca_range(UFK_ACT_NONE, UFK_ACT_SIGMOID);
    a->epilogue.lo = -0.25f;
    a->epilogue.hi = ca_range(0, 1) ? INFINITY : 0.5f;
    a->epilogue.bias = ca_range(0, 1) ? ca_random_floats(n) : NULL;
    a->epilogue.slope = ca_random_floats(n);
    a->epilogue.residual_stride = n + ca_range(0, 3);
    if (ca_range(0, 1))
        a->epilogue.residual = ca_random_floats((m - 1) * a->epilogue.residual_stride + n);
    return k;
}

static void run_case(const ufk_table *t, const conv_case *k, float *out)
{
    ufk_conv_args a = k->args;
    float *packed = ca_alloc(ufk_conv_packed_floats(t, k->depth, a.n) * sizeof(float), 4);
    ufk_conv_pack(t, packed, k->b, a.n, k->depth, a.n);
    a.b = packed;
    a.c = out;
    t->conv_f32(&a);
}

/* The sum in double, and what the bound grows with. */
static void exact(const conv_case *k, size_t i, size_t j, double *sum, double *size)
{
    const ufk_conv_args *a = &k->args;
    size_t row = 0;
    *sum = *size = 0;
    for (size_t y = 0; y < a->runs_y; y++)
        for (size_t x = 0; x < a->runs_x; x++)
            for (size_t c = 0; c < a->run_length; c++, row++) {
                double p =
                    (double)a->a[i * a->a_stride + y * a->run_stride_y + x * a->run_stride_x + c] *
                    (double)k->b[row * a->n + j];
                *sum += p;
                *size += fabs(p);
            }
    double bias = a->epilogue.bias ? (double)a->epilogue.bias[j] : 0;
    double residual = 0;
    if (a->epilogue.residual)
        residual = (double)a->epilogue.residual[i * a->epilogue.residual_stride + j];
    *sum += bias + residual;
    *size += fabs(bias) + fabs(residual);
}

static void check_case(const conv_case *k)
{
    const ufk_table *c = ca_table(0);
    float *want = ca_output_floats(k->out_count);
    double *bound = ca_alloc(k->out_count * sizeof *bound, 8);
    run_case(c, k, want);
    for (size_t i = 0; i < k->args.m; i++)
        for (size_t j = 0; j < k->args.n; j++) {
            double sum, size, *b = &bound[i * k->args.c_stride + j];
            exact(k, i, j, &sum, &size);
            *b = 2.2 * ca_gamma((double)k->depth + 4) * size + 0x1p-19 * (1 + fabs(sum));
            if (k->args.epilogue.act == UFK_ACT_NONE)
                CHECK(fabs((double)want[i * k->args.c_stride + j] - sum) <= *b);
        }
    for (size_t t = 1; t < ca_table_count(); t++) {
        if (ca_table(t)->conv_f32 == c->conv_f32)
            continue;
        float *got = ca_output_floats(k->out_count);
        run_case(ca_table(t), k, got);
        ca_check(ca_table(t)->conv_f32_name, got, want, bound, k->out_count);
    }
    ca_release();
}

TEST(conv_matches_reference_over_tails)
{
    for (size_t m = 1; m <= 30; m++)
        for (size_t n = 1; n <= 67; n += ca_range(1, 3)) {
            conv_case k = random_case(m, n, ca_range(1, 20), 1, true);
            check_case(&k);
        }
}

TEST(conv_matches_reference_over_kernels)
{
    for (int i = 0; i < 150; i++) {
        conv_case k = random_case(ca_range(1, 40), ca_range(1, 70), ca_range(1, 24), ca_range(1, 3),
                                  ca_range(0, 1) == 1);
        check_case(&k);
    }
}

/* The AVX2 variant takes long sums in parts. */
TEST(conv_matches_reference_over_long_sums)
{
    for (int i = 0; i < 40; i++) {
        conv_case k = random_case(ca_range(1, 20), ca_range(1, 40), ca_range(40, 600),
                                  ca_range(1, 2), ca_range(0, 1) == 1);
        check_case(&k);
    }
}

/* Rows of a 3x3 filter over single planes: stride 2 has a way of its own in the variants for x86.
 */
TEST(conv_matches_reference_over_planes)
{
    for (size_t m = 1; m <= 45; m++)
        for (size_t n = 1; n <= 67; n += ca_range(1, 9)) {
            conv_case k = random_case(m, n, 1, 3, true);
            check_case(&k);
        }
}

TEST(dispatch_takes_the_best_generation)
{
    for (size_t t = 0; t < ca_table_count(); t++) {
        uint32_t flags = ca_table(t)->flags;
        const char *best = flags & UFI_CPU_AVX512 ? "conv_f32_avx512"
                           : flags & UFI_CPU_AVX2 ? "conv_f32_avx2"
                           : flags & UFI_CPU_NEON ? "conv_f32_neon"
                                                  : "conv_f32_c";
        CHECK(strcmp(ca_table(t)->conv_f32_name, best) == 0);
    }
}

BENCH(conv)
{
    static const size_t shapes[][3] = {{3136, 64, 128}, {784, 64, 128},  {784, 128, 64},
                                       {196, 128, 256}, {196, 256, 128}, {49, 256, 512},
                                       {49, 128, 256},  {6400, 16, 64},  {25600, 16, 16}};
    for (size_t t = 1; t < ca_table_count(); t++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            size_t m = shapes[s][0], k = shapes[s][1], n = shapes[s][2];
            char text[64];
            ufk_conv_args a = {.a = ca_random_floats(m * k),
                               .a_stride = k,
                               .runs_y = 1,
                               .runs_x = 1,
                               .run_length = k,
                               .m = m,
                               .n = n,
                               .c_stride = n};
            float *packed = ca_alloc(ufk_conv_packed_floats(ca_table(t), k, n) * 4, 64);
            ufk_conv_pack(ca_table(t), packed, ca_random_floats(k * n), n, k, n);
            a.b = packed;
            a.c = ca_output_floats(m * n);
            CA_TIME(seconds, ca_table(t)->conv_f32(&a));
            snprintf(text, sizeof text, "m %zu k %zu n %zu", m, k, n);
            ca_report(ca_table(t)->conv_f32_name, text, seconds, (double)(m * k * n), "GMAC/s");
            ca_release();
        }
}

/* The first layer of a network: planes of a picture, halved. */
BENCH(conv_planes)
{
    static const size_t widths[] = {16, 64};
    for (size_t t = 1; t < ca_table_count(); t++)
        for (size_t w = 0; w < 2; w++) {
            const size_t m = 160, n = widths[w], row = 2 * m + 2;
            char text[64];
            ufk_conv_args a = {.a = ca_random_floats(9 * row),
                               .a_stride = 2,
                               .runs_y = 3,
                               .run_stride_y = 3 * row,
                               .runs_x = 3,
                               .run_stride_x = row,
                               .run_length = 3,
                               .m = m,
                               .n = n,
                               .c_stride = n};
            float *packed = ca_alloc(ufk_conv_packed_floats(ca_table(t), 27, n) * 4, 64);
            ufk_conv_pack(ca_table(t), packed, ca_random_floats(27 * n), n, 27, n);
            a.b = packed;
            a.c = ca_output_floats(m * n);
            CA_TIME(seconds, ca_table(t)->conv_f32(&a));
            snprintf(text, sizeof text, "3 planes, stride 2, m %zu n %zu", m, n);
            ca_report(ca_table(t)->conv_f32_name, text, seconds, (double)(m * 27 * n), "GMAC/s");
            ca_release();
        }
}

CA_MAIN
