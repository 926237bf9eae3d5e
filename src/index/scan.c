/*
 * The stages of a search that read sketches and codes, cut among the workers by segments.
 *
 * What a sketch tells. A rotated vector o of unit length and a probe q with cosine c: sum of
 * sign(o_i) q_i over a plane estimates c. Over both planes the estimate, times the vector's own
 * factor 1 / sum |o_i|, has the variance (pi/2 - 1) / width (RaBitQ, theorem 3.2). Over plane 0,
 * which has the share n of the probe's squared length, the factor is that of a Gaussian vector,
 * 1 / (sqrt(2 width / pi) n), and the other plane's part is unknown, which adds up to
 * (pi/2 - 1 + 1 - n) / (width n). The rounding of the tables adds unit^2 / 12 for each value.
 */
#include <math.h>
#include <string.h>

#include "index/search.h"

/* ---- from floors to sums ---- */

/* Standard deviation of the estimate. */
static double deviation(const uf_searcher *s, const ufi_probe *p, bool full)
{
    const uf_index *x = s->x;
    const double width = x->width, gauss = 2 / M_PI * width;
    const double n = full ? 1 : (double)p->square[0];
    const double values = 2.0 * (double)(x->rows[0] + (full ? x->rows[1] : 0));
    const double rounding = (double)p->unit * (double)p->unit / 12 * values;
    return sqrt((M_PI / 2 - 1 + 1 - n) / (width * n) + rounding / (gauss * n * n));
}

/* What the estimate of a vector must be if it can still reach the floor. */
static double needed_estimate(const uf_searcher *s, const ufi_probe *p, bool full)
{
    return (double)s->floor - s->z * deviation(s, p, full);
}

/* The least sum that means at least `estimate` under a factor. */
static uint16_t least_sum(const ufi_probe *p, double estimate, double factor, bool full)
{
    const double offset = (double)p->offset[0] + (full ? (double)p->offset[1] : 0);
    const double sum = floor((estimate / factor + offset) / (double)p->unit);
    return sum <= 0 ? 0 : sum >= UINT16_MAX ? UINT16_MAX : (uint16_t)sum;
}

/* For all vectors of a segment. */
static uint16_t least_sum_of(const uf_searcher *s, const ufi_segment *g)
{
    const ufi_probe *p = &s->probes[s->at];
    const double width = s->x->width, estimate = needed_estimate(s, p, s->full);
    if (!s->full)
        return least_sum(p, estimate, 1 / (sqrt(2 / M_PI * width) * (double)p->square[0]), false);
    /* sum |o_i| is at most sqrt(width) */
    return least_sum(p, estimate, estimate > 0 ? (double)g->factor_max : 1 / sqrt(width), true);
}

/* ---- helpers ---- */

static const ufi_segment *segment_of(const uf_searcher *s, const ufi_piece *piece)
{
    return &s->x->segments[piece->segment];
}

static uint32_t mask_of(const uf_searcher *s, const ufi_piece *piece, size_t block)
{
    const uint32_t held = segment_of(s, piece)->mask[block];
    return s->filtered ? held & s->allowed[piece->first + block] : held;
}

static void sum_plane(const uf_searcher *s, const ufi_segment *g, int plane, size_t block,
                      size_t blocks, const ufi_probe *probes, size_t count, uint16_t *sums[],
                      uint16_t *maxima[])
{
    const uf_index *x = s->x;
    ufk_sketch_args a = {.codes = g->plane[plane] + block * x->rows[plane] * UFK_SKETCH_BLOCK,
                         .blocks = blocks,
                         .rows = x->rows[plane],
                         .probes = count,
                         .accumulate = plane > 0};
    for (size_t i = 0; i < count; i++) {
        a.tables[i] = probes[i].tables + (plane ? x->rows[0] * 32 : 0);
        a.sums[i] = sums[i];
        a.maxima[i] = maxima[i];
    }
    x->kernels->sketch_scan(&a);
}

static void offer_blocks(const uf_searcher *s, ufi_leaders *l, const ufi_piece *piece, size_t block,
                         size_t blocks, const uint16_t *sums, const uint16_t *maxima)
{
    for (size_t b = 0; b < blocks; b++) {
        if (maxima[b] <= l->least)
            continue;
        const uint16_t *sum = sums + b * UFK_SKETCH_BLOCK;
        uint32_t mask = s->x->kernels->sketch_mask(sum, (uint16_t)(l->least + 1));
        mask &= mask_of(s, piece, block + b);
        for (; mask; mask &= mask - 1) {
            const uint32_t i = (uint32_t)__builtin_ctz(mask);
            if (sum[i] > l->least)
                ufi_leaders_offer(
                    l, sum[i], piece->segment * UFI_SEGMENT_SLOTS + (uint32_t)(block + b) * 32 + i);
        }
    }
}

/* ---- scan ---- */

