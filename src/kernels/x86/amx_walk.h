/*
 * Convolution on AMX, whatever the numbers are: blocks of 32 pixels x 32 columns in four tiles of
 * 16 x 16 sums of 32 bits, 64 bytes of k a step: two tiles of pixels and two of weights are loaded
 * for four multiplications. Everything is counted in bytes; what lies in four of them (four INT8 or
 * two BF16) is multiplied together.
 *
 * A configuration of the tiles costs hundreds of cycles and clears them, so there is one a call,
 * and everything is cut such that one shape fits all. Rows are spread evenly over the tiles; where
 * they do not fill the last one, it starts earlier and computes some pixels twice (which are not
 * finished twice: the residual may be the output). The k of a run are spread evenly over its steps;
 * where they do not fill the last one, it starts earlier too, on a copy of the pixels in which the
 * k that were done are zero. So nothing outside the operands is ever read. Runs so short that all
 * of them fit into one step (the first layer of a network) are joined by copying.
 *
 * Several lines of pixels are walked as one, together with the pixels between them (padding), whose
 * sums nobody finishes: so weights are read once for 32 pixels however short a line is.
 *
 * On layers of small K what follows the sums takes longer than the sums. It works on a copy of a
 * block's sums in the first-level cache, and comes behind the multiplications of the next block, so
 * that the processor can do both at once.
 *
 * Weights of deep layers are walked panel by panel, each for all pixels, while those of the next
 * one are fetched: a network's weights come from memory at every run, which would cost as long
 * again.
 *
 * Pairs of numbers are multiplied as (high + low) * (high + low) without the product of the low
 * parts.
 *
 * Included by a file that has defined UFK_TILE_MULTIPLY(sums, pixels, weights), the instruction
 * that multiplies two tiles, and UFK_TILE_PAIRS, whether it has pairs; everything is inlined into
 * it or local to it. Floor 2.
 */
#ifndef UFK_X86_AMX_WALK_H
#define UFK_X86_AMX_WALK_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/x86/amx.h"
#include "kernels/x86/inline.h"

enum {
    TILE_ROWS = UFK_TILE_ROWS,
    TILE_GROUPS = 16, /* groups of four bytes of k */
    ROW_BYTES = UFK_TILE_ROW_BYTES,
    BLOCK_ROWS = 2 * TILE_ROWS,
    TILE_LANES = 16, /* columns of a tile */
    TILE_VECTORS = 2,
    TILE_PANEL = TILE_VECTORS * TILE_LANES,
    GROUP_BYTES = TILE_LANES * 4, /* one vector of weights: 16 columns, one group of k */
    FINISH_ROWS = 4
};

/* Weights that stay in the second-level cache while all pixels go by. */
#define WEIGHT_BLOCK_BYTES ((size_t)48 << 10)

/* Tiles: sums of pixel tile p and vector v are 2 p + v. The intrinsics want literals. */
#define PIXELS_0 4
#define PIXELS_1 5
#define WEIGHTS_0 6
#define WEIGHTS_1 7

/* The operands, in bytes; kernels.h says what they mean. Panels of weights are TILE_PANEL columns
 * wide, the last one 16 or 32; each begins with header_bytes for a column that are no weights. */
typedef struct operands {
    const uint8_t *a;
    size_t a_stride, a_line_stride, lines;
    size_t runs_y, run_stride_y, runs_x, run_stride_x, run_length;
    const uint8_t *b;
    size_t header_bytes;
    size_t a_low, b_low; /* where UFK_TILE_PAIRS: from numbers to their low parts, or 0: none */
    size_t m, n;
} operands;

typedef struct block block;
/* Finishes `rows` pixels of a block, from output pixel `i` on. */
typedef void finish_fn(const block *t, size_t i, const int32_t *sums, size_t rows);
/* The one for a panel of so many vectors, of the last of which `columns` are real. */
typedef finish_fn *choose_fn(const void *layer, size_t vectors, __mmask16 columns);

