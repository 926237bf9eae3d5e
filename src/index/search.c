/* Searches: their memory, their order (search.h), and the probes of a call in batches. */
#include "index/search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/seal.h"
#include "base/status.h"

enum { LEADERS = 96, SKETCH_LEADERS = 24 };

/* ---- making ---- */

static bool make_picks(ufi_search_worker *w)
{
    enum { ALL = UFI_SEARCH_TILE * UFK_SKETCH_BLOCK, ROOM = ALL + 16 };
    w->pick_memory = ufi_aligned_malloc((2 * ROOM + ALL) * sizeof *w->pick_memory);
    w->pending.entry = w->pick_memory;
    w->next.entry = w->pick_memory + ROOM;
    w->differ = w->pick_memory + 2 * ROOM;
    return w->pick_memory != NULL;
}

static bool make_workers(uf_searcher *s)
{
    const unsigned count = ufi_pool_size(s->pool);
    s->workers = ufi_calloc(count, sizeof *s->workers);
    for (unsigned w = 0; s->workers && w < count; w++) {
        s->workers[w].sums = ufi_aligned_malloc((size_t)UFK_SKETCH_PROBES * UFI_SEARCH_TILE *
                                                UFK_SKETCH_BLOCK * sizeof *s->workers[w].sums);
        if (s->x->kernels->dot_many_pays)
            s->workers[w].near =
                ufi_malloc((size_t)UFK_DOT_CODES * UFK_DOT_PROBES, sizeof *s->workers[w].near);
        if (!s->workers[w].sums || (s->x->kernels->dot_many_pays && !s->workers[w].near) ||
            !make_picks(&s->workers[w]))
            return false;
    }
    return s->workers != NULL;
}

static bool make_probes(uf_searcher *s)
{
    const size_t one = ufi_probe_layout(s->x, &s->probes[0], NULL);
    s->probe_bytes = (one + s->x->width) * UFI_SEARCH_PROBES;
    s->probe_memory = ufi_secret_alloc(s->probe_bytes, NULL);
    for (size_t i = 0; s->probe_memory && i < UFI_SEARCH_PROBES; i++)
        ufi_probe_layout(s->x, &s->probes[i], s->probe_memory + i * one);
    s->packed = (int8_t *)s->probe_memory + UFI_SEARCH_PROBES * one;
    s->exact = ufi_aligned_malloc((size_t)UFI_SEARCH_CODES * s->x->dimension * sizeof *s->exact);
    s->exact_keys = ufi_malloc(UFI_SEARCH_CODES, sizeof *s->exact_keys);
    s->top.group = ufi_malloc(UF_INDEX_MAX_HITS, sizeof *s->top.group);
    s->top.score = ufi_malloc(UF_INDEX_MAX_HITS, sizeof *s->top.score);
    return s->probe_memory && s->exact && s->exact_keys && s->top.group && s->top.score;
}

uf_status uf_searcher_create(uf_searcher **out, uf_index *x, uint32_t threads, uf_error *err)
{
    if (!out || !x)
        return ufi_fail(err, UF_E_ARG,
                        "uf_searcher_create: no index or nowhere to put the searcher");
    *out = NULL;
    uf_searcher *s = ufi_calloc(1, sizeof *s);
    if (!s)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a searcher");
    s->x = x;
    s->z_rate = -1;
    uf_status st = ufi_pool_create(&s->pool, threads ? threads : ufi_cpu_count(), err);
    if (!st && (!make_workers(s) || !make_probes(s)))
        st = ufi_fail(err, UF_E_NOMEM, "no memory for a searcher");
    if (st) {
        uf_searcher_destroy(s);
        return st;
    }
    snprintf(s->kernels, sizeof s->kernels, "%s, %s, %s", x->kernels->sketch_name,
             x->kernels->dot_i8_name, x->kernels->dot_f32_name);
    *out = s;
    return UF_OK;
}

