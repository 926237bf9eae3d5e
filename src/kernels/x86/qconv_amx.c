/*
 * INT8 convolution for AMX: blocks of 32 pixels x 32 columns in four tiles of 16 x 16 sums, 64 k a
 * step: two tiles of pixels and two of weights are loaded for four multiplications, 65536 products
 * in 15 instructions.
 *
 * A configuration of the tiles costs hundreds of cycles and clears them, so there is one a call,
 * and everything is cut such that one shape fits all. Rows are spread evenly over the tiles; where
 * they do not fill the last one, it starts earlier and computes some pixels twice (which are not
 * finished twice: the residual may be the output). The k of a run are spread evenly over its steps;
 * where they do not fill the last one, it starts earlier too, on a copy of the pixels in which the
 * k that were done are zero. So nothing outside the operands is ever read. Runs so short that all
 * of them fit into one step (the first layer of a network) are joined by copying.
 *
 * On layers of small K what follows the sums takes longer than the sums. It is AVX-512 code that
 * works on a copy of a block's sums in the first-level cache, and comes behind the multiplications
 * of the next block, so that the processor can do both at once.
 *
 * The panels are those of AVX-512 VNNI: its kernel takes over where there is too little to do.
 * Verified under an emulator; what is said of cycles is not measured yet.
 */
#include <string.h>

#include "kernels/topics.h"
#include "kernels/x86/qconv_avx512.h"

enum {
    TILE_ROWS = 16,
    TILE_GROUPS = 16, /* groups of four k */
    ROW_BYTES = 64,
    BLOCK_ROWS = 2 * TILE_ROWS,
    FINISH_ROWS = 4,
    /* Fewer products than this do not pay for the configuration (an estimate: about 300 cycles in
     * which AVX-512 VNNI does some 200 products each). */
    FEWEST_PRODUCTS = 1 << 16
};

/* Tiles: sums of pixel tile p and vector v are 2 p + v. The intrinsics want literals. */
#define PIXELS_0 4
#define PIXELS_1 5
#define WEIGHTS_0 6
#define WEIGHTS_1 7

/* What ldtilecfg reads. */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* How a call is cut. */
typedef struct walk {
    const ufk_qconv_args *args;
    ufk_qconv_args source; /* args, or where they are read from when runs are joined */
    size_t column_bytes, tile_rows, tiles;
    size_t groups, step; /* groups of four k: of a run, of a step */
    size_t whole_steps;  /* of a run: those that need no copy */
    __mmask64 last_mask; /* what the last step is to copy of its k; 0: there is none */
    bool joined;
} walk;

/* Up to two tiles of pixels times one or two vectors of weights. */
typedef struct block {
    ufk_qplace place; /* of the pixels that no block before had */
    size_t done;      /* pixels before those */
    size_t rows;      /* all */
    size_t second;    /* first pixel of the second tile */
    size_t tiles, vectors;
    const uint8_t *a;
    const int8_t *b;
} block;

/* gcc does not know what the tile instructions read: keeps stores on their side. */
ALWAYS_INLINE void compiler_fence(void)
{
    __asm__ volatile("" ::: "memory");
}

/* ---- sums ---- */

/* `rows` rows of 64 bytes: those of `from` that `take` names, zeros else; of which `keep` are
 * written. */
ALWAYS_INLINE void copy_rows(uint8_t *to, __mmask64 keep, const uint8_t *from, size_t stride,
                             __mmask64 take, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        _mm512_mask_storeu_epi8(to + r * ROW_BYTES, keep,
                                _mm512_maskz_loadu_epi8(take, from + r * stride));
}

/* sums += pixels * weights, one step of k. */
ALWAYS_INLINE void multiply(const uint8_t *a, size_t stride, size_t second, const int8_t *b,
                            int tiles, int vectors)
{
    const size_t b_stride = (size_t)vectors * UFK_QGROUP_BYTES;
    _tile_loadd(WEIGHTS_0, b, b_stride);
    _tile_loadd(PIXELS_0, a, stride);
    _tile_dpbusd(0, PIXELS_0, WEIGHTS_0);
    if (vectors == 2) {
        _tile_loadd(WEIGHTS_1, b + UFK_QGROUP_BYTES, b_stride);
        _tile_dpbusd(1, PIXELS_0, WEIGHTS_1);
    }
    if (tiles == 2) {
        _tile_loadd(PIXELS_1, a + second * stride, stride);
        _tile_dpbusd(2, PIXELS_1, WEIGHTS_0);
        if (vectors == 2)
            _tile_dpbusd(3, PIXELS_1, WEIGHTS_1);
    }
}

/* The last step of a run, which starts where a whole step is left. */
ALWAYS_INLINE void multiply_last(const walk *w, const block *t, const uint8_t *a, const int8_t *b,
                                 int tiles, int vectors)
{
    _Alignas(ROW_BYTES) uint8_t copy[BLOCK_ROWS * ROW_BYTES];
    const size_t first = w->groups - w->step;
    copy_rows(copy, UINT64_MAX, a + 4 * first, w->source.a_stride, w->last_mask, t->rows);
    compiler_fence();
    multiply(copy, ROW_BYTES, t->second, b + first * (size_t)vectors * UFK_QGROUP_BYTES, tiles,
             vectors);
    compiler_fence();
}

