/*
 * Search inside the database: pgvector's HNSW over halves, or over their signs.
 *
 * Each model has a table "vector_<md5 of its id>" with typed halves, in hash partitions that may be
 * foreign tables (deploy/postgres/shards.sh). A search asks every partition for its own first n and
 * merges them: ORDER BY and LIMIT go down to where the index is, a foreign server answers while the
 * others do, and what comes back is little. Who asked scores the answers exactly from the records.
 *
 * Rejected: one column for all models with an index per model over a cast (no typed column, longer
 * plans); vectors inside of table "template" (a table with foreign partitions has no primary key
 * and no foreign keys, and records belong into one transaction on one server).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/postgres.h"

enum {
    MAX_LEAVES = 1024,
    /* Up to so many people are looked up and compared one by one; HNSW would have to look at most
     * of the gallery until it has met enough of them. */
    FEW_PEOPLE = 20000,
    INSERTED_AT_ONCE = 20 /* vectors by one statement: UFI_PG_MAX_ARGS */
};

typedef struct query {
    struct query *next;
    size_t wanted;
    ufi_pg_reach reach;
    uint32_t generation;
    char *sql;
} query;

/* The table of one model. Texts stay until the end: prepared statements are found by their address.
 */
struct ufi_pg_space {
    ufi_pg_space *next;
    char *model_id, *insert, *insert_many;
    uint32_t dimension;
    char table[UFI_SCHEMA_NAME];
    bool foreign;        /* some leaves are on other servers */
    uint32_t generation; /* of the list of leaves */
    size_t leaf_count;   /* 0: not known (any more) */
    char (*leaves)[2 * UFI_SCHEMA_NAME];
    query *queries;
};

static void free_space(ufi_pg_space *space)
{
    while (space->queries) {
        query *q = space->queries;
        space->queries = q->next;
        ufi_free(q->sql);
        ufi_free(q);
    }
    ufi_free(space->leaves);
    ufi_free(space->model_id);
    ufi_free(space->insert);
    ufi_free(space->insert_many);
    ufi_free(space);
}

void ufi_pg_forget_spaces(ufi_postgres *p)
{
    while (p->spaces) {
        ufi_pg_space *space = p->spaces;
        p->spaces = space->next;
        free_space(space);
    }
}

void ufi_pg_doubt_spaces(ufi_postgres *p)
{
    for (ufi_pg_space *s = p->spaces; s; s = s->next)
        s->leaf_count = 0;
}

static uf_status no_memory(uf_error *err)
{
    return ufi_fail(err, UF_E_NOMEM, "out of memory for a search");
}

/* ---- tables ---- */

static uf_status load_leaves(ufi_postgres *p, ufi_pg_space *space, uf_error *err)
{
    char sql[400];
    PGresult *r;
    snprintf(sql, sizeof sql,
             "SELECT format('%%I.%%I', n.nspname, c.relname), c.relkind = 'f'"
             " FROM pg_partition_tree(to_regclass('%s.%s')) t JOIN pg_class c ON c.oid = t.relid"
             " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE t.isleaf ORDER BY c.relname",
             p->schema, space->table);
    uf_status st = ufi_pg_exec(p, sql, &r, err);
    if (st)
        return st;
    size_t count = (size_t)PQntuples(r);
    ufi_free(space->leaves);
    space->leaves = ufi_calloc(count, sizeof *space->leaves);
    space->generation++;
    space->leaf_count = 0;
    if (count > MAX_LEAVES)
        st = ufi_fail(err, UF_E_LIMIT, "table %s has more than %d partitions", space->table,
                      MAX_LEAVES);
    else if (!space->leaves)
        st = no_memory(err);
    for (size_t i = 0; i < count && !st; i++) {
        snprintf(space->leaves[i], sizeof space->leaves[i], "%s", PQgetvalue(r, (int)i, 0));
        space->foreign |= PQgetvalue(r, (int)i, 1)[0] == 't';
    }
    if (!st)
        space->leaf_count = count;
    PQclear(r);
    return st;
}