void uf_searcher_destroy(uf_searcher *s)
{
    if (!s)
        return;
    for (unsigned w = 0; s->workers && w < ufi_pool_size(s->pool); w++) {
        ufi_free(s->workers[w].sums);
        ufi_free(s->workers[w].near);
        ufi_free(s->workers[w].pick_memory);
        for (size_t p = 0; p < UFI_SEARCH_PROBES; p++) {
            ufi_free(s->workers[w].found[p].slots.entry);
            ufi_free(s->workers[w].found[p].candidates.item);
        }
    }
    ufi_free(s->workers);
    ufi_pool_destroy(s->pool);
    ufi_free(s->leader_memory);
    ufi_free(s->pieces);
    ufi_free(s->sums);
    ufi_free(s->maxima);
    ufi_free(s->allowed);
    ufi_secret_free(s->probe_memory, s->probe_bytes);
    ufi_free(s->exact);
    ufi_free(s->exact_keys);
    ufi_free(s->top.group);
    ufi_free(s->top.score);
    ufi_free(s->candidates.item);
    ufi_free(s);
}

const char *uf_searcher_kernels(const uf_searcher *s)
{
    return s->kernels;
}

/* ---- memory that grows with the index and the call ---- */

static bool room(void **p, size_t *have, size_t want, size_t size)
{
    if (*have >= want)
        return true;
    ufi_free(*p);
    *have = 0;
    *p = ufi_aligned_malloc((want + want / 8) * size);
    if (*p)
        *have = want + want / 8;
    return *p != NULL;
}

#define ROOM(s, field, want) \
    room((void **)&(s)->field, &(s)->field##_room, want, sizeof *(s)->field)

/* And the tops of what is found. */
static bool make_leaders(uf_searcher *s)
{
    const unsigned count = ufi_pool_size(s->pool);
    const size_t least = s->x->options.detail == UF_INDEX_SKETCH ? SKETCH_LEADERS : LEADERS;
    const size_t wanted = least + 4 * (size_t)s->options.top_k;
    if (s->leader_memory && s->workers[0].leaders[0].wanted == wanted)
        return true;
    const size_t k = s->options.top_k, one = 2 * wanted + k + (k + 1) / 2;
    ufi_free(s->leader_memory);
    s->leader_memory = ufi_malloc(count * UFI_SEARCH_PROBES, one * sizeof(uint64_t));
    if (!s->leader_memory)
        return false;
    for (size_t i = 0; i < count * UFI_SEARCH_PROBES; i++) {
        ufi_search_worker *w = &s->workers[i / UFI_SEARCH_PROBES];
        uint64_t *memory = s->leader_memory + i * one;
        w->leaders[i % UFI_SEARCH_PROBES] = (ufi_leaders){.entry = memory, .wanted = wanted};
        w->found[i % UFI_SEARCH_PROBES].top =
            (ufi_top){.group = memory + 2 * wanted,
                      .score = (float *)(void *)(memory + 2 * wanted + k),
                      .wanted = k};
    }
    return true;
}

/* The segments that a search looks at: all, or those of lists in `chosen` (a bit a list). */
static bool make_pieces(uf_searcher *s, const uint8_t *chosen)
{
    const uf_index *x = s->x;
    if (s->piece_room < x->segment_count) {
        ufi_free(s->pieces);
        s->piece_room = 0;
        s->pieces = ufi_malloc(x->segment_count + 16, sizeof *s->pieces);
        if (!s->pieces)
            return false;
        s->piece_room = x->segment_count + 16;
    }
    s->piece_count = s->block_count = 0;
    for (size_t i = 0; i < x->segment_count; i++) {
        const ufi_segment *g = &x->segments[i];
        const uint32_t blocks = (g->used + UFK_SKETCH_BLOCK - 1) / UFK_SKETCH_BLOCK;
        if (!g->live || (chosen && !(chosen[g->list / 8] >> (g->list % 8) & 1)))
            continue;
        s->pieces[s->piece_count++] = (ufi_piece){(uint32_t)i, blocks, s->block_count};
        s->block_count += blocks;
    }
    return ROOM(s, sums, s->block_count * UFK_SKETCH_BLOCK) &&
           ROOM(s, maxima, s->block_count * s->probe_count) && ROOM(s, allowed, s->block_count);
}

/* ---- filter ---- */

static bool among(const uint64_t *groups, size_t count, uint64_t group)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (groups[middle] < group)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && groups[low] == group;
}

