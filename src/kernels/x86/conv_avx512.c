/*
 * Convolution as GEMM over runs, AVX-512. A register tile is up to 14 pixels by 32 columns: 28
 * accumulators, two vectors of B and one broadcast of A, which is loaded once and used twice, so
 * the two FMA units are the limit, not the loads. Tails in m have tiles of their own size; tails in
 * n store under a mask (packed B is padded with zeros).
 *
 * Panels go outermost: a panel of B (K x 32) stays in the first or second level of cache while all
 * tiles of A pass; the caller cuts m such that A stays in the second.
 */
#include <immintrin.h>

#include "kernels/topics.h"
#include "kernels/x86/epilogue_avx512.h"

#define MR 14
#define NR 32

typedef struct tile_out {
    float *c;
    size_t c_stride;
    const float *residual;
    const ufk_epilogue *e;
    size_t column; /* first column of the panel */
    __mmask16 mask[2];
} tile_out;

/* Bias, residual, activation and store of one vector column of a tile. */
static inline __attribute__((always_inline)) void finish(const tile_out *o, const __m512 *acc,
                                                         int rows, int half)
{
    const ufk_epilogue *e = o->e;
    size_t column = o->column + (size_t)half * 16;
    __mmask16 mask = o->mask[half];
    if (!mask)
        return;
    __m512 bias = _mm512_setzero_ps(), slope = _mm512_setzero_ps();
    if (e->bias)
        bias = _mm512_maskz_loadu_ps(mask, e->bias + column);
    if (e->act == UFK_ACT_PRELU)
        slope = _mm512_maskz_loadu_ps(mask, e->slope + column);
    for (int i = 0; i < rows; i++) {
        __m512 v = _mm512_add_ps(acc[i], bias);
        if (o->residual)
            v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(
                                     mask, o->residual + (size_t)i * e->residual_stride + column));
        _mm512_mask_storeu_ps(o->c + (size_t)i * o->c_stride + column, mask,
                              ufk_activate_avx512(e, v, slope));
    }
}

/* Inlined for each ROWS, so that the accumulators are registers. */
static inline __attribute__((always_inline)) void
tile(const ufk_conv_args *p, const float *a, const float *b, const tile_out *o, const int rows)
{
    __m512 lo[MR], hi[MR];
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++)
        lo[i] = hi[i] = _mm512_setzero_ps();
    for (size_t y = 0; y < p->runs_y; y++)
        for (size_t x = 0; x < p->runs_x; x++) {
            const float *run = a + y * p->run_stride_y + x * p->run_stride_x;
            for (size_t k = 0; k < p->run_length; k++, b += NR) {
                __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + 16);
#pragma GCC unroll 14
                for (int i = 0; i < rows; i++) {
                    __m512 v = _mm512_set1_ps(run[(size_t)i * p->a_stride + k]);
                    lo[i] = _mm512_fmadd_ps(v, b0, lo[i]);
                    hi[i] = _mm512_fmadd_ps(v, b1, hi[i]);
                }
            }
        }
    finish(o, lo, rows, 0);
    finish(o, hi, rows, 1);
}

#define TILE(rows)                                                                  \
    static void tile_##rows(const ufk_conv_args *p, const float *a, const float *b, \
                            const tile_out *o)                                      \
    {                                                                               \
        tile(p, a, b, o, rows);                                                     \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)
TILE(13)
TILE(14)

typedef void tile_fn(const ufk_conv_args *p, const float *a, const float *b, const tile_out *o);
static tile_fn *const tiles[MR + 1] = {NULL,    tile_1,  tile_2,  tile_3,  tile_4,
                                       tile_5,  tile_6,  tile_7,  tile_8,  tile_9,
                                       tile_10, tile_11, tile_12, tile_13, tile_14};

static __mmask16 columns_mask(size_t left)
{
    return left >= 16 ? 0xFFFF : (__mmask16)((1u << left) - 1);
}

static void ufk_conv_f32_avx512(const ufk_conv_args *p)
{
    size_t depth = p->runs_y * p->runs_x * p->run_length;
    for (size_t j = 0; j < p->n; j += NR) {
        const float *b = p->b + j * depth;
        size_t left = p->n - j;
        tile_out o = {.c_stride = p->c_stride, .e = &p->epilogue, .column = j};
        o.mask[0] = columns_mask(left);
        o.mask[1] = left > 16 ? columns_mask(left - 16) : 0;
        for (size_t i = 0; i < p->m; i += MR) {
            size_t rows = p->m - i < MR ? p->m - i : MR;
            o.c = p->c + i * p->c_stride;
            o.residual = p->epilogue.residual;
            if (o.residual)
                o.residual += i * p->epilogue.residual_stride;
            tiles[rows](p, p->a + i * p->a_stride, b, &o);
        }
    }
}

void ufk_conv_select_avx512(ufk_table *t)
{
    t->conv_nr = NR;
    t->conv_mr = MR;
    t->conv_f32 = ufk_conv_f32_avx512;
    t->conv_f32_name = "conv_f32_avx512";
}
