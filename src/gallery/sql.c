/* Which database a gallery's name means, and the two ways to run a statement. */
#include "gallery/sql.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"

ufi_value ufi_text(const char *s)
{
    if (!s)
        return ufi_null();
    return (ufi_value){.type = UFI_VALUE_TEXT, .data = s, .size = strlen(s)};
}

char *ufi_sql_array(const uint64_t *numbers, size_t count)
{
    enum { DIGITS = 21 }; /* with the comma */
    size_t at = 1;
    char *text = ufi_malloc(count + 1, DIGITS);
    if (!text)
        return NULL;
    text[0] = '{';
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(text + at, DIGITS + 1, "%s%llu", i ? "," : "",
                               (unsigned long long)numbers[i]);
    text[at++] = '}';
    text[at] = '\0';
    return text;
}

uf_status ufi_sql_open(ufi_sql **out, const char *name, bool create, bool read_only, uf_error *err)
{
    *out = NULL;
    if (strncmp(name, "postgresql://", 13) == 0 || strncmp(name, "postgres://", 11) == 0) {
#ifdef UFI_WITH_POSTGRES
        return ufi_postgres_open(out, name, read_only, err);
#else
        return ufi_fail(err, UF_E_UNSUPPORTED, "this build has no PostgreSQL (libpq was missing)");
#endif
    }
    return ufi_sqlite_open(out, name, create, read_only, err);
}

uf_status ufi_sql_run(ufi_sql *s, const char *sql, const ufi_value *args, size_t count,
                      int64_t *changed, uf_error *err)
{
    return s->ops->run(s, sql, args, count, NULL, NULL, changed, err);
}

uf_status ufi_sql_rows(ufi_sql *s, const char *sql, const ufi_value *args, size_t count,
                       ufi_row_fn *row, void *user, uf_error *err)
{
    return s->ops->run(s, sql, args, count, row, user, NULL, err);
}

typedef struct counted_rows {
    ufi_row_fn *row;
    void *user;
    uint64_t count;
} counted_rows;

static uf_status count_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    counted_rows *c = user;
    c->count++;
    return c->row ? c->row(c->user, columns, count, err) : UF_OK;
}

uf_status ufi_sql_one(ufi_sql *s, const char *sql, const ufi_value *args, size_t count,
                      ufi_row_fn *row, void *user, uf_error *err)
{
    counted_rows c = {row, user, 0};
    uf_status st = s->ops->run(s, sql, args, count, count_row, &c, NULL, err);
    if (!st && c.count == 0)
        return ufi_fail(err, UF_E_NOT_FOUND, "no such record");
    return st;
}

static uf_status integer_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    if (count > 0 && columns[0].type == UFI_VALUE_INTEGER)
        *(int64_t *)user = columns[0].integer;
    return UF_OK;
}

uf_status ufi_sql_integer(ufi_sql *s, const char *sql, const ufi_value *args, size_t count,
                          int64_t otherwise, int64_t *out, uf_error *err)
{
    *out = otherwise;
    return s->ops->run(s, sql, args, count, integer_row, out, NULL, err);
}
