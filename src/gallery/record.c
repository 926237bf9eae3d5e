/*
 * What is sealed and to what it is bound.
 *
 * A person's row seals the person's key; a template's row seals the vector with that key. Either
 * is bound (associated data) to a digest of all else in the row, and of the rows it belongs to: a
 * record that was moved to another person, model, collection or gallery does not open, nor one
 * whose id, metadata or expiry were changed from outside.
 */
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"
#include "gallery/keys.h"

/* ---- digests of fields ---- */

static void hash_number(ufi_sha256 *h, int64_t v)
{
    ufi_sha256_update(h, &v, sizeof v);
}

/* With its length, so that no two lists of fields give the same bytes; NULL is not "". */
static void hash_text(ufi_sha256 *h, const char *s)
{
    hash_number(h, s ? (int64_t)strlen(s) : -1);
    if (s)
        ufi_sha256_update(h, s, strlen(s));
}

static void hash_begin(ufi_sha256 *h, const uf_gallery *g, const char *what)
{
    ufi_sha256_init(h);
    hash_text(h, what);
    ufi_sha256_update(h, g->store, sizeof g->store);
}

static void person_bound(const uf_gallery *g, const ufi_person_row *p,
                         uint8_t bound[UFI_BOUND_BYTES])
{
    ufi_sha256 h;
    hash_begin(&h, g, "uniface person 1");
    hash_number(&h, p->collection);
    hash_text(&h, p->collection_name);
    hash_number(&h, p->number);
    hash_text(&h, p->id);
    hash_text(&h, p->metadata);
    hash_text(&h, p->consent);
    hash_text(&h, p->purpose);
    hash_number(&h, p->expires);
    hash_number(&h, p->created);
    hash_number(&h, p->updated);
    hash_number(&h, p->master);
    ufi_sha256_final(&h, bound);
}

/* The key is the person's, whose number says which: a person has one key at a time, and a new one
 * seals all of the person's templates anew (erase_one.c). */
void ufi_template_bound(const uf_gallery *g, const ufi_person_row *p, const ufi_template_row *t,
                        uint8_t bound[UFI_BOUND_BYTES])
{
    ufi_sha256 h;
    uint32_t quality;
    memcpy(&quality, &t->quality, sizeof quality);
    hash_begin(&h, g, "uniface template 1");
    hash_number(&h, p->collection);
    hash_number(&h, p->number);
    hash_number(&h, t->number);
    hash_number(&h, t->model);
    hash_text(&h, t->model_id);
    hash_number(&h, t->dimension);
    hash_text(&h, t->source);
    hash_number(&h, quality);
    hash_number(&h, t->created);
    ufi_sha256_final(&h, bound);
}

void ufi_crop_bound(const uf_gallery *g, const ufi_person_row *p, int64_t template_number,
                    uint32_t crop_size, uint8_t bound[UFI_BOUND_BYTES])
{
    ufi_sha256 h;
    hash_begin(&h, g, "uniface crop 1");
    hash_number(&h, p->collection);
    hash_number(&h, p->number);
    hash_number(&h, template_number);
    hash_number(&h, crop_size);
    ufi_sha256_final(&h, bound);
}

/* ---- seals ---- */

size_t ufi_record_size(const uf_gallery *g, size_t plain_size)
{
    return plain_size + (g->encrypted ? UFI_SEAL_EXTRA : UFI_SHA256_BYTES);
}

static void plain_digest(const uint8_t bound[UFI_BOUND_BYTES], const void *plain, size_t size,
                         uint8_t out[UFI_SHA256_BYTES])
{
    ufi_sha256 h;
    ufi_sha256_init(&h);
    ufi_sha256_update(&h, bound, UFI_BOUND_BYTES);
    if (size > 0)
        ufi_sha256_update(&h, plain, size);
    ufi_sha256_final(&h, out);
}

