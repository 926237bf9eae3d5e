/*
 * Indexes in memory: one for each model of each collection that was searched. Records are the
 * truth; an index comes from a snapshot or from the records, and table `change` says what happened
 * since, whichever process did it.
 */
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"
#include "gallery/keys.h"

enum {
    BATCH = 256,         /* templates decrypted at once */
    CHANGES_MAX = 100000 /* more of them: made anew from the records */
};

/* ---- exact vectors ---- */

typedef struct fetched {
    uf_gallery *g;
    const ufi_live_index *l;
    float *vector;
    int64_t person;
    bool found;
} fetched;

static uf_status fetch_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    fetched *f = user;
    ufi_person_row p;
    ufi_template_row t;
    uf_status st = ufi_template_read(columns, count, &p, &t, err);
    if (!st && t.dimension != f->l->dimension)
        st = ufi_fail(err, UF_E_FORMAT, "damaged: template %lld of another model",
                      (long long)t.number);
    if (!st)
        st = ufi_template_open(f->g, &p, &t, f->vector, err);
    f->person = p.number;
    f->found = !st;
    return st;
}

static uf_status fetch_one(ufi_sql *sql, fetched *f, uint64_t number, uf_error *err)
{
    const ufi_value args[] = {ufi_integer((int64_t)number), ufi_integer(f->l->model)};
    f->found = false;
    return ufi_sql_rows(sql,
                        "SELECT " UFI_TEMPLATE_COLUMNS " FROM " UFI_TEMPLATE_TABLES
                        " WHERE t.number = ?1 AND t.model = ?2",
                        args, 2, fetch_row, f, err);
}

uf_status ufi_live_fetch(void *user, const uint64_t *keys, size_t count, float *vectors,
                         uf_error *err)
{
    const ufi_live_index *l = user;
    uf_gallery *g = l->gallery;
    uf_status st = UF_OK;
    ufi_mutex_lock(g->reader_lock);
    for (size_t i = 0; !st && i < count; i++) {
        fetched f = {.g = g, .l = l, .vector = vectors + i * l->dimension};
        st = fetch_one(g->reader, &f, keys[i], err);
        if (st == UF_E_STATE) { /* another process makes a new master key */
            st = ufi_keys_reload(g, g->reader, err);
            if (!st)
                st = fetch_one(g->reader, &f, keys[i], err);
        }
        if (!f.found)
            memset(f.vector, 0, l->dimension * sizeof(float));
    }
    ufi_mutex_unlock(g->reader_lock);
    return st;
}

/* ---- filling ---- */

typedef struct filler {
    ufi_live_index *l;
    size_t count;
    uint64_t keys[BATCH], groups[BATCH];
    float *vectors; /* [BATCH][dimension], locked */
} filler;

static uf_status flush(filler *f, uf_error *err)
{
    uf_status st =
        f->count ? uf_index_add(f->l->x, f->keys, f->groups, f->vectors, f->count, err) : UF_OK;
    f->count = 0;
    return st;
}

static uf_status fill_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    filler *f = user;
    ufi_person_row p;
    ufi_template_row t;
    uf_status st = ufi_template_read(columns, count, &p, &t, err);
    if (!st && t.dimension != f->l->dimension)
        st = ufi_fail(err, UF_E_FORMAT, "damaged: template %lld of another model",
                      (long long)t.number);
    if (!st)
        st = ufi_template_open(f->l->gallery, &p, &t, f->vectors + f->count * t.dimension, err);
    if (st)
        return st;
    f->keys[f->count] = (uint64_t)t.number;
    f->groups[f->count++] = (uint64_t)p.number;
    return f->count == BATCH ? flush(f, err) : UF_OK;
}

static uf_status newest_change(uf_gallery *g, int64_t *out, uf_error *err)
{
    return ufi_sql_integer(g->sql, "SELECT next - 1 FROM numbers WHERE name = 'change'", NULL, 0, 0,
                           out, err);
}

static uf_status make_index(ufi_live_index *l, uf_index **out, uf_error *err)
{
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    o.dimension = l->dimension;
    o.detail = l->gallery->detail;
    o.fetch = ufi_live_fetch;
    o.fetch_user = l;
    return uf_index_create(out, &o, err);
}

/* From the records, by number: pages are read one after the other. Changes that are made meanwhile
 * have numbers beyond the mark, which is read first. */
