/* The SQLite driver: rows, transactions, who is in the way, damaged files. */
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "gallery_maker.h"

#define NEED_SQLITE                                                                  \
    do {                                                                             \
        ufi_sql *none = NULL;                                                        \
        if (ufi_sqlite_open(&none, "/none", false, false, NULL) == UF_E_UNSUPPORTED) \
            SKIP("built without SQLite");                                            \
    } while (0)

static ufi_sql *made(const char *path)
{
    uf_error err = {0};
    ufi_sql *s = NULL;
    if (ufi_sql_open(&s, path, true, false, &err) ||
        s->ops->script(s, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, c BLOB, d REAL) STRICT",
                       &err))
        printf("%s\n", err.message);
    return s;
}

static const char insert[] = "INSERT INTO t (a, b, c, d) VALUES (?1, ?2, ?3, ?4)";

static uf_status put(ufi_sql *s, int64_t a, const char *b, const void *c, size_t size, double d,
                     uf_error *err)
{
    const ufi_value args[] = {ufi_integer(a), ufi_text(b), c ? ufi_bytes(c, size) : ufi_null(),
                              ufi_real(d)};
    return ufi_sql_run(s, insert, args, 4, NULL, err);
}

typedef struct seen {
    size_t rows;
    ufi_value last[4];
    char text[16];
    uint8_t bytes[16];
    uf_status stop;
} seen;

static uf_status see(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    seen *s = user;
    s->rows++;
    memcpy(s->last, columns, sizeof s->last);
    if (columns[1].type == UFI_VALUE_TEXT)
        snprintf(s->text, sizeof s->text, "%s", (const char *)columns[1].data);
    if (columns[2].size && columns[2].size <= 16)
        memcpy(s->bytes, columns[2].data, columns[2].size);
    return s->stop;
}

TEST(values_come_back_as_they_went_in)
{
    uf_error err = {0};
    seen r = {0};
    int64_t changed, n;
    NEED_SQLITE;
    ufi_sql *s = made(maker_path("db"));
    REQUIRE(s);
    REQUIRE_OK(put(s, INT64_MIN, "t\xc3\xa9xt", "\0\1\2", 3, -0.25, &err), err);
    REQUIRE_OK(put(s, 2, NULL, "", 0, 1e300, &err), err);
    REQUIRE_OK(put(s, 3, "", NULL, 0, 0, &err), err);
    CHECK(put(s, 3, "", NULL, 0, 0, &err) == UF_E_STATE); /* is there */
    REQUIRE_OK(ufi_sql_rows(s, "SELECT a, b, c, d FROM t ORDER BY a", NULL, 0, see, &r, &err), err);
    CHECK(r.rows == 3 && r.last[1].type == UFI_VALUE_TEXT && r.last[1].size == 0);
    CHECK(r.last[2].type == UFI_VALUE_NULL);
    const ufi_value least[] = {ufi_integer(INT64_MIN)}, none[] = {ufi_integer(99)};
    const char *one = "SELECT a, b, c, d FROM t WHERE a = ?1";
    REQUIRE_OK(ufi_sql_one(s, one, least, 1, see, &r, &err), err);
    CHECK(r.last[0].integer == INT64_MIN && strcmp(r.text, "t\xc3\xa9xt") == 0);
    CHECK(r.last[2].size == 3 && memcmp(r.bytes, "\0\1\2", 3) == 0 && r.last[3].real == -0.25);
    CHECK(ufi_sql_one(s, one, none, 1, see, &r, &err) == UF_E_NOT_FOUND);
    r = (seen){.stop = UF_E_CANCELLED};
    CHECK(ufi_sql_rows(s, "SELECT a, b, c, d FROM t", NULL, 0, see, &r, &err) == UF_E_CANCELLED);
    CHECK(r.rows == 1);
    REQUIRE_OK(ufi_sql_run(s, "DELETE FROM t WHERE a > 0", NULL, 0, &changed, &err), err);
    CHECK(changed == 2);
    REQUIRE_OK(ufi_sql_integer(s, "SELECT max(a) FROM t WHERE a > 0", NULL, 0, -7, &n, &err), err);
    CHECK(n == -7);
    CHECK(ufi_sql_run(s, "DELETE FROM none", NULL, 0, NULL, &err) != UF_OK);
    s->ops->close(s);
}

