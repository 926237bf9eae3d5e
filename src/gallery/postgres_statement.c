/*
 * Statements: prepared once per text, rows streamed (libpq's single-row mode), errors in our words.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/postgres.h"

/* ---- errors ---- */

/* What SQLSTATEs mean to the gallery; the first that fits. */
static const struct {
    const char *prefix;
    uf_status status;
} states[] = {
    {"08", UF_E_IO},             /* connection */
    {"57014", UF_E_STATE},       /* cancelled, statement_timeout */
    {"57", UF_E_IO},             /* shutting down, starting up */
    {"55P03", UF_E_STATE},       /* lock_timeout: another writer */
    {"40", UF_E_STATE},          /* deadlock, serialization */
    {"25006", UF_E_STATE},       /* read-only */
    {"42501", UF_E_STATE},       /* no right to */
    {"22", UF_E_ARG},            /* data */
    {"23", UF_E_MISMATCH},       /* constraint */
    {"3D", UF_E_NOT_FOUND},      /* no such database */
    {"3F", UF_E_NOT_FOUND},      /* no such schema */
    {"42P01", UF_E_FORMAT},      /* no such table */
    {"42703", UF_E_FORMAT},      /* no such column */
    {"42704", UF_E_UNSUPPORTED}, /* no such type: pgvector is not there */
    {"0A", UF_E_UNSUPPORTED},
    {"XX", UF_E_FORMAT}, /* damaged data */
    {"5", UF_E_IO},      /* resources, disk */
};

/* PostgreSQL's message as one line, without the level in front and without a password. */
static void clean_message(ufi_postgres *p, char *out, size_t size, const char *message)
{
    size_t at = 0;
    for (const char *c = message; *c && at + 1 < size; c++) {
        bool space = isspace((unsigned char)*c);
        if (!space || (at && out[at - 1] != ' '))
            out[at++] = space ? ' ' : *c;
    }
    while (at && out[at - 1] == ' ')
        at--;
    out[at] = '\0';
    const char *password = p->connection ? PQpass(p->connection) : NULL;
    size_t length = password ? strlen(password) : 0;
    for (char *c = length ? strstr(out, password) : NULL; c; c = strstr(c, password)) {
        memset(c, '*', length);
        c += length;
    }
}

uf_status ufi_pg_fail(ufi_postgres *p, const PGresult *r, uf_error *err)
{
    const char *state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    const char *message = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *detail = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL) : NULL;
    char line[400], more[200];
    clean_message(p, line, sizeof line, message ? message : PQerrorMessage(p->connection));
    clean_message(p, more, sizeof more, detail ? detail : "");
    if (!line[0])
        snprintf(line, sizeof line, "the connection was lost");
    uf_status status = UF_E_IO;
    for (size_t i = 0; state && i < sizeof states / sizeof *states; i++)
        if (strncmp(state, states[i].prefix, strlen(states[i].prefix)) == 0) {
            status = states[i].status;
            break;
        }
    if (state && strncmp(state, "42", 2) == 0 && status == UF_E_IO)
        status = UF_E_FORMAT; /* the tables are not those that the statement was written for */
    return ufi_fail(err, status, "%s%s%s%s%s%s", line, more[0] ? " (" : "", more,
                    more[0] ? ")" : "", state ? ", SQLSTATE " : "", state ? state : "");
}

uf_status ufi_pg_exec(ufi_postgres *p, const char *sql, PGresult **out, uf_error *err)
{
    PGresult *r = PQexec(p->connection, sql);
    ExecStatusType status = PQresultStatus(r);
    uf_status st =
        status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY
            ? UF_OK
            : ufi_pg_fail(p, r, err);
    if (st || !out)
        PQclear(r);
    else
        *out = r;
    return st;
}

/* ---- prepared statements ---- */

/* The end of what begins with a quote or comment at `c`; `c` itself when nothing does. */
static const char *skip_quoted(const char *c)
{
    if (*c == '\'' || *c == '"') {
        const char *end = strchr(c + 1, *c);
        return end ? end + 1 : c + strlen(c);
    }
    if (c[0] == '-' && c[1] == '-')
        return c + strcspn(c, "\n");
    if (c[0] == '/' && c[1] == '*') {
        const char *end = strstr(c + 2, "*/");
        return end ? end + 2 : c + strlen(c);
    }
    return c;
}