static uf_status fill_index(ufi_live_index *l, uf_error *err)
{
    uf_gallery *g = l->gallery;
    const size_t bytes = BATCH * l->dimension * sizeof(float);
    const ufi_value args[] = {ufi_integer(l->collection), ufi_integer(l->model)};
    filler *f = ufi_calloc(1, sizeof *f);
    int64_t mark;
    uf_status st = f ? newest_change(g, &mark, err) : UF_E_NOMEM;
    if (f) {
        f->l = l;
        f->vectors = ufi_secret_alloc(bytes, NULL);
    }
    if (!f || !f->vectors)
        st = ufi_fail(err, UF_E_NOMEM, "no memory to make an index");
    if (!st)
        st = ufi_sealed_rows(g,
                             "SELECT " UFI_TEMPLATE_COLUMNS " FROM " UFI_TEMPLATE_TABLES
                             " WHERE +t.model = ?2 AND +p.collection = ?1 ORDER BY t.number",
                             args, 2, fill_row, f, err);
    if (!st)
        st = flush(f, err);
    if (!st)
        uf_index_set_mark(l->x, (uint64_t)mark);
    if (f)
        ufi_secret_free(f->vectors, bytes);
    ufi_free(f);
    return st;
}

/* ---- catching up ---- */

typedef struct change_list {
    ufi_numbers added, removed;
} change_list;

static uf_status change_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    change_list *c = user;
    return ufi_numbers_push(columns[1].integer == UFI_CHANGE_ADDED ? &c->added : &c->removed,
                            (uint64_t)columns[0].integer, err);
}

/* One that was added and removed is not there any more when it is looked up. */
static uf_status add_changed(ufi_live_index *l, const ufi_numbers *added, uf_error *err)
{
    const size_t bytes = l->dimension * sizeof(float);
    fetched f = {.g = l->gallery, .l = l, .vector = ufi_secret_alloc(bytes, NULL)};
    uf_status st = f.vector ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for a template");
    for (size_t i = 0; !st && i < added->count; i++) {
        if (uf_index_contains(l->x, added->list[i]))
            continue;
        st = fetch_one(l->gallery->sql, &f, added->list[i], err);
        const uint64_t group = (uint64_t)f.person;
        if (!st && f.found)
            st = uf_index_add(l->x, &added->list[i], &group, f.vector, 1, err);
    }
    ufi_secret_free(f.vector, bytes);
    return st;
}

static void count_unsaved(ufi_live_index *l, uint64_t changes)
{
    if (l->unsaved != UINT64_MAX)
        l->unsaved += changes;
}

static uf_status catch_up(ufi_live_index *l, uf_error *err)
{
    uf_gallery *g = l->gallery;
    change_list c = {{0}, {0}};
    if (!l->x)
        return UF_OK; /* the database's own search is never behind */
    int64_t newest, oldest, mark = (int64_t)uf_index_describe(l->x).mark;
    uf_status st = newest_change(g, &newest, err);
    if (st || newest == mark)
        return st;
    st = ufi_sql_integer(g->sql, "SELECT number FROM setting WHERE name = 'changes_from'", NULL, 0,
                         1, &oldest, err);
    if (!st && (mark > newest || mark + 1 < oldest || newest - mark > CHANGES_MAX))
        return UF_E_NOT_FOUND; /* the way from here to there is not known, or too long */
    const ufi_value args[] = {ufi_integer(mark), ufi_integer(l->collection), ufi_integer(l->model),
                              ufi_integer(newest)};
    if (!st)
        st = ufi_sql_rows(g->sql,
                          "SELECT template, kind FROM change WHERE number > ?1 AND number <= ?4"
                          " AND collection = ?2 AND model = ?3 ORDER BY number",
                          args, 4, change_row, &c, err);
    if (!st && c.added.count)
        st = ufi_gallery_begin_read(g, err);
    if (!st && c.added.count) {
        st = add_changed(l, &c.added, err);
        ufi_gallery_end_read(g);
    }
    if (!st && c.removed.count)
        st = uf_index_remove(l->x, c.removed.list, c.removed.count, NULL, err);
    if (!st) {
        uf_index_set_mark(l->x, (uint64_t)newest);
        count_unsaved(l, c.added.count + c.removed.count);
    }
    ufi_free(c.added.list);
    ufi_free(c.removed.list);
    return st;
}

/* ---- the list ---- */

static void destroy(ufi_live_index *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->searcher_count; i++)
        uf_searcher_destroy(l->searchers[i]);
    uf_index_destroy(l->x);
    ufi_free(l->scores);
    ufi_free(l);
}

static void retire(ufi_live_index *l)
{
    ufi_live_index **at = &l->gallery->indexes;
    while (*at && *at != l)
        at = &(*at)->next;
    if (*at)
        *at = l->next;
    l->retired = true;
    if (l->users == 0)
        destroy(l);
}

void ufi_live_retire_all(uf_gallery *g)
{
    while (g->indexes)
        retire(g->indexes);
}

static ufi_live_index *find(uf_gallery *g, int64_t collection, int64_t model)
{
    ufi_live_index *l = g->indexes;
    while (l && (l->collection != collection || l->model != model))
        l = l->next;
    return l;
}

