/*
 * Deletion of one template, and people who get another id or become one person.
 *
 * A person's other templates stay, and with them the person's key: who has an old copy of the
 * files could open the deleted template with it. So the person gets a new key, under which all
 * that stays is sealed anew; the old one is gone with the transaction. The rest is as in erase.c.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"
#include "gallery/keys.h"

static const char one_template[] =
    "SELECT " UFI_TEMPLATE_COLUMNS ", k.size, k.sealed FROM " UFI_TEMPLATE_TABLES
    " LEFT JOIN crop k ON k.template = t.number WHERE t.number = ?1";

/* ---- a new key for a person ---- */

typedef struct rekeyer {
    uf_gallery *g;
    uint8_t old[UFI_SECRET_BYTES], key[UFI_SECRET_BYTES];
    uint8_t person[UFI_SEALED_KEY_MAX]; /* the new key, sealed */
    size_t person_size;
    int64_t master, updated;
    float *vector;                  /* locked, as `crop` */
    uint8_t *vector_out, *crop_out; /* sealed anew */
    size_t vector_size, crop_size, vector_room, crop_out_room, crop_room;
    uint8_t *crop;
} rekeyer;

static uf_status room_for(uint8_t **out, size_t *room, size_t size, uf_error *err)
{
    if (size <= *room)
        return UF_OK;
    uint8_t *grown = ufi_realloc(*out, size, 1);
    if (!grown)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a template");
    *out = grown;
    *room = size;
    return UF_OK;
}

static uf_status person_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    rekeyer *r = user;
    ufi_person_row p;
    uf_status st = ufi_person_read(columns, count, &p, err);
    if (!st)
        st = ufi_person_open(r->g, &p, r->old, err);
    if (st)
        return st;
    p.master = r->master;
    p.updated = r->updated;
    return ufi_person_seal(r->g, &p, r->key, r->person, &r->person_size, err);
}

static uf_status reseal_crop(rekeyer *r, const ufi_person_row *p, int64_t number,
                             const ufi_value *crop, uf_error *err)
{
    uint8_t bound[UFI_BOUND_BYTES];
    uf_status st = ufi_crop_open(r->g, p, number, &crop[0], &crop[1], &r->crop, &r->crop_room, err);
    if (st)
        return st;
    const size_t bytes = (size_t)crop[0].integer * (size_t)crop[0].integer * 3;
    r->crop_size = ufi_record_size(r->g, bytes);
    st = room_for(&r->crop_out, &r->crop_out_room, r->crop_size, err);
    ufi_crop_bound(r->g, p, number, (uint32_t)crop[0].integer, bound);
    return st ? st : ufi_record_seal(r->g, r->key, bound, r->crop, bytes, r->crop_out, err);
}

/* The rows still have the old key. */
static uf_status template_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    rekeyer *r = user;
    ufi_person_row p;
    ufi_template_row t;
    uint8_t bound[UFI_BOUND_BYTES];
    const ufi_value *crop = columns + UFI_TEMPLATE_COLUMN_COUNT;
    uf_status st = ufi_template_read(columns, count, &p, &t, err);
    if (!st)
        st = ufi_template_open(r->g, &p, &t, r->vector, err);
    if (st)
        return st;
    const size_t bytes = t.dimension * sizeof(float);
    r->vector_size = ufi_record_size(r->g, bytes);
    r->crop_size = 0;
    st = room_for(&r->vector_out, &r->vector_room, r->vector_size, err);
    ufi_template_bound(r->g, &p, &t, bound);
    if (!st)
        st = ufi_record_seal(r->g, r->key, bound, r->vector, bytes, r->vector_out, err);
    if (!st && crop[0].type == UFI_VALUE_INTEGER)
        st = reseal_crop(r, &p, t.number, crop, err);
    return st;
}

