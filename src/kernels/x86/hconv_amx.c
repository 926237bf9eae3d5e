/*
 * BF16 convolution for AMX: the walk of amx_walk.h, 32768 products in 15 instructions, summed in
 * FP32. On layers of few inputs what follows the sums takes longer than they do: the usual
 * activations get code of their own, in which all that a column needs stays in registers.
 */
#include "base/cpu.h"
#include "kernels/topics.h"
#include "kernels/x86/conv_epilogue16.h"

#define UFK_TILE_MULTIPLY _tile_dpbf16ps
#define UFK_TILE_PAIRS 1
#include "kernels/x86/amx_walk.h"

/* The first `n` of 16 lanes, or all. */
ALWAYS_INLINE __mmask16 first_lanes(size_t n)
{
    return n < TILE_LANES ? (__mmask16)(0xFFFFu >> (TILE_LANES - n)) : 0xFFFF;
}

/* Any activation, any columns. */
static void finish_any(const block *t, size_t i, const int32_t *sums, size_t rows)
{
    const ufk_hconv_args *g = t->layer;
    const ufk_epilogue *e = &g->epilogue;
    for (size_t v = 0; v < t->vectors; v++) {
        const size_t j = t->j + v * TILE_LANES;
        const __mmask16 mask = v + 1 == t->vectors ? t->columns : 0xFFFF;
        for (size_t r = 0; r < rows; r++) {
            const __m512 x = _mm512_load_ps(sums + r * TILE_PANEL + v * TILE_LANES);
            const float *residual =
                e->residual ? e->residual + (i + r) * e->residual_stride + j : NULL;
            _mm512_mask_storeu_ps(g->c + (i + r) * g->c_stride + j, mask,
                                  ufk_epilogue16(e, x, residual, j, mask));
        }
    }
}

/* Clamped (perhaps to everything) or PReLU, 16 columns of which `mask` are real. */
ALWAYS_INLINE void finish_vector(const block *t, size_t i, size_t j, const int32_t *sums,
                                 size_t rows, __mmask16 mask, bool prelu, bool has_residual)
{
    const ufk_hconv_args *g = t->layer;
    const ufk_epilogue *e = &g->epilogue;
    const bool clamp = e->act == UFK_ACT_CLAMP;
    const __m512 lo = _mm512_set1_ps(clamp ? e->lo : -__builtin_inff());
    const __m512 hi = _mm512_set1_ps(clamp ? e->hi : __builtin_inff());
    const __m512 bias = e->bias ? _mm512_maskz_loadu_ps(mask, e->bias + j) : _mm512_setzero_ps();
    const __m512 slope = prelu ? _mm512_maskz_loadu_ps(mask, e->slope + j) : lo;
    const float *residual = has_residual ? e->residual + i * e->residual_stride + j : NULL;
    float *c = g->c + i * g->c_stride + j;
    for (; rows > 0; rows--, sums += TILE_PANEL, c += g->c_stride) {
        __m512 x = _mm512_add_ps(_mm512_load_ps(sums), bias);
        if (has_residual) {
            x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, residual));
            residual += e->residual_stride;
        }
        x = prelu ? ufk_prelu16(x, slope) : _mm512_min_ps(hi, _mm512_max_ps(lo, x));
        _mm512_mask_storeu_ps(c, mask, x);
    }
}

ALWAYS_INLINE void finish_panel(const block *t, size_t i, const int32_t *sums, size_t rows,
                                bool prelu, bool has_residual)
{
    if (t->vectors == 2) {
        finish_vector(t, i, t->j, sums, rows, 0xFFFF, prelu, has_residual);
        sums += TILE_LANES;
    }
    finish_vector(t, i, t->j + (t->vectors - 1) * TILE_LANES, sums, rows, t->columns, prelu,
                  has_residual);
}

static void finish_plain(const block *t, size_t i, const int32_t *sums, size_t rows)
{
    finish_panel(t, i, sums, rows, false, false);
}

static void finish_plain_residual(const block *t, size_t i, const int32_t *sums, size_t rows)
{
    finish_panel(t, i, sums, rows, false, true);
}

static void finish_prelu(const block *t, size_t i, const int32_t *sums, size_t rows)
{
    finish_panel(t, i, sums, rows, true, false);
}

static finish_fn *choose_finish(const void *layer, size_t vectors, __mmask16 columns)
{
    const ufk_epilogue *e = &((const ufk_hconv_args *)layer)->epilogue;
    if (e->act <= UFK_ACT_CLAMP)
        return e->residual ? finish_plain_residual : finish_plain;
    return e->act == UFK_ACT_PRELU && !e->residual ? finish_prelu : finish_any;
}

