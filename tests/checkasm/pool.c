/*
 * Pooling. A maximum is exact; an average of n cells is within gamma(n + 2) * sum |v| / count of
 * the one in double, which the reference and every variant are both held to.
 */
#include "checkasm.h"

static ufk_pool_args random_case(void)
{
    ufk_pool_args a = {0};
    a.kernel_h = ca_range(1, 5);
    a.kernel_w = ca_range(1, 5);
    a.channels = ca_range(1, 67);
    a.stride_h = ca_range(1, 3);
    a.stride_w = ca_range(1, 3);
    a.dilation_h = ca_range(0, 3) ? 1 : 2;
    a.dilation_w = ca_range(0, 3) ? 1 : 2;
    a.pad_top = ca_range(0, a.kernel_h / 2);
    a.pad_left = ca_range(0, a.kernel_w / 2);
    a.out_h = ca_range(1, 6);
    a.out_w = ca_range(1, 13);
    /* The last window may pass the image's end, as with padding or rounding up, down to a single
     * row or column of it. */
    size_t need_h = (a.out_h - 1) * a.stride_h + (a.kernel_h - 1) * a.dilation_h + 1 - a.pad_top;
    size_t need_w = (a.out_w - 1) * a.stride_w + (a.kernel_w - 1) * a.dilation_w + 1 - a.pad_left;
    a.in_h = need_h > 2 ? need_h - ca_range(0, 2) : need_h;
    a.in_w = need_w > 2 ? need_w - ca_range(0, 2) : need_w;
    a.y_begin = ca_range(0, a.out_h - 1);
    a.y_end = ca_range(a.y_begin, a.out_h);
    a.count_include_pad = ca_range(0, 1);
    a.in = ca_random_floats(a.in_h * a.in_w * a.channels);
    return a;
}

static void exact(const ufk_pool_args *a, size_t at, double *max, double *average, double *bound)
{
    size_t c = at % a->channels, x = at / a->channels % a->out_w, y = at / a->channels / a->out_w;
    double sum = 0, size = 0, cells = 0;
    *max = -INFINITY;
    for (size_t t = 0; t < a->kernel_h * a->kernel_w; t++) {
        long iy = (long)(y * a->stride_h + t / a->kernel_w * a->dilation_h) - (long)a->pad_top;
        long ix = (long)(x * a->stride_w + t % a->kernel_w * a->dilation_w) - (long)a->pad_left;
        if (iy < 0 || ix < 0 || iy >= (long)a->in_h || ix >= (long)a->in_w)
            continue;
        double v = (double)a->in[((size_t)iy * a->in_w + (size_t)ix) * a->channels + c];
        *max = fmax(*max, v);
        sum += v;
        size += fabs(v);
        cells++;
    }
    if (a->count_include_pad)
        cells = (double)(a->kernel_h * a->kernel_w);
    *average = cells > 0 ? sum / cells : 0;
    *bound = cells > 0 ? ca_gamma((double)(a->kernel_h * a->kernel_w) + 2) * size / cells : 0;
}

TEST(pool_is_within_its_bound)
{
    for (int round = 0; round < 400; round++) {
        ufk_pool_args a = random_case();
        size_t count = a.out_h * a.out_w * a.channels, row = a.out_w * a.channels;
        float *max = ca_output_floats(count), *average = ca_output_floats(count);
        double *bound = ca_alloc(count * sizeof *bound, 8);
        for (size_t i = a.y_begin * row; i < a.y_end * row; i++) {
            double m, v;
            exact(&a, i, &m, &v, &bound[i]);
            max[i] = (float)m;
            average[i] = (float)v;
            bound[i] += fabs(v) * 0x1p-24; /* `average` is rounded too */
        }
        for (size_t t = 0; t < ca_table_count(); t++) {
            a.out = ca_output_floats(count);
            ca_table(t)->max_pool_f32(&a);
            ca_check(ca_table(t)->pool_f32_name, a.out, max, NULL, count);
            a.out = ca_output_floats(count);
            ca_table(t)->average_pool_f32(&a);
            ca_check(ca_table(t)->pool_f32_name, a.out, average, bound, count);
        }
        ca_release();
    }
}

TEST(global_average_is_within_its_bound)
{
    for (int round = 0; round < 200; round++) {
        size_t pixels = ca_range(1, 70), channels = ca_range(1, 150);
        float *in = ca_random_floats(pixels * channels), *want = ca_output_floats(channels);
        double *bound = ca_alloc(channels * sizeof *bound, 8);
        for (size_t c = 0; c < channels; c++) {
            double sum = 0, size = 0;
            for (size_t i = 0; i < pixels; i++) {
                sum += (double)in[i * channels + c];
                size += fabs((double)in[i * channels + c]);
            }
            want[c] = (float)(sum / (double)pixels);
            bound[c] = ca_gamma((double)pixels + 2) * size / (double)pixels + 0x1p-24 * fabs(sum);
        }
        for (size_t t = 0; t < ca_table_count(); t++) {
            float *got = ca_output_floats(channels);
            ca_table(t)->global_average_f32(got, in, pixels, channels);
            ca_check(ca_table(t)->pool_f32_name, got, want, bound, channels);
        }
        ca_release();
    }
}

BENCH(pool)
{
    for (size_t t = 0; t < ca_table_count(); t++) {
        ufk_pool_args a = {.in = ca_random_floats(160 * 160 * 16),
                           .out = ca_output_floats(80 * 80 * 16),
                           .in_h = 160,
                           .in_w = 160,
                           .out_h = 80,
                           .out_w = 80,
                           .channels = 16,
                           .kernel_h = 2,
                           .kernel_w = 2,
                           .stride_h = 2,
                           .stride_w = 2,
                           .dilation_h = 1,
                           .dilation_w = 1,
                           .y_end = 80};
        CA_TIME(max, ca_table(t)->max_pool_f32(&a));
        ca_report(ca_table(t)->pool_f32_name, "max 2x2, 160x160x16", max, 160 * 160 * 16 * 4,
                  "GB/s");
        CA_TIME(mean, ca_table(t)->global_average_f32(a.out, a.in, 49, 512));
        ca_report(ca_table(t)->pool_f32_name, "global 7x7x512", mean, 49 * 512 * 4, "GB/s");
        ca_release();
    }
}

CA_MAIN