ALWAYS_INLINE void accumulate(const walk *w, const block *t, int tiles, int vectors)
{
    const ufk_qconv_args *g = &w->source;
    const size_t group_bytes = (size_t)vectors * UFK_QGROUP_BYTES;
    const int8_t *b = t->b;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t y = 0; y < g->runs_y; y++)
        for (size_t x = 0; x < g->runs_x; x++) {
            const uint8_t *a = t->a + y * g->run_stride_y + x * g->run_stride_x;
            for (size_t s = 0; s < w->whole_steps; s++)
                multiply(a + s * w->step * 4, g->a_stride, t->second, b + s * w->step * group_bytes,
                         tiles, vectors);
            if (w->last_mask)
                multiply_last(w, t, a, b, tiles, vectors);
            b += w->groups * group_bytes;
        }
}

/* Rows that both tiles have are the same in both. */
ALWAYS_INLINE void store_sums(int32_t *sums, size_t second, int tiles, int vectors)
{
    const size_t stride = UFK_QPANEL * sizeof *sums;
    if (tiles == 2) {
        int32_t *p = sums + second * UFK_QPANEL;
        _tile_stored(2, p, stride);
        if (vectors == 2)
            _tile_stored(3, p + UFK_QLANES, stride);
    }
    _tile_stored(0, sums, stride);
    if (vectors == 2)
        _tile_stored(1, sums + UFK_QLANES, stride);
}

/* ---- what follows them ---- */

ALWAYS_INLINE void finish_rows(const ufk_qplace *place, const int32_t *sums, int rows, int vectors)
{
    __m512i sum[FINISH_ROWS][UFK_QVECTORS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            sum[r][v] = _mm512_load_si512(sums + r * UFK_QPANEL + v * UFK_QLANES);
    }
    ufk_finish_tile(place, sum, rows, vectors);
}

ALWAYS_INLINE void finish_block(const block *t, const int32_t *sums, int vectors)
{
    ufk_qplace place = t->place;
    size_t left = t->rows - t->done;
    sums += t->done * UFK_QPANEL;
    for (; left >= FINISH_ROWS; left -= FINISH_ROWS) {
        finish_rows(&place, sums, FINISH_ROWS, vectors);
        place.i += FINISH_ROWS;
        sums += FINISH_ROWS * UFK_QPANEL;
    }
    for (; left; left--, place.i++, sums += UFK_QPANEL)
        finish_rows(&place, sums, 1, vectors);
}

static void finish_pending(const block *t, const int32_t *sums)
{
    if (t->vectors == 2)
        finish_block(t, sums, 2);
    else if (t->vectors == 1)
        finish_block(t, sums, 1);
}

/* Multiplies `next`, meanwhile finishes what lies in `sums`, then puts next's sums there. */
ALWAYS_INLINE void block_body(const walk *w, const block *pending, const block *next, int32_t *sums,
                              int tiles, int vectors)
{
    accumulate(w, next, tiles, vectors);
    finish_pending(pending, sums);
    store_sums(sums, next->second, tiles, vectors);
}

#define BLOCK(tiles, vectors)                                                            \
    static void block_##tiles##x##vectors(const walk *w, const block *p, const block *n, \
                                          int32_t *sums)                                 \
    {                                                                                    \
        block_body(w, p, n, sums, tiles, vectors);                                       \
    }
BLOCK(1, 1)
BLOCK(1, 2)
BLOCK(2, 1)
BLOCK(2, 2)
static void (*const blocks[2][UFK_QVECTORS])(const walk *w, const block *pending, const block *next,
                                             int32_t *sums) = {{block_1x1, block_1x2},
                                                               {block_2x1, block_2x2}};

/* ---- the walk over blocks ---- */

