/*
 * Enrolment. All input is looked at before the transaction begins; inside of it numbers are
 * reserved once for all, since what is sealed is bound to its number.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"
#include "gallery/json.h"
#include "gallery/keys.h"

/* ---- input ---- */

static uf_status check_note(const char *text, const char *what, uf_error *err)
{
    return text ? ufi_text_check(text, UFI_NOTE_MAX, what, err) : UF_OK;
}

static uf_status check_person(const uf_person *p, uf_error *err)
{
    uf_status st = ufi_text_check(p->id, UFI_NAME_MAX, "the id", err);
    if (!st)
        st = ufi_text_check(ufi_collection_or_default(p->collection), UFI_NAME_MAX,
                            "the collection's name", err);
    if (!st)
        st = check_note(p->consent, "consent", err);
    if (!st)
        st = check_note(p->purpose, "purpose", err);
    if (st || !p->metadata)
        return st;
    if (strlen(p->metadata) > UFI_METADATA_MAX)
        return ufi_fail(err, UF_E_ARG, "metadata of %zu bytes; it takes %d", strlen(p->metadata),
                        UFI_METADATA_MAX);
    if (!ufi_json_is_object(p->metadata))
        return ufi_fail(err, UF_E_ARG, "metadata is not a JSON object");
    return UF_OK;
}

static uf_status check_template(const uf_template *t, uf_error *err)
{
    uf_status st = ufi_text_check(t->model_id, UFI_MODEL_ID_MAX, "the model id", err);
    if (!st)
        st = check_note(t->source, "source", err);
    if (st)
        return st;
    if (t->dimension < UF_INDEX_MIN_DIMENSION || t->dimension > UF_INDEX_MAX_DIMENSION)
        return ufi_fail(err, UF_E_ARG, "a template of %u floats; it takes %d to %d", t->dimension,
                        UF_INDEX_MIN_DIMENSION, UF_INDEX_MAX_DIMENSION);
    st = ufi_unit_vector(t->vector, t->dimension, NULL, err);
    if (st)
        return st;
    if (!(t->quality <= 1))
        return ufi_fail(err, UF_E_ARG, "quality %g; it takes 0 to 1, less when not known",
                        (double)t->quality);
    if (t->crop && (t->crop_size == 0 || t->crop_size > UFI_CROP_SIZE_MAX))
        return ufi_fail(err, UF_E_ARG, "a crop of %u pixels; it takes 1 to %d", t->crop_size,
                        UFI_CROP_SIZE_MAX);
    return UF_OK;
}

/* It becomes a pattern of LIKE, without characters that mean something there. */
static uf_status check_once(const char *once, uf_error *err)
{
    const size_t size = once ? strlen(once) : 0;
    if (once && (!size || size > UFI_NOTE_MAX))
        return ufi_fail(err, UF_E_ARG, "once must have 1 to %d bytes", UFI_NOTE_MAX);
    for (size_t i = 0; i < size; i++)
        if (once[i] != ' ' && !isalnum((unsigned char)once[i]))
            return ufi_fail(err, UF_E_ARG, "once must be of letters, digits and blanks");
    return UF_OK;
}

static uf_status check_enrolment(const uf_enrolment *e, uf_error *err)
{
    uf_status st = check_person(&e->person, err);
    if (!st)
        st = check_once(e->once, err);
    for (size_t i = 0; !st && i < e->count; i++)
        st = check_template(&e->templates[i], err);
    return st;
}

/* ---- a person's row ---- */

/* One enrolment under way. */
typedef struct enroller {
    uf_gallery *g;
    ufi_audit_tail tail;
    int64_t now, person, template, change; /* the next numbers */
    int64_t collection;
    const char *collection_name; /* the caller's, of the last enrolment */
    bool is_new, keep_crops;
    ufi_person_row row;
    char *kept[3]; /* metadata, consent, purpose of one who is there */
    uint8_t key[UFI_SECRET_BYTES];
    uint8_t *sealed; /* a template or crop */
    size_t sealed_room;
    float *vector; /* locked */
    size_t models_seen;
    int64_t models[8]; /* of the last templates: dimension and id were looked at */
    const char *model_ids[8];
    uint32_t dimensions[8];
} enroller;

