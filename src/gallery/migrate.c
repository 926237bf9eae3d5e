/*
 * Change of model. Templates of the new model are made beside the old ones, a person at a time, so
 * that it can stop anywhere: whoever has a template of the new model is done. The new template
 * keeps the crop too, so that the next change needs the old model's templates no more.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"

enum { PEOPLE_LISTED = 1000, TEMPLATES_DROPPED = 5000 };

typedef struct migration {
    uf_gallery *g;
    const char *model_id;
    uint32_t dimension;
    uf_embed_fn *embed;
    void *embed_user;
    uf_person_fn *without;
    void *without_user;
    uint64_t made, missing;
    float *vectors; /* locked; [room][dimension] */
    size_t room;
} migration;

/* Of which model are the crops to take: of that which has most, since each crop is kept once for
 * every model that was made of it. 0: the person has none. */
static uint64_t best_source(const ufi_loaded *l)
{
    uint64_t best = 0;
    size_t most = 0;
    for (size_t i = 0; i < l->e.count; i++) {
        size_t n = 0;
        for (size_t k = 0; k < l->e.count; k++)
            n += l->e.templates[k].crop && l->models[k] == l->models[i];
        if (n > most || (n == most && n > 0 && l->models[i] > best)) {
            most = n;
            best = l->models[i];
        }
    }
    return best;
}

static uf_status room_for(migration *m, size_t count, uf_error *err)
{
    if (count <= m->room)
        return UF_OK;
    ufi_secret_free(m->vectors, m->room * m->dimension * sizeof(float));
    m->vectors = ufi_secret_alloc(count * m->dimension * sizeof(float), NULL);
    m->room = m->vectors ? count : 0;
    return m->vectors ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for templates");
}

/* New templates from crops; *count of `made`. Without g->lock: embedding takes its time. */
static uf_status embed_crops(migration *m, const ufi_loaded *l, uf_template *made, size_t *count,
                             uf_error *err)
{
    uint64_t source = best_source(l);
    uf_status st = room_for(m, l->e.count, err);
    *count = 0;
    for (size_t i = 0; !st && i < l->e.count; i++) {
        const uf_template *old = &l->e.templates[i];
        float *vector = m->vectors + *count * m->dimension;
        if (!old->crop || l->models[i] != source)
            continue;
        st = m->embed(m->embed_user, old->crop, old->crop_size, vector, err);
        if (!st)
            st = ufi_unit_vector(vector, m->dimension, NULL, err);
        made[(*count)++] = (uf_template){.vector = vector,
                                         .dimension = m->dimension,
                                         .model_id = m->model_id,
                                         .source = old->source,
                                         .quality = old->quality,
                                         .crop = old->crop,
                                         .crop_size = old->crop_size};
    }
    return ufi_wrap(err, st, "\"%s\"", l->e.person.id);
}

static uf_status tell_without(migration *m, const ufi_loaded *l, uf_error *err)
{
    const uf_person *p = &l->e.person;
    const uf_person_info info = {.id = p->id,
                                 .collection = p->collection,
                                 .metadata = p->metadata,
                                 .consent = p->consent,
                                 .purpose = p->purpose,
                                 .expires = p->expires,
                                 .created = l->times[0],
                                 .updated = l->times[1],
                                 .templates = l->e.count};
    m->missing++;
    if (m->without && m->without(m->without_user, &info))
        return ufi_fail(err, UF_E_CANCELLED, "stopped by the caller");
    return UF_OK;
}

/* The person may have been deleted, or made again, while the crops were embedded. */
static uf_status store(migration *m, int64_t number, const uf_person *p, const uf_template *made,
                       size_t count, uf_error *err)
{
    const uf_enrolment e = {
        .person = {.id = p->id, .collection = p->collection}, .templates = made, .count = count};
    int64_t now = 0;
    uf_status st = ufi_gallery_begin(m->g, err);
    if (st)
        return st;
    st = ufi_person_find(m->g, p->collection, p->id, &now, NULL);
    if (st == UF_E_NOT_FOUND || (!st && now != number))
        return ufi_gallery_end(m->g, UF_OK, err);
    st = ufi_enroll(m->g, &e, 1, NULL, true, NULL, err);
    st = ufi_gallery_end(m->g, st, err);
    m->made += st ? 0 : count;
    return st;
}