/* How a call is cut. */
typedef struct walk {
    const operands *args;
    operands source; /* args, or where they are read from when runs are joined */
    size_t base;     /* output pixel of the first one */
    size_t pitch;    /* pixels from one line to the next */
    size_t m;        /* pixels of all lines and between them */
    size_t column_bytes, tile_rows, tiles;
    size_t groups, step; /* groups of four bytes: of a run, of a step */
    size_t whole_steps;  /* of a run: those that need no copy */
    __mmask64 last_mask; /* what the last step is to copy of its k; 0: there is none */
    bool joined;
    const void *layer; /* what follows the sums */
    choose_fn *choose;
} walk;

/* Up to two tiles of pixels times one or two vectors of weights. */
struct block {
    const void *layer;
    size_t i, j;       /* first pixel that no block before had, those between counted; column */
    __mmask16 columns; /* of the last vector */
    size_t done;       /* pixels before i */
    size_t rows;       /* all; 0: no block */
    size_t second;     /* first pixel of the second tile */
    size_t tiles, vectors;
    const uint8_t *a, *b;
    finish_fn *finish;
};

/* What goes on from block to block. */
typedef struct progress {
    _Alignas(ROW_BYTES) int32_t sums[BLOCK_ROWS * TILE_PANEL]; /* or floats */
    block pending;                                             /* whose sums these are */
    const char *ahead; /* weights to fetch next, so many cache lines a step; and their low parts */
    size_t ahead_lines;
} progress;

/* gcc does not know what the tile instructions read: keeps stores on their side. */
ALWAYS_INLINE void compiler_fence(void)
{
    __asm__ volatile("" ::: "memory");
}

/* `rows` rows of 64 bytes: those of `from` that `take` names, zeros else; of which `keep` are
 * written. */
ALWAYS_INLINE void copy_rows(uint8_t *to, __mmask64 keep, const uint8_t *from, size_t stride,
                             __mmask64 take, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        _mm512_mask_storeu_epi8(to + r * ROW_BYTES, keep,
                                _mm512_maskz_loadu_epi8(take, from + r * stride));
}

/* ---- what follows the sums ---- */

/* Pixels between lines are left out. */
static __attribute__((noinline)) void finish_pending(const walk *w, progress *p)
{
    const size_t line = w->args->m;
    const block *t = &p->pending;
    size_t done = t->done, i = t->i;
    while (done < t->rows) {
        const size_t left = t->rows - done, x = w->pitch == line ? 0 : i % w->pitch;
        const size_t until = w->pitch == line ? left : x < line ? line - x : w->pitch - x;
        const size_t count = until < left ? until : left;
        if (x < line)
            t->finish(t, w->base + (w->pitch == line ? i : i / w->pitch * line + x),
                      p->sums + done * TILE_PANEL, count);
        i += count;
        done += count;
    }
}

/* ---- sums ---- */

ALWAYS_INLINE void fetch_ahead(progress *p, size_t b_low)
{
    for (size_t i = 0; i < p->ahead_lines; i++, p->ahead += ROW_BYTES) {
        _mm_prefetch(p->ahead, _MM_HINT_T1);
        if (UFK_TILE_PAIRS && b_low)
            _mm_prefetch(p->ahead + b_low, _MM_HINT_T1);
    }
}

/* sums += pixels * weights, one step of k. */
ALWAYS_INLINE void multiply(const uint8_t *a, size_t stride, size_t second, const uint8_t *b,
                            int tiles, int vectors)
{
    const size_t b_stride = (size_t)vectors * GROUP_BYTES;
    _tile_loadd(WEIGHTS_0, b, b_stride);
    _tile_loadd(PIXELS_0, a, stride);
    UFK_TILE_MULTIPLY(0, PIXELS_0, WEIGHTS_0);
    if (vectors == 2) {
        _tile_loadd(WEIGHTS_1, b + GROUP_BYTES, b_stride);
        UFK_TILE_MULTIPLY(1, PIXELS_0, WEIGHTS_1);
    }
    if (tiles == 2) {
        _tile_loadd(PIXELS_1, a + second * stride, stride);
        UFK_TILE_MULTIPLY(2, PIXELS_1, WEIGHTS_0);
        if (vectors == 2)
            UFK_TILE_MULTIPLY(3, PIXELS_1, WEIGHTS_1);
    }
}

