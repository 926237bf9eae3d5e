/*
 * Enrolment. All input is looked at before the transaction begins; inside of it numbers are
 * reserved once for all, since what is sealed is bound to its number. People go in batches through
 * three steps: what is there of them is read, their records are sealed (sealer.c), all is written.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"
#include "gallery/json.h"
#include "gallery/keys.h"
#include "gallery/sealer.h"

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

/* ---- what is known of people before they are written ---- */

/* An enrolment under way. Two batches take turns: while the records of one are written, those of
 * the next are sealed by the helper, where there is one. */
typedef struct enroller {
    uf_gallery *g;
    ufi_audit_tail tail;
    int64_t now, person, template, change; /* the next numbers */
    int64_t collection;
    const char *collection_name; /* the caller's, of the last enrolment */
    bool keep_crops;
    size_t models_seen;
    int64_t models[8]; /* of the last templates: dimension and id were looked at */
    const char *model_ids[8];
    uint32_t dimensions[8];
    ufi_seal_batch batches[2];
    ufi_sealer *sealer; /* NULL: this thread seals */
    uint8_t *crop;      /* a sealed one */
    size_t crop_room;
} enroller;

static uf_status keep_text(const char *text, char **out, uf_error *err)
{
    *out = text ? ufi_strdup(text) : NULL;
    return text && !*out ? ufi_fail(err, UF_E_NOMEM, "no memory for a person") : UF_OK;
}

typedef struct there {
    enroller *e;
    ufi_seal_person *p;
    uint8_t *key;
} there;

static uf_status there_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    const there *t = user;
    ufi_person_row *p = &t->p->row;
    uf_status st = ufi_person_read(columns, count, p, err);
    if (!st)
        st = ufi_person_open(t->e->g, p, t->key, err);
    const char *const texts[3] = {p->metadata, p->consent, p->purpose};
    for (size_t i = 0; !st && i < 3; i++)
        st = keep_text(texts[i], &t->p->kept[i], err);
    t->p->is_new = false;
    return st;
}

/* The row as it will be, and the key of one who is there. */
static uf_status prepare_row(enroller *e, ufi_seal_person *p, uint8_t *key, const int64_t *times,
                             uf_error *err)
{
    const uf_person *given = &p->given->person;
    ufi_person_row *row = &p->row;
    there t = {e, p, key};
    const ufi_value args[] = {ufi_integer(e->collection), ufi_text(given->id)};
    p->is_new = true;
    uf_status st = ufi_sql_rows(e->g->sql,
                                "SELECT " UFI_PERSON_COLUMNS " FROM " UFI_PERSON_TABLES
                                " WHERE p.collection = ?1 AND p.id = ?2",
                                args, 2, there_row, &t, err);
    if (st)
        return st;
    if (p->is_new)
        *row = (ufi_person_row){.number = e->person++, .created = times ? times[0] : e->now};
    row->collection = e->collection;
    row->collection_name = e->collection_name;
    row->id = given->id;
    row->metadata = given->metadata ? given->metadata : p->kept[0];
    row->consent = given->consent ? given->consent : p->kept[1];
    row->purpose = given->purpose ? given->purpose : p->kept[2];
    row->expires = given->expires ? given->expires : row->expires;
    row->updated = times ? times[1] : e->now;
    row->master = ufi_keys_newest(e->g);
    return UF_OK;
}

