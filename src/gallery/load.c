/* People read back as they would be enrolled: for another gallery, or another model. */
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"

static size_t crop_bytes(const uf_template *t)
{
    return (size_t)t->crop_size * t->crop_size * 3;
}

/* What uf_enrolment holds by pointers to const is owned here. */
static void *owned(const void *p)
{
    return (void *)(uintptr_t)p;
}

void ufi_loaded_free(ufi_loaded *l)
{
    for (size_t i = 0; i < l->e.count; i++) {
        const uf_template *t = &l->e.templates[i];
        ufi_secret_free(owned(t->vector), t->dimension * sizeof(float));
        ufi_secret_free(owned(t->crop), crop_bytes(t));
        ufi_free(owned(t->model_id));
        ufi_free(owned(t->source));
    }
    const uf_person *p = &l->e.person;
    const char *const texts[] = {p->id, p->collection, p->metadata, p->consent, p->purpose};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        ufi_free(owned(texts[i]));
    ufi_free(owned(l->e.templates));
    ufi_free(l->times);
    ufi_free(l->models);
    *l = (ufi_loaded){0};
}

typedef struct loader {
    uf_gallery *g;
    ufi_loaded *out;
    float *vector;
    uint8_t *crop;
    size_t crop_room;
} loader;

static bool keep(const char *text, const char **out)
{
    *out = text ? ufi_strdup(text) : NULL;
    return !text || *out;
}

static uf_status person_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    loader *l = user;
    ufi_loaded *out = l->out;
    uf_person *to = &out->e.person;
    ufi_person_row p;
    uint8_t key[UFI_SECRET_BYTES];
    uf_status st = ufi_person_read(columns, count, &p, err);
    if (!st)
        st = ufi_person_open(l->g, &p, key, err);
    ufi_wipe(key, sizeof key);
    if (st)
        return st;
    out->times = ufi_calloc(2, sizeof *out->times);
    if (!out->times || !keep(p.id, &to->id) || !keep(p.collection_name, &to->collection) ||
        !keep(p.metadata, &to->metadata) || !keep(p.consent, &to->consent) ||
        !keep(p.purpose, &to->purpose))
        return ufi_fail(err, UF_E_NOMEM, "no memory for a person");
    to->expires = p.expires;
    out->times[0] = p.created;
    out->times[1] = p.updated;
    return UF_OK;
}

static bool grow(ufi_loaded *l)
{
    if (l->e.count < l->room)
        return true;
    size_t room = l->room ? 2 * l->room : 4;
    uf_template *t = ufi_realloc(owned(l->e.templates), room, sizeof *t);
    if (t)
        l->e.templates = t;
    int64_t *times = ufi_realloc(l->times, room + 2, sizeof *times);
    if (times)
        l->times = times;
    uint64_t *models = ufi_realloc(l->models, room, sizeof *models);
    if (models)
        l->models = models;
    if (!t || !times || !models)
        return false;
    l->room = room;
    return true;
}

static bool keep_secret(const void *from, size_t size, const void **out)
{
    void *p = ufi_secret_alloc(size, NULL);
    if (p)
        memcpy(p, from, size);
    *out = p;
    return p != NULL;
}

static uf_status template_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    loader *l = user;
    ufi_loaded *out = l->out;
    ufi_person_row p;
    ufi_template_row t;
    const ufi_value *crop = columns + UFI_TEMPLATE_COLUMN_COUNT;
    const void *vector, *pixels = NULL;
    uf_status st = ufi_template_read(columns, count, &p, &t, err);
    if (!st)
        st = ufi_template_open(l->g, &p, &t, l->vector, err);
    bool has_crop = !st && crop[0].type == UFI_VALUE_INTEGER;
    if (has_crop)
        st = ufi_crop_open(l->g, &p, t.number, &crop[0], &crop[1], &l->crop, &l->crop_room, err);
    if (st)
        return st;
    if (!grow(out))
        return ufi_fail(err, UF_E_NOMEM, "no memory for templates");
    size_t at = out->e.count++;
    uf_template *to = (uf_template *)owned(out->e.templates) + at;
    *to = (uf_template){.quality = t.quality};
    out->times[2 + at] = t.created;
    out->models[at] = (uint64_t)t.model;
    bool kept = keep_secret(l->vector, t.dimension * sizeof(float), &vector);
    to->vector = vector;
    to->dimension = vector ? t.dimension : 0;
    if (has_crop) {
        to->crop_size = (uint32_t)crop[0].integer;
        kept &= keep_secret(l->crop, crop_bytes(to), &pixels);
        to->crop = pixels;
    }
    kept &= keep(t.model_id, &to->model_id);
    kept &= keep(t.source, &to->source);
    return kept ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for templates");
}

static uf_status read_person(loader *l, int64_t person, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(person)};
    uf_status st = ufi_sql_one(
        l->g->sql, "SELECT " UFI_PERSON_COLUMNS " FROM " UFI_PERSON_TABLES " WHERE p.number = ?1",
        args, 1, person_row, l, err);
    return st ? st
              : ufi_sql_rows(l->g->sql,
                             "SELECT " UFI_TEMPLATE_COLUMNS
                             ", k.size, k.sealed FROM " UFI_TEMPLATE_TABLES
                             " LEFT JOIN crop k ON k.template = t.number"
                             " WHERE t.person = ?1 ORDER BY t.number",
                             args, 1, template_row, l, err);
}

uf_status ufi_load(uf_gallery *g, int64_t person, ufi_loaded *out, uf_error *err)
{
    const size_t bytes = UF_INDEX_MAX_DIMENSION * sizeof(float);
    loader l = {.g = g, .out = out, .vector = ufi_secret_alloc(bytes, NULL)};
    *out = (ufi_loaded){0};
    uf_status st = l.vector ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for a template");
    if (!st)
        st = ufi_gallery_begin_read(g, err);
    if (!st) {
        st = read_person(&l, person, err);
        ufi_gallery_end_read(g);
    }
    if (st)
        ufi_loaded_free(out);
    ufi_secret_free(l.vector, bytes);
    ufi_secret_free(l.crop, l.crop_room);
    return st;
}

static uf_status number_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    return ufi_numbers_push(user, (uint64_t)columns[0].integer, err);
}

uf_status ufi_load_next(uf_gallery *g, int64_t after, int64_t model, size_t count, ufi_numbers *out,
                        uf_error *err)
{
    const ufi_value args[] = {ufi_integer(after), ufi_integer((int64_t)count), ufi_integer(model)};
    out->count = 0;
    return ufi_sql_rows(g->sql,
                        "SELECT p.number FROM person p WHERE p.number > ?1 AND (?3 = 0 OR NOT"
                        " EXISTS (SELECT 1 FROM template t WHERE t.person = p.number AND"
                        " t.model = ?3)) ORDER BY p.number LIMIT ?2",
                        args, 3, number_row, out, err);
}