static void forget_person(enroller *e)
{
    for (size_t i = 0; i < 3; i++) {
        ufi_free(e->kept[i]);
        e->kept[i] = NULL;
    }
    ufi_wipe(e->key, sizeof e->key);
}

static uf_status keep_text(const char *text, char **out, uf_error *err)
{
    *out = text ? ufi_strdup(text) : NULL;
    return text && !*out ? ufi_fail(err, UF_E_NOMEM, "no memory for a person") : UF_OK;
}

static uf_status there_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    enroller *e = user;
    ufi_person_row *p = &e->row;
    uf_status st = ufi_person_read(columns, count, p, err);
    if (!st)
        st = ufi_person_open(e->g, p, e->key, err);
    const char *const texts[3] = {p->metadata, p->consent, p->purpose};
    for (size_t i = 0; !st && i < 3; i++)
        st = keep_text(texts[i], &e->kept[i], err);
    e->is_new = false;
    return st;
}

/* The row as it will be, and the key. */
static uf_status prepare_row(enroller *e, const uf_person *p, const int64_t *times, uf_error *err)
{
    uf_gallery *g = e->g;
    const ufi_value args[] = {ufi_integer(e->collection), ufi_text(p->id)};
    e->is_new = true;
    uf_status st = ufi_sql_rows(g->sql,
                                "SELECT " UFI_PERSON_COLUMNS " FROM " UFI_PERSON_TABLES
                                " WHERE p.collection = ?1 AND p.id = ?2",
                                args, 2, there_row, e, err);
    if (st)
        return st;
    if (e->is_new) {
        e->row = (ufi_person_row){.number = e->person++, .created = times ? times[0] : e->now};
        if (g->encrypted)
            st = ufi_random_draw(&g->ring->random, e->key, sizeof e->key, err);
    }
    e->row.collection = e->collection;
    e->row.collection_name = e->collection_name;
    e->row.id = p->id;
    e->row.metadata = p->metadata ? p->metadata : e->kept[0];
    e->row.consent = p->consent ? p->consent : e->kept[1];
    e->row.purpose = p->purpose ? p->purpose : e->kept[2];
    e->row.expires = p->expires ? p->expires : e->row.expires;
    e->row.updated = times ? times[1] : e->now;
    e->row.master = ufi_keys_newest(g);
    return st;
}

static uf_status write_person(enroller *e, uf_error *err)
{
    const ufi_person_row *p = &e->row;
    uint8_t sealed[UFI_SEALED_KEY_MAX];
    size_t size = 0;
    uf_status st = ufi_person_seal(e->g, p, e->key, sealed, &size, err);
    const ufi_value args[] = {
        ufi_integer(p->number),  ufi_integer(p->collection), ufi_text(p->id),
        ufi_text(p->metadata),   ufi_text(p->consent),       ufi_text(p->purpose),
        ufi_integer(p->expires), ufi_integer(p->created),    ufi_integer(p->updated),
        ufi_integer(p->master),  ufi_bytes(sealed, size)};
    if (st)
        return st;
    return ufi_sql_run(e->g->sql,
                       e->is_new ? "INSERT INTO person (number, collection, id, metadata, consent,"
                                   " purpose, expires, created, updated, master, sealed) VALUES"
                                   " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
                                 : "UPDATE person SET collection = ?2, id = ?3, metadata = ?4,"
                                   " consent = ?5, purpose = ?6, expires = ?7, created = ?8,"
                                   " updated = ?9, master = ?10, sealed = ?11 WHERE number = ?1",
                       args, 11, NULL, err);
}

/* ---- templates ---- */

static uf_status room_for(enroller *e, size_t size, uf_error *err)
{
    if (size <= e->sealed_room)
        return UF_OK;
    uint8_t *grown = ufi_realloc(e->sealed, size, 1);
    if (!grown)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a template");
    e->sealed = grown;
    e->sealed_room = size;
    return UF_OK;
}