uf_status ufi_gallery_random(const uf_gallery *g, void *out, size_t size, uf_error *err)
{
    ufi_mutex_lock(g->ring_lock);
    const uf_status st = ufi_random_draw(&g->ring->random, out, size, err);
    ufi_mutex_unlock(g->ring_lock);
    return st;
}

uf_status ufi_record_seal(const uf_gallery *g, const uint8_t key[UFI_SECRET_BYTES],
                          const uint8_t bound[UFI_BOUND_BYTES], const void *plain, size_t size,
                          uint8_t *out, uf_error *err)
{
    if (g->encrypted) {
        uint8_t nonce[UFI_SEAL_NONCE_BYTES];
        const uf_status st = ufi_gallery_random(g, nonce, sizeof nonce, err);
        return st ? st : ufi_seal_with(out, nonce, plain, size, bound, UFI_BOUND_BYTES, key, err);
    }
    if (size > 0)
        memcpy(out, plain, size);
    plain_digest(bound, plain, size, out + size);
    return UF_OK;
}

uf_status ufi_record_open(const uf_gallery *g, const uint8_t key[UFI_SECRET_BYTES],
                          const uint8_t bound[UFI_BOUND_BYTES], const uint8_t *sealed,
                          size_t sealed_size, void *plain, size_t size, uf_error *err)
{
    uint8_t digest[UFI_SHA256_BYTES];
    bool right = sealed_size == ufi_record_size(g, size);
    if (right && g->encrypted) {
        right = ufi_unseal(plain, sealed, sealed_size, bound, UFI_BOUND_BYTES, key, NULL) == UF_OK;
    } else if (right) {
        plain_digest(bound, sealed, size, digest);
        right = memcmp(digest, sealed + size, sizeof digest) == 0;
        if (right && size > 0)
            memcpy(plain, sealed, size);
    }
    return right ? UF_OK : ufi_fail(err, UF_E_FORMAT, "damaged, or moved from elsewhere");
}

/* ---- rows ---- */

static const char *text_of(const ufi_value *v)
{
    return v->type == UFI_VALUE_TEXT ? v->data : NULL;
}

uf_status ufi_person_read(const ufi_value *columns, size_t count, ufi_person_row *p, uf_error *err)
{
    if (count < UFI_PERSON_COLUMN_COUNT || columns[2].type != UFI_VALUE_TEXT ||
        columns[3].type != UFI_VALUE_TEXT || columns[11].type != UFI_VALUE_BYTES)
        return ufi_fail(err, UF_E_FORMAT, "damaged: the row of a person");
    *p = (ufi_person_row){.number = columns[0].integer,
                          .collection = columns[1].integer,
                          .collection_name = columns[2].data,
                          .id = columns[3].data,
                          .metadata = text_of(&columns[4]),
                          .consent = text_of(&columns[5]),
                          .purpose = text_of(&columns[6]),
                          .expires = columns[7].integer,
                          .created = columns[8].integer,
                          .updated = columns[9].integer,
                          .master = columns[10].integer,
                          .sealed = columns[11].data,
                          .sealed_size = columns[11].size};
    return UF_OK;
}

uf_status ufi_template_read(const ufi_value *columns, size_t count, ufi_person_row *p,
                            ufi_template_row *t, uf_error *err)
{
    uf_status st = ufi_person_read(columns, count, p, err);
    const ufi_value *c = columns + UFI_PERSON_COLUMN_COUNT;
    if (st)
        return st;
    if (count < UFI_TEMPLATE_COLUMN_COUNT || c[2].type != UFI_VALUE_TEXT ||
        c[7].type != UFI_VALUE_BYTES || c[3].integer < UF_INDEX_MIN_DIMENSION ||
        c[3].integer > UF_INDEX_MAX_DIMENSION)
        return ufi_fail(err, UF_E_FORMAT, "damaged: the row of a template");
    *t = (ufi_template_row){.number = c[0].integer,
                            .model = c[1].integer,
                            .model_id = c[2].data,
                            .dimension = (uint32_t)c[3].integer,
                            .source = text_of(&c[4]),
                            .quality = c[5].type == UFI_VALUE_REAL ? (float)c[5].real : -1.0f,
                            .created = c[6].integer,
                            .sealed = c[7].data,
                            .sealed_size = c[7].size};
    return UF_OK;
}

