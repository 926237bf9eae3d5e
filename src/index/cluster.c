/*
 * Groups of vectors by average linkage over a sparse graph.
 *
 * The sum of a group's unit vectors is enough for the mean cosine between two groups: the sums'
 * inner product over the product of the sizes. So each merge costs one product for every neighbour.
 * Neighbours come from searches: each group's nearest in an index of the groups' directions (the
 * cosine of two sums is never below their mean cosine, so that a threshold finds all pairs that may
 * merge). A search gives only so many neighbours; therefore the whole is done again with the groups
 * that came out, until nothing merges.
 *
 * Rejected: connected components (chains of look-alikes join strangers: one wrong pair joins two
 * people), Chinese whispers (depends on the order, needs a random one), a full matrix of distances
 * (40 GB for 100,000 vectors).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/forest.h"
#include "base/mem.h"
#include "base/status.h"
#include "kernels/kernels.h"
#include "uniface/index.h"

enum { NEIGHBOURS = 48, PROBES = 256, MAX_ROUNDS = 32 };

/* A pair that may merge. It is out of date when one of the groups has changed since. */
typedef struct pair {
    float link;
    uint32_t a, b, change_a, change_b;
} pair;

typedef struct neighbours {
    uint32_t *ids; /* groups as they were: ufi_forest_root tells what they are now */
    uint32_t count, room;
} neighbours;

typedef struct grouping {
    size_t count, dimension;
    float threshold;
    uint32_t threads;
    const ufk_table *kernels;
    float *sums;                      /* [count][dimension]; of roots: of their groups */
    uint32_t *parent, *size, *change; /* forest; of roots: members, merges so far */
    neighbours *near;                 /* of roots */
    pair *heap;
    size_t heap_count, heap_room;
} grouping;

static float *sum_of(const grouping *g, uint32_t v)
{
    return g->sums + (size_t)v * g->dimension;
}

static float link_of(const grouping *g, uint32_t a, uint32_t b)
{
    return g->kernels->dot_f32(sum_of(g, a), sum_of(g, b), g->dimension) /
           ((float)g->size[a] * (float)g->size[b]);
}

/* ---- the heap: the best pair first, equal ones by number ---- */

static bool before(const pair *p, const pair *q)
{
    if (p->link != q->link)
        return p->link > q->link;
    return p->a != q->a ? p->a < q->a : p->b < q->b;
}

static uf_status push(grouping *g, uint32_t a, uint32_t b, float link, uf_error *err)
{
    if (g->heap_count == g->heap_room) {
        const size_t room = g->heap_room ? 2 * g->heap_room : 1024;
        pair *heap = ufi_realloc(g->heap, room, sizeof *heap);
        if (!heap)
            return ufi_fail(err, UF_E_NOMEM, "no memory for %zu pairs", room);
        g->heap = heap;
        g->heap_room = room;
    }
    const pair p = {link, a < b ? a : b, a < b ? b : a, 0, 0};
    size_t i = g->heap_count++;
    for (; i && before(&p, &g->heap[(i - 1) / 2]); i = (i - 1) / 2)
        g->heap[i] = g->heap[(i - 1) / 2];
    g->heap[i] = p;
    g->heap[i].change_a = g->change[p.a];
    g->heap[i].change_b = g->change[p.b];
    return UF_OK;
}

static pair pop(grouping *g)
{
    const pair top = g->heap[0], last = g->heap[--g->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= g->heap_count)
            break;
        if (child + 1 < g->heap_count && before(&g->heap[child + 1], &g->heap[child]))
            child++;
        if (!before(&g->heap[child], &last))
            break;
        g->heap[i] = g->heap[child];
        i = child;
    }
    if (g->heap_count)
        g->heap[i] = last;
    return top;
}

/* ---- neighbours ---- */

static uf_status add_neighbour(neighbours *n, uint32_t id, uf_error *err)
{
    if (n->count == n->room) {
        const uint32_t room = n->room ? 2 * n->room : 8;
        uint32_t *ids = ufi_realloc(n->ids, room, sizeof *ids);
        if (!ids)
            return ufi_fail(err, UF_E_NOMEM, "no memory for %u neighbours", room);
        n->ids = ids;
        n->room = room;
    }
    n->ids[n->count++] = id;
    return UF_OK;
}

