/* Lists of people and templates. */
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"

/* ---- people ---- */

typedef struct person_lister {
    const uf_gallery_filter *filter;
    uf_person_fn *fn;
    void *user;
    uf_gallery *g;
} person_lister;

/* Whoever is listed has been looked at: a row that was changed from outside is an error. */
static uf_status list_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    person_lister *l = user;
    ufi_person_row p;
    uint8_t key[UFI_SECRET_BYTES];
    uf_status st = ufi_person_read(columns, count, &p, err);
    if (!st)
        st = ufi_person_open(l->g, &p, key, err);
    ufi_wipe(key, sizeof key);
    if (st || !ufi_filter_takes(l->filter, &p))
        return st;
    const uf_person_info info = {.id = p.id,
                                 .collection = p.collection_name,
                                 .metadata = p.metadata,
                                 .consent = p.consent,
                                 .purpose = p.purpose,
                                 .expires = p.expires,
                                 .created = p.created,
                                 .updated = p.updated,
                                 .templates = (uint64_t)columns[UFI_PERSON_COLUMN_COUNT].integer};
    return l->fn(l->user, &info) ? ufi_fail(err, UF_E_CANCELLED, "stopped by the caller") : UF_OK;
}

/* CROSS JOIN fixes the order of loops in SQLite: collections by name, their people by id, so that
 * rows come sorted and nothing has to be. */
#define IN_ORDER "collection c CROSS JOIN person p"
static const char people_in[] =
    "SELECT " UFI_PERSON_COLUMNS ", (SELECT count(*) FROM template t WHERE t.person = p.number)"
    " FROM " IN_ORDER " WHERE p.collection = c.number AND (?1 = 0 OR c.number = ?1)"
    " ORDER BY c.name, p.id";

uf_status uf_gallery_list(uf_gallery *g, const char *collection, const uf_gallery_filter *filter,
                          uf_person_fn *fn, void *user, uf_error *err)
{
    person_lister l = {filter, fn, user, g};
    int64_t number = 0;
    uf_status st = ufi_filter_check(filter, err);
    if (!st)
        st = ufi_gallery_enter(g, err);
    if (st)
        return st;
    if (collection)
        st = ufi_collection_find(g, collection, &number, err);
    const ufi_value args[] = {ufi_integer(number)};
    if (!st)
        st = ufi_sealed_rows(g, people_in, args, 1, list_row, &l, err);
    return ufi_gallery_leave(g, st, err);
}

/* ---- templates ---- */

typedef struct template_lister {
    uf_gallery *g;
    uf_template_fn *fn;
    void *user;
    float *vector; /* locked */
    uint8_t *crop; /* locked; grows */
    size_t crop_room;
    uint64_t count;
} template_lister;

static uf_status template_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    template_lister *l = user;
    ufi_person_row p;
    ufi_template_row t;
    const ufi_value *crop = columns + UFI_TEMPLATE_COLUMN_COUNT;
    uf_status st = ufi_template_read(columns, count, &p, &t, err);
    if (!st)
        st = ufi_template_open(l->g, &p, &t, l->vector, err);
    bool has_crop = !st && crop[0].type == UFI_VALUE_INTEGER;
    if (has_crop)
        st = ufi_crop_open(l->g, &p, t.number, &crop[0], &crop[1], &l->crop, &l->crop_room, err);
    if (st)
        return st;
    const uf_template_info info = {.id = p.id,
                                   .collection = p.collection_name,
                                   .model_id = t.model_id,
                                   .source = t.source,
                                   .template_id = (uint64_t)t.number,
                                   .quality = t.quality,
                                   .created = t.created,
                                   .dimension = t.dimension,
                                   .vector = l->vector,
                                   .crop = has_crop ? l->crop : NULL,
                                   .crop_size = has_crop ? (uint32_t)crop[0].integer : 0};
    l->count++;
    return l->fn(l->user, &info) ? ufi_fail(err, UF_E_CANCELLED, "stopped by the caller") : UF_OK;
}

/* Empty text stands for "all" where a statement has room for one more condition. */
static const char templates_of[] =
    "SELECT " UFI_TEMPLATE_COLUMNS ", k.size, k.sealed FROM " UFI_TEMPLATE_TABLES
    " LEFT JOIN crop k ON k.template = t.number"
    " WHERE p.collection = ?1 AND p.id = ?2 AND (?3 = '' OR m.name = ?3) ORDER BY t.number";
