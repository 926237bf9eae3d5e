/*
 * Convolution as GEMM over runs, AVX2 and FMA: tiles of 6 pixels by 16 columns, 12 accumulators of
 * the 16 registers.
 *
 * Two hyperthreads of a core share its front end, so what counts is the number of instructions: a
 * step of k is 12 multiply-adds, 6 broadcasts of pixels and 2 loads of weights, and nothing else.
 * Rows are addressed as two pointers three rows apart, plus 0, 1 or 2 times the row stride, and k
 * is unrolled by 4 (conv_avx512.c has more about this). Beside a busy neighbour that is 1.35 times
 * as fast as six row pointers were, with few inputs 1.8 times. Pixels that are left over are spread
 * over tiles: a tile of few rows is bound by the latency of the multiply-add.
 *
 * A panel of weights stays in the first-level cache while all pixels pass it. A panel that is too
 * large for that is taken in parts, and sums wait in the output in between.
 *
 * Clamps and PReLU are done in registers; exponentials call the C library on the finished tile.
 */
#include <immintrin.h>
#include <math.h>

#include "kernels/c/epilogue.h"
#include "kernels/topics.h"
#include "kernels/x86/inline.h"

enum {
    MR = 6,
    NR = 16,
    PART_ROWS = 256, /* of a panel: half of the first-level cache */
    MAX_ROWS = 384   /* of a panel that is used as a whole */
};

/* Two opaque pointers, `bytes` further: hides from the compiler how they hang together. */
ALWAYS_INLINE void advance(const char *p[2], int rows, ptrdiff_t bytes)
{
    UNROLL
    for (int g = 0; g < (rows + 2) / 3; g++) {
        p[g] += bytes;
        __asm__("" : "+r"(p[g]));
    }
}

/* A pass over K: all of it, or a part so short that a panel's part stays in the first-level cache;
 * then unfinished sums wait in c. */
typedef struct pass {
    const ufk_conv_args *args; /* a and the runs are those of this part */
    size_t depth;              /* rows of a panel */
    bool is_first, is_last;
} pass;

/* Where a tile begins: its first pixel, first column and first weight. */
typedef struct corner {
    size_t i, j;
    const float *b;
    __m256i mask[2]; /* which columns are there, if not all are */
} corner;

/* What a pixel is multiplied with: each has code of its own. */
typedef enum runs {
    ONE_RUN,   /* what stands in no loop is done sooner */
    MANY_RUNS, /* or one */
    SHORT_RUNS /* of three floats, pixels two apart */
} runs;

typedef struct sums {
    __m256 v[MR][2]; /* of a pixel: columns 0 to 7, 8 to 15 */
} sums;

ALWAYS_INLINE __m256 get(const corner *t, const float *p, int half, const bool whole)
{
    return whole ? _mm256_loadu_ps(p + 8 * half) : _mm256_maskload_ps(p + 8 * half, t->mask[half]);
}

ALWAYS_INLINE void put(const corner *t, float *p, int half, __m256 v, const bool whole)
{
    if (whole)
        _mm256_storeu_ps(p + 8 * half, v);
    else
        _mm256_maskstore_ps(p + 8 * half, t->mask[half], v);
}

/* sum += x * b, in place: compilers move sums about and run out of registers. */
ALWAYS_INLINE void add_product(__m256 *sum, __m256 x, __m256 b)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(*sum) : "x"(x), "x"(b));
}

/* The same with 8 weights that no register is left for. */
ALWAYS_INLINE void add_product_from(__m256 *sum, __m256 x, const float *b)
{
    __asm__("vfmadd231ps %2, %1, %0"
            : "+x"(*sum)
            : "x"(x), "m"(*(const __m256_u *)(const void *)b));
}

ALWAYS_INLINE void zero(sums *s, int rows)
{
    UNROLL
    for (int r = 0; r < rows; r++)
        s->v[r][0] = s->v[r][1] = _mm256_setzero_ps();
}

/* What is there before the products: bias and residual, or the sums of the parts before. */
ALWAYS_INLINE void begin(sums *s, const pass *p, const corner *t, int rows, const bool whole)
{
    const ufk_conv_args *g = p->args;
    const ufk_epilogue *e = &g->epilogue;
    if (!p->is_first) {
        UNROLL
        for (int r = 0; r < rows; r++) {
            const float *c = g->c + (t->i + (size_t)r) * g->c_stride + t->j;
            s->v[r][0] = get(t, c, 0, whole);
            s->v[r][1] = get(t, c, 1, whole);
        }
        return;
    }
    zero(s, rows);
    if (e->bias) {
        const __m256 lo = get(t, e->bias + t->j, 0, whole), hi = get(t, e->bias + t->j, 1, whole);
        UNROLL
        for (int r = 0; r < rows; r++)
            s->v[r][0] = lo, s->v[r][1] = hi;
    }
    if (e->residual) {
        const float *residual = e->residual + t->i * e->residual_stride + t->j;
        UNROLL
        for (int r = 0; r < rows; r++, residual += e->residual_stride) {
            s->v[r][0] = _mm256_add_ps(s->v[r][0], get(t, residual, 0, whole));
            s->v[r][1] = _mm256_add_ps(s->v[r][1], get(t, residual, 1, whole));
        }
    }
}

