/*
 * A gallery's connection to PostgreSQL, its transactions and its upkeep.
 *
 * One writer at a time: a writing transaction takes an advisory lock of the gallery first and then
 * reads as READ COMMITTED, so that it sees all that earlier writers left. SERIALIZABLE would do
 * without the lock, but its snapshot is older than the wait for the lock, and its conflicts would
 * have to be tried again by every caller.
 *
 * A connection that is lost between transactions (a restart of the server, a failover) is made
 * again, and what only reads is asked again. A commit whose answer is lost is looked up by the
 * transaction's number: acknowledged is what the server has, not what it managed to say.
 *
 * A row with a number that every commit raises tells other connections' changes; a NOTIFY could be
 * lost with the connection, and a sequence moves before the commit does.
 */
#include "gallery/postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "base/status.h"

enum {
    LOCK_CLASS = 1433744197, /* of the advisory locks: "UuFE" in bytes, nobody else's by chance */
    LOCK_TIMEOUT_MS = 10000,
    CONNECT_TIMEOUT_S = 10,
    RECONNECT_MS = 10000,     /* how long a server may take to come back */
    OLDEST_SOUND_VECTOR = 804 /* pgvector 0.8.4 */
};

static ufi_postgres *self(ufi_sql *s)
{
    return (ufi_postgres *)s;
}

/* ---- the connection ---- */

static void ignore_notice(void *arg, const PGresult *r)
{
    (void)arg, (void)r;
}

