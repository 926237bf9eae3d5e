/*
 * Convolution with 16-bit operands: the reference against an independent sum in double, variants
 * against the reference. Operands are numbers of the format, so one term holds them exactly, and
 * their products are exact in FP32 (two mantissas of at most 11 bits): the bound is that of
 * conv_f32, gamma(K + 4) * (sum |a b| + |bias| + |residual|) for a sum of K terms in any order,
 * twice because both sides round, times the slope of the activation (at most 1.1), plus 2^-19 for
 * the exponential, below which subnormal numbers, which some variants take for zero, disappear too.
 * Pairs of BF16 sum three times as many products and leave one out that is below 2^-16 of the whole
 * (each half is at most 2^-8 of the number).
 *
 * In bf16x3 operands are any FP32 numbers. The reference splits them as the variants do, so these
 * are held to gamma(3 K + 4) of the sizes of three products, together at most 1.02 |a b|. What
 * splitting loses (2^-16 of each operand and the product left out, 2^-16) is allowed beside double.
 */
#include <float.h>

#include "checkasm.h"

#include "kernels/topics.h"
#include "tensor/tensor.h"

/* One of the formats; bf16x3 takes FP32 and has no numbers of its own. */
typedef struct format {
    const ufk_hconv *(*of)(const ufk_table *t);
    float (*widen)(uint16_t h);
    uint16_t (*narrow)(float f);
} format;

static const ufk_hconv *bf16_of(const ufk_table *t)
{
    return &t->bf16;
}

static const ufk_hconv *f16_of(const ufk_table *t)
{
    return &t->f16;
}

static const ufk_hconv *bf16x3_of(const ufk_table *t)
{
    return &t->bf16x3;
}

static const format formats[] = {{bf16_of, ufi_bf16_to_f32, ufi_f32_to_bf16},
                                 {f16_of, ufi_f16_to_f32, ufi_f32_to_f16},
                                 {bf16x3_of, NULL, NULL}};
enum { FORMATS = sizeof formats / sizeof formats[0] };

typedef struct hconv_case {
    const format *f;
    ufk_hconv_args args;
    const float *a; /* [pixels][channels] */
    float *b;       /* [K][n] */
    size_t in_count, runs, depth, out_count;
} hconv_case;

/* Numbers of the format as FP32. */
static float *random_wide(const format *f, size_t count)
{
    float *p = ca_random_floats(count);
    for (size_t i = 0; f->narrow && i < count; i++)
        p[i] = f->widen(f->narrow(p[i]));
    return p;
}

/* Padded rows one below the other, as the convolutions of a plan have them. */
static hconv_case random_case(const format *f, size_t m, size_t n, size_t channels, size_t kernel,
                              bool joined)
{
    hconv_case k = {.f = f};
    const size_t stride = ca_range(1, 2), width = (m - 1) * stride + kernel;
    const size_t lines = ca_range(0, 2) ? 1 : ca_range(2, 5), rows = (lines - 1) * stride + kernel;
    ufk_hconv_args *a = &k.args;
    *a = (ufk_hconv_args){.a_stride = stride * channels, .lines = lines, .m = m, .n = n};
    a->a_line_stride = stride * width * channels;
    k.in_count = width * rows * channels;
    k.a = random_wide(f, k.in_count);
    a->runs_y = kernel;
    a->run_stride_y = width * channels;
    a->runs_x = joined ? 1 : kernel;
    a->run_stride_x = channels;
    a->run_length = joined ? kernel * channels : channels;
    a->c_stride = n + ca_range(0, 3);
    k.runs = a->runs_y * a->runs_x;
    k.depth = kernel * kernel * channels;
    k.b = random_wide(f, k.depth * n);
    k.out_count = (lines * m - 1) * a->c_stride + n;
    a->epilogue.act = (ufk_act)ca_range(UFK_ACT_NONE, UFK_ACT_SIGMOID);
    a->epilogue.lo = -0.25f;
    a->epilogue.hi = ca_range(0, 1) ? INFINITY : 0.5f;
    a->epilogue.bias = ca_range(0, 1) ? ca_random_floats(n) : NULL;
    a->epilogue.slope = ca_random_floats(n);
    a->epilogue.residual_stride = n + ca_range(0, 3);
    if (ca_range(0, 1))
        a->epilogue.residual = ca_random_floats((lines * m - 1) * a->epilogue.residual_stride + n);
    return k;
}