/* What is sorted by. No index knows the distance + 0: few people are found by the index of people
 * and compared one by one. */
static void write_order(const ufi_postgres *p, uint32_t dimension, ufi_pg_reach reach, char *out,
                        size_t size)
{
    if (reach == UFI_PG_FEW || reach == UFI_PG_EXACT)
        snprintf(out, size, "(embedding <=> ?1::halfvec) + 0");
    else if (p->search == UFI_SEARCH_HALFVEC)
        snprintf(out, size, "embedding <=> ?1::halfvec");
    else
        snprintf(out, size,
                 "(binary_quantize(embedding)::bit(%u)) <~> binary_quantize(?1::halfvec)::bit(%u)",
                 dimension, dimension);
}

/* The same as deploy/postgres/shards.sh makes where it is run first. */
static uf_status make_table(ufi_postgres *p, ufi_pg_space *space, uf_error *err)
{
    char sql[1200], index[160];
    const char *table = space->table;
    uint32_t d = space->dimension;
    snprintf(index, sizeof index,
             p->search == UFI_SEARCH_BIT ? "(binary_quantize(embedding)::bit(%u)) bit_hamming_ops"
                                         : "embedding halfvec_cosine_ops",
             d);
    snprintf(
        sql, sizeof sql,
        "CREATE TABLE %s.%s (template bigint PRIMARY KEY, collection bigint NOT NULL,"
        " person bigint NOT NULL, embedding halfvec(%u) NOT NULL)"
        " PARTITION BY HASH (template);"
        " CREATE INDEX ON %s.%s (collection, person);"
        " DO $$ BEGIN FOR i IN 0 .. %d LOOP EXECUTE format('CREATE TABLE %s.%s_%%s PARTITION OF"
        " %s.%s FOR VALUES WITH (MODULUS %d, REMAINDER %%s)', i, i); END LOOP; END $$;"
        " CREATE INDEX ON %s.%s USING hnsw (%s)",
        p->schema, table, d, p->schema, table, p->partitions - 1, p->schema, table, p->schema,
        table, p->partitions, p->schema, table, index);
    return ufi_pg_exec(p, sql, NULL, err);
}

uf_status ufi_pg_prepare_search(ufi_postgres *p, uf_error *err)
{
    uf_status st = UF_OK;
    if (!p->vector_type)
        st = ufi_pg_exec(p, "CREATE EXTENSION vector SCHEMA public", NULL, err);
    if (!st)
        st = ufi_pg_look_around(p, err);
    if (!st && !p->halfvec_type)
        st = ufi_fail(err, UF_E_UNSUPPORTED, "pgvector %s has no halfvec", p->vector_version);
    return ufi_wrap(err, st, "the database needs pgvector 0.8.4 or newer to search by itself");
}

/* A template that goes takes its vector along, whoever deletes it. */
uf_status ufi_pg_follow_deletions(ufi_postgres *p, uf_error *err)
{
    char sql[1100];
    snprintf(
        sql, sizeof sql,
        "DO $d$ BEGIN IF to_regclass('%s.template') IS NOT NULL THEN"
        " CREATE OR REPLACE FUNCTION %s.uniface_forget() RETURNS trigger LANGUAGE plpgsql AS $f$"
        " DECLARE place regclass := to_regclass(format('%%I.vector_%%s', TG_TABLE_SCHEMA,"
        " (SELECT md5(name) FROM %s.model WHERE number = OLD.model)));"
        " BEGIN IF place IS NOT NULL THEN"
        " EXECUTE format('DELETE FROM %%s WHERE template = $1', place) USING OLD.number; END IF;"
        " RETURN NULL; END $f$;"
        " CREATE OR REPLACE TRIGGER uniface_forget AFTER DELETE ON %s.template"
        " FOR EACH ROW EXECUTE FUNCTION %s.uniface_forget(); END IF; END $d$",
        p->schema, p->schema, p->schema, p->schema, p->schema);
    return ufi_pg_exec(p, sql, NULL, err);
}