char *ufi_pg_placeholders(const char *sql, int *count)
{
    *count = 0;
    char *copy = ufi_strdup(sql);
    if (!copy)
        return NULL;
    for (char *c = copy; *c;) {
        const char *end = skip_quoted(c);
        if (end != c) {
            c = copy + (end - copy);
            continue;
        }
        if (c[0] == '?' && isdigit((unsigned char)c[1])) {
            int number = 0;
            for (const char *d = c + 1; isdigit((unsigned char)*d) && number < 100000; d++)
                number = number * 10 + (*d - '0');
            *count = number > *count ? number : *count;
            *c = '$';
        }
        c++;
    }
    return copy;
}

/* The slot of a text's address, or the free one where it would go. */
static ufi_pg_statement **slot_of(ufi_pg_statement **slots, size_t count, const char *text)
{
    size_t at = (size_t)(((uintptr_t)text >> 3) * 0x9E3779B97F4A7C15u >> 20) & (count - 1);
    while (slots[at] && slots[at]->text != text)
        at = (at + 1) & (count - 1);
    return &slots[at];
}

static uf_status grow_table(ufi_postgres *p, uf_error *err)
{
    if (p->statement_count * 2 < p->statement_slots)
        return UF_OK;
    size_t count = p->statement_slots ? p->statement_slots * 2 : 64;
    ufi_pg_statement **slots = ufi_calloc(count, sizeof *slots);
    if (!slots)
        return ufi_fail(err, UF_E_NOMEM, "out of memory for %zu statements", count);
    for (size_t i = 0; i < p->statement_slots; i++)
        if (p->statements[i])
            *slot_of(slots, count, p->statements[i]->text) = p->statements[i];
    ufi_free(p->statements);
    p->statements = slots;
    p->statement_slots = count;
    return UF_OK;
}

void ufi_pg_forget(ufi_postgres *p)
{
    for (size_t i = 0; i < p->statement_slots; i++)
        ufi_free(p->statements[i]);
    ufi_free(p->statements);
    p->statements = NULL;
    p->statement_count = p->statement_slots = 0;
}

/* The server finds the types of parameters by itself, except where nothing tells ("SELECT ?1"):
 * then those of the first values are taken. */
static PGresult *prepare(ufi_postgres *p, const char *name, const char *sql, const ufi_value *args,
                         int count)
{
    static const Oid of_value[] = {
        [UFI_VALUE_NULL] = 0,
        [UFI_VALUE_INTEGER] = UFI_PG_INT8,
        [UFI_VALUE_REAL] = UFI_PG_FLOAT8,
        [UFI_VALUE_TEXT] = UFI_PG_TEXT,
        [UFI_VALUE_BYTES] = UFI_PG_BYTEA,
    };
    if (p->in_transaction) /* which a failure would end */
        PQclear(PQexec(p->connection, "SAVEPOINT uf"));
    PGresult *r = PQprepare(p->connection, name, sql, 0, NULL);
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    bool unknown = state && strcmp(state, "42P18") == 0;
    if (p->in_transaction && (unknown || !state))
        PQclear(PQexec(p->connection, unknown ? "ROLLBACK TO uf; RELEASE uf" : "RELEASE uf"));
    if (!unknown)
        return r;
    PQclear(r);
    Oid types[UFI_PG_MAX_ARGS];
    for (int i = 0; i < count; i++)
        types[i] = args[i].type == UFI_VALUE_VECTOR ? p->halfvec_type : of_value[args[i].type];
    return PQprepare(p->connection, name, sql, count, types);
}

