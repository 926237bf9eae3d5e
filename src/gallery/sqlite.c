/*
 * SQLite behind ufi_sql_ops.
 *
 * Write-ahead log with synchronous=FULL: a commit is one sync of the log. secure_delete overwrites
 * freed cells and pages with zeros, pages.c checks and clears pages. Space is given back by
 * incremental vacuum, since VACUUM would copy all of it through memory or a temporary file.
 *
 * A file is made under another name and linked into place when it is a database, so that an empty
 * file is never one of ours that somebody was about to fill: it is one that lost its content.
 */
#include "gallery/sql.h"

#include "base/status.h"

#ifdef UFI_WITH_SQLITE

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/seal.h"
#include "gallery/pages.h"
#include "gallery/stale_log.h"

#define APPLICATION_ID 0x55464741 /* "UFGA" */
#define BUSY_TIMEOUT_MS 10000
#define MERGED_FRAMES 1000 /* of the log; SQLite's own default */

enum { STATEMENTS_MAX = 256, COLUMNS_MAX = 32 }; /* the former a power of two */

typedef struct sqlite_statement {
    const char *sql; /* the pointer is the key */
    sqlite3_stmt *stmt;
} sqlite_statement;

typedef struct sqlite_sql {
    ufi_sql base;
    sqlite3 *db;
    sqlite_statement statements[STATEMENTS_MAX];
    size_t statement_count;
    bool light;      /* the transaction that is open need not outlive a power failure */
    bool is_marked;  /* the log is known to have a user_version of its own */
    int64_t version; /* of the data, when it was */
} sqlite_sql;

static uf_status sqlite_fail(sqlite3 *db, int rc, uf_error *err)
{
    const char *text = db && rc != SQLITE_NOMEM ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    if (rc == SQLITE_IOERR_DATA)
        return ufi_fail(err, UF_E_FORMAT,
                        "damaged, or no gallery: the checksum of a page is wrong");
    switch (rc & 0xFF) {
    case SQLITE_NOMEM:
        return ufi_fail(err, UF_E_NOMEM, "no memory for the database");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ufi_fail(err, UF_E_STATE, "in use by another process: %s", text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ufi_fail(err, UF_E_FORMAT, "damaged, or no gallery: %s", text);
    case SQLITE_FULL:
        return ufi_fail(err, UF_E_IO, "cannot write: no space left on the disk");
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return ufi_fail(err, UF_E_IO, "cannot read or write: %s (%d)", text, rc);
    default:
        return ufi_fail(err, UF_E_STATE, "database: %s (%d)", text, rc);
    }
}

/* ---- statements ---- */

static uf_status statement_of(sqlite_sql *s, const char *sql, sqlite3_stmt **out, uf_error *err)
{
    size_t at = ((uintptr_t)sql >> 3) * 0x9E3779B1u % STATEMENTS_MAX;
    while (s->statements[at].sql && s->statements[at].sql != sql)
        at = (at + 1) % STATEMENTS_MAX;
    *out = s->statements[at].stmt;
    if (*out)
        return UF_OK;
    if (s->statement_count + 1 >= STATEMENTS_MAX)
        return ufi_fail(err, UF_E_LIMIT, "more than %d statements", STATEMENTS_MAX);
    int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    if (rc != SQLITE_OK)
        return sqlite_fail(s->db, rc, err);
    s->statements[at] = (sqlite_statement){sql, *out};
    s->statement_count++;
    return UF_OK;
}

static int bind_value(sqlite3_stmt *stmt, int number, const ufi_value *v)
{
    switch (v->type) {
    case UFI_VALUE_INTEGER:
        return sqlite3_bind_int64(stmt, number, v->integer);
    case UFI_VALUE_REAL:
        return sqlite3_bind_double(stmt, number, v->real);
    case UFI_VALUE_TEXT:
        return sqlite3_bind_text64(stmt, number, v->data, v->size, SQLITE_STATIC, SQLITE_UTF8);
    case UFI_VALUE_BYTES:
        return sqlite3_bind_blob64(stmt, number, v->size ? v->data : "", v->size, SQLITE_STATIC);
    case UFI_VALUE_VECTOR:
        return SQLITE_MISMATCH;
    case UFI_VALUE_NULL:
        break;
    }
    return sqlite3_bind_null(stmt, number);
}

static ufi_value column_value(sqlite3_stmt *stmt, int number)
{
    switch (sqlite3_column_type(stmt, number)) {
    case SQLITE_INTEGER:
        return ufi_integer(sqlite3_column_int64(stmt, number));
    case SQLITE_FLOAT:
        return ufi_real(sqlite3_column_double(stmt, number));
    case SQLITE_TEXT: {
        const void *text = sqlite3_column_text(stmt, number);
        return (ufi_value){.type = UFI_VALUE_TEXT,
                           .data = text,
                           .size = (size_t)sqlite3_column_bytes(stmt, number)};
    }
    case SQLITE_BLOB: {
        const void *bytes = sqlite3_column_blob(stmt, number);
        return ufi_bytes(bytes, (size_t)sqlite3_column_bytes(stmt, number));
    }
    default:
        return ufi_null();
    }
}

static uf_status give_rows(sqlite_sql *s, sqlite3_stmt *stmt, ufi_row_fn *row, void *user,
                           uf_error *err)
{
    ufi_value columns[COLUMNS_MAX];
    int rc, count = sqlite3_column_count(stmt);
    if (count > COLUMNS_MAX)
        return ufi_fail(err, UF_E_LIMIT, "more than %d columns", COLUMNS_MAX);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        for (int i = 0; i < count; i++) {
            columns[i] = column_value(stmt, i);
            /* Text and bytes are NULL where SQLite had no memory to bring them into one piece. */
            if ((columns[i].type == UFI_VALUE_TEXT || columns[i].size > 0) && !columns[i].data)
                return sqlite_fail(s->db, SQLITE_NOMEM, err);
        }
        uf_status st = row ? row(user, columns, (size_t)count, err) : UF_OK;
        if (st)
            return st;
    }
    return rc == SQLITE_DONE ? UF_OK : sqlite_fail(s->db, rc, err);
}