TEST(transactions)
{
    uf_error err = {0};
    int64_t n, before, after;
    NEED_SQLITE;
    const char *path = maker_path("db");
    ufi_sql *s = made(path), *other = NULL;
    REQUIRE(s);
    REQUIRE_OK(ufi_sql_open(&other, path, false, false, &err), err);
    REQUIRE_OK(other->ops->version(other, &before, &err), err);
    REQUIRE_OK(s->ops->begin(s, &err), err);
    REQUIRE_OK(put(s, 1, "x", NULL, 0, 0, &err), err);
    s->ops->rollback(s);
    s->ops->rollback(s); /* of nothing */
    REQUIRE_OK(s->ops->begin_light(s, &err), err);
    REQUIRE_OK(put(s, 2, "x", NULL, 0, 0, &err), err);
    REQUIRE_OK(ufi_sql_integer(other, "SELECT count(*) FROM t", NULL, 0, 0, &n, &err), err);
    CHECK(n == 0);
    REQUIRE_OK(s->ops->commit(s, &err), err);
    REQUIRE_OK(ufi_sql_integer(other, "SELECT count(*) FROM t", NULL, 0, 0, &n, &err), err);
    CHECK(n == 1);
    REQUIRE_OK(ufi_sql_integer(s, "PRAGMA synchronous", NULL, 0, 0, &n, &err), err);
    CHECK(n == 2);
    REQUIRE_OK(other->ops->version(other, &after, &err), err);
    CHECK(after != before);
    CHECK_OK(s->ops->scrub(s, true, &err), err);
    CHECK_OK(s->ops->check(s, &err), err);
    other->ops->close(other);
    s->ops->close(s);
}

TEST(what_cannot_be_opened)
{
    uf_error err = {0};
    ufi_sql *s = NULL;
    NEED_SQLITE;
    const char *path = maker_path("db");
    CHECK(ufi_sql_open(&s, path, false, false, &err) == UF_E_NOT_FOUND && !s);
    CHECK(ufi_sql_open(&s, "", true, false, &err) == UF_E_ARG);
    CHECK(ufi_sql_open(&s, maker_folder(), true, false, &err) == UF_E_IO);
    CHECK(ufi_sql_open(&s, "/nonexistent/folder/db", true, false, &err) == UF_E_IO);
    CHECK(ufi_sql_open(&s, "/dev/null", true, false, &err) == UF_E_IO);
    FILE *f = fopen(path, "wb");
    REQUIRE(f);
    fclose(f);
    CHECK(ufi_sql_open(&s, path, true, false, &err) == UF_E_FORMAT && strstr(err.message, "empty"));
    f = fopen(path, "wb");
    REQUIRE(f);
    for (int i = 0; i < 3000; i++)
        fputs("no database", f);
    fclose(f);
    CHECK(ufi_sql_open(&s, path, true, false, &err) == UF_E_FORMAT);
    f = fopen(path, "r+b");
    REQUIRE(f);
    fwrite("SQLite format 3", 1, 16, f);
    fclose(f);
    CHECK(ufi_sql_open(&s, path, true, false, &err) == UF_E_FORMAT);
}

/* A database of 40 rows as bytes. */
static uint8_t *bytes_of_example(const char *path, size_t *size)
{
    uf_error err = {0};
    ufi_sql *s = made(path);
    uint8_t *bytes;
    for (int64_t i = 0; s && i < 40; i++)
        CHECK_OK(put(s, i, "some text", path, strlen(path), 0.5, &err), err);
    if (s)
        s->ops->close(s);
    FILE *f = fopen(path, "rb");
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    bytes = malloc(*size);
    CHECK(fread(bytes, 1, *size, f) == *size);
    fclose(f);
    return bytes;
}

/* All rows, or an error: never fewer rows, and never a crash. */
static uf_status read_changed(const char *path, const uint8_t *bytes, size_t size)
{
    uf_error err = {0};
    ufi_sql *s = NULL;
    seen r = {0};
    FILE *f = fopen(path, "wb");
    CHECK(fwrite(bytes, 1, size, f) == size);
    fclose(f);
    uf_status st = ufi_sql_open(&s, path, false, false, &err);
    if (!st)
        st = ufi_sql_rows(s, "SELECT a, b, c, d FROM t", NULL, 0, see, &r, &err);
    CHECK_MSG(st == UF_E_FORMAT || (!st && r.rows == 40), "%d, %zu rows, %s", st, r.rows,
              err.message);
    if (s)
        s->ops->close(s);
    return st;
}

TEST(flipped_bits_are_noticed)
{
    uint64_t state = 5;
    size_t size, refused = 0, tried = 0;
    NEED_SQLITE;
    const char *path = maker_path("db");
    uint8_t *bytes = bytes_of_example(path, &size);
    for (size_t at = 0; at < size; at += 1 + test_random(&state) % 31, tried++) {
        uint8_t bit = (uint8_t)(1u << test_random(&state) % 8);
        bytes[at] ^= bit;
        refused += read_changed(path, bytes, size) != UF_OK;
        bytes[at] ^= bit;
    }
    /* The first and last pages are read for sure. */
    CHECK_MSG(refused > tried / 2, "%zu of %zu", refused, tried);
    CHECK(read_changed(path, bytes, size) == UF_OK);
    free(bytes);
}

TEST(truncated_files_are_noticed)
{
    uint64_t state = 6;
    size_t size;
    NEED_SQLITE;
    const char *path = maker_path("db");
    uint8_t *bytes = bytes_of_example(path, &size);
    for (size_t at = 0; at < size; at += 1 + test_random(&state) % 199)
        CHECK(read_changed(path, bytes, at) == UF_E_FORMAT);
    for (size_t at = 0; at < size; at += 8192) /* between pages */
        CHECK(read_changed(path, bytes, at) == UF_E_FORMAT);
    free(bytes);
}