static uf_status prepare_statement(ufi_postgres *p, ufi_pg_statement *s, const ufi_value *args,
                                   size_t given, uf_error *err)
{
    uf_status st = UF_OK;
    PGresult *r = NULL;
    char name[24];
    snprintf(name, sizeof name, "uf%u", s->number);
    char *sql = ufi_pg_placeholders(s->text, &s->count);
    if (!sql)
        return ufi_fail(err, UF_E_NOMEM, "out of memory for a statement");
    if (s->count > UFI_PG_MAX_ARGS || (size_t)s->count != given) {
        st = ufi_fail(err, UF_E_ARG, "a statement with %d parameters got %zu", s->count, given);
        goto cleanup;
    }
    r = prepare(p, name, sql, args, s->count);
    if (PQresultStatus(r) != PGRES_COMMAND_OK) {
        st = ufi_pg_fail(p, r, err);
        goto cleanup;
    }
    PQclear(r);
    r = PQdescribePrepared(p->connection, name);
    if (PQresultStatus(r) != PGRES_COMMAND_OK || PQnparams(r) != s->count) {
        st = ufi_pg_fail(p, r, err);
        goto cleanup;
    }
    if (PQnfields(r) > UFI_PG_MAX_COLUMNS)
        st = ufi_fail(err, UF_E_LIMIT, "a result of %d columns", PQnfields(r));
    for (int i = 0; i < s->count; i++)
        s->types[i] = PQparamtype(r, i);
cleanup:
    PQclear(r);
    ufi_free(sql);
    return st;
}

static uf_status find_statement(ufi_postgres *p, const char *sql, const ufi_value *args,
                                size_t given, ufi_pg_statement **out, uf_error *err)
{
    uf_status st = grow_table(p, err);
    if (st)
        return st;
    ufi_pg_statement **slot = slot_of(p->statements, p->statement_slots, sql);
    if (!*slot) {
        ufi_pg_statement *s = ufi_calloc(1, sizeof *s);
        if (!s)
            return ufi_fail(err, UF_E_NOMEM, "out of memory for a statement");
        s->text = sql;
        s->number = p->next_number++;
        st = prepare_statement(p, s, args, given, err);
        if (st) {
            ufi_free(s);
            return st;
        }
        *slot = s;
        p->statement_count++;
    }
    *out = *slot;
    if ((size_t)(*slot)->count != given)
        return ufi_fail(err, UF_E_ARG, "a statement with %d parameters got %zu", (*slot)->count,
                        given);
    return UF_OK;
}

/* ---- running ---- */

/* Ends a statement whose rows nobody wants any more. Inside a transaction the rows are read to
 * their end instead: a cancelled statement would end the transaction. */
static void stop_rows(ufi_postgres *p)
{
    char ignored[256];
    PGcancel *cancel = p->in_transaction ? NULL : PQgetCancel(p->connection);
    if (cancel)
        PQcancel(cancel, ignored, sizeof ignored);
    PQfreeCancel(cancel);
}

static uf_status take_rows(ufi_postgres *p, const PGresult *r, ufi_row_fn *row, void *user,
                           uint64_t *delivered, uf_error *err)
{
    ufi_value columns[UFI_PG_MAX_COLUMNS];
    uf_status st = UF_OK;
    for (int i = 0; i < PQntuples(r) && !st; i++) {
        st = ufi_pg_decode(p, r, i, columns, err);
        if (!st) {
            ++*delivered;
            st = row(user, columns, (size_t)PQnfields(r), err);
        }
    }
    return st;
}

uf_status ufi_pg_once(ufi_postgres *p, const char *sql, const ufi_value *args, size_t count,
                      ufi_row_fn *row, void *user, int64_t *changed, uint64_t *delivered,
                      uf_error *err)
{
    ufi_pg_statement *s = NULL;
    ufi_pg_arguments a;
    uf_status st = find_statement(p, sql, args, count, &s, err);
    if (!st)
        st = ufi_pg_encode(p, s, args, &a, err);
    if (st)
        return st;
    char name[24];
    snprintf(name, sizeof name, "uf%u", s->number);
    if (!PQsendQueryPrepared(p->connection, name, s->count, a.values, a.lengths, a.formats, 1))
        return ufi_pg_fail(p, NULL, err);
    if (row)
        PQsetSingleRowMode(p->connection);
    PGresult *r;
    while ((r = PQgetResult(p->connection))) {
        ExecStatusType status = PQresultStatus(r);
        if (status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK &&
            status != PGRES_COMMAND_OK) {
            if (!st)
                st = ufi_pg_fail(p, r, err);
        } else if (!st) {
            if (row)
                st = take_rows(p, r, row, user, delivered, err);
            if (changed && status != PGRES_SINGLE_TUPLE)
                *changed = strtoll(PQcmdTuples(r), NULL, 10);
            if (st)
                stop_rows(p);
        }
        PQclear(r);
    }
    return st;
}
