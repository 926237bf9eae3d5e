/*
 * Convolution with activations and weights of 16 bits or in parts of 16 bits: the packing that all
 * variants share, the references, and the choice of a variant.
 *
 * What is multiplied together by one instruction lies together: two consecutive k of one column
 * where products come in pairs (tdpbf16ps).
 */
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "kernels/c/epilogue.h"
#include "kernels/topics.h"
#include "tensor/tensor.h"

enum { PANEL = 8, MAX_PANEL = 64, MAX_GROUP = 2, BF16_GROUP = 2, F16_GROUP = 1 };

size_t ufk_hconv_column_halves(const ufk_hconv *h, size_t runs, size_t run_length)
{
    return runs * ((run_length + h->group - 1) / h->group) * h->group;
}

static size_t panel_width(const ufk_hconv *h, size_t columns)
{
    return columns >= h->nr ? h->nr : (columns + h->nu - 1) / h->nu * h->nu;
}

size_t ufk_hconv_plane_halves(const ufk_hconv *h, size_t runs, size_t run_length, size_t n)
{
    const size_t whole = n / h->nr * h->nr;
    return (whole + panel_width(h, n - whole)) * ufk_hconv_column_halves(h, runs, run_length);
}

size_t ufk_hconv_packed_halves(const ufk_hconv *h, size_t runs, size_t run_length, size_t n)
{
    return (h->pairs ? 2 : 1) * ufk_hconv_plane_halves(h, runs, run_length, n);
}

static void interleave(uint16_t *out, uint16_t rows[MAX_GROUP][MAX_PANEL], size_t group,
                       size_t columns)
{
    if (group == 1) {
        memcpy(out, rows[0], columns * sizeof *out);
        return;
    }
    for (size_t column = 0; column < columns; column++) {
        out[2 * column] = rows[0][column];
        out[2 * column + 1] = rows[1][column];
    }
}

/* Group `k` of a run, `columns` columns; `b` is the run's first element in the first of them. */
static void pack_group(const ufk_hconv *h, uint16_t *out, uint16_t *low_out, const float *b,
                       size_t n, size_t k, size_t run_length, size_t columns)
{
    uint16_t high[MAX_GROUP][MAX_PANEL] = {0}, low[MAX_GROUP][MAX_PANEL] = {0};
    for (size_t i = 0; i < h->group && k + i < run_length; i++)
        h->narrow(high[i], low[i], b + (k + i) * n, columns);
    interleave(out, high, h->group, columns);
    if (h->pairs)
        interleave(low_out, low, h->group, columns);
}

void ufk_hconv_pack(const ufk_hconv *h, uint16_t *packed, const float *b, size_t runs,
                    size_t run_length, size_t n)
{
    const size_t plane = ufk_hconv_plane_halves(h, runs, run_length, n);
    memset(packed, 0, ufk_hconv_packed_halves(h, runs, run_length, n) * sizeof *packed);
    for (size_t j = 0; j < n; j += h->nr) {
        const size_t columns = n - j < h->nr ? n - j : h->nr, width = panel_width(h, columns);
        for (size_t run = 0; run < runs; run++)
            for (size_t k = 0; k < run_length; k += h->group, packed += width * h->group)
                pack_group(h, packed, packed + plane, b + run * run_length * n + j, n, k,
                           run_length, columns);
    }
}

/* The sum for one pixel, whose first run begins at `a`, and one column of a panel. */
static float column_sum(const ufk_hconv_args *args, const uint16_t *a, const uint16_t *b,
                        size_t group, float (*widen)(uint16_t))
{
    float sum = 0;
    for (size_t y = 0; y < args->runs_y; y++)
        for (size_t x = 0; x < args->runs_x; x++) {
            const uint16_t *run = a + y * args->run_stride_y + x * args->run_stride_x;
            for (size_t k = 0; k < args->run_length; k++) {
                const uint16_t *weight = b + k / group * PANEL * group + k % group;
                sum += widen(run[k]) * widen(*weight);
                if (args->a_low)
                    sum += widen(run[k + args->a_low]) * widen(*weight) +
                           widen(run[k]) * widen(weight[args->b_low]);
            }
            b += (args->run_length + group - 1) / group * PANEL * group;
        }
    return sum;
}

static void conv_c(const ufk_hconv_args *args, size_t group, float (*widen)(uint16_t))
{
    const size_t groups = (args->run_length + group - 1) / group;
    const size_t depth = args->runs_y * args->runs_x * groups * group;
    const float *residual = args->epilogue.residual;
    for (size_t i = 0; i < args->lines * args->m; i++)
        for (size_t j = 0; j < args->n; j++) {
            const uint16_t *a =
                args->a + i / args->m * args->a_line_stride + i % args->m * args->a_stride;
            const uint16_t *b = args->b + j / PANEL * PANEL * depth + j % PANEL * group;
            args->c[i * args->c_stride + j] =
                ufk_finish(&args->epilogue, column_sum(args, a, b, group, widen),
                           residual ? residual + i * args->epilogue.residual_stride : NULL, j);
        }
}

static void ufk_conv_bf16_c(const ufk_hconv_args *args)
{
    conv_c(args, BF16_GROUP, ufi_bf16_to_f32);
}

static void ufk_conv_f16_c(const ufk_hconv_args *args)
{
    conv_c(args, F16_GROUP, ufi_f16_to_f32);
}

static void ufk_narrow_bf16_c(uint16_t *out, uint16_t *low, const float *in, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = ufi_f32_to_bf16(in[i]);
}

/* A number so large that the nearest one is infinite is split at the largest that is not. */
static void ufk_split_bf16_c(uint16_t *out, uint16_t *low, const float *in, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const float most = UFK_BF16_MOST, x = in[i] > most ? most : in[i] < -most ? -most : in[i];
        out[i] = ufi_f32_to_bf16(x);
        const float rest = in[i] - ufi_bf16_to_f32(out[i]);
        low[i] = isnan(rest) ? 0 : ufi_f32_to_bf16(rest); /* of NaN */
    }
}

static void ufk_narrow_f16_c(uint16_t *out, uint16_t *low, const float *in, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = ufi_f32_to_f16(in[i]);
}

void ufk_hconv_init(ufk_table *t, uint32_t flags)
{
    t->bf16 = (ufk_hconv){.nr = PANEL,
                          .nu = PANEL,
                          .mr = 1,
                          .group = BF16_GROUP,
                          .conv = ufk_conv_bf16_c,
                          .narrow = ufk_narrow_bf16_c,
                          .name = "conv_bf16_c"};
    t->f16 = (ufk_hconv){.nr = PANEL,
                         .nu = PANEL,
                         .mr = 1,
                         .group = F16_GROUP,
                         .conv = ufk_conv_f16_c,
                         .narrow = ufk_narrow_f16_c,
                         .name = "conv_f16_c"};
    t->bf16x3 = t->bf16;
    t->bf16x3.pairs = true;
    t->bf16x3.narrow = ufk_split_bf16_c;
    t->bf16x3.name = "conv_bf16x3_c";
#if defined(__x86_64__)
    if ((flags & UFI_CPU_AMX) && (flags & UFI_CPU_AVX512BF16))
        ufk_hconv_select_amx(t);
#endif
}
