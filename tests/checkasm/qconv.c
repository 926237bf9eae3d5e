/* conv_u8: the reference against a plain triple loop on integers, variants against the reference,
 * bit for bit, bytes and floats out. */
#include "checkasm.h"

#include "kernels/c/qepilogue.h"

typedef struct qconv_case {
    ufk_qconv_args args;
    int8_t *b; /* [K][n] */
    size_t runs, depth, out_count;
    bool floats;
} qconv_case;

/* Scales such that most outputs fall into 0..255 and some saturate. */
static ufk_qepilogue random_epilogue(size_t n, size_t depth, bool floats)
{
    ufk_qepilogue e = {.act = (ufk_act[]){UFK_ACT_NONE, UFK_ACT_CLAMP, UFK_ACT_PRELU,
                                          UFK_ACT_HARD_SWISH}[ca_range(0, 3)]};
    float *scale = ca_random_floats(n), *bias = ca_random_floats(n);
    const float size = e.act == UFK_ACT_HARD_SWISH ? 4 : 128;
    for (size_t i = 0; i < n; i++) {
        scale[i] = size * (scale[i] + 1.5f) / (10000.0f * sqrtf((float)depth));
        bias[i] = size * (bias[i] + 0.5f);
    }
    e.scale = scale;
    e.bias = bias;
    e.slope = ca_random_floats(n);
    e.residual_scale = ca_float();
    e.out_scale = e.act == UFK_ACT_HARD_SWISH ? 30.0f : 1.0f;
    e.zero = (float)ca_range(0, 100);
    e.lo = e.act == UFK_ACT_CLAMP ? (float)ca_range(0, 90) : 0;
    e.hi = e.act == UFK_ACT_CLAMP ? (float)ca_range(90, 255) : 255;
    if (floats) {
        e.lo = -INFINITY;
        e.hi = ca_range(0, 1) ? INFINITY : 50;
    }
    return e;
}

/* With several lines: padded rows one below the other, as the convolutions of a plan have them. */
static qconv_case random_case(size_t m, size_t n, size_t channels, size_t kernel, bool joined)
{
    qconv_case k = {.floats = ca_range(0, 3) == 0};
    size_t stride = ca_range(1, 2), width = (m - 1) * stride + kernel;
    size_t lines = ca_range(0, 2) ? 1 : ca_range(2, 5), rows = (lines - 1) * stride + kernel;
    ufk_qconv_args *a = &k.args;
    *a = (ufk_qconv_args){.a_stride = stride * channels, .lines = lines, .m = m, .n = n};
    a->a_line_stride = stride * width * channels;
    a->a = ca_random_bytes(width * rows * channels);
    a->runs_y = kernel;
    a->run_stride_y = width * channels;
    a->runs_x = joined ? 1 : kernel;
    a->run_stride_x = channels;
    a->run_length = joined ? kernel * channels : channels;
    a->c_stride = n + ca_range(0, 3);
    k.runs = a->runs_y * a->runs_x;
    k.depth = kernel * kernel * channels;
    k.b = (int8_t *)ca_random_bytes(k.depth * n);
    k.out_count = (lines * m - 1) * a->c_stride + n;
    a->epilogue = random_epilogue(n, k.depth, k.floats);
    a->epilogue.residual_stride = n + ca_range(0, 3);
    if (ca_range(0, 1))
        a->epilogue.residual = ca_random_bytes((lines * m - 1) * a->epilogue.residual_stride + n);
    return k;
}

/* Runs variant `t` into a fresh buffer, which is returned. */
static void *run_case(const ufk_table *t, const qconv_case *k)
{
    ufk_qconv_args a = k->args;
    int8_t *packed = ca_alloc(ufk_qconv_packed_bytes(t, k->runs, a.run_length, a.n), 4);
    ufk_qconv_pack(t, packed, k->b, k->runs, a.run_length, a.n);
    a.b = packed;
    if (k->floats)
        a.c_f32 = ca_output_floats(k->out_count);
    else
        a.c = ca_alloc(k->out_count, 1);
    for (size_t l = 0; l < (t->qconv_lines ? 1 : a.lines); l++) {
        const ufk_qconv_args line = ufk_qconv_line(&a, l);
        t->conv_u8(t->qconv_lines ? &a : &line);
    }
    return k->floats ? (void *)a.c_f32 : (void *)a.c;
}

