/*
 * What follows the sums of INT8 convolutions, for panels of 32 columns in 512 bits. Included by
 * files that are compiled for AVX-512; everything is inlined into them or local to them. Floor 2.
 */
#ifndef UFK_X86_QCONV_AVX512_H
#define UFK_X86_QCONV_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>

#include "kernels/kernels.h"
#include "kernels/x86/inline.h"

enum {
    UFK_QLANES = 16,
    UFK_QVECTORS = 2,
    UFK_QPANEL = UFK_QVECTORS * UFK_QLANES,
    UFK_QGROUP_BYTES = UFK_QLANES * 4, /* one vector of weights: 16 columns, four k */
    UFK_QWEIGHT_BLOCK_BYTES = 512 * 1024
};

/* Where the sums of one tile belong. */
typedef struct ufk_qplace {
    const ufk_qconv_args *args;
    bool tame;         /* ufk_is_tame(args) */
    uint32_t lo, hi;   /* of the epilogue, as four equal bytes */
    size_t i, j;       /* first pixel, first column */
    __mmask16 columns; /* of the last vector */
} ufk_qplace;

/* One vector of columns: what all its rows share. */
typedef struct ufk_columns16 {
    __m512 scale, bias, slope;
} ufk_columns16;

ALWAYS_INLINE ufk_columns16 ufk_load_columns16(const ufk_qepilogue *e, size_t j, __mmask16 mask)
{
    ufk_columns16 c = {_mm512_maskz_loadu_ps(mask, e->scale + j),
                       _mm512_maskz_loadu_ps(mask, e->bias + j), _mm512_setzero_ps()};
    if (e->act == UFK_ACT_PRELU)
        c.slope = _mm512_maskz_loadu_ps(mask, e->slope + j);
    return c;
}

/* Whether no value of `n` columns comes near 2^31 whatever the sums of `depth` products are. Then
 * lo and hi can wait for the bytes: conversion is exact but for rounding, rounding keeps order, and
 * packing saturates. */
static inline bool ufk_is_tame(const ufk_qepilogue *e, size_t n, size_t depth)
{
    const __m512 sum = _mm512_set1_ps(255.0f * 128.0f * (float)depth), one = _mm512_set1_ps(1);
    const __m512 rest = _mm512_set1_ps(e->residual ? 255.0f * fabsf(e->residual_scale) : 0);
    __mmask16 tame = 0xFFFF;
    for (size_t j = 0; j < n; j += UFK_QLANES) {
        const __mmask16 mask = n - j < UFK_QLANES ? (__mmask16)(0xFFFF >> (16 - (n - j))) : 0xFFFF;
        const ufk_columns16 c = ufk_load_columns16(e, j, mask);
        __m512 most = _mm512_fmadd_ps(sum, _mm512_abs_ps(c.scale), _mm512_abs_ps(c.bias));
        most = _mm512_add_ps(most, rest);
        if (e->act == UFK_ACT_PRELU) {
            most = _mm512_mul_ps(most, _mm512_max_ps(one, _mm512_abs_ps(c.slope)));
            most = _mm512_fmadd_ps(most, _mm512_set1_ps(fabsf(e->out_scale)),
                                   _mm512_set1_ps(fabsf(e->zero)));
        }
        tame &= _mm512_cmp_ps_mask(most, _mm512_set1_ps(1 << 30), _CMP_LT_OQ);
    }
    return tame == 0xFFFF;
}

/* What ufk_qfinish does before lo and hi, for 16 columns. */
ALWAYS_INLINE __m512 ufk_finish16(const ufk_qepilogue *e, const ufk_columns16 *c, __m512i sum,
                                  const uint8_t *residual, __mmask16 mask)
{
    __m512 v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), c->scale, c->bias);
    if (residual) {
        const __m512i r = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, residual));
        v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(r), _mm512_set1_ps(e->residual_scale), v);
    }
    if (e->act == UFK_ACT_PRELU) {
        const __mmask16 negative = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ);
        v = _mm512_mask_mul_ps(v, negative, v, c->slope);
        v = _mm512_fmadd_ps(v, _mm512_set1_ps(e->out_scale), _mm512_set1_ps(e->zero));
    } else if (e->act == UFK_ACT_HARD_SWISH) {
        __m512 gate = _mm512_fmadd_ps(v, _mm512_set1_ps(1.0f / 6), _mm512_set1_ps(0.5f));
        gate = _mm512_max_ps(gate, _mm512_setzero_ps());
        v = _mm512_mul_ps(v, _mm512_min_ps(gate, _mm512_set1_ps(1.0f)));
        v = _mm512_fmadd_ps(v, _mm512_set1_ps(e->out_scale), _mm512_set1_ps(e->zero));
    }
    return v;
}

