/*
 * INT8 convolution as a matrix product over runs: the packing that all variants share, the
 * reference, and the choice of a variant.
 *
 * Four consecutive k of one column lie together, which is what instructions that multiply four
 * pairs of bytes and add them (vpdpbusd, sdot) read. The sums of the columns before each panel are
 * for instruction sets whose activations are signed: 128 * sum makes up for the shift.
 */
#include <string.h>

#include "base/cpu.h"
#include "kernels/c/qepilogue.h"
#include "kernels/topics.h"

enum { PANEL = 8 };

size_t ufk_qconv_group_bytes(size_t runs, size_t run_length)
{
    return sizeof(int32_t) + runs * ((run_length + 3) / 4) * 4;
}

size_t ufk_qconv_column_bytes(const ufk_table *t, size_t runs, size_t run_length)
{
    return t->qconv_form ? t->qconv_form->column_bytes(runs, run_length)
                         : ufk_qconv_group_bytes(runs, run_length);
}

static size_t panel_width(const ufk_table *t, size_t columns)
{
    if (columns >= t->qconv_nr)
        return t->qconv_nr;
    return (columns + t->qconv_nu - 1) / t->qconv_nu * t->qconv_nu;
}

size_t ufk_qconv_packed_bytes(const ufk_table *t, size_t runs, size_t run_length, size_t n)
{
    const size_t whole = n / t->qconv_nr * t->qconv_nr;
    return (whole + panel_width(t, n - whole)) * ufk_qconv_column_bytes(t, runs, run_length);
}

/* Columns j .. j + columns - 1; `b` is their first element. */
static void pack_groups(int8_t *out, const int8_t *b, size_t n, size_t runs, size_t run_length,
                        size_t columns, size_t width)
{
    memset(out, 0, width * ufk_qconv_group_bytes(runs, run_length));
    for (size_t column = 0; column < columns; column++) {
        int32_t sum = 0;
        for (size_t k = 0; k < runs * run_length; k++)
            sum += b[k * n + column];
        memcpy(out + column * sizeof sum, &sum, sizeof sum);
    }
    out += width * sizeof(int32_t);
    for (size_t run = 0; run < runs; run++)
        for (size_t k = 0; k < run_length; k += 4, out += width * 4) {
            const size_t count = run_length - k < 4 ? run_length - k : 4;
            for (size_t i = 0; i < count; i++)
                for (size_t column = 0; column < columns; column++)
                    out[column * 4 + i] = b[(run * run_length + k + i) * n + column];
        }
}

void ufk_qconv_pack(const ufk_table *t, int8_t *packed, const int8_t *b, size_t runs,
                    size_t run_length, size_t n)
{
    for (size_t j = 0; j < n; j += t->qconv_nr) {
        const size_t columns = n - j < t->qconv_nr ? n - j : t->qconv_nr;
        const size_t width = panel_width(t, columns);
        if (t->qconv_form)
            t->qconv_form->pack_panel(packed, b + j, n, runs, run_length, columns);
        else
            pack_groups(packed, b + j, n, runs, run_length, columns, width);
        packed += width * ufk_qconv_column_bytes(t, runs, run_length);
    }
}

/* The sum for pixel i and one column of a panel `width` columns wide. */
static int32_t column_sum(const ufk_qconv_args *args, size_t i, const int8_t *b, size_t width)
{
    int32_t sum = 0;
    for (size_t y = 0; y < args->runs_y; y++)
        for (size_t x = 0; x < args->runs_x; x++) {
            const uint8_t *a =
                args->a + i * args->a_stride + y * args->run_stride_y + x * args->run_stride_x;
            for (size_t k = 0; k < args->run_length; k++)
                sum += a[k] * b[k / 4 * width * 4 + k % 4];
            b += (args->run_length + 3) / 4 * width * 4;
        }
    return sum;
}

ufk_qconv_args ufk_qconv_line(const ufk_qconv_args *args, size_t l)
{
    ufk_qconv_args line = *args;
    const size_t first = l * args->m;
    line.lines = 1;
    line.a += l * args->a_line_stride;
    if (line.c)
        line.c += first * args->c_stride;
    if (line.c_f32)
        line.c_f32 += first * args->c_stride;
    if (line.epilogue.residual)
        line.epilogue.residual += first * args->epilogue.residual_stride;
    return line;
}

void ufk_conv_u8_c(const ufk_qconv_args *args)
{
    const size_t bytes = ufk_qconv_group_bytes(args->runs_y * args->runs_x, args->run_length);
    const uint8_t *residual = args->epilogue.residual;
    for (size_t i = 0; i < args->m; i++)
        for (size_t j = 0; j < args->n; j++) {
            const int8_t *panel = args->b + j / PANEL * PANEL * bytes + PANEL * sizeof(int32_t);
            const float v =
                ufk_qfinish(&args->epilogue, column_sum(args, i, panel + j % PANEL * 4, PANEL),
                            residual ? residual + i * args->epilogue.residual_stride : NULL, j);
            if (args->c_f32)
                args->c_f32[i * args->c_stride + j] = v;
            else
                args->c[i * args->c_stride + j] = ufk_round_u8(v);
        }
}

void ufk_qconv_init(ufk_table *t, uint32_t flags)
{
    t->qconv_nr = PANEL;
    t->qconv_nu = PANEL;
    t->qconv_mr = 1;
    t->qconv_form = NULL;
    t->qconv_lines = false;
    t->conv_u8 = ufk_conv_u8_c;
    t->conv_u8_name = "conv_u8_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_qconv_select_avx2(t);
    if (flags & (UFI_CPU_AVXVNNI | UFI_CPU_AVX512VNNI | UFI_CPU_AMX))
        t->qconv_form = NULL;
    if (flags & UFI_CPU_AVXVNNI)
        ufk_qconv_select_avxvnni(t);
    if (flags & UFI_CPU_AVX512VNNI)
        ufk_qconv_select_avx512vnni(t);
    if (flags & UFI_CPU_AMX)
        ufk_qconv_select_amx(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_DOTPROD)
        ufk_qconv_select_dotprod(t);
    if (flags & UFI_CPU_I8MM)
        ufk_qconv_select_i8mm(t);
#endif
}