static uf_status reseal(rekeyer *r, int64_t number, uf_error *err)
{
    const ufi_value id[] = {ufi_integer(number)};
    uf_status st = ufi_sql_one(r->g->sql, one_template, id, 1, template_row, r, err);
    const ufi_value vector[] = {ufi_integer(number), ufi_bytes(r->vector_out, r->vector_size)};
    if (!st)
        st = ufi_sql_run(r->g->sql, "UPDATE template SET sealed = ?2 WHERE number = ?1", vector, 2,
                         NULL, err);
    const ufi_value crop[] = {ufi_integer(number), ufi_bytes(r->crop_out, r->crop_size)};
    if (!st && r->crop_size)
        st = ufi_sql_run(r->g->sql, "UPDATE crop SET sealed = ?2 WHERE template = ?1", crop, 2,
                         NULL, err);
    return st;
}

static uf_status number_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    return ufi_numbers_push(user, (uint64_t)columns[0].integer, err);
}

/* In a transaction. In a gallery without encryption only the time of the change is new. */
static uf_status give_new_key(uf_gallery *g, int64_t person, uf_error *err)
{
    const size_t bytes = UF_INDEX_MAX_DIMENSION * sizeof(float);
    rekeyer r = {.g = g, .master = ufi_keys_newest(g), .updated = ufi_now()};
    ufi_numbers templates = {0};
    const ufi_value args[] = {ufi_integer(person)};
    r.vector = ufi_secret_alloc(bytes, NULL);
    uf_status st = r.vector ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for a template");
    if (!st && g->encrypted)
        st = ufi_random(r.key, sizeof r.key, err);
    if (!st)
        st = ufi_sql_one(
            g->sql, "SELECT " UFI_PERSON_COLUMNS " FROM " UFI_PERSON_TABLES " WHERE p.number = ?1",
            args, 1, person_row, &r, err);
    if (!st && g->encrypted)
        st = ufi_sql_rows(g->sql, "SELECT number FROM template WHERE person = ?1", args, 1,
                          number_row, &templates, err);
    for (size_t i = 0; !st && i < templates.count; i++)
        st = reseal(&r, (int64_t)templates.list[i], err);
    const ufi_value row[] = {ufi_integer(person), ufi_integer(r.master), ufi_integer(r.updated),
                             ufi_bytes(r.person, r.person_size)};
    if (!st)
        st = ufi_sql_run(g->sql,
                         "UPDATE person SET master = ?2, updated = ?3, sealed = ?4"
                         " WHERE number = ?1",
                         row, 4, NULL, err);
    ufi_wipe(&r.old, sizeof r.old);
    ufi_wipe(&r.key, sizeof r.key);
    ufi_secret_free(r.vector, bytes);
    ufi_secret_free(r.crop, r.crop_room);
    ufi_free(r.vector_out);
    ufi_free(r.crop_out);
    ufi_free(templates.list);
    return st;
}

/* ---- one template ---- */

/* Where a template is. */
typedef struct place {
    int64_t person, model, number, collection;
    char id[UFI_NAME_MAX + 1];
} place;

static uf_status place_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    place *p = user;
    p->person = columns[0].integer;
    p->model = columns[1].integer;
    if (columns[2].type != UFI_VALUE_TEXT || columns[2].size > UFI_NAME_MAX)
        return ufi_fail(err, UF_E_FORMAT, "damaged: the row of a person");
    memcpy(p->id, columns[2].data, columns[2].size);
    return UF_OK;
}

static uf_status find_template(uf_gallery *g, const char *collection, const char *id,
                               uint64_t number, place *out, uf_error *err)
{
    *out = (place){.number = number > INT64_MAX ? 0 : (int64_t)number};
    uf_status st = ufi_collection_find(g, collection, &out->collection, err);
    if (st)
        return st;
    const ufi_value args[] = {ufi_integer(out->number), ufi_integer(out->collection),
                              ufi_text(id ? id : "")};
    st = ufi_sql_one(g->sql,
                     "SELECT t.person, t.model, p.id FROM template t JOIN person p ON p.number ="
                     " t.person WHERE t.number = ?1 AND p.collection = ?2 AND"
                     " (?3 = '' OR p.id = ?3)",
                     args, 3, place_row, out, err);
    return st == UF_E_NOT_FOUND ? ufi_fail(err, st, "no template %llu in collection \"%s\"%s%s%s",
                                           (unsigned long long)number, collection,
                                           id ? " of \"" : "", id ? id : "", id ? "\"" : "")
                                : st;
}