/* The same for pairs: high with high, low with high, high with low. */
ALWAYS_INLINE void multiply_pairs(const uint8_t *a, size_t stride, size_t second, const uint8_t *b,
                                  size_t a_low, size_t b_low, int tiles, int vectors)
{
    multiply(a, stride, second, b, tiles, vectors);
    if (UFK_TILE_PAIRS && a_low) {
        multiply(a + a_low, stride, second, b, tiles, vectors);
        multiply(a, stride, second, b + b_low, tiles, vectors);
    }
}

/* The last step of a run, which starts where a whole step is left. */
ALWAYS_INLINE void multiply_last(const walk *w, const block *t, const uint8_t *a, const uint8_t *b,
                                 int tiles, int vectors)
{
    enum { PLANE = BLOCK_ROWS * ROW_BYTES };
    _Alignas(ROW_BYTES) uint8_t copy[(1 + UFK_TILE_PAIRS) * PLANE];
    const size_t first = w->groups - w->step, a_low = w->source.a_low;
    a += 4 * first;
    b += first * (size_t)vectors * GROUP_BYTES;
    copy_rows(copy, UINT64_MAX, a, w->source.a_stride, w->last_mask, t->rows);
    if (UFK_TILE_PAIRS && a_low)
        copy_rows(copy + PLANE, UINT64_MAX, a + a_low, w->source.a_stride, w->last_mask, t->rows);
    compiler_fence();
    multiply_pairs(copy, ROW_BYTES, t->second, b, a_low ? PLANE : 0, w->source.b_low, tiles,
                   vectors);
    compiler_fence();
}

ALWAYS_INLINE void accumulate(const walk *w, progress *p, const block *t, int tiles, int vectors)
{
    const operands *g = &w->source;
    const size_t group_bytes = (size_t)vectors * GROUP_BYTES;
    const size_t a_step = w->step * 4, b_step = w->step * group_bytes;
    const uint8_t *b = t->b;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t y = 0; y < g->runs_y; y++)
        for (size_t x = 0; x < g->runs_x; x++, b += w->groups * group_bytes) {
            const uint8_t *a = t->a + y * g->run_stride_y + x * g->run_stride_x;
            for (size_t s = 0; s < w->whole_steps; s++) {
                fetch_ahead(p, g->b_low);
                multiply_pairs(a + s * a_step, g->a_stride, t->second, b + s * b_step, g->a_low,
                               g->b_low, tiles, vectors);
            }
            if (w->last_mask)
                multiply_last(w, t, a, b, tiles, vectors);
        }
}

/* Rows that both tiles have are the same in both. */
ALWAYS_INLINE void store_sums(int32_t *sums, size_t second, int tiles, int vectors)
{
    const size_t stride = TILE_PANEL * sizeof *sums;
    if (tiles == 2) {
        int32_t *p = sums + second * TILE_PANEL;
        _tile_stored(2, p, stride);
        if (vectors == 2)
            _tile_stored(3, p + TILE_LANES, stride);
    }
    _tile_stored(0, sums, stride);
    if (vectors == 2)
        _tile_stored(1, sums + TILE_LANES, stride);
}

/* Multiplies block `t`, meanwhile finishes the one before it. */
ALWAYS_INLINE void block_body(const walk *w, progress *p, const block *t, int tiles, int vectors)
{
    accumulate(w, p, t, tiles, vectors);
    finish_pending(w, p);
    store_sums(p->sums, t->second, tiles, vectors);
    p->pending = *t;
}