/* Any columns, any output, one vector after the other; rows of sums are `row` apart. */
static __attribute__((noinline)) void ufk_finish_any(const ufk_qplace *t, const int32_t *sums,
                                                     size_t row, size_t rows, size_t vectors)
{
    const ufk_qconv_args *g = t->args;
    const ufk_qepilogue *e = &g->epilogue;
    for (size_t v = 0; v < vectors; v++) {
        const size_t j = t->j + v * UFK_QLANES;
        const __mmask16 mask = v + 1 == vectors ? t->columns : 0xFFFF;
        const ufk_columns16 columns = ufk_load_columns16(e, j, mask);
        for (size_t r = 0; r < rows; r++) {
            const size_t i = t->i + r;
            const __m512i sum = _mm512_loadu_si512(sums + r * row + v * UFK_QLANES);
            const uint8_t *residual = e->residual ? e->residual + i * e->residual_stride + j : NULL;
            __m512 x = ufk_finish16(e, &columns, sum, residual, mask);
            x = _mm512_max_ps(x, _mm512_set1_ps(e->lo));
            x = _mm512_min_ps(x, _mm512_set1_ps(e->hi));
            if (g->c_f32)
                _mm512_mask_storeu_ps(g->c_f32 + i * g->c_stride + j, mask, x);
            else
                _mm_mask_storeu_epi8(g->c + i * g->c_stride + j, mask,
                                     _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
        }
    }
}

static inline ufk_qplace ufk_place(const ufk_qconv_args *g)
{
    const uint32_t lo = (uint32_t)_mm_cvtss_si32(_mm_set_ss(g->epilogue.lo));
    const uint32_t hi = (uint32_t)_mm_cvtss_si32(_mm_set_ss(g->epilogue.hi));
    const uint32_t each = 0x01010101;
    const size_t depth = g->runs_y * g->runs_x * g->run_length;
    return (ufk_qplace){.args = g,
                        .tame = ufk_is_tame(&g->epilogue, g->n, depth),
                        .lo = lo * each,
                        .hi = hi * each};
}

/* lo and hi in bytes. */
typedef struct ufk_qbounds {
    __m512i lo, hi;
} ufk_qbounds;

ALWAYS_INLINE ufk_qbounds ufk_load_bounds(const ufk_qplace *t)
{
    return (ufk_qbounds){_mm512_set1_epi32((int)t->lo), _mm512_set1_epi32((int)t->hi)};
}

/* Two rows of 32 columns, given as four vectors of tame numbers, to 64 bytes in order. */
ALWAYS_INLINE __m512i ufk_narrow(__m512i a, __m512i b, __m512i c, __m512i d, ufk_qbounds bounds)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    bytes = _mm512_min_epu8(_mm512_max_epu8(bytes, bounds.lo), bounds.hi);
    return _mm512_permutexvar_epi32(order, bytes);
}

/* Whole panels to bytes, without leaving the registers. `act` is a constant where this is inlined,
 * so that each activation gets its own code. */
ALWAYS_INLINE void ufk_finish_whole(const ufk_qplace *t, __m512i sum[][UFK_QVECTORS], int rows,
                                    ufk_act act, bool has_residual)
{
    const ufk_qconv_args *g = t->args;
    ufk_qepilogue e = g->epilogue;
    e.act = act;
    const ufk_columns16 columns[2] = {ufk_load_columns16(&e, t->j, 0xFFFF),
                                      ufk_load_columns16(&e, t->j + UFK_QLANES, 0xFFFF)};
    const ufk_qbounds bounds = ufk_load_bounds(t);
    const uint8_t *residual = e.residual + (has_residual ? t->i * e.residual_stride + t->j : 0);
    uint8_t *c = g->c + t->i * g->c_stride + t->j;
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < 2; v++)
            sum[r][v] = _mm512_cvtps_epi32(
                ufk_finish16(&e, &columns[v], sum[r][v],
                             has_residual ? residual + v * UFK_QLANES : NULL, 0xFFFF));
        residual += has_residual ? e.residual_stride : 0;
    }
    UNROLL
    for (int r = 0; r < rows; r += 2) {
        const int next = r + 1 < rows ? r + 1 : r;
        const __m512i bytes = ufk_narrow(sum[r][0], sum[r][1], sum[next][0], sum[next][1], bounds);
        _mm256_storeu_si256((__m256i *)(void *)c, _mm512_castsi512_si256(bytes));
        c += g->c_stride;
        if (r + 1 < rows)
            _mm256_storeu_si256((__m256i *)(void *)c, _mm512_extracti64x4_epi64(bytes, 1));
        c += g->c_stride;
    }
}