/* ---- which model is in use ---- */

uf_status ufi_model_newest_used(uf_gallery *g, int64_t *model, uf_error *err)
{
    return ufi_sql_integer(g->sql,
                           "SELECT max(number) FROM setting WHERE name IN ('default_model',"
                           " 'newest_used')",
                           NULL, 0, 0, model, err);
}

uf_status ufi_model_incoming(uf_gallery *g, int64_t *model, uf_error *err)
{
    return ufi_sql_integer(g->sql, "SELECT number FROM setting WHERE name = 'incoming_model'", NULL,
                           0, 0, model, err);
}

static uf_status set_model(uf_gallery *g, const char *model_id, uf_error *err)
{
    int64_t model, newest, comes;
    uint32_t dimension;
    uf_status st = ufi_model_find(g, model_id, &model, &dimension, err);
    if (!st)
        st = ufi_model_newest_used(g, &newest, err);
    if (!st)
        st = ufi_setting_put(g->sql, "newest_used", model > newest ? model : newest, NULL, 0, err);
    if (!st)
        st = ufi_setting_put(g->sql, "default_model", model, NULL, 0, err);
    if (!st)
        st = ufi_model_incoming(g, &comes, err);
    if (!st && comes == model)
        st = ufi_setting_put(g->sql, "incoming_model", 0, NULL, 0, err);
    return st ? st : ufi_audit_in(g, "set_model", "", model_id, err);
}

/* Until the cut-over the new model must not be taken for the one in use, even if it was that
 * before. Searches take the newest templates' model unless one is set: the old one is. */
static uf_status note_incoming(uf_gallery *g, const char *model_id, int64_t model, uf_error *err)
{
    uf_gallery_stats s = {0};
    int64_t set;
    uf_status st = ufi_default_model(g, &s, err);
    if (st || !s.model_id[0] || strcmp(s.model_id, model_id) == 0)
        return st;
    st = ufi_sql_integer(g->sql, "SELECT number FROM setting WHERE name = 'default_model'", NULL, 0,
                         0, &set, err);
    if (!st && set == 0)
        st = set_model(g, s.model_id, err);
    return st ? st : ufi_setting_put(g->sql, "incoming_model", model, NULL, 0, err);
}

/* ---- all people ---- */

/* With g->lock, which is held again when it returns. */
static uf_status migrate_person(migration *m, int64_t number, uf_error *err)
{
    uf_gallery *g = m->g;
    ufi_loaded l;
    size_t count = 0;
    uf_status st = ufi_load(g, number, &l, err);
    if (st)
        return st == UF_E_NOT_FOUND ? UF_OK : st;
    uf_template *made = ufi_calloc(l.e.count, sizeof *made);
    if (!made)
        st = ufi_fail(err, UF_E_NOMEM, "no memory for templates");
    ufi_mutex_unlock(g->lock);
    if (!st)
        st = embed_crops(m, &l, made, &count, err);
    if (!st && count == 0)
        st = tell_without(m, &l, err);
    ufi_mutex_lock(g->lock);
    if (!st && count > 0)
        st = store(m, number, &l.e.person, made, count, err);
    ufi_free(made);
    ufi_loaded_free(&l);
    return st;
}