#define BLOCK(tiles, vectors)                                                         \
    static void block_##tiles##x##vectors(const walk *w, progress *p, const block *t) \
    {                                                                                 \
        block_body(w, p, t, tiles, vectors);                                          \
    }
BLOCK(1, 1)
BLOCK(1, 2)
BLOCK(2, 1)
BLOCK(2, 2)
static void (*const blocks[2][TILE_VECTORS])(const walk *w, progress *p, const block *t) = {
    {block_1x1, block_1x2}, {block_2x1, block_2x2}};

/* ---- the walk over blocks ---- */

static size_t ceil_div(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* An even number of tiles, or one, of equal height. */
static void cut_rows(walk *w)
{
    const size_t m = w->m;
    w->tiles = m <= TILE_ROWS ? 1 : 2 * ceil_div(m, BLOCK_ROWS);
    w->tile_rows = ceil_div(m, w->tiles);
    w->tiles = ceil_div(m, w->tile_rows);
}

static void cut_k(walk *w, const operands *args)
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
        w->source.a_low = args->a_low ? BLOCK_ROWS * ROW_BYTES : 0;
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
    ufk_tile_config c = {.palette = 1};
    for (int t = 0; t < 4; t++) {
        c.rows[t] = (uint8_t)w->tile_rows;
        c.row_bytes[t] = GROUP_BYTES;
    }
    for (int t = PIXELS_0; t <= PIXELS_1; t++) {
        c.rows[t] = (uint8_t)w->tile_rows;
        c.row_bytes[t] = (uint16_t)(4 * w->step);
    }
    for (int t = WEIGHTS_0; t <= WEIGHTS_1; t++) {
        c.rows[t] = (uint8_t)w->step;
        c.row_bytes[t] = GROUP_BYTES;
    }
    ufk_load_tile_config(&c);
}

/* All runs of `rows` pixels from pixel `first` on, one behind the other; `part`: 0 or a_low. */
static void join_runs(uint8_t *to, const operands *args, size_t part, size_t first, size_t rows)
{
    const size_t bytes = ceil_div(args->run_length, 4) * 4;
    const __mmask64 take = UINT64_MAX >> (ROW_BYTES - args->run_length);
    const __mmask64 keep = UINT64_MAX >> (ROW_BYTES - bytes);
    while (rows > 0) {
        const size_t x = first % args->m, left = args->m - x, count = rows < left ? rows : left;
        const uint8_t *a =
            args->a + part + first / args->m * args->a_line_stride + x * args->a_stride;
        uint8_t *run = to;
        for (size_t ry = 0; ry < args->runs_y; ry++)
            for (size_t rx = 0; rx < args->runs_x; rx++, run += bytes)
                copy_rows(run, keep, a + ry * args->run_stride_y + rx * args->run_stride_x,
                          args->a_stride, take, count);
        to += count * ROW_BYTES;
        first += count;
        rows -= count;
    }
    compiler_fence();
}

/* Pixel tiles `tile` and, if there is one, tile + 1. */
static block begin_block(const walk *w, size_t tile)
{
    const size_t last = w->m - w->tile_rows, new_row = tile * w->tile_rows;
    const size_t first = new_row < last ? new_row : last;
    block t = {.layer = w->layer,
               .done = new_row - first,
               .rows = w->tile_rows,
               .tiles = tile + 1 < w->tiles ? 2 : 1,
               .a = w->args->a + first * w->args->a_stride};
    t.i = new_row;
    if (t.tiles == 2) {
        const size_t next = new_row + w->tile_rows;
        t.second = (next < last ? next : last) - first;
        t.rows += t.second;
    }
    return t;
}

