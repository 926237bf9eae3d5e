/* INT16: the references against plain loops in 64 bits, variants against the references, bit for
 * bit, words and floats out. */
#include "checkasm.h"

static int16_t *random_words(size_t count)
{
    int16_t *p = ca_alloc(count * sizeof *p, 2);
    for (size_t i = 0; i < count; i++)
        p[i] = ca_range(0, 20)  ? (int16_t)ca_range(0, 65535)
               : ca_range(0, 1) ? INT16_MIN
                                : INT16_MAX;
    return p;
}

/* Weights [depth][n] of which each column uses up what the sums have room for. */
static int16_t *random_weights(size_t depth, size_t n)
{
    int16_t *w = ca_alloc(depth * n * sizeof *w, 2);
    for (size_t j = 0; j < n; j++) {
        const bool one_sign = ca_range(0, 3) == 0;
        long left = 65535;
        for (size_t k = 0; k < depth; k++) {
            const long share = k + 1 == depth ? left : (long)ca_range(0, 2 * 65535 / depth);
            const long most = share < left ? share : left;
            const long size = most < 32767 ? most : 32767;
            w[k * n + j] = (int16_t)(one_sign || ca_range(0, 1) ? -size : size);
            left -= size;
        }
    }
    return w;
}

static ufk_word_epilogue random_epilogue(size_t channels, size_t pixels, bool words)
{
    const size_t padded = (channels + 63) / 64 * 64; /* of any panel width */
    ufk_word_epilogue e = {.lo = -32768, .hi = 32767};
    float *scale = ca_random_floats(padded), *bias = ca_random_floats(padded);
    for (size_t i = 0; i < padded; i++) {
        scale[i] = (scale[i] + 1.5f) / 40000;
        bias[i] *= 3000;
    }
    e.scale = scale;
    e.bias = bias;
    float *slope = ca_random_floats(padded);
    for (size_t i = 0; i < padded; i += 5)
        slope[i] = 0; /* makes zeros below zero */
    e.slope = ca_range(0, 2) ? NULL : slope;
    e.residual_scale = ca_float();
    e.residual_stride = channels + ca_range(0, 2);
    if (ca_range(0, 1))
        e.residual = random_words(pixels * e.residual_stride);
    if (ca_range(0, 1))
        e.lo = 0;
    if (ca_range(0, 3) == 0)
        e.hi = 6000;
    if (!words && ca_range(0, 1))
        e.hi = ca_range(0, 2) ? INFINITY : 0;
    return e;
}

/* What a pixel's channel has to be, from its exact sum. */
static float expected(const ufk_word_epilogue *e, int64_t sum, size_t pixel, size_t c)
{
    CHECK(sum >= INT32_MIN && sum <= INT32_MAX);
    float v = fmaf((float)sum, e->scale[c], e->bias[c]);
    if (e->residual)
        v = fmaf(e->residual[pixel * e->residual_stride + c], e->residual_scale, v);
    if (e->slope && v < 0)
        v *= e->slope[c];
    return fminf(fmaxf(v, e->lo), e->hi);
}

static void compare(const char *name, const int16_t *words, const float *floats,
                    const int16_t *want, const float *want_floats, size_t count)
{
    if (floats)
        ca_check(name, floats, want_floats, NULL, count);
    else
        ca_check_bytes(name, (const uint8_t *)words, (const uint8_t *)want, count * 2);
}

/* ---- convolution ---- */

typedef struct conv_case {
    ufk_word_conv_args args;
    const int16_t *weights; /* [runs * run_length][n] */
} conv_case;

static conv_case random_conv(bool words)
{
    ufk_word_conv_args a = {.m = ca_range(1, 25), .n = ca_range(1, 40), .runs = ca_range(1, 3)};
    a.run_length = ca_range(1, ca_range(0, 3) ? 30 : 150);
    a.a_stride = ca_range(1, a.run_length + 3);
    a.run_stride = ca_range(0, 40);
    a.c_stride = a.n + ca_range(0, 3);
    a.a = random_words((a.m - 1) * a.a_stride + (a.runs - 1) * a.run_stride + a.run_length);
    a.epilogue = random_epilogue(a.n, a.m, words);
    return (conv_case){a, random_weights(a.runs * a.run_length, a.n)};
}

