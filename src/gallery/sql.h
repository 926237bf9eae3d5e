/*
 * One connection to a relational database, SQLite or PostgreSQL, seen alike: the gallery's
 * statements are written once, with parameters ?1, ?2, ... and in the words that both understand
 * (INSERT ... ON CONFLICT, RETURNING). Only definitions of tables differ (schema.c). Floor 6.
 * Confined: the gallery holds its lock around every call.
 */
#ifndef UFI_GALLERY_SQL_H
#define UFI_GALLERY_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uniface/base.h"

typedef enum ufi_value_type {
    UFI_VALUE_NULL = 0,
    UFI_VALUE_INTEGER,
    UFI_VALUE_REAL,
    UFI_VALUE_TEXT,
    UFI_VALUE_BYTES,
    /* [size] floats; PostgreSQL: halfvec. Not a value of SQLite. */
    UFI_VALUE_VECTOR
} ufi_value_type;

typedef struct ufi_value {
    ufi_value_type type;
    int64_t integer;
    double real;
    const void *data; /* borrowed: text (also NUL-terminated in rows), bytes, floats */
    size_t size;
} ufi_value;

static inline ufi_value ufi_null(void)
{
    return (ufi_value){0};
}
static inline ufi_value ufi_integer(int64_t v)
{
    return (ufi_value){.type = UFI_VALUE_INTEGER, .integer = v};
}
static inline ufi_value ufi_real(double v)
{
    return (ufi_value){.type = UFI_VALUE_REAL, .real = v};
}
ufi_value ufi_text(const char *s); /* NULL becomes UFI_VALUE_NULL */
static inline ufi_value ufi_bytes(const void *p, size_t size)
{
    return (ufi_value){.type = UFI_VALUE_BYTES, .data = p, .size = size};
}

/* Called for each row; values are valid during the call. Returns UF_OK to go on. */
typedef uf_status ufi_row_fn(void *user, const ufi_value *columns, size_t count, uf_error *err);

typedef struct ufi_sql ufi_sql;

/* Vectors that the database keeps and searches by itself (PostgreSQL with pgvector), in galleries
 * without encryption. A vector goes when its row of table "template" does. */
typedef struct ufi_sql_vectors {
    /* Vectors [count][dimension] of templates `keys` of people `groups`. In a transaction. */
    uf_status (*add)(ufi_sql *s, const char *model_id, uint32_t dimension, int64_t collection,
                     const uint64_t *keys, const uint64_t *groups, const float *vectors,
                     size_t count, uf_error *err);
    /* All of a collection, before they are added anew. In a transaction. */
    uf_status (*clear)(ufi_sql *s, const char *model_id, uint32_t dimension, int64_t collection,
                       uf_error *err);
    uf_status (*count)(ufi_sql *s, const char *model_id, uint32_t dimension, int64_t collection,
                       uint64_t *count, uf_error *err);
    /* About the `wanted` nearest to the probe, nearest first and none of them exactly: the caller
     * scores them. Only people `groups` when not NULL. keys[wanted], key_groups[wanted]; fewer than
     * wanted in *count: there are no more. */
    uf_status (*search)(ufi_sql *s, const char *model_id, uint32_t dimension, int64_t collection,
                        const float *probe, const uint64_t *groups, size_t group_count,
                        size_t wanted, uint64_t *keys, uint64_t *key_groups, size_t *count,
                        uf_error *err);
} ufi_sql_vectors;

/* What a database must do. A driver is one file that fills this. */
typedef struct ufi_sql_ops {
    const char *name; /* "sqlite", "postgresql" */
    void (*close)(ufi_sql *s);
    /* Several statements without parameters (definitions of tables). */
    uf_status (*script)(ufi_sql *s, const char *sql, uf_error *err);
    /* One statement; prepared once per text (the pointer, which must stay valid). `row` may be NULL
     * when there are no rows; *changed (may be NULL) is the number of rows changed. Rows are
     * streamed: a million do not pile up. `row` may not call back into `s`. */
    uf_status (*run)(ufi_sql *s, const char *sql, const ufi_value *args, size_t count,
                     ufi_row_fn *row, void *user, int64_t *changed, uf_error *err);
    /* A writing transaction; waits for another writer (busy_timeout), then UF_E_STATE. */
    uf_status (*begin)(ufi_sql *s, uf_error *err);
    /* The same for a transaction whose loss when the power fails is no harm (that of the process
     * loses nothing). */
    uf_status (*begin_light)(ufi_sql *s, uf_error *err);
    /* A reading transaction: one state of the database until `rollback`, whatever others write. */
    uf_status (*begin_read)(ufi_sql *s, uf_error *err);
    uf_status (*commit)(ufi_sql *s, uf_error *err); /* durable when it returns UF_OK */
    void (*rollback)(ufi_sql *s);
    /* A number that differs when another connection has changed the database since. */
    uf_status (*version)(ufi_sql *s, int64_t *out, uf_error *err);
    /* Leaves nothing of deleted rows: log, free pages. `all`: also gives space back (slow). */
    uf_status (*scrub)(ufi_sql *s, bool all, uf_error *err);
    /* The database's own check; UF_E_FORMAT says what is damaged. */
    uf_status (*check)(ufi_sql *s, uf_error *err);
    /* What is not as it should be with the server, for the operator; "" when all is well. Optional.
     */
    const char *(*warning)(ufi_sql *s);
    /* Optional: NULL where this database does not search. */
    const ufi_sql_vectors *vectors;
} ufi_sql_ops;

struct ufi_sql {
    const ufi_sql_ops *ops;
};

/* `name` is a path (SQLite) or a postgresql:// address; `create` makes a missing file. Errors:
 * UF_E_IO, UF_E_NOT_FOUND (no such file, and not to be made), UF_E_FORMAT (no database),
 * UF_E_STATE (in use), UF_E_UNSUPPORTED (this build has no such driver). Messages never show the
 * password of an address. */
uf_status ufi_sql_open(ufi_sql **out, const char *name, bool create, bool read_only, uf_error *err);
uf_status ufi_sqlite_open(ufi_sql **out, const char *path, bool create, bool read_only,
                          uf_error *err);
uf_status ufi_postgres_open(ufi_sql **out, const char *address, bool read_only, uf_error *err);

/* "{1,2,3}": an array, for "= ANY (?1::bigint[])" of PostgreSQL; of ufi_malloc, NULL: no memory. */
char *ufi_sql_array(const uint64_t *numbers, size_t count);
/* A statement without rows; *changed as above. */
uf_status ufi_sql_run(ufi_sql *s, const char *sql, const ufi_value *args, size_t count,
                      int64_t *changed, uf_error *err);
/* A query; no rows are fine. */
uf_status ufi_sql_rows(ufi_sql *s, const char *sql, const ufi_value *args, size_t count,
                       ufi_row_fn *row, void *user, uf_error *err);
/* A query of one row; UF_E_NOT_FOUND when there is none. */
uf_status ufi_sql_one(ufi_sql *s, const char *sql, const ufi_value *args, size_t count,
                      ufi_row_fn *row, void *user, uf_error *err);
/* The first column of the first row, a number; `otherwise` when there is none, or it is NULL. */
uf_status ufi_sql_integer(ufi_sql *s, const char *sql, const ufi_value *args, size_t count,
                          int64_t otherwise, int64_t *out, uf_error *err);

#endif