static void pause_ms(int ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static void copy_field(char *out, size_t size, const PGresult *r, int column)
{
    snprintf(out, size, "%s", PQgetvalue(r, 0, column));
}

static int version_number(const char *text)
{
    int major = 0, minor = 0, patch = 0;
    if (sscanf(text, "%d.%d.%d", &major, &minor, &patch) < 2)
        return 0;
    return major * 10000 + minor * 100 + patch;
}

uf_status ufi_pg_look_around(ufi_postgres *p, uf_error *err)
{
    PGresult *r;
    uf_status st =
        ufi_pg_exec(p,
                    "SELECT current_setting('server_version_num')::int, coalesce(e.extversion, ''),"
                    " coalesce(quote_ident(n.nspname), 'public'),"
                    " coalesce((SELECT oid FROM pg_type WHERE typname = 'vector'"
                    " AND typnamespace = e.extnamespace), 0),"
                    " coalesce((SELECT oid FROM pg_type WHERE typname = 'halfvec'"
                    " AND typnamespace = e.extnamespace), 0), current_setting('fsync')"
                    " FROM (SELECT 1) one LEFT JOIN pg_extension e ON e.extname = 'vector'"
                    " LEFT JOIN pg_namespace n ON n.oid = e.extnamespace",
                    &r, err);
    if (st)
        return st;
    int server = atoi(PQgetvalue(r, 0, 0));
    copy_field(p->vector_version, sizeof p->vector_version, r, 1);
    copy_field(p->vector_schema, sizeof p->vector_schema, r, 2);
    p->vector_type = (Oid)strtoul(PQgetvalue(r, 0, 3), NULL, 10);
    p->halfvec_type = (Oid)strtoul(PQgetvalue(r, 0, 4), NULL, 10);
    p->loose = strcmp(PQgetvalue(r, 0, 5), "on") != 0;
    PQclear(r);
    if (server < 150000)
        return ufi_fail(err, UF_E_UNSUPPORTED, "PostgreSQL 15 or newer is needed, this is %d.%d",
                        server / 10000, server % 10000);
    return UF_OK;
}

static const ufi_sql_ops memory_ops, search_ops;

/* How this gallery is searched was decided when it was made; an address that says otherwise is
 * wrong. */
static uf_status read_choice(ufi_postgres *p, uf_error *err)
{
    char sql[400];
    PGresult *r;
    snprintf(sql, sizeof sql, "SELECT to_regclass('%s.uniface_database') IS NOT NULL", p->schema);
    uf_status st = ufi_pg_exec(p, sql, &r, err);
    if (st)
        return st;
    bool there = strcmp(PQgetvalue(r, 0, 0), "t") == 0;
    PQclear(r);
    if (there) {
        snprintf(sql, sizeof sql, "SELECT search, partitions FROM %s.uniface_database", p->schema);
        st = ufi_pg_exec(p, sql, &r, err);
        if (st)
            return st;
        const char *name = PQntuples(r) ? PQgetvalue(r, 0, 0) : "";
        ufi_search_kind stored = ufi_search_of(name, strlen(name));
        if (!stored)
            st = ufi_fail(err, UF_E_FORMAT, "table uniface_database is damaged");
        else if (p->search && p->search != stored)
            st = ufi_fail(err, UF_E_MISMATCH, "the gallery was made with search=%s, not search=%s",
                          name, ufi_search_name(p->search));
        p->search = stored;
        p->partitions = PQntuples(r) ? atoi(PQgetvalue(r, 0, 1)) : 1;
        PQclear(r);
    }
    p->base.ops = p->search > UFI_SEARCH_MEMORY ? &search_ops : &memory_ops;
    return st;
}

/* Enough to choose from, and on until LIMIT is reached (pgvector 0.8 and newer). */
static uf_status prepare_to_search(ufi_postgres *p, uf_error *err)
{
    if (!p->halfvec_type || p->search <= UFI_SEARCH_MEMORY)
        return UF_OK;
    return ufi_pg_exec(p,
                       "SET hnsw.ef_search = 200; SET hnsw.iterative_scan = strict_order;"
                       " SET hnsw.max_scan_tuples = 200000",
                       NULL, err);
}

/* Settings of a new session. A server that acknowledges before it has written (synchronous_commit =
 * off) is told to wait; stricter settings stay. */
static uf_status set_up(ufi_postgres *p, uf_error *err)
{
    PQsetNoticeProcessor(p->connection, NULL, NULL);
    PQsetNoticeReceiver(p->connection, ignore_notice, NULL);
    ufi_pg_forget(p);
    p->sorts_abroad = false;
    uf_status st = ufi_pg_look_around(p, err);
    if (!st)
        st = read_choice(p, err);
    if (st)
        return st;
    char sql[600];
    snprintf(sql, sizeof sql,
             "SET client_min_messages = error; SET search_path = %s, %s, public;"
             " SET jit = off; SET default_transaction_read_only = %s;"
             " SELECT set_config('synchronous_commit', 'on', false)"
             " WHERE current_setting('synchronous_commit') = 'off'",
             p->schema, p->vector_schema, p->read_only ? "on" : "off");
    st = ufi_pg_exec(p, sql, NULL, err);
    return st ? st : prepare_to_search(p, err);
}

static bool is_lost(ufi_postgres *p)
{
    return PQstatus(p->connection) != CONNECTION_OK;
}

/* A server that restarts refuses connections for a while. */
static uf_status reconnect(ufi_postgres *p, uf_error *err)
{
    uf_status st = UF_E_IO;
    for (int waited = 0, wait = 20; waited < RECONNECT_MS; waited += wait, wait *= 2) {
        PQreset(p->connection);
        st = is_lost(p) ? ufi_pg_fail(p, NULL, err) : set_up(p, err);
        if (!st)
            return UF_OK;
        pause_ms(wait);
    }
    return ufi_wrap(err, st, "the connection was lost and cannot be made again");
}

bool ufi_pg_revive(ufi_postgres *p, uf_error *err)
{
    return is_lost(p) && !p->in_transaction && reconnect(p, err) == UF_OK;
}

/* ---- statements ---- */

static bool only_reads(const char *sql)
{
    while (*sql == ' ' || *sql == '\n')
        sql++;
    return strncasecmp(sql, "SELECT", 6) == 0;
}

/* The tables were changed under a prepared statement, or a pooler in between gave us another
 * session: prepared statements are of no use any more. */
static bool is_stale(const uf_error *e)
{
    return strstr(e->message, "SQLSTATE 26000") || strstr(e->message, "cached plan must not");
}

static uf_status pg_run(ufi_sql *s, const char *sql, const ufi_value *args, size_t count,
                        ufi_row_fn *row, void *user, int64_t *changed, uf_error *err)
{
    ufi_postgres *p = self(s);
    uf_error first = {0};
    uint64_t delivered = 0;
    if (p->in_transaction && is_lost(p))
        return ufi_fail(err, UF_E_IO, "the connection was lost during the transaction");
    uf_status st = ufi_pg_once(p, sql, args, count, row, user, changed, &delivered, &first);
    if (st && !p->in_transaction && !delivered) {
        bool lost = is_lost(p);
        if (lost)
            st = reconnect(p, &first);
        if (!lost && is_stale(&first))
            ufi_pg_forget(p);
        else if (!lost || st)
            goto cleanup;
        else if (!only_reads(sql)) {
            st = ufi_fail(&first, UF_E_IO,
                          "the connection was lost; whether the change was made is not known");
            goto cleanup;
        }
        st = ufi_pg_once(p, sql, args, count, row, user, changed, &delivered, &first);
    }
cleanup:
    if (st && err)
        *err = first;
    return st;
}

/* The schema, and one row of our own. */
static uf_status make_base(ufi_postgres *p, uf_error *err)
{
    char sql[1200];
    const char *schema = p->schema;
    snprintf(sql, sizeof sql,
             "DO $$ BEGIN IF to_regnamespace('%s') IS NULL THEN CREATE SCHEMA %s; END IF;"
             " IF to_regclass('%s.uniface_database') IS NULL THEN"
             " CREATE TABLE %s.uniface_database (one boolean PRIMARY KEY CHECK (one),"
             " number bigint NOT NULL, search text NOT NULL, partitions integer NOT NULL)"
             " WITH (fillfactor = 50);"
             " INSERT INTO %s.uniface_database VALUES (true, 0, '%s', %d); END IF; END $$",
             schema, schema, schema, schema, schema,
             ufi_search_name(p->search ? p->search : UFI_SEARCH_MEMORY),
             p->partitions ? p->partitions : UFI_PG_PARTITIONS);
    uf_status st = ufi_pg_exec(p, sql, NULL, err);
    return st ? st : read_choice(p, err);
}

static uf_status pg_script(ufi_sql *s, const char *sql, uf_error *err)
{
    ufi_postgres *p = self(s);
    uf_status st = is_lost(p) && !p->in_transaction ? reconnect(p, err) : UF_OK;
    if (!st)
        st = make_base(p, err);
    if (!st && p->search > UFI_SEARCH_MEMORY)
        st = ufi_pg_prepare_search(p, err);
    if (!st)
        st = prepare_to_search(p, err);
    if (!st)
        st = ufi_pg_exec(p, sql, NULL, err);
    if (!st && p->search > UFI_SEARCH_MEMORY)
        st = ufi_pg_follow_deletions(p, err);
    return st;
}

/* ---- transactions ---- */

static void pg_rollback(ufi_sql *s)
{
    ufi_postgres *p = self(s);
    if (p->in_transaction && !is_lost(p))
        PQclear(PQexec(p->connection, "ROLLBACK"));
    p->in_transaction = false;
    ufi_pg_doubt_spaces(p);
}

static uf_status try_begin(ufi_postgres *p, bool light, uf_error *err)
{
    char sql[300];
    snprintf(sql, sizeof sql,
             "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = %d;%s"
             " SELECT pg_advisory_xact_lock(%d, hashtext('%s')); SET LOCAL lock_timeout = 0",
             LOCK_TIMEOUT_MS, light ? " SET LOCAL synchronous_commit = off;" : "", LOCK_CLASS,
             p->schema);
    p->in_transaction = true;
    uf_status st = ufi_pg_exec(p, sql, NULL, err);
    if (st)
        pg_rollback(&p->base);
    return st;
}

static uf_status begin(ufi_postgres *p, bool light, uf_error *err)
{
    uf_error first = {0};
    if (p->read_only)
        return ufi_fail(err, UF_E_STATE, "the gallery is open for reading only");
    uf_status st = try_begin(p, light, &first);
    if (st && is_lost(p)) {
        st = reconnect(p, &first);
        if (!st)
            st = try_begin(p, light, &first);
    }
    if (st == UF_E_STATE)
        return ufi_fail(err, st, "another process has been writing for %d s: %s",
                        LOCK_TIMEOUT_MS / 1000, first.message);
    if (st && err)
        *err = first;
    return st;
}

static uf_status pg_begin(ufi_sql *s, uf_error *err)
{
    return begin(self(s), false, err);
}

static uf_status pg_begin_light(ufi_sql *s, uf_error *err)
{
    return begin(self(s), true, err);
}

static uf_status pg_begin_read(ufi_sql *s, uf_error *err)
{
    static const char sql[] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    ufi_postgres *p = self(s);
    uf_status st = ufi_pg_exec(p, sql, NULL, err);
    if (st && is_lost(p)) {
        st = reconnect(p, err);
        if (!st)
            st = ufi_pg_exec(p, sql, NULL, err);
    }
    p->in_transaction = !st;
    return st;
}

/* The answer to COMMIT never came: asks the server whether transaction `number` is there. */
static uf_status look_up_commit(ufi_postgres *p, const char *number, uf_error *err)
{
    uf_status st = reconnect(p, err);
    for (int tries = 0; !st && tries < 100; tries++) {
        char sql[100], state[32];
        PGresult *r;
        snprintf(sql, sizeof sql, "SELECT coalesce(pg_xact_status('%s'::xid8), '')", number);
        st = ufi_pg_exec(p, sql, &r, err);
        if (st)
            break;
        copy_field(state, sizeof state, r, 0);
        PQclear(r);
        if (strcmp(state, "committed") == 0)
            return UF_OK;
        if (strcmp(state, "aborted") == 0)
            return ufi_fail(err, UF_E_IO, "the connection was lost, and nothing was changed");
        pause_ms(50); /* the old session has not ended yet */
    }
    return st ? st
              : ufi_fail(err, UF_E_IO,
                         "the connection was lost; whether the change was made "
                         "is not known");
}

static uf_status pg_commit(ufi_sql *s, uf_error *err)
{
    ufi_postgres *p = self(s);
    char number[32] = "";
    PGresult *r;
    uf_status st = ufi_pg_exec(p,
                               "UPDATE uniface_database SET number = number + 1"
                               " RETURNING pg_current_xact_id()",
                               &r, err);
    if (st) {
        pg_rollback(s);
        return st;
    }
    if (PQntuples(r) == 1)
        copy_field(number, sizeof number, r, 0);
    PQclear(r);
    r = NULL;
    uf_error first = {0};
    st = ufi_pg_exec(p, "COMMIT", &r, &first);
    /* COMMIT of a transaction that has failed is answered by ROLLBACK. */
    if (!st && strcmp(PQcmdStatus(r), "COMMIT") != 0)
        st = ufi_fail(&first, UF_E_STATE, "the transaction had failed and was rolled back");
    PQclear(r);
    p->in_transaction = false;
    if (st && is_lost(p) && number[0])
        st = look_up_commit(p, number, &first);
    if (!st)
        p->own_commits++;
    else if (err)
        *err = first;
    return st;
}

static uf_status take_version(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    (void)count, (void)err;
    *(int64_t *)user = columns[0].integer;
    return UF_OK;
}

/* Own commits are taken off, so that only those of others make a difference. */
static uf_status pg_version(ufi_sql *s, int64_t *out, uf_error *err)
{
    int64_t number = 0;
    uf_status st =
        pg_run(s, "SELECT number FROM uniface_database", NULL, 0, take_version, &number, NULL, err);
    if (!st)
        *out = number - self(s)->own_commits;
    return st;
}

/* ---- upkeep ---- */

/* Runs "`command` TABLE" for each table (kind r) or foreign table (f) of the gallery. */
static uf_status each_table(ufi_postgres *p, char kind, const char *command, uf_error *err)
{
    char sql[400];
    PGresult *tables;
    snprintf(sql, sizeof sql,
             "SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n"
             " ON n.oid = c.relnamespace WHERE n.oid = '%s'::regnamespace AND c.relkind = '%c'"
             " ORDER BY c.oid",
             p->schema, kind);
    uf_status st = ufi_pg_exec(p, sql, &tables, err);
    if (st)
        return st;
    for (int i = 0; i < PQntuples(tables) && !st; i++) {
        snprintf(sql, sizeof sql, "%s %s", command, PQgetvalue(tables, i, 0));
        st = ufi_wrap(err, ufi_pg_exec(p, sql, NULL, err), "%s", PQgetvalue(tables, i, 0));
    }
    PQclear(tables);
    return st;
}

/* Removes dead rows, which are never seen again; their bytes are overwritten when their place is
 * used again or, with `all`, go with the old files, as tables and indexes are written anew. Logs
 * that were archived or sent on are out of reach, and so are shards, which vacuum themselves
 * (docs/operations/postgresql.md). */
static uf_status pg_scrub(ufi_sql *s, bool all, uf_error *err)
{
    ufi_postgres *p = self(s);
    uf_status st = is_lost(p) ? reconnect(p, err) : UF_OK;
    if (!st)
        st = each_table(p, 'r', all ? "VACUUM (FULL, ANALYZE)" : "VACUUM", err);
    if (!st && all) /* with figures about them, LIMIT is left to the other server */
        st = each_table(p, 'f', "ANALYZE", err);
    return st;
}

/* amcheck looks at every row and index entry; who has no right to it reads all rows, which finds
 * what page checksums find. */
static uf_status pg_check(ufi_sql *s, uf_error *err)
{
    ufi_postgres *p = self(s);
    char sql[500];
    PGresult *r;
    uf_status st = is_lost(p) ? reconnect(p, err) : UF_OK;
    if (!st)
        st = ufi_pg_exec(p,
                         "SELECT count(*) FROM pg_proc WHERE proname IN ('verify_heapam',"
                         " 'bt_index_check') AND pg_function_is_visible(oid)"
                         " AND has_function_privilege(oid, 'execute')",
                         &r, err);
    if (st)
        return st;
    bool amcheck = atoi(PQgetvalue(r, 0, 0)) >= 2;
    PQclear(r);
    if (!amcheck)
        return each_table(p, 'r', "SELECT count(*) FROM", err);
    snprintf(sql, sizeof sql,
             "SELECT bt_index_check(c.oid, true) FROM pg_class c JOIN pg_am a ON a.oid = c.relam"
             " WHERE c.relnamespace = '%s'::regnamespace AND c.relkind = 'i'"
             " AND a.amname = 'btree';"
             " SELECT c.relname, v.blkno, v.msg FROM pg_class c, LATERAL verify_heapam(c.oid) v"
             " WHERE c.relnamespace = '%s'::regnamespace AND c.relkind = 'r' LIMIT 1",
             p->schema, p->schema);
    st = ufi_pg_exec(p, sql, &r, err);
    if (st)
        return st;
    if (PQntuples(r))
        st = ufi_fail(err, UF_E_FORMAT, "table %s, page %s: %s", PQgetvalue(r, 0, 0),
                      PQgetvalue(r, 0, 1), PQgetvalue(r, 0, 2));
    PQclear(r);
    return st;
}

static void free_buffer(ufi_pg_buffer *b)
{
    if (b->data)
        ufi_wipe(b->data, b->capacity);
    ufi_free(b->data);
}

static void pg_close(ufi_sql *s)
{
    ufi_postgres *p = self(s);
    if (!p)
        return;
    ufi_pg_forget(p);
    ufi_pg_forget_spaces(p);
    PQfinish(p->connection);
    free_buffer(&p->arguments);
    free_buffer(&p->floats);
    ufi_free(p);
}

static const char *pg_warning(ufi_sql *s)
{
    ufi_postgres *p = self(s);
    bool old = p->search > UFI_SEARCH_MEMORY && p->vector_version[0] &&
               version_number(p->vector_version) < OLDEST_SOUND_VECTOR;
    snprintf(p->warning, sizeof p->warning, "%s%s%s%s%s", old ? "pgvector " : "",
             old ? p->vector_version : "",
             old ? " has known faults in HNSW indexes, 0.8.4 or newer is needed" : "",
             old && p->loose ? "; " : "",
             p->loose ? "the server runs with fsync = off, what is acknowledged can be lost" : "");
    return p->warning;
}

static const ufi_sql_vectors search_vectors = {
    .add = ufi_pg_add_vectors,
    .clear = ufi_pg_clear_vectors,
    .count = ufi_pg_count_vectors,
    .search = ufi_pg_search,
};

#define POSTGRES_OPS                                                                   \
    .name = "postgresql", .close = pg_close, .script = pg_script, .run = pg_run,       \
    .begin = pg_begin, .commit = pg_commit, .rollback = pg_rollback,                   \
    .begin_light = pg_begin_light, .begin_read = pg_begin_read, .version = pg_version, \
    .scrub = pg_scrub, .check = pg_check, .warning = pg_warning

static const ufi_sql_ops memory_ops = {POSTGRES_OPS};
static const ufi_sql_ops search_ops = {POSTGRES_OPS, .vectors = &search_vectors};

/* libpq's messages about an address that it does not understand show it, password included. */
static uf_status check_address(const char *address, uf_error *err)
{
    PQconninfoOption *options = PQconninfoParse(address, NULL);
    if (!options)
        return ufi_fail(err, UF_E_ARG,
                        "not an address that PostgreSQL's library understands "
                        "(postgresql://user@host:port/database?name=value)");
    PQconninfoFree(options);
    return UF_OK;
}

uf_status ufi_postgres_open(ufi_sql **out, const char *address, bool read_only, uf_error *err)
{
    *out = NULL;
    char *rest = NULL, seconds[16], why[256];
    if (!late_pq_load(why, sizeof why))
        return ufi_fail(err, UF_E_UNSUPPORTED, "PostgreSQL's library cannot be loaded: %s", why);
    snprintf(seconds, sizeof seconds, "%d", CONNECT_TIMEOUT_S);
    ufi_postgres *p = ufi_calloc(1, sizeof *p);
    if (!p)
        return ufi_fail(err, UF_E_NOMEM, "out of memory");
    p->base.ops = &memory_ops;
    p->read_only = read_only;
    ufi_address_choice choice;
    uf_status st = ufi_address_split(address, &rest, &choice, err);
    snprintf(p->schema, sizeof p->schema, "\"%s\"", choice.schema);
    p->search = choice.search;
    p->partitions = choice.partitions;
    if (!st)
        st = check_address(rest, err);
    if (!st) {
        /* What stands in the address comes last and overrides. */
        const char *names[] = {"connect_timeout", "fallback_application_name", "client_encoding",
                               "dbname", NULL};
        const char *values[] = {seconds, "uniface", "UTF8", rest, NULL};
        p->connection = PQconnectdbParams(names, values, 1);
        st = !p->connection ? ufi_fail(err, UF_E_NOMEM, "out of memory")
             : is_lost(p)   ? ufi_pg_fail(p, NULL, err)
                            : set_up(p, err);
    }
    if (rest)
        ufi_wipe(rest, strlen(rest));
    ufi_free(rest);
    if (st)
        pg_close(&p->base);
    else
        *out = &p->base;
    return st;
}