static uf_status migrate(migration *m, uf_error *err)
{
    uf_gallery *g = m->g;
    ufi_numbers people = {0};
    int64_t model, after = 0;
    uf_status st = ufi_gallery_begin(g, err);
    if (st)
        return st;
    st = ufi_model_take(g, m->model_id, m->dimension, &model, err);
    if (!st)
        st = note_incoming(g, m->model_id, model, err);
    if (!st)
        st = ufi_audit_in(g, "migrate", "", m->model_id, err);
    st = ufi_gallery_end(g, st, err);
    do {
        if (!st)
            st = ufi_load_next(g, after, model, PEOPLE_LISTED, &people, err);
        for (size_t i = 0; !st && i < people.count; i++)
            st = migrate_person(m, (int64_t)people.list[i], err);
        after = people.count ? (int64_t)people.list[people.count - 1] : after;
    } while (!st && people.count > 0);
    ufi_free(people.list);
    return st;
}

uf_status uf_gallery_migrate(uf_gallery *g, const char *model_id, uint32_t dimension,
                             uf_embed_fn *embed, void *embed_user, uf_person_fn *without,
                             void *without_user, uint64_t *made, uint64_t *missing, uf_error *err)
{
    migration m = {.g = g,
                   .model_id = model_id,
                   .dimension = dimension,
                   .embed = embed,
                   .embed_user = embed_user,
                   .without = without,
                   .without_user = without_user};
    if (!embed)
        return ufi_fail(err, UF_E_ARG, "migrate: embed is NULL");
    if (dimension < UF_INDEX_MIN_DIMENSION || dimension > UF_INDEX_MAX_DIMENSION)
        return ufi_fail(err, UF_E_ARG, "templates of %u floats; it takes %d to %d", dimension,
                        UF_INDEX_MIN_DIMENSION, UF_INDEX_MAX_DIMENSION);
    uf_status st = ufi_text_check(model_id, UFI_MODEL_ID_MAX, "the model id", err);
    if (!st)
        st = ufi_gallery_enter_to_write(g, err);
    if (st)
        return st;
    st = migrate(&m, err);
    ufi_secret_free(m.vectors, m.room * dimension * sizeof(float));
    if (made)
        *made = m.made;
    if (missing)
        *missing = m.missing;
    return ufi_gallery_leave(g, st, err);
}

/* ---- cut-over, and the end of the old ---- */

uf_status uf_gallery_set_model(uf_gallery *g, const char *model_id, uf_error *err)
{
    uf_status st = ufi_text_check(model_id, UFI_MODEL_ID_MAX, "the model id", err);
    if (!st)
        st = ufi_gallery_enter_to_write(g, err);
    if (st)
        return st;
    st = ufi_gallery_begin(g, err);
    if (!st)
        st = ufi_gallery_end(g, set_model(g, model_id, err), err);
    return ufi_gallery_leave(g, st, err);
}

/* Templates of a model that is in use, or is about to be, are not the old ones. */
static uf_status drop_check(uf_gallery *g, const char *model_id, int64_t model, uf_error *err)
{
    uf_gallery_stats s = {0};
    int64_t newest, comes = 0, in_use = 0;
    uint32_t dimension;
    uf_status st = ufi_default_model(g, &s, err);
    if (st)
        return st;
    if (strcmp(s.model_id, model_id) == 0)
        return ufi_fail(err, UF_E_STATE, "model %s is the one in use: set another one first",
                        model_id);
    st = ufi_model_newest_used(g, &newest, err);
    if (!st)
        st = ufi_model_incoming(g, &comes, err);
    if (!st && s.model_id[0])
        st = ufi_model_find(g, s.model_id, &in_use, &dimension, err);
    if (!st && (model == comes || (model > newest && model > in_use)))
        st = ufi_fail(err, UF_E_STATE,
                      "model %s is to follow the one in use, %s, and searches do not take it yet: "
                      "nothing was deleted. Cut over to it first, then the old templates can go; "
                      "to give it up, cut over, roll back and drop again",
                      model_id, s.model_id);
    return st;
}