static uf_status sqlite_run(ufi_sql *base, const char *sql, const ufi_value *args, size_t count,
                            ufi_row_fn *row, void *user, int64_t *changed, uf_error *err)
{
    sqlite_sql *s = (sqlite_sql *)base;
    sqlite3_stmt *stmt;
    int rc = SQLITE_OK;
    uf_status st = statement_of(s, sql, &stmt, err);
    if (st)
        return st;
    for (size_t i = 0; i < count && rc == SQLITE_OK; i++)
        rc = bind_value(stmt, (int)i + 1, &args[i]);
    st = rc == SQLITE_OK ? give_rows(s, stmt, row, user, err) : sqlite_fail(s->db, rc, err);
    if (!st && changed)
        *changed = sqlite3_changes(s->db);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return st;
}

static uf_status sqlite_script(ufi_sql *base, const char *sql, uf_error *err)
{
    sqlite_sql *s = (sqlite_sql *)base;
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? UF_OK : sqlite_fail(s->db, sqlite3_extended_errcode(s->db), err);
}

/* ---- transactions ---- */

/* Merges a long log, as SQLite does by itself where nobody asks; it may begin anew then. */
static int on_commit(void *user, sqlite3 *db, const char *name, int frames)
{
    if (frames >= MERGED_FRAMES) {
        sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        ((sqlite_sql *)user)->is_marked = false;
    }
    return SQLITE_OK;
}

static uf_status sqlite_version(ufi_sql *base, int64_t *out, uf_error *err)
{
    return ufi_sql_integer(base, "PRAGMA data_version", NULL, 0, 0, out, err);
}

