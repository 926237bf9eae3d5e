/*
 * Searches by the database (ufi_sql_vectors): it names some that are near, by an approximate index
 * over coarse vectors; here they are scored exactly from their records, and people are ranked by
 * their best template, as uf_searcher_run does.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"

enum {
    WANTED_MIN = 64,    /* candidates of a search, at least */
    WANTED_EACH = 8,    /* and for each person wanted */
    WANTED_MAX = 65536, /* people with many templates each may fill all places */
    REBUILT_AT_ONCE = 100
};

uf_status ufi_nearby_allowed(const uf_gallery *g, uf_error *err)
{
    if (!g->sql->ops->vectors || !g->encrypted)
        return UF_OK;
    return ufi_fail(err, UF_E_ARG,
                    "an encrypted gallery cannot be searched by the database, which would have to "
                    "read its templates: leave out search=, or make it without encryption");
}

uf_status ufi_nearby_add(uf_gallery *g, const char *model_id, uint32_t dimension,
                         int64_t collection, int64_t number, int64_t person, const float *vector,
                         uf_error *err)
{
    const uint64_t key = (uint64_t)number, group = (uint64_t)person;
    if (!g->sql->ops->vectors)
        return UF_OK;
    return g->sql->ops->vectors->add(g->sql, model_id, dimension, collection, &key, &group, vector,
                                     1, err);
}

/* ---- candidates, scored ---- */

typedef struct ranking {
    ufi_live_index *l;
    const float *probe;
    float min_score, *vector;
    double length; /* of the probe */
    uf_hit *hits;  /* best first, one a group */
    uint32_t top_k, count;
    bool below; /* some were of no interest: those that are farther are not either */
} ranking;

static bool ranks_before(const uf_hit *a, const uf_hit *b)
{
    return a->score != b->score ? a->score > b->score : a->key < b->key;
}

/* Puts a hit in its place; a group has one. */
static void rank(ranking *r, uf_hit hit)
{
    uint32_t at = 0;
    while (at < r->count && r->hits[at].group != hit.group)
        at++;
    if (at < r->count) {
        if (!ranks_before(&hit, &r->hits[at]))
            return;
    } else if (r->count < r->top_k) {
        r->count++;
    } else if (ranks_before(&hit, &r->hits[r->count - 1])) {
        at = r->count - 1;
    } else {
        return;
    }
    for (; at > 0 && ranks_before(&hit, &r->hits[at - 1]); at--)
        r->hits[at] = r->hits[at - 1];
    r->hits[at] = hit;
}

static uf_status candidate_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    ranking *r = user;
    ufi_person_row p;
    ufi_template_row t;
    double sum = 0;
    uf_status st = ufi_template_read(columns, count, &p, &t, err);
    if (!st && t.dimension != r->l->dimension)
        st = ufi_fail(err, UF_E_FORMAT, "damaged: template %lld of another model",
                      (long long)t.number);
    if (!st)
        st = ufi_template_open(r->l->gallery, &p, &t, r->vector, err);
    if (st)
        return st;
    for (uint32_t i = 0; i < t.dimension; i++)
        sum += (double)r->probe[i] * r->vector[i];
    uf_hit hit = {
        .key = (uint64_t)t.number, .group = (uint64_t)p.number, .score = (float)(sum / r->length)};
    if (hit.score >= r->min_score)
        rank(r, hit);
    else
        r->below = true;
    return UF_OK;
}

static uf_status score(ranking *r, const uint64_t *keys, size_t count, uf_error *err)
{
    char *numbers = ufi_sql_array(keys, count);
    const ufi_value args[] = {ufi_text(numbers)};
    r->count = 0;
    r->below = false;
    uf_status st = numbers
                       ? ufi_sql_rows(r->l->gallery->reader,
                                      "SELECT " UFI_TEMPLATE_COLUMNS " FROM " UFI_TEMPLATE_TABLES
                                      " WHERE t.number = ANY (?1::bigint[])",
                                      args, 1, candidate_row, r, err)
                       : ufi_fail(err, UF_E_NOMEM, "no memory for %zu candidates", count);
    ufi_free(numbers);
    return st;
}

/* ---- searches ---- */

/* As many candidates as it takes until there are top_k people, or no more. */
static uf_status search_one(ranking *r, const uf_search_options *o, uf_error *err)
{
    ufi_sql *sql = r->l->gallery->reader;
    uf_status st = UF_OK;
    size_t wanted = r->top_k * (size_t)WANTED_EACH, found = 0;
    wanted = wanted > WANTED_MIN ? wanted : WANTED_MIN;
    for (bool more = true; more && !st; wanted *= 4) {
        uint64_t *keys = ufi_malloc(2 * wanted, sizeof *keys);
        if (!keys)
            return ufi_fail(err, UF_E_NOMEM, "no memory for %zu candidates", wanted);
        st = sql->ops->vectors->search(sql, r->l->model_id, r->l->dimension, r->l->collection,
                                       r->probe, o->groups, o->group_count, wanted, keys,
                                       keys + wanted, &found, err);
        if (!st && found)
            st = score(r, keys, found, err);
        ufi_free(keys);
        more = r->count < r->top_k && found == wanted && wanted < WANTED_MAX && !r->below;
    }
    return st;
}