/* In the transaction that writes, so that no other can have written since. */
static uf_status check_first(enroller *e, const ufi_seal_person *p, uf_error *err)
{
    const char *once = p->given->once;
    int64_t found = 0;
    if (!once || p->is_new)
        return UF_OK;
    const ufi_value args[] = {ufi_integer(p->row.number), ufi_text(once)};
    uf_status st = ufi_sql_integer(e->g->sql,
                                   "SELECT 1 FROM template WHERE person = ?1"
                                   " AND substr(source, 1, length(?2)) = ?2 LIMIT 1",
                                   args, 2, 0, &found, err);
    return !st && found ? ufi_fail(err, UF_E_EXISTS, "this was enrolled before") : st;
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

static uf_status prepare_template(enroller *e, ufi_seal_batch *b, const uf_template *t,
                                  int64_t created, uf_error *err)
{
    ufi_template_row row = {.number = e->template,
                            .created = created,
                            .model_id = t->model_id,
                            .source = t->source,
                            .dimension = t->dimension,
                            .quality = t->quality < 0 ? -1.0f : t->quality};
    uf_status st = model_of(e, t, &row.model, err);
    if (!st)
        st = ufi_seal_batch_add(e->g, b, t, &row, err);
    e->template += !st;
    return st;
}

static uf_status prepare(enroller *e, ufi_seal_batch *b, const uf_enrolment *given,
                         const int64_t *times, const int64_t *template_times, uf_error *err)
{
    const char *name = ufi_collection_or_default(given->person.collection);
    ufi_seal_person *p = ufi_seal_batch_person(b, given);
    uf_status st = UF_OK;
    if (!e->collection_name || strcmp(e->collection_name, name) != 0)
        st = ufi_collection_take(e->g, name, &e->collection, err);
    e->collection_name = name;
    if (!st)
        st = prepare_row(e, p, ufi_seal_batch_key(b, p), times, err);
    if (!st)
        st = check_first(e, p, err);
    for (size_t i = 0; !st && i < given->count; i++)
        st = prepare_template(e, b, &given->templates[i],
                              template_times ? template_times[i] : e->now, err);
    return st;
}

/* ---- writing ---- */

static uf_status write_person(enroller *e, const ufi_seal_person *sealed, uf_error *err)
{
    const ufi_person_row *p = &sealed->row;
    const ufi_value args[] = {ufi_integer(p->number),
                              ufi_integer(p->collection),
                              ufi_text(p->id),
                              ufi_text(p->metadata),
                              ufi_text(p->consent),
                              ufi_text(p->purpose),
                              ufi_integer(p->expires),
                              ufi_integer(p->created),
                              ufi_integer(p->updated),
                              ufi_integer(p->master),
                              ufi_bytes(sealed->key, sealed->key_size)};
    return ufi_sql_run(e->g->sql,
                       sealed->is_new
                           ? "INSERT INTO person (number, collection, id, metadata, consent,"
                             " purpose, expires, created, updated, master, sealed) VALUES"
                             " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
                           : "UPDATE person SET collection = ?2, id = ?3, metadata = ?4,"
                             " consent = ?5, purpose = ?6, expires = ?7, created = ?8,"
                             " updated = ?9, master = ?10, sealed = ?11 WHERE number = ?1",
                       args, 11, NULL, err);
}

/* Without encryption it is a face's picture. */
static void forget_crop(enroller *e)
{
    if (e->crop)
        ufi_wipe(e->crop, e->crop_room);
    ufi_free(e->crop);
    e->crop = NULL;
    e->crop_room = 0;
}

static uf_status write_crop(enroller *e, const ufi_person_row *person, const uint8_t *key,
                            const uf_template *t, int64_t number, uf_error *err)
{
    uf_gallery *g = e->g;
    uint8_t bound[UFI_BOUND_BYTES];
    const size_t size = (size_t)t->crop_size * t->crop_size * 3, room = ufi_record_size(g, size);
    if (room > e->crop_room) {
        forget_crop(e);
        e->crop = ufi_malloc(room, 1);
        if (!e->crop)
            return ufi_fail(err, UF_E_NOMEM, "no memory for a crop");
        e->crop_room = room;
    }
    ufi_crop_bound(g, person, number, t->crop_size, bound);
    uf_status st = ufi_record_seal(g, key, bound, t->crop, size, e->crop, err);
    const ufi_value args[] = {ufi_integer(number), ufi_integer(t->crop_size),
                              ufi_bytes(e->crop, room)};
    return st ? st
              : ufi_sql_run(g->sql, "INSERT INTO crop (template, size, sealed) VALUES (?1, ?2, ?3)",
                            args, 3, NULL, err);
}

static uf_status write_change(enroller *e, int64_t collection, int64_t model, int64_t number,
                              uf_error *err)
{
    const ufi_value args[] = {ufi_integer(e->change++), ufi_integer(collection), ufi_integer(model),
                              ufi_integer(number), ufi_integer(UFI_CHANGE_ADDED)};
    return ufi_sql_run(e->g->sql,
                       "INSERT INTO change (number, collection, model, template, kind)"
                       " VALUES (?1, ?2, ?3, ?4, ?5)",
                       args, 5, NULL, err);
}

/* People are counted once for each of their models. */
static uf_status count_template(enroller *e, const ufi_person_row *person, int64_t model,
                                uf_error *err)
{
    const ufi_value args[] = {ufi_integer(person->number), ufi_integer(model)};
    int64_t before;
    uf_status st = ufi_sql_integer(
        e->g->sql, "SELECT 1 FROM template WHERE person = ?1 AND model = ?2 LIMIT 1", args, 2, 0,
        &before, err);
    return st ? st : ufi_census_add(e->g, person->collection, model, before ? 0 : 1, 1, err);
}

/* To the database's own search, which is given plain vectors, of unit length. */
static uf_status write_nearby(enroller *e, const ufi_seal_batch *b, const ufi_person_row *person,
                              const ufi_seal_template *t, uf_error *err)
{
    float *vector = b->secrets->vector;
    if (!e->g->sql->ops->vectors)
        return UF_OK;
    uf_status st = ufi_unit_vector(t->given->vector, t->row.dimension, vector, err);
    return st ? st
              : ufi_nearby_add(e->g, t->row.model_id, t->row.dimension, person->collection,
                               t->row.number, person->number, vector, err);
}

static uf_status write_template(enroller *e, const ufi_seal_batch *b, const ufi_person_row *person,
                                const ufi_seal_template *t, uf_error *err)
{
    const ufi_template_row *row = &t->row;
    const ufi_value args[] = {ufi_integer(row->number),
                              ufi_integer(person->number),
                              ufi_integer(row->model),
                              ufi_text(row->source),
                              row->quality < 0 ? ufi_null() : ufi_real((double)row->quality),
                              ufi_integer(row->created),
                              ufi_bytes(b->sealed + t->at, t->size)};
    uf_status st = count_template(e, person, row->model, err);
    if (!st)
        st = ufi_sql_run(e->g->sql,
                         "INSERT INTO template (number, person, model, source, quality, created,"
                         " sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                         args, 7, NULL, err);
    if (!st)
        st = write_nearby(e, b, person, t, err);
    return st ? st : write_change(e, person->collection, row->model, row->number, err);
}

static uf_status write_one(enroller *e, const ufi_seal_batch *b, const ufi_seal_person *p,
                           uf_error *err)
{
    char subject[65], detail[96];
    uf_status st = write_person(e, p, err);
    for (size_t i = 0; !st && i < p->given->count; i++) {
        const ufi_seal_template *t = &b->templates[p->first + i];
        st = write_template(e, b, &p->row, t, err);
        if (!st && t->given->crop && e->keep_crops)
            st = write_crop(e, &p->row, ufi_seal_batch_key(b, p), t->given, t->row.number, err);
    }
    if (st)
        return st;
    ufi_audit_subject(e->g, p->row.collection_name, p->row.id, subject);
    snprintf(detail, sizeof detail, "%zu template%s", p->given->count,
             p->given->count == 1 ? "" : "s");
    return ufi_audit_add(e->g, &e->tail, "enroll", subject, detail, err);
}

/* ---- all of them ---- */

typedef struct enrolments {
    const uf_enrolment *list;
    size_t count, next, templates; /* `templates` of those before `next` */
    const int64_t *times;
} enrolments;

static uf_status name_enrolment(uf_error *err, uf_status st, const uf_enrolment *list,
                                const uf_enrolment *one)
{
    return ufi_wrap(err, st, "enrolment %zu (\"%s\")", (size_t)(one - list), one->person.id);
}

/* The next people. One who is in a batch that is not written yet must wait for that. */
static uf_status fill(enroller *e, ufi_seal_batch *b, const ufi_seal_batch *other, enrolments *n,
                      uf_error *err)
{
    uf_status st = n->next < n->count ? ufi_seal_batch_ready(b, err) : UF_OK;
    while (!st && n->next < n->count && !ufi_seal_batch_full(b)) {
        const uf_enrolment *given = &n->list[n->next];
        const uint32_t mark = ufi_seal_mark(given);
        if (ufi_seal_batch_has(b, mark) || ufi_seal_batch_has(other, mark))
            break;
        st = prepare(e, b, given, n->times ? n->times + 2 * n->next : NULL,
                     n->times ? n->times + 2 * n->count + n->templates : NULL, err);
        name_enrolment(err, st, n->list, given);
        n->next++;
        n->templates += given->count;
    }
    return st;
}

static uf_status write_batch(enroller *e, ufi_seal_batch *b, const enrolments *n, uf_error *err)
{
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < b->count; i++) {
        st = write_one(e, b, &b->people[i], err);
        name_enrolment(err, st, n->list, b->people[i].given);
    }
    ufi_seal_batch_clear(b);
    return st;
}

static uf_status enroll_all(enroller *e, enrolments *n, uf_error *err)
{
    ufi_seal_batch *filled = &e->batches[0], *sealed = &e->batches[1];
    uf_status st = UF_OK;
    while (!st && (n->next < n->count || sealed->count > 0)) {
        st = fill(e, filled, sealed, n, err);
        const uf_status waited = ufi_sealer_wait(e->sealer, sealed, st ? NULL : err);
        if (!st && waited)
            st = name_enrolment(err, waited, n->list, sealed->people[sealed->failed].given);
        if (!st)
            ufi_sealer_start(e->sealer, e->g, filled);
        if (!st)
            st = write_batch(e, sealed, n, err);
        ufi_seal_batch *other = sealed;
        sealed = filled;
        filled = other;
    }
    return st;
}

uf_status ufi_enroll(uf_gallery *g, const uf_enrolment *people, size_t count, const int64_t *times,
                     bool keep_crops, uint64_t *ids, uf_error *err)
{
    enroller *e = ufi_calloc(1, sizeof *e);
    enrolments n = {.list = people, .count = count, .times = times};
    size_t templates = 0;
    for (size_t i = 0; i < count; i++)
        templates += people[i].count;
    if (!e)
        return ufi_fail(err, UF_E_NOMEM, "no memory to enrol");
    e->g = g;
    e->keep_crops = keep_crops;
    e->now = ufi_now();
    uf_status st = ufi_audit_last(g, &e->tail, err);
    if (!st)
        st = ufi_numbers_take(g->sql, "person", (int64_t)count, &e->person, err);
    if (!st)
        st = ufi_numbers_take(g->sql, "template", (int64_t)templates, &e->template, err);
    if (!st)
        st = ufi_numbers_take(g->sql, "change", (int64_t)templates, &e->change, err);
    int64_t first = e->template;
    if (!st)
        e->sealer = ufi_sealer_make(templates);
    if (!st)
        st = enroll_all(e, &n, err);
    for (size_t i = 0; !st && ids && i < templates; i++)
        ids[i] = (uint64_t)first + i;
    ufi_sealer_free(e->sealer);
    for (size_t i = 0; i < 2; i++)
        ufi_seal_batch_free(&e->batches[i]);
    forget_crop(e);
    ufi_free(e);
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
