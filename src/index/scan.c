/*
 * The stages of a search that read sketches and codes, cut among the workers by segments.
 *
 * What a sketch tells. A rotated vector o of unit length and a probe q with cosine c: sum of
 * sign(o_i) q_i over a plane estimates c. Over both planes the estimate, times 1 / sqrt(2 width /
 * pi), has at most the variance (pi/2 - 1) / width (RaBitQ, theorem 3.2, has 1 / sum |o_i| instead,
 * the vector's own: in 20,000 pairs of 512 dimensions the deviation was 0.0334 with either at c =
 * 0, 0.0330 at 0.2, 0.0277 instead of 0.0267 at 0.6). Over plane 0, which has the share n of the
 * probe's squared length, the factor is 1 / (sqrt(2 width / pi) n), and the other plane's part is
 * unknown, which adds up to (pi/2 - 1 + 1 - n) / (width n). The rounding of the tables adds
 * unit^2 / 12 for each value.
 */
#include <math.h>
#include <string.h>

#include "index/search.h"

/* ---- from floors to sums ---- */

static ufi_bounds bounds_of(const uf_searcher *s, const ufi_probe *p, bool full)
{
    const uf_index *x = s->x;
    const double width = x->width, gauss = 2 / M_PI * width, unit = (double)p->unit;
    const double n = full ? 1 : (double)p->square[0];
    const double values = 2.0 * (double)(x->rows[0] + (full ? x->rows[1] : 0));
    const double variance =
        (M_PI / 2 - 1 + 1 - n) / (width * n) + unit * unit / 12 * values / (gauss * n * n);
    const double offset = (double)p->offset[0] + (full ? (double)p->offset[1] : 0);
    return (ufi_bounds){s->z_signs * sqrt(variance), sqrt(gauss) * n / unit, offset / unit};
}

void ufi_search_set_bounds(uf_searcher *s)
{
    for (size_t p = 0; p < s->probe_count; p++) {
        s->first[p] = bounds_of(s, &s->probes[p], false);
        s->full[p] = bounds_of(s, &s->probes[p], true);
    }
}

