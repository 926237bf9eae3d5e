/*
 * Sealing a template takes 3 us, writing its rows 55: where there is a second core, a thread seals
 * ahead of the writing. It is woken once for a batch, since waking takes as long as sealing one or
 * two. Order, numbers and the transaction are those of the thread that writes.
 */
#include "gallery/sealer.h"

#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/status.h"

/* ---- batches ---- */

/* FNV-1a. Different people may share a mark: they are only kept apart for no reason. */
uint32_t ufi_seal_mark(const uf_enrolment *given)
{
    const char *const texts[] = {ufi_collection_or_default(given->person.collection),
                                 given->person.id};
    uint32_t mark = 2166136261u;
    for (size_t i = 0; i < 2; i++)
        for (const char *c = texts[i]; *c; c++)
            mark = (mark ^ (uint8_t)*c) * 16777619u;
    return mark;
}

uf_status ufi_seal_batch_ready(ufi_seal_batch *b, uf_error *err)
{
    if (!b->secrets)
        b->secrets = ufi_secret_alloc(sizeof *b->secrets, NULL);
    return b->secrets ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory to enrol");
}

bool ufi_seal_batch_full(const ufi_seal_batch *b)
{
    return b->count == UFI_SEAL_PEOPLE || b->template_count >= UFI_SEAL_TEMPLATES;
}

bool ufi_seal_batch_has(const ufi_seal_batch *b, uint32_t mark)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->people[i].mark == mark)
            return true;
    return false;
}

ufi_seal_person *ufi_seal_batch_person(ufi_seal_batch *b, const uf_enrolment *given)
{
    ufi_seal_person *p = &b->people[b->count++];
    *p =
        (ufi_seal_person){.given = given, .mark = ufi_seal_mark(given), .first = b->template_count};
    return p;
}

static bool room(void **p, size_t *have, size_t want, size_t size)
{
    if (want <= *have)
        return true;
    const size_t more = want + *have / 2;
    void *grown = ufi_realloc(*p, more, size);
    if (!grown)
        return false;
    *p = grown;
    *have = more;
    return true;
}

uf_status ufi_seal_batch_add(const uf_gallery *g, ufi_seal_batch *b, const uf_template *given,
                             const ufi_template_row *row, uf_error *err)
{
    const size_t size = ufi_record_size(g, row->dimension * sizeof(float));
    if (!room((void **)&b->templates, &b->template_room, b->template_count + 1,
              sizeof *b->templates) ||
        !room((void **)&b->sealed, &b->sealed_room, b->sealed_size + size, 1))
        return ufi_fail(err, UF_E_NOMEM, "no memory for a template");
    b->templates[b->template_count++] =
        (ufi_seal_template){.given = given, .row = *row, .at = b->sealed_size, .size = size};
    b->sealed_size += size;
    return UF_OK;
}

void ufi_seal_batch_clear(ufi_seal_batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        for (size_t k = 0; k < 3; k++)
            ufi_free(b->people[i].kept[k]);
    if (b->secrets)
        ufi_wipe(b->secrets->keys, sizeof b->secrets->keys);
    b->count = b->template_count = b->sealed_size = 0;
}

void ufi_seal_batch_free(ufi_seal_batch *b)
{
    ufi_seal_batch_clear(b);
    ufi_secret_free(b->secrets, sizeof *b->secrets);
    ufi_free(b->templates);
    ufi_wipe(b->sealed, b->sealed_room); /* in a gallery without encryption it is plain */
    ufi_free(b->sealed);
}

/* ---- sealing ---- */

static uf_status seal_template(const uf_gallery *g, ufi_seal_batch *b, const ufi_seal_person *p,
                               const ufi_seal_template *t, uf_error *err)
{
    uint8_t bound[UFI_BOUND_BYTES];
    float *vector = b->secrets->vector;
    const uf_status st = ufi_unit_vector(t->given->vector, t->row.dimension, vector, err);
    ufi_template_bound(g, &p->row, &t->row, bound);
    return st ? st
              : ufi_record_seal(g, ufi_seal_batch_key(b, p), bound, vector,
                                t->row.dimension * sizeof(float), b->sealed + t->at, err);
}

static uf_status seal_person(uf_gallery *g, ufi_seal_batch *b, ufi_seal_person *p, uf_error *err)
{
    uint8_t *key = ufi_seal_batch_key(b, p);
    uf_status st =
        p->is_new && g->encrypted ? ufi_gallery_random(g, key, UFI_SECRET_BYTES, err) : UF_OK;
    if (!st)
        st = ufi_person_seal(g, &p->row, key, p->key, &p->key_size, err);
    for (size_t i = 0; !st && i < p->given->count; i++)
        st = seal_template(g, b, p, &b->templates[p->first + i], err);
    return st;
}

static void seal_batch(uf_gallery *g, ufi_seal_batch *b)
{
    b->status = UF_OK;
    for (size_t i = 0; !b->status && i < b->count; i++) {
        b->failed = i;
        b->status = seal_person(g, b, &b->people[i], &b->error);
    }
}

/* ---- the thread ---- */

struct ufi_sealer {
    ufi_thread *thread;
    ufi_mutex *lock; /* protects what follows */
    ufi_condition *changed;
    uf_gallery *gallery;
    ufi_seal_batch *batch; /* to be sealed; NULL: none */
    bool ends;
};

static void seal_ahead(void *arg)
{
    ufi_sealer *s = arg;
    ufi_mutex_lock(s->lock);
    while (!s->ends) {
        ufi_seal_batch *b = s->batch;
        if (!b) {
            ufi_condition_wait(s->changed, s->lock);
            continue;
        }
        ufi_mutex_unlock(s->lock);
        seal_batch(s->gallery, b);
        ufi_mutex_lock(s->lock);
        s->batch = NULL;
        ufi_condition_wake_all(s->changed);
    }
    ufi_mutex_unlock(s->lock);
}

ufi_sealer *ufi_sealer_make(size_t templates)
{
    if (templates < 2 * UFI_SEAL_PEOPLE || ufi_cpu_count() < 2)
        return NULL;
    ufi_sealer *s = ufi_calloc(1, sizeof *s);
    if (s && (ufi_mutex_create(&s->lock, NULL) || ufi_condition_create(&s->changed, NULL) ||
              ufi_thread_start(&s->thread, seal_ahead, s, NULL))) {
        ufi_sealer_free(s);
        return NULL;
    }
    return s;
}

void ufi_sealer_free(ufi_sealer *s)
{
    if (!s)
        return;
    if (s->thread) {
        ufi_mutex_lock(s->lock);
        s->ends = true;
        ufi_condition_wake_all(s->changed);
        ufi_mutex_unlock(s->lock);
        ufi_thread_join(s->thread);
    }
    ufi_condition_destroy(s->changed);
    ufi_mutex_destroy(s->lock);
    ufi_free(s);
}

void ufi_sealer_start(ufi_sealer *s, uf_gallery *g, ufi_seal_batch *b)
{
    if (!s) {
        seal_batch(g, b);
        return;
    }
    ufi_mutex_lock(s->lock);
    s->gallery = g;
    s->batch = b;
    ufi_condition_wake_all(s->changed);
    ufi_mutex_unlock(s->lock);
}

uf_status ufi_sealer_wait(ufi_sealer *s, const ufi_seal_batch *b, uf_error *err)
{
    if (s) {
        ufi_mutex_lock(s->lock);
        while (s->batch)
            ufi_condition_wait(s->changed, s->lock);
        ufi_mutex_unlock(s->lock);
    }
    if (b->status && err)
        *err = b->error;
    return b->status;
}
