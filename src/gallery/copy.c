/*
 * A gallery into another one. No call holds both galleries' locks, so that two copies in opposite
 * directions cannot wait for each other: people are read a few at a time, then written.
 */
#include <string.h>

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

/* The default model too, and the end of it in the log. */
static uf_status finish(copier *c, uf_error *err)
{
    uf_gallery_stats s = {0};
    int64_t model;
    uint32_t dimension;
    uf_status st = ufi_gallery_enter(c->from, err);
    if (st)
        return st;
    st = ufi_default_model(c->from, &s, err);
    st = ufi_gallery_leave(c->from, st, err);
    if (!st)
        st = ufi_gallery_enter_to_write(c->to, err);
    if (st)
        return st;
    st = ufi_gallery_begin(c->to, err);
    if (!st) {
        if (s.model_id[0])
            st = ufi_model_find(c->to, s.model_id, &model, &dimension, err);
        if (!st && s.model_id[0])
            st = ufi_setting_put(c->to->sql, "default_model", model, NULL, 0, err);
        if (!st)
            st = ufi_audit_in(c->to, "copy", "", c->from->name, err);
        st = ufi_gallery_end(c->to, st, err);
    }
    return ufi_gallery_leave(c->to, st, err);
}

uf_status uf_gallery_copy(uf_gallery *from, uf_gallery *to, uf_progress_fn *progress, void *user,
                          uf_error *err)
{
    uf_gallery_stats s = {0};
    int64_t after = 0;
    size_t done = 0;
    if (!from || !to || from == to)
        return ufi_fail(err, UF_E_ARG, "copy: it takes two galleries");
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