/* In a transaction. */
static uf_status erase_template(uf_gallery *g, const char *collection, const place *p,
                                ufi_erased *erased, uf_receipt *receipt, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(p->number)};
    const ufi_value rest[] = {ufi_integer(p->person), ufi_integer(p->model)};
    int64_t crops = 0, others = 0;
    char subject[65], detail[96];
    ufi_audit_tail tail;
    uf_status st = ufi_audit_last(g, &tail, err);
    if (!st)
        st = ufi_sql_run(g->sql, "DELETE FROM crop WHERE template = ?1", args, 1, &crops, err);
    if (!st)
        st = ufi_sql_run(g->sql, "DELETE FROM template WHERE number = ?1", args, 1, NULL, err);
    if (!st)
        st = ufi_sql_integer(g->sql,
                             "SELECT count(*) FROM template WHERE person = ?1 AND model = ?2", rest,
                             2, 0, &others, err);
    if (!st)
        st = ufi_erased_add(erased, p->collection, p->model, p->number, err);
    if (!st)
        st = ufi_erased_tell(g, erased, 0, others == 0, err);
    if (!st)
        st = give_new_key(g, p->person, err);
    ufi_audit_subject(g, collection, p->id, subject);
    snprintf(detail, sizeof detail, "template %lld, %lld crop%s", (long long)p->number,
             (long long)crops, crops == 1 ? "" : "s");
    if (!st)
        st = ufi_audit_add(g, &tail, "delete template", subject, detail, err);
    *receipt = (uf_receipt){.templates = 1, .crops = (uint64_t)crops, .time = ufi_now()};
    snprintf(receipt->id, sizeof receipt->id, "%s", p->id);
    receipt->audit_entry = (uint64_t)tail.number;
    ufi_hex(tail.digest, sizeof tail.digest, receipt->audit_digest);
    return st;
}

uf_status uf_gallery_delete_template(uf_gallery *g, const char *collection, const char *id,
                                     uint64_t template_id, uf_receipt *receipt, uf_error *err)
{
    ufi_erased erased = {{0}, {0}, {0}};
    uf_receipt made = {0};
    place p;
    int64_t number = 0;
    collection = ufi_collection_or_default(collection);
    uf_status st = ufi_gallery_enter_to_write(g, err);
    if (st)
        return st;
    st = ufi_gallery_begin(g, err);
    if (!st) {
        st = find_template(g, collection, id, template_id, &p, err);
        if (!st)
            st = erase_template(g, collection, &p, &erased, &made, err);
        if (!st)
            st = ufi_erase_begin(g, &number, err);
        st = ufi_gallery_end(g, st, err);
    }
    if (!st && receipt)
        *receipt = made;
    if (!st)
        st = ufi_erase_traces(g, number, &erased, err);
    ufi_erased_free(&erased);
    return ufi_gallery_leave(g, st, err);
}

/* ---- another id ---- */

typedef struct renamer {
    uf_gallery *g;
    const char *id;
    uint8_t sealed[UFI_SEALED_KEY_MAX];
    size_t size;
    int64_t master, updated;
} renamer;

static uf_status renamed_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    renamer *r = user;
    ufi_person_row p;
    uint8_t key[UFI_SECRET_BYTES];
    uf_status st = ufi_person_read(columns, count, &p, err);
    if (!st)
        st = ufi_person_open(r->g, &p, key, err);
    if (!st) {
        p.id = r->id;
        p.master = r->master;
        p.updated = r->updated;
        st = ufi_person_seal(r->g, &p, key, r->sealed, &r->size, err);
    }
    ufi_wipe(key, sizeof key);
    return st;
}