/* The first transaction of a log writes a new user_version (stale_log.c); so does one before which
 * somebody else wrote, who may have merged the log. */
static uf_status mark_log(sqlite_sql *s, uf_error *err)
{
    int64_t now, number;
    uint32_t random;
    char text[48];
    uf_status st = sqlite_version(&s->base, &now, err);
    if (st || (s->is_marked && now == s->version))
        return st;
    st = ufi_sql_integer(&s->base, "PRAGMA user_version", NULL, 0, 0, &number, err);
    if (!st)
        st = ufi_random(&random, sizeof random, err);
    if (st)
        return st;
    snprintf(text, sizeof text, "PRAGMA user_version=%d",
             (int)ufi_log_number(random, (uint32_t)number));
    st = sqlite_script(&s->base, text, err);
    s->is_marked = !st;
    s->version = now;
    return st;
}

/* What is written to a file that has no name any more is lost with the process. */
static uf_status sqlite_begin(ufi_sql *base, uf_error *err)
{
    int has_moved = 0;
    sqlite3_file_control(((sqlite_sql *)base)->db, "main", SQLITE_FCNTL_HAS_MOVED, &has_moved);
    if (has_moved)
        return ufi_fail(err, UF_E_IO,
                        "the file was moved, replaced or removed while it was open, so nothing is "
                        "written: put it back, or open what is there now");
    uf_status st = sqlite_run(base, "BEGIN IMMEDIATE", NULL, 0, NULL, NULL, NULL, err);
    if (!st) {
        st = mark_log((sqlite_sql *)base, err);
        if (st)
            base->ops->rollback(base);
    }
    return st;
}

static uf_status sqlite_begin_light(ufi_sql *base, uf_error *err)
{
    sqlite_sql *s = (sqlite_sql *)base;
    /* Takes effect when it is prepared: not a statement to keep. */
    uf_status st = sqlite_script(base, "PRAGMA synchronous=NORMAL", err);
    s->light = true;
    if (!st)
        st = sqlite_begin(base, err);
    if (st)
        base->ops->rollback(base);
    return st;
}

/* The state is fixed by the first statement that reads. */
static uf_status sqlite_begin_read(ufi_sql *base, uf_error *err)
{
    return sqlite_run(base, "BEGIN DEFERRED", NULL, 0, NULL, NULL, NULL, err);
}

static uf_status sqlite_end_light(sqlite_sql *s, uf_error *err)
{
    if (!s->light)
        return UF_OK;
    s->light = false;
    return sqlite_script(&s->base, "PRAGMA synchronous=FULL", err);
}

static void sqlite_rollback(ufi_sql *base)
{
    sqlite_sql *s = (sqlite_sql *)base;
    s->is_marked = false;
    /* SQLite has rolled back by itself after some errors (disk full, no memory). */
    if (!sqlite3_get_autocommit(s->db))
        sqlite_run(base, "ROLLBACK", NULL, 0, NULL, NULL, NULL, NULL);
    sqlite_end_light(s, NULL);
}

static uf_status sqlite_commit(ufi_sql *base, uf_error *err)
{
    uf_status st = sqlite_run(base, "COMMIT", NULL, 0, NULL, NULL, NULL, err);
    if (st) {
        sqlite_rollback(base);
        return st;
    }
    return sqlite_end_light((sqlite_sql *)base, err);
}

/* ---- upkeep ---- */

static uf_status sqlite_scrub(ufi_sql *base, bool all, uf_error *err)
{
    sqlite_sql *s = (sqlite_sql *)base;
    uf_status st = UF_OK;
    int64_t busy = 0;
    if (all)
        st = sqlite_script(base, "PRAGMA incremental_vacuum", err);
    s->is_marked = false;
    if (!st)
        st = ufi_sql_integer(base, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, 0, 0, &busy, err);
    if (!st && busy)
        return sqlite_fail(s->db, SQLITE_BUSY, err);
    return st;
}