static void run_case(const ufk_hconv *h, const hconv_case *k, float *out)
{
    ufk_hconv_args a = k->args;
    const size_t halves = ufk_hconv_packed_halves(h, k->runs, a.run_length, a.n);
    uint16_t *packed = ca_alloc(halves * sizeof *packed, 2);
    uint16_t *in = ca_alloc((h->pairs ? 2 : 1) * k->in_count * sizeof *in, 2);
    ufk_hconv_pack(h, packed, k->b, k->runs, a.run_length, a.n);
    h->narrow(in, in + k->in_count, k->a, k->in_count);
    a.a = in;
    a.b = packed;
    a.c = out;
    if (h->pairs) {
        a.a_low = k->in_count;
        a.b_low = ufk_hconv_plane_halves(h, k->runs, a.run_length, a.n);
    }
    h->conv(&a);
}

/* The sum in double, and what the bound grows with. */
static void exact(const hconv_case *k, size_t i, size_t j, double *sum, double *size)
{
    const ufk_hconv_args *a = &k->args;
    const float *pixel = k->a + i / a->m * a->a_line_stride + i % a->m * a->a_stride;
    size_t row = 0;
    *sum = *size = 0;
    for (size_t y = 0; y < a->runs_y; y++)
        for (size_t x = 0; x < a->runs_x; x++)
            for (size_t c = 0; c < a->run_length; c++, row++) {
                const float v = pixel[y * a->run_stride_y + x * a->run_stride_x + c];
                const double p = (double)v * (double)k->b[row * a->n + j];
                *sum += p;
                *size += fabs(p);
            }
    const double bias = a->epilogue.bias ? (double)a->epilogue.bias[j] : 0;
    double residual = 0;
    if (a->epilogue.residual)
        residual = (double)a->epilogue.residual[i * a->epilogue.residual_stride + j];
    *sum += bias + residual;
    *size += fabs(bias) + fabs(residual);
}

/* How far a variant may be from the reference, and that from double, for a sum of this size. */
static void allow(const hconv_case *k, double sum, double size, double *variant, double *reference)
{
    const double tiny = 0x1p-19 * (1 + fabs(sum)), depth = (double)k->depth;
    *reference = *variant = 2.2 * ca_gamma(depth + 4) * size + tiny;
    if (k->f->of(ca_table(0))->pairs) {
        *variant = 2.2 * 1.02 * ca_gamma(3 * depth + 4) * size + tiny;
        *reference = *variant + 1.01 * 3 * 0x1p-16 * size;
    }
}

static void check_case(const hconv_case *k)
{
    const ufk_hconv *c = k->f->of(ca_table(0));
    float *want = ca_output_floats(k->out_count);
    double *bound = ca_alloc(k->out_count * sizeof *bound, 8);
    double *wider = ca_alloc(k->out_count * sizeof *wider, 8);
    run_case(c, k, want);
    for (size_t i = 0; i < k->args.lines * k->args.m; i++)
        for (size_t j = 0; j < k->args.n; j++) {
            const size_t at = i * k->args.c_stride + j;
            double sum, size, reference;
            exact(k, i, j, &sum, &size);
            allow(k, sum, size, &bound[at], &reference);
            wider[at] = bound[at] + (1.1 * 0x1p-16 + 4.4 * ca_gamma((double)k->depth)) * size;
            if (k->args.epilogue.act == UFK_ACT_NONE)
                CHECK(fabs((double)want[at] - sum) <= reference);
        }
    for (size_t t = 1; t < ca_table_count(); t++) {
        const ufk_hconv *h = k->f->of(ca_table(t));
        if (h->conv == c->conv)
            continue;
        float *got = ca_output_floats(k->out_count);
        run_case(h, k, got);
        ca_check(h->name, got, want, h->pairs && !c->pairs ? wider : bound, k->out_count);
    }
    ca_release();
}

