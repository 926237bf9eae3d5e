/* dwconv_u8: the reference against a plain loop over the taps, variants against the reference, bit
 * for bit, bytes and floats out. */
#include "checkasm.h"

#include "kernels/c/qepilogue.h"

static ufk_qdwconv_args random_case(size_t kernel, size_t channels, size_t most_columns)
{
    ufk_qdwconv_args a = {.kernel_h = kernel, .kernel_w = kernel, .channels = channels};
    a.stride_h = a.stride_w = ca_range(1, 3);
    a.dilation_h = a.dilation_w = ca_range(0, 3) ? 1 : 2;
    a.pad_top = ca_range(0, kernel / 2);
    a.pad_left = ca_range(0, kernel / 2);
    size_t span = (kernel - 1) * a.dilation_h + 1;
    a.out_h = ca_range(1, 7);
    a.out_w = ca_range(1, most_columns);
    size_t need_h = (a.out_h - 1) * a.stride_h + span - a.pad_top;
    size_t need_w = (a.out_w - 1) * a.stride_w + span - a.pad_left;
    a.in_h = need_h - (need_h > kernel ? ca_range(0, kernel / 2) : 0);
    a.in_w = need_w - (need_w > kernel ? ca_range(0, kernel / 2) : 0);
    a.y_begin = ca_range(0, a.out_h - 1);
    a.y_end = ca_range(a.y_begin, a.out_h);
    a.in = ca_random_bytes(a.in_h * a.in_w * channels);
    a.weights = (int8_t *)ca_random_bytes(kernel * kernel * channels);
    a.in_zero = (uint8_t)ca_range(0, 255);
    ufk_qepilogue *e = &a.epilogue;
    float *scale = ca_random_floats(channels), *bias = ca_random_floats(channels);
    e->act =
        (ufk_act[]){UFK_ACT_NONE, UFK_ACT_CLAMP, UFK_ACT_PRELU, UFK_ACT_HARD_SWISH}[ca_range(0, 3)];
    for (size_t i = 0; i < channels; i++) {
        scale[i] = (scale[i] + 1.5f) / (100.0f * (float)kernel);
        bias[i] = 128 * (bias[i] + 0.5f);
    }
    e->scale = scale;
    e->bias = bias;
    e->slope = ca_random_floats(channels);
    e->residual_scale = ca_float();
    e->out_scale = 1.25f;
    e->zero = (float)ca_range(0, 100);
    e->hi = (float)ca_range(100, 255);
    e->residual_stride = channels + ca_range(0, 2);
    if (ca_range(0, 1))
        e->residual = ca_random_bytes(a.out_h * a.out_w * e->residual_stride);
    return a;
}

/* Runs variant `t` into a fresh buffer, which is returned. */
static void *run_case(const ufk_table *t, ufk_qdwconv_args a, bool floats)
{
    size_t count = a.out_h * a.out_w * a.channels;
    if (floats)
        a.out_f32 = ca_output_floats(count);
    else
        a.out = ca_alloc(count, 1);
    t->dwconv_u8(&a);
    return floats ? (void *)a.out_f32 : (void *)a.out;
}

static void check_reference(const ufk_qdwconv_args *a, const uint8_t *out)
{
    for (size_t y = a->y_begin; y < a->y_end; y++)
        for (size_t x = 0; x < a->out_w; x++)
            for (size_t c = 0; c < a->channels; c++) {
                int32_t sum = 0;
                for (size_t t = 0; t < a->kernel_h * a->kernel_w; t++) {
                    long iy = (long)(y * a->stride_h + t / a->kernel_w * a->dilation_h) -
                              (long)a->pad_top;
                    long ix = (long)(x * a->stride_w + t % a->kernel_w * a->dilation_w) -
                              (long)a->pad_left;
                    bool out_of_it = iy < 0 || ix < 0 || iy >= (long)a->in_h || ix >= (long)a->in_w;
                    sum +=
                        a->weights[t * a->channels + c] *
                        (out_of_it ? a->in_zero
                                   : a->in[((size_t)iy * a->in_w + (size_t)ix) * a->channels + c]);
                }
                const ufk_qepilogue *e = &a->epilogue;
                size_t pixel = y * a->out_w + x;
                float v = ufk_qfinish(
                    e, sum, e->residual ? e->residual + pixel * e->residual_stride : NULL, c);
                CHECK(out[pixel * a->channels + c] == (uint8_t)nearbyintf(v));
            }
}

TEST(qdwconv_matches_reference)
{
    for (int i = 0; i < 600; i++) {
        size_t kernel = i % 3 ? 3 : i % 2 ? 1 : ca_range(1, 7);
        size_t channels = i % 4 ? ca_range(1, i % 5 ? 67 : 200) : i % 8 ? 16 : 32;
        if (kernel == 1 && i % 4 == 1)
            channels = ca_range(1, 16);
        ufk_qdwconv_args a = random_case(kernel, channels, i % 10 ? 19 : 140);
        size_t count = a.out_h * a.out_w * a.channels;
        const ufk_table *ref = ca_table(0);
        uint8_t *want = run_case(ref, a, false);
        float *want_floats = run_case(ref, a, true);
        check_reference(&a, want);
        for (size_t t = 1; t < ca_table_count(); t++) {
            const ufk_table *k = ca_table(t);
            if (k->dwconv_u8 == ref->dwconv_u8)
                continue;
            ca_check_bytes(k->dwconv_u8_name, run_case(k, a, false), want, count);
            ca_check(k->dwconv_u8_name, run_case(k, a, true), want_floats, NULL, count);
        }
        ca_release();
    }
}

BENCH(qdwconv)
{
    static const size_t shapes[][3] = {{56, 64, 1}, {56, 128, 2}, {28, 128, 1}, {14, 256, 1},
                                       {7, 512, 1}, {160, 16, 1}, {80, 64, 1},  {40, 64, 1}};
    for (size_t t = 1; t < ca_table_count(); t++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            size_t side = shapes[s][0], c = shapes[s][1], stride = shapes[s][2];
            size_t out = (side - 1) / stride + 1;
            char text[64];
            ufk_qdwconv_args a = {
                .in = ca_random_bytes(side * side * c),
                .out = ca_alloc(out * out * c, 64),
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
                .weights = (int8_t *)ca_random_bytes(9 * c),
                .epilogue = {.scale = ca_random_floats(c), .bias = ca_random_floats(c), .hi = 255}};
            CA_TIME(seconds, ca_table(t)->dwconv_u8(&a));
            snprintf(text, sizeof text, "%zux%zux%zu stride %zu", side, side, c, stride);
            ca_report(ca_table(t)->dwconv_u8_name, text, seconds, (double)(out * out * c * 9),
                      "GMAC/s");
            ca_release();
        }
}

CA_MAIN