/* The output between pixels keeps what was there: zeros. */
static void run_conv(const ufk_table *t, const conv_case *c, bool words, int16_t **out, float **f)
{
    ufk_word_conv_args a = c->args;
    const size_t count = (a.m - 1) * a.c_stride + a.n;
    int16_t *b = ca_alloc(ufk_words_packed(t, a.runs, a.run_length, a.n) * sizeof *b, 2);
    ufk_words_pack(t, b, c->weights, a.runs, a.run_length, a.n);
    a.b = b;
    a.c = *out = words ? ca_alloc(count * sizeof **out, 2) : NULL;
    a.c_f32 = *f = words ? NULL : ca_alloc(count * sizeof **f, 4);
    t->conv_i16(&a);
}

static void check_conv(const conv_case *c, const int16_t *out, const float *floats)
{
    const ufk_word_conv_args *a = &c->args;
    for (size_t i = 0; i < a->m; i++)
        for (size_t j = 0; j < a->n; j++) {
            int64_t sum = 0;
            for (size_t k = 0; k < a->runs * a->run_length; k++)
                sum += (int64_t)a->a[i * a->a_stride + k / a->run_length * a->run_stride +
                                     k % a->run_length] *
                       c->weights[k * a->n + j];
            const float v = expected(&a->epilogue, sum, i, j);
            const size_t at = i * a->c_stride + j;
            CHECK(floats ? floats[at] == v : out[at] == (int16_t)nearbyintf(v));
        }
}

TEST(word_conv_matches_reference)
{
    for (int i = 0; i < 400; i++) {
        const bool words = i % 3 > 0;
        const conv_case c = random_conv(words);
        const size_t count = (c.args.m - 1) * c.args.c_stride + c.args.n;
        int16_t *want, *got;
        float *want_floats, *floats;
        run_conv(ca_table(0), &c, words, &want, &want_floats);
        check_conv(&c, want, want_floats);
        for (size_t t = 1; t < ca_table_count(); t++) {
            if (ca_table(t)->conv_i16 == ca_table(0)->conv_i16)
                continue;
            run_conv(ca_table(t), &c, words, &got, &floats);
            compare(ca_table(t)->words_name, got, floats, want, want_floats, count);
        }
        ca_release();
    }
}

/* ---- depthwise ---- */

static ufk_word_dwconv_args random_dwconv(size_t kernel, size_t channels, bool words)
{
    ufk_word_dwconv_args a = {.kernel_h = kernel, .kernel_w = kernel, .channels = channels};
    a.stride_h = ca_range(1, 3);
    a.stride_w = ca_range(0, 2) ? a.stride_h : ca_range(1, 3);
    a.dilation_h = a.dilation_w = ca_range(0, 3) ? 1 : 2;
    a.pad_top = ca_range(0, kernel / 2);
    a.pad_left = ca_range(0, kernel / 2);
    const size_t span = (kernel - 1) * a.dilation_h + 1;
    a.out_h = ca_range(1, 7);
    a.out_w = ca_range(1, 12);
    const size_t need_h = (a.out_h - 1) * a.stride_h + span - a.pad_top;
    const size_t need_w = (a.out_w - 1) * a.stride_w + span - a.pad_left;
    a.in_h = need_h - (need_h > kernel ? ca_range(0, kernel / 2) : 0);
    a.in_w = need_w - (need_w > kernel ? ca_range(0, kernel / 2) : 0);
    a.y_begin = ca_range(0, a.out_h - 1);
    a.y_end = ca_range(a.y_begin, a.out_h);
    a.in = random_words(a.in_h * a.in_w * channels);
    a.weights = random_weights(kernel * kernel, channels);
    a.epilogue = random_epilogue(channels, a.out_h * a.out_w, words);
    return a;
}

