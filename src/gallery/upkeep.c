/* Numbers about a gallery, its check, and work that keeps it in shape. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"
#include "gallery/keys.h"

/* ---- describe ---- */

static uf_status model_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    uf_gallery_stats *s = user;
    if (columns[0].type == UFI_VALUE_TEXT)
        snprintf(s->model_id, sizeof s->model_id, "%s", (const char *)columns[0].data);
    return UF_OK;
}

uf_status ufi_default_model(uf_gallery *g, uf_gallery_stats *s, uf_error *err)
{
    uf_status st = ufi_sql_rows(g->sql,
                                "SELECT m.name FROM setting s JOIN model m ON m.number = s.number"
                                " WHERE s.name = 'default_model'",
                                NULL, 0, model_row, s, err);
    if (!st && !s->model_id[0])
        st = ufi_sql_rows(g->sql,
                          "SELECT m.name FROM template t JOIN model m ON m.number = t.model"
                          " ORDER BY t.number DESC LIMIT 1",
                          NULL, 0, model_row, s, err);
    return st;
}

static uf_status describe(uf_gallery *g, uf_gallery_stats *s, uf_error *err)
{
    const struct {
        const char *sql;
        uint64_t *out;
    } counts[] = {
        {"SELECT count(*) FROM person", &s->people},
        {"SELECT sum(templates) FROM census", &s->templates},
        {"SELECT count(*) FROM collection", &s->collections},
        {"SELECT count(DISTINCT model) FROM census WHERE templates > 0", &s->models},
        {"SELECT count(*) FROM crop", &s->crops},
        {"SELECT max(number) FROM audit", &s->audit_entries},
    };
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < sizeof counts / sizeof counts[0]; i++) {
        int64_t value;
        st = ufi_sql_integer(g->sql, counts[i].sql, NULL, 0, 0, &value, err);
        *counts[i].out = (uint64_t)value;
    }
    s->encrypted = g->encrypted;
    s->key_id = ufi_keys_newest(g);
    const ufi_value newest[] = {ufi_integer(s->key_id)};
    int64_t older = 0;
    if (!st)
        st = ufi_sql_integer(g->sql, "SELECT count(*) FROM person WHERE master < ?1", newest, 1, 0,
                             &older, err);
    s->people_to_rotate = (uint64_t)older;
    if (!st)
        st = ufi_database_bytes(g->sql, &s->database_bytes, err);
    if (!st)
        st = ufi_default_model(g, s, err);
    s->index_file_bytes = ufi_snapshot_bytes(g);
    for (ufi_live_index *l = g->indexes; l; l = l->next)
        s->memory_bytes += l->x ? uf_index_describe(l->x).memory_bytes : 0;
    snprintf(s->backend, sizeof s->backend, "%s", g->sql->ops->name);
    if (g->sql->ops->warning)
        snprintf(s->warning, sizeof s->warning, "%s", g->sql->ops->warning(g->sql));
    return st;
}

uf_status uf_gallery_describe(uf_gallery *g, uf_gallery_stats *out, uf_error *err)
{
    if (!out)
        return ufi_fail(err, UF_E_ARG, "describe: out is NULL");
    *out = (uf_gallery_stats){0};
    uf_status st = ufi_gallery_enter(g, err);
    return st ? st : ufi_gallery_leave(g, describe(g, out, err), err);
}

/* ---- pairs of collection and model ---- */

typedef struct pair {
    int64_t collection, model, templates;
    uint32_t dimension;
} pair;

typedef struct pair_list {
    pair *list;
    size_t count;
} pair_list;

static uf_status pair_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    pair_list *p = user;
    pair *grown = ufi_realloc(p->list, p->count + 1, sizeof *grown);
    if (!grown)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a list");
    p->list = grown;
    p->list[p->count++] = (pair){columns[0].integer, columns[1].integer, columns[2].integer,
                                 (uint32_t)columns[3].integer};
    return UF_OK;
}

/* All that have templates. */
static uf_status list_pairs(uf_gallery *g, pair_list *out, uf_error *err)
{
    *out = (pair_list){0};
    return ufi_sql_rows(g->sql,
                        "SELECT s.collection, s.model, s.templates, m.dimension FROM census s"
                        " JOIN model m ON m.number = s.model WHERE s.templates > 0"
                        " ORDER BY s.collection, s.model",
                        NULL, 0, pair_row, out, err);
}

/* ---- check ---- */