/* The census goes first: from then on searches say that there are no templates of the model. */
static uf_status drop_begin(uf_gallery *g, const char *model_id, int64_t *model, int64_t *erasure,
                            uf_error *err)
{
    uint32_t dimension;
    uf_status st = ufi_gallery_begin(g, err);
    if (st)
        return st;
    st = ufi_model_find(g, model_id, model, &dimension, err);
    if (!st)
        st = drop_check(g, model_id, *model, err);
    const ufi_value args[] = {ufi_integer(*model)};
    if (!st)
        st = ufi_sql_run(g->sql, "DELETE FROM census WHERE model = ?1", args, 1, NULL, err);
    if (!st)
        st = ufi_sql_run(g->sql, "DELETE FROM calibration WHERE model = ?1", args, 1, NULL, err);
    if (!st)
        st = ufi_audit_in(g, "drop_model", "", model_id, err);
    if (!st)
        st = ufi_erase_begin(g, erasure, err);
    return ufi_gallery_end(g, st, err);
}

static uf_status drop_rows(uf_gallery *g, int64_t model, int64_t last, int64_t *dropped,
                           uf_error *err)
{
    const ufi_value args[] = {ufi_integer(model), ufi_integer(last)};
    int64_t count, first = 0;
    uf_status st = ufi_sql_integer(g->sql,
                                   "SELECT count(*) FROM template WHERE model = ?1 AND number"
                                   " <= ?2",
                                   args, 2, 0, &count, err);
    if (!st)
        st = ufi_numbers_take(g->sql, "change", count, &first, err);
    const ufi_value change[] = {args[0], args[1], ufi_integer(first - 1)};
    if (!st)
        st = ufi_sql_run(g->sql,
                         "INSERT INTO change (number, collection, model, template, kind)"
                         " SELECT ?3 + row_number() OVER (ORDER BY t.number), p.collection,"
                         " t.model, t.number, 2 FROM template t JOIN person p"
                         " ON p.number = t.person WHERE t.model = ?1 AND t.number <= ?2",
                         change, 3, NULL, err);
    if (!st)
        st = ufi_sql_run(g->sql,
                         "DELETE FROM crop WHERE template IN (SELECT number FROM template"
                         " WHERE model = ?1 AND number <= ?2)",
                         args, 2, NULL, err);
    if (!st)
        st = ufi_sql_run(g->sql, "DELETE FROM template WHERE model = ?1 AND number <= ?2", args, 2,
                         dropped, err);
    return st;
}

/* One transaction; *dropped is 0 when there are no more. */
static uf_status drop_some(uf_gallery *g, int64_t model, int64_t *dropped, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(model), ufi_integer(TEMPLATES_DROPPED)};
    int64_t last;
    uf_status st = ufi_gallery_begin(g, err);
    *dropped = 0;
    if (st)
        return st;
    st = ufi_sql_integer(g->sql,
                         "SELECT max(number) FROM (SELECT number FROM template WHERE model = ?1"
                         " ORDER BY number LIMIT ?2) AS listed",
                         args, 2, 0, &last, err);
    if (!st && last > 0)
        st = drop_rows(g, model, last, dropped, err);
    return ufi_gallery_end(g, st, err);
}

static uf_status drop_model(uf_gallery *g, const char *model_id, uint64_t *templates, uf_error *err)
{
    int64_t model, erasure, dropped = 1;
    uf_status st = drop_begin(g, model_id, &model, &erasure, err);
    while (!st && dropped > 0) {
        st = drop_some(g, model, &dropped, err);
        *templates += (uint64_t)dropped;
    }
    if (st)
        return st;
    /* Snapshots of this model are of no more use; those of others are made again. */
    st = ufi_snapshot_drop_all(g, err);
    return st ? st : ufi_erase_traces(g, erasure, NULL, err);
}

uf_status uf_gallery_drop_model(uf_gallery *g, const char *model_id, uint64_t *templates,
                                uf_error *err)
{
    uint64_t dropped = 0;
    uf_status st = ufi_text_check(model_id, UFI_MODEL_ID_MAX, "the model id", err);
    if (!st)
        st = ufi_gallery_enter_to_write(g, err);
    if (st)
        return st;
    st = drop_model(g, model_id, &dropped, err);
    if (templates)
        *templates = dropped;
    return ufi_gallery_leave(g, st, err);
}