static int compare_ids(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Makes b part of a: adds up, and measures a anew with the neighbours of both. */
static uf_status merge(grouping *g, uint32_t a, uint32_t b, uf_error *err)
{
    uf_status st = UF_OK;
    float *to = sum_of(g, a);
    const float *from = sum_of(g, b);
    for (size_t i = 0; i < g->dimension; i++)
        to[i] += from[i];
    ufi_forest_join(g->parent, b, a);
    g->size[a] += g->size[b];
    g->change[a]++;
    neighbours *n = &g->near[a], *other = &g->near[b];
    for (uint32_t i = 0; !st && i < other->count; i++)
        st = add_neighbour(n, other->ids[i], err);
    ufi_free(other->ids);
    *other = (neighbours){0};
    for (uint32_t i = 0; i < n->count; i++)
        n->ids[i] = ufi_forest_root(g->parent, n->ids[i]);
    if (n->count)
        qsort(n->ids, n->count, sizeof *n->ids, compare_ids);
    uint32_t kept = 0;
    for (uint32_t i = 0; !st && i < n->count; i++) {
        const uint32_t id = n->ids[i];
        if (id == a || (i && id == n->ids[i - 1]))
            continue;
        const float link = link_of(g, a, id);
        if (!(link >= g->threshold))
            continue; /* should `id` merge with another neighbour, that one keeps the pair */
        n->ids[kept++] = id;
        st = push(g, a, id, link, err);
    }
    n->count = kept;
    return st;
}

/* ---- a round ---- */

/* The next groups from *v on, at most PROBES: numbers and sums. Returns how many. */
static uint32_t next_groups(const grouping *g, uint32_t *v, uint64_t *ids, float *sums)
{
    uint32_t n = 0;
    for (; *v < g->count && n < PROBES; (*v)++)
        if (g->parent[*v] == *v) {
            memcpy(sums + n * g->dimension, sum_of(g, *v), g->dimension * sizeof *sums);
            ids[n++] = *v;
        }
    return n;
}

static uf_status fill_index(const grouping *g, uf_index *x, float *sums, uf_error *err)
{
    uint64_t ids[PROBES];
    uint32_t v = 0, n;
    uf_status st = UF_OK;
    while (!st && (n = next_groups(g, &v, ids, sums)) > 0)
        st = uf_index_add(x, ids, ids, sums, n, err);
    return st;
}

static uf_status take_hits(grouping *g, uint32_t probe, const uf_hit *hits, uint32_t count,
                           uf_error *err)
{
    uf_status st = UF_OK;
    for (uint32_t k = 0; !st && k < count; k++) {
        const uint32_t other = (uint32_t)hits[k].key;
        const float link = other == probe ? -1 : link_of(g, probe, other);
        if (!(link >= g->threshold))
            continue;
        /* Found from both sides a pair is there twice: the second is out of date when it comes. */
        st = push(g, probe, other, link, err);
        if (!st)
            st = add_neighbour(&g->near[probe], other, err);
        if (!st)
            st = add_neighbour(&g->near[other], probe, err);
    }
    return st;
}

static uf_status find_pairs(grouping *g, uf_searcher *s, float *sums, uf_error *err)
{
    uf_search_options o = UF_SEARCH_OPTIONS_INIT;
    uint64_t ids[PROBES];
    uint32_t counts[PROBES], v = 0, n;
    uf_hit *hits = ufi_malloc(PROBES * (NEIGHBOURS + 1), sizeof *hits);
    uf_status st = hits ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for answers");
    o.top_k = NEIGHBOURS + 1;            /* the probe finds itself */
    o.min_score = g->threshold - 0.001f; /* rounding must not hide a pair */
    while (!st && (n = next_groups(g, &v, ids, sums)) > 0) {
        st = uf_searcher_run(s, sums, n, &o, hits, counts, NULL, err);
        for (uint32_t i = 0; !st && i < n; i++)
            st = take_hits(g, (uint32_t)ids[i], hits + i * o.top_k, counts[i], err);
    }
    ufi_free(hits);
    return st;
}

static uf_status merge_pairs(grouping *g, size_t *merges, uf_error *err)
{
    uf_status st = UF_OK;
    while (!st && g->heap_count) {
        const pair p = pop(g);
        if (g->parent[p.a] != p.a || g->parent[p.b] != p.b || g->change[p.a] != p.change_a ||
            g->change[p.b] != p.change_b)
            continue;
        const bool keep_a = g->near[p.a].count >= g->near[p.b].count;
        st = merge(g, keep_a ? p.a : p.b, keep_a ? p.b : p.a, err);
        (*merges)++;
    }
    return st;
}

static uf_status run_round(grouping *g, size_t *merges, uf_error *err)
{
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    uf_index *x = NULL;
    uf_searcher *s = NULL;
    float *sums = ufi_malloc(PROBES * g->dimension, sizeof *sums);
    o.dimension = (uint32_t)g->dimension;
    o.detail = UF_INDEX_FLOAT;
    *merges = 0;
    uf_status st = sums ? uf_index_create(&x, &o, err)
                        : ufi_fail(err, UF_E_NOMEM, "no memory for %d sums", PROBES);
    if (!st)
        st = fill_index(g, x, sums, err);
    if (!st)
        st = uf_searcher_create(&s, x, g->threads, err);
    if (!st)
        st = find_pairs(g, s, sums, err);
    ufi_free(sums);
    uf_searcher_destroy(s);
    uf_index_destroy(x);
    if (!st)
        st = merge_pairs(g, merges, err);
    for (size_t v = 0; v < g->count; v++) {
        ufi_free(g->near[v].ids);
        g->near[v] = (neighbours){0};
    }
    g->heap_count = 0;
    return st;
}

/* ---- labels ---- */

typedef struct group {
    uint32_t root, first, size;
} group;

static int larger_first(const void *a, const void *b)
{
    const group *p = a, *q = b;
    if (p->size != q->size)
        return p->size < q->size ? 1 : -1;
    return (p->first > q->first) - (p->first < q->first);
}

static uf_status write_labels(grouping *g, uint32_t min_size, int32_t *labels, size_t *groups,
                              uf_error *err)
{
    size_t n = 0;
    group *all = ufi_calloc(g->count + 1, sizeof *all);
    int32_t *label = ufi_malloc(g->count + 1, sizeof *label);
    uf_status st = all && label ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for labels");
    for (uint32_t v = 0; !st && v < g->count; v++)
        label[v] = -1;
    for (uint32_t v = 0; !st && v < g->count; v++) {
        const uint32_t root = ufi_forest_root(g->parent, v);
        if (g->size[root] >= min_size && label[root] < 0) {
            label[root] = 0;
            all[n++] = (group){root, v, g->size[root]};
        }
    }
    if (!st && n)
        qsort(all, n, sizeof *all, larger_first);
    for (size_t i = 0; !st && i < n; i++)
        label[all[i].root] = (int32_t)i;
    for (uint32_t v = 0; !st && v < g->count; v++)
        labels[v] = label[ufi_forest_root(g->parent, v)];
    if (!st && groups)
        *groups = n;
    ufi_free(all);
    ufi_free(label);
    return st;
}

/* ---- the door ---- */

static uf_status open_grouping(grouping *g, const float *vectors, uf_error *err)
{
    const size_t d = g->dimension;
    g->kernels = ufk_default_table();
    g->sums = ufi_malloc(g->count + 1, d * sizeof *g->sums);
    g->parent = ufi_malloc(g->count + 1, sizeof *g->parent);
    g->size = ufi_malloc(g->count + 1, sizeof *g->size);
    g->change = ufi_calloc(g->count + 1, sizeof *g->change);
    g->near = ufi_calloc(g->count + 1, sizeof *g->near);
    if (!g->sums || !g->parent || !g->size || !g->change || !g->near)
        return ufi_fail(err, UF_E_NOMEM, "no memory for %zu vectors of %zu numbers", g->count, d);
    for (uint32_t v = 0; v < g->count; v++) {
        double square = 0;
        for (size_t i = 0; i < d; i++)
            square += (double)vectors[v * d + i] * (double)vectors[v * d + i];
        const double scale = 1 / sqrt(square);
        if (!isfinite(scale) || !isfinite(square) || scale <= 0)
            return ufi_fail(err, UF_E_ARG, "vector %u has no direction (zero or not finite)", v);
        for (size_t i = 0; i < d; i++)
            g->sums[v * d + i] = (float)((double)vectors[v * d + i] * scale);
        g->parent[v] = v;
        g->size[v] = 1;
    }
    return UF_OK;
}

uf_status uf_cluster(const float *vectors, size_t count, uint32_t dimension,
                     const uf_cluster_options *options, int32_t *labels, size_t *groups,
                     uf_error *err)
{
    grouping g = {.count = count, .dimension = dimension};
    size_t merges = 1;
    if (!options || !(options->threshold > 0) || options->threshold > 1)
        return ufi_fail(err, UF_E_ARG, "the threshold must be above 0 and at most 1");
    if ((count && (!vectors || !labels)) || count > INT32_MAX)
        return ufi_fail(err, UF_E_ARG, "vectors and labels are needed, at most 2^31 - 1 of them");
    if (dimension < UF_INDEX_MIN_DIMENSION || dimension > UF_INDEX_MAX_DIMENSION)
        return ufi_fail(err, UF_E_ARG, "the dimension must be %d to %d, not %u",
                        UF_INDEX_MIN_DIMENSION, UF_INDEX_MAX_DIMENSION, dimension);
    g.threshold = options->threshold;
    g.threads = options->threads;
    uf_status st = open_grouping(&g, vectors, err);
    for (int round = 0; !st && merges && count > 1 && round < MAX_ROUNDS; round++)
        st = run_round(&g, &merges, err);
    if (!st)
        st = write_labels(&g, options->min_size, labels, groups, err);
    if (g.sums)
        ufi_wipe(g.sums, count * dimension * sizeof *g.sums);
    ufi_free(g.sums);
    ufi_free(g.parent);
    ufi_free(g.size);
    ufi_free(g.change);
    ufi_free(g.near);
    ufi_free(g.heap);
    return st;
}
