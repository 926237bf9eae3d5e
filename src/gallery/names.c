/* Collections and models by name, and the census: how many people and templates each pair has,
 * kept in the same transactions as they, so that no search has to count. */
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "gallery/impl.h"

uf_status ufi_collection_find(uf_gallery *g, const char *name, int64_t *number, uf_error *err)
{
    const ufi_value args[] = {ufi_text(name)};
    uf_status st = ufi_sql_integer(g->sql, "SELECT number FROM collection WHERE name = ?1", args, 1,
                                   0, number, err);
    if (!st && *number == 0)
        return ufi_fail(err, UF_E_NOT_FOUND, "no collection \"%s\" (enrol somebody into it first)",
                        name);
    return st;
}

typedef struct model_found {
    int64_t number;
    uint32_t dimension;
} model_found;

static uf_status model_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    model_found *m = user;
    if (columns[1].integer < UF_INDEX_MIN_DIMENSION || columns[1].integer > UF_INDEX_MAX_DIMENSION)
        return ufi_fail(err, UF_E_FORMAT, "damaged: the row of a model");
    *m = (model_found){columns[0].integer, (uint32_t)columns[1].integer};
    return UF_OK;
}

uf_status ufi_model_find(uf_gallery *g, const char *model_id, int64_t *number, uint32_t *dimension,
                         uf_error *err)
{
    const ufi_value args[] = {ufi_text(model_id)};
    model_found m = {0};
    uf_status st = ufi_sql_rows(g->sql, "SELECT number, dimension FROM model WHERE name = ?1", args,
                                1, model_row, &m, err);
    *number = m.number;
    *dimension = m.dimension;
    if (!st && m.number == 0)
        return ufi_fail(err, UF_E_NOT_FOUND, "no templates of model %s", model_id);
    return st;
}

uf_status ufi_collection_take(uf_gallery *g, const char *name, int64_t *number, uf_error *err)
{
    uf_status st = ufi_collection_find(g, name, number, NULL);
    if (st != UF_E_NOT_FOUND)
        return st ? ufi_collection_find(g, name, number, err) : UF_OK;
    st = ufi_numbers_take(g->sql, "collection", 1, number, err);
    const ufi_value args[] = {ufi_integer(*number), ufi_text(name)};
    return st ? st
              : ufi_sql_run(g->sql, "INSERT INTO collection (number, name) VALUES (?1, ?2)", args,
                            2, NULL, err);
}

uf_status ufi_model_take(uf_gallery *g, const char *model_id, uint32_t dimension, int64_t *number,
                         uf_error *err)
{
    uint32_t known;
    uf_status st = ufi_model_find(g, model_id, number, &known, err);
    if (!st && known != dimension)
        return ufi_fail(err, UF_E_MISMATCH, "%u floats, but templates of model %s have %u",
                        dimension, model_id, known);
    if (st != UF_E_NOT_FOUND)
        return st;
    st = ufi_numbers_take(g->sql, "model", 1, number, err);
    const ufi_value args[] = {ufi_integer(*number), ufi_text(model_id), ufi_integer(dimension)};
    return st ? st
              : ufi_sql_run(g->sql,
                            "INSERT INTO model (number, name, dimension) VALUES"
                            " (?1, ?2, ?3)",
                            args, 3, NULL, err);
}

static uf_status census_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    *(ufi_census *)user = (ufi_census){columns[0].integer, columns[1].integer};
    return UF_OK;
}

uf_status ufi_census_get(uf_gallery *g, int64_t collection, int64_t model, ufi_census *out,
                         uf_error *err)
{
    const ufi_value args[] = {ufi_integer(collection), ufi_integer(model)};
    *out = (ufi_census){0};
    return ufi_sql_rows(g->sql,
                        "SELECT people, templates FROM census WHERE collection = ?1 AND model = ?2",
                        args, 2, census_row, out, err);
}

uf_status ufi_census_add(uf_gallery *g, int64_t collection, int64_t model, int64_t people,
                         int64_t templates, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(collection), ufi_integer(model), ufi_integer(people),
                              ufi_integer(templates)};
    return ufi_sql_run(g->sql,
                       "INSERT INTO census (collection, model, people, templates) VALUES"
                       " (?1, ?2, ?3, ?4) ON CONFLICT (collection, model) DO UPDATE SET"
                       " people = census.people + ?3, templates = census.templates + ?4",
                       args, 4, NULL, err);
}

typedef struct other_models {
    char names[256];
} other_models;

static uf_status other_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    other_models *o = user;
    size_t used = strlen(o->names);
    snprintf(o->names + used, sizeof o->names - used, "%s%s", used ? ", " : "",
             columns[0].type == UFI_VALUE_TEXT ? (const char *)columns[0].data : "?");
    return UF_OK;
}

uf_status ufi_census_expect(uf_gallery *g, int64_t collection, const char *collection_name,
                            const char *model_id, uint32_t dimension, int64_t *model,
                            ufi_census *out, uf_error *err)
{
    uint32_t known;
    other_models others = {{0}};
    const ufi_value args[] = {ufi_integer(collection)};
    *out = (ufi_census){0};
    uf_status st = ufi_model_find(g, model_id, model, &known, err);
    if (st && st != UF_E_NOT_FOUND)
        return st;
    if (!st && dimension != 0 && known != dimension)
        return ufi_fail(err, UF_E_MISMATCH, "%u floats, but templates of model %s have %u",
                        dimension, model_id, known);
    if (!st)
        st = ufi_census_get(g, collection, *model, out, err);
    if (!st && out->templates > 0)
        return UF_OK;
    if (st && st != UF_E_NOT_FOUND)
        return st;
    st = ufi_sql_rows(g->sql,
                      "SELECT m.name FROM census s JOIN model m ON m.number = s.model"
                      " WHERE s.collection = ?1 AND s.templates > 0 ORDER BY m.number",
                      args, 1, other_row, &others, err);
    if (!st && others.names[0])
        return ufi_fail(err, UF_E_MISMATCH,
                        "collection \"%s\" has templates of model %s, none of %s", collection_name,
                        others.names, model_id);
    return st;
}