TEST(hconv_matches_reference_over_tails)
{
    for (size_t f = 0; f < FORMATS; f++)
        for (size_t m = 1; m <= 34; m++)
            for (size_t n = 1; n <= 67; n += ca_range(1, 3)) {
                hconv_case k = random_case(&formats[f], m, n, ca_range(1, 40), 1, true);
                check_case(&k);
            }
}

/* Every depth of the last step of k, joined runs, lines that are walked as one and that are not. */
TEST(hconv_matches_reference_over_kernels)
{
    for (int i = 0; i < 300; i++) {
        const format *f = &formats[(size_t)i % FORMATS];
        hconv_case k = random_case(f, ca_range(1, 80), ca_range(1, 70), ca_range(1, 70),
                                   ca_range(1, 3), ca_range(0, 1) == 1);
        check_case(&k);
    }
}

TEST(hconv_matches_reference_for_deep_sums)
{
    static const size_t depths[] = {2048, 4097, 25088};
    for (size_t i = 0; i < FORMATS * sizeof depths / sizeof depths[0]; i++) {
        hconv_case k = random_case(&formats[i % FORMATS], ca_range(1, 3), ca_range(1, 40),
                                   depths[i / FORMATS], 1, true);
        check_case(&k);
    }
}

/* Bit for bit, special numbers included; subnormal ones may be zero of the same sign. */
static void check_narrow(const format *f, const ufk_hconv *h, const float *in, size_t count)
{
    uint16_t *out = ca_alloc(count * sizeof *out, sizeof *out);
    h->narrow(out, NULL, in, count);
    for (size_t v = 0; v < count; v++) {
        const uint16_t want = f->narrow(in[v]);
        const bool zero = !isnormal(in[v]) && !isnan(in[v]) && out[v] == (want & 0x8000);
        const bool nan = isnan(in[v]) && isnan(f->widen(out[v]));
        CHECK_MSG(out[v] == want || zero || nan, "%s: %g becomes %04x, not %04x", h->name,
                  (double)in[v], out[v], want);
    }
}

TEST(narrow_rounds_as_the_reference)
{
    for (size_t i = 0; i < FORMATS * 200; i++) {
        const format *f = &formats[i % FORMATS];
        const size_t count = ca_range(1, 100);
        float *in = ca_random_floats(count);
        for (size_t v = 0; v < count; v += 3) {
            const uint32_t bits = (uint32_t)test_random(&ca_seed);
            memcpy(&in[v], &bits, sizeof bits);
        }
        in[0] = (float[]){INFINITY, -INFINITY, NAN, -0.0f, 65519.0f, 65520.0f}[i / FORMATS % 6];
        for (size_t t = 0; t < ca_table_count(); t++)
            if (!f->of(ca_table(t))->pairs)
                check_narrow(f, f->of(ca_table(t)), in, count);
        ca_release();
    }
}

/* The nearest finite number and the nearest to the rest, so that no finite number becomes NaN. */
TEST(narrow_splits_into_pairs)
{
    for (size_t i = 0; i < 100; i++) {
        const size_t count = ca_range(1, 100);
        float *in = ca_random_floats(count);
        in[0] = (float[]){INFINITY, -INFINITY, 65519.0f, 1e30f, FLT_MAX, -3.395e38f}[i % 6];
        for (size_t t = 0; t < FORMATS * ca_table_count(); t++) {
            const ufk_hconv *h = formats[t % FORMATS].of(ca_table(t / FORMATS));
            if (!h->pairs)
                continue;
            uint16_t *out = ca_alloc(count * sizeof *out, sizeof *out);
            uint16_t *low = ca_alloc(count * sizeof *low, sizeof *low);
            h->narrow(out, low, in, count);
            for (size_t v = 0; v < count; v++) {
                const float bounded = fminf(fmaxf(in[v], -UFK_BF16_MOST), UFK_BF16_MOST);
                const float high = ufi_bf16_to_f32(ufi_f32_to_bf16(bounded)), rest = in[v] - high;
                CHECK(out[v] == ufi_f32_to_bf16(bounded) && isfinite(high));
                CHECK(ufi_bf16_to_f32(low[v]) == ufi_bf16_to_f32(ufi_f32_to_bf16(rest)));
            }
        }
        ca_release();
    }
}