static size_t ceil_div(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* An even number of tiles, or one, of equal height. */
static void cut_rows(walk *w, size_t m)
{
    w->tiles = m <= TILE_ROWS ? 1 : 2 * ceil_div(m, BLOCK_ROWS);
    w->tile_rows = ceil_div(m, w->tiles);
    w->tiles = ceil_div(m, w->tile_rows);
}

static void cut_k(walk *w, const ufk_qconv_args *args)
{
    const size_t runs = args->runs_y * args->runs_x;
    w->source = *args;
    w->groups = ceil_div(args->run_length, 4);
    w->joined = runs > 1 && runs * w->groups <= TILE_GROUPS;
    if (w->joined) {
        w->groups *= runs;
        w->source.runs_y = w->source.runs_x = 1;
        w->source.run_length = 4 * w->groups;
        w->source.a_stride = ROW_BYTES;
    }
    w->step = ceil_div(w->groups, ceil_div(w->groups, TILE_GROUPS));
    w->whole_steps = w->source.run_length / 4 / w->step;
    const size_t done = w->whole_steps * w->step, first = w->groups - w->step;
    if (done < w->groups)
        w->last_mask = UINT64_MAX >> (ROW_BYTES - (w->source.run_length - 4 * first)) &
                       UINT64_MAX << 4 * (done - first);
}

static void load_config(const walk *w)
{
    tile_config c = {.palette = 1};
    for (int t = 0; t < 4; t++) {
        c.rows[t] = (uint8_t)w->tile_rows;
        c.row_bytes[t] = UFK_QGROUP_BYTES;
    }
    for (int t = PIXELS_0; t <= PIXELS_1; t++) {
        c.rows[t] = (uint8_t)w->tile_rows;
        c.row_bytes[t] = (uint16_t)(4 * w->step);
    }
    for (int t = WEIGHTS_0; t <= WEIGHTS_1; t++) {
        c.rows[t] = (uint8_t)w->step;
        c.row_bytes[t] = UFK_QGROUP_BYTES;
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(c));
}

/* All runs of `rows` pixels from `a` on, one behind the other. */
static void join_runs(uint8_t *to, const ufk_qconv_args *args, const uint8_t *a, size_t rows)
{
    const size_t bytes = ceil_div(args->run_length, 4) * 4;
    const __mmask64 take = UINT64_MAX >> (ROW_BYTES - args->run_length);
    const __mmask64 keep = UINT64_MAX >> (ROW_BYTES - bytes);
    for (size_t y = 0; y < args->runs_y; y++)
        for (size_t x = 0; x < args->runs_x; x++, to += bytes)
            copy_rows(to, keep, a + y * args->run_stride_y + x * args->run_stride_x, args->a_stride,
                      take, rows);
    compiler_fence();
}

/* Pixel tiles `tile` and, if there is one, tile + 1. */
static block begin_block(const walk *w, size_t tile)
{
    const size_t m = w->args->m, last = m - w->tile_rows, new_row = tile * w->tile_rows;
    const size_t first = new_row < last ? new_row : last;
    block t = {.place = {.args = w->args, .i = new_row},
               .done = new_row - first,
               .rows = w->tile_rows,
               .tiles = tile + 1 < w->tiles ? 2 : 1,
               .a = w->args->a + first * w->args->a_stride};
    if (t.tiles == 2) {
        const size_t next = new_row + w->tile_rows;
        t.second = (next < last ? next : last) - first;
        t.rows += t.second;
    }
    return t;
}

static void walk_blocks(const walk *w, size_t j_begin, size_t j_end)
{
    _Alignas(ROW_BYTES) int32_t sums[BLOCK_ROWS * UFK_QPANEL];
    _Alignas(ROW_BYTES) uint8_t joined[BLOCK_ROWS * ROW_BYTES];
    block pending = {.vectors = 0};
    for (size_t tile = 0; tile < w->tiles; tile += 2) {
        block t = begin_block(w, tile);
        if (w->joined) {
            join_runs(joined, w->args, t.a, t.rows);
            t.a = joined;
        }
        for (size_t j = j_begin; j < j_end; j += UFK_QPANEL) {
            const size_t columns = j_end - j < UFK_QPANEL ? j_end - j : UFK_QPANEL;
            t.vectors = ceil_div(columns, UFK_QLANES);
            const size_t tail = columns - (t.vectors - 1) * UFK_QLANES;
            t.place.j = j;
            t.place.columns = (__mmask16)(0xFFFFu >> (UFK_QLANES - tail));
            t.b = w->args->b + j * w->column_bytes + t.vectors * UFK_QLANES * sizeof(int32_t);
            blocks[t.tiles - 1][t.vectors - 1](w, &pending, &t, sums);
            pending = t;
        }
    }
    finish_pending(&pending, sums);
}

static void ufk_conv_u8_amx(const ufk_qconv_args *args)
{
    const size_t runs = args->runs_y * args->runs_x;
    if (args->m * args->n * runs * args->run_length < FEWEST_PRODUCTS) {
        ufk_conv_u8_avx512vnni(args);
        return;
    }
    walk w = {.args = args, .column_bytes = ufk_qconv_column_bytes(runs, args->run_length)};
    cut_rows(&w, args->m);
    cut_k(&w, args);
    load_config(&w);
    size_t width = UFK_QWEIGHT_BLOCK_BYTES / w.column_bytes / UFK_QPANEL * UFK_QPANEL;
    if (width < UFK_QPANEL)
        width = UFK_QPANEL;
    for (size_t j = 0; j < args->n; j += width)
        walk_blocks(&w, j, args->n - j < width ? args->n : j + width);
    _tile_release();
}

void ufk_qconv_select_amx(ufk_table *t)
{
    t->qconv_nr = UFK_QPANEL;
    t->qconv_nu = UFK_QLANES;
    t->qconv_mr = BLOCK_ROWS;
    t->conv_u8 = ufk_conv_u8_amx;
    t->conv_u8_name = "conv_u8_amx";
}
