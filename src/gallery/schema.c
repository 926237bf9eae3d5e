/*
 * Tables, one script for each version and database. A gallery of an older version is brought
 * forward in a transaction for each step; one of a newer version is refused.
 *
 * Numbers of rows come from table `numbers`, not from the database: what belongs to a row is
 * sealed with its number, which must be known before; and no number comes back, so that an old
 * snapshot can never take a new template for one that it knows.
 */
#include <string.h>

#include "base/status.h"
#include "gallery/impl.h"

static const char sqlite_1[] =
    "CREATE TABLE setting (name TEXT PRIMARY KEY, number INTEGER NOT NULL, bytes BLOB) STRICT;"
    "CREATE TABLE numbers (name TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT;"
    "CREATE TABLE master_key (number INTEGER PRIMARY KEY, sealed BLOB NOT NULL,"
    " created INTEGER NOT NULL) STRICT;"
    "CREATE TABLE collection (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"
    "CREATE TABLE model (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " dimension INTEGER NOT NULL) STRICT;"
    "CREATE TABLE person (number INTEGER PRIMARY KEY,"
    " collection INTEGER NOT NULL REFERENCES collection(number), id TEXT NOT NULL, metadata TEXT,"
    " consent TEXT, purpose TEXT, expires INTEGER NOT NULL, created INTEGER NOT NULL,"
    " updated INTEGER NOT NULL, master INTEGER NOT NULL, sealed BLOB NOT NULL,"
    " UNIQUE (collection, id)) STRICT;"
    "CREATE INDEX person_master ON person(master);"
    "CREATE INDEX person_expires ON person(expires) WHERE expires > 0;"
    "CREATE TABLE template (number INTEGER PRIMARY KEY,"
    " person INTEGER NOT NULL REFERENCES person(number), model INTEGER NOT NULL"
    " REFERENCES model(number), source TEXT, quality REAL, created INTEGER NOT NULL,"
    " sealed BLOB NOT NULL) STRICT;"
    "CREATE INDEX template_person ON template(person, model);"
    "CREATE TABLE crop (template INTEGER PRIMARY KEY REFERENCES template(number),"
    " size INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;"
    "CREATE TABLE census (collection INTEGER NOT NULL, model INTEGER NOT NULL,"
    " people INTEGER NOT NULL, templates INTEGER NOT NULL, PRIMARY KEY (collection, model)) STRICT;"
    "CREATE TABLE change (number INTEGER PRIMARY KEY, collection INTEGER NOT NULL,"
    " model INTEGER NOT NULL, template INTEGER NOT NULL, kind INTEGER NOT NULL) STRICT;"
    "CREATE TABLE erasure (number INTEGER PRIMARY KEY) STRICT;"
    "CREATE TABLE snapshot (collection INTEGER NOT NULL, model INTEGER NOT NULL,"
    " master INTEGER NOT NULL, mark INTEGER NOT NULL, secret BLOB NOT NULL,"
    " PRIMARY KEY (collection, model)) STRICT;"
    "CREATE TABLE calibration (collection INTEGER NOT NULL, model INTEGER NOT NULL,"
    " people INTEGER NOT NULL, scores BLOB NOT NULL, PRIMARY KEY (collection, model)) STRICT;"
    "CREATE TABLE audit (number INTEGER PRIMARY KEY, moment INTEGER NOT NULL, actor TEXT NOT NULL,"
    " action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL, digest BLOB NOT NULL)"
    " STRICT;";

/* Sealed templates are a little larger than the 2 KB beyond which PostgreSQL moves values out of
 * the row, in pieces: toast_tuple_target keeps them, EXTERNAL does not try to compress them. */
