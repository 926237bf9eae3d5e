/*
 * A gallery into another one. No call holds both galleries' locks, so that two copies in opposite
 * directions cannot wait for each other: people are read a few at a time, then written.
 */
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"

enum { PEOPLE_AT_ONCE = 256 };

typedef struct copier {
    uf_gallery *from, *to;
    ufi_loaded people[PEOPLE_AT_ONCE];
    size_t count;
} copier;

static void forget(copier *c)
{
    while (c->count > 0)
        ufi_loaded_free(&c->people[--c->count]);
}

/* People after `after`; *after becomes the last. */
static uf_status read_some(copier *c, int64_t *after, uf_error *err)
{
    ufi_numbers numbers = {0};
    uf_status st = ufi_gallery_enter(c->from, err);
    if (st)
        return st;
    st = ufi_load_next(c->from, *after, 0, PEOPLE_AT_ONCE, &numbers, err);
    for (size_t i = 0; !st && i < numbers.count; i++) {
        st = ufi_load(c->from, (int64_t)numbers.list[i], &c->people[c->count], err);
        c->count += !st;
        if (st == UF_E_NOT_FOUND)
            st = UF_OK; /* deleted meanwhile */
        *after = (int64_t)numbers.list[i];
    }
    ufi_free(numbers.list);
    return ufi_gallery_leave(c->from, st, err);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_template(const uf_template *a, const uf_template *b)
{
    if (a->dimension != b->dimension || !same_text(a->model_id, b->model_id) ||
        !same_text(a->source, b->source) || a->quality != b->quality ||
        memcmp(a->vector, b->vector, a->dimension * sizeof(float)) != 0)
        return false;
    if (!a->crop || !b->crop)
        return a->crop == b->crop;
    return a->crop_size == b->crop_size &&
           memcmp(a->crop, b->crop, (size_t)a->crop_size * a->crop_size * 3) == 0;
}

static bool same_person(const ufi_loaded *a, const ufi_loaded *b)
{
    const uf_person *p = &a->e.person, *q = &b->e.person;
    if (!same_text(p->metadata, q->metadata) || !same_text(p->consent, q->consent) ||
        !same_text(p->purpose, q->purpose) || p->expires != q->expires || a->e.count != b->e.count)
        return false;
    for (size_t i = 0; i < a->e.count; i++)
        if (!same_template(&a->e.templates[i], &b->e.templates[i]))
            return false;
    return true;
}

static uf_status write_person(copier *c, const ufi_loaded *l, uf_error *err)
{
    const uf_person *p = &l->e.person;
    ufi_loaded there;
    int64_t number;
    uf_status st = ufi_person_find(c->to, p->collection, p->id, &number, NULL);
    if (st == UF_E_NOT_FOUND)
        return ufi_enroll(c->to, &l->e, 1, l->times, true, NULL, err);
    if (!st)
        st = ufi_load(c->to, number, &there, err);
    if (st)
        return st;
    if (!same_person(l, &there))
        st = ufi_fail(err, UF_E_STATE,
                      "\"%s\" is in collection \"%s\" of both galleries, and they differ", p->id,
                      p->collection);
    ufi_loaded_free(&there);
    return st;
}

static uf_status write_some(copier *c, uf_error *err)
{
    uf_status st = ufi_gallery_enter_to_write(c->to, err);
    if (st)
        return st;
    st = ufi_gallery_begin(c->to, err);
    if (!st) {
        for (size_t i = 0; !st && i < c->count; i++)
            st = write_person(c, &c->people[i], err);
        st = ufi_gallery_end(c->to, st, err);
    }
    return ufi_gallery_leave(c->to, st, err);
}

/* Models of a gallery by their ids, since the other one numbers them anew. */
typedef struct model_names {
    char (*ids)[UFI_MODEL_ID_MAX + 1];
    size_t count;
} model_names;

typedef struct models_in_use {
    uf_gallery_stats stats; /* the default */
    model_names used;       /* that searches took once, or that are older */
    model_names incoming;   /* one or none */
} models_in_use;

static uf_status name_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    model_names *n = user;
    if (columns[0].type != UFI_VALUE_TEXT || columns[0].size > UFI_MODEL_ID_MAX)
        return ufi_fail(err, UF_E_FORMAT, "damaged: the name of a model");
    void *grown = ufi_realloc(n->ids, n->count + 1, sizeof *n->ids);
    if (!grown)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a list");
    n->ids = grown;
    memcpy(n->ids[n->count++], columns[0].data, columns[0].size + 1);
    return UF_OK;
}