/* The row keeps its number, to which templates are bound; the id is bound to the key. */
static uf_status rename_row(uf_gallery *g, int64_t person, const char *id, uf_error *err)
{
    renamer r = {.g = g, .id = id, .master = ufi_keys_newest(g), .updated = ufi_now()};
    const ufi_value args[] = {ufi_integer(person)};
    uf_status st = ufi_sql_one(
        g->sql, "SELECT " UFI_PERSON_COLUMNS " FROM " UFI_PERSON_TABLES " WHERE p.number = ?1",
        args, 1, renamed_row, &r, err);
    const ufi_value row[] = {ufi_integer(person), ufi_text(id), ufi_integer(r.master),
                             ufi_integer(r.updated), ufi_bytes(r.sealed, r.size)};
    return st ? st
              : ufi_sql_run(g->sql,
                            "UPDATE person SET id = ?2, master = ?3, updated = ?4, sealed = ?5"
                            " WHERE number = ?1",
                            row, 5, NULL, err);
}

/* What one has is enrolled with the other, under new numbers since it is sealed by another key. */
static uf_status merge_rows(uf_gallery *g, int64_t person, const char *collection, const char *id,
                            const char *into, ufi_erased *erased, uf_error *err)
{
    ufi_loaded l;
    uf_receipt receipt;
    ufi_audit_tail tail;
    uf_status st = ufi_load(g, person, &l, err);
    if (st)
        return st;
    uf_enrolment e = l.e;
    e.person = (uf_person){.id = into, .collection = collection};
    l.times[1] = ufi_now(); /* the one who stays changes now; templates keep their times */
    st = ufi_enroll(g, &e, 1, l.times, true, NULL, err);
    if (!st)
        st = ufi_audit_last(g, &tail, err);
    if (!st)
        st = ufi_erase_person(g, collection, id, "merge", erased, &receipt, &tail, err);
    ufi_loaded_free(&l);
    return st;
}

/* In a transaction. */
static uf_status rename_person(uf_gallery *g, const char *collection, const char *id,
                               const char *to, int merge, ufi_erased *erased, uf_error *err)
{
    int64_t person, other;
    char subject[65];
    uf_status st = ufi_person_find(g, collection, id, &person, err);
    if (st)
        return st;
    st = ufi_person_find(g, collection, to, &other, NULL);
    if (!st && other == person)
        return UF_OK;
    if (!st)
        return merge ? merge_rows(g, person, collection, id, to, erased, err)
                     : ufi_fail(err, UF_E_STATE,
                                "there is somebody \"%s\" in collection \"%s\" already", to,
                                collection);
    if (st != UF_E_NOT_FOUND)
        return ufi_fail(err, st, "cannot look for \"%s\"", to);
    st = rename_row(g, person, to, err);
    ufi_audit_subject(g, collection, id, subject);
    if (!st)
        st = ufi_audit_in(g, "rename", subject, "", err);
    ufi_audit_subject(g, collection, to, subject);
    return st ? st : ufi_audit_in(g, "rename to", subject, "", err);
}

uf_status uf_gallery_rename(uf_gallery *g, const char *collection, const char *id,
                            const char *new_id, int32_t merge, uf_error *err)
{
    ufi_erased erased = {{0}, {0}, {0}};
    int64_t number = 0;
    collection = ufi_collection_or_default(collection);
    if (!id)
        return ufi_fail(err, UF_E_ARG, "rename: id is NULL");
    uf_status st = ufi_text_check(new_id, UFI_NAME_MAX, "the new id", err);
    if (!st)
        st = ufi_gallery_enter_to_write(g, err);
    if (st)
        return st;
    st = ufi_gallery_begin(g, err);
    if (!st) {
        st = rename_person(g, collection, id, new_id, merge, &erased, err);
        if (!st)
            st = ufi_erase_begin(g, &number, err);
        st = ufi_gallery_end(g, st, err);
    }
    if (!st)
        st = ufi_erase_traces(g, number, &erased, err);
    ufi_erased_free(&erased);
    return ufi_gallery_leave(g, st, err);
}
