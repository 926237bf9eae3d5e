/*
 * Many probes at once, where a matrix unit multiplies them with all codes faster than sketches
 * could be looked at: every code is read once for all of them. The best by their codes (leaders)
 * become candidates. A probe whose leaders may not be all that matter (a crowd of equals) is
 * searched by itself.
 */
#include <math.h>
#include <string.h>

#include "index/search.h"

/* Scores as whole numbers that keep their order, as leaders have them. */
#define RANK_ZERO 1.25f
#define RANK_UNIT 1.6e9f

static uint32_t rank_of(float score)
{
    const float rank = (score + RANK_ZERO) * RANK_UNIT;
    return rank < 0 ? 0 : rank >= 4.29e9f ? UINT32_MAX : (uint32_t)rank;
}

/* A score that is not below those of this rank or less, but for rounding. */
static float score_of(uint32_t rank)
{
    return (float)rank / RANK_UNIT - RANK_ZERO;
}

bool ufi_search_many_pays(const uf_searcher *s)
{
    return s->x->kernels->dot_many_pays && s->probe_count >= UFI_SEARCH_MANY &&
           s->x->options.detail != UF_INDEX_SKETCH;
}

/* From which sum * step on a pair is of interest to worker `w`. */
static void set_bounds(const uf_searcher *s, ufi_search_worker *w, float bounds[UFK_DOT_PROBES])
{
    for (size_t p = 0; p < UFK_DOT_PROBES; p++) {
        const uint32_t least = p < s->probe_count ? w->leaders[p].least : 0;
        bounds[p] = p >= s->probe_count ? INFINITY
                    : least == 0        ? -INFINITY
                                        : score_of(least) / s->probes[p].step;
    }
}

static void offer(const uf_searcher *s, ufi_search_worker *w, const ufi_piece *piece,
                  uint32_t first, size_t count)
{
    const ufi_segment *g = &s->x->segments[piece->segment];
    for (size_t i = 0; i < count; i++) {
        const ufk_near *n = &w->near[i];
        const uint32_t place = first + n->code;
        const uint32_t held = s->filtered
                                  ? g->mask[place / 32] & s->allowed[piece->first + place / 32]
                                  : g->mask[place / 32];
        ufi_leaders *l = &w->leaders[n->probe];
        const uint32_t rank = rank_of((float)n->sum * g->step[place] * s->probes[n->probe].step);
        if ((held >> (place % 32) & 1) && rank > l->least)
            ufi_leaders_offer(l, rank, piece->segment * UFI_SEGMENT_SLOTS + place);
    }
}

static void scan_codes(void *arg, size_t task, size_t worker)
{
    uf_searcher *s = arg;
    const ufi_piece *piece = &s->pieces[task];
    const ufi_segment *g = &s->x->segments[piece->segment];
    ufi_search_worker *w = &s->workers[worker];
    const uint32_t slots = piece->blocks * UFK_SKETCH_BLOCK;
    float bounds[UFK_DOT_PROBES];
    for (uint32_t first = 0; first < slots; first += UFK_DOT_CODES) {
        const uint32_t left = slots - first;
        set_bounds(s, w, bounds);
        const ufk_dot_many_args a = {.probes = s->packed,
                                     .codes = g->code + (size_t)first * s->x->width,
                                     .count = left < UFK_DOT_CODES ? left : UFK_DOT_CODES,
                                     .n = s->x->width,
                                     .steps = g->step + first,
                                     .bounds = bounds,
                                     .out = w->near};
        offer(s, w, piece, first, s->x->kernels->dot_many_i8(&a));
    }
    w->work.codes += slots * s->probe_count;
}

void ufi_search_scan_many(uf_searcher *s)
{
    for (size_t p = 0; p < s->probe_count; p++) {
        ufk_dot_many_pack(s->packed, p, s->probes[p].code, s->x->width);
        ufi_search_clear_leaders(s, p);
    }
    ufi_pool_run(s->pool, scan_codes, s, s->piece_count);
}

bool ufi_search_leaders_suffice(const uf_searcher *s)
{
    const double own = (double)s->probes[s->at].step;
    double step = 0;
    for (size_t i = 0; i < s->piece_count; i++)
        step = fmax(step, (double)s->x->segments[s->pieces[i].segment].step_max);
    const double slack = s->z_codes * sqrt((step * step + own * own) / 12) + 1e-5;
    for (unsigned w = 0; w < ufi_pool_size(s->pool); w++) {
        const uint32_t least = s->workers[w].leaders[s->at].least;
        if (least > 0 &&
            (double)score_of(least) + slack >= (double)s->workers[0].found[s->at].floor)
            return false;
    }
    return true;
}