/* 1 at least: a maximum of 0 marks an empty block. */
uint16_t ufi_search_least_sum(const ufi_bounds *b, float floor)
{
    const double sum = ((double)floor - b->margin) * b->scale + b->offset;
    return sum <= 1 ? 1 : sum >= UINT16_MAX ? UINT16_MAX : (uint16_t)sum;
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
        a.tables[i] = s->probes[probes[i]].tables + (plane ? x->rows[0] * 64 : 0);
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

/* ---- scan ---- */

/* The sums of up to four probes over the first planes of a tile, and what leads among them. */
static void scan_tile(uf_searcher *s, ufi_search_worker *w, const ufi_piece *piece, size_t block,
                      size_t blocks, const size_t *probes, size_t count)
{
    uint16_t *sums[UFK_SKETCH_PROBES], *maxima[UFK_SKETCH_PROBES];
    for (size_t i = 0; i < count; i++) {
        sums[i] = s->probe_count == 1 ? sums_of(s, piece, block)
                                      : w->sums + i * UFI_SEARCH_TILE * UFK_SKETCH_BLOCK;
        maxima[i] = maxima_of(s, probes[i], piece, block);
    }
    sum_plane(s, segment_of(s, piece), 0, block, blocks, probes, count, sums, maxima);
    for (size_t i = 0; i < count; i++)
        offer_blocks(s, &w->leaders[probes[i]], piece, block, blocks, sums[i], maxima[i]);
    w->work.sketches += blocks * UFK_SKETCH_BLOCK * count;
}

static void scan_piece(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    const ufi_piece *piece = &s->pieces[task];
    for (size_t b = 0; b < piece->blocks; b += UFI_SEARCH_TILE) {
        const size_t left = piece->blocks - b;
        const size_t blocks = left < UFI_SEARCH_TILE ? left : UFI_SEARCH_TILE;
        for (size_t p = 0; p < s->probe_count; p += UFK_SKETCH_PROBES) {
            const size_t probes[UFK_SKETCH_PROBES] = {p, p + 1, p + 2, p + 3};
            const size_t count = s->probe_count - p;
            scan_tile(s, &s->workers[worker], piece, b, blocks, probes,
                      count < UFK_SKETCH_PROBES ? count : UFK_SKETCH_PROBES);
        }
    }
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
    ufi_pool_run(s->pool, scan_piece, s, s->piece_count);
}

/* ---- score by codes ---- */

static void score_some(const uf_searcher *s, ufi_found *f, size_t probe, const uint64_t *entries,
                       size_t count)
{
    const uf_index *x = s->x;
    const ufi_probe *p = &s->probes[probe];
    const int8_t *codes[UFI_SEARCH_CODES] = {NULL};
    int32_t dots[UFI_SEARCH_CODES];
    for (size_t i = 0; i < count; i++) {
        const uint32_t slot = (uint32_t)entries[i];
        codes[i] = x->segments[slot / UFI_SEGMENT_SLOTS].code +
                   (size_t)(slot % UFI_SEGMENT_SLOTS) * x->width;
    }
    x->kernels->dot_i8(dots, p->code, codes, count, x->width);
    for (size_t i = 0; i < count; i++) {
        const uint32_t slot = (uint32_t)entries[i], place = slot % UFI_SEGMENT_SLOTS;
        const ufi_segment *g = &x->segments[slot / UFI_SEGMENT_SLOTS];
        const double step = (double)g->step[place], own = (double)p->step;
        /* Rounding errors, uniform within half a step; all at their worst when nothing may be
         * missed. */
        const double slack = isfinite(s->z_codes)
                                 ? s->z_codes * sqrt((step * step + own * own) / 12)
                                 : (step + own) / 2 * 1.01 * sqrt((double)x->width);
        const float score = (float)(step * own * dots[i]);
        if (score + (float)slack < f->floor)
            continue;
        const ufi_candidate c = {g->key[place], g->group[place], score, (float)slack, slot};
        ufi_candidates_push(&f->candidates, &c);
        ufi_top_offer(&f->top, c.group, c.score - c.slack);
        f->floor = fmaxf(f->floor, ufi_top_floor(&f->top));
    }
}

static void score_found(uf_searcher *s, ufi_search_worker *w, ufi_found *f, size_t probe)
{
    for (size_t i = 0; i < f->slots.count; i += UFI_SEARCH_CODES) {
        const size_t left = f->slots.count - i;
        score_some(s, f, probe, f->slots.entry + i,
                   left < UFI_SEARCH_CODES ? left : UFI_SEARCH_CODES);
    }
    w->work.codes += f->slots.count;
    f->slots.count = 0;
}

void ufi_search_take_leaders(uf_searcher *s, size_t probe)
{
    for (unsigned w = 0; w < ufi_pool_size(s->pool); w++) {
        const ufi_leaders *l = &s->workers[w].leaders[probe];
        for (size_t i = 0; i < l->count; i++)
            ufi_slots_push(&s->workers[0].found[probe].slots, l->entry[i]);
    }
}

void ufi_search_share_floor(uf_searcher *s, size_t probe)
{
    for (unsigned w = 1; w < ufi_pool_size(s->pool); w++)
        s->workers[w].found[probe].floor = s->workers[0].found[probe].floor;
}

static void score_leaders(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    ufi_search_take_leaders(s, task);
    score_found(s, &s->workers[worker], &s->workers[0].found[task], task);
    ufi_search_share_floor(s, task);
}

void ufi_search_score_leaders(uf_searcher *s)
{
    ufi_pool_run(s->pool, score_leaders, s, s->probe_count);
}

static void score_piece(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    const ufi_piece *piece = &s->pieces[task];
    ufi_found *f = &s->workers[worker].found[s->at];
    for (size_t b = 0; b < piece->blocks; b++)
        for (uint32_t mask = mask_of(s, piece, b); mask; mask &= mask - 1)
            ufi_slots_push(&f->slots, piece->segment * UFI_SEGMENT_SLOTS + (uint32_t)b * 32 +
                                          (uint32_t)__builtin_ctz(mask));
    if (segment_of(s, piece)->code)
        score_found(s, &s->workers[worker], f, s->at);
}

void ufi_search_score_all(uf_searcher *s)
{
    ufi_pool_run(s->pool, score_piece, s, s->piece_count);
}

/* ---- deep ---- */

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

/* Of the pending vectors, those that may reach the floor by two bits a coordinate. */
static void weigh_pending(uf_searcher *s, ufi_search_worker *w)
{
    const uf_index *x = s->x;
    const ufi_pending *n = &w->pending;
    const ufi_probe *p = &s->probes[n->probe];
    const ufi_segment *g = &x->segments[n->segment];
    ufi_found *f = &w->found[n->probe];
    const double width = x->width, offset = (double)(p->offset[0] + p->offset[1]);
    const double all = (1 << UFK_SKETCH_PROBE_BITS) - 1, bit = level_weight * (double)p->half_step;
    const double needed = ((double)f->floor - s->z_level * level_deviation(s, p)) * sqrt(width);
    const float sum_weight = (float)(sign_weight * (double)p->unit), bit_weight = (float)(2 * bit);
    const float least = (float)(needed + sign_weight * offset - bit * all * width);
    x->kernels->sketch_count(w->differ, p->bits, g->level, n->entry, n->count, x->width / 64);
    for (size_t i = 0; i < n->count; i++) {
        const uint32_t sum = n->entry[i] >> 16, place = n->entry[i] & 0xFFFF;
        if (sum_weight * (float)sum - bit_weight * (float)w->differ[i] < least)
            continue;
        for (size_t k = 0; k < x->width; k += 64)
            __builtin_prefetch(g->code + (size_t)place * x->width + k, 0, 2);
        ufi_slots_push(&f->slots, (uint64_t)sum << 32 | (n->segment * UFI_SEGMENT_SLOTS + place));
    }
    w->pending.count = 0;
    if (f->slots.count >= UFI_SEARCH_CODES)
        score_found(s, w, f, n->probe);
}

/* What may reach the floor of a probe by its sums over both planes. */
static void pick(uf_searcher *s, ufi_search_worker *w, const ufi_piece *piece, size_t probe,
                 size_t block, size_t blocks, const uint16_t *sums)
{
    const ufi_segment *g = segment_of(s, piece);
    ufi_found *f = &w->found[probe];
    uint32_t held[UFI_SEARCH_TILE];
    for (size_t b = 0; b < blocks; b++)
        held[b] = mask_of(s, piece, block + b);
    ufi_pending n = w->next;
    n.probe = probe;
    n.segment = piece->segment;
    n.count = s->x->kernels->sketch_pick(n.entry, sums, held, blocks, (uint32_t)block * 32,
                                         ufi_search_least_sum(&s->full[probe], f->floor));
    if (!g->level) {
        for (size_t i = 0; i < n.count; i++)
            ufi_slots_push(&f->slots, (uint64_t)(n.entry[i] >> 16) << 32 |
                                          (n.segment * UFI_SEGMENT_SLOTS + (n.entry[i] & 0xFFFF)));
        return;
    }
    for (size_t i = 0; i < n.count && i < UFK_SKETCH_AHEAD; i++)
        __builtin_prefetch(g->level + (size_t)(n.entry[i] & 0xFFFF) * (s->x->width / 8), 0, 2);
    if (w->pending.count)
        weigh_pending(s, w);
    w->next = w->pending;
    w->pending = n;
}

/* Some probes in some blocks. Of a single probe plane 0 was added up before. */
static void deep_run(uf_searcher *s, ufi_search_worker *w, const ufi_piece *piece, size_t block,
                     size_t blocks, const size_t *probes, size_t count)
{
    uint16_t *sums[UFK_SKETCH_PROBES], *maxima[UFK_SKETCH_PROBES];
    const int planes = s->x->rows[1] ? 2 : 1;
    for (size_t i = 0; i < count; i++) {
        sums[i] = s->probe_count == 1 ? sums_of(s, piece, block)
                                      : w->sums + i * UFI_SEARCH_TILE * UFK_SKETCH_BLOCK;
        maxima[i] = maxima_of(s, probes[i], piece, block);
    }
    for (int plane = s->probe_count == 1; plane < planes; plane++) {
        sum_plane(s, segment_of(s, piece), plane, block, blocks, probes, count, sums, maxima);
        w->work.sketches += blocks * UFK_SKETCH_BLOCK * count;
    }
    for (size_t i = 0; i < count; i++)
        pick(s, w, piece, probes[i], block, blocks, sums[i]);
}

/* A probe in those blocks of a tile which may reach its floor, where these are few. Otherwise it
 * belongs to the crowd. */
static bool deep_few(uf_searcher *s, ufi_search_worker *w, const ufi_piece *piece, size_t block,
                     size_t blocks, size_t probe)
{
    const uint16_t *maxima = maxima_of(s, probe, piece, block);
    const uint16_t least = ufi_search_least_sum(&s->first[probe], w->found[probe].floor);
    size_t left = 0;
    for (size_t b = 0; b < blocks; b++)
        left += maxima[b] >= least;
    if (left > blocks / 2)
        return false;
    for (size_t b = 0; left && b < blocks; b++) {
        size_t end = b;
        while (end < blocks && maxima[end] >= least)
            end++;
        left -= end - b;
        if (end > b)
            deep_run(s, w, piece, block + b, end - b, &probe, 1);
        b = end;
    }
    return true;
}

static void deep_tile(uf_searcher *s, ufi_search_worker *w, const ufi_piece *piece, size_t block,
                      size_t blocks)
{
    size_t crowd[UFI_SEARCH_PROBES], count = 0;
    for (size_t p = s->deep_first; p < s->deep_end; p++)
        if (!deep_few(s, w, piece, block, blocks, p))
            crowd[count++] = p;
    for (size_t i = 0; i < count; i += UFK_SKETCH_PROBES)
        deep_run(s, w, piece, block, blocks, crowd + i,
                 count - i < UFK_SKETCH_PROBES ? count - i : UFK_SKETCH_PROBES);
}

static void deep_piece(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    const ufi_piece *piece = &s->pieces[task];
    for (size_t b = 0; b < piece->blocks; b += UFI_SEARCH_TILE) {
        const size_t left = piece->blocks - b;
        deep_tile(s, &s->workers[worker], piece, b,
                  left < UFI_SEARCH_TILE ? left : UFI_SEARCH_TILE);
    }
}

static void deep_end(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    ufi_search_worker *w = &s->workers[task];
    (void)worker;
    if (w->pending.count)
        weigh_pending(s, w);
    for (size_t p = s->deep_first; p < s->deep_end; p++)
        score_found(s, w, &w->found[p], p);
}

void ufi_search_deep(uf_searcher *s, bool one)
{
    s->deep_first = one ? s->at : 0;
    s->deep_end = one ? s->at + 1 : s->probe_count;
    ufi_pool_run(s->pool, deep_piece, s, s->piece_count);
    if (s->x->options.detail != UF_INDEX_SKETCH)
        ufi_pool_run(s->pool, deep_end, s, ufi_pool_size(s->pool));
}