static void check_reference(const qconv_case *k, const void *out)
{
    const ufk_qconv_args *a = &k->args;
    for (size_t i = 0; i < a->lines * a->m; i++)
        for (size_t j = 0; j < a->n; j++) {
            int32_t sum = 0;
            size_t row = 0;
            for (size_t y = 0; y < a->runs_y; y++)
                for (size_t x = 0; x < a->runs_x; x++)
                    for (size_t c = 0; c < a->run_length; c++, row++)
                        sum += a->a[i / a->m * a->a_line_stride + i % a->m * a->a_stride +
                                    y * a->run_stride_y + x * a->run_stride_x + c] *
                               k->b[row * a->n + j];
            const ufk_qepilogue *e = &a->epilogue;
            const uint8_t *residual = e->residual ? e->residual + i * e->residual_stride : NULL;
            float v = ufk_qfinish(e, sum, residual, j);
            size_t at = i * a->c_stride + j;
            CHECK(k->floats ? ((const float *)out)[at] == v
                            : ((const uint8_t *)out)[at] == (uint8_t)nearbyintf(v));
        }
}

static void check_case(const qconv_case *k)
{
    const ufk_table *c = ca_table(0);
    void *want = run_case(c, k);
    check_reference(k, want);
    for (size_t t = 1; t < ca_table_count(); t++) {
        if (ca_table(t)->conv_u8 == c->conv_u8)
            continue;
        void *got = run_case(ca_table(t), k);
        if (k->floats)
            ca_check(ca_table(t)->conv_u8_name, got, want, NULL, k->out_count);
        else
            ca_check_bytes(ca_table(t)->conv_u8_name, got, want, k->out_count);
    }
    ca_release();
}

TEST(qconv_matches_reference_over_tails)
{
    for (size_t m = 1; m <= 30; m++)
        for (size_t n = 1; n <= 67; n += ca_range(1, 3)) {
            qconv_case k = random_case(m, n, ca_range(1, 20), 1, true);
            check_case(&k);
        }
}

TEST(qconv_matches_reference_over_kernels)
{
    for (int i = 0; i < 150; i++) {
        qconv_case k = random_case(ca_range(1, 40), ca_range(1, 70), ca_range(1, 24),
                                   ca_range(1, 3), ca_range(0, 1) == 1);
        check_case(&k);
    }
}

/* Fully connected layers of large maps: more k than a tile of several pixels may hold. */
TEST(qconv_matches_reference_for_deep_sums)
{
    static const size_t depths[] = {8192, 8193, 25088, 49000};
    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        qconv_case k = random_case(ca_range(1, 3), ca_range(1, 20), depths[i], 1, true);
        check_case(&k);
    }
}

/* Large enough for kernels that leave small cases to others: every depth of the last step of k,
 * every number of pixels and of columns left over. */
TEST(qconv_matches_reference_when_large)
{
    for (int i = 0; i < 120; i++) {
        const size_t kernel = ca_range(1, 3), m = ca_range(2, 80), n = ca_range(1, 70);
        const size_t least = (1 << 18) / (m * n * kernel * kernel) + 1,
                     more = ca_range(0, 1) ? 3 : 70;
        qconv_case k = random_case(m, n, least + ca_range(0, more), kernel, ca_range(0, 1) == 1);
        check_case(&k);
    }
}

/* The largest sums there can be: nothing saturates on the way. */
TEST(qconv_extremes)
{
    static const size_t depths[] = {64, 400};
    for (int i = 0; i < 4; i++) {
        const size_t depth = depths[i / 2];
        qconv_case k = random_case(5, 33, depth, 1, true);
        memset((void *)(uintptr_t)k.args.a, 255, 5 * depth);
        memset(k.b, i % 2 ? 127 : -128, depth * 33);
        check_case(&k);
    }
}

/* Kernels that add products in 16 bits look at how large the weights are. With the largest inputs
 * this has all that just fits and all that just does not, of either sign and mixed. */
TEST(qconv_weights_of_every_size)
{
    for (int size = 1; size <= 128; size++)
        for (int kind = 0; kind < 3; kind++) {
            qconv_case k = random_case(ca_range(1, 20), ca_range(1, 20), ca_range(1, 90), 1, true);
            const ufk_qconv_args *a = &k.args;
            const size_t bytes =
                (a->lines - 1) * a->a_line_stride + (a->m - 1) * a->a_stride + a->run_length;
            if (ca_range(0, 1))
                memset((void *)(uintptr_t)a->a, 255, bytes);
            for (size_t i = 0; i < k.depth * a->n; i++) {
                const int w = size - (int)ca_range(0, 1); /* sums of 128 and of 129 */
                const int mixed = (int)ca_range(0, 2 * (size_t)size) - size;
                const int chosen = kind == 0 ? w : kind == 1 ? -w : mixed;
                k.b[i] = (int8_t)(chosen < 127 ? chosen : 127);
            }
            check_case(&k);
        }
}