static void run_dwconv(const ufk_table *t, ufk_word_dwconv_args a, bool words, int16_t **out,
                       float **f)
{
    const size_t count = a.out_h * a.out_w * a.channels;
    a.out = *out = words ? ca_alloc(count * sizeof **out, 2) : NULL;
    a.out_f32 = *f = words ? NULL : ca_alloc(count * sizeof **f, 4);
    t->dwconv_i16(&a);
}

static void check_dwconv(const ufk_word_dwconv_args *a, const int16_t *out, const float *floats)
{
    for (size_t y = a->y_begin; y < a->y_end; y++)
        for (size_t i = 0; i < a->out_w * a->channels; i++) {
            const size_t x = i / a->channels, c = i % a->channels, pixel = y * a->out_w + x;
            int64_t sum = 0;
            for (size_t t = 0; t < a->kernel_h * a->kernel_w; t++) {
                const long iy =
                    (long)(y * a->stride_h + t / a->kernel_w * a->dilation_h) - (long)a->pad_top;
                const long ix =
                    (long)(x * a->stride_w + t % a->kernel_w * a->dilation_w) - (long)a->pad_left;
                if (iy >= 0 && ix >= 0 && iy < (long)a->in_h && ix < (long)a->in_w)
                    sum += (int64_t)a->in[((size_t)iy * a->in_w + (size_t)ix) * a->channels + c] *
                           a->weights[t * a->channels + c];
            }
            const float v = expected(&a->epilogue, sum, pixel, c);
            const size_t at = pixel * a->channels + c;
            CHECK(floats ? floats[at] == v : out[at] == (int16_t)nearbyintf(v));
        }
}

TEST(word_dwconv_matches_reference)
{
    for (int i = 0; i < 400; i++) {
        const bool words = i % 4 > 0;
        const size_t channels = i % 5 ? ca_range(1, 67) : i % 2 ? 16 : 32;
        const ufk_word_dwconv_args a = random_dwconv(i % 3 ? 3 : ca_range(1, 5), channels, words);
        int16_t *want, *got;
        float *want_floats, *floats;
        run_dwconv(ca_table(0), a, words, &want, &want_floats);
        check_dwconv(&a, want, want_floats);
        for (size_t t = 1; t < ca_table_count(); t++) {
            if (ca_table(t)->dwconv_i16 == ca_table(0)->dwconv_i16)
                continue;
            run_dwconv(ca_table(t), a, words, &got, &floats);
            compare(ca_table(t)->words_name, got, floats, want, want_floats,
                    a.out_h * a.out_w * channels);
        }
        ca_release();
    }
}

/* ---- the rest ---- */

static int16_t word_of(float x, float scale)
{
    const double exact = nearbyint((double)(x / scale));
    return isnan(x) ? 0 : (int16_t)fmin(fmax(exact, -32768), 32767);
}

TEST(words_and_floats_match_reference)
{
    for (int i = 0; i < 200; i++) {
        const size_t count = ca_range(1, 40);
        float *in = ca_random_floats(count);
        const float scale = (ca_float() + 1.25f) / 20000;
        for (size_t k = 0; k < count; k++)
            in[k] = ca_range(0, 15) ? in[k] * 1.5f : ca_range(0, 1) ? NAN : INFINITY;
        for (size_t t = 0; t < ca_table_count(); t++) {
            const ufk_table *k = ca_table(t);
            int16_t *out = ca_alloc(count * sizeof *out, 2);
            float *back = ca_alloc(count * sizeof *back, 4);
            k->quantize_i16(out, in, count, scale);
            k->dequantize_i16(back, out, count, scale);
            for (size_t j = 0; j < count; j++) {
                CHECK(out[j] == word_of(in[j], scale));
                CHECK(back[j] == (float)out[j] * scale);
            }
        }
        ca_release();
    }
}

