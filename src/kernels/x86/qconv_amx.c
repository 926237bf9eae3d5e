/*
 * INT8 convolution for AMX: the walk of amx_walk.h, 65536 products in 15 instructions.
 *
 * The panels are those of AVX-512 VNNI: its kernel takes over where there is too little to do.
 */
#include <string.h>

#include "kernels/topics.h"
#include "kernels/x86/qconv_avx512.h"

#define UFK_TILE_MULTIPLY _tile_dpbusd
#define UFK_TILE_PAIRS 0
#include "kernels/x86/amx_walk.h"

/* Below so many products or rows AVX-512 VNNI is faster (measured): a configuration takes as long
 * as some 100,000 of them, and a tile of few rows as long to load as a full one. */
enum { FEWEST_PRODUCTS = 1 << 18, FEWEST_ROWS = 8 };

/* The place of a block, from output pixel `i` on. */
ALWAYS_INLINE ufk_qplace place_of(const block *t, size_t i)
{
    ufk_qplace place = *(const ufk_qplace *)t->layer;
    place.i = i;
    place.j = t->j;
    place.columns = t->columns;
    return place;
}

static void finish_any(const block *t, size_t i, const int32_t *sums, size_t rows)
{
    const ufk_qplace place = place_of(t, i);
    ufk_finish_any(&place, sums, UFK_QPANEL, rows, t->vectors);
}

/* Columns of a whole panel, some rows at a time. */
ALWAYS_INLINE void finish_panel(const block *t, size_t i, const int32_t *sums, size_t rows,
                                ufk_act act, bool has_residual)
{
    ufk_qplace place = place_of(t, i);
    __m512i sum[FINISH_ROWS][UFK_QVECTORS];
    for (; rows >= FINISH_ROWS; rows -= FINISH_ROWS, place.i += FINISH_ROWS) {
        UNROLL
        for (int v = 0; v < FINISH_ROWS * UFK_QVECTORS; v++, sums += UFK_QLANES)
            sum[v / UFK_QVECTORS][v % UFK_QVECTORS] = _mm512_load_si512(sums);
        ufk_finish_whole(&place, sum, FINISH_ROWS, act, has_residual);
    }
    for (; rows > 0; rows--, place.i++, sums += UFK_QPANEL) {
        sum[0][0] = _mm512_load_si512(sums);
        sum[0][1] = _mm512_load_si512(sums + UFK_QLANES);
        ufk_finish_whole(&place, sum, 1, act, has_residual);
    }
}

static void finish_plain(const block *t, size_t i, const int32_t *sums, size_t rows)
{
    finish_panel(t, i, sums, rows, UFK_ACT_NONE, false);
}

static void finish_plain_residual(const block *t, size_t i, const int32_t *sums, size_t rows)
{
    finish_panel(t, i, sums, rows, UFK_ACT_NONE, true);
}

static void finish_prelu(const block *t, size_t i, const int32_t *sums, size_t rows)
{
    finish_panel(t, i, sums, rows, UFK_ACT_PRELU, false);
}

/* 16 columns, perhaps not all of them, four rows at a time. */
ALWAYS_INLINE void finish_half(const block *t, size_t i, const int32_t *sums, size_t rows,
                               ufk_act act)
{
    ufk_qplace place = place_of(t, i);
    __m512i sum[FINISH_ROWS][UFK_QVECTORS];
    for (; rows >= FINISH_ROWS; rows -= FINISH_ROWS, place.i += FINISH_ROWS) {
        UNROLL
        for (int r = 0; r < FINISH_ROWS; r++, sums += UFK_QPANEL)
            sum[r][0] = _mm512_load_si512(sums);
        ufk_finish_narrow(&place, sum, FINISH_ROWS, act);
    }
    for (; rows > 0; rows--, place.i++, sums += UFK_QPANEL) {
        sum[0][0] = _mm512_load_si512(sums);
        ufk_finish_narrow(&place, sum, 1, act);
    }
}

static void finish_half_plain(const block *t, size_t i, const int32_t *sums, size_t rows)
{
    finish_half(t, i, sums, rows, UFK_ACT_NONE);
}

static void finish_half_prelu(const block *t, size_t i, const int32_t *sums, size_t rows)
{
    finish_half(t, i, sums, rows, UFK_ACT_PRELU);
}

static finish_fn *choose_finish(const void *layer, size_t vectors, __mmask16 columns)
{
    const ufk_qplace *place = layer;
    const ufk_qepilogue *e = &place->args->epilogue;
    const bool plain = e->act <= UFK_ACT_CLAMP, prelu = e->act == UFK_ACT_PRELU;
    if (place->args->c_f32 || !place->tame || (!plain && !prelu) || (e->residual && prelu))
        return finish_any;
    if (vectors == 1)
        return e->residual ? finish_any : plain ? finish_half_plain : finish_half_prelu;
    if (columns != 0xFFFF)
        return finish_any;
    return prelu ? finish_prelu : e->residual ? finish_plain_residual : finish_plain;
}

static void multiply_lines(const ufk_qconv_args *args)
{
    const ufk_qplace place = ufk_place(args);
    const operands bytes = {.a = args->a,
                            .a_stride = args->a_stride,
                            .a_line_stride = args->a_line_stride,
                            .lines = args->lines,
                            .runs_y = args->runs_y,
                            .run_stride_y = args->run_stride_y,
                            .runs_x = args->runs_x,
                            .run_stride_x = args->run_stride_x,
                            .run_length = args->run_length,
                            .b = (const uint8_t *)args->b,
                            .header_bytes = sizeof(int32_t),
                            .m = args->m,
                            .n = args->n};
    walk_operands(&bytes, &place, choose_finish);
}

static void ufk_conv_u8_amx(const ufk_qconv_args *args)
{
    const size_t rows = args->m * args->lines;
    const size_t depth = args->runs_y * args->runs_x * args->run_length;
    if (rows >= FEWEST_ROWS && rows * args->n * depth >= FEWEST_PRODUCTS) {
        multiply_lines(args);
        return;
    }
    for (size_t l = 0; l < args->lines; l++) {
        const ufk_qconv_args line = ufk_qconv_line(args, l);
        ufk_conv_u8_avx512vnni(&line);
    }
}

void ufk_qconv_select_amx(ufk_table *t)
{
    t->qconv_nr = UFK_QPANEL;
    t->qconv_nu = UFK_QLANES;
    t->qconv_mr = BLOCK_ROWS;
    t->qconv_lines = true;
    t->conv_u8 = ufk_conv_u8_amx;
    t->conv_u8_name = "conv_u8_amx";
}