static uf_status check_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    if (columns[0].type == UFI_VALUE_TEXT && strcmp(columns[0].data, "ok") == 0)
        return UF_OK;
    return ufi_fail(err, UF_E_FORMAT, "damaged: %s",
                    columns[0].type == UFI_VALUE_TEXT ? (const char *)columns[0].data : "unknown");
}

static uf_status orphan_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    return ufi_fail(err, UF_E_FORMAT, "damaged: a row of table %s belongs to nothing",
                    columns[0].type == UFI_VALUE_TEXT ? (const char *)columns[0].data : "?");
}

static uf_status sqlite_check(ufi_sql *base, uf_error *err)
{
    uf_status st = ufi_sql_rows(base, "PRAGMA integrity_check(1)", NULL, 0, check_row, NULL, err);
    if (!st)
        st = ufi_sql_rows(base, "PRAGMA foreign_key_check", NULL, 0, orphan_row, NULL, err);
    return st;
}

static void sqlite_close(ufi_sql *base)
{
    sqlite_sql *s = (sqlite_sql *)base;
    if (!s)
        return;
    for (size_t i = 0; i < STATEMENTS_MAX; i++)
        sqlite3_finalize(s->statements[i].stmt);
    sqlite3_close(s->db);
    ufi_free(s);
}

static const ufi_sql_ops sqlite_ops = {
    .name = "sqlite",
    .close = sqlite_close,
    .script = sqlite_script,
    .run = sqlite_run,
    .begin = sqlite_begin,
    .begin_light = sqlite_begin_light,
    .begin_read = sqlite_begin_read,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .version = sqlite_version,
    .scrub = sqlite_scrub,
    .check = sqlite_check,
};

/* ---- opening ---- */

/* "./" before a relative path: ":memory:" and "file:" are files like others. */
static char *plain_path(const char *path)
{
    size_t size = strlen(path) + 3;
    char *out = ufi_malloc(size, 1);
    if (out)
        snprintf(out, size, "%s%s", path[0] == '/' ? "" : "./", path);
    return out;
}

/* The path as a URI that says that nobody writes the file. */
static char *immutable_uri(const char *path)
{
    static const char head[] = "file:", tail[] = "?immutable=1";
    char *out = ufi_malloc(strlen(path) + 8, 3), *p = out;
    if (!out)
        return NULL;
    p += sprintf(p, "%s", head);
    for (const char *s = path; *s; s++)
        p += strchr("?#%", *s) ? sprintf(p, "%%%02X", (unsigned)*s) : sprintf(p, "%c", *s);
    memcpy(p, tail, sizeof tail);
    return out;
}

static uf_status open_connection(sqlite_sql **out, const char *file, int flags, uf_error *err)
{
    const char *vfs = ufi_pages_vfs();
    sqlite_sql *s = ufi_calloc(1, sizeof *s);
    *out = NULL;
    if (!s || !vfs) {
        ufi_free(s);
        return ufi_fail(err, UF_E_NOMEM, "no memory for a database connection");
    }
    s->base.ops = &sqlite_ops;
    int rc = sqlite3_open_v2(file, &s->db, flags | SQLITE_OPEN_NOMUTEX, vfs);
    if (rc != SQLITE_OK) {
        uf_status st = sqlite_fail(s->db, s->db ? sqlite3_extended_errcode(s->db) : rc, err);
        sqlite_close(&s->base);
        return st;
    }
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    sqlite3_wal_hook(s->db, on_commit, s);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    *out = s;
    return UF_OK;
}