/* One vector of columns, perhaps not all of it, to bytes: four rows at a time. */
ALWAYS_INLINE void ufk_finish_narrow(const ufk_qplace *t, __m512i sum[][UFK_QVECTORS], int rows,
                                     ufk_act act)
{
    const ufk_qconv_args *g = t->args;
    ufk_qepilogue e = g->epilogue;
    e.act = act;
    const ufk_columns16 columns = ufk_load_columns16(&e, t->j, t->columns);
    const ufk_qbounds bounds = ufk_load_bounds(t);
    uint8_t *c = g->c + t->i * g->c_stride + t->j;
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r][0] = _mm512_cvtps_epi32(ufk_finish16(&e, &columns, sum[r][0], NULL, 0xFFFF));
    UNROLL
    for (int r = 0; r < rows; r += 4) {
        const int last = rows - 1;
        const __m512i bytes = ufk_narrow(sum[r][0], sum[r + 1 < rows ? r + 1 : last][0],
                                         sum[r + 2 < rows ? r + 2 : last][0],
                                         sum[r + 3 < rows ? r + 3 : last][0], bounds);
        _mm_mask_storeu_epi8(c, t->columns, _mm512_castsi512_si128(bytes));
        if (r + 1 < rows)
            _mm_mask_storeu_epi8(c + g->c_stride, t->columns, _mm512_extracti32x4_epi32(bytes, 1));
        if (r + 2 < rows)
            _mm_mask_storeu_epi8(c + 2 * g->c_stride, t->columns,
                                 _mm512_extracti32x4_epi32(bytes, 2));
        if (r + 3 < rows)
            _mm_mask_storeu_epi8(c + 3 * g->c_stride, t->columns,
                                 _mm512_extracti32x4_epi32(bytes, 3));
        c += 4 * g->c_stride;
    }
}

/* Everything that follows the sums of `rows` pixels; rows (at most 14) and vectors are constants
 * where this is inlined. */
ALWAYS_INLINE void ufk_finish_tile(const ufk_qplace *t, __m512i sum[][UFK_QVECTORS], int rows,
                                   int vectors)
{
    enum { MOST_ROWS = 14 };
    const ufk_qepilogue *e = &t->args->epilogue;
    const bool bytes = t->tame && !t->args->c_f32;
    const bool whole = bytes && vectors == 2 && t->columns == 0xFFFF;
    const bool narrow_bytes = bytes && vectors == 1 && !e->residual;
    if (narrow_bytes && e->act <= UFK_ACT_CLAMP) {
        ufk_finish_narrow(t, sum, rows, UFK_ACT_NONE);
    } else if (narrow_bytes && e->act == UFK_ACT_PRELU) {
        ufk_finish_narrow(t, sum, rows, UFK_ACT_PRELU);
    } else if (whole && e->act <= UFK_ACT_CLAMP && !e->residual) {
        ufk_finish_whole(t, sum, rows, UFK_ACT_NONE, false);
    } else if (whole && e->act <= UFK_ACT_CLAMP) {
        ufk_finish_whole(t, sum, rows, UFK_ACT_NONE, true);
    } else if (whole && e->act == UFK_ACT_PRELU && !e->residual) {
        ufk_finish_whole(t, sum, rows, UFK_ACT_PRELU, false);
    } else {
        __m512i spill[MOST_ROWS * UFK_QVECTORS];
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors; v++)
                spill[r * vectors + v] = sum[r][v];
        }
        ufk_finish_any(t, (const int32_t *)(const void *)spill, (size_t)vectors * UFK_QLANES,
                       (size_t)rows, (size_t)vectors);
    }
}

#endif