static uf_status name_table(ufi_postgres *p, ufi_pg_space *space, uf_error *err)
{
    const char *values[] = {space->model_id};
    PGresult *r =
        PQexecParams(p->connection, "SELECT 'vector_' || md5($1)", 1, NULL, values, NULL, NULL, 0);
    uf_status st = PQresultStatus(r) == PGRES_TUPLES_OK ? UF_OK : ufi_pg_fail(p, r, err);
    if (!st)
        snprintf(space->table, sizeof space->table, "%s", PQgetvalue(r, 0, 0));
    PQclear(r);
    return st;
}

/* ?1 collection, then template, person and vector of each row. */
static char *insert_text(const ufi_postgres *p, const ufi_pg_space *space, size_t rows)
{
    size_t room = 200 + 2 * UFI_SCHEMA_NAME + rows * 40, at;
    char *sql = ufi_malloc(room, 1);
    if (!sql)
        return NULL;
    at = (size_t)snprintf(sql, room,
                          "INSERT INTO %s.%s (collection, template, person, embedding) VALUES ",
                          p->schema, space->table);
    for (size_t i = 0; i < rows; i++)
        at += (size_t)snprintf(sql + at, room - at, "%s(?1, ?%zu, ?%zu, ?%zu)", i ? ", " : "",
                               3 * i + 2, 3 * i + 3, 3 * i + 4);
    return sql;
}

static uf_status new_space(ufi_postgres *p, const char *model_id, uint32_t dimension,
                           ufi_pg_space **out, uf_error *err)
{
    uf_status st;
    ufi_pg_space *space = ufi_calloc(1, sizeof *space);
    if (!space)
        return no_memory(err);
    space->dimension = dimension;
    space->model_id = ufi_strdup(model_id);
    st = space->model_id ? name_table(p, space, err) : no_memory(err);
    if (!st) {
        space->insert = insert_text(p, space, 1);
        space->insert_many = insert_text(p, space, INSERTED_AT_ONCE);
    }
    if (!st && (!space->insert || !space->insert_many))
        st = no_memory(err);
    if (st) {
        free_space(space);
        return st;
    }
    space->next = p->spaces;
    p->spaces = *out = space;
    return UF_OK;
}

/* With `make`, in a transaction, a missing table is made; without, the model has no leaves. */
static uf_status find_space(ufi_postgres *p, const char *model_id, uint32_t dimension, bool make,
                            ufi_pg_space **out, uf_error *err)
{
    ufi_pg_space *space = p->spaces;
    while (space && strcmp(space->model_id, model_id) != 0)
        space = space->next;
    uf_status st = space ? UF_OK : new_space(p, model_id, dimension, &space, err);
    if (!st && space->leaf_count == 0)
        st = load_leaves(p, space, err);
    if (!st && make && space->leaf_count == 0) {
        st = make_table(p, space, err);
        if (!st)
            st = load_leaves(p, space, err);
    }
    *out = space;
    return st;
}

static size_t write_row(ufi_value *args, uint64_t key, uint64_t group, const float *vector,
                        uint32_t dimension)
{
    args[0] = ufi_integer((int64_t)key);
    args[1] = ufi_integer((int64_t)group);
    args[2] = (ufi_value){.type = UFI_VALUE_VECTOR, .data = vector, .size = dimension};
    return 3;
}

uf_status ufi_pg_add_vectors(ufi_sql *s, const char *model_id, uint32_t dimension,
                             int64_t collection, const uint64_t *keys, const uint64_t *groups,
                             const float *vectors, size_t count, uf_error *err)
{
    ufi_postgres *p = (ufi_postgres *)s;
    ufi_pg_space *space;
    uf_status st = find_space(p, model_id, dimension, true, &space, err);
    for (size_t i = 0; i < count && !st;) {
        ufi_value args[1 + 3 * INSERTED_AT_ONCE] = {ufi_integer(collection)};
        size_t rows = count - i < INSERTED_AT_ONCE ? 1 : INSERTED_AT_ONCE, used = 1;
        uint64_t delivered = 0;
        for (size_t end = i + rows; i < end; i++)
            used += write_row(args + used, keys[i], groups[i], vectors + i * dimension, dimension);
        st = ufi_pg_once(p, rows == 1 ? space->insert : space->insert_many, args, used, NULL, NULL,
                         NULL, &delivered, err);
    }
    return st;
}