/* A bit for each slot whose group is wanted; a small hash table keeps most others away from the
 * search by halves. Returns their number. */
static size_t make_filter(uf_searcher *s)
{
    enum { BITS = 1 << 16 };
    static const uint64_t spread = 0x9E3779B97F4A7C15u;
    uint8_t seen[BITS / 8] = {0};
    size_t count = 0;
    for (size_t i = 0; i < s->options.group_count; i++) {
        const uint32_t h = (uint32_t)(s->options.groups[i] * spread >> 48);
        seen[h / 8] |= (uint8_t)(1u << (h % 8));
    }
    for (size_t i = 0; i < s->piece_count; i++) {
        const ufi_piece *piece = &s->pieces[i];
        const ufi_segment *g = &s->x->segments[piece->segment];
        for (size_t b = 0; b < piece->blocks; b++) {
            uint32_t allowed = 0;
            for (uint32_t mask = g->mask[b]; mask; mask &= mask - 1) {
                const uint32_t k = (uint32_t)__builtin_ctz(mask);
                const uint64_t group = g->group[b * 32 + k];
                const uint32_t h = (uint32_t)(group * spread >> 48);
                if (seen[h / 8] >> (h % 8) & 1 &&
                    among(s->options.groups, s->options.group_count, group))
                    allowed |= 1u << k;
            }
            s->allowed[piece->first + b] = allowed;
            count += (size_t)__builtin_popcount(allowed);
        }
    }
    return count;
}

/* ---- one probe ---- */

static void begin(uf_searcher *s)
{
    for (unsigned w = 0; w < ufi_pool_size(s->pool); w++) {
        for (size_t p = 0; p < s->probe_count; p++) {
            ufi_found *f = &s->workers[w].found[p];
            f->slots.count = f->candidates.count = f->top.count = 0;
            f->slots.failed = f->candidates.failed = false;
            f->floor = s->options.min_score;
        }
    }
}

/* Candidates of all workers for s->at, and its answers. */
static uf_status finish(uf_searcher *s, uf_hit *hits, uint32_t *count, uf_search_work *work,
                        uf_error *err)
{
    bool failed = false;
    s->floor = s->options.min_score;
    s->top.count = 0;
    s->top.wanted = s->options.top_k;
    s->candidates.count = 0;
    s->candidates.failed = false;
    for (unsigned w = 0; w < ufi_pool_size(s->pool); w++) {
        const ufi_found *f = &s->workers[w].found[s->at];
        for (size_t i = 0; i < f->candidates.count; i++) {
            const ufi_candidate *c = &f->candidates.item[i];
            ufi_candidates_push(&s->candidates, c);
            ufi_top_offer(&s->top, c->group, c->score - c->slack);
        }
        failed = failed || f->slots.failed || f->candidates.failed;
    }
    s->floor = fmaxf(s->floor, ufi_top_floor(&s->top));
    if (failed || s->candidates.failed)
        return ufi_fail(err, UF_E_NOMEM, "no memory for the candidates of a search");
    return ufi_search_finish(s, hits, count, work, err);
}

static uf_status score_all(uf_searcher *s, uf_search_work *work, uf_error *err)
{
    ufi_search_score_all(s);
    if (s->x->options.detail != UF_INDEX_SKETCH)
        return UF_OK;
    return ufi_search_score_exact(s, false, work, err);
}

/* ---- batches ---- */

enum { FEW = 4096 }; /* so many vectors that pass a filter are scored by their codes at once */