/* Settings of a connection, and a first look at the file. */
static uf_status settle(sqlite_sql *s, uf_error *err)
{
    int64_t id;
    uf_status st = sqlite_script(&s->base,
                                 "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                                 "PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;"
                                 "PRAGMA cache_size=-16000; PRAGMA cell_size_check=ON;"
                                 "PRAGMA trusted_schema=OFF;",
                                 err);
    if (!st)
        st = ufi_sql_integer(&s->base, "PRAGMA application_id", NULL, 0, 0, &id, err);
    if (!st && id != APPLICATION_ID)
        return ufi_fail(err, UF_E_FORMAT, "an SQLite database, but no gallery");
    /* The name and the count of tables read the log too, which a damaged or missing one fails. */
    if (!st)
        st = ufi_sql_integer(&s->base, "SELECT count(*) FROM sqlite_schema", NULL, 0, 0, &id, err);
    return st;
}

static uf_status make_database(const char *temporary, uint32_t random, uf_error *err)
{
    sqlite_sql *s;
    int reserved = UFI_PAGE_RESERVED;
    char text[160];
    /* Made here for its mode: people's data is nobody else's. The log takes the same mode. */
    int fd = open(temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return ufi_fail(err, UF_E_IO, "cannot create: %s", strerror(errno));
    close(fd);
    uf_status st = open_connection(&s, temporary, SQLITE_OPEN_READWRITE, err);
    if (st)
        return st;
    sqlite3_file_control(s->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
    snprintf(text, sizeof text,
             "PRAGMA page_size=%d; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"
             "PRAGMA application_id=%d; PRAGMA user_version=%d",
             UFI_PAGE_BYTES, APPLICATION_ID, (int)ufi_log_number(random, 0));
    st = sqlite_script(&s->base, text, err);
    if (!st)
        st = sqlite_scrub(&s->base, false, err);
    sqlite_close(&s->base);
    return st;
}

static void sync_parent(const char *file)
{
    char *folder = ufi_strdup(file);
    if (!folder)
        return;
    strrchr(folder, '/')[1] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    ufi_free(folder);
}

static uf_status create_file(const char *file, uf_error *err)
{
    uint32_t random;
    size_t size = strlen(file) + 32;
    uf_status st = ufi_random(&random, sizeof random, err);
    char *temporary = st ? NULL : ufi_malloc(size, 2), *log = temporary ? temporary + size : NULL;
    if (st)
        return st;
    if (!temporary)
        return ufi_fail(err, UF_E_NOMEM, "no memory to make the gallery");
    snprintf(temporary, size, "%s.new-%08x", file, random);
    st = make_database(temporary, random, err);
    /* A link, unlike a rename, never takes the place of a gallery that was made meanwhile. */
    if (!st && link(temporary, file) != 0 && errno != EEXIST &&
        (errno == ENOENT || rename(temporary, file) != 0))
        st = ufi_fail(err, UF_E_IO, "cannot create: %s", strerror(errno));
    unlink(temporary);
    static const char *const logs[] = {"wal", "shm", "journal"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(log, size, "%s.new-%08x-%s", file, random, logs[i]);
        unlink(log);
    }
    sync_parent(file);
    ufi_free(temporary);
    return st;
}

/* The user_version that the file has without its log. */
static uf_status version_of(const char *file, uint32_t *version)
{
    sqlite_sql *s = NULL;
    int64_t number = 0;
    char *uri = immutable_uri(file);
    uf_status st =
        uri ? open_connection(&s, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) : UF_E_NOMEM;
    if (!st)
        st = ufi_sql_integer(&s->base, "PRAGMA user_version", NULL, 0, 0, &number, NULL);
    if (s)
        sqlite_close(&s->base);
    ufi_free(uri);
    *version = (uint32_t)number;
    return st;
}

/* A log that lies beside the file must be its own. */
static uf_status check_log(const char *file, uf_error *err)
{
    struct stat info;
    const size_t size = strlen(file) + 5;
    uint32_t version;
    uint8_t header[UFI_LOG_HEADER_BYTES];
    char *log = ufi_malloc(size, 1);
    uf_status st = UF_OK;
    if (!log)
        return ufi_fail(err, UF_E_NOMEM, "no memory to open the gallery");
    snprintf(log, size, "%s-wal", file);
    const bool is_there = ufi_log_look(log, header);
    if (is_there && stat(file, &info) != 0)
        st = ufi_fail(err, UF_E_STATE,
                      "the log %s is there, and its gallery is not: put the gallery back, or "
                      "remove the log to make a new one",
                      log);
    else if (is_there && !version_of(file, &version) && ufi_log_is_foreign(log, header, version))
        st =
            ufi_fail(err, UF_E_STATE,
                     "the log %s is of another gallery, or of another state of this one, and would "
                     "be written over it: remove it (or put its gallery back)",
                     log);
    ufi_free(log);
    return st;
}

static uf_status look_at_file(const char *file, bool create, uf_error *err)
{
    struct stat info;
    if (stat(file, &info) != 0) {
        if (errno != ENOENT)
            return ufi_fail(err, UF_E_IO, "cannot open: %s", strerror(errno));
        if (!create)
            return ufi_fail(err, UF_E_NOT_FOUND, "no such gallery");
        const uf_status st = check_log(file, err);
        return st ? st : create_file(file, err);
    }
    if (!S_ISREG(info.st_mode))
        return ufi_fail(err, UF_E_IO, "not a regular file");
    if (info.st_size == 0)
        return ufi_fail(err, UF_E_FORMAT,
                        "the file is empty: no gallery (remove it to make a new one)");
    return check_log(file, err);
}

/* A medium that cannot be written has no place for the log's shared memory: where there is no log,
 * the file is read as one that never changes. */
static uf_status open_immutable(sqlite_sql **out, const char *file, uf_error *err)
{
    struct stat info;
    size_t size = strlen(file) + 5;
    char *log = ufi_malloc(size, 1), *uri = immutable_uri(file);
    uf_status st = UF_OK;
    if (!log || !uri) {
        st = ufi_fail(err, UF_E_NOMEM, "no memory to open the gallery");
        goto cleanup;
    }
    snprintf(log, size, "%s-wal", file);
    if (stat(log, &info) == 0 && info.st_size > 0) {
        st = ufi_fail(err, UF_E_IO,
                      "has a log that is not merged: open it once where it can be written");
        goto cleanup;
    }
    st = open_connection(out, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
    if (!st)
        st = settle(*out, err);
cleanup:
    ufi_free(log);
    ufi_free(uri);
    return st;
}

uf_status ufi_sqlite_open(ufi_sql **out, const char *path, bool create, bool read_only,
                          uf_error *err)
{
    sqlite_sql *s = NULL;
    *out = NULL;
    if (path[0] == '\0')
        return ufi_fail(err, UF_E_ARG, "the gallery needs a name");
    char *file = plain_path(path);
    if (!file)
        return ufi_fail(err, UF_E_NOMEM, "no memory to open the gallery");
    uf_status st = look_at_file(file, create && !read_only, err);
    if (st)
        goto cleanup;
    st = open_connection(&s, file, read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE, err);
    if (!st && !read_only && sqlite3_db_readonly(s->db, "main") == 1)
        st = ufi_fail(err, UF_E_IO, "cannot be written (open it to be read only)");
    if (!st)
        st = settle(s, err);
    if (st == UF_E_IO && read_only) {
        if (s)
            sqlite_close(&s->base);
        s = NULL;
        st = open_immutable(&s, file, err);
    }
cleanup:
    if (st && s)
        sqlite_close(&s->base);
    else
        *out = st ? NULL : &s->base;
    ufi_free(file);
    return st;
}

#else

uf_status ufi_sqlite_open(ufi_sql **out, const char *path, bool create, bool read_only,
                          uf_error *err)
{
    *out = NULL;
    return ufi_fail(err, UF_E_UNSUPPORTED,
                    "this build has no SQLite: build it with libsqlite3 (-Dsqlite=enabled)");
}

#endif
