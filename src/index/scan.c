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

/* The least sum that means at least `estimate` under a factor; 1 at least: a maximum of 0 marks a
 * block that is out. */
static uint16_t least_sum(const ufi_probe *p, double estimate, double factor, bool full)
{
    const double offset = (double)p->offset[0] + (full ? (double)p->offset[1] : 0);
    const double sum = floor((estimate / factor + offset) / (double)p->unit);
    return sum <= 1 ? 1 : sum >= UINT16_MAX ? UINT16_MAX : (uint16_t)sum;
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

/* Sums of some probes over a plane of some blocks of a segment. */
static void sum_plane(const uf_searcher *s, const ufi_segment *g, int plane, size_t block,
                      size_t blocks, const size_t *probes, size_t count, uint16_t *const sums[],
                      uint16_t *const maxima[])
{
    const uf_index *x = s->x;
    ufk_sketch_args a = {.codes = g->plane[plane] + block * x->rows[plane] * UFK_SKETCH_BLOCK,
                         .blocks = blocks,
                         .rows = x->rows[plane],
                         .probes = count,
                         .accumulate = plane > 0};
    for (size_t i = 0; i < count; i++) {
        a.tables[i] = s->probes[probes[i]].tables + (plane ? x->rows[0] * 32 : 0);
        a.sums[i] = sums[i];
        a.maxima[i] = maxima[i];
    }
    x->kernels->sketch_scan(&a);
}

static uint16_t *maxima_of(const uf_searcher *s, size_t probe, const ufi_piece *piece, size_t block)
{
    return s->maxima + probe * s->block_count + piece->first + block;
}

static uint16_t *sums_of(const uf_searcher *s, const ufi_piece *piece, size_t block)
{
    return s->sums + (piece->first + block) * UFK_SKETCH_BLOCK;
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

/* ---- scan and refine ---- */

/* The sums of up to four probes over the first planes of a tile, and what leads among them. */
static void scan_tile(uf_searcher *s, ufi_search_worker *w, const ufi_piece *piece, size_t block,
                      size_t blocks, const size_t *probes, size_t count, int planes)
{
    uint16_t *sums[UFK_SKETCH_PROBES], *maxima[UFK_SKETCH_PROBES];
    for (size_t i = 0; i < count; i++) {
        sums[i] = s->probe_count == 1 ? sums_of(s, piece, block)
                                      : w->sums + i * UFI_SEARCH_TILE * UFK_SKETCH_BLOCK;
        maxima[i] = maxima_of(s, probes[i], piece, block);
    }
    for (int p = 0; p < planes; p++)
        sum_plane(s, segment_of(s, piece), p, block, blocks, probes, count, sums, maxima);
    for (size_t i = 0; i < count; i++)
        offer_blocks(s, &w->leaders[probes[i]], piece, block, blocks, sums[i], maxima[i]);
    w->work.sketches += blocks * UFK_SKETCH_BLOCK * count;
}

static void scan_piece(uf_searcher *s, size_t task, size_t worker, int planes)
{
    const ufi_piece *piece = &s->pieces[task];
    size_t probes[UFI_SEARCH_PROBES], count = 0;
    for (size_t p = 0; p < s->probe_count; p++)
        if (planes == 1 || s->refined[p])
            probes[count++] = p;
    for (size_t b = 0; b < piece->blocks; b += UFI_SEARCH_TILE) {
        const size_t left = piece->blocks - b;
        const size_t blocks = left < UFI_SEARCH_TILE ? left : UFI_SEARCH_TILE;
        for (size_t p = 0; p < count; p += UFK_SKETCH_PROBES)
            scan_tile(s, &s->workers[worker], piece, b, blocks, probes + p,
                      count - p < UFK_SKETCH_PROBES ? count - p : UFK_SKETCH_PROBES, planes);
    }
}

static void scan_first(void *arg, size_t task, size_t worker)
{
    scan_piece(arg, task, worker, 1);
}

static void scan_both(void *arg, size_t task, size_t worker)
{
    scan_piece(arg, task, worker, 2);
}

void ufi_search_clear_leaders(uf_searcher *s, size_t probe)
{
    for (unsigned w = 0; w < ufi_pool_size(s->pool); w++) {
        s->workers[w].leaders[probe].count = 0;
        s->workers[w].leaders[probe].least = 0;
    }
}

void ufi_search_scan(uf_searcher *s)
{
    for (size_t p = 0; p < s->probe_count; p++)
        ufi_search_clear_leaders(s, p);
    ufi_pool_run(s->pool, scan_first, s, s->piece_count);
}

/* Adds plane 1 to the stored sums of a single probe, in blocks that may reach the floor. */
static void refine_run(uf_searcher *s, ufi_search_worker *w, const ufi_piece *piece, size_t block,
                       size_t blocks)
{
    uint16_t *sums = sums_of(s, piece, block), *maxima = maxima_of(s, 0, piece, block);
    const size_t probe = 0;
    sum_plane(s, segment_of(s, piece), 1, block, blocks, &probe, 1, &sums, &maxima);
    offer_blocks(s, &w->leaders[0], piece, block, blocks, sums, maxima);
    w->work.sketches += blocks * UFK_SKETCH_BLOCK;
}

static void refine_piece(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    const ufi_piece *piece = &s->pieces[task];
    uint16_t *maxima = maxima_of(s, 0, piece, 0);
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
    for (size_t p = 0; p < s->probe_count; p++)
        if (s->refined[p])
            ufi_search_clear_leaders(s, p);
    ufi_pool_run(s->pool, s->probe_count == 1 ? refine_piece : scan_both, s, s->piece_count);
}

/* ---- collect ---- */

size_t ufi_search_blocks_left(const uf_searcher *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->piece_count; i++) {
        const ufi_piece *piece = &s->pieces[i];
        const uint16_t *maxima = maxima_of(s, s->at, piece, 0);
        const uint16_t least = least_sum_of(s, segment_of(s, piece));
        for (size_t b = 0; b < piece->blocks; b++)
            count += maxima[b] >= least;
    }
    return count;
}

/* Two bits a coordinate: with o_i about (0.9814 s_i + 0.5286 u_i) / sqrt(width), s_i the sign and
 * u_i the kept bit as +-1, the cosine is about that sum with q_i, over what such levels keep of a
 * unit vector, 0.8825. The deviation is that of the rest, sqrt((1 / 0.8825 - 1) / width), and of
 * the rounding of q_i in either sum. */
static const double sign_weight = 0.9814 / 0.8825, level_weight = 0.5286 / 0.8825;

static double level_deviation(const uf_searcher *s, const ufi_probe *p)
{
    const double width = s->x->width;
    const double unit = (double)p->unit * sign_weight,
                 step = 2 * (double)p->half_step * level_weight;
    return sqrt((0.1331 + unit * unit / 12 * (width / 4) + step * step / 12 * width) / width);
}

/* Of the pending slots, those that may reach the floor. */
static void flush_pending(uf_searcher *s, ufi_search_worker *w)
{
    const uf_index *x = s->x;
    const ufi_probe *p = &s->probes[s->at];
    const double width = x->width, all = (1 << UFK_SKETCH_PROBE_BITS) - 1;
    const double needed = ((double)s->floor - s->z * level_deviation(s, p)) * sqrt(width);
    const uint8_t *bits[UFI_SEARCH_CODES] = {NULL};
    uint32_t differ[UFI_SEARCH_CODES];
    for (size_t i = 0; i < w->pending_count; i++)
        bits[i] = x->segments[w->pending[i] / UFI_SEGMENT_SLOTS].level +
                  (size_t)(w->pending[i] % UFI_SEGMENT_SLOTS) * (x->width / 8);
    x->kernels->sketch_count(differ, p->bits, bits, w->pending_count, x->width / 64);
    for (size_t i = 0; i < w->pending_count; i++) {
        const double level = (double)p->half_step * (all * width - 2.0 * differ[i]);
        if (sign_weight * (double)w->pending_sum[i] + level_weight * level >= needed)
            ufi_slots_push(&w->slots, w->pending[i]);
    }
    w->pending_count = 0;
}

static void collect_block(uf_searcher *s, ufi_search_worker *w, const ufi_piece *piece,
                          size_t block, uint16_t least, double estimate)
{
    const ufi_segment *g = segment_of(s, piece);
    const ufi_probe *p = &s->probes[s->at];
    const float offset = p->offset[0] + p->offset[1];
    const uint16_t *sums = sums_of(s, piece, block);
    uint32_t mask = s->x->kernels->sketch_mask(sums, least) & mask_of(s, piece, block);
    for (; mask; mask &= mask - 1) {
        const uint32_t i = (uint32_t)__builtin_ctz(mask), place = (uint32_t)block * 32 + i;
        const uint32_t slot = piece->segment * UFI_SEGMENT_SLOTS + place;
        const float sum = p->unit * sums[i] - offset;
        if (s->full && (double)(sum * g->factor[place]) < estimate)
            continue;
        if (!s->full || !g->level) {
            ufi_slots_push(&w->slots, slot);
            continue;
        }
        __builtin_prefetch(g->level + (size_t)place * (s->x->width / 8), 0, 2);
        w->pending[w->pending_count] = slot;
        w->pending_sum[w->pending_count++] = sum;
        if (w->pending_count == UFI_SEARCH_CODES)
            flush_pending(s, w);
    }
}

static void collect_piece(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    const ufi_piece *piece = &s->pieces[task];
    const ufi_segment *g = segment_of(s, piece);
    uint16_t *maxima = maxima_of(s, s->at, piece, 0);
    const uint16_t least = least_sum_of(s, g);
    const double estimate = needed_estimate(s, &s->probes[s->at], s->full);
    for (size_t b = 0; b < piece->blocks; b++) {
        if (maxima[b] < least)
            continue;
        if (!s->has_sums) {
            uint16_t *sums = sums_of(s, piece, b), *max = maxima + b;
            for (int plane = 0; plane <= (s->full && s->x->rows[1]); plane++)
                sum_plane(s, g, plane, b, 1, &s->at, 1, &sums, &max);
        }
        collect_block(s, &s->workers[worker], piece, b, least, estimate);
    }
    if (s->workers[worker].pending_count)
        flush_pending(s, &s->workers[worker]);
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
    const int8_t *codes[UFI_SEARCH_CODES] = {NULL};
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