TEST(planes_become_words_pixel_by_pixel)
{
    for (int i = 0; i < 100; i++) {
        const size_t pixels = ca_range(1, 40);
        float *in = ca_random_floats(3 * pixels);
        for (size_t k = 0; k < 3 * pixels; k++)
            in[k] = ca_range(0, 15) ? in[k] * 2.5f : ca_range(0, 1) ? NAN : -INFINITY;
        for (size_t t = 0; t < ca_table_count(); t++) {
            int16_t *out = ca_alloc(3 * pixels * sizeof *out, 2);
            ca_table(t)->quantize_planes3_i16(out, in, pixels, 0x1p-14f);
            for (size_t k = 0; k < 3 * pixels; k++)
                CHECK(out[k] == word_of(in[k % 3 * pixels + k / 3], 0x1p-14f));
        }
        ca_release();
    }
}

TEST(word_additions_match_reference)
{
    for (int i = 0; i < 200; i++) {
        const size_t count = ca_range(1, 40);
        const int16_t *a = random_words(count), *b = random_words(count);
        const float sa = ca_float() + 0.75f, sb = ca_float() + 0.75f;
        for (size_t t = 0; t < ca_table_count(); t++) {
            int16_t *out = ca_alloc(count * sizeof *out, 2);
            ca_table(t)->add_i16(out, a, b, count, sa, sb);
            for (size_t k = 0; k < count; k++) {
                const float v = fmaf(a[k], sa, (float)b[k] * sb);
                CHECK(out[k] == (int16_t)nearbyintf(fminf(fmaxf(v, -32768), 32767)));
            }
        }
        ca_release();
    }
}

static int16_t greatest(const ufk_pool_args *p, const int16_t *in, size_t y, size_t x, size_t c)
{
    int16_t max = INT16_MIN;
    for (size_t t = 0; t < p->kernel_h * p->kernel_w; t++) {
        const long iy =
            (long)(y * p->stride_h + t / p->kernel_w * p->dilation_h) - (long)p->pad_top;
        const long ix =
            (long)(x * p->stride_w + t % p->kernel_w * p->dilation_w) - (long)p->pad_left;
        if (iy >= 0 && ix >= 0 && iy < (long)p->in_h && ix < (long)p->in_w) {
            const int16_t v = in[((size_t)iy * p->in_w + (size_t)ix) * p->channels + c];
            max = v > max ? v : max;
        }
    }
    return max;
}

TEST(word_maxima_match_reference)
{
    for (int i = 0; i < 200; i++) {
        const size_t kernel = i % 2 ? 2 : ca_range(1, 3);
        ufk_pool_args p = {.kernel_h = kernel, .kernel_w = kernel, .channels = ca_range(1, 40)};
        p.stride_h = ca_range(1, 2);
        p.stride_w = ca_range(1, 2);
        p.dilation_h = p.dilation_w = ca_range(0, 5) ? 1 : 2;
        p.pad_top = p.pad_left = ca_range(0, kernel / 2);
        p.in_h = ca_range(2 * kernel, 9);
        p.in_w = ca_range(2 * kernel, 9);
        p.out_h = (p.in_h + p.pad_top - (kernel - 1) * p.dilation_h - 1) / p.stride_h + 1;
        p.out_w = (p.in_w + p.pad_left - (kernel - 1) * p.dilation_w - 1) / p.stride_w + 1;
        p.y_begin = ca_range(0, p.out_h - 1);
        p.y_end = ca_range(p.y_begin, p.out_h);
        const int16_t *in = random_words(p.in_h * p.in_w * p.channels);
        for (size_t t = 0; t < ca_table_count(); t++) {
            int16_t *out = ca_alloc(p.out_h * p.out_w * p.channels * sizeof *out, 2);
            ca_table(t)->max_pool_i16(out, in, &p);
            for (size_t at = 0; at < p.out_h * p.out_w * p.channels; at++) {
                const size_t pixel = at / p.channels, y = pixel / p.out_w;
                const bool made = y >= p.y_begin && y < p.y_end;
                CHECK(out[at] ==
                      (made ? greatest(&p, in, y, pixel % p.out_w, at % p.channels) : 0));
            }
        }
        ca_release();
    }
}