TEST(names_that_mean_something_to_sqlite_are_files)
{
    uf_error err = {0};
    char here[4096];
    ufi_sql *s = NULL;
    NEED_SQLITE;
    REQUIRE(getcwd(here, sizeof here) && chdir(maker_folder()) == 0);
    static const char *const names[] = {":memory:", "file:x?mode=memory", "a?b#c%20d", "-x"};
    for (size_t i = 0; i < 4; i++) {
        CHECK_OK(ufi_sql_open(&s, names[i], true, false, &err), err);
        if (s)
            s->ops->close(s);
        CHECK(access(names[i], F_OK) == 0);
    }
    CHECK(chdir(here) == 0);
}

/* Writes fail from some size on, as on a full disk: an error, and what was there is there. */
TEST(a_full_disk_harms_nothing)
{
    uf_error err = {0};
    struct rlimit limit;
    struct stat info;
    int64_t done = 0, n = -1;
    static const uint8_t block[3000] = {1};
    NEED_SQLITE;
    const char *path = maker_path("db");
    ufi_sql *s = made(path);
    REQUIRE(s && getrlimit(RLIMIT_FSIZE, &limit) == 0);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {400000, limit.rlim_max};
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    uf_status st = UF_OK;
    for (int64_t i = 0; !st && i < 10000; i++) {
        st = s->ops->begin(s, &err);
        if (!st) {
            st = put(s, i, "x", block, sizeof block, 0, &err);
            if (st)
                s->ops->rollback(s);
            else
                st = s->ops->commit(s, &err);
        }
        done = st ? done : i + 1;
    }
    CHECK_MSG(st == UF_E_IO && done > 5, "%d after %lld", st, (long long)done);
    CHECK_OK(ufi_sql_integer(s, "SELECT count(*) FROM t", NULL, 0, 0, &n, &err), err);
    CHECK(n == done);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    REQUIRE_OK(put(s, 99999, "x", block, sizeof block, 0, &err), err);
    CHECK_OK(s->ops->check(s, &err), err);
    s->ops->close(s);
    CHECK(stat(path, &info) == 0 && (info.st_mode & 077) == 0);
}

/* Moved away, replaced by a copy, removed: whoever writes on would lose what it acknowledged. */
TEST(a_file_that_lost_its_name_is_not_written)
{
    uf_error err = {0};
    int64_t n = 0;
    char path[160], moved[160], copy[400];
    NEED_SQLITE;
    strcpy(path, maker_path("db"));
    strcpy(moved, maker_path("moved"));
    ufi_sql *s = made(path);
    REQUIRE(s);
    CHECK_OK(s->ops->begin(s, &err), err);
    CHECK_OK(put(s, 1, "x", NULL, 0, 0, &err), err);
    CHECK_OK(s->ops->commit(s, &err), err);
    REQUIRE(rename(path, moved) == 0);
    CHECK(s->ops->begin(s, &err) == UF_E_IO && strstr(err.message, "moved, replaced or removed"));
    snprintf(copy, sizeof copy, "cp '%s' '%s'", moved, path);
    REQUIRE(system(copy) == 0);
    CHECK(s->ops->begin(s, &err) == UF_E_IO);
    CHECK(s->ops->begin_light(s, &err) == UF_E_IO);
    REQUIRE(rename(moved, path) == 0); /* it is back */
    CHECK_OK(s->ops->begin(s, &err), err);
    CHECK_OK(put(s, 2, "x", NULL, 0, 0, &err), err);
    CHECK_OK(s->ops->commit(s, &err), err);
    CHECK_OK(ufi_sql_integer(s, "SELECT count(*) FROM t", NULL, 0, 0, &n, &err), err);
    CHECK(n == 2);
    unlink(path);
    CHECK(s->ops->begin(s, &err) == UF_E_IO);
    s->ops->close(s);
}

TEST(a_medium_that_cannot_be_written)
{
    uf_error err = {0};
    ufi_sql *s = NULL;
    seen r = {0};
    char folder[100], path[128];
    NEED_SQLITE;
    snprintf(folder, sizeof folder, "%s/medium", maker_folder());
    snprintf(path, sizeof path, "%s/db?", folder);
    REQUIRE(mkdir(folder, 0700) == 0);
    if (mount("tmpfs", folder, "tmpfs", 0, "size=4m") != 0)
        SKIP("cannot mount (not root, or a container)");
    s = made(path);
    if (s) {
        CHECK_OK(put(s, 1, "x", NULL, 0, 0, &err), err);
        s->ops->close(s);
    }
    if (mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0) {
        CHECK(ufi_sql_open(&s, path, false, false, &err) == UF_E_IO && !s);
        CHECK_OK(ufi_sql_open(&s, path, true, true, &err), err);
        if (s) {
            CHECK_OK(ufi_sql_rows(s, "SELECT a, b, c, d FROM t", NULL, 0, see, &r, &err), err);
            CHECK(r.rows == 1 && put(s, 2, "x", NULL, 0, 0, &err) == UF_E_IO);
            s->ops->close(s);
        }
    }
    umount(folder);
}

TEST_MAIN