static uf_status model_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    ufi_live_index *l = user;
    if (columns[0].type != UFI_VALUE_TEXT || columns[0].size >= sizeof l->model_id)
        return ufi_fail(err, UF_E_FORMAT, "damaged: the name of model %lld", (long long)l->model);
    memcpy(l->model_id, columns[0].data, columns[0].size + 1);
    return UF_OK;
}

/* What `l` searches with: the database, a snapshot, or an index made of the records. */
static uf_status equip(ufi_live_index *l, bool from_snapshot, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(l->model)};
    if (l->gallery->sql->ops->vectors)
        return ufi_sql_one(l->gallery->sql, "SELECT name FROM model WHERE number = ?1", args, 1,
                           model_row, l, err);
    uf_status st = from_snapshot ? ufi_snapshot_load(l, NULL) : UF_E_NOT_FOUND;
    if (!st) /* whatever is wrong with a snapshot, the records make it good */
        st = catch_up(l, NULL);
    if (!st)
        return UF_OK;
    uf_index_destroy(l->x);
    l->x = NULL;
    l->unsaved = UINT64_MAX;
    st = make_index(l, &l->x, err);
    return st ? st : fill_index(l, err);
}

static uf_status load(uf_gallery *g, int64_t collection, int64_t model, uint32_t dimension,
                      bool from_snapshot, ufi_live_index **out, uf_error *err)
{
    ufi_live_index *l = ufi_calloc(1, sizeof *l);
    *out = NULL;
    if (!l)
        return ufi_fail(err, UF_E_NOMEM, "no memory for an index");
    l->gallery = g;
    l->collection = collection;
    l->model = model;
    l->dimension = dimension;
    uf_status st = equip(l, from_snapshot, err);
    if (st) {
        destroy(l);
        return st;
    }
    l->next = g->indexes;
    g->indexes = l;
    *out = l;
    return UF_OK;
}

uf_status ufi_live_acquire(uf_gallery *g, int64_t collection, int64_t model, uint32_t dimension,
                           ufi_live_index **out, uf_error *err)
{
    ufi_live_index *l = find(g, collection, model);
    uf_status st = l ? catch_up(l, err) : UF_E_NOT_FOUND;
    *out = NULL;
    if (st == UF_E_NOT_FOUND) {
        if (l)
            retire(l);
        st = load(g, collection, model, dimension, !l, &l, err);
    }
    if (st)
        return st;
    l->users++;
    *out = l;
    return UF_OK;
}

void ufi_live_release(ufi_live_index *l)
{
    if (--l->users == 0 && l->retired)
        destroy(l);
}

uf_status ufi_live_rebuild(uf_gallery *g, int64_t collection, int64_t model, uint32_t dimension,
                           uf_error *err)
{
    ufi_live_index *old = find(g, collection, model), *made;
    uf_status st = load(g, collection, model, dimension, false, &made, err);
    if (!st && !made->x)
        st = ufi_nearby_rebuild(made, err);
    if (!st && old)
        retire(old);
    return st;
}

uf_status ufi_live_catch_up(uf_gallery *g, uf_error *err)
{
    ufi_live_index *next;
    uf_status st = UF_OK;
    for (ufi_live_index *l = g->indexes; !st && l; l = next) {
        next = l->next;
        st = catch_up(l, err);
        if (st == UF_E_NOT_FOUND) { /* made anew when it is searched again */
            retire(l);
            st = UF_OK;
        }
    }
    return st;
}

uf_status ufi_live_searcher(ufi_live_index *l, uf_searcher **out, uf_error *err)
{
    if (l->searcher_count > 0) {
        *out = l->searchers[--l->searcher_count];
        return UF_OK;
    }
    *out = NULL;
    return l->x ? uf_searcher_create(out, l->x, l->gallery->threads, err) : UF_OK;
}

uf_status ufi_live_count(ufi_live_index *l, uint64_t *count, uf_error *err)
{
    ufi_sql *sql = l->gallery->sql;
    if (!l->x)
        return sql->ops->vectors->count(sql, l->model_id, l->dimension, l->collection, count, err);
    *count = uf_index_describe(l->x).count;
    return UF_OK;
}

uf_status ufi_live_run(ufi_live_index *l, uf_searcher *s, const float *probes, size_t count,
                       const uf_search_options *o, uf_hit *hits, uint32_t *counts, uf_error *err)
{
    return l->x ? uf_searcher_run(s, probes, count, o, hits, counts, NULL, err)
                : ufi_nearby_run(l, probes, count, o, hits, counts, err);
}

void ufi_live_searcher_back(ufi_live_index *l, uf_searcher *s)
{
    if (s && l->searcher_count < UFI_SEARCHERS_KEPT && !l->retired)
        l->searchers[l->searcher_count++] = s;
    else
        uf_searcher_destroy(s);
}