/* One k of `rows` pixels, whose floats are at p[r / 3] + r % 3 * stride + offset. */
ALWAYS_INLINE void step(sums *s, const char *const p[2], ptrdiff_t stride, ptrdiff_t offset,
                        const float *b, int rows)
{
    const __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
    UNROLL
    for (int r = 0; r < rows; r++) {
        const __m256 x =
            _mm256_broadcast_ss((const float *)(const void *)(p[r / 3] + r % 3 * stride + offset));
        add_product(&s->v[r][0], x, b0);
        add_product(&s->v[r][1], x, b1);
    }
}

/* `length` floats of each pixel. */
ALWAYS_INLINE const float *run(sums *s, const float *a, ptrdiff_t stride, size_t length,
                               const float *b, int rows)
{
    const char *p[2] = {(const char *)a, (const char *)a + 3 * stride};
    size_t k = length / 4;
    for (; k > 0; k--) {
        UNROLL
        for (int u = 0; u < 4; u++)
            step(s, p, stride, 4 * u, b + u * NR, rows);
        b += 4 * NR;
        advance(p, rows, 16);
    }
    for (k = length % 4; k > 0; k--, b += NR) {
        step(s, p, stride, 0, b, rows);
        advance(p, rows, 4);
    }
    return b;
}

/* A run of three floats, pixels two apart, with which most networks begin (conv_avx512.c): the
 * addresses are constants, and what two pixels read is loaded once. */
ALWAYS_INLINE const float *short_run(sums *s, const float *a, const float *b, int rows)
{
    __m256 b0 = _mm256_loadu_ps(b + NR), b1 = _mm256_loadu_ps(b + NR + 8);
    UNROLL
    for (int r = 0; r < rows; r++) {
        const __m256 x = _mm256_broadcast_ss(a + 2 * r + 1);
        add_product(&s->v[r][0], x, b0);
        add_product(&s->v[r][1], x, b1);
    }
    b0 = _mm256_loadu_ps(b);
    b1 = _mm256_loadu_ps(b + 8);
    UNROLL
    for (int r = 0; r <= rows; r++) {
        const __m256 x = _mm256_broadcast_ss(a + 2 * r);
        if (r > 0) {
            add_product_from(&s->v[r - 1][0], x, b + 2 * NR);
            add_product_from(&s->v[r - 1][1], x, b + 2 * NR + 8);
        }
        if (r < rows) {
            add_product(&s->v[r][0], x, b0);
            add_product(&s->v[r][1], x, b1);
        }
    }
    return b + 3 * NR;
}

/* Adds the products of all runs. */
ALWAYS_INLINE void accumulate(sums *s, const pass *p, const corner *t, int rows, const runs kind)
{
    const ufk_conv_args *g = p->args;
    const ptrdiff_t stride = (ptrdiff_t)(g->a_stride * sizeof(float));
    const float *a = g->a + t->i * g->a_stride, *b = t->b;
    if (kind == ONE_RUN) {
        run(s, a, stride, g->run_length, b, rows);
        return;
    }
    for (size_t y = 0; y < g->runs_y; y++, a += g->run_stride_y) {
        const float *from = a;
        for (size_t x = 0; x < g->runs_x; x++, from += g->run_stride_x) {
            if (kind == SHORT_RUNS)
                b = short_run(s, from, b, rows);
            else
                b = run(s, from, stride, g->run_length, b, rows);
        }
    }
}

/* Activates 16 columns of `rows` pixels. */
ALWAYS_INLINE void activate(sums *s, const pass *p, const corner *t, int rows, const bool whole)
{
    const ufk_epilogue *e = &p->args->epilogue;
    if (e->act == UFK_ACT_CLAMP) {
        const __m256 lo = _mm256_set1_ps(e->lo), hi = _mm256_set1_ps(e->hi);
        UNROLL
        for (int r = 0; r < rows; r++) { /* in this order NaN stays NaN */
            s->v[r][0] = _mm256_max_ps(lo, s->v[r][0]);
            s->v[r][1] = _mm256_max_ps(lo, s->v[r][1]);
        }
        if (e->hi == INFINITY)
            return;
        UNROLL
        for (int r = 0; r < rows; r++) {
            s->v[r][0] = _mm256_min_ps(hi, s->v[r][0]);
            s->v[r][1] = _mm256_min_ps(hi, s->v[r][1]);
        }
    } else if (e->act == UFK_ACT_PRELU) {
        UNROLL
        for (int h = 0; h < 2; h++) {
            const __m256 slope = get(t, e->slope + t->j, h, whole);
            UNROLL
            for (int r = 0; r < rows; r++) {
                const __m256 v = s->v[r][h]; /* the sign bit chooses: -0 * slope is 0 as well */
                s->v[r][h] = _mm256_blendv_ps(v, _mm256_mul_ps(v, slope), v);
            }
        }
    }
}