static const char templates_in[] =
    "SELECT " UFI_TEMPLATE_COLUMNS ", k.size, k.sealed FROM " IN_ORDER
    " CROSS JOIN template t JOIN model m ON m.number = t.model"
    " LEFT JOIN crop k ON k.template = t.number"
    " WHERE p.collection = c.number AND t.person = p.number"
    " AND (?1 = 0 OR c.number = ?1) AND (?2 = '' OR m.name = ?2)"
    " ORDER BY c.name, p.id, t.number";

static const char template_by_number[] =
    "SELECT " UFI_TEMPLATE_COLUMNS ", k.size, k.sealed FROM " UFI_TEMPLATE_TABLES
    " LEFT JOIN crop k ON k.template = t.number WHERE t.number = ?1 AND p.collection = ?2"
    " AND (p.expires = 0 OR p.expires > ?3)";

static uf_status list_templates(template_lister *l, const char *collection, const char *id,
                                const char *model_id, uf_error *err)
{
    uf_gallery *g = l->g;
    int64_t number = 0;
    uf_status st = UF_OK;
    if (collection || id)
        st = ufi_collection_find(g, ufi_collection_or_default(collection), &number, err);
    if (st)
        return st;
    const ufi_value model = ufi_text(model_id ? model_id : "");
    if (id) {
        const ufi_value args[] = {ufi_integer(number), ufi_text(id), model};
        return ufi_sealed_rows(g, templates_of, args, 3, template_row, l, err);
    }
    const ufi_value args[] = {ufi_integer(number), model};
    return ufi_sealed_rows(g, templates_in, args, 2, template_row, l, err);
}

uf_status uf_gallery_templates(uf_gallery *g, const char *collection, const char *id,
                               const char *model_id, uf_template_fn *fn, void *user, uf_error *err)
{
    const size_t vector_bytes = UF_INDEX_MAX_DIMENSION * sizeof(float);
    template_lister l = {.g = g, .fn = fn, .user = user};
    uf_status st = ufi_gallery_enter(g, err);
    if (st)
        return st;
    l.vector = ufi_secret_alloc(vector_bytes, NULL);
    st = l.vector ? list_templates(&l, collection, id, model_id, err)
                  : ufi_fail(err, UF_E_NOMEM, "no memory for a template");
    if (!st && id && l.count == 0)
        st = ufi_person_find(g, ufi_collection_or_default(collection), id, NULL, err);
    ufi_secret_free(l.vector, vector_bytes);
    ufi_secret_free(l.crop, l.crop_room);
    return ufi_gallery_leave(g, st, err);
}

uf_status uf_gallery_template(uf_gallery *g, const char *collection, uint64_t template_id,
                              uf_template_fn *fn, void *user, uf_error *err)
{
    const size_t vector_bytes = UF_INDEX_MAX_DIMENSION * sizeof(float);
    template_lister l = {.g = g, .fn = fn, .user = user};
    int64_t number = 0;
    collection = ufi_collection_or_default(collection);
    uf_status st = ufi_gallery_enter(g, err);
    if (st)
        return st;
    l.vector = ufi_secret_alloc(vector_bytes, NULL);
    st = l.vector ? ufi_collection_find(g, collection, &number, err)
                  : ufi_fail(err, UF_E_NOMEM, "no memory for a template");
    const ufi_value args[] = {ufi_integer(template_id > INT64_MAX ? 0 : (int64_t)template_id),
                              ufi_integer(number), ufi_integer(ufi_now())};
    if (!st)
        st = ufi_sealed_rows(g, template_by_number, args, 3, template_row, &l, err);
    if (!st && l.count == 0)
        st = ufi_fail(err, UF_E_NOT_FOUND, "no template %llu in collection \"%s\"",
                      (unsigned long long)template_id, collection);
    ufi_secret_free(l.vector, vector_bytes);
    ufi_secret_free(l.crop, l.crop_room);
    return ufi_gallery_leave(g, st, err);
}

/* ---- one person ---- */

uf_status ufi_person_find(uf_gallery *g, const char *collection, const char *id, int64_t *number,
                          uf_error *err)
{
    int64_t collection_number, found = 0;
    uf_status st = ufi_collection_find(g, collection, &collection_number, err);
    if (st)
        return st;
    const ufi_value args[] = {ufi_integer(collection_number), ufi_text(id)};
    st = ufi_sql_integer(g->sql, "SELECT number FROM person WHERE collection = ?1 AND id = ?2",
                         args, 2, 0, &found, err);
    if (!st && found == 0)
        st = ufi_fail(err, UF_E_NOT_FOUND, "nobody \"%s\" in collection \"%s\"", id, collection);
    if (number)
        *number = found;
    return st;
}