static const char postgresql_1[] =
    "CREATE TABLE setting (name text PRIMARY KEY, number bigint NOT NULL, bytes bytea);"
    "CREATE TABLE numbers (name text PRIMARY KEY, next bigint NOT NULL);"
    "CREATE TABLE master_key (number bigint PRIMARY KEY, sealed bytea NOT NULL,"
    " created bigint NOT NULL);"
    "CREATE TABLE collection (number bigint PRIMARY KEY, name text NOT NULL UNIQUE);"
    "CREATE TABLE model (number bigint PRIMARY KEY, name text NOT NULL UNIQUE,"
    " dimension bigint NOT NULL);"
    "CREATE TABLE person (number bigint PRIMARY KEY,"
    " collection bigint NOT NULL REFERENCES collection(number), id text COLLATE \"C\" NOT NULL,"
    " metadata text, consent text, purpose text, expires bigint NOT NULL, created bigint NOT NULL,"
    " updated bigint NOT NULL, master bigint NOT NULL, sealed bytea NOT NULL,"
    " UNIQUE (collection, id));"
    "CREATE INDEX person_master ON person(master);"
    "CREATE INDEX person_expires ON person(expires) WHERE expires > 0;"
    "CREATE TABLE template (number bigint PRIMARY KEY,"
    " person bigint NOT NULL REFERENCES person(number), model bigint NOT NULL"
    " REFERENCES model(number), source text, quality double precision, created bigint NOT NULL,"
    " sealed bytea NOT NULL) WITH (toast_tuple_target = 8160);"
    "ALTER TABLE template ALTER COLUMN sealed SET STORAGE EXTERNAL;"
    "CREATE INDEX template_person ON template(person, model);"
    "CREATE TABLE crop (template bigint PRIMARY KEY REFERENCES template(number),"
    " size bigint NOT NULL, sealed bytea NOT NULL);"
    "ALTER TABLE crop ALTER COLUMN sealed SET STORAGE EXTERNAL;"
    "CREATE TABLE census (collection bigint NOT NULL, model bigint NOT NULL,"
    " people bigint NOT NULL, templates bigint NOT NULL, PRIMARY KEY (collection, model));"
    "CREATE TABLE change (number bigint PRIMARY KEY, collection bigint NOT NULL,"
    " model bigint NOT NULL, template bigint NOT NULL, kind bigint NOT NULL);"
    "CREATE TABLE erasure (number bigint PRIMARY KEY);"
    "CREATE TABLE snapshot (collection bigint NOT NULL, model bigint NOT NULL,"
    " master bigint NOT NULL, mark bigint NOT NULL, secret bytea NOT NULL,"
    " PRIMARY KEY (collection, model));"
    "CREATE TABLE calibration (collection bigint NOT NULL, model bigint NOT NULL,"
    " people bigint NOT NULL, scores bytea NOT NULL, PRIMARY KEY (collection, model));"
    "CREATE TABLE audit (number bigint PRIMARY KEY, moment bigint NOT NULL, actor text NOT NULL,"
    " action text NOT NULL, subject text NOT NULL, detail text NOT NULL, digest bytea NOT NULL);";

/* What differs between databases. */
typedef struct dialect {
    const char *name;
    const char *is_there; /* a query: how many tables of this name has it? */
    const char *bytes;    /* a query: size of the database */
    const char *scripts[UFI_SCHEMA_VERSION];
} dialect;

static const dialect dialects[] = {
    {"sqlite",
     "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'setting'",
     "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
     {sqlite_1}},
    {"postgresql",
     "SELECT count(*) FROM pg_tables WHERE tablename = 'setting' AND schemaname ="
     " btrim(split_part(current_setting('search_path'), ',', 1), '\"')",
     "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n"
     " ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname ="
     " btrim(split_part(current_setting('search_path'), ',', 1), '\"')",
     {postgresql_1}},
};

static const dialect *dialect_of(const ufi_sql *sql)
{
    for (size_t i = 0; i < sizeof dialects / sizeof dialects[0]; i++)
        if (strcmp(dialects[i].name, sql->ops->name) == 0)
            return &dialects[i];
    return NULL;
}