/* Windows in the padding alone: a picture without rows or columns. */
TEST(word_maxima_of_nothing_are_the_least)
{
    for (size_t i = 0; i < 2; i++) {
        const ufk_pool_args p = {.in_h = i ? 0 : 4,
                                 .in_w = i ? 4 : 0,
                                 .channels = 24,
                                 .kernel_h = 2,
                                 .kernel_w = 2,
                                 .stride_h = 1,
                                 .stride_w = 1,
                                 .dilation_h = 1,
                                 .dilation_w = 1,
                                 .pad_top = 1,
                                 .pad_left = 1,
                                 .out_h = 2,
                                 .out_w = 2,
                                 .y_end = 2};
        const int16_t *in = ca_alloc(2, 2);
        for (size_t t = 0; t < ca_table_count(); t++) {
            int16_t *out = ca_alloc(4 * p.channels * sizeof *out, 2);
            ca_table(t)->max_pool_i16(out, in, &p);
            for (size_t at = 0; at < 4 * p.channels; at++)
                CHECK(out[at] == INT16_MIN);
        }
        ca_release();
    }
}

BENCH(word_conv)
{
    static const size_t shapes[][3] = {
        {6400, 64, 64}, {1600, 64, 64}, {25600, 16, 16}, {400, 256, 64}};
    for (size_t t = 1; t < ca_table_count(); t++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            const size_t m = shapes[s][0], k = shapes[s][1], n = shapes[s][2];
            const ufk_table *table = ca_table(t);
            char text[64];
            ufk_word_conv_args a = {.a = random_words(m * k),
                                    .a_stride = k,
                                    .runs = 1,
                                    .run_length = k,
                                    .b = random_words(ufk_words_packed(table, 1, k, n)),
                                    .c = ca_alloc(m * n * 2, 64),
                                    .c_stride = n,
                                    .m = m,
                                    .n = n,
                                    .epilogue = {.scale = ca_random_floats(n),
                                                 .bias = ca_random_floats(n),
                                                 .hi = 32767}};
            CA_TIME(seconds, table->conv_i16(&a));
            snprintf(text, sizeof text, "%zu pixels, %zu to %zu", m, k, n);
            ca_report(table->words_name, text, seconds, (double)(m * k * n), "GMAC/s");
            ca_release();
        }
}

BENCH(word_dwconv)
{
    static const size_t shapes[][3] = {{160, 16, 1}, {80, 64, 1}, {40, 64, 1}, {80, 32, 2}};
    for (size_t t = 1; t < ca_table_count(); t++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            const size_t side = shapes[s][0], c = shapes[s][1], stride = shapes[s][2];
            const size_t out = (side - 1) / stride + 1;
            char text[64];
            ufk_word_dwconv_args a = {.in = random_words(side * side * c),
                                      .out = ca_alloc(out * out * c * 2, 64),
                                      .in_h = side,
                                      .in_w = side,
                                      .out_h = out,
                                      .out_w = out,
                                      .channels = c,
                                      .kernel_h = 3,
                                      .kernel_w = 3,
                                      .stride_h = stride,
                                      .stride_w = stride,
                                      .dilation_h = 1,
                                      .dilation_w = 1,
                                      .pad_top = 1,
                                      .pad_left = 1,
                                      .y_end = out,
                                      .weights = random_weights(9, c),
                                      .epilogue = {.scale = ca_random_floats(c),
                                                   .bias = ca_random_floats(c),
                                                   .hi = 32767}};
            CA_TIME(seconds, ca_table(t)->dwconv_i16(&a));
            snprintf(text, sizeof text, "%zux%zux%zu stride %zu", side, side, c, stride);
            ca_report(ca_table(t)->words_name, text, seconds, (double)(out * out * c * 9),
                      "GMAC/s");
            ca_release();
        }
}

CA_MAIN