static uf_status model_of(enroller *e, const uf_template *t, int64_t *model, uf_error *err)
{
    for (size_t i = 0; i < e->models_seen; i++)
        if (e->dimensions[i] == t->dimension && strcmp(e->model_ids[i], t->model_id) == 0) {
            *model = e->models[i];
            return UF_OK;
        }
    uf_status st = ufi_model_take(e->g, t->model_id, t->dimension, model, err);
    if (!st) {
        size_t at = e->models_seen < 8 ? e->models_seen++ : 7;
        e->models[at] = *model;
        e->model_ids[at] = t->model_id;
        e->dimensions[at] = t->dimension;
    }
    return st;
}

static uf_status write_crop(enroller *e, const uf_template *t, int64_t number, uf_error *err)
{
    uf_gallery *g = e->g;
    uint8_t bound[UFI_BOUND_BYTES];
    size_t size = (size_t)t->crop_size * t->crop_size * 3;
    uf_status st = room_for(e, ufi_record_size(g, size), err);
    ufi_crop_bound(g, &e->row, number, t->crop_size, bound);
    if (!st)
        st = ufi_record_seal(g, e->key, bound, t->crop, size, e->sealed, err);
    const ufi_value args[] = {ufi_integer(number), ufi_integer(t->crop_size),
                              ufi_bytes(e->sealed, ufi_record_size(g, size))};
    return st ? st
              : ufi_sql_run(g->sql, "INSERT INTO crop (template, size, sealed) VALUES (?1, ?2, ?3)",
                            args, 3, NULL, err);
}

static uf_status write_change(enroller *e, int64_t model, int64_t number, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(e->change++), ufi_integer(e->collection),
                              ufi_integer(model), ufi_integer(number),
                              ufi_integer(UFI_CHANGE_ADDED)};
    return ufi_sql_run(e->g->sql,
                       "INSERT INTO change (number, collection, model, template, kind)"
                       " VALUES (?1, ?2, ?3, ?4, ?5)",
                       args, 5, NULL, err);
}

/* People are counted once for each of their models. */
static uf_status count_template(enroller *e, int64_t model, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(e->row.number), ufi_integer(model)};
    int64_t before;
    uf_status st = ufi_sql_integer(
        e->g->sql, "SELECT 1 FROM template WHERE person = ?1 AND model = ?2 LIMIT 1", args, 2, 0,
        &before, err);
    return st ? st : ufi_census_add(e->g, e->collection, model, before ? 0 : 1, 1, err);
}