static void scan_tile(uf_searcher *s, ufi_search_worker *w, const ufi_piece *piece, size_t block,
                      size_t blocks)
{
    const ufi_segment *g = segment_of(s, piece);
    for (size_t p = 0; p < s->probe_count; p += UFK_SKETCH_PROBES) {
        const size_t left = s->probe_count - p;
        const size_t count = left < UFK_SKETCH_PROBES ? left : UFK_SKETCH_PROBES;
        uint16_t *sums[UFK_SKETCH_PROBES], *maxima[UFK_SKETCH_PROBES];
        for (size_t i = 0; i < count; i++) {
            sums[i] = s->probe_count == 1 ? s->sums + (piece->first + block) * UFK_SKETCH_BLOCK
                                          : w->sums + i * UFI_SEARCH_TILE * UFK_SKETCH_BLOCK;
            maxima[i] = s->maxima + (p + i) * s->block_count + piece->first + block;
        }
        sum_plane(s, g, 0, block, blocks, s->probes + p, count, sums, maxima);
        for (size_t i = 0; i < count; i++)
            offer_blocks(s, &w->leaders[p + i], piece, block, blocks, sums[i], maxima[i]);
    }
}

static void scan_piece(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    const ufi_piece *piece = &s->pieces[task];
    for (size_t b = 0; b < piece->blocks; b += UFI_SEARCH_TILE) {
        const size_t left = piece->blocks - b;
        scan_tile(s, &s->workers[worker], piece, b,
                  left < UFI_SEARCH_TILE ? left : UFI_SEARCH_TILE);
    }
}

static void clear_leaders(uf_searcher *s, size_t probe)
{
    for (unsigned w = 0; w < ufi_pool_size(s->pool); w++) {
        s->workers[w].leaders[probe].count = 0;
        s->workers[w].leaders[probe].least = 0;
    }
}

void ufi_search_scan(uf_searcher *s)
{
    for (size_t p = 0; p < s->probe_count; p++)
        clear_leaders(s, p);
    ufi_pool_run(s->pool, scan_piece, s, s->piece_count);
}

/* ---- refine ---- */

static void refine_run(uf_searcher *s, ufi_search_worker *w, const ufi_piece *piece, size_t block,
                       size_t blocks)
{
    uint16_t *sums = s->sums + (piece->first + block) * UFK_SKETCH_BLOCK;
    uint16_t *maxima = s->maxima + s->at * s->block_count + piece->first + block;
    const ufi_segment *g = segment_of(s, piece);
    const ufi_probe *p = &s->probes[s->at];
    if (!s->has_sums)
        sum_plane(s, g, 0, block, blocks, p, 1, &sums, &maxima);
    sum_plane(s, g, 1, block, blocks, p, 1, &sums, &maxima);
    offer_blocks(s, &w->leaders[s->at], piece, block, blocks, sums, maxima);
    w->work.sketches += blocks * UFK_SKETCH_BLOCK;
}

static void refine_piece(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    const ufi_piece *piece = &s->pieces[task];
    uint16_t *maxima = s->maxima + s->at * s->block_count + piece->first;
    const uint16_t least = least_sum_of(s, segment_of(s, piece));
    for (size_t b = 0; b < piece->blocks;) {
        if (maxima[b] < least) {
            maxima[b++] = 0;
            continue;
        }
        size_t end = b + 1;
        while (end < piece->blocks && end - b < UFI_SEARCH_TILE && maxima[end] >= least)
            end++;
        refine_run(s, &s->workers[worker], piece, b, end - b);
        b = end;
    }
}

void ufi_search_refine(uf_searcher *s)
{
    clear_leaders(s, s->at);
    ufi_pool_run(s->pool, refine_piece, s, s->piece_count);
    s->has_sums = s->full = true;
}

/* ---- collect ---- */

size_t ufi_search_blocks_left(const uf_searcher *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->piece_count; i++) {
        const ufi_piece *piece = &s->pieces[i];
        const uint16_t *maxima = s->maxima + s->at * s->block_count + piece->first;
        const uint16_t least = least_sum_of(s, segment_of(s, piece));
        for (size_t b = 0; b < piece->blocks; b++)
            count += maxima[b] >= least;
    }
    return count;
}

static void collect_block(uf_searcher *s, ufi_search_worker *w, const ufi_piece *piece,
                          size_t block, uint16_t least, double estimate)
{
    const ufi_segment *g = segment_of(s, piece);
    const ufi_probe *p = &s->probes[s->at];
    const float offset = p->offset[0] + p->offset[1];
    const uint16_t *sum = s->sums + (piece->first + block) * UFK_SKETCH_BLOCK;
    uint32_t mask = s->x->kernels->sketch_mask(sum, least) & mask_of(s, piece, block);
    for (; mask; mask &= mask - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(mask), place = (uint32_t)block * 32 + i;
        if (s->full && (double)((p->unit * sum[i] - offset) * g->factor[place]) < estimate)
            continue;
        ufi_slots_push(&w->slots, piece->segment * UFI_SEGMENT_SLOTS + place);
    }
}