/* ---- searches ---- */

/* (SELECT ... FROM leaf ORDER BY ... LIMIT n) UNION ALL ...; ?1 probe, ?2 collection, ?3 people. */
static char *search_text(const ufi_postgres *p, const ufi_pg_space *space, ufi_pg_reach reach,
                         size_t wanted)
{
    char order[200];
    write_order(p, space->dimension, reach, order, sizeof order);
    size_t room = 300 + space->leaf_count * (2 * UFI_SCHEMA_NAME + 2 * sizeof order + 200), at = 0;
    char *sql = ufi_malloc(room, 1);
    if (!sql)
        return NULL;
    at += (size_t)snprintf(sql, room, "SELECT template, person FROM (");
    for (size_t i = 0; i < space->leaf_count; i++)
        at += (size_t)snprintf(
            sql + at, room - at,
            "%s(SELECT template, person, %s AS far FROM %s WHERE collection = ?2%s"
            " ORDER BY %s LIMIT %zu)",
            i ? " UNION ALL " : "", order, space->leaves[i],
            reach == UFI_PG_FEW || reach == UFI_PG_MANY ? " AND person = ANY (?3::bigint[])" : "",
            order, wanted);
    /* OFFSET 0 keeps the outer order from being asked of the partitions once more: then foreign
     * servers work at the same time (an Append is asynchronous, a merge of ordered parts is not).
     */
    snprintf(sql + at, room - at, "%s) near ORDER BY far LIMIT %zu",
             space->foreign ? " OFFSET 0" : "", wanted);
    return sql;
}

static uf_status find_query(ufi_postgres *p, ufi_pg_space *space, ufi_pg_reach reach, size_t wanted,
                            const char **sql, uf_error *err)
{
    for (query *q = space->queries; q; q = q->next)
        if (q->reach == reach && q->wanted == wanted && q->generation == space->generation) {
            *sql = q->sql;
            return UF_OK;
        }
    query *q = ufi_calloc(1, sizeof *q);
    char *text = q ? search_text(p, space, reach, wanted) : NULL;
    if (!text) {
        ufi_free(q);
        return no_memory(err);
    }
    *q = (query){space->queries, wanted, reach, space->generation, text};
    space->queries = q;
    *sql = text;
    return UF_OK;
}

typedef struct near_sink {
    uint64_t *keys, *groups;
    size_t count, room;
} near_sink;

static uf_status take_near(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    (void)count;
    near_sink *n = user;
    if (n->count == n->room || columns[0].type != UFI_VALUE_INTEGER ||
        columns[1].type != UFI_VALUE_INTEGER)
        return ufi_fail(err, UF_E_FORMAT, "the vector table's rows are not as expected");
    n->keys[n->count] = (uint64_t)columns[0].integer;
    n->groups[n->count++] = (uint64_t)columns[1].integer;
    return UF_OK;
}

/* Without figures about foreign tables the planner may fetch all of their rows to sort them here;
 * the other server's index is always better. */
static uf_status prefer_foreign_order(ufi_postgres *p, const ufi_pg_space *space, uf_error *err)
{
    if (!space->foreign || p->sorts_abroad)
        return UF_OK;
    uf_status st = ufi_pg_exec(p, "SET enable_sort = off", NULL, err);
    p->sorts_abroad = !st;
    return st;
}

uf_status ufi_pg_search_text(ufi_postgres *p, const char *model_id, uint32_t dimension,
                             ufi_pg_reach reach, size_t wanted, const char **sql, uf_error *err)
{
    ufi_pg_space *space;
    *sql = NULL;
    uf_status st = find_space(p, model_id, dimension, false, &space, err);
    if (!st)
        st = prefer_foreign_order(p, space, err);
    if (!st && space->leaf_count)
        st = find_query(p, space, reach, wanted, sql, err);
    return st;
}