static uf_status read_models(uf_gallery *from, models_in_use *m, uf_error *err)
{
    int64_t newest = 0, comes = 0;
    uf_status st = ufi_default_model(from, &m->stats, err);
    if (!st)
        st = ufi_model_newest_used(from, &newest, err);
    if (!st)
        st = ufi_model_incoming(from, &comes, err);
    const ufi_value args[] = {ufi_integer(newest), ufi_integer(comes)};
    if (!st)
        st = ufi_sql_rows(from->sql, "SELECT name FROM model WHERE number <= ?1", args, 1, name_row,
                          &m->used, err);
    if (!st)
        st = ufi_sql_rows(from->sql, "SELECT name FROM model WHERE number = ?1", args + 1, 1,
                          name_row, &m->incoming, err);
    return st;
}

/* The largest number that models of these ids have here; those without templates have none. */
static uf_status newest_of(uf_gallery *to, const model_names *n, int64_t *newest, uf_error *err)
{
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < n->count; i++) {
        int64_t model;
        uint32_t dimension;
        st = ufi_model_find(to, n->ids[i], &model, &dimension, NULL);
        if (!st && model > *newest)
            *newest = model;
        if (st == UF_E_NOT_FOUND)
            st = UF_OK;
        else if (st)
            ufi_fail(err, st, "model %s cannot be looked up", n->ids[i]);
    }
    return st;
}

static uf_status write_models(uf_gallery *to, const models_in_use *m, uf_error *err)
{
    int64_t model, newest, comes = 0;
    uint32_t dimension;
    uf_status st = ufi_model_newest_used(to, &newest, err);
    if (!st && m->stats.model_id[0]) {
        st = ufi_model_find(to, m->stats.model_id, &model, &dimension, err);
        if (!st)
            st = ufi_setting_put(to->sql, "default_model", model, NULL, 0, err);
    }
    if (!st)
        st = newest_of(to, &m->used, &newest, err);
    if (!st && newest)
        st = ufi_setting_put(to->sql, "newest_used", newest, NULL, 0, err);
    if (!st)
        st = newest_of(to, &m->incoming, &comes, err);
    if (!st) /* 0: none, whatever an earlier copy said */
        st = ufi_setting_put(to->sql, "incoming_model", comes, NULL, 0, err);
    return st;
}

/* Which models are in use, were, and are to be; and the end of it in the log. */
static uf_status finish(copier *c, uf_error *err)
{
    models_in_use m = {{0}, {0}, {0}};
    uf_status st = ufi_gallery_enter(c->from, err);
    if (st)
        return st;
    st = ufi_gallery_leave(c->from, read_models(c->from, &m, err), err);
    if (!st)
        st = ufi_gallery_enter_to_write(c->to, err);
    if (st)
        goto cleanup;
    st = ufi_gallery_begin(c->to, err);
    if (!st) {
        st = write_models(c->to, &m, err);
        if (!st)
            st = ufi_audit_in(c->to, "copy", "", c->from->name, err);
        st = ufi_gallery_end(c->to, st, err);
    }
    st = ufi_gallery_leave(c->to, st, err);
cleanup:
    ufi_free(m.used.ids);
    ufi_free(m.incoming.ids);
    return st;
}

/* A copy of a file is another gallery, though it bears the same mark. */
static bool is_same(const uf_gallery *a, const uf_gallery *b)
{
    struct stat x, y;
    if (memcmp(a->store, b->store, sizeof a->store) != 0)
        return false;
    if (stat(a->name, &x) == 0 && stat(b->name, &y) == 0)
        return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
    return strcmp(a->name, b->name) == 0;
}

uf_status uf_gallery_copy(uf_gallery *from, uf_gallery *to, uf_progress_fn *progress, void *user,
                          uf_error *err)
{
    uf_gallery_stats s = {0};
    int64_t after = 0;
    size_t done = 0;
    if (!from || !to || from == to)
        return ufi_fail(err, UF_E_ARG, "copy: it takes two galleries");
    if (is_same(from, to))
        return ufi_fail(err, UF_E_ARG,
                        "%s and %s are the same gallery: name another one to copy to", from->name,
                        to->name);
    copier *c = ufi_calloc(1, sizeof *c);
    if (!c)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a copy");
    *c = (copier){.from = from, .to = to};
    uf_status st = uf_gallery_describe(from, &s, err);
    while (!st) {
        int64_t before = after;
        st = read_some(c, &after, err);
        if (!st && c->count > 0)
            st = write_some(c, err);
        done += c->count;
        forget(c);
        if (after == before)
            break;
        if (!st && progress && progress(user, done, done > s.people ? done : (size_t)s.people))
            st = ufi_fail(err, UF_E_CANCELLED, "stopped by the caller; copying again goes on");
    }
    forget(c);
    if (!st)
        st = finish(c, err);
    ufi_free(c);
    return st;
}
