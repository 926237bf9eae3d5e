/* Pages of databases: nothing of deleted rows is left in the gaps of pages. */
#include "gallery/pages.h"

#include "gallery_maker.h"

static void moved_cells_leave_nothing(uint64_t state)
{
    enum { ROWS = 6000, ID_BYTES = 40 };
    static char ids[ROWS][ID_BYTES + 1];
    static bool alive[ROWS];
    static uint8_t blob[2100];
    uf_error err = {0};
    ufi_sql *s = NULL;
    size_t left = 0;
    const char *path = maker_path("db");
    REQUIRE_OK(ufi_sql_open(&s, path, true, false, &err), err);
    REQUIRE_OK(
        s->ops->script(s, "CREATE TABLE t (n INTEGER PRIMARY KEY, id TEXT UNIQUE, b BLOB)", &err),
        err);
    for (int64_t n = 0; n < ROWS; n++) {
        static const size_t sizes[] = {100, 500, 2100};
        for (size_t i = 0; i < ID_BYTES; i++)
            ids[n][i] = "0123456789abcdef"[test_random(&state) >> 60];
        for (size_t i = 0; i < sizeof blob; i++)
            blob[i] = (uint8_t)(test_random(&state) >> 40);
        const ufi_value args[] = {ufi_integer(n), ufi_text(ids[n]),
                                  ufi_bytes(blob, sizes[test_random(&state) % 3])};
        REQUIRE_OK(s->ops->begin_light(s, &err), err);
        REQUIRE_OK(
            ufi_sql_run(s, "INSERT INTO t (n, id, b) VALUES (?1, ?2, ?3)", args, 3, NULL, &err),
            err);
        alive[n] = true;
        if (n % 3 == 2) {
            const ufi_value gone[] = {ufi_integer((int64_t)(test_random(&state) % (uint64_t)n))};
            REQUIRE_OK(ufi_sql_run(s, "DELETE FROM t WHERE n = ?1", gone, 1, NULL, &err), err);
            alive[gone[0].integer] = false;
        }
        REQUIRE_OK(s->ops->commit(s, &err), err);
        if (n % 300 == 299)
            REQUIRE_OK(s->ops->scrub(s, false, &err), err);
    }
    CHECK_OK(s->ops->scrub(s, false, &err), err);
    CHECK_OK(s->ops->check(s, &err), err);
    FILE *f = fopen(path, "rb");
    REQUIRE(f);
    fseek(f, 0, SEEK_END);
    size_t size = (size_t)ftell(f);
    uint8_t *data = malloc(size);
    rewind(f);
    REQUIRE(fread(data, 1, size, f) == size);
    fclose(f);
    /* Ids are the only runs of ID_BYTES hexadecimal digits. */
    for (size_t at = 0, run = 0; at < size; at++) {
        run = data[at] && strchr("0123456789abcdef", data[at]) ? run + 1 : 0;
        for (size_t n = 0; run >= ID_BYTES && n < ROWS; n++)
            if (memcmp(data + at + 1 - ID_BYTES, ids[n], ID_BYTES) == 0)
                left += !alive[n];
    }
    CHECK_MSG(left == 0, "%zu ids of deleted rows", left);
    free(data);
    s->ops->close(s);
}

/* SQLite's own secure_delete leaves the old bytes of cells that it moved between pages. Without the
 * clearing of gaps these workloads leave the ids of some deleted rows in the file. */
TEST(moved_cells_leave_nothing)
{
    NEED_GALLERY;
    moved_cells_leave_nothing(2);
    moved_cells_leave_nothing(3);
}

/* Past the first pointer map's range (13 MB), with pages of all kinds: overflow, free, maps. The
 * second map begins among pages whose parent is the root, so that it looks most like a B-tree. */
TEST(pages_of_all_kinds_survive)
{
    enum { ROWS = 2600, LARGE = 600 };
    static uint8_t blob[30000];
    uf_error err = {0};
    uint64_t state = 9;
    ufi_sql *s = NULL;
    int64_t sum = 0, expected = 0;
    NEED_GALLERY;
    const char *path = maker_path("db");
    REQUIRE_OK(ufi_sql_open(&s, path, true, false, &err), err);
    REQUIRE_OK(
        s->ops->script(s, "CREATE TABLE t (n INTEGER PRIMARY KEY, id TEXT UNIQUE, b BLOB)", &err),
        err);
    REQUIRE_OK(s->ops->begin(s, &err), err);
    for (int64_t n = 0; n < ROWS; n++) {
        char id[32];
        size_t size = n < LARGE ? test_random(&state) % sizeof blob : 2500;
        snprintf(id, sizeof id, "%016llx", (unsigned long long)test_random(&state));
        memset(blob, (int)n, size);
        const ufi_value args[] = {ufi_integer(n), ufi_text(id), ufi_bytes(blob, size)};
        REQUIRE_OK(
            ufi_sql_run(s, "INSERT INTO t (n, id, b) VALUES (?1, ?2, ?3)", args, 3, NULL, &err),
            err);
        expected += n % 5 ? (int64_t)size : 0;
    }
    REQUIRE_OK(s->ops->commit(s, &err), err);
    REQUIRE_OK(s->ops->scrub(s, false, &err), err);
    REQUIRE_OK(ufi_sql_run(s, "DELETE FROM t WHERE n % 5 = 0", NULL, 0, NULL, &err), err);
    for (int round = 0; round < 2; round++) {
        REQUIRE_OK(s->ops->scrub(s, round, &err), err);
        s->ops->close(s);
        REQUIRE_OK(ufi_sql_open(&s, path, false, false, &err), err);
        CHECK_OK(s->ops->check(s, &err), err);
        CHECK_OK(ufi_sql_integer(s, "SELECT sum(length(b)) FROM t", NULL, 0, 0, &sum, &err), err);
        CHECK(sum == expected);
    }
    s->ops->close(s);
}

TEST_MAIN