typedef struct question {
    const char *model_id;
    uint32_t dimension;
    size_t wanted, arg_count;
    ufi_value args[3];
} question;

static uf_status ask(ufi_postgres *p, const question *q, ufi_pg_reach reach, near_sink *sink,
                     uf_error *err)
{
    const char *sql = NULL;
    uf_error first = {0};
    uf_status st = ufi_pg_search_text(p, q->model_id, q->dimension, reach, q->wanted, &sql, &first);
    if (st && ufi_pg_revive(p, &first))
        st = ufi_pg_search_text(p, q->model_id, q->dimension, reach, q->wanted, &sql, &first);
    if (st && err)
        *err = first;
    sink->count = 0;
    if (!st && sql)
        st = p->base.ops->run(&p->base, sql, q->args, q->arg_count, take_near, sink, NULL, err);
    return st;
}

uf_status ufi_pg_search(ufi_sql *s, const char *model_id, uint32_t dimension, int64_t collection,
                        const float *probe, const uint64_t *groups, size_t group_count,
                        size_t wanted, uint64_t *keys, uint64_t *key_groups, size_t *count,
                        uf_error *err)
{
    ufi_postgres *p = (ufi_postgres *)s;
    near_sink sink = {keys, key_groups, 0, wanted};
    char *people = groups ? ufi_sql_array(groups, group_count) : NULL;
    *count = 0;
    if (groups && !people)
        return no_memory(err);
    question q = {model_id,
                  dimension,
                  wanted,
                  2,
                  {{.type = UFI_VALUE_VECTOR, .data = probe, .size = dimension},
                   ufi_integer(collection),
                   ufi_text(people)}};
    uf_status st;
    if (groups) {
        q.arg_count = 3;
        st = ask(p, &q, group_count <= FEW_PEOPLE ? UFI_PG_FEW : UFI_PG_MANY, &sink, err);
    } else {
        st = ask(p, &q, UFI_PG_ALL, &sink, err);
    }
    /* HNSW gives up before it has met enough of a collection, or of people, that are few. */
    if (!st && sink.count < wanted && group_count > FEW_PEOPLE)
        st = ask(p, &q, UFI_PG_FEW, &sink, err);
    else if (!st && sink.count < wanted && !groups)
        st = ask(p, &q, UFI_PG_EXACT, &sink, err);
    ufi_free(people);
    *count = st ? 0 : sink.count;
    return st;
}

/* Runs "`command` FROM table WHERE collection = ..."; *out stays NULL when the model has no table.
 */
static uf_status on_collection(ufi_postgres *p, const char *command, const char *model_id,
                               uint32_t dimension, int64_t collection, PGresult **out,
                               uf_error *err)
{
    ufi_pg_space *space;
    char sql[300];
    *out = NULL;
    uf_status st = find_space(p, model_id, dimension, false, &space, err);
    if (st || space->leaf_count == 0)
        return st;
    snprintf(sql, sizeof sql, "%s FROM %s.%s WHERE collection = %lld", command, p->schema,
             space->table, (long long)collection);
    return ufi_pg_exec(p, sql, out, err);
}

uf_status ufi_pg_clear_vectors(ufi_sql *s, const char *model_id, uint32_t dimension,
                               int64_t collection, uf_error *err)
{
    PGresult *r;
    uf_status st =
        on_collection((ufi_postgres *)s, "DELETE", model_id, dimension, collection, &r, err);
    PQclear(r);
    return st;
}

uf_status ufi_pg_count_vectors(ufi_sql *s, const char *model_id, uint32_t dimension,
                               int64_t collection, uint64_t *count, uf_error *err)
{
    PGresult *r;
    uf_status st = on_collection((ufi_postgres *)s, "SELECT count(*)", model_id, dimension,
                                 collection, &r, err);
    *count = !st && r ? strtoull(PQgetvalue(r, 0, 0), NULL, 10) : 0;
    PQclear(r);
    return st;
}