/* One weight of `k` in a column, such that those that AVX2 adds in 16 bits (k 0, 1, 4 and 5 of 8,
 * and 2, 3, 6 and 7) sum to at most 128 of either sign, often to just that. */
static void fill_column(int8_t *b, size_t n, size_t depth)
{
    for (size_t first = 0; first < depth; first += 8) {
        int left[2][2] = {{128, 128}, {128, 128}}; /* of each sum and sign */
        for (size_t k = first; k < first + 8 && k < depth; k++) {
            int *room = &left[k / 2 % 2][ca_range(0, 1)];
            const int most = *room < 127 ? *room : 127;
            const int w = ca_range(0, 2) ? (int)ca_range(0, (size_t)most) : most;
            b[k * n] = (int8_t)(room == &left[k / 2 % 2][0] ? w : -w);
            *room -= w;
        }
    }
}

/* What our quantiser writes: all sums fit as weights come; with one that does not, in a third of
 * the cases. Largest inputs in half of them. */
TEST(qconv_weights_that_fit_as_they_come)
{
    for (int i = 0; i < 300; i++) {
        qconv_case k = random_case(ca_range(1, 40), ca_range(1, 70), ca_range(1, 40),
                                   ca_range(0, 2) ? 1 : ca_range(1, 3), ca_range(0, 1) == 1);
        const ufk_qconv_args *a = &k.args;
        const size_t rows = (a->lines - 1) * a->a_line_stride / a->run_stride_y + a->runs_y;
        if (ca_range(0, 1))
            memset((void *)(uintptr_t)a->a, 255, rows * a->run_stride_y);
        for (size_t j = 0; j < a->n; j++)
            fill_column(k.b + j, a->n, k.depth);
        if (ca_range(0, 2) == 0) {
            const size_t first = ca_range(0, k.depth - 1), j = ca_range(0, a->n - 1);
            for (size_t w = first; w < first + 4 && w < k.depth; w++)
                k.b[w * a->n + j] = ca_range(0, 1) ? 127 : 65;
        }
        check_case(&k);
    }
}

/* Weights like those of trained networks, more of them than are looked at together. */
TEST(qconv_long_sums_of_small_weights)
{
    static const size_t depths[] = {2047, 2048, 2049, 2064, 5000};
    for (size_t d = 0; d < sizeof depths / sizeof depths[0]; d++) {
        qconv_case k = random_case(ca_range(1, 20), ca_range(1, 20), depths[d], 1, true);
        for (size_t i = 0; i < k.depth * k.args.n; i++)
            k.b[i] = (int8_t)((int)ca_range(0, 120) - 60 + (ca_range(0, 20) ? 0 : 60));
        check_case(&k);
    }
}

BENCH(qconv)
{
    static const size_t shapes[][3] = {{3136, 64, 128}, {784, 64, 128},  {784, 128, 64},
                                       {196, 128, 256}, {196, 256, 128}, {49, 256, 512},
                                       {49, 128, 256},  {6400, 16, 64},  {25600, 16, 16}};
    for (size_t t = 1; t < ca_table_count(); t++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            size_t m = shapes[s][0], k = shapes[s][1], n = shapes[s][2];
            char text[64];
            ufk_qconv_args a = {.lines = 1,
                                .a = ca_random_bytes(m * k),
                                .a_stride = k,
                                .runs_y = 1,
                                .runs_x = 1,
                                .run_length = k,
                                .m = m,
                                .n = n,
                                .c_stride = n,
                                .epilogue = random_epilogue(n, k, false)};
            a.epilogue.act = UFK_ACT_NONE;
            int8_t *packed = ca_alloc(ufk_qconv_packed_bytes(ca_table(t), 1, k, n), 64);
            ufk_qconv_pack(ca_table(t), packed, (int8_t *)ca_random_bytes(k * n), 1, k, n);
            a.b = packed;
            a.c = ca_alloc(m * n, 64);
            CA_TIME(seconds, ca_table(t)->conv_u8(&a));
            snprintf(text, sizeof text, "m %zu k %zu n %zu", m, k, n);
            ca_report(ca_table(t)->conv_u8_name, text, seconds, (double)(m * k * n), "GMAC/s");
            ca_release();
        }
}

CA_MAIN
