/* The end of a search: exact scores where they matter, and the answers in order. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "index/search.h"

static int by_score(const void *a, const void *b)
{
    const ufi_candidate *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return (x->key > y->key) - (x->key < y->key);
}

static float cosine(const uf_searcher *s, const float *vector)
{
    const float dot = s->x->kernels->dot_f32(s->probes[s->at].vector, vector, s->x->dimension);
    return fmaxf(-1, fminf(1, dot));
}

/* Exact scores of `count` candidates. A vector that is gone gets -INFINITY. */
static uf_status score_exactly(uf_searcher *s, ufi_candidate *c, size_t count, uf_error *err)
{
    uf_index *x = s->x;
    const size_t dimension = x->dimension;
    uf_status st = UF_OK;
    if (x->options.detail == UF_INDEX_FLOAT) {
        for (size_t i = 0; i < count; i++) {
            const ufi_segment *g = &x->segments[c[i].slot / UFI_SEGMENT_SLOTS];
            c[i].score = cosine(s, g->vector + c[i].slot % UFI_SEGMENT_SLOTS * dimension);
            c[i].slack = 0;
        }
        return UF_OK;
    }
    for (size_t i = 0; i < count; i++)
        s->exact_keys[i] = c[i].key;
    /* The caller's lock may be waited for by somebody who wants ours. */
    const uint64_t epoch = x->epoch;
    ufi_rwlock_unlock(x->lock);
    st = x->options.fetch(x->options.fetch_user, s->exact_keys, count, s->exact, err);
    ufi_rwlock_read(x->lock);
    if (!st && x->epoch != epoch)
        st = ufi_fail(err, UF_E_STATE, "the index was trained during the search: search again");
    for (size_t i = 0; !st && i < count; i++) {
        const float *v = s->exact + i * dimension;
        c[i].score = ufi_square_sum(v, dimension) > 0 ? cosine(s, v) : -INFINITY;
        c[i].slack = 0;
    }
    ufi_wipe(s->exact, count * dimension * sizeof *s->exact);
    return st;
}

/* Whether c could change the answers, given those that are known exactly. */
static bool matters(const ufi_top *exact, const ufi_candidate *c, float floor)
{
    const float most = c->score + c->slack;
    if (most < floor || most < ufi_top_floor(exact))
        return false;
    for (size_t i = 0; i < exact->count; i++)
        if (exact->group[i] == c->group && exact->score[i] > most)
            return false;
    return true;
}

/* Candidates in the order of their scores; those that matter are scored exactly, some at a time. */
static uf_status rerank(uf_searcher *s, ufi_candidate *c, size_t *count, uf_search_work *work,
                        uf_error *err)
{
    size_t kept = 0, at = 0;
    uf_status st = UF_OK;
    s->top.count = 0;
    while (!st && at < *count) {
        size_t n = 0;
        for (; at < *count && n < s->options.top_k + 4 && n < UFI_SEARCH_CODES; at++)
            if (matters(&s->top, &c[at], s->floor))
                c[kept + n++] = c[at];
        st = score_exactly(s, c + kept, n, err);
        for (size_t i = 0; !st && i < n; i++)
            ufi_top_offer(&s->top, c[kept + i].group, c[kept + i].score);
        work->exact += n;
        kept += n;
    }
    *count = kept;
    return st;
}

/* The best candidate of each group, best first. `c` is in order. */
static uint32_t write_hits(const uf_searcher *s, const ufi_candidate *c, size_t count, uf_hit *hits)
{
    uint32_t n = 0;
    for (size_t i = 0; i < count && n < s->options.top_k; i++) {
        bool known = c[i].score < s->options.min_score || c[i].score == -INFINITY;
        for (uint32_t k = 0; k < n && !known; k++)
            known = hits[k].group == c[i].group;
        if (!known)
            hits[n++] = (uf_hit){c[i].key, c[i].group, c[i].score};
    }
    return n;
}

uf_status ufi_search_finish(uf_searcher *s, uf_hit *hits, uint32_t *count, uf_search_work *work,
                            uf_error *err)
{
    ufi_candidate *c = s->candidates.item;
    size_t n = 0;
    uf_status st = UF_OK;
    /* Leaders come twice: once as such, once as collected; both have the same key. */
    for (size_t i = 0; i < s->candidates.count; i++)
        if (c[i].score + c[i].slack >= s->floor)
            c[n++] = c[i];
    if (n)
        qsort(c, n, sizeof *c, by_score);
    size_t unique = 0;
    for (size_t i = 0; i < n; i++)
        if (!unique || c[unique - 1].key != c[i].key)
            c[unique++] = c[i];
    const uf_index_options *o = &s->x->options;
    if (o->detail == UF_INDEX_FLOAT || (o->detail == UF_INDEX_INT8 && o->fetch))
        st = rerank(s, c, &unique, work, err);
    if (st)
        return st;
    if (unique)
        qsort(c, unique, sizeof *c, by_score);
    *count = write_hits(s, c, unique, hits);
    return UF_OK;
}

/* By their sums, best first. */
static int by_sum(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static uf_status score_slots(uf_searcher *s, ufi_found *f, const uint64_t *entries, size_t count,
                             uf_error *err)
{
    ufi_candidate c[UFI_SEARCH_CODES];
    for (size_t i = 0; i < count; i++) {
        const uint32_t slot = (uint32_t)entries[i], place = slot % UFI_SEGMENT_SLOTS;
        const ufi_segment *g = &s->x->segments[slot / UFI_SEGMENT_SLOTS];
        c[i] = (ufi_candidate){g->key[place], g->group[place], 0, 0, slot};
    }
    const uf_status st = score_exactly(s, c, count, err);
    for (size_t i = 0; !st && i < count; i++) {
        ufi_candidates_push(&f->candidates, &c[i]);
        ufi_top_offer(&f->top, c[i].group, c[i].score);
    }
    f->floor = fmaxf(f->floor, ufi_top_floor(&f->top));
    return st;
}

uf_status ufi_search_score_exact(uf_searcher *s, bool ranked, uf_search_work *work, uf_error *err)
{
    ufi_found *f = &s->workers[0].found[s->at];
    ufi_slots *l = &f->slots;
    uf_status st = UF_OK;
    for (unsigned w = 1; w < ufi_pool_size(s->pool); w++) {
        ufi_slots *other = &s->workers[w].found[s->at].slots;
        for (size_t i = 0; i < other->count; i++)
            ufi_slots_push(l, other->entry[i]);
        other->count = 0;
    }
    if (ranked && l->count)
        qsort(l->entry, l->count, sizeof *l->entry, by_sum);
    /* The first few may tell that the others need not be fetched. */
    size_t most = ranked ? 16 : UFI_SEARCH_CODES;
    for (size_t at = 0, n; !st && at < l->count; at += n) {
        const uint16_t least = ufi_search_least_sum(&s->full[s->at], f->floor);
        for (n = 0; n < most && at + n < l->count; n++)
            if (ranked && l->entry[at + n] >> 32 < least)
                break;
        if (!n)
            break;
        st = score_slots(s, f, l->entry + at, n, err);
        work->exact += n;
        most = most < UFI_SEARCH_CODES ? 2 * most : UFI_SEARCH_CODES;
    }
    l->count = 0;
    ufi_search_share_floor(s, s->at);
    return st;
}