uf_status ufi_schema_version(ufi_sql *sql, int64_t *version, uf_error *err)
{
    const dialect *d = dialect_of(sql);
    int64_t there;
    *version = 0;
    if (!d)
        return ufi_fail(err, UF_E_UNSUPPORTED, "no tables are known for %s", sql->ops->name);
    uf_status st = ufi_sql_integer(sql, d->is_there, NULL, 0, 0, &there, err);
    if (!st && there)
        st = ufi_setting_get(sql, "schema", version, NULL, 0, err);
    if (!st && (*version > UFI_SCHEMA_VERSION || *version < 0))
        return ufi_fail(err, UF_E_FORMAT,
                        "made by a newer UniFace (version %lld of the tables; this one knows %d)",
                        (long long)*version, UFI_SCHEMA_VERSION);
    return st;
}

uf_status ufi_schema_forward(ufi_sql *sql, int64_t version, uf_error *err)
{
    const dialect *d = dialect_of(sql);
    uf_status st = UF_OK;
    for (; !st && version < UFI_SCHEMA_VERSION; version++) {
        st = sql->ops->script(sql, d->scripts[version], err);
        if (!st)
            st = ufi_setting_put(sql, "schema", version + 1, NULL, 0, err);
    }
    return st;
}

/* ---- settings ---- */

typedef struct setting_sink {
    int64_t *number;
    void *bytes;
    size_t size;
    const char *name;
} setting_sink;

static uf_status setting_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    setting_sink *s = user;
    if (s->number)
        *s->number = columns[0].integer;
    if (s->bytes) {
        if (columns[1].type != UFI_VALUE_BYTES || columns[1].size != s->size)
            return ufi_fail(err, UF_E_FORMAT, "damaged: setting \"%s\"", s->name);
        memcpy(s->bytes, columns[1].data, s->size);
    }
    return UF_OK;
}

uf_status ufi_setting_get(ufi_sql *sql, const char *name, int64_t *number, void *bytes, size_t size,
                          uf_error *err)
{
    const ufi_value args[] = {ufi_text(name)};
    setting_sink sink = {number, bytes, size, name};
    uf_status st = ufi_sql_one(sql, "SELECT number, bytes FROM setting WHERE name = ?1", args, 1,
                               setting_row, &sink, err);
    return st == UF_E_NOT_FOUND ? ufi_fail(err, st, "setting \"%s\" is missing", name) : st;
}

uf_status ufi_setting_put(ufi_sql *sql, const char *name, int64_t number, const void *bytes,
                          size_t size, uf_error *err)
{
    const ufi_value args[] = {ufi_text(name), ufi_integer(number),
                              bytes ? ufi_bytes(bytes, size) : ufi_null()};
    return ufi_sql_run(sql,
                       "INSERT INTO setting (name, number, bytes) VALUES (?1, ?2, ?3) ON CONFLICT"
                       " (name) DO UPDATE SET number = excluded.number, bytes = excluded.bytes",
                       args, 3, NULL, err);
}

uf_status ufi_numbers_take(ufi_sql *sql, const char *name, int64_t count, int64_t *first,
                           uf_error *err)
{
    const ufi_value args[] = {ufi_text(name), ufi_integer(count)};
    int64_t next;
    uf_status st = ufi_sql_integer(
        sql,
        "INSERT INTO numbers (name, next) VALUES (?1, 1 + ?2) ON CONFLICT (name) DO UPDATE"
        " SET next = numbers.next + ?2 RETURNING next",
        args, 2, 0, &next, err);
    *first = next - count;
    return st;
}

uf_status ufi_database_bytes(ufi_sql *sql, uint64_t *out, uf_error *err)
{
    int64_t bytes;
    uf_status st = ufi_sql_integer(sql, dialect_of(sql)->bytes, NULL, 0, 0, &bytes, err);
    *out = (uint64_t)bytes;
    return st;
}
