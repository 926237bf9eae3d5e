/*
 * dwconv_f32: variants against the reference, which is checked against a sum in double. Bound:
 * gamma(taps + 4) * (sum |a w| + |bias| + |residual|), twice, times 1.1 for the activation's slope,
 * plus 2^-19 for the exponential.
 */
#include "checkasm.h"

static ufk_dwconv_args random_case(size_t kernel, size_t *out_count)
{
    ufk_dwconv_args a = {0};
    a.kernel_h = a.kernel_w = kernel;
    a.channels = ca_range(1, 67);
    a.stride_h = a.stride_w = ca_range(1, 3);
    a.dilation_h = a.dilation_w = ca_range(0, 3) ? 1 : 2;
    a.pad_top = ca_range(0, kernel / 2);
    a.pad_left = ca_range(0, kernel / 2);
    size_t span = (kernel - 1) * a.dilation_h + 1;
    a.out_h = ca_range(1, 7);
    a.out_w = ca_range(1, 19);
    /* An image that the last window reaches or passes by up to the padding. */
    size_t need_h = (a.out_h - 1) * a.stride_h + span - a.pad_top;
    size_t need_w = (a.out_w - 1) * a.stride_w + span - a.pad_left;
    a.in_h = need_h - (need_h > kernel ? ca_range(0, kernel / 2) : 0);
    a.in_w = need_w - (need_w > kernel ? ca_range(0, kernel / 2) : 0);
    a.in_pixel_stride = a.channels + ca_range(0, 2);
    a.in_row_stride = a.in_w * a.in_pixel_stride;
    a.out_pixel_stride = a.channels + ca_range(0, 2);
    a.out_row_stride = a.out_w * a.out_pixel_stride;
    a.y_begin = ca_range(0, a.out_h - 1);
    a.y_end = ca_range(a.y_begin, a.out_h);
    a.in = ca_random_floats(a.in_h * a.in_row_stride);
    a.weights = ca_random_floats(kernel * kernel * a.channels);
    a.epilogue.act = (ufk_act)ca_range(UFK_ACT_NONE, UFK_ACT_SIGMOID);
    a.epilogue.lo = -0.25f;
    a.epilogue.hi = ca_range(0, 1) ? INFINITY : 0.5f;
    a.epilogue.bias = ca_range(0, 1) ? ca_random_floats(a.channels) : NULL;
    a.epilogue.slope = ca_random_floats(a.channels);
    a.epilogue.residual_stride = a.channels + ca_range(0, 2);
    if (ca_range(0, 1))
        a.epilogue.residual = ca_random_floats(a.out_h * a.out_w * a.epilogue.residual_stride);
    *out_count = a.out_h * a.out_row_stride;
    return a;
}

static double exact(const ufk_dwconv_args *a, size_t y, size_t x, size_t c, double *size)
{
    const ufk_epilogue *e = &a->epilogue;
    double sum = e->bias ? (double)e->bias[c] : 0;
    *size = fabs(sum);
    if (e->residual) {
        double r = (double)e->residual[(y * a->out_w + x) * e->residual_stride + c];
        sum += r;
        *size += fabs(r);
    }
    for (size_t t = 0; t < a->kernel_h * a->kernel_w; t++) {
        long iy = (long)(y * a->stride_h + t / a->kernel_w * a->dilation_h) - (long)a->pad_top;
        long ix = (long)(x * a->stride_w + t % a->kernel_w * a->dilation_w) - (long)a->pad_left;
        if (iy < 0 || ix < 0 || iy >= (long)a->in_h || ix >= (long)a->in_w)
            continue;
        double p =
            (double)a->in[(size_t)iy * a->in_row_stride + (size_t)ix * a->in_pixel_stride + c] *
            (double)a->weights[t * a->channels + c];
        sum += p;
        *size += fabs(p);
    }
    return sum;
}

static void check_case(ufk_dwconv_args a, size_t count)
{
    const ufk_table *ref = ca_table(0);
    float *want = ca_output_floats(count);
    double *bound = ca_alloc(count * sizeof *bound, 8);
    a.out = want;
    ref->dwconv_f32(&a);
    for (size_t y = a.y_begin; y < a.y_end; y++)
        for (size_t x = 0; x < a.out_w; x++)
            for (size_t c = 0; c < a.channels; c++) {
                size_t at = y * a.out_row_stride + x * a.out_pixel_stride + c;
                double size, sum = exact(&a, y, x, c, &size);
                bound[at] = 2.2 * ca_gamma((double)(a.kernel_h * a.kernel_w) + 4) * size +
                            0x1p-19 * (1 + fabs(sum));
                if (a.epilogue.act == UFK_ACT_NONE)
                    CHECK(fabs((double)want[at] - sum) <= bound[at]);
            }
    for (size_t t = 1; t < ca_table_count(); t++) {
        if (ca_table(t)->dwconv_f32 == ref->dwconv_f32)
            continue;
        a.out = ca_output_floats(count);
        ca_table(t)->dwconv_f32(&a);
        ca_check(ca_table(t)->dwconv_f32_name, a.out, want, bound, count);
    }
    ca_release();
}

TEST(dwconv_matches_reference)
{
    for (int i = 0; i < 600; i++) {
        size_t count, kernel = i % 3 ? 3 : ca_range(1, 7);
        ufk_dwconv_args a = random_case(kernel, &count);
        check_case(a, count);
    }
}

BENCH(dwconv)
{
    static const size_t shapes[][3] = {{56, 64, 1}, {56, 128, 2}, {28, 128, 1}, {14, 256, 1},
                                       {7, 512, 1}, {160, 16, 1}, {80, 64, 1},  {40, 64, 1}};
    for (size_t t = 1; t < ca_table_count(); t++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            size_t side = shapes[s][0], c = shapes[s][1], stride = shapes[s][2];
            size_t out = (side - 1) / stride + 1;
            char text[64];
            ufk_dwconv_args a = {.in = ca_random_floats(side * side * c),
                                 .in_row_stride = side * c,
                                 .in_pixel_stride = c,
                                 .out = ca_output_floats(out * out * c),
                                 .out_row_stride = out * c,
                                 .out_pixel_stride = c,
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
                                 .weights = ca_random_floats(9 * c)};
            CA_TIME(seconds, ca_table(t)->dwconv_f32(&a));
            snprintf(text, sizeof text, "%zux%zux%zu stride %zu", side, side, c, stride);
            ca_report(ca_table(t)->dwconv_f32_name, text, seconds, (double)(out * out * c * 9),
                      "GMAC/s");
            ca_release();
        }
}

CA_MAIN
