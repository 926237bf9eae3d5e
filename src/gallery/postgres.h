/*
 * PostgreSQL by libpq: what the files of the driver share. postgres.c is the connection and its
 * transactions, postgres_statement.c runs statements, postgres_value.c turns values into libpq's
 * and back, postgres_search.c lets pgvector search. Floor 6. Confined.
 */
#ifndef UFI_GALLERY_POSTGRES_H
#define UFI_GALLERY_POSTGRES_H

#include "gallery/address.h"
#include "gallery/sql.h"
#include "late_pq.h" /* libpq-fe.h */

enum {
    UFI_PG_MAX_ARGS = 64,
    UFI_PG_MAX_COLUMNS = 64,
    UFI_PG_PARTITIONS = 4, /* when nothing is said */
};

/* Types of PostgreSQL by their fixed numbers (catalog/pg_type.dat). */
enum {
    UFI_PG_BOOL = 16,
    UFI_PG_BYTEA = 17,
    UFI_PG_TYPE_NAME = 19,
    UFI_PG_INT8 = 20,
    UFI_PG_INT2 = 21,
    UFI_PG_INT4 = 23,
    UFI_PG_TEXT = 25,
    UFI_PG_OID = 26,
    UFI_PG_JSON = 114,
    UFI_PG_FLOAT4 = 700,
    UFI_PG_FLOAT8 = 701,
    UFI_PG_UNKNOWN = 705,
    UFI_PG_BPCHAR = 1042,
    UFI_PG_VARCHAR = 1043,
    UFI_PG_NUMERIC = 1700,
    UFI_PG_JSONB = 3802
};

/* Memory that grows and is used again. */
typedef struct ufi_pg_buffer {
    uint8_t *data;
    size_t size, capacity;
} ufi_pg_buffer;

/* Prepared under the name "uf<number>". */
typedef struct ufi_pg_statement {
    const char *text; /* NULL: a free slot of the table */
    uint32_t number;
    int count;
    Oid types[UFI_PG_MAX_ARGS];
} ufi_pg_statement;

typedef struct ufi_pg_space ufi_pg_space; /* the vectors of one model: postgres_search.c */
/* Among whom: all, and all compared one by one; few people (one by one), many people. */
typedef enum ufi_pg_reach { UFI_PG_ALL, UFI_PG_EXACT, UFI_PG_FEW, UFI_PG_MANY } ufi_pg_reach;

typedef struct ufi_postgres {
    ufi_sql base;
    PGconn *connection;
    char schema[UFI_SCHEMA_NAME + 2]; /* of this gallery, in quotes: it may be a keyword */
    ufi_search_kind search;
    int partitions;
    ufi_pg_space *spaces;
    bool sorts_abroad;                       /* this session leaves sorting to foreign servers */
    char vector_schema[2 * UFI_SCHEMA_NAME]; /* of pgvector, quoted where needed */
    char vector_version[32];                 /* of pgvector; "": not installed in this database */
    Oid vector_type, halfvec_type;           /* 0: not there */
    bool loose;                              /* the server runs without fsync */
    char warning[256];
    bool read_only;
    bool in_transaction;
    int64_t own_commits;
    ufi_pg_statement **statements; /* open addressing by the text's address */
    size_t statement_count, statement_slots;
    uint32_t next_number;
    ufi_pg_buffer arguments, floats;
} ufi_postgres;

/* ---- postgres.c ---- */

/* What the session needs to know of the database and of pgvector in it. */
uf_status ufi_pg_look_around(ufi_postgres *p, uf_error *err);
/* After a failure: true when the connection had been lost outside of a transaction and is there
 * again, so that it makes sense to try once more. */
bool ufi_pg_revive(ufi_postgres *p, uf_error *err);

/* ---- postgres_value.c ---- */

/* Room for `size` more bytes at the buffer's end. */
uf_status ufi_pg_reserve(ufi_pg_buffer *b, size_t size, uf_error *err);
typedef struct ufi_pg_arguments {
    const char *values[UFI_PG_MAX_ARGS];
    int lengths[UFI_PG_MAX_ARGS], formats[UFI_PG_MAX_ARGS];
} ufi_pg_arguments;
/* `out` points into `p->arguments` and into the values themselves. */
uf_status ufi_pg_encode(ufi_postgres *p, const ufi_pg_statement *s, const ufi_value *args,
                        ufi_pg_arguments *out, uf_error *err);
/* One row of a binary result; valid until the next call or the result's end. */
uf_status ufi_pg_decode(ufi_postgres *p, const PGresult *r, int row,
                        ufi_value columns[UFI_PG_MAX_COLUMNS], uf_error *err);

/* ---- postgres_search.c ---- */

/* Once, when the tables are made: pgvector must be there. */
uf_status ufi_pg_prepare_search(ufi_postgres *p, uf_error *err);
/* After the tables of records were made: vectors go with their records. */
uf_status ufi_pg_follow_deletions(ufi_postgres *p, uf_error *err);
/* ufi_sql_vectors. */
uf_status ufi_pg_add_vectors(ufi_sql *s, const char *model_id, uint32_t dimension,
                             int64_t collection, const uint64_t *keys, const uint64_t *groups,
                             const float *vectors, size_t count, uf_error *err);
uf_status ufi_pg_clear_vectors(ufi_sql *s, const char *model_id, uint32_t dimension,
                               int64_t collection, uf_error *err);
uf_status ufi_pg_count_vectors(ufi_sql *s, const char *model_id, uint32_t dimension,
                               int64_t collection, uint64_t *count, uf_error *err);
uf_status ufi_pg_search(ufi_sql *s, const char *model_id, uint32_t dimension, int64_t collection,
                        const float *probe, const uint64_t *groups, size_t group_count,
                        size_t wanted, uint64_t *keys, uint64_t *key_groups, size_t *count,
                        uf_error *err);
/* The statement of a search, for EXPLAIN; NULL when the model has no table. */
uf_status ufi_pg_search_text(ufi_postgres *p, const char *model_id, uint32_t dimension,
                             ufi_pg_reach reach, size_t wanted, const char **sql, uf_error *err);
/* After a rollback, which may have taken tables along; at the end. */
void ufi_pg_doubt_spaces(ufi_postgres *p);
void ufi_pg_forget_spaces(ufi_postgres *p);

/* ---- postgres_statement.c ---- */

/* "?1" outside of quotes and comments becomes "$1"; of ufi_malloc. *count: the largest number. */
char *ufi_pg_placeholders(const char *sql, int *count);
void ufi_pg_forget(ufi_postgres *p); /* all prepared statements (the connection is a new one) */
/* ufi_sql_ops.run without the second try. *delivered: rows given to `row`. */
uf_status ufi_pg_once(ufi_postgres *p, const char *sql, const ufi_value *args, size_t count,
                      ufi_row_fn *row, void *user, int64_t *changed, uint64_t *delivered,
                      uf_error *err);
/* Fills `err` from a failed result (NULL: from the connection). */
uf_status ufi_pg_fail(ufi_postgres *p, const PGresult *r, uf_error *err);
/* Statements without parameters, of which only the last may give rows; *out (may be NULL) gets its
 * result. */
uf_status ufi_pg_exec(ufi_postgres *p, const char *sql, PGresult **out, uf_error *err);

#endif