typedef struct checker {
    uf_gallery *g;
    pair_list pairs;
    ufi_live_index **live; /* of each pair */
    int64_t *found;
    float *vector; /* locked */
    uint8_t *crop; /* locked */
    size_t crop_room;
    uf_progress_fn *progress;
    void *user;
    size_t done, total;
} checker;

static uf_status tell(checker *c, uf_error *err)
{
    c->done++;
    if (c->progress && (c->done % 256 == 0 || c->done == c->total) &&
        c->progress(c->user, c->done, c->total))
        return ufi_fail(err, UF_E_CANCELLED, "stopped by the caller");
    return UF_OK;
}

static uf_status check_person_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    checker *c = user;
    ufi_person_row p;
    uint8_t key[UFI_SECRET_BYTES];
    uf_status st = ufi_person_read(columns, count, &p, err);
    if (!st)
        st = ufi_person_open(c->g, &p, key, err);
    ufi_wipe(key, sizeof key);
    return st ? st : tell(c, err);
}

static uf_status check_index(checker *c, const ufi_person_row *p, const ufi_template_row *t,
                             uf_error *err)
{
    for (size_t i = 0; i < c->pairs.count; i++)
        if (c->pairs.list[i].collection == p->collection && c->pairs.list[i].model == t->model) {
            c->found[i]++;
            if (!c->live[i]->x || uf_index_contains(c->live[i]->x, (uint64_t)t->number))
                return UF_OK;
            return ufi_fail(err, UF_E_FORMAT,
                            "the index of collection \"%s\" lacks template %lld of \"%s\" "
                            "(reindex makes it anew)",
                            p->collection_name, (long long)t->number, p->id);
        }
    return ufi_fail(err, UF_E_FORMAT, "template %lld of \"%s\" was not counted",
                    (long long)t->number, p->id);
}

static uf_status check_template_row(void *user, const ufi_value *columns, size_t count,
                                    uf_error *err)
{
    checker *c = user;
    ufi_person_row p;
    ufi_template_row t;
    const ufi_value *crop = columns + UFI_TEMPLATE_COLUMN_COUNT;
    uf_status st = ufi_template_read(columns, count, &p, &t, err);
    if (!st)
        st = ufi_template_open(c->g, &p, &t, c->vector, err);
    if (!st)
        st = ufi_unit_vector(c->vector, t.dimension, NULL, err);
    if (!st && crop[0].type == UFI_VALUE_INTEGER)
        st = ufi_crop_open(c->g, &p, t.number, &crop[0], &crop[1], &c->crop, &c->crop_room, err);
    if (!st)
        st = check_index(c, &p, &t, err);
    return st ? st : tell(c, err);
}

static uf_status check_counts(checker *c, uf_error *err)
{
    for (size_t i = 0; i < c->pairs.count; i++) {
        uint64_t held = 0;
        uf_status st = ufi_live_count(c->live[i], &held, err);
        if (st)
            return st;
        if (c->found[i] != c->pairs.list[i].templates)
            return ufi_fail(err, UF_E_FORMAT,
                            "collection %lld, model %lld: %lld templates, but "
                            "%lld were counted",
                            (long long)c->pairs.list[i].collection,
                            (long long)c->pairs.list[i].model, (long long)c->found[i],
                            (long long)c->pairs.list[i].templates);
        if (held != (uint64_t)c->found[i])
            return ufi_fail(err, UF_E_FORMAT,
                            "an index has %llu templates of %lld (reindex makes "
                            "it anew)",
                            (unsigned long long)held, (long long)c->found[i]);
    }
    return UF_OK;
}

static uf_status check_records(checker *c, uf_error *err)
{
    uf_gallery *g = c->g;
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < c->pairs.count; i++) {
        const pair *p = &c->pairs.list[i];
        st = ufi_live_acquire(g, p->collection, p->model, p->dimension, &c->live[i], err);
    }
    if (!st)
        st = ufi_gallery_begin_read(g, err);
    if (st)
        return st;
    st = ufi_sql_rows(g->sql, "SELECT " UFI_PERSON_COLUMNS " FROM " UFI_PERSON_TABLES, NULL, 0,
                      check_person_row, c, err);
    if (!st)
        st = ufi_sql_rows(g->sql,
                          "SELECT " UFI_TEMPLATE_COLUMNS
                          ", k.size, k.sealed FROM " UFI_TEMPLATE_TABLES
                          " LEFT JOIN crop k ON k.template = t.number"
                          " ORDER BY t.number",
                          NULL, 0, check_template_row, c, err);
    ufi_gallery_end_read(g);
    return st ? st : check_counts(c, err);
}