static void ufk_conv_bf16_amx(const ufk_hconv_args *args)
{
    const size_t bytes = sizeof *args->a;
    const operands o = {.a = (const uint8_t *)args->a,
                        .a_stride = args->a_stride * bytes,
                        .a_line_stride = args->a_line_stride * bytes,
                        .lines = args->lines,
                        .runs_y = args->runs_y,
                        .run_stride_y = args->run_stride_y * bytes,
                        .runs_x = args->runs_x,
                        .run_stride_x = args->run_stride_x * bytes,
                        .run_length = args->run_length * bytes,
                        .b = (const uint8_t *)args->b,
                        .a_low = args->a_low * bytes,
                        .b_low = args->b_low * bytes,
                        .m = args->m,
                        .n = args->n};
    walk_operands(&o, args, choose_finish);
}

static void ufk_narrow_bf16_amx(uint16_t *out, uint16_t *low, const float *in, size_t count)
{
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        const __m512bh x =
            _mm512_cvtne2ps_pbh(_mm512_loadu_ps(in + i + 16), _mm512_loadu_ps(in + i));
        _mm512_storeu_si512(out + i, (__m512i)x);
    }
    for (; i < count; i += 16) {
        const __mmask16 mask = first_lanes(count - i);
        const __m256bh x = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, in + i));
        _mm256_mask_storeu_epi16(out + i, mask, (__m256i)x);
    }
}

/* ---- FP16 and FP32 as pairs of BF16 ----
 *
 * A number of FP16 has 11 bits, one of BF16 8: two of these, the nearest one and the nearest to
 * what is left, hold the first exactly, and the first 16 bits of an FP32 number, without FP16's
 * limits of range. The product of the low parts, which is left out, is below 2^-16 of the whole. */

/* What the high parts are rounded from: beyond the largest number of BF16 that one would become
 * infinite. Bounds come first, which lets NaN through. */
ALWAYS_INLINE __m512 bounded(__m512 x)
{
    const __m512 most = _mm512_set1_ps(UFK_BF16_MOST), least = _mm512_set1_ps(-UFK_BF16_MOST);
    return _mm512_min_ps(most, _mm512_max_ps(least, x));
}

/* What is left of 16 numbers whose nearest ones are `high`; of NaN nothing. */
ALWAYS_INLINE __m512 rest_of(__m512 x, __m256i high)
{
    const __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16);
    const __m512 rest = _mm512_sub_ps(x, _mm512_castsi512_ps(wide));
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(rest, rest, _CMP_ORD_Q), rest);
}

static void ufk_split_bf16_amx(uint16_t *out, uint16_t *low, const float *in, size_t count)
{
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        const __m512 x = _mm512_loadu_ps(in + i), y = _mm512_loadu_ps(in + i + 16);
        const __m512i high = (__m512i)_mm512_cvtne2ps_pbh(bounded(y), bounded(x));
        const __m512bh rest = _mm512_cvtne2ps_pbh(rest_of(y, _mm512_extracti64x4_epi64(high, 1)),
                                                  rest_of(x, _mm512_castsi512_si256(high)));
        _mm512_storeu_si512(out + i, high);
        _mm512_storeu_si512(low + i, (__m512i)rest);
    }
    for (; i < count; i += 16) {
        const __mmask16 mask = first_lanes(count - i);
        const __m512 x = _mm512_maskz_loadu_ps(mask, in + i);
        const __m256i high = (__m256i)_mm512_cvtneps_pbh(bounded(x));
        _mm256_mask_storeu_epi16(out + i, mask, high);
        _mm256_mask_storeu_epi16(low + i, mask, (__m256i)_mm512_cvtneps_pbh(rest_of(x, high)));
    }
}

void ufk_hconv_select_amx(ufk_table *t)
{
    t->bf16 = (ufk_hconv){.nr = TILE_PANEL,
                          .nu = TILE_LANES,
                          .mr = BLOCK_ROWS,
                          .group = 2,
                          .pays = true,
                          .conv = ufk_conv_bf16_amx,
                          .narrow = ufk_narrow_bf16_amx,
                          .name = "conv_bf16_amx"};
    t->f16 = t->bf16;
    t->f16.pairs = true;
    t->f16.narrow = ufk_split_bf16_amx;
    t->f16.name = "conv_f16_amx";
    t->bf16x3 = t->f16;
    t->bf16x3.pays = (t->flags & UFI_CPU_BF16X3) != 0;
    t->bf16x3.name = "conv_bf16x3_amx";
}
