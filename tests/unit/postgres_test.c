/* What the PostgreSQL driver does before it talks to a server; with one: tests/gallery. */
#include "gallery/postgres.h"

#include "base/mem.h"
#include "test.h"

static void check_placeholders(const char *sql, const char *want, int want_count)
{
    int count;
    char *got = ufi_pg_placeholders(sql, &count);
    REQUIRE(got != NULL);
    CHECK_MSG(strcmp(got, want) == 0, "%s", got);
    CHECK_MSG(count == want_count, "%d", count);
    ufi_free(got);
}

TEST(placeholders_become_numbers)
{
    check_placeholders("SELECT 1", "SELECT 1", 0);
    check_placeholders("SELECT ?1 + ?2 + ?1", "SELECT $1 + $2 + $1", 2);
    check_placeholders("SELECT ?12, ?3", "SELECT $12, $3", 12);
    check_placeholders("SELECT '?1', \"?2\", 'it''s ?3', ?1", "SELECT '?1', \"?2\", 'it''s ?3', $1",
                       1);
    check_placeholders("SELECT ?1 -- ?2\n, ?3 /* ?4 */", "SELECT $1 -- ?2\n, $3 /* ?4 */", 3);
    check_placeholders("SELECT '?1", "SELECT '?1", 0);
    check_placeholders("SELECT a ? 'b'", "SELECT a ? 'b'", 0);
}

TEST(addresses_that_are_none_are_not_repeated)
{
    static const char *const bad[] = {"postgresql://ann:secret@[::1/db",
                                      "postgresql://ann:secret@h:x:y/db",
                                      "postgresql://ann:secret@h/db?nonsense=1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ufi_sql *s;
        uf_error err = {0};
        uf_status st = ufi_postgres_open(&s, bad[i], false, &err);
        CHECK(st == UF_E_ARG || st == UF_E_IO); /* ports are looked at when they are used */
        CHECK(s == NULL);
        CHECK_MSG(!strstr(err.message, "secret"), "%s", err.message);
    }
}

TEST(unreachable_server_is_an_io_error)
{
    ufi_sql *s;
    uf_error err = {0};
    CHECK(ufi_postgres_open(&s, "postgresql://ann:secret@/db?host=/nowhere", false, &err) ==
          UF_E_IO);
    CHECK_MSG(strstr(err.message, "/nowhere") && !strstr(err.message, "secret"), "%s", err.message);
}

TEST_MAIN