static uf_status write_template(enroller *e, const uf_template *t, int64_t created, uf_error *err)
{
    uf_gallery *g = e->g;
    uint8_t bound[UFI_BOUND_BYTES];
    ufi_template_row row = {.number = e->template ++,
                            .created = created,
                            .model_id = t->model_id,
                            .source = t->source,
                            .dimension = t->dimension,
                            .quality = t->quality < 0 ? -1.0f : t->quality};
    size_t bytes = t->dimension * sizeof(float);
    uf_status st = model_of(e, t, &row.model, err);
    if (!st)
        st = ufi_unit_vector(t->vector, t->dimension, e->vector, err);
    if (!st)
        st = count_template(e, row.model, err);
    if (!st)
        st = room_for(e, ufi_record_size(g, bytes), err);
    if (st)
        return st;
    ufi_template_bound(g, &e->row, &row, bound);
    st = ufi_record_seal(g, e->key, bound, e->vector, bytes, e->sealed, err);
    const ufi_value args[] = {ufi_integer(row.number),
                              ufi_integer(e->row.number),
                              ufi_integer(row.model),
                              ufi_text(row.source),
                              row.quality < 0 ? ufi_null() : ufi_real((double)row.quality),
                              ufi_integer(row.created),
                              ufi_bytes(e->sealed, ufi_record_size(g, bytes))};
    if (!st)
        st = ufi_sql_run(g->sql,
                         "INSERT INTO template (number, person, model, source, quality, created,"
                         " sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                         args, 7, NULL, err);
    if (!st)
        st = ufi_nearby_add(g, t->model_id, t->dimension, e->collection, row.number, e->row.number,
                            e->vector, err);
    if (!st)
        st = write_change(e, row.model, row.number, err);
    if (!st && t->crop && e->keep_crops)
        st = write_crop(e, t, row.number, err);
    return st;
}

/* In the transaction that writes, so that no other can have written since. */
static uf_status check_first(enroller *e, const char *once, uf_error *err)
{
    int64_t found = 0;
    if (!once || e->is_new)
        return UF_OK;
    const ufi_value args[] = {ufi_integer(e->row.number), ufi_text(once)};
    uf_status st = ufi_sql_integer(e->g->sql,
                                   "SELECT 1 FROM template WHERE person = ?1"
                                   " AND substr(source, 1, length(?2)) = ?2 LIMIT 1",
                                   args, 2, 0, &found, err);
    return !st && found ? ufi_fail(err, UF_E_EXISTS, "this was enrolled before") : st;
}

static uf_status enroll_one(enroller *e, const uf_enrolment *person, const int64_t *times,
                            const int64_t *template_times, uf_error *err)
{
    const char *name = ufi_collection_or_default(person->person.collection);
    char subject[65], detail[96];
    uf_status st = UF_OK;
    if (!e->collection_name || strcmp(e->collection_name, name) != 0)
        st = ufi_collection_take(e->g, name, &e->collection, err);
    e->collection_name = name;
    if (!st)
        st = prepare_row(e, &person->person, times, err);
    if (!st)
        st = check_first(e, person->once, err);
    if (!st)
        st = write_person(e, err);
    for (size_t i = 0; !st && i < person->count; i++)
        st = write_template(e, &person->templates[i], template_times ? template_times[i] : e->now,
                            err);
    if (!st) {
        ufi_audit_subject(e->g, name, person->person.id, subject);
        snprintf(detail, sizeof detail, "%zu template%s", person->count,
                 person->count == 1 ? "" : "s");
        st = ufi_audit_add(e->g, &e->tail, "enroll", subject, detail, err);
    }
    forget_person(e);
    return st;
}

uf_status ufi_enroll(uf_gallery *g, const uf_enrolment *people, size_t count, const int64_t *times,
                     bool keep_crops, uint64_t *ids, uf_error *err)
{
    enroller e = {.g = g, .keep_crops = keep_crops, .now = ufi_now()};
    size_t templates = 0, done = 0;
    for (size_t i = 0; i < count; i++)
        templates += people[i].count;
    e.vector = ufi_secret_alloc(UF_INDEX_MAX_DIMENSION * sizeof(float), NULL);
    if (!e.vector)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a template");
    uf_status st = ufi_audit_last(g, &e.tail, err);
    if (!st)
        st = ufi_numbers_take(g->sql, "person", (int64_t)count, &e.person, err);
    if (!st)
        st = ufi_numbers_take(g->sql, "template", (int64_t)templates, &e.template, err);
    if (!st)
        st = ufi_numbers_take(g->sql, "change", (int64_t)templates, &e.change, err);
    int64_t first = e.template;
    for (size_t i = 0; !st && i < count; i++) {
        st = enroll_one(&e, &people[i], times ? times + 2 * i : NULL,
                        times ? times + 2 * count + done : NULL, err);
        done += people[i].count;
        ufi_wrap(err, st, "enrolment %zu (\"%s\")", i, people[i].person.id);
    }
    for (size_t i = 0; !st && ids && i < templates; i++)
        ids[i] = (uint64_t)first + i;
    ufi_secret_free(e.vector, UF_INDEX_MAX_DIMENSION * sizeof(float));
    ufi_wipe(e.sealed, e.sealed_room);
    ufi_free(e.sealed);
    return st;
}

uf_status uf_gallery_enroll(uf_gallery *g, const uf_enrolment *people, size_t count, uint64_t *ids,
                            uf_error *err)
{
    uf_status st = UF_OK;
    if (!people && count > 0)
        return ufi_fail(err, UF_E_ARG, "enroll: people is NULL");
    for (size_t i = 0; !st && i < count; i++) {
        st = check_enrolment(&people[i], err);
        ufi_wrap(err, st, "enrolment %zu", i);
    }
    if (!st)
        st = ufi_gallery_enter_to_write(g, err);
    if (st)
        return st;
    st = ufi_gallery_begin(g, err);
    if (!st) {
        st = ufi_enroll(g, people, count, NULL, g->keep_crops, ids, err);
        st = ufi_gallery_end(g, st, err);
    }
    return ufi_gallery_leave(g, st, err);
}