static uf_status check_all(checker *c, uf_error *err)
{
    uf_gallery *g = c->g;
    const size_t bytes = UF_INDEX_MAX_DIMENSION * sizeof(float);
    int64_t people = 0;
    uf_status st = g->sql->ops->check(g->sql, err);
    if (!st)
        st = list_pairs(g, &c->pairs, err);
    if (!st)
        st = ufi_sql_integer(g->sql, "SELECT count(*) FROM person", NULL, 0, 0, &people, err);
    if (st)
        return st;
    c->total = (size_t)people;
    for (size_t i = 0; i < c->pairs.count; i++)
        c->total += (size_t)c->pairs.list[i].templates;
    c->live = ufi_calloc(c->pairs.count, sizeof *c->live);
    c->found = ufi_calloc(c->pairs.count, sizeof *c->found);
    c->vector = ufi_secret_alloc(bytes, NULL);
    st = c->live && c->found && c->vector ? check_records(c, err)
                                          : ufi_fail(err, UF_E_NOMEM, "no memory for a check");
    for (size_t i = 0; c->live && i < c->pairs.count; i++)
        if (c->live[i])
            ufi_live_release(c->live[i]);
    ufi_secret_free(c->vector, bytes);
    ufi_secret_free(c->crop, c->crop_room);
    ufi_free(c->live);
    ufi_free(c->found);
    return st;
}

uf_status uf_gallery_check(uf_gallery *g, uf_progress_fn *progress, void *user, uf_error *err)
{
    checker c = {.g = g, .progress = progress, .user = user};
    uf_status st = ufi_gallery_enter(g, err);
    if (st)
        return st;
    st = check_all(&c, err);
    ufi_free(c.pairs.list);
    return ufi_gallery_leave(g, st, err);
}

/* ---- indexes, space ---- */

static uf_status remake_indexes(uf_gallery *g, uf_progress_fn *progress, void *user, uf_error *err)
{
    pair_list pairs;
    size_t done = 0, total = 0;
    uf_status st = list_pairs(g, &pairs, err);
    if (!st)
        st = ufi_snapshot_drop_all(g, err);
    for (size_t i = 0; i < pairs.count; i++)
        total += (size_t)pairs.list[i].templates;
    for (size_t i = 0; !st && i < pairs.count; i++) {
        const pair *p = &pairs.list[i];
        st = ufi_live_rebuild(g, p->collection, p->model, p->dimension, err);
        done += (size_t)p->templates;
        if (!st && progress && progress(user, done, total))
            st = ufi_fail(err, UF_E_CANCELLED, "stopped by the caller");
    }
    for (ufi_live_index *l = g->indexes; !st && l; l = l->next)
        ufi_snapshot_save(l);
    ufi_free(pairs.list);
    return st;
}

uf_status uf_gallery_reindex(uf_gallery *g, uf_progress_fn *progress, void *user, uf_error *err)
{
    uf_status st = ufi_gallery_enter_to_write(g, err);
    return st ? st : ufi_gallery_leave(g, remake_indexes(g, progress, user, err), err);
}

/* Indexes and snapshots that are made now need no changes from before. */
static uf_status prune_changes(uf_gallery *g, uf_error *err)
{
    int64_t newest;
    uf_status st = ufi_gallery_begin(g, err);
    if (st)
        return st;
    st = ufi_sql_integer(g->sql, "SELECT next - 1 FROM numbers WHERE name = 'change'", NULL, 0, 0,
                         &newest, err);
    const ufi_value args[] = {ufi_integer(newest)};
    if (!st)
        st = ufi_sql_run(g->sql, "DELETE FROM change WHERE number <= ?1", args, 1, NULL, err);
    if (!st)
        st = ufi_setting_put(g->sql, "changes_from", newest + 1, NULL, 0, err);
    if (!st)
        st = ufi_audit_in(g, "compact", "", "", err);
    return ufi_gallery_end(g, st, err);
}

uf_status uf_gallery_compact(uf_gallery *g, uf_error *err)
{
    uint64_t people;
    uf_status st = ufi_gallery_enter_to_write(g, err);
    if (st)
        return st;
    st = ufi_expire(g, &people, err);
    if (!st)
        st = remake_indexes(g, NULL, NULL, err);
    if (!st)
        st = prune_changes(g, err);
    if (!st)
        st = g->sql->ops->scrub(g->sql, true, err);
    return ufi_gallery_leave(g, st, err);
}