uf_status ufi_person_open(uf_gallery *g, const ufi_person_row *p, uint8_t key[UFI_SECRET_BYTES],
                          uf_error *err)
{
    uint8_t bound[UFI_BOUND_BYTES], master[UFI_SECRET_BYTES] = {0};
    uf_status st = g->encrypted ? ufi_keys_find(g, p->master, master, err) : UF_OK;
    if (!st) {
        person_bound(g, p, bound);
        st = ufi_record_open(g, master, bound, p->sealed, p->sealed_size, key,
                             g->encrypted ? UFI_SECRET_BYTES : 0, err);
    }
    ufi_wipe(master, sizeof master);
    return ufi_wrap(err, st, "person \"%s\"", p->id);
}

uf_status ufi_person_seal(uf_gallery *g, const ufi_person_row *p,
                          const uint8_t key[UFI_SECRET_BYTES], uint8_t *out, size_t *out_size,
                          uf_error *err)
{
    uint8_t bound[UFI_BOUND_BYTES], master[UFI_SECRET_BYTES] = {0};
    size_t size = g->encrypted ? UFI_SECRET_BYTES : 0;
    uf_status st = g->encrypted ? ufi_keys_find(g, p->master, master, err) : UF_OK;
    if (!st) {
        person_bound(g, p, bound);
        st = ufi_record_seal(g, master, bound, key, size, out, err);
        *out_size = ufi_record_size(g, size);
    }
    ufi_wipe(master, sizeof master);
    return st;
}

uf_status ufi_template_open(uf_gallery *g, const ufi_person_row *p, const ufi_template_row *t,
                            float *vector, uf_error *err)
{
    uint8_t bound[UFI_BOUND_BYTES], key[UFI_SECRET_BYTES] = {0};
    uf_status st = ufi_person_open(g, p, key, err);
    if (!st) {
        ufi_template_bound(g, p, t, bound);
        st = ufi_record_open(g, key, bound, t->sealed, t->sealed_size, vector,
                             t->dimension * sizeof(float), err);
        ufi_wrap(err, st, "template %lld of \"%s\"", (long long)t->number, p->id);
    }
    ufi_wipe(key, sizeof key);
    return st;
}

uf_status ufi_crop_open(uf_gallery *g, const ufi_person_row *p, int64_t template_number,
                        const ufi_value *size, const ufi_value *sealed, uint8_t **crop,
                        size_t *room, uf_error *err)
{
    uint8_t key[UFI_SECRET_BYTES] = {0}, bound[UFI_BOUND_BYTES];
    if (size->integer < 1 || size->integer > UFI_CROP_SIZE_MAX || sealed->type != UFI_VALUE_BYTES)
        return ufi_fail(err, UF_E_FORMAT, "damaged: the crop of template %lld",
                        (long long)template_number);
    size_t bytes = (size_t)size->integer * (size_t)size->integer * 3;
    if (bytes > *room) {
        ufi_secret_free(*crop, *room);
        *crop = ufi_secret_alloc(bytes, NULL);
        *room = *crop ? bytes : 0;
        if (!*crop)
            return ufi_fail(err, UF_E_NOMEM, "no memory for a crop");
    }
    uf_status st = ufi_person_open(g, p, key, err);
    ufi_crop_bound(g, p, template_number, (uint32_t)size->integer, bound);
    if (!st)
        st = ufi_record_open(g, key, bound, sealed->data, sealed->size, *crop, bytes, err);
    ufi_wipe(key, sizeof key);
    return ufi_wrap(err, st, "crop of template %lld", (long long)template_number);
}