uf_status ufi_nearby_run(ufi_live_index *l, const float *probes, size_t count,
                         const uf_search_options *o, uf_hit *hits, uint32_t *counts, uf_error *err)
{
    uf_gallery *g = l->gallery;
    ranking r = {.l = l, .top_k = o->top_k, .min_score = o->min_score};
    uf_status st = UF_OK;
    r.vector = ufi_malloc(l->dimension, sizeof *r.vector);
    if (!r.vector)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a template");
    ufi_mutex_lock(g->reader_lock);
    for (size_t i = 0; !st && i < count; i++) {
        double sum = 0;
        r.probe = probes + i * l->dimension;
        for (uint32_t k = 0; k < l->dimension; k++)
            sum += (double)r.probe[k] * r.probe[k];
        r.length = sqrt(sum);
        r.hits = hits + i * r.top_k;
        r.count = 0;
        st = sum > 0 && isfinite(sum) ? search_one(&r, o, err)
                                      : ufi_fail(err, UF_E_ARG, "probe %zu has no direction", i);
        counts[i] = r.count;
    }
    ufi_mutex_unlock(g->reader_lock);
    ufi_free(r.vector);
    return st;
}

/* ---- anew ---- */

typedef struct rebuilder {
    ufi_live_index *l;
    size_t count;
    uint64_t keys[REBUILT_AT_ONCE], groups[REBUILT_AT_ONCE];
    float *vectors;
} rebuilder;

static uf_status flush(rebuilder *b, uf_error *err)
{
    ufi_live_index *l = b->l;
    ufi_sql *sql = l->gallery->sql;
    uf_status st = sql->ops->vectors->add(sql, l->model_id, l->dimension, l->collection, b->keys,
                                          b->groups, b->vectors, b->count, err);
    b->count = 0;
    return st;
}

static uf_status rebuild_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    rebuilder *b = user;
    ufi_person_row p;
    ufi_template_row t;
    uf_status st = ufi_template_read(columns, count, &p, &t, err);
    if (!st && t.dimension != b->l->dimension)
        st = ufi_fail(err, UF_E_FORMAT, "damaged: template %lld of another model",
                      (long long)t.number);
    if (!st)
        st = ufi_template_open(b->l->gallery, &p, &t, b->vectors + b->count * t.dimension, err);
    if (st)
        return st;
    b->keys[b->count] = (uint64_t)t.number;
    b->groups[b->count++] = (uint64_t)p.number;
    return b->count == REBUILT_AT_ONCE ? flush(b, err) : UF_OK;
}

/* Rows are read on one connection and vectors written on the other; the transaction's lock keeps
 * other writers out. */
static uf_status refill(rebuilder *b, uf_error *err)
{
    ufi_live_index *l = b->l;
    uf_gallery *g = l->gallery;
    const ufi_value args[] = {ufi_integer(l->collection), ufi_integer(l->model)};
    uf_status st =
        g->sql->ops->vectors->clear(g->sql, l->model_id, l->dimension, l->collection, err);
    if (!st) {
        ufi_mutex_lock(g->reader_lock);
        st = ufi_sql_rows(g->reader,
                          "SELECT " UFI_TEMPLATE_COLUMNS " FROM " UFI_TEMPLATE_TABLES
                          " WHERE p.collection = ?1 AND t.model = ?2",
                          args, 2, rebuild_row, b, err);
        ufi_mutex_unlock(g->reader_lock);
    }
    return st || b->count == 0 ? st : flush(b, err);
}

uf_status ufi_nearby_rebuild(ufi_live_index *l, uf_error *err)
{
    ufi_sql *sql = l->gallery->sql;
    rebuilder *b = ufi_calloc(1, sizeof *b);
    if (b)
        b->vectors = ufi_malloc((size_t)REBUILT_AT_ONCE * l->dimension, sizeof *b->vectors);
    uf_status st = b && b->vectors ? sql->ops->begin(sql, err)
                                   : ufi_fail(err, UF_E_NOMEM, "no memory to make an index");
    if (!st) {
        b->l = l;
        st = refill(b, err);
        if (st)
            sql->ops->rollback(sql);
        else
            st = sql->ops->commit(sql, err);
    }
    if (b)
        ufi_free(b->vectors);
    ufi_free(b);
    return st;
}
