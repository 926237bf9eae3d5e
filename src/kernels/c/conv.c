/*
 * Convolution as a matrix product over runs: the packing of weights that all variants share, the
 * reference, and the choice of a variant.
 *
 * Packed weights are panels of conv_nr columns, [panel][k][column]. The last panel is only as wide
 * as its columns rounded up to conv_nu (one vector), so that a layer of 16 or 10 outputs does not
 * pay for a full panel. Panel p starts at p * conv_nr * K floats in either case.
 */
#include <string.h>

#include "base/cpu.h"
#include "kernels/c/epilogue.h"
#include "kernels/kernels.h"
#include "kernels/topics.h"

enum { PANEL = 8 };

static size_t last_panel_width(const ufk_table *t, size_t columns)
{
    return (columns + t->conv_nu - 1) / t->conv_nu * t->conv_nu;
}

size_t ufk_conv_packed_floats(const ufk_table *t, size_t k, size_t n)
{
    const size_t whole = n / t->conv_nr * t->conv_nr;
    return k * (whole + last_panel_width(t, n - whole));
}

void ufk_conv_pack(const ufk_table *t, float *packed, const float *b, size_t b_stride, size_t k,
                   size_t n)
{
    for (size_t j = 0; j < n; j += t->conv_nr) {
        const size_t columns = n - j < t->conv_nr ? n - j : t->conv_nr;
        const size_t width = last_panel_width(t, columns);
        for (size_t i = 0; i < k; i++) {
            memcpy(packed, b + i * b_stride + j, columns * sizeof *packed);
            memset(packed + columns, 0, (width - columns) * sizeof *packed);
            packed += width;
        }
    }
}

void ufk_conv_pack_transposed(const ufk_table *t, float *packed, const float *b, size_t k, size_t n)
{
    for (size_t j = 0; j < n; j += t->conv_nr) {
        const size_t columns = n - j < t->conv_nr ? n - j : t->conv_nr;
        const size_t width = last_panel_width(t, columns);
        t->transpose_f32(packed, width, b + j * k, k, columns, k);
        for (size_t i = 0; columns < width && i < k; i++)
            memset(packed + i * width + columns, 0, (width - columns) * sizeof *packed);
        packed += width * k;
    }
}

/* One pixel, one panel. `b` walks its rows in the order of the runs. */
static void pixel_panel(const ufk_conv_args *args, size_t i, size_t j, const float *b)
{
    const size_t columns = args->n - j < PANEL ? args->n - j : PANEL;
    const float *residual = args->epilogue.residual;
    float sum[PANEL] = {0};
    for (size_t y = 0; y < args->runs_y; y++) {
        for (size_t x = 0; x < args->runs_x; x++) {
            const float *a =
                args->a + i * args->a_stride + y * args->run_stride_y + x * args->run_stride_x;
            for (size_t k = 0; k < args->run_length; k++, b += PANEL) {
                for (size_t column = 0; column < PANEL; column++)
                    sum[column] += a[k] * b[column];
            }
        }
    }
    for (size_t column = 0; column < columns; column++) {
        const size_t channel = j + column;
        args->c[i * args->c_stride + channel] =
            ufk_finish(&args->epilogue, sum[column],
                       residual ? residual + i * args->epilogue.residual_stride : NULL, channel);
    }
}

static void ufk_conv_f32_c(const ufk_conv_args *args)
{
    const size_t depth = args->runs_y * args->runs_x * args->run_length;
    for (size_t i = 0; i < args->m; i++) {
        for (size_t j = 0; j < args->n; j += PANEL)
            pixel_panel(args, i, j, args->b + j * depth);
    }
}

void ufk_conv_init(ufk_table *t, uint32_t flags)
{
    t->conv_nr = PANEL;
    t->conv_nu = PANEL;
    t->conv_mr = 1;
    t->conv_f32 = ufk_conv_f32_c;
    t->conv_f32_name = "conv_f32_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_conv_select_avx2(t);
    if (flags & UFI_CPU_AVX512)
        ufk_conv_select_avx512(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_conv_select_neon(t);
#endif
}