/* Vectors without codes: one probe after the other, since what passes waits for its turn. */
static uf_status search_sketches(uf_searcher *s, uf_search_work *work, uf_error *err)
{
    uf_status st = UF_OK;
    for (s->at = 0; !st && s->at < s->probe_count; s->at++) {
        ufi_search_take_leaders(s, s->at);
        st = ufi_search_score_exact(s, false, work, err);
        if (!st)
            ufi_search_deep(s, true);
        if (!st)
            st = ufi_search_score_exact(s, true, work, err);
    }
    return st;
}

static uf_status search_pieces(uf_searcher *s, uf_hit *hits, uint32_t *counts, uf_search_work *work,
                               uf_error *err)
{
    uf_status st = UF_OK;
    bool all = s->options.miss_rate == 0;
    s->filtered = s->options.groups != NULL;
    if (s->filtered) {
        const size_t allowed = make_filter(s);
        all = all || allowed <= FEW || allowed <= s->block_count;
    }
    const bool many = !all && ufi_search_many_pays(s);
    begin(s);
    if (many) {
        ufi_search_scan_many(s);
        ufi_search_score_leaders(s);
    } else if (!all) {
        ufi_search_set_bounds(s);
        ufi_search_scan(s);
        if (s->x->options.detail == UF_INDEX_SKETCH) {
            st = search_sketches(s, work, err);
        } else {
            ufi_search_score_leaders(s);
            ufi_search_deep(s, false);
        }
    }
    for (s->at = 0; !st && s->at < s->probe_count; s->at++) {
        if (all || (many && !ufi_search_leaders_suffice(s)))
            st = score_all(s, work, err);
        if (!st)
            st = finish(s, hits + s->at * s->options.top_k, &counts[s->at], work, err);
    }
    return st;
}

/* The lists whose centres are nearest to the probe: a bit each. */
static void choose_lists(const uf_searcher *s, const ufi_probe *p, uint8_t *chosen, float *scores)
{
    const uf_index *x = s->x;
    uint32_t wanted = s->options.lists ? s->options.lists : (x->lists + 3) / 4;
    wanted = wanted < x->lists ? wanted : x->lists;
    float low = -1, high = 1;
    for (uint32_t i = 0; i < x->lists; i++)
        scores[i] = x->kernels->dot_f32(x->centre + (size_t)i * x->width, p->rotated, x->width);
    /* The bound that just so many pass: halving is quicker than sorting. */
    for (int round = 0; round < 24; round++) {
        const float bound = (low + high) / 2;
        uint32_t pass = 0;
        for (uint32_t i = 0; i < x->lists; i++)
            pass += scores[i] >= bound;
        *(pass >= wanted ? &low : &high) = bound;
    }
    memset(chosen, 0, (x->lists + 7) / 8);
    for (uint32_t i = 0; i < x->lists; i++)
        chosen[i / 8] |= (uint8_t)((scores[i] >= low) << (i % 8));
}

/* With lists each probe looks at other segments: one after the other, each as the only one. */
static uf_status search_lists(uf_searcher *s, uf_hit *hits, uint32_t *counts, uf_search_work *work,
                              uf_error *err)
{
    const size_t count = s->probe_count;
    float *scores = ufi_malloc(s->x->lists, sizeof *scores);
    uint8_t *chosen = ufi_malloc(s->x->lists / 8 + 1, 1);
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < count; i++) {
        const ufi_probe first = s->probes[0];
        s->probe_count = 1;
        s->probes[0] = s->probes[i];
        if (scores && chosen)
            choose_lists(s, &s->probes[0], chosen, scores);
        if (!scores || !chosen || !make_pieces(s, chosen))
            st = ufi_fail(err, UF_E_NOMEM, "no memory to search %u lists", s->x->lists);
        if (!st)
            st = search_pieces(s, hits + i * s->options.top_k, &counts[i], work, err);
        s->probes[0] = first;
    }
    s->probe_count = count;
    ufi_free(scores);
    ufi_free(chosen);
    return st;
}