/* The other activations, in place in c. */
static __attribute__((noinline)) void activate_slowly(const pass *p, const corner *t, size_t rows)
{
    const ufk_conv_args *g = p->args;
    const size_t columns = g->n - t->j < NR ? g->n - t->j : NR;
    for (size_t r = 0; r < rows; r++) {
        float *c = g->c + (t->i + r) * g->c_stride + t->j;
        for (size_t j = 0; j < columns; j++)
            c[j] = ufk_activate(&g->epilogue, c[j], t->j + j);
    }
}

ALWAYS_INLINE void tile(const pass *p, const corner *t, int rows, const bool whole, const runs kind)
{
    const ufk_conv_args *g = p->args;
    sums s;
    begin(&s, p, t, rows, whole);
    accumulate(&s, p, t, rows, kind);
    if (p->is_last)
        activate(&s, p, t, rows, whole);
    float *c = g->c + t->i * g->c_stride + t->j;
    UNROLL
    for (int r = 0; r < rows; r++, c += g->c_stride) {
        put(t, c, 0, s.v[r][0], whole);
        put(t, c, 1, s.v[r][1], whole);
    }
    if (p->is_last && g->epilogue.act > UFK_ACT_PRELU)
        activate_slowly(p, t, (size_t)rows);
}

typedef void tiles_fn(const pass *p, corner t, size_t count);

/* `count` tiles below each other. */
#define TILES(name, rows, whole, kind)                               \
    static void name##_##rows(const pass *p, corner t, size_t count) \
    {                                                                \
        for (; count > 0; count--, t.i += rows)                      \
            tile(p, &t, rows, whole, kind);                          \
    }
#define ALL_ROWS(name, whole, kind) \
    TILES(name, 1, whole, kind)     \
    TILES(name, 2, whole, kind)     \
    TILES(name, 3, whole, kind)     \
    TILES(name, 4, whole, kind)     \
    TILES(name, 5, whole, kind)     \
    TILES(name, 6, whole, kind)     \
    static tiles_fn *const name[MR] = {name##_1, name##_2, name##_3, name##_4, name##_5, name##_6};
ALL_ROWS(one_run, true, ONE_RUN)
ALL_ROWS(many_runs, true, MANY_RUNS)
ALL_ROWS(short_runs, true, SHORT_RUNS)
ALL_ROWS(part_many_runs, false, MANY_RUNS)
ALL_ROWS(part_short_runs, false, SHORT_RUNS)

static tiles_fn *const *choose(const ufk_conv_args *g, bool whole)
{
    if (g->run_length == 3 && g->a_stride == 2)
        return whole ? short_runs : part_short_runs;
    if (!whole)
        return part_many_runs;
    return g->runs_y * g->runs_x == 1 ? one_run : many_runs;
}

/* All pixels and columns. */
static void run_pass(const pass *p, const float *b)
{
    const ufk_conv_args *g = p->args;
    const size_t count = (g->m + MR - 1) / MR, rows = g->m / count, larger = g->m % count;
    for (size_t j = 0; j < g->n; j += NR) {
        const size_t columns = g->n - j;
        corner t = {.j = j, .b = b + j * p->depth};
        for (int h = 0; h < 2; h++)
            t.mask[h] =
                _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(columns < NR ? columns : NR) - 8 * h),
                                   _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        tiles_fn *const *tiles = choose(g, columns >= NR);
        if (larger)
            tiles[rows](p, t, larger);
        t.i = larger * (rows + 1);
        tiles[rows - 1](p, t, count - larger);
    }
}

/* Each run by parts. */
static void run_parts(const ufk_conv_args *args, size_t depth)
{
    ufk_conv_args part = *args;
    pass p = {.args = &part, .depth = depth};
    size_t done = 0;
    part.runs_y = part.runs_x = 1;
    for (size_t y = 0; y < args->runs_y; y++)
        for (size_t x = 0; x < args->runs_x; x++)
            for (size_t k = 0; k < args->run_length; k += part.run_length) {
                const size_t left = args->run_length - k;
                const size_t parts = (left + PART_ROWS - 1) / PART_ROWS;
                part.run_length = (left + parts - 1) / parts;
                part.a = args->a + y * args->run_stride_y + x * args->run_stride_x + k;
                p.is_first = done == 0;
                p.is_last = done + part.run_length == depth;
                run_pass(&p, args->b + done * NR);
                done += part.run_length;
            }
}

static void ufk_conv_f32_avx2(const ufk_conv_args *args)
{
    const size_t depth = args->runs_y * args->runs_x * args->run_length;
    if (!args->m)
        return;
    if (depth > MAX_ROWS && args->m > MR)
        run_parts(args, depth);
    else
        run_pass(&(pass){args, depth, true, true}, args->b);
}

void ufk_conv_select_avx2(ufk_table *t)
{
    t->conv_nr = NR;
    t->conv_nu = NR;
    t->conv_mr = MR;
    t->conv_f32 = ufk_conv_f32_avx2;
    t->conv_f32_name = "conv_f32_avx2";
}