TEST(dispatch_takes_the_best_generation)
{
    for (size_t t = 0; t < ca_table_count(); t++) {
        const uint32_t flags = ca_table(t)->flags, amx = UFI_CPU_AMX | UFI_CPU_AVX512BF16;
        const bool has = (flags & amx) == amx;
        CHECK(strcmp(ca_table(t)->bf16.name, has ? "conv_bf16_amx" : "conv_bf16_c") == 0);
        CHECK(strcmp(ca_table(t)->f16.name, has ? "conv_f16_amx" : "conv_f16_c") == 0);
        CHECK(strcmp(ca_table(t)->bf16x3.name, has ? "conv_bf16x3_amx" : "conv_bf16x3_c") == 0);
        CHECK(ca_table(t)->bf16.pays == has && ca_table(t)->f16.pays == has);
    }
}

/* FP32 is computed so only where the flags say that it may be. */
TEST(bf16x3_is_a_choice)
{
    const uint32_t amx = UFI_CPU_AMX | UFI_CPU_AVX512BF16;
    ufk_table t;
    ufk_table_init(&t, ufi_cpu_flags() & ~(uint32_t)UFI_CPU_BF16X3);
    CHECK(!t.bf16x3.pays);
    if ((ufi_cpu_flags() & amx) == amx) {
        ufk_table_init(&t, ufi_cpu_flags() | UFI_CPU_BF16X3);
        CHECK(t.bf16x3.pays);
    }
}

BENCH(hconv)
{
    static const size_t shapes[][3] = {{3136, 64, 128}, {784, 64, 128},  {784, 128, 64},
                                       {196, 128, 256}, {196, 256, 128}, {49, 256, 512},
                                       {49, 128, 256},  {6400, 16, 64},  {25600, 16, 16}};
    for (size_t t = 1; t < FORMATS * ca_table_count(); t++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            const format *f = &formats[t % FORMATS];
            const ufk_hconv *h = f->of(ca_table(t / FORMATS));
            if (!h->pays)
                break;
            const size_t m = shapes[s][0], k = shapes[s][1], n = shapes[s][2];
            char text[64];
            uint16_t *narrow = ca_alloc(2 * m * k * sizeof *narrow, 64);
            const float *wide = ca_random_floats(m * k);
            ufk_hconv_args a = {.lines = 1,
                                .a = narrow,
                                .a_stride = k,
                                .runs_y = 1,
                                .runs_x = 1,
                                .run_length = k,
                                .m = m,
                                .n = n,
                                .c_stride = n};
            uint16_t *packed = ca_alloc(ufk_hconv_packed_halves(h, 1, k, n) * sizeof *packed, 64);
            ufk_hconv_pack(h, packed, random_wide(f, k * n), 1, k, n);
            a.a_low = h->pairs ? m * k : 0;
            a.b_low = h->pairs ? ufk_hconv_plane_halves(h, 1, k, n) : 0;
            a.b = packed;
            a.c = ca_output_floats(m * n);
            CA_TIME(seconds, h->conv(&a));
            CA_TIME(narrow_seconds, h->narrow(narrow, narrow + m * k, wide, m * k));
            snprintf(text, sizeof text, "m %zu k %zu n %zu", m, k, n);
            ca_report(h->name, text, seconds, (double)(m * k * n), "GMAC/s");
            ca_report("  narrow", text, narrow_seconds, (double)(m * k * 4), "GB/s");
            ca_release();
        }
}

CA_MAIN