static void collect_piece(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    const ufi_piece *piece = &s->pieces[task];
    const ufi_segment *g = segment_of(s, piece);
    const ufi_probe *p = &s->probes[s->at];
    uint16_t *maxima = s->maxima + s->at * s->block_count + piece->first;
    const uint16_t least = least_sum_of(s, g);
    const double estimate = needed_estimate(s, p, s->full);
    for (size_t b = 0; b < piece->blocks; b++) {
        if (maxima[b] < least)
            continue;
        if (!s->has_sums) {
            uint16_t *sums = s->sums + (piece->first + b) * UFK_SKETCH_BLOCK, *max = maxima + b;
            sum_plane(s, g, 0, b, 1, p, 1, &sums, &max);
        }
        collect_block(s, &s->workers[worker], piece, b, least, estimate);
    }
}

void ufi_search_collect(uf_searcher *s)
{
    ufi_pool_run(s->pool, collect_piece, s, s->piece_count);
}

static void collect_all_piece(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    const ufi_piece *piece = &s->pieces[task];
    for (size_t b = 0; b < piece->blocks; b++)
        for (uint32_t mask = mask_of(s, piece, b); mask; mask &= mask - 1)
            ufi_slots_push(&s->workers[worker].slots, piece->segment * UFI_SEGMENT_SLOTS +
                                                          (uint32_t)b * 32 +
                                                          (uint32_t)__builtin_ctz(mask));
}

void ufi_search_collect_all(uf_searcher *s)
{
    ufi_pool_run(s->pool, collect_all_piece, s, s->piece_count);
}

void ufi_search_take_leaders(uf_searcher *s)
{
    for (unsigned w = 0; w < ufi_pool_size(s->pool); w++) {
        const ufi_leaders *l = &s->workers[w].leaders[s->at];
        for (size_t i = 0; i < l->count; i++)
            ufi_slots_push(&s->workers[0].slots, (uint32_t)l->entry[i]);
    }
}

/* ---- score by codes ---- */

static void score_some(uf_searcher *s, ufi_search_worker *w, const uint32_t *slots, size_t count)
{
    const uf_index *x = s->x;
    const ufi_probe *p = &s->probes[s->at];
    const int8_t *codes[UFI_SEARCH_CODES];
    int32_t dots[UFI_SEARCH_CODES];
    for (size_t i = 0; i < count; i++)
        codes[i] = x->segments[slots[i] / UFI_SEGMENT_SLOTS].code +
                   (size_t)(slots[i] % UFI_SEGMENT_SLOTS) * x->width;
    x->kernels->dot_i8(dots, p->code, codes, count, x->width);
    for (size_t i = 0; i < count; i++) {
        const ufi_segment *g = &x->segments[slots[i] / UFI_SEGMENT_SLOTS];
        const uint32_t place = slots[i] % UFI_SEGMENT_SLOTS;
        const double step = (double)g->step[place], own = (double)p->step;
        /* Rounding errors, uniform within half a step; all at their worst when nothing may be
         * missed. */
        const double slack = isfinite(s->z) ? s->z * sqrt((step * step + own * own) / 12)
                                            : (step + own) / 2 * 1.01 * sqrt((double)x->width);
        const ufi_candidate c = {.key = g->key[place],
                                 .group = g->group[place],
                                 .score = (float)(step * own * dots[i]),
                                 .slack = (float)slack,
                                 .slot = slots[i]};
        if (c.score + c.slack >= s->floor)
            ufi_candidates_push(&w->candidates, &c);
    }
    w->work.codes += count;
}

static void score_list(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    const ufi_slots *l = &s->workers[task].slots;
    for (size_t i = 0; i < l->count; i += UFI_SEARCH_CODES)
        score_some(s, &s->workers[worker], l->slot + i,
                   l->count - i < UFI_SEARCH_CODES ? l->count - i : UFI_SEARCH_CODES);
}

void ufi_search_score(uf_searcher *s)
{
    const unsigned workers = ufi_pool_size(s->pool);
    ufi_pool_run(s->pool, score_list, s, workers);
    for (unsigned w = 0; w < workers; w++) {
        ufi_search_worker *worker = &s->workers[w];
        for (size_t i = 0; i < worker->candidates.count; i++) {
            const ufi_candidate *c = &worker->candidates.item[i];
            ufi_candidates_push(&s->candidates, c);
            ufi_top_offer(&s->top, c->group, c->score - c->slack);
        }
        worker->candidates.count = worker->slots.count = 0;
    }
    s->floor = fmaxf(s->floor, ufi_top_floor(&s->top));
}