/* The weights behind column j_end are fetched during the steps of the columns before it. */
static void plan_ahead(const walk *w, progress *p, size_t j_begin, size_t j_end)
{
    const size_t width = j_end - j_begin, left = w->args->n - j_end;
    const size_t lines = ceil_div((left < width ? left : width) * w->column_bytes, ROW_BYTES);
    const size_t steps = w->source.runs_y * w->source.runs_x * w->whole_steps;
    const size_t blocks_now = ceil_div(w->tiles, 2) * ceil_div(width, TILE_PANEL);
    p->ahead = (const char *)(w->args->b + j_end * w->column_bytes);
    p->ahead_lines = steps ? ceil_div(lines, blocks_now * steps) : 0;
}

static void walk_blocks(const walk *w, size_t j_begin, size_t j_end)
{
    _Alignas(ROW_BYTES) uint8_t joined[(1 + UFK_TILE_PAIRS) * BLOCK_ROWS * ROW_BYTES];
    progress p;
    p.pending.rows = p.pending.done = 0;
    plan_ahead(w, &p, j_begin, j_end);
    for (size_t tile = 0; tile < w->tiles; tile += 2) {
        block t = begin_block(w, tile);
        if (w->joined) {
            join_runs(joined, w->args, 0, t.i - t.done, t.rows);
            if (UFK_TILE_PAIRS && w->args->a_low)
                join_runs(joined + w->source.a_low, w->args, w->args->a_low, t.i - t.done, t.rows);
            t.a = joined;
        }
        for (size_t j = j_begin; j < j_end; j += TILE_PANEL) {
            const size_t columns = j_end - j < TILE_PANEL ? j_end - j : TILE_PANEL;
            t.vectors = ceil_div(columns, TILE_LANES);
            const size_t tail = columns - (t.vectors - 1) * TILE_LANES;
            t.j = j;
            t.columns = (__mmask16)(0xFFFFu >> (TILE_LANES - tail));
            t.b = w->args->b + j * w->column_bytes + t.vectors * TILE_LANES * w->args->header_bytes;
            t.finish = w->choose(w->layer, t.vectors, t.columns);
            blocks[t.tiles - 1][t.vectors - 1](w, &p, &t);
        }
    }
    finish_pending(w, &p);
}

/* Whether all lines can be walked as one. */
static bool lines_are_even(const operands *args)
{
    return args->lines == 1 || (args->a_line_stride % args->a_stride == 0 &&
                                args->a_line_stride / args->a_stride >= args->m &&
                                args->a_line_stride / args->a_stride <= args->m + args->m / 2);
}

/* Lines that can be walked as one; the first pixel is number `base` of the output. */
static void walk_lines(const operands *args, size_t base, const void *layer, choose_fn *choose)
{
    const size_t runs = args->runs_y * args->runs_x;
    walk w = {.args = args, .base = base, .layer = layer, .choose = choose};
    w.column_bytes = args->header_bytes + runs * ceil_div(args->run_length, 4) * 4;
    cut_k(&w, args);
    w.pitch = w.joined || args->lines == 1 ? args->m : args->a_line_stride / args->a_stride;
    w.m = (args->lines - 1) * w.pitch + args->m;
    cut_rows(&w);
    load_config(&w);
    size_t width = WEIGHT_BLOCK_BYTES / w.column_bytes / TILE_PANEL * TILE_PANEL;
    if (width < TILE_PANEL)
        width = TILE_PANEL;
    for (size_t j = 0; j < args->n; j += width)
        walk_blocks(&w, j, args->n - j < width ? args->n : j + width);
    _tile_release();
}

static void walk_operands(const operands *args, const void *layer, choose_fn *choose)
{
    const size_t runs = args->runs_y * args->runs_x, groups = ceil_div(args->run_length, 4);
    const bool joined = runs > 1 && runs * groups <= TILE_GROUPS;
    if (joined || lines_are_even(args)) {
        walk_lines(args, 0, layer, choose);
        return;
    }
    for (size_t l = 0; l < args->lines; l++) {
        operands line = *args;
        line.a += l * args->a_line_stride;
        line.lines = 1;
        walk_lines(&line, l * args->m, layer, choose);
    }
}

#endif