static uf_status search_batch(uf_searcher *s, uf_hit *hits, uint32_t *counts, uf_search_work *work,
                              uf_error *err)
{
    uf_status st = UF_OK;
    ufi_rwlock_read(s->x->lock);
    if (!make_leaders(s) || !make_pieces(s, NULL))
        st = ufi_fail(err, UF_E_NOMEM, "no memory to search %llu vectors",
                      (unsigned long long)s->x->count);
    else if (s->x->lists)
        st = search_lists(s, hits, counts, work, err);
    else
        st = search_pieces(s, hits, counts, work, err);
    ufi_rwlock_unlock(s->x->lock);
    for (unsigned w = 0; w < ufi_pool_size(s->pool); w++) {
        work->codes += s->workers[w].work.codes;
        work->sketches += s->workers[w].work.sketches;
        s->workers[w].work = (uf_search_work){0};
    }
    return st;
}

static uf_status check_search(const uf_search_options *o, uf_error *err)
{
    if (o->top_k < 1 || o->top_k > UF_INDEX_MAX_HITS)
        return ufi_fail(err, UF_E_ARG, "top_k %u: 1 to %d answers can be asked for", o->top_k,
                        UF_INDEX_MAX_HITS);
    if (!(o->miss_rate >= 0 && o->miss_rate <= 0.5))
        return ufi_fail(err, UF_E_ARG, "miss_rate %g: it is a probability of 0 to 0.5",
                        o->miss_rate);
    if (isnan(o->min_score))
        return ufi_fail(err, UF_E_ARG, "min_score is not a number");
    if (!o->groups && o->group_count)
        return ufi_fail(err, UF_E_ARG, "%zu groups, but no list of them", o->group_count);
    for (size_t i = 1; i < o->group_count; i++)
        if (o->groups[i - 1] > o->groups[i])
            return ufi_fail(err, UF_E_ARG, "groups are not ascending at %zu", i);
    return UF_OK;
}

static void wipe_probes(uf_searcher *s, size_t count)
{
    const size_t most = count < UFI_SEARCH_PROBES ? count : UFI_SEARCH_PROBES;
    ufi_wipe(s->probe_memory, most * ufi_probe_layout(s->x, &(ufi_probe){0}, NULL));
    if (count >= UFI_SEARCH_MANY)
        ufi_wipe(s->packed, (size_t)UFI_SEARCH_PROBES * s->x->width);
}

/* Each stage may err. The signs get most of the miss rate: what they let pass costs most. */
static void set_impossible(uf_searcher *s)
{
    const double rate = s->options.miss_rate;
    s->z_signs = rate > 0 ? ufi_normal_tail(rate * 0.8) : INFINITY;
    s->z_level = rate > 0 ? ufi_normal_tail(rate * 0.15) : INFINITY;
    s->z_codes = rate > 0 ? ufi_normal_tail(rate * 0.05) : INFINITY;
    s->z_rate = rate;
}

uf_status uf_searcher_run(uf_searcher *s, const float *probes, size_t count,
                          const uf_search_options *options, uf_hit *hits, uint32_t *counts,
                          uf_search_work *work, uf_error *err)
{
    static const uf_search_options defaults = UF_SEARCH_OPTIONS_INIT;
    uf_search_work done = {0};
    if (!s || (count && (!probes || !hits || !counts)))
        return ufi_fail(err, UF_E_ARG, "uf_searcher_run: no searcher, probes or room for answers");
    s->options = options ? *options : defaults;
    uf_status st = check_search(&s->options, err);
    if (!st && s->options.miss_rate != s->z_rate)
        set_impossible(s);
    for (size_t at = 0; !st && at < count; at += s->probe_count) {
        s->probe_count = count - at < UFI_SEARCH_PROBES ? count - at : UFI_SEARCH_PROBES;
        for (size_t i = 0; !st && i < s->probe_count; i++)
            if (!ufi_probe_make(s->x, &s->probes[i], probes + (at + i) * s->x->dimension))
                st = ufi_fail(err, UF_E_ARG, "probe %zu has no direction: it is zero or not finite",
                              at + i);
        if (!st)
            st = search_batch(s, hits + at * s->options.top_k, counts + at, &done, err);
    }
    wipe_probes(s, count);
    if (work)
        *work = done;
    return st;
}
